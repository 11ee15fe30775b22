"""Land cover from rasters: level-3 codes or grid codes, and PNG label sheets.

Pixels become polygons along their exact outlines, block by block around the scenes, so that raster
and vector sources share one algorithm from there on (docs/decisions/one-form-of-land-cover.md).
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj
import rasterio
import rasterio.errors
import rasterio.features
import rasterio.windows
import shapely
import shapely.affinity
import shapely.geometry
from affine import Affine, loadsw
from rasterio.enums import ColorInterp
from rasterio.windows import Window

from geolatents.acquire.landcover.area import Area, Scenes
from geolatents.acquire.landcover.codes import Meaning, decode, value_text
from geolatents.acquire.landcover.polygons import Polygons, chosen_crs, no_overlap, within
from geolatents.errors import LandCoverError
from geolatents.geometry import Box, Geometries
from geolatents.nomenclature import Nomenclature
from geolatents.settings.landcover import LandCover

BLOCK = 2048
"""Side in pixels of what is turned into polygons at a time."""

WORLD_FILES = (".pgw", ".pngw", ".wld")


@dataclass(frozen=True)
class Grid:
    """A raster's place: transform (pixel corners), CRS and size in pixels."""

    transform: Affine
    crs: pyproj.CRS
    width: int
    height: int

    @property
    def bounds(self) -> Box:
        """Left, bottom, right, top of the whole raster."""
        return _corner_bounds(self.transform, Window(0, 0, self.width, self.height))


def read_raster(
    file: Path,
    settings: LandCover,
    nomenclature: Nomenclature,
    scenes: Scenes,
) -> Polygons | LandCoverError:
    """Read one raster or label sheet around the scenes as polygons along pixel outlines.

    Args:
        file: Raster with one band of integers, or a PNG label sheet.
        settings: `crs`, `values`, `classes` and `unknown` are used.
        nomenclature: Whose codes are meant.
        scenes: Where land cover is wanted.

    Returns:
        The polygons; or, where none is there, the error that says so: the caller knows whether
        another file has some.

    Raises:
        LandCoverError: The file cannot be read or used.
    """
    with _opened(file) as dataset:
        grid = _grid(dataset, file, settings)
        area = scenes.area(grid.crs)
        windows = [] if area is None else list(_windows(grid, area))
        if area is None or not windows:
            return no_overlap(file, grid.bounds, grid.crs, area)
        counts: Counter[str] = Counter()
        for window in windows:
            values, n = np.unique(_read(dataset, window, file).compressed(), return_counts=True)
            counts.update(dict(zip(map(value_text, values), n.tolist(), strict=True)))
        meaning = decode(counts, settings, nomenclature, file, unit="pixels")
        parts = [
            _outlines(
                _read(dataset, window, file),
                rasterio.windows.transform(window, grid.transform),
                meaning,
            )
            for window in windows
        ]
    geometries = np.concatenate([part[0] for part in parts])
    codes = np.concatenate([part[1] for part in parts])
    found = within(
        Polygons(grid.crs, geometries, codes, {"values": meaning.reading}, disjoint=True),
        area,
        exact=False,  # whole pixels are kept at the margin
    )
    return found if len(found.codes) else no_overlap(file, grid.bounds, grid.crs, area)


