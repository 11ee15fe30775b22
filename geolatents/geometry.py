"""Polygons between coordinate reference systems: straight edges stay where they are on the ground.

A straight edge in one CRS is a curve in another. Reprojecting only its ends moves everything
between them, so edges are densified first, to a length measured for the two systems and the place.
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj
import shapely
from shapely.geometry.base import BaseGeometry

Geometries = npt.NDArray[np.object_]
Box = tuple[float, float, float, float]
"""Left, bottom, right, top."""

POLYGON, MULTI_POLYGON = 3, 6

DECIMALS = 7
"""Of degrees in GeoJSON, about 1 cm."""


def same_crs(one: pyproj.CRS, other: pyproj.CRS) -> bool:
    """Whether two systems are the same, their axis order aside (files keep x before y)."""
    return bool(one == other or one.equals(other, ignore_axis_order=True))


def reproject(
    geometries: Geometries, source: pyproj.CRS, target: pyproj.CRS, tolerance: float
) -> Geometries:
    """Reproject geometries whose edges are straight in the source CRS.

    Args:
        geometries: (n,) shapely geometries, x before y whatever the CRS says (as in GIS files).
        source: Their CRS.
        target: CRS of the result.
        tolerance: Largest distance of the result from the true curve, in units of the target CRS.

    Returns:
        (n,) geometries in the target CRS; coordinates that it cannot express are infinite.
    """
    if same_crs(source, target) or not len(geometries):
        return geometries
    transformer = pyproj.Transformer.from_crs(source, target, always_xy=True)
    length = segment_length(_total_bounds(geometries), transformer, tolerance)
    dense = shapely.segmentize(geometries, length) if math.isfinite(length) else geometries
    return np.asarray(_transformed(dense, transformer))


def segment_length(bounds: Box, transformer: pyproj.Transformer, tolerance: float) -> float:
    """Longest edge within bounds that a transformation bends by less than a tolerance.

    The bend (sagitta) of a short edge grows with the square of its length, so one trial length
    gives the next; bends are measured at 9 x 9 places in 8 directions, with half the tolerance kept
    back for places between them.

    Args:
        bounds: Extent in the source CRS.
        transformer: From source to target, x before y.
        tolerance: Largest bend in target units.

    Returns:
        Length in source units; infinite where nothing bends.
    """
    extent = max(bounds[2] - bounds[0], bounds[3] - bounds[1])
    if extent <= 0:
        return math.inf
    length = extent
    for _ in range(60):
        bend = _largest_bend(bounds, length, transformer)
        if bend <= tolerance / 2:
            return math.inf if length == extent else length
        shrink = 0.9 * math.sqrt(tolerance / 2 / bend) if math.isfinite(bend) else 0.25
        length *= min(0.9, shrink)
    return length


def _largest_bend(bounds: Box, length: float, transformer: pyproj.Transformer) -> float:
    left, bottom, right, top = bounds
    x, y, angle = (
        part.ravel()
        for part in np.meshgrid(
            np.linspace(left, right, 9), np.linspace(bottom, top, 9), np.arange(8) * np.pi / 8
        )
    )
    steps = np.array([-0.5, -0.25, 0.0, 0.25, 0.5])[:, None] * length
    u, v = transformer.transform(x + steps * np.cos(angle), y + steps * np.sin(angle))
    if not np.isfinite([u, v]).any():
        return math.inf
    chord_u, chord_v = u[-1] - u[0], v[-1] - v[0]
    with np.errstate(invalid="ignore", divide="ignore"):
        across = np.abs(chord_u * (v[1:-1] - v[0]) - chord_v * (u[1:-1] - u[0]))
        bends = across / np.hypot(chord_u, chord_v)
    finite = bends[np.isfinite(bends)]
    return float(finite.max()) if finite.size else math.inf


def reprojected_bounds(bounds: Box, source: pyproj.CRS, target: pyproj.CRS) -> Box:
    """Bounds in another CRS of a densified box; infinite where the CRS cannot express it."""
    outline = shapely.segmentize(shapely.box(*bounds), max(_sides(bounds)) / 64 or 1.0)
    if not same_crs(source, target):
        transformer = pyproj.Transformer.from_crs(source, target, always_xy=True)
        outline = _transformed(outline, transformer)
    return _total_bounds(np.asarray([outline]))


def polygon_parts(geometries: Geometries) -> tuple[Geometries, npt.NDArray[np.intp]]:
    """Single polygons of any geometries, empty ones and lines left out.

    Returns:
        (m,) polygons and (m,) the position of the geometry that each comes from.
    """
    parts, origin = shapely.get_parts(geometries, return_index=True)
    if (shapely.get_type_id(parts) == MULTI_POLYGON).any():  # inside a collection
        parts, inner = shapely.get_parts(parts, return_index=True)
        origin = origin[inner]
    kept = (shapely.get_type_id(parts) == POLYGON) & ~shapely.is_empty(parts)
    return parts[kept], origin[kept]


def only_polygons(shape: BaseGeometry) -> BaseGeometry | None:
    """The polygons of a valid shape, without the lines and points where outlines touch; None if there are none."""
    parts, _ = polygon_parts(np.asarray([shape]))
    parts = parts[shapely.area(parts) > 0]
    if not len(parts):
        return None
    return parts[0] if len(parts) == 1 else shapely.MultiPolygon(list(parts))


def degrees_geojson(shape: BaseGeometry) -> dict[str, Any]:
    """GeoJSON of a shape in longitude and latitude, with as many decimals as count."""
    rounded = shapely.transform(shape, lambda positions: np.round(positions, DECIMALS))
    return dict(json.loads(shapely.to_geojson(rounded)))


def clip_polygons(
    geometries: Geometries, area: shapely.Geometry, *, exact: bool = True
) -> tuple[Geometries, npt.NDArray[np.intp]]:
    """Parts of valid polygons inside an area; polygons wholly inside stay as they are.

    Args:
        geometries: (n,) valid polygons.
        area: A polygon or multipolygon.
        exact: Cut at the area's edge; else only leave out what does not touch it.

    Returns:
        (m,) polygons and (m,) the position of the polygon that each comes from.
    """
    shapely.prepare(area)
    touching = np.flatnonzero(shapely.intersects(area, geometries))
    kept = geometries[touching].copy()
    if not exact:
        return kept, touching
    crossing = ~shapely.covers(area, kept)
    kept[crossing] = shapely.intersection(kept[crossing], area)
    parts, origin = polygon_parts(kept)
    return parts, touching[origin]


def expanded(bounds: Box, margin: float) -> Box:
    """A box larger by a margin on every side."""
    left, bottom, right, top = bounds
    return left - margin, bottom - margin, right + margin, top + margin


def _transformed(geometries: Any, transformer: pyproj.Transformer) -> Any:
    function: Any = transformer.transform
    return shapely.transform(geometries, function, interleaved=False)


def _sides(bounds: Box) -> Box:
    return 0.0, 0.0, bounds[2] - bounds[0], bounds[3] - bounds[1]


def _total_bounds(geometries: Geometries) -> Box:
    left, bottom, right, top = (float(value) for value in shapely.total_bounds(geometries))
    return left, bottom, right, top
