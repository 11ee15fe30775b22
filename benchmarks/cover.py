"""Exact cover against exactextract, GEOS and per-class rasters, side by side in one run.

Prints a Markdown table: `python benchmarks/cover.py [--polygons 5000] [--tiles-per-side 39]`.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import exactextract
import geopandas
import numpy as np
import numpy.typing as npt
import pyproj
import rasterio.features
import shapely
from affine import Affine
from common import parser, report

from geolatents.labels.cover import exact_cover
from geolatents.nomenclature import corine

Floats = npt.NDArray[np.float64]
TILE = 128
CRS = pyproj.CRS("EPSG:32636")
CODES = corine().codes[:38]


def main() -> None:
    """Draw a country, measure it in every way, print the table."""
    arguments = parser(__doc__)
    arguments.add_argument("--polygons", type=int, default=5000)
    arguments.add_argument("--tiles-per-side", type=int, default=39)
    options = arguments.parse_args()
    side = options.tiles_per_side * TILE
    country = draw_country(options.polygons, side)
    boxes = tile_boxes(options.tiles_per_side)
    ways: dict[str, Callable[[], Floats]] = {
        "geolatents `exact_cover`": lambda: exact_cover(country, boxes, corine())[:, : len(CODES)],
        "`shapely.clip_by_rect` per tile": lambda: by_clipping(country, boxes),
        "`shapely.intersection`": lambda: by_intersection(country, boxes),
        "exactextract, tiles as cells": lambda: by_exactextract(country, options.tiles_per_side),
        "one raster per class, counted": lambda: by_rasters(country, options.tiles_per_side),
    }
    seconds, covers = measure(ways, options.repeats)
    vertices = int(shapely.get_num_coordinates(country.geometry.to_numpy()).mean())
    head = (
        f"{len(country)} polygons of {vertices} vertices, {len(boxes)} tiles of {TILE} pixels.\n\n"
    )
    report(head + cover_table(seconds, covers), options.output)


def measure(
    ways: dict[str, Callable[[], Floats]], repeats: int
) -> tuple[dict[str, float], dict[str, Floats]]:
    """Best of several rounds; every round runs every way, so that load hits all alike."""
    seconds = dict.fromkeys(ways, float("inf"))
    covers: dict[str, Floats] = {}
    for _ in range(repeats):
        for name, way in ways.items():
            start = time.perf_counter()
            covers[name] = way()
            seconds[name] = min(seconds[name], time.perf_counter() - start)
    return seconds, covers


def cover_table(seconds: dict[str, float], covers: dict[str, Floats]) -> str:
    """Seconds, ratio to ours, largest difference from intersection, positives missed."""
    ours, exact = next(iter(seconds.values())), covers["`shapely.intersection`"]
    rows = [
        "| way | seconds | times ours | largest difference | positives missed |",
        "|---|---|---|---|---|",
    ]
    for name, cover in covers.items():
        missed = ((cover == 0) & (exact > 1e-9)).sum() / (exact > 1e-9).sum()
        rows.append(
            f"| {name} | {seconds[name]:.2f} | {seconds[name] / ours:.1f} "
            f"| {np.abs(cover - exact).max():.1e} | {missed:.2%} |"
        )
    return "\n".join(rows)


def draw_country(n: int, side: float) -> geopandas.GeoDataFrame:
    """A gapless country of curved polygons with about 100 vertices each."""
    generator = np.random.default_rng(0)
    frame = shapely.box(0, 0, side, side)
    points = shapely.multipoints(generator.uniform(0, side, (n, 2)))
    cells = shapely.get_parts(shapely.voronoi_polygons(points, extend_to=frame))
    cells = shapely.segmentize(shapely.intersection(cells, frame), 0.042 * side / np.sqrt(n))
    waves = 0.02 * side / np.sqrt(n)

    def bent(xy: Floats) -> Floats:
        return np.asarray(xy + waves * np.sin(xy[:, ::-1] / (2 * waves) + [0.0, 1.0]))

    curved = shapely.transform(cells, bent)
    valid = shapely.make_valid(curved, method="structure", keep_collapsed=False)
    frame_codes = generator.choice(CODES, len(valid))
    country = geopandas.GeoDataFrame({"code": frame_codes}, geometry=valid, crs=CRS)
    return country.explode(ignore_index=True)


def tile_boxes(per_side: int) -> Floats:
    """(tile, 4) bounds, row by row from the top."""
    row, column = np.divmod(np.arange(per_side**2), per_side)
    left, top = column * TILE, (per_side - row) * TILE
    return np.stack([left, top - TILE, left + TILE, top], axis=1).astype(np.float64)


def _positions(country: geopandas.GeoDataFrame) -> npt.NDArray[np.intp]:
    return np.array([CODES.index(code) for code in country["code"]], dtype=np.intp)


def by_clipping(country: geopandas.GeoDataFrame, boxes: Floats) -> Floats:
    """GEOS's rectangle clipping, one call per tile."""
    polygons, classes = np.asarray(country.geometry.array, dtype=object), _positions(country)
    tile, polygon = shapely.STRtree(polygons).query(shapely.box(*boxes.T))
    starts = np.searchsorted(tile, np.arange(len(boxes) + 1))
    cover = np.zeros((len(boxes), len(CODES)))
    for i, box in enumerate(boxes.tolist()):
        near = polygon[starts[i] : starts[i + 1]]
        clipped = np.asarray(shapely.clip_by_rect(polygons[near], *box))
        np.add.at(cover[i], classes[near], shapely.area(clipped))
    return cover / TILE**2


def by_intersection(country: geopandas.GeoDataFrame, boxes: Floats) -> Floats:
    """GEOS's overlay of all pairs: the reference."""
    polygons, classes = np.asarray(country.geometry.array, dtype=object), _positions(country)
    tiles = shapely.box(*boxes.T)
    tile, polygon = shapely.STRtree(polygons).query(tiles)
    cover = np.zeros((len(boxes), len(CODES)))
    areas = shapely.area(shapely.intersection(polygons[polygon], np.asarray(tiles)[tile]))
    np.add.at(cover, (tile, classes[polygon]), areas)
    return cover / TILE**2


def by_exactextract(country: geopandas.GeoDataFrame, per_side: int) -> Floats:
    """Every tile is a cell of a grid."""
    side = float(per_side * TILE)
    cells = np.arange(per_side**2, dtype=np.float64).reshape(per_side, per_side)
    grid = exactextract.raster.NumPyRasterSource(
        cells, xmin=0, ymin=0, xmax=side, ymax=side, srs_wkt=CRS.to_wkt()
    )
    found = exactextract.exact_extract(
        grid, country, ["cell_id", "coverage"], include_cols=["code"], output="pandas"
    )
    cover = np.zeros((per_side**2, len(CODES)))
    for code, cell, share in zip(found["code"], found["cell_id"], found["coverage"], strict=True):
        cover[cell.astype(int), CODES.index(code)] += share
    return cover


def by_rasters(country: geopandas.GeoDataFrame, per_side: int) -> Floats:
    """Pixels counted in one raster per class."""
    side = per_side * TILE
    cover = np.zeros((per_side**2, len(CODES)))
    for position, code in enumerate(CODES):
        shapes = country.geometry[country["code"] == code]
        if shapes.empty:
            continue
        drawn = rasterio.features.rasterize(
            shapes, out_shape=(side, side), transform=Affine(1, 0, 0, 0, -1, side), dtype=np.uint8
        )
        tiles = drawn.reshape(per_side, TILE, per_side, TILE).mean(axis=(1, 3))
        cover[:, position] = tiles.ravel()
    return cover


if __name__ == "__main__":
    main()
