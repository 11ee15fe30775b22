"""One repeating texture per class: field rows, orchards, roofs, canopy, benches, waves.

A texture is a square of 1.5 m cells that repeats at its edges, with mean 0 and deviation 1: among
similar classes the arrangement differs more than the distribution, so that band means and
deviations of a tile say little about its class.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from scipy import ndimage

from geolatents.acquire.synthetic.noise import Field, smooth_noise, standardised
from geolatents.seeds import generator

SIDE = 512
"""Side of a texture in cells."""
CELLS_PER_PIXEL = 2

Draw = Callable[[np.random.Generator], Field]


@lru_cache(maxsize=64)
def texture(code: str) -> Field:
    """Texture of a class: ``(SIDE, SIDE)``, mean 0, deviation 1; the same in every country.

    Raises:
        KeyError: There is no texture for the code.
    """
    drawn = TEXTURES[code](generator(0, "synthetic", "texture", code))
    # Bounded tails keep rare bright cells from standing for the whole deviation.
    return standardised(np.clip(standardised(drawn), -2.2, 2.2))


def _axes() -> tuple[Field, Field]:
    along = np.arange(SIDE, dtype=np.float32)
    rows, columns = np.meshgrid(along, along, indexing="ij")
    return rows, columns


def _rows(period: float, sharp: float = 1.0, grain: float = 0.35, wobble: float = 0.0) -> Draw:
    """Parallel rows with a period in pixels."""

    def draw(random: np.random.Generator) -> Field:
        _, columns = _axes()
        waves = round(SIDE / (period * CELLS_PER_PIXEL))
        bend = wobble * smooth_noise(random, SIDE, 60, 3.5)
        phase = np.sin(2 * np.pi * waves * columns / SIDE + bend)
        shaped = np.sign(phase) * np.abs(phase) ** (1 / sharp)
        return standardised(shaped) + grain * smooth_noise(random, SIDE, 5, 2.0)

    return draw


def _dots(pitch: float, radius: float, jitter: float, missing: float = 0.0) -> Draw:
    """Dark round plants on a lattice with a pitch in pixels."""

    def draw(random: np.random.Generator) -> Field:
        count = round(SIDE / (pitch * CELLS_PER_PIXEL))
        places = _lattice(random, count, jitter)
        places = places[:, random.random(places.shape[1]) >= missing]
        plants = _distance_to(places) < radius * CELLS_PER_PIXEL
        soft = ndimage.gaussian_filter(plants.astype(np.float32), 0.7, mode="wrap")
        return -standardised(soft) + np.float32(0.25) * smooth_noise(random, SIDE, 6, 2.0)

    return draw


def _blocks(pitch: float, street: float, jitter: float, fill: float, fine: float) -> Draw:
    """Roofs of differing brightness between dark streets on a lattice with a pitch in pixels."""

    def draw(random: np.random.Generator) -> Field:
        count = round(SIDE / (pitch * CELLS_PER_PIXEL))
        size = SIDE / count
        image = np.zeros((SIDE, SIDE), np.float32)
        for row in range(count):
            for column in range(count):
                if random.random() > fill:
                    continue
                shift = random.uniform(-jitter, jitter, 2) * size
                sides = (size - street * CELLS_PER_PIXEL) * random.uniform(0.75, 1.0, 2)
                top, left = np.array([row, column]) * size + shift + (size - sides) / 2
                rows = np.arange(round(top), round(top + sides[0])) % SIDE
                columns = np.arange(round(left), round(left + sides[1])) % SIDE
                image[np.ix_(rows, columns)] = random.uniform(0.75, 1.25)
        return standardised(image) + np.float32(fine) * smooth_noise(random, SIDE, 4, 2.0)

    return draw


def _crowns(pitch: float, contrast: float = 1.0) -> Draw:
    """Tree crowns, bright in the middle and dark between, with a mean pitch in pixels."""

    def draw(random: np.random.Generator) -> Field:
        count = round(SIDE / (pitch * CELLS_PER_PIXEL))
        away = _distance_to(_lattice(random, count, 0.45))
        dome = -(np.minimum(away / (pitch * CELLS_PER_PIXEL * 0.62), 1.2) ** 1.5)
        return standardised(dome) * contrast + 0.3 * smooth_noise(random, SIDE, 4, 2.0)

    return draw


def _two_storeys(random: np.random.Generator) -> Field:
    """Broad and narrow crowns in patches."""
    where = ndimage.gaussian_filter(smooth_noise(random, SIDE, 44, 3.0), 2, mode="wrap") > 0
    return np.where(where, _crowns(9)(random) + 0.5, _crowns(3.4)(random) - 0.5)


def _shrubs(pitch: float, radius: float, missing: float) -> Draw:
    """Scattered dark shrubs on light ground."""
    return _dots(pitch, radius, 0.5, missing)


def _plots(random: np.random.Generator) -> Field:
    """Small plots, each in its own tone, between dark hedges."""
    rows, columns = _axes()
    height, width = SIDE / 18, SIDE / 22
    line = (rows // height).astype(int)
    shift = random.uniform(0, SIDE, 19)[line]
    across = (columns + shift) % SIDE
    plot = (across // width).astype(int)
    image = random.choice([-0.6, 0.1, 0.8, 1.5], (19, 23))[line, plot]
    hedge = (rows % height < 4) | (across % width < 4)
    tones = np.where(hedge, -2.2, image)
    return standardised(tones + 0.2 * smooth_noise(random, SIDE, 4, 2.0))


def _pivots(random: np.random.Generator) -> Field:
    """Circles of centre-pivot irrigation, green inside, with rings."""
    count = 10
    places = _lattice(random, count, 0.0)
    away = _distance_to(places)
    radius = SIDE / count * 0.46
    rings = np.cos(away / radius * 2 * np.pi) * 0.45
    tones = np.where(away < radius, -1 + rings, 1.0)
    return standardised(tones + 0.2 * smooth_noise(random, SIDE, 5, 2.0))


def _meadow(random: np.random.Generator) -> Field:
    """Smooth sward in broad, soft patches."""
    return smooth_noise(random, SIDE, 70, 4.0) + 0.12 * smooth_noise(random, SIDE, 4, 2.0)


def _steppe(random: np.random.Generator) -> Field:
    """Fine grass, without any larger form."""
    return smooth_noise(random, SIDE, 7, 2.0)


def _benches(random: np.random.Generator) -> Field:
    """Benches of a quarry: contour lines of a pit."""
    pit = smooth_noise(random, SIDE, 120, 5.0)
    step = np.abs((pit * 4.2) % 1 - 0.5) * 2
    return standardised(step) + 0.2 * smooth_noise(random, SIDE, 5, 2.0)


def _crags(random: np.random.Generator) -> Field:
    """Rock: sharp ridges and shadowed clefts."""
    ridged = -np.abs(smooth_noise(random, SIDE, 34, 2.6))
    return standardised(ridged) + 0.35 * smooth_noise(random, SIDE, 6, 2.0)


def _sand(random: np.random.Generator) -> Field:
    """Sand: nearly smooth, soft long ripples."""
    return _rows(15, 1.0, 0.15, 1.6)(random)


def _swell(random: np.random.Generator) -> Field:
    """Sea: swell with crests that bend and break off."""
    strength = 0.6 + 0.4 * np.clip(smooth_noise(random, SIDE, 90, 3.5), -1, 1)
    return standardised(_rows(9, 1.0, 0.0, 1.3)(random) * strength) + 0.25 * smooth_noise(
        random, SIDE, 5, 2.0
    )


def _ripples(random: np.random.Generator) -> Field:
    """Lake: broad, faint cat's paws."""
    return smooth_noise(random, SIDE, 110, 4.5) + 0.25 * smooth_noise(random, SIDE, 4, 2.0)


