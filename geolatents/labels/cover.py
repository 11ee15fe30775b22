"""Cover and mask of tiles: exact shares by clipping polygons, and the class of every pixel."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import numpy.typing as npt
import pyproj
import rasterio.features
import shapely
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning

from geolatents.errors import LandCoverError, StoreError
from geolatents.files import write_json
from geolatents.geometry import (
    Box,
    Geometries,
    clip_polygons,
    expanded,
    polygon_parts,
    reproject,
    reprojected_bounds,
)
from geolatents.labels.areas import class_areas
from geolatents.logs import LOG
from geolatents.nomenclature import Nomenclature
from geolatents.stores import (
    content_manifest,
    create_array,
    new_store,
    open_store,
    read_array,
    read_strings,
    use_fast_codecs,
    write_strings,
)

# rasterio draws into a dataset without a place on purpose; its own filter fails in threads.
warnings.filterwarnings("ignore", category=NotGeoreferencedWarning, module=r"rasterio\.features")

CHUNK = 1024
"""Tiles that a worker does at a time."""

CHUNK_PIXELS = 16 * 2**20
"""Largest mask that is drawn at a time; bounds a worker's memory."""

ROUNDING = 1e-9
"""Smaller shares are rounding of polygons that touch a tile, or end beside it, and become 0."""

TOLERANCE = 2e-5
"""Largest distance in pixels between an edge and its densified image in the tile CRS.

An edge through a tile of n pixels then moves at most 2e-5 / n of its area: 3e-7 for 64 pixels, and
far less for edges that are not the longest allowed.
"""


@dataclass(frozen=True)
class Pieces:
    """Polygons of one land cover with their class.

    Attributes:
        geometries: (n,) valid polygons.
        classes: (n,) position of each in the nomenclature.
        tree: Index of the geometries.
    """

    geometries: Geometries
    classes: npt.NDArray[np.intp]
    tree: Any

    @classmethod
    def of(cls, geometries: Geometries, classes: npt.NDArray[np.intp]) -> Pieces:
        """Index polygons."""
        return cls(geometries, classes, shapely.STRtree(geometries))

    def within(self, box: Box) -> Pieces:
        """What lies in a box, cut at its edges."""
        near = np.sort(self.tree.query(shapely.box(*box)))
        geometries = self.geometries[near].copy()
        extents = shapely.bounds(geometries)
        crossing = (extents[:, :2] < box[:2]).any(axis=1) | (extents[:, 2:] > box[2:]).any(axis=1)
        geometries[crossing] = shapely.intersection(geometries[crossing], shapely.box(*box))
        parts, origin = polygon_parts(geometries)
        return Pieces.of(parts, self.classes[near[origin]])


def measure_cover(
    tiles: Path,
    landcover: Path,
    nomenclature: Nomenclature,
    store: Path,
    manifest: Path,
    workers: int = 1,
) -> None:
    """Measure the share of every class in every tile, and draw the class of every pixel.

    Polygons are reprojected to the tiles' CRS with densified edges. The result does not depend on
    `workers`. Memory is bounded by one shard of masks and a chunk per worker, beside the polygons.

    Args:
        tiles: Tile store with `bounds`, `ids` and `images` (only its shape is used).
        landcover: GeoParquet with `code` and polygons in any CRS.
        nomenclature: Classes, in the order of the result.
        store: Cover store to write: `mask (tile, y, x)` uint8, 0 or class position + 1, by the
            pixel's centre; `cover (tile, class)` float32, share of the full tile; `ids`.
        manifest: Its content manifest.
        workers: Threads.

    Raises:
        LandCoverError: The land cover has codes that are not in the nomenclature.
        StoreError: The tile store is damaged, has no positions, or is not on one pixel grid.
    """
    use_fast_codecs()
    grid = _read_tiles(tiles)
    pieces = _read_pieces(landcover, nomenclature, grid)
    attributes = {
        "nomenclature": nomenclature.name,
        "classes": [
            {"code": item.code, "name": item.name, "colour": item.colour}
            for item in nomenclature.classes
        ],
    }
    n = len(grid.bounds)
    cover = np.zeros((n, len(nomenclature)), dtype=np.float64)
    measure = partial(_measure, grid, pieces, len(nomenclature))
    with new_store(store, attributes) as group, ThreadPoolExecutor(workers) as pool:
        mask = create_array(
            group, "mask", (n, *grid.shape), np.uint8, dimensions=("tile", "y", "x")
        )
        shard = (mask.shards or mask.chunks)[0]
        for start in range(0, n, shard):
            stop = min(n, start + shard)
            drawn = np.zeros((stop - start, *grid.shape), dtype=np.uint8)
            chunks = list(_chunks(grid, start, stop))
            for chunk, (masks, shares) in zip(chunks, pool.map(measure, chunks), strict=True):
                drawn[chunk.start - start : chunk.stop - start] = masks
                cover[chunk] = shares
            mask[start:stop] = drawn
        _write_cover(group, cover)
        write_strings(group, "ids", grid.ids, "tile")
    _warn_of_overlaps(cover, grid.ids, landcover)
    write_json(manifest, content_manifest(store))


