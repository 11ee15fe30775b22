"""Terrain, coast, towns, roads and the class of every cell of a map sheet."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from affine import Affine
from pyproj import Transformer
from rasterio.features import sieve
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from geolatents.acquire.synthetic.names import OVERLAP, PIXEL
from geolatents.acquire.synthetic.noise import Field, hashed, quantiles, smooth_noise
from geolatents.acquire.synthetic.rules import CODES, RULES, RegionRules
from geolatents.seeds import derived_seed, generator
from geolatents.settings.synthetic import SyntheticImagery

CELL = 12
"""Side of a cell in metres, in the CRS of the land cover."""
LANDCOVER_CRS = "EPSG:3035"
MINIMUM_UNIT_HA = 2.5
"""Smallest polygon of the land cover in hectares."""
PARCEL = 235.0
"""Mean side of a parcel in metres."""
HILLS = 3300.0
SOILS = 2900.0
SHORES = 3000.0
TOWN_RADIUS = 430.0
ROAD_WIDTH = 78.0
ROAD_GRID = 8
"""Roads are routed on cells this many times coarser."""

Codes = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Sheet:
    """Grid of a map sheet.

    Attributes:
        size: Side in cells of `CELL` metres.
        transform: From (column, row) of a cell's corner to EPSG:3035.
    """

    size: int
    transform: Affine


@dataclass(frozen=True, slots=True)
class Landscape:
    """A map sheet's land.

    Attributes:
        sheet: Its grid.
        classes: ``(size, size)`` positions in `CODES`.
        elevation: ``(size, size)`` metres above the sea; negative at sea.
        towns: ``(town, 2)`` row and column of the centres, in cells.
        roads: Lines of (row, column) in cells.
    """

    sheet: Sheet
    classes: Codes
    elevation: Field
    towns: Points
    roads: tuple[Points, ...]


@lru_cache(maxsize=4)
def landscape(region: str, seed: int, scene_size: int, number: int) -> Landscape:
    """The land of one map sheet; the same in every process.

    Args:
        region: ``"A"`` or ``"B"``.
        seed: Seed of the country.
        scene_size: Side of a scene in pixels of 3 m; the sheet grows with scenes above the default size.
        number: Number of the sheet within the region.
    """
    rules = RULES[region]
    grid = sheet_grid(rules, scene_size, number)
    random = generator(seed, "synthetic", "landscape", region, number)
    elevation = _elevation(rules, random, grid.size)
    sea = elevation < 0
    soil = quantiles(smooth_noise(random, grid.size, SOILS / CELL, 3.5), ~sea)
    coast = _distance(sea)
    towns = _place_towns(rules, random, elevation, coast)
    roads = _route_roads(towns, elevation)
    town = _distance_to_points(towns, grid.size) / TOWN_RADIUS
    parcels, points = _parcels(random, grid.size)
    draw = _draw_lots(points, derived_seed(seed, region, number) % 2**31, grid.size)
    chosen = _zone_classes(rules, points, draw, elevation, soil, coast, town)
    classes = chosen[parcels]
    _draw_special(rules, random, classes, elevation, soil, coast, town, roads)
    return Landscape(grid, _generalise(classes), elevation, towns, roads)


def landscape_of(imagery: SyntheticImagery, number: int) -> Landscape:
    """The land of one map sheet of an imagery."""
    return landscape(imagery.region, imagery.seed, imagery.drawn_size, number)


def sheet_grid(rules: RegionRules, scene_size: int, number: int) -> Sheet:
    """Grid of a map sheet that holds two by two overlapping scenes of the given size or less."""
    side = max(scene_size, 1920) * PIXEL * (2 - OVERLAP)
    # The scenes' CRS is turned by up to 4 degrees against EPSG:3035.
    size = int(np.ceil((side * 1.07 + 2 * CELL) / CELL / 32)) * 32
    x, y = Transformer.from_crs(4326, LANDCOVER_CRS, always_xy=True).transform(*rules.centre)
    left = round(x / CELL) * CELL - size * CELL // 2
    top = round(y / CELL) * CELL + size * CELL // 2 - number * (size * CELL + 6000)
    return Sheet(size, Affine(CELL, 0, left, 0, -CELL, top))


def _elevation(rules: RegionRules, random: np.random.Generator, size: int) -> Field:
    """Rolling hills on a plane that dips to the sea, metres."""
    hills = smooth_noise(random, size, HILLS / CELL, 4.6)
    hills += np.float32(0.12) * smooth_noise(random, size, HILLS / CELL / 4, 3.4)
    rows, columns = np.meshgrid(*[np.linspace(-1, 1, size, dtype=np.float32)] * 2, indexing="ij")
    east, north = rules.seaward
    plane = np.float32(-rules.tilt) * (east * columns - north * rows)
    height = smooth_noise(random, size, SHORES / CELL, 4.0) + plane
    level = np.quantile(height, rules.sea)
    raised = _without_inland_seas(height - level)
    # The plane only makes the coast: inland, hills and valleys repeat all over the region.
    inland = hills - np.float32(np.quantile(hills, 0.02))
    mixed = np.where(raised < 0, raised, np.minimum(raised * 1.6, np.maximum(inland, 0.02)))
    return (mixed * 130).astype(np.float32)


def _without_inland_seas(height: Field) -> Field:
    """Lift all waters that are small against the largest: the sea is one, with a few bays."""
    parts, count = ndimage.label(height < 0)
    if count < 2:
        return height
    cells = np.bincount(parts.ravel())[1:]
    small = np.flatnonzero(cells < 0.12 * cells.max()) + 1
    return np.where(np.isin(parts, small), np.float32(0.01), height)


def _distance(target: npt.NDArray[np.bool_]) -> Field:
    """Metres to the nearest cell of the target."""
    if not target.any():
        return np.full(target.shape, 1e6, np.float32)
    found: Field = ndimage.distance_transform_edt(~target).astype(np.float32)
    return found * np.float32(CELL)


def _distance_to_points(points: Points, size: int) -> Field:
    target = np.zeros((size, size), bool)
    places = points.astype(int)
    target[places[:, 0], places[:, 1]] = True
    return _distance(target)


def _place_towns(
    rules: RegionRules, random: np.random.Generator, elevation: Field, coast: Field
) -> Points:
    """Centres on flat land of the preferred height, each a good walk from the others."""
    land = elevation > 0
    slope = np.hypot(*np.gradient(ndimage.gaussian_filter(elevation, 6)))
    rank = quantiles(elevation, land)
    appeal = -np.abs(rank - rules.town_height) * 2 - slope * 1.5
    appeal += random.random(elevation.shape, dtype=np.float32) * 0.3
    appeal[(coast < 500) | ~land] = -np.inf
    margin = 25
    appeal[:margin], appeal[-margin:], appeal[:, :margin], appeal[:, -margin:] = [-np.inf] * 4
    wanted = round(rules.towns * elevation.size * CELL**2 / 1e8)
    # The country is divided into squares with one town each, so that every part of it has towns.
    step = max(1, int(elevation.shape[0] / np.sqrt(wanted)))
    towns: list[tuple[int, int]] = []
    for top in range(0, elevation.shape[0], step):
        for left in range(0, elevation.shape[1], step):
            window = appeal[top : top + step, left : left + step]
            best = np.unravel_index(int(window.argmax()), window.shape)
            row, column = top + int(best[0]), left + int(best[1])
            near = any(np.hypot(row - r, column - c) * CELL < 1100 for r, c in towns)
            if np.isfinite(window[best]) and not near:
                towns.append((row, column))
    return np.asarray(towns, np.float64).reshape(-1, 2)


def _route_roads(towns: Points, elevation: Field) -> tuple[Points, ...]:
    """Cheapest ways from each town to its two nearest neighbours, over land and around slopes."""
    if len(towns) < 2:
        return ()
    coarse = elevation[ROAD_GRID // 2 :: ROAD_GRID, ROAD_GRID // 2 :: ROAD_GRID]
    slope = np.hypot(*np.gradient(coarse))
    cost = 1 + slope / 8 + np.where(coarse < 3, 40, 0)
    graph = _grid_graph(cost)
    width = coarse.shape[1]
    nodes = [int(r) // ROAD_GRID * width + int(c) // ROAD_GRID for r, c in towns]
    _, before = dijkstra(graph, indices=nodes, return_predecessors=True)
    gaps = np.hypot(*(towns[:, None] - towns[None]).transpose(2, 0, 1))
    pairs = {tuple(sorted((i, int(j)))) for i in range(len(towns)) for j in gaps[i].argsort()[1:3]}
    return tuple(_walk(before[i], nodes[i], nodes[j], width) for i, j in sorted(pairs))


def _grid_graph(cost: npt.NDArray[np.floating]) -> coo_array:
    """Graph of eight neighbours with mean cost times distance."""
    index = np.arange(cost.size).reshape(cost.shape)
    starts, ends, weights = [], [], []
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        a = np.s_[: cost.shape[0] - down, max(0, -right) : cost.shape[1] - max(0, right)]
        b = np.s_[down:, max(0, right) : cost.shape[1] + min(0, right)]
        starts.append(index[a].ravel())
        ends.append(index[b].ravel())
        weights.append(((cost[a] + cost[b]) / 2 * np.hypot(down, right)).ravel())
    one, two, weight = map(np.concatenate, (starts, ends, weights))
    return coo_array(
        (np.tile(weight, 2), (np.concatenate([one, two]), np.concatenate([two, one]))),
        shape=(cost.size, cost.size),
    ).tocsr()


def _walk(before: npt.NDArray[np.int32], start: int, end: int, width: int) -> Points:
    """Path of a shortest-path tree as a smooth line of (row, column) in cells."""
    path = [end]
    while path[-1] != start and before[path[-1]] >= 0:
        path.append(int(before[path[-1]]))
    line = np.stack(np.divmod(np.asarray(path), width), axis=1).astype(np.float64)
    if len(line) > 4:
        line[1:-1] = ndimage.gaussian_filter1d(line, 1.5, axis=0, mode="nearest")[1:-1]
    return (line + 0.5) * ROAD_GRID


def _parcels(
    random: np.random.Generator, size: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Nearest point of a jittered lattice for each cell, edges bent a little.

    Returns:
        ``(size, size)`` number of the parcel, and ``(2, parcel)`` row and column of its point.
    """
    step = PARCEL / CELL
    line = np.arange(0, size / step)
    places = np.stack(np.meshgrid(line, line, indexing="ij"))
    places = places + random.uniform(-0.36, 0.36, places.shape) + 0.5
    points = np.clip((places * step).reshape(2, -1).astype(np.int64), 0, size - 1)
    numbers = np.full((size, size), -1, np.int32)
    numbers[points[0], points[1]] = np.arange(points.shape[1])
    nearest = ndimage.distance_transform_edt(
        numbers < 0, return_distances=False, return_indices=True
    )
    bent = [
        np.clip(axis + 2.4 * smooth_noise(random, size, 26, 3.5), 0, size - 1).astype(int)
        for axis in np.mgrid[:size, :size]
    ]
    row, column = nearest[:, bent[0], bent[1]]
    return numbers[row, column], points


