"""Exact area of each class in rectangles, from the edges of polygons.

Green's theorem: the area of a polygon within a rectangle is the integral along its rings of the
height above the rectangle's floor, cut off at its ceiling, over the x within it. All rectangles
together span a grid of lines; every edge is cut where it crosses a line, and each piece then counts
in its own cell and, with its full width, in all cells below. It is what exact renderers of fonts do
(coverage accumulation, as in Levien, font-rs, 2016), in float64 and per class.

No polygon is ever clipped, so nothing depends on how edges touch a rectangle.
`shapely.clip_by_rect` (GEOS 3.14) is wrong by whole corners, or raises, where vertices lie on the
rectangle's edges, as those of land-cover rasters do on tile grids; `shapely.intersection` is right
and slower (benchmarks/cover.py).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import shapely

from geolatents.geometry import Geometries

Floats = npt.NDArray[np.float64]
Positions = npt.NDArray[np.intp]

EDGES = 2**18
"""Edges handled at a time; bounds the memory."""


def class_areas(polygons: Geometries, classes: Positions, boxes: Floats, n_classes: int) -> Floats:
    """Area of each class in rectangles, summed over its polygons.

    Args:
        polygons: (n,) polygons.
        classes: (n,) class of each.
        boxes: (m, 4) left, bottom, right, top; best a few hundred that are near each other.
        n_classes: Number of classes.

    Returns:
        (m, class) areas in squared units of the coordinates, exact to rounding.
    """
    if not len(boxes) or not len(polygons):
        return np.zeros((len(boxes), n_classes), dtype=np.float64)
    x, y = np.unique(boxes[:, [0, 2]]), np.unique(boxes[:, [1, 3]])
    if x.size * y.size > 16 * len(boxes) + 4096:  # boxes on no common grid
        middle = len(boxes) // 2
        halves = (boxes[:middle], boxes[middle:])
        return np.concatenate([class_areas(polygons, classes, h, n_classes) for h in halves])
    cells = _cell_areas(polygons, classes, x, y, n_classes)
    sums = np.zeros((n_classes, y.size, x.size), dtype=np.float64)
    sums[:, 1:, 1:] = cells.cumsum(axis=1).cumsum(axis=2)
    left, right = (np.searchsorted(x, boxes[:, i]) for i in (0, 2))
    bottom, top = (np.searchsorted(y, boxes[:, i]) for i in (1, 3))
    found = (
        sums[:, top, right] - sums[:, bottom, right] - sums[:, top, left] + sums[:, bottom, left]
    )
    return np.ascontiguousarray(found.T)


def _cell_areas(
    polygons: Geometries, classes: Positions, x: Floats, y: Floats, n_classes: int
) -> Floats:
    """Area (class, row, column) in the cells between lines; rows from the bottom."""
    edges, owner = _edges(polygons, float(x[0]), float(y[0]))
    x, y = x - x[0], y - y[0]
    shape = (n_classes, y.size, x.size - 1)  # one row more: what lies above the grid
    inside, width = np.zeros(shape), np.zeros(shape)
    for start in range(0, edges.shape[1], EDGES):
        block = edges[:, start : start + EDGES]
        _accumulate(block, classes[owner[start : start + EDGES]], x, y, inside, width)
    above = width[:, ::-1].cumsum(axis=1)[:, -2::-1]  # widths of all rows above each row
    return np.asarray(inside[:, :-1] + above * np.diff(y)[:, None])


def _edges(polygons: Geometries, left: float, bottom: float) -> tuple[Floats, Positions]:
    """Edges (x0, y0, x1, y1 by edge) with the inside to their left, and the polygon of each.

    Coordinates are relative to a corner near them, so that no digits are lost in products.
    """
    rings, owner = shapely.get_rings(shapely.orient_polygons(polygons), return_index=True)
    points, ring = shapely.get_coordinates(rings, return_index=True)
    same = np.flatnonzero(ring[1:] == ring[:-1])
    x, y = points[:, 0] - left, points[:, 1] - bottom
    return np.stack([x[same], y[same], x[same + 1], y[same + 1]]), owner[ring[same]]


def _accumulate(
    edges: Floats, classes: Positions, x: Floats, y: Floats, inside: Floats, width: Floats
) -> None:
    """Add the areas below edges to the cells that hold them, and widths for the cells below."""
    x0, y0, x1, y1 = edges
    # Edges beside or below the grid, and upright ones, have no area below them in it.
    over = np.flatnonzero(
        (np.maximum(x0, x1) > 0)
        & (np.minimum(x0, x1) < x[-1])
        & (np.maximum(y0, y1) > 0)
        & (x0 != x1)
    )
    edges, origin = _cut(edges[:, over], x)
    edges, second = _cut(edges[[1, 0, 3, 2]], y)
    y0, x0, y1, x1 = edges
    classes = classes[over[origin[second]]]
    middle = (x0 + x1) / 2
    column = np.searchsorted(x, middle, side="right") - 1
    row = np.searchsorted(y, (y0 + y1) / 2, side="right") - 1
    kept = np.flatnonzero((column >= 0) & (column < x.size - 1) & (row >= 0))
    column, row = column[kept], row[kept]
    step = x0[kept] - x1[kept]  # leftwards edges have the inside below them
    height = (y0[kept] + y1[kept]) / 2 - y[row]
    cell = np.ravel_multi_index((classes[kept], row, column), inside.shape)
    inside += np.bincount(cell, step * height, inside.size).reshape(inside.shape)
    width += np.bincount(cell, step, inside.size).reshape(inside.shape)


def _cut(edges: Floats, lines: Floats) -> tuple[Floats, Positions]:
    """Cut edges (a0, b0, a1, b1) where a crosses lines; the pieces and the edge of each."""
    a0, b0, a1, b1 = edges
    first = np.searchsorted(lines, np.minimum(a0, a1), side="right")
    last = np.searchsorted(lines, np.maximum(a0, a1), side="left")
    crossing = np.flatnonzero(last > first)
    whole = np.flatnonzero(last <= first)
    pieces = (last - first)[crossing] + 1
    edge = np.repeat(crossing, pieces)
    number = np.arange(edge.size) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    a0, b0, a1, b1 = edges[:, edge]
    slope = (b1 - b0) / (a1 - a0)
    rising = a1 > a0
    final = number == (last - first)[edge]
    # Cuts before and after a piece, counted along the edge.
    before = np.where(rising, first[edge] + number - 1, last[edge] - number)
    after = np.where(rising, before + 1, before - 1)
    start = lines[np.minimum(before, lines.size - 1)]
    end = lines[np.clip(after, 0, lines.size - 1)]
    cut = np.stack(
        [
            np.where(number == 0, a0, start),
            np.where(number == 0, b0, b0 + (start - a0) * slope),
            np.where(final, a1, end),
            np.where(final, b1, b0 + (end - a0) * slope),
        ]
    )
    return np.concatenate([edges[:, whole], cut], axis=1), np.concatenate([whole, edge])