def exact_cover(
    polygons: geopandas.GeoDataFrame, bounds: npt.ArrayLike, nomenclature: Nomenclature
) -> npt.NDArray[np.float64]:
    """Exact share of each class in rectangles.

    No pixel is counted (:func:`geolatents.labels.areas.class_areas`); a rectangle's shares sum to 1
    where polygons cover it without overlap. Overlapping polygons count each.

    Args:
        polygons: Valid polygons with a column `code`, in the CRS of the rectangles.
        bounds: (n, 4) left, bottom, right, top in CRS units; neighbours near each other in the list
            are fastest.
        nomenclature: Classes, in the order of the result.

    Returns:
        (n, class) float64, 0..1; shares below 1e-9 are rounding and become 0.

    Raises:
        LandCoverError: A code is not in the nomenclature.
    """
    boxes = np.asarray(bounds, dtype=np.float64).reshape(-1, 4)
    pieces = Pieces.of(
        np.asarray(polygons.geometry.array, dtype=object),
        _class_positions(polygons["code"], nomenclature, "polygons"),
    )
    result = np.zeros((len(boxes), len(nomenclature)), dtype=np.float64)
    for start in range(0, len(boxes), CHUNK):
        part = boxes[start : start + CHUNK]
        result[start : start + CHUNK] = _shares(pieces, part, len(nomenclature))
    return result


@dataclass(frozen=True)
class _Tiles:
    """What is needed of a tile store: places on one pixel grid."""

    ids: npt.NDArray[np.str_]
    bounds: npt.NDArray[np.float64]
    crs: pyproj.CRS
    shape: tuple[int, int]
    pixel: tuple[float, float]


def _read_tiles(path: Path) -> _Tiles:
    group = open_store(path)
    if "bounds" not in group or not group.attrs.get("crs"):
        raise StoreError(
            "tiles have no positions",
            where=path,
            expected="tiles of georeferenced scenes",
            fix="image folders bring their own labels; remove `landcover`",
        )
    bounds = read_array(group, "bounds").astype(np.float64)
    height, width = group["images"].shape[1:3]  # type: ignore[union-attr]
    pixel = (1.0, 1.0)
    if len(bounds):
        left, bottom, right, top = bounds[0]
        pixel = ((right - left) / width, (top - bottom) / height)
        steps = (bounds[:, [0, 3]] - bounds[0, [0, 3]]) / pixel
        if np.abs(steps - np.round(steps)).max() > 0.01:
            raise StoreError(
                "tiles are not on one pixel grid",
                where=path,
                expected="bounds whole pixels apart",
                fix="delete the store with its manifest and rerun the rule that makes it",
            )
    crs = pyproj.CRS.from_user_input(group.attrs["crs"])
    return _Tiles(read_strings(group, "ids"), bounds, crs, (height, width), pixel)


def _read_pieces(landcover: Path, nomenclature: Nomenclature, tiles: _Tiles) -> Pieces:
    """Polygons around the tiles, in their CRS."""
    frame = geopandas.read_parquet(landcover)
    classes = _class_positions(frame["code"], nomenclature, landcover)
    geometries = np.asarray(frame.geometry.array, dtype=object)
    if not len(tiles.bounds):
        return Pieces.of(geometries[:0], classes[:0])
    source = pyproj.CRS.from_user_input(frame.crs)
    step = max(tiles.pixel)
    around = reprojected_bounds(expanded(_hull(tiles.bounds), 4 * step), tiles.crs, source)
    if not np.isfinite(around).all():
        raise LandCoverError(
            "the land cover's CRS cannot express the tiles",
            where=landcover,
            expected=tiles.crs.name,
            found=source.name,
            fix="check the CRS of both",
        )
    # The margin makes up for the outline's own bend; cutting first keeps long edges elsewhere from
    # being densified.
    margin = 0.01 * max(around[2] - around[0], around[3] - around[1])
    cut, origin = clip_polygons(geometries, shapely.box(*expanded(around, margin)))
    moved = reproject(cut, source, tiles.crs, TOLERANCE * min(tiles.pixel))
    # Rounding can make narrow necks touch themselves.
    broken = ~shapely.is_valid(moved)
    moved[broken] = shapely.make_valid(moved[broken], method="structure", keep_collapsed=False)
    return Pieces.of(moved, classes[origin])


