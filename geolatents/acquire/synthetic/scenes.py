"""Scenes of the demo country: what a four-band satellite at 3 m, or a finer camera, would have seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
import shapely
from affine import Affine
from pyproj import Transformer
from rasterio.features import rasterize
from scipy import ndimage

from geolatents.acquire.synthetic import spectra
from geolatents.acquire.synthetic.landscape import (
    CELL,
    LANDCOVER_CRS,
    Landscape,
    landscape_of,
    sheet_grid,
)
from geolatents.acquire.synthetic.names import (
    BANDS,
    OVERLAP,
    PIXEL,
    SCENE_CRS,
    ScenePlace,
    scene_place,
)
from geolatents.acquire.synthetic.noise import Field, hashed, smooth_noise
from geolatents.acquire.synthetic.polygons import sheet_polygons
from geolatents.acquire.synthetic.rules import CODES, RULES
from geolatents.acquire.synthetic.textures import CELLS_PER_PIXEL, SIDE, texture
from geolatents.files import atomic_path
from geolatents.seeds import derived_seed, generator
from geolatents.settings.synthetic import SyntheticImagery

NODATA = 0
BLOCK = 256
COARSE = 8
"""Slow fields (relief, haze, clouds) are computed on pixels this many times larger."""

FIELD_SIZES = {"211": (44, 30), "212": (74, 74), "221": (30, 22), "222": (34, 26), "223": (46, 40),
               "231": (52, 40), "242": (60, 60), "121": (60, 46), "112": (70, 70)}  # fmt: skip
"""Length and width in pixels of the fields of a polygon; other classes have soft stands."""
RIGHT_ANGLES = ("211", "221")
"""Classes whose fields turn their rows by a right angle here and there."""

Pixels = npt.NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Ground:
    """What lies where in a scene.

    Attributes:
        transform: From (column, row) of a pixel's corner to the scene's CRS.
        scale: Side of a pixel in pixels of 3 m, the unit of fields and textures.
        offset: Row and column of the first pixel, counted from the sheet's first scene.
        polygon: ``(y, x)`` index of the land-cover polygon.
        classes: ``(y, x)`` position in `CODES`.
        roads: ``(y, x)`` true on minor roads.
        shade: ``(y, x)`` illumination by relief, about 1.
        shallows: ``(y, x)`` 1 at the shore to 0 in deep water.
    """

    transform: Affine
    scale: float
    offset: tuple[int, int]
    polygon: npt.NDArray[np.int32]
    classes: npt.NDArray[np.uint8]
    roads: npt.NDArray[np.bool_]
    shade: Field
    shallows: Field


def draw_scene(imagery: SyntheticImagery, scene: str, output: Path) -> None:
    """Write one scene as a tiled, compressed GeoTIFF.

    Uint16 bands (blue, green, red, nir, or some of them) of reflectance in 1e-4 at 3 m or another
    size in UTM, 0 where there is no data, and the day of acquisition in the tag ``ACQUIRED``. The
    pixels are drawn from the polygons of
    :func:`~geolatents.acquire.synthetic.polygons.draw_landcover`: truth and image agree. The same
    ground is the same land in pixels of any size.

    Raises:
        SceneError: The imagery has no scene of that name.
    """
    place = scene_place(imagery, scene)
    land = landscape_of(imagery, place.sheet)
    ground = _survey(imagery, place, land)
    random = generator(imagery.seed, "synthetic", "scene", imagery.region, place.index)
    image = _reflectance(ground, derived_seed(imagery.seed, imagery.region, place.sheet) % 2**31)
    _add_atmosphere(image, random)
    pixels = _as_measured(image, random)
    pixels[:, _wedge(random, imagery.scene_size)] = NODATA
    _write(output, pixels, imagery.bands, ground.transform, place.acquired.isoformat())


def scene_transform(imagery: SyntheticImagery, place: ScenePlace) -> Affine:
    """Transform of a scene: two by two with overlap around the middle of its sheet."""
    sheet = sheet_grid(RULES[imagery.region], imagery.drawn_size, place.sheet)
    middle = sheet.size * CELL / 2
    x, y = sheet.transform.c + middle, sheet.transform.f - middle
    x, y = Transformer.from_crs(LANDCOVER_CRS, SCENE_CRS, always_xy=True).transform(x, y)
    step = _step(imagery)
    half = (imagery.scene_size + step) // 2
    pixel = imagery.pixel
    left = round(x / pixel) - half + place.column * step
    top = round(y / pixel) + half - place.row * step
    return Affine(pixel, 0, left * pixel, 0, -pixel, top * pixel)


def _step(imagery: SyntheticImagery) -> int:
    """Pixels from one scene to the next."""
    return round(imagery.scene_size * (1 - OVERLAP))


def _survey(imagery: SyntheticImagery, place: ScenePlace, land: Landscape) -> Ground:
    """Bring the sheet's polygons, roads and relief onto the scene's grid."""
    transform, size = scene_transform(imagery, place), imagery.scene_size
    codes, polygons = sheet_polygons(land)
    to_scene = Transformer.from_crs(LANDCOVER_CRS, SCENE_CRS, always_xy=True)
    moved = shapely.transform(
        polygons, lambda points: np.stack(to_scene.transform(*points.T), axis=1)
    )
    index = rasterize(
        zip(moved, range(1, len(moved) + 1), strict=True),
        out_shape=(size, size), transform=transform, dtype=np.int32,
    )  # fmt: skip
    index = np.maximum(index - 1, 0)
    positions = np.asarray([CODES.index(code) for code in codes], np.uint8)
    shade, shore = _relief(land, transform, size)
    return Ground(
        transform=transform,
        scale=imagery.pixel / PIXEL,
        offset=(place.row * _step(imagery), place.column * _step(imagery)),
        polygon=index,
        classes=positions[index],
        roads=_minor_roads(land, transform, size),
        shade=shade,
        shallows=shore,
    )


def _minor_roads(land: Landscape, transform: Affine, size: int) -> npt.NDArray[np.bool_]:
    to_scene = Transformer.from_crs(LANDCOVER_CRS, SCENE_CRS, always_xy=True)
    lines = []
    for road in land.roads:
        x, y = _ground(land.sheet.transform, road[:, 1], road[:, 0])
        if len(road) > 1:
            lines.append(shapely.LineString(np.stack(to_scene.transform(x, y), axis=1)).buffer(4.5))
    if not lines:
        return np.zeros((size, size), bool)
    drawn = rasterize(lines, out_shape=(size, size), transform=transform, dtype=np.uint8)
    return np.asarray(drawn, bool)


def _relief(land: Landscape, transform: Affine, size: int) -> tuple[Field, Field]:
    """Illumination from the north-west, and nearness of the shore, at every pixel."""
    smooth = ndimage.gaussian_filter(land.elevation, 2)
    down, right = np.gradient(smooth, float(CELL))
    light = 1 + np.clip((down + right) * 1.1, -0.15, 0.15)
    away = ndimage.distance_transform_edt(land.elevation < 0).astype(np.float32)
    shallow = np.exp(-away * CELL / 150)
    count = -(-size // COARSE) + 2
    steps = (np.arange(count) - 0.5) * COARSE
    columns, rows = np.meshgrid(steps, steps)
    x, y = _ground(transform, columns, rows)
    x, y = Transformer.from_crs(SCENE_CRS, LANDCOVER_CRS, always_xy=True).transform(x, y)
    column, row = _ground(~land.sheet.transform, x, y)
    light, shallow = (
        ndimage.map_coordinates(field, (row - 0.5, column - 0.5), order=1, mode="nearest")
        for field in (light, shallow)
    )
    return _enlarge(light, size), _enlarge(shallow, size)


def _ground(transform: Affine, x: Pixels, y: Pixels) -> tuple[Pixels, Pixels]:
    """Affine transform of arrays."""
    a, b, c, d, e, f = tuple(transform)[:6]
    return a * x + b * y + c, d * x + e * y + f


def _enlarge(coarse: npt.NDArray[np.floating], size: int) -> Field:
    """Linear interpolation of a field given every `COARSE` pixels, with half a step of margin."""
    where = (np.arange(size) + 0.5) / COARSE + 0.5
    low = np.minimum(where.astype(int), coarse.shape[0] - 2)
    part = (where - low).astype(np.float32)
    values = coarse.astype(np.float32)
    rows = values[low] * (1 - part)[:, None] + values[low + 1] * part[:, None]
    pixels: Field = rows[:, low] * (1 - part) + rows[:, low + 1] * part
    return pixels


def _reflectance(ground: Ground, seed: int) -> Field:
    """Reflectance of the land itself, ``(band, y, x)``; equal in every scene of a sheet."""
    pattern, tone = _patterns(ground, seed)
    base, contrast, tones = (spectra.class_table(part) for part in ("base", "texture", "tone"))
    count = int(ground.polygon.max()) + 1
    # Every polygon has a contrast of its own: the deviation of a band shall not name the class.
    strength = 0.8 + 0.4 * hashed(np.arange(count), seed, 5)
    pattern *= strength[ground.polygon]
    road = ground.roads & ~np.isin(ground.classes, _positions("512", "523", "111"))
    image = np.empty((len(BANDS), *pattern.shape), np.float32)
    for band in range(len(BANDS)):
        values = base[:, band][ground.classes]
        values += contrast[:, band][ground.classes] * pattern
        values += tones[:, band][ground.classes] * tone
        values[road] = spectra.ROAD[band]
        image[band] = values * ground.shade
    sea = ground.classes == CODES.index("523")
    for band, gain in enumerate((420, 460, 170, 20)):
        image[band][sea] += gain * ground.shallows[sea] ** 2
    return image


def _patterns(ground: Ground, seed: int) -> tuple[Field, Field]:
    """Texture and tone of every pixel."""
    pattern = np.zeros(ground.classes.shape, np.float32)
    tone = np.zeros_like(pattern)
    # Positions on the ground, not in the scene: overlapping scenes show the same fields.
    top, left = ground.offset
    count = int(ground.polygon.max()) + 1
    angle = hashed(np.arange(count), seed, 1) * np.float32(np.pi)
    own_tone = hashed(np.arange(count), seed, 2) * 2 - 1
    for position, code in enumerate(CODES):
        flat = np.flatnonzero(ground.classes.ravel() == position)
        if flat.size == 0:
            continue
        rows, columns = np.divmod(flat, ground.classes.shape[1])
        polygon = ground.polygon.ravel()[flat]
        sine, cosine = np.sin(angle)[polygon], np.cos(angle)[polygon]
        x, y = (
            (along + start).astype(np.float32) * np.float32(ground.scale)
            for along, start in ((columns, left), (rows, top))
        )
        u, v = x * cosine + y * sine, y * cosine - x * sine
        values, tones = _one_class(code, u, v, polygon, seed)
        pattern.ravel()[flat] = values
        tone.ravel()[flat] = 0.4 * own_tone[polygon] + tones
    _draw_lanes(ground, pattern)
    return pattern, tone


def _one_class(
    code: str, u: Field, v: Field, polygon: npt.NDArray[np.int32], seed: int
) -> tuple[Field, Field]:
    """Texture and tone of the pixels of one class at turned positions (u, v), all ``(pixel,)``."""
    sheet = texture(code)
    if code not in FIELD_SIZES:
        stand = texture("231")
        start = np.floor(hashed(polygon, seed, 3) * SIDE)
        values = _look_up(sheet, u * CELLS_PER_PIXEL + start, v * CELLS_PER_PIXEL + start / 2)
        soft = _look_up(stand, u * 0.9 + start, v * 0.9)
        return values, 0.35 * soft
    length, width = FIELD_SIZES[code]
    line = np.floor(v / width).astype(np.int64)
    shift = hashed(polygon, line, seed, 4) * length
    cell = np.floor((u + shift) / length).astype(np.int64)
    lot = hashed(polygon, line, cell, seed)
    if code in RIGHT_ANGLES:
        turned = hashed(polygon, line, cell, seed, 6) < 0.4
        u, v = np.where(turned, v, u), np.where(turned, u, v)
    offset = lot * SIDE if code in RIGHT_ANGLES else np.float32(0)
    values = _look_up(sheet, u * CELLS_PER_PIXEL + offset, v * CELLS_PER_PIXEL)
    return values, (lot * 2 - 1) * 0.55


def _look_up(sheet: Field, u: Pixels, v: Pixels) -> Field:
    return sheet[v.astype(np.int64) % SIDE, u.astype(np.int64) % SIDE]


def _draw_lanes(ground: Ground, pattern: Field) -> None:
    """Lanes of the class 122, parallel to its outline."""
    roads = ground.classes == CODES.index("122")
    if not roads.any():
        return
    inside = ndimage.distance_transform_edt(roads).astype(np.float32)[roads]
    lanes = np.cos(2 * np.pi * (inside * np.float32(ground.scale) - 2) / 6.5)
    pattern[roads] = lanes * 1.25 + 0.3 * pattern[roads]


def _positions(*codes: str) -> list[int]:
    return [CODES.index(code) for code in codes]


def _add_atmosphere(image: Field, random: np.random.Generator) -> None:
    """Add sensor gain, haze that varies over the scene, and clouds with their shadows."""
    size = image.shape[1]
    gain = random.uniform(0.94, 1.06) * random.uniform(0.97, 1.03, len(BANDS))
    coarse = -(-size // COARSE) + 2
    veil = smooth_noise(random, coarse, max(coarse * 0.7, 8), 5.0)
    haze = np.clip(random.uniform(0.1, 0.6) + 0.15 * veil, 0, 1)
    clear = _enlarge(1 - 0.25 * haze, size)
    cloud, shadow = _clouds(random, size)
    for band in range(len(BANDS)):
        values = image[band] * np.float32(gain[band]) * clear
        values += np.float32(spectra.HAZE[band]) * (1 - clear) * 4
        values *= 1 - np.float32(0.45) * shadow
        image[band] = values * (1 - cloud) + np.float32(spectra.CLOUD[band]) * cloud


def _clouds(random: np.random.Generator, size: int) -> tuple[Field, Field]:
    """Opacity of none to three small clouds, and their shadows."""
    coarse = -(-size // COARSE) + 2
    rows, columns = np.mgrid[:coarse, :coarse].astype(np.float32)
    edge = smooth_noise(random, coarse, 14, 3.2)
    opacity = np.zeros((coarse, coarse), np.float32)
    # Small scenes have small clouds, lest one covers them.
    scale = min(1.0, size / 1920)
    for _ in range(int(random.integers(0, 4))):
        row, column = random.uniform(0.1, 0.9, 2) * coarse
        radius = scale * random.uniform(4, 10) * np.array([1.0, random.uniform(1.0, 1.7)])
        away = np.hypot((rows - row) / radius[0], (columns - column) / radius[1])
        opacity = np.maximum(opacity, np.clip((1.0 - away + 0.35 * edge) * 2.2, 0, 0.97))
    shadow = np.roll(opacity, (11, -8), axis=(0, 1)) * (1 - opacity)
    return _enlarge(opacity, size), _enlarge(shadow, size)


def _as_measured(image: Field, random: np.random.Generator) -> npt.NDArray[np.uint16]:
    """Blur of the optics, noise of the sensor, whole numbers above the no-data value."""
    pixels = np.empty(image.shape, np.uint16)
    for band in range(len(BANDS)):
        values = ndimage.gaussian_filter(image[band], 0.5, truncate=2.0)
        noise = random.standard_normal(values.shape, dtype=np.float32)
        values += noise * (18 + 0.012 * values)
        pixels[band] = np.clip(np.rint(values), 1, 65535).astype(np.uint16)
    return pixels


def _wedge(random: np.random.Generator, size: int) -> npt.NDArray[np.bool_]:
    """Slanted wedges without data at both sides, as of a strip that is not flown due north."""
    rows, columns = np.mgrid[:size, :size].astype(np.float32) / size
    lean = random.uniform(0.05, 0.09) * random.choice([-1, 1])
    left = lean * (rows - (1 if lean < 0 else 0))
    outside: npt.NDArray[np.bool_] = (columns < left) | (columns > 1 - abs(lean) + left)
    return outside


def _write(
    output: Path,
    pixels: npt.NDArray[np.uint16],
    bands: Sequence[str],
    transform: Affine,
    acquired: str,
) -> None:
    with atomic_path(output) as part, rasterio.open(
        part, "w", driver="GTiff", width=pixels.shape[2], height=pixels.shape[1], count=len(bands),
        dtype="uint16", crs=SCENE_CRS, transform=transform, nodata=NODATA, tiled=True,
        blockxsize=BLOCK, blockysize=BLOCK, compress="deflate", predictor=2, zlevel=1,
        interleave="band", photometric="minisblack",
    ) as file:  # fmt: skip
        file.write(pixels[[BANDS.index(band) for band in bands]])
        file.descriptions = tuple(bands)
        file.update_tags(ACQUIRED=acquired)
