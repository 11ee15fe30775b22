"""Reading a scene in strips: each block decoded once, memory bounded whatever the scene's size.

A reader gives what training needs: image bands as ``(y, x, band)``, unusable pixels set to 0 in
every band and type (a NaN or a sensor's fill value would otherwise enter the network), and beside
it which pixels are usable: no-data in no band, and usable by the mask where there is one.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import rasterio
import rasterio.shutil
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window
from scipy.sparse import csr_array

from geolatents.acquire.decoding import DECODE_ERRORS, undecodable
from geolatents.acquire.files import MaskRecord, SceneRecord, read_record
from geolatents.errors import SceneError
from geolatents.logs import LOG
from geolatents.paths import recorded_file

Pixels = npt.NDArray[Any]
Usable = npt.NDArray[np.bool_]
Dataset = Any
"""A rasterio dataset or VRT (rasterio is untyped)."""

FILL = 0
"""Value of unusable pixels in what a reader gives."""

SCANLINE_DRIVERS = frozenset({"PNG", "JPEG", "GIF", "BMP", "WEBP"})
"""Formats that can only be decoded from their first row on; converted once to a tiled GeoTIFF."""

CACHE_FLOOR = 64 * 2**20
CACHE_CEILING = 1024 * 2**20


class SceneReader:
    """A scene opened for reading in row order; one thread at a time. Made by :func:`open_scene`.

    Attributes:
        record: What is read.
        geobox: Grid of what :meth:`read` gives (the scene's own, or the resampled one).
        bands: Band names, last axis.
        dtype: Type of the pixels.
        nodata: Value of unusable pixels, 0.
    """

    def __init__(
        self,
        record: SceneRecord,
        source: Dataset,
        mask: Dataset | None,
        resolution: float | None = None,
    ) -> None:
        """Wrap open datasets.

        Args:
            record: What is read.
            source: Dataset of the image.
            mask: Dataset of the mask file on the image's grid, or None.
            resolution: Ground size per pixel to resample to, or None.
        """
        self.record = record
        self.source_geobox = record_geobox(record)
        self.geobox = (
            self.source_geobox if resolution is None else snapped(self.source_geobox, resolution)
        )
        self.bands = list(record.bands)
        self.dtype = np.dtype(record.dtype)
        self.nodata = FILL
        self._source, self._mask = source, mask
        self._resampled = self.geobox != self.source_geobox

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the grid."""
        rows, columns = self.geobox.shape
        return int(rows), int(columns)

    @property
    def block_rows(self) -> int:
        """Height of the file's blocks, in rows of the grid; strips of this height read best."""
        rows = int(self._source.block_shapes[0][0])
        return max(1, round(rows * abs(self.source_geobox.affine.e / self.geobox.affine.e)))

    def read(self, rows: slice, columns: slice) -> tuple[Pixels, Usable]:
        """Read a window; parts outside the scene come back unusable.

        Values are kept, or scaled to reflectance x 10000 (uint16) where the record says so. On
        another resolution a pixel is the area-weighted mean of the usable source pixels below
        it, and usable where these cover at least half of it.

        Args:
            rows: Rows of :attr:`geobox`, with explicit start and stop.
            columns: Columns of :attr:`geobox`.

        Returns:
            Pixels ``(y, x, band)`` of :attr:`dtype`, 0 where unusable; usable ``(y, x)`` bool.

        Raises:
            SceneError: A block cannot be decoded.
        """
        height, width = self.shape
        inside_rows = slice(max(0, rows.start), max(0, min(height, rows.stop)))
        inside_columns = slice(max(0, columns.start), max(0, min(width, columns.stop)))
        inside = self._read_resampled if self._resampled else self._read_source
        if inside_rows == rows and inside_columns == columns:
            return inside(rows, columns)
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        pixels = np.full((*shape, len(self.bands)), FILL, dtype=self.dtype)
        usable = np.zeros(shape, dtype=np.bool_)
        if inside_rows.stop > inside_rows.start and inside_columns.stop > inside_columns.start:
            target = (_shift(inside_rows, rows.start), _shift(inside_columns, columns.start))
            pixels[target], usable[target] = inside(inside_rows, inside_columns)
        return pixels, usable

    def _read_source(self, rows: slice, columns: slice) -> tuple[Pixels, Usable]:
        window = Window.from_slices(rows, columns)
        bands = _decode(self._source, self.record.band_indexes, window)
        usable = self._usable(bands, window)
        pixels = np.empty((*usable.shape, len(self.bands)), dtype=self.dtype)
        for position, band in enumerate(bands):
            pixels[..., position] = self._scaled(np.where(usable, band, FILL), position)
        return pixels, usable

    def _usable(self, bands: Pixels, window: Window) -> Usable:
        usable = np.ones(bands.shape[1:], dtype=np.bool_)
        if bands.dtype.kind == "f":
            usable &= np.isfinite(bands).all(axis=0)
        nodata = _nodata_of(self.record.nodata, bands.dtype)
        if nodata is not None:
            usable &= (bands != nodata).all(axis=0)
        if self.record.mask is not None:
            usable &= self._mask_usable(self.record.mask, window)
        return usable

    def _mask_usable(self, mask: MaskRecord, window: Window) -> Usable:
        if mask.kind == "alpha":
            try:
                return np.asarray(self._source.dataset_mask(window=window) > 0)
            except DECODE_ERRORS as error:
                raise undecodable(self._source.name, error) from None
        source = self._source if self._mask is None else self._mask
        values = _decode(source, [mask.band_index or 1], window)[0]
        usable = np.isin(values, mask.usable or [])
        if isinstance(source, WarpedVRT):
            # Outside the mask file nothing is known to be usable; alpha says where it lies.
            usable &= _decode(source, [source.count], window)[0] > 0
        return np.asarray(usable)

    def _scaled(self, band: Pixels, position: int) -> Pixels:
        if self.record.scale is None:
            return band
        reflectance = np.rint(band * np.float64(self.record.scale[position]))
        return np.clip(reflectance, 0, np.iinfo(self.dtype).max)

    def _read_resampled(self, rows: slice, columns: slice) -> tuple[Pixels, Usable]:
        source, target = self.source_geobox.affine, self.geobox.affine
        down = _overlaps(rows, (target.f - source.f) / source.e, target.e / source.e)
        across = _overlaps(columns, (target.c - source.c) / source.a, target.a / source.a)
        pixels, usable = self._read_source(down.source, across.source)
        share = down.weights @ usable.astype(np.float64) @ across.weights.T
        kept = share >= 0.5
        result = np.full((*kept.shape, len(self.bands)), FILL, dtype=self.dtype)
        for position in range(len(self.bands)):
            total = down.weights @ pixels[..., position].astype(np.float64) @ across.weights.T
            mean = np.divide(total, share, out=np.zeros_like(total), where=kept)
            result[..., position] = mean if self.dtype.kind == "f" else np.rint(mean)
        return result, kept


@contextmanager
def open_scene(record: Path, resolution: float | None = None) -> Iterator[SceneReader]:
    """Open the scene of a record.

    GDAL's block cache is set to hold the blocks under one strip, so that strips read in row order
    decode each block once whatever their height. Files in scanline formats (PNG, JPEG) and files of
    one single block are the exception: they are converted once to a temporary tiled GeoTIFF.

    Args:
        record: Scene record (JSON).
        resolution: Ground size per pixel in CRS units to resample to; None keeps the scene's own.

    Raises:
        SceneError: The file is missing, not what was recorded, or cannot be decoded.
    """
    with open_recorded(read_record(record), record, resolution) as reader:
        yield reader


@contextmanager
def open_recorded(
    scene: SceneRecord, record: Path, resolution: float | None = None
) -> Iterator[SceneReader]:
    """Like :func:`open_scene`, for a record at hand whose relative paths start at ``record``."""
    with ExitStack() as stack:
        stack.enter_context(gdal_options())
        source = stack.enter_context(open_tiled(recorded_file(scene.path, record)))
        if (source.width, source.height) != (scene.width, scene.height):
            raise SceneError(
                "the image is not the one that was recorded",
                where=source.name,
                expected=f"{scene.width} x {scene.height} pixels",
                found=f"{source.width} x {source.height} pixels",
                fix="rerun the check of this scene",
            )
        mask = None
        if scene.mask is not None and scene.mask.file is not None:
            mask_source = stack.enter_context(open_tiled(recorded_file(scene.mask.file, record)))
            mask = stack.enter_context(on_grid(mask_source, record_geobox(scene)))
        reader = SceneReader(scene, source, mask, resolution)
        opened = [source] if mask is None else [source, mask_source, mask]
        stack.enter_context(rasterio.Env(GDAL_CACHEMAX=_cache_bytes(opened)))
        yield reader


def gdal_options() -> rasterio.Env:
    """Environment for reading: a damaged JPEG is an error, one thread decodes."""
    return rasterio.Env(GDAL_ERROR_ON_LIBJPEG_WARNING="TRUE", GDAL_NUM_THREADS="1")


@contextmanager
def open_tiled(file: Path) -> Iterator[Dataset]:
    """Open an image; where :func:`must_convert`, through a temporary tiled GeoTIFF.

    Raises:
        SceneError: The file is missing or cannot be decoded.
    """
    with ExitStack() as stack:
        source = stack.enter_context(open_image(file))
        if must_convert(source):
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="geolatents-"))
            tiled = Path(folder) / "scene.tif"
            LOG.info("%s is not tiled; converting it once", file)
            try:
                rasterio.shutil.copy(
                    source, tiled, driver="GTiff", TILED="YES", COMPRESS="LZW", BIGTIFF="IF_SAFER"
                )
            except DECODE_ERRORS as error:
                raise undecodable(file, error) from None
            source = stack.enter_context(rasterio.open(tiled))
        yield source