def _class_positions(
    codes: Sequence[str], nomenclature: Nomenclature, where: object
) -> npt.NDArray[np.intp]:
    texts = np.asarray(codes, dtype=np.str_)
    unique, inverse = np.unique(texts, return_inverse=True)
    unknown = [str(code) for code in unique if str(code) not in nomenclature]
    if unknown:
        raise LandCoverError(
            f"the land cover has codes that are not in nomenclature {nomenclature.name!r}",
            where=str(where),
            found=", ".join(unknown),
            fix="read the land cover again",
        )
    positions = np.array([nomenclature.index(str(code)) for code in unique], dtype=np.intp)
    return positions[inverse] if len(texts) else np.zeros(0, dtype=np.intp)


def _chunks(tiles: _Tiles, start: int, stop: int) -> Iterator[slice]:
    """Runs of tiles whose common rectangle is small enough to draw."""
    for first in range(start, stop, CHUNK):
        yield from _drawable(tiles, slice(first, min(stop, first + CHUNK)))


def _drawable(tiles: _Tiles, chunk: slice) -> Iterator[slice]:
    left, bottom, right, top = _hull(tiles.bounds[chunk])
    pixels = (right - left) / tiles.pixel[0] * (top - bottom) / tiles.pixel[1]
    if pixels <= CHUNK_PIXELS or chunk.stop - chunk.start == 1:
        yield chunk
    else:
        middle = (chunk.start + chunk.stop) // 2
        yield from _drawable(tiles, slice(chunk.start, middle))
        yield from _drawable(tiles, slice(middle, chunk.stop))


def _measure(
    tiles: _Tiles, pieces: Pieces, n_classes: int, chunk: slice
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64]]:
    """Masks (tile, y, x) and shares (tile, class) of one chunk."""
    boxes = tiles.bounds[chunk]
    masks = _masks(pieces.within(_hull(boxes)), boxes, tiles)
    return masks, _shares(pieces, boxes, n_classes)


def _masks(pieces: Pieces, boxes: npt.NDArray[np.float64], tiles: _Tiles) -> npt.NDArray[np.uint8]:
    left, bottom, right, top = _hull(boxes)
    width, height = tiles.pixel
    shape = (round((top - bottom) / height), round((right - left) / width))
    drawn = _draw(pieces, shape, Affine(width, 0, left, 0, -height, top))
    columns = np.rint((boxes[:, 0] - left) / width).astype(np.intp)
    rows = np.rint((top - boxes[:, 3]) / height).astype(np.intp)
    windows = np.lib.stride_tricks.sliding_window_view(drawn, tiles.shape)
    return windows[rows, columns]


def _draw(pieces: Pieces, shape: tuple[int, int], transform: Affine) -> npt.NDArray[np.uint8]:
    """Class position + 1 at every pixel centre, 0 where there is no polygon."""
    shapes = [
        (geometry, int(position) + 1)
        for geometry, position in zip(pieces.geometries, pieces.classes, strict=True)
    ]
    if not shapes:
        return np.zeros(shape, dtype=np.uint8)
    drawn = rasterio.features.rasterize(
        shapes, out_shape=shape, transform=transform, dtype=np.uint8
    )
    return np.asarray(drawn, dtype=np.uint8)


def _shares(
    pieces: Pieces, boxes: npt.NDArray[np.float64], n_classes: int
) -> npt.NDArray[np.float64]:
    """Share (box, class) of each class, summed over its polygons."""
    near = np.sort(pieces.tree.query(shapely.box(*_hull(boxes))))
    areas = class_areas(pieces.geometries[near], pieces.classes[near], boxes, n_classes)
    sizes = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    shares = areas / sizes[:, None]
    shares[shares < ROUNDING] = 0.0
    return np.asarray(shares)


def _write_cover(group: Any, cover: npt.NDArray[np.float64]) -> None:
    array = create_array(group, "cover", cover.shape, np.float32, dimensions=("tile", "class"))
    step = (array.shards or array.chunks)[0]
    for start in range(0, len(cover), step):
        array[start : start + step] = cover[start : start + step].astype(np.float32)


def _warn_of_overlaps(
    cover: npt.NDArray[np.float64], ids: npt.NDArray[np.str_], landcover: Path
) -> None:
    sums = cover.sum(axis=1)
    over = np.flatnonzero(sums > 1 + 1e-6)
    if over.size:
        worst = over[np.argmax(sums[over])]
        LOG.warning(
            "%s: polygons overlap; shares sum to more than 1 in %d of %d tiles, to %.4f in %s",
            landcover, over.size, len(cover), sums[worst], ids[worst],
        )  # fmt: skip


def _hull(boxes: npt.NDArray[np.float64]) -> Box:
    """Smallest box around boxes."""
    left, bottom = boxes[:, :2].min(axis=0).tolist()
    right, top = boxes[:, 2:].max(axis=0).tolist()
    return left, bottom, right, top
