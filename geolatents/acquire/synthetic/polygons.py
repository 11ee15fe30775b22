"""The land cover as a coverage: polygons without gaps and overlaps, as GeoParquet."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import shapely
from rasterio.features import shapes

from geolatents.acquire.synthetic.landscape import CELL, LANDCOVER_CRS, Landscape, landscape_of
from geolatents.acquire.synthetic.names import sheet_count
from geolatents.acquire.synthetic.rules import CODES
from geolatents.files import atomic_path
from geolatents.settings.synthetic import SyntheticImagery

SMOOTHING = 16.0
"""Tolerance in metres of the coverage simplification that removes the cells' steps."""


def draw_landcover(imagery: SyntheticImagery, output: Path) -> None:
    """Write the land cover of all map sheets that the scenes need.

    Args:
        imagery: Region, number of scenes and seed.
        output: GeoParquet with the columns ``code`` (CORINE level 3) and ``geometry`` in EPSG:3035.
    """
    parts = [sheet_polygons(landscape_of(imagery, sheet)) for sheet in range(sheet_count(imagery))]
    codes = np.concatenate([part[0] for part in parts])
    geometry = np.concatenate([part[1] for part in parts])
    frame = gpd.GeoDataFrame({"code": codes}, geometry=geometry, crs=LANDCOVER_CRS)
    with atomic_path(output) as part:
        frame.to_parquet(part, index=False)


def sheet_polygons(land: Landscape) -> tuple[np.ndarray, np.ndarray]:
    """Codes and polygons of a sheet, a valid coverage in EPSG:3035.

    The outlines of cells share their edges exactly; simplifying the whole coverage at once
    (Visvalingam and Whyatt 1993, on shared edges) keeps it so.

    Returns:
        Codes ``(polygon,)`` as strings and shapely polygons ``(polygon,)``.
    """
    found = list(shapes(land.classes, connectivity=4, transform=land.sheet.transform))
    rings = [shape["coordinates"] for shape, _ in found]
    blocky = np.asarray([shapely.Polygon(ring[0], ring[1:]) for ring in rings], dtype=object)
    # Polygonising drops corners on straight edges, where a neighbour may have a node: put all back.
    noded = shapely.transform(shapely.segmentize(blocky, CELL), np.round)
    smooth = shapely.coverage_simplify(noded, SMOOTHING, simplify_boundary=False)
    codes = np.asarray([CODES[int(value)] for _, value in found], dtype=object)
    return codes, smooth