def _draw_lots(points: npt.NDArray[np.int64], seed: int, size: int) -> Field:
    """A number 0 to 1 per parcel; neighbours mostly draw from different halves: uses alternate."""
    free = hashed(points[0] * size + points[1], seed)
    row, column = (points * (CELL / PARCEL)).astype(np.int64)
    alternating = ((row + column) % 2 + free) / 2
    regular = hashed(points[0] * size + points[1], seed, 7) < 0.75
    return np.where(regular, alternating, free).astype(np.float32)


def _zone_classes(
    rules: RegionRules,
    points: npt.NDArray[np.int64],
    draw: Field,
    elevation: Field,
    soil: Field,
    coast: Field,
    town: Field,
) -> Codes:
    """Class of every parcel: what it draws in the first zone that its point fits."""
    at = (points[0], points[1])
    rank = quantiles(elevation, elevation > 0)[at]
    chosen = np.zeros(points.shape[1], np.uint8)
    left = np.ones(points.shape[1], bool)
    for zone in rules.zones:
        inside = left & (coast[at] <= zone.coast) & (town[at] <= zone.town)
        inside &= (soil[at] >= zone.soil[0]) & (soil[at] < zone.soil[1])
        inside &= (rank >= zone.height[0]) & (rank < zone.height[1])
        weights = np.cumsum(list(zone.classes.values()))
        which = np.searchsorted(weights / weights[-1], draw[inside], side="right")
        codes = np.asarray([CODES.index(code) for code in zone.classes], np.uint8)
        chosen[inside] = codes[np.minimum(which, len(codes) - 1)]
        left &= ~inside
    return chosen