@contextmanager
def open_image(file: Path) -> Iterator[Dataset]:
    """Open an image with rasterio.

    Raises:
        SceneError: The file is missing or no image.
    """
    if not file.is_file():
        raise SceneError(
            "the image file is missing", where=file, fix="restore it or correct `imagery.files`"
        )
    try:
        source = rasterio.open(file)
    except DECODE_ERRORS as error:
        raise undecodable(file, error) from None
    with source:
        yield source


def must_convert(source: Dataset) -> bool:
    """Whether a file would be decoded many times, or whole, when read in strips."""
    rows, columns = source.block_shapes[0]
    single = rows == source.height and columns == source.width and rows * columns > 2048 * 2048
    return source.driver in SCANLINE_DRIVERS or single


@contextmanager
def on_grid(mask: Dataset, geobox: GeoBox) -> Iterator[Dataset]:
    """A mask file on its scene's grid: itself where the grids are equal, else its nearest pixels.

    Raises:
        SceneError: The mask has neither a CRS nor the scene's shape.
    """
    same_shape = mask.shape == tuple(geobox.shape)
    if mask.crs is None and not same_shape:
        raise SceneError(
            "the mask file has no CRS and another shape than its scene",
            where=mask.name,
            expected=f"{geobox.shape[1]} x {geobox.shape[0]} pixels",
            found=f"{mask.width} x {mask.height} pixels",
            fix="assign its CRS, for example with `gdal_edit.py -a_srs`",
        )
    if same_shape and (mask.crs is None or mask.transform.almost_equals(geobox.affine)):
        yield mask
        return
    with WarpedVRT(
        mask,
        crs=CRS.from_user_input(str(geobox.crs)),
        transform=geobox.affine,
        width=geobox.shape[1],
        height=geobox.shape[0],
        resampling=Resampling.nearest,
        src_nodata=None,
        nodata=None,
        add_alpha=True,
    ) as warped:
        yield warped