def _lanes(random: np.random.Generator) -> Field:
    """Yards beside roads; the lanes themselves follow the outline (see ``scenes``)."""
    return smooth_noise(random, SIDE, 8, 2.5)


def _lattice(random: np.random.Generator, count: int, jitter: float) -> np.ndarray:
    """Points ``(2, count * count)`` of a jittered lattice over the texture, in cells."""
    line = np.arange(count) + 0.5
    places = np.stack(np.meshgrid(line, line, indexing="ij")).reshape(2, -1)
    return (places + random.uniform(-jitter, jitter, places.shape)) * SIDE / count


def _distance_to(places: np.ndarray) -> Field:
    """Distance in cells to the nearest point, over repeating edges."""
    free = np.ones((SIDE, SIDE), bool)
    rows, columns = np.floor(places).astype(int) % SIDE
    free[rows, columns] = False
    margin = 96
    wide = np.pad(free, margin, mode="wrap")
    away = ndimage.distance_transform_edt(wide)[margin:-margin, margin:-margin]
    return np.asarray(away, np.float32)


TEXTURES: dict[str, Draw] = {
    "111": _blocks(9, 2.0, 0.04, 0.95, 0.25),
    "112": _blocks(16, 9.0, 0.22, 0.85, 0.3),
    "121": _blocks(30, 8.0, 0.10, 0.9, 0.2),
    "122": _lanes,
    "131": _benches,
    "211": _rows(9, 1.0, 0.3),
    "212": _pivots,
    "221": _rows(4.5, 1.6, 0.25),
    "222": _dots(6, 2.0, 0.06),
    "223": _dots(12, 3.6, 0.12, 0.05),
    "231": _meadow,
    "242": _plots,
    "311": _crowns(9),
    "312": _crowns(3.6),
    "313": _two_storeys,
    "321": _steppe,
    "323": _shrubs(6, 2.0, 0.3),
    "324": _shrubs(15, 4.5, 0.15),
    "331": _sand,
    "332": _crags,
    "512": _ripples,
    "523": _swell,
}