def _draw_special(
    rules: RegionRules,
    random: np.random.Generator,
    classes: Codes,
    elevation: Field,
    soil: Field,
    coast: Field,
    town: Field,
    roads: tuple[Points, ...],
) -> None:
    """Draw what follows lines instead of parcels: town centres, roads, beaches and the sea."""
    size = classes.shape[0]
    wobble = smooth_noise(random, size, 300 / CELL, 3.5)
    classes[town * (1 + 0.13 * wobble) < rules.core] = CODES.index("111")
    road = _distance(_draw_lines(roads, size)) < ROAD_WIDTH / 2
    low, high = rules.corridor
    classes[road & (town >= low) & (town < high)] = CODES.index("122")
    low, high = rules.beach_soil
    beach = (soil >= low) & (soil < high) & (coast < rules.beach_width * (1 + 0.2 * wobble))
    classes[beach] = CODES.index("331")
    classes[elevation < 0] = CODES.index("523")


def _draw_lines(lines: tuple[Points, ...], size: int) -> npt.NDArray[np.bool_]:
    drawn = np.zeros((size, size), bool)
    for line in lines:
        steps = np.linspace(0, len(line) - 1, len(line) * ROAD_GRID * 2)
        place = [np.interp(steps, np.arange(len(line)), line[:, axis]) for axis in (0, 1)]
        rows, columns = (np.clip(np.round(axis).astype(int), 0, size - 1) for axis in place)
        drawn[rows, columns] = True
    return drawn


def _generalise(classes: Codes) -> Codes:
    """Merge patches below the minimum unit into their largest neighbour."""
    # Simplifying the outlines later moves areas by a few per cent.
    smallest = int(np.ceil(MINIMUM_UNIT_HA * 1.15e4 / CELL**2))
    smooth = ndimage.median_filter(classes, 3)
    keep = np.isin(classes, [CODES.index("122")])
    merged = np.where(keep, classes, smooth)
    for _ in range(4):
        merged = sieve(merged, smallest, connectivity=4)
    return np.asarray(merged, np.uint8)