def record_geobox(record: SceneRecord) -> GeoBox:
    """Grid of a scene's file."""
    return GeoBox((record.height, record.width), Affine(*record.transform), record.crs)


def snapped(geobox: GeoBox, resolution: float) -> GeoBox:
    """The largest grid inside ``geobox`` whose pixel edges are multiples of ``resolution``.

    Scenes of one CRS so share one grid. A margin of less than one pixel is lost.

    Raises:
        SceneError: Not one pixel fits.
    """
    box = geobox.boundingbox
    left, bottom = (math.ceil(value / resolution - 1e-6) for value in (box.left, box.bottom))
    right, top = (math.floor(value / resolution + 1e-6) for value in (box.right, box.top))
    if right <= left or top <= bottom:
        raise SceneError(
            "the scene is smaller than one pixel of the wanted resolution",
            expected=f"`tiles.resolution` below {min(box.span_x, box.span_y):g}",
            found=resolution,
        )
    affine = Affine(resolution, 0.0, left * resolution, 0.0, -resolution, top * resolution)
    found = GeoBox((top - bottom, right - left), affine, geobox.crs)
    return geobox if found.shape == geobox.shape and affine.almost_equals(geobox.affine) else found


class _Overlaps(NamedTuple):
    """Source pixels below a range of target pixels along one axis, and the share of each.

    ``weights`` is sparse ``(target, source)``; its rows sum to 1.
    """

    source: slice
    weights: csr_array