def _opened(file: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            dataset = rasterio.open(file)
    except rasterio.errors.RasterioIOError as error:
        raise _unreadable(file, error) from None
    colours = [i for i in dataset.colorinterp if i != ColorInterp.alpha]
    if len(colours) == 1:
        return dataset
    dataset.close()
    raise LandCoverError(
        "the land cover has several bands",
        where=file,
        expected="one band of class values",
        found=f"{dataset.count} bands of {dataset.dtypes[0]}",
        fix="use the raster of codes, not a coloured picture of it",
    )


def _grid(dataset: Any, file: Path, settings: LandCover) -> Grid:
    transform = dataset.transform
    if transform.is_identity and not dataset.gcps[0]:
        transform = _transform_beside(file, dataset.width, dataset.height)
    own = pyproj.CRS.from_user_input(dataset.crs.to_wkt()) if dataset.crs else None
    if own is not None and (code := dataset.crs.to_epsg()):
        own = pyproj.CRS.from_epsg(code)
    return Grid(transform, chosen_crs(own, settings, file), dataset.width, dataset.height)


def _transform_beside(file: Path, width: int, height: int) -> Affine:
    """Transform from a world file of the raster, or of the orthophoto that it labels.

    The orthophoto has the sheet's stem (or the stem without an ending such as `_labels`), in the
    same folder or in one beside it; its pixels may be smaller.
    """
    for world in _world_files(file):
        transform = _read_world_file(world)
        photo = world.with_suffix(".png")
        if photo == file or not photo.exists():
            return transform
        with _opened_photo(photo) as other:
            return _scaled(transform, other.width / width, other.height / height)
    raise LandCoverError(
        "the label sheet has no georeference",
        where=file,
        expected=f"a world file ({', '.join(WORLD_FILES)}) of it, or of an orthophoto of the same "
        "stem in the same folder or in one beside it",
        found="neither",
        fix="add the world file",
    )


def _scaled(transform: Affine, x: float, y: float) -> Affine:
    """Transform of pixels x times as wide and y times as high, from the same corner."""
    a, b, c, d, e, f = transform[:6]
    return Affine(a * x, b * y, c, d * x, e * y, f)


def _world_files(file: Path) -> Iterator[Path]:
    stems = dict.fromkeys((file.stem, *(file.stem.rsplit(mark, 1)[0] for mark in "_-")))
    beside = sorted(path for path in file.parent.parent.iterdir() if path.is_dir())
    for stem in stems:
        for folder in dict.fromkeys((file.parent, *beside)):
            for suffix in WORLD_FILES:
                if (world := folder / f"{stem}{suffix}").exists():
                    yield world


def _read_world_file(world: Path) -> Affine:
    try:
        return loadsw(world.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise LandCoverError(
            "the world file cannot be read",
            where=world,
            expected="six numbers, one per line",
            found=error,
            fix="correct or remove it",
        ) from None


def _opened_photo(file: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        return rasterio.open(file)


def _windows(grid: Grid, area: Area) -> Iterator[Window]:
    """Blocks that touch the wanted area, in row-major order."""
    inverse = ~grid.transform
    wanted = shapely.affinity.affine_transform(area.wanted, inverse.to_shapely())
    left, top, right, bottom = wanted.bounds
    shapely.prepare(wanted)
    first_column, first_row = max(0, math.floor(left)), max(0, math.floor(top))
    last_column, last_row = min(grid.width, math.ceil(right)), min(grid.height, math.ceil(bottom))
    for row in range(first_row, last_row, BLOCK):
        for column in range(first_column, last_column, BLOCK):
            width, height = min(BLOCK, last_column - column), min(BLOCK, last_row - row)
            if wanted.intersects(shapely.box(column, row, column + width, row + height)):
                yield Window(column, row, width, height)


def _read(dataset: Any, window: Window, file: Path) -> np.ma.MaskedArray[Any, Any]:
    try:
        data = dataset.read(1, window=window)
        usable = dataset.read_masks(1, window=window) != 0
    except rasterio.errors.RasterioIOError as error:
        raise _unreadable(file, error) from None
    if data.dtype.kind == "f":
        usable &= np.isfinite(data)
    return np.ma.MaskedArray(data, mask=~usable)


def _outlines(
    values: np.ma.MaskedArray[Any, Any], transform: Affine, meaning: Meaning
) -> tuple[Geometries, npt.NDArray[np.str_]]:
    """Polygons along the outlines of equal neighbouring pixels.

    Pixels that touch at a corner only stay apart (4-connectivity), so that polygons are valid.
    """
    codes = sorted(set(meaning.codes.values()))
    classes = np.zeros(values.shape, dtype=np.int16)
    for value in np.unique(values.compressed()):
        code = meaning.codes.get(value_text(value))
        if code is not None:
            classes[(values.data == value) & ~np.ma.getmaskarray(values)] = codes.index(code) + 1
    found = rasterio.features.shapes(classes, mask=classes > 0, connectivity=4, transform=transform)
    pairs = [(shapely.geometry.shape(outline), codes[int(value) - 1]) for outline, value in found]
    geometries = np.array([pair[0] for pair in pairs], dtype=object)
    return geometries, np.array([pair[1] for pair in pairs], dtype=np.str_)


def _corner_bounds(transform: Affine, window: Window) -> Box:
    box = shapely.box(0, 0, window.width, window.height)
    left, bottom, right, top = shapely.affinity.affine_transform(box, transform.to_shapely()).bounds
    return float(left), float(bottom), float(right), float(top)


def _unreadable(file: Path, error: Exception) -> LandCoverError:
    return LandCoverError(
        "the land cover cannot be read as a raster",
        where=file,
        expected="a raster that GDAL reads, whole",
        found=error,
        fix="check `landcover.path` and `landcover.source`",
    )