def _overlaps(target: slice, offset: float, step: float) -> _Overlaps:
    """Weights of exact area averaging along one axis.

    Args:
        target: Target pixels.
        offset: Edge of target pixel 0 in source pixels.
        step: Size of a target pixel in source pixels.
    """
    # Rounding takes off what is left of subtracting large coordinates, far below one pixel.
    edges = np.round(offset + step * np.arange(target.start, target.stop + 1, dtype=np.float64), 6)
    low, high = edges[:-1, None], edges[1:, None]
    start = np.floor(low).astype(np.int64)
    below = start + np.arange(math.ceil(step) + 1)
    share = np.clip(np.minimum(high, below + 1) - np.maximum(low, below), 0, None) / (high - low)
    rows, columns = np.nonzero(share > 0)
    first, last = int(start[0, 0]), int(below[rows, columns].max()) + 1
    shape = (target.stop - target.start, last - first)
    values = share[rows, columns]
    weights = csr_array((values, (rows, below[rows, columns] - first)), shape=shape)
    return _Overlaps(slice(first, last), weights)


def _nodata_of(nodata: float | str | None, dtype: np.dtype[Any]) -> int | float | None:
    """No-data value that pixels of this type can have; NaN is covered by being not finite."""
    if not isinstance(nodata, float):
        return None
    if dtype.kind == "f":
        return nodata
    limits = np.iinfo(dtype.name)
    possible = nodata.is_integer() and limits.min <= nodata <= limits.max
    return int(nodata) if possible else None


def _shift(window: slice, by: int) -> slice:
    return slice(window.start - by, window.stop - by)


def _decode(source: Dataset, indexes: list[int], window: Window) -> Pixels:
    try:
        return np.asarray(source.read(indexes, window=window))
    except DECODE_ERRORS as error:
        file = source.src_dataset.name if isinstance(source, WarpedVRT) else source.name
        raise undecodable(file, error) from None


def _cache_bytes(sources: list[Dataset]) -> int:
    """Cache for two rows of blocks of every open dataset: a strip may straddle two of them."""
    total = 0
    for source in sources:
        rows, columns = source.block_shapes[0]
        width = -(-source.width // columns) * columns
        total += 2 * rows * width * sum(np.dtype(name).itemsize for name in source.dtypes)
    return int(min(max(total, CACHE_FLOOR), CACHE_CEILING))
