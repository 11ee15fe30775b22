"""Sizes of scenes before they are read, and how many tiles they give."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geolatents.settings.tiles import TileSettings

METRES_PER_DEGREE = 111_320.0


@dataclass(frozen=True)
class Size:
    """Size of a scene, as far as it is known.

    Attributes:
        width: Pixels from west to east.
        height: Pixels from north to south.
        bands: Number of bands.
        pixel: Side of a pixel in units of its CRS.
    """

    width: float
    height: float
    bands: int
    pixel: float

    @property
    def megavalues(self) -> float:
        """Million values: pixels times bands."""
        return self.width * self.height * self.bands / 1e6


def raster_size(file: Path) -> Size | None:
    """What the header of a raster says; none where it has none."""
    import rasterio  # not needed for the Snakefile

    try:
        with rasterio.open(file) as raster:
            return Size(raster.width, raster.height, raster.count, abs(raster.transform.a))
    except rasterio.errors.RasterioError:
        return None  # its check will say so


def announced_size(geometry: dict[str, Any], product: Any) -> Size | None:
    """Size of a scene that is still to be downloaded: its footprint at the product's resolution.

    Args:
        geometry: GeoJSON in degrees.
        product: Settings of the product; without bands and resolution nothing is known.
    """
    from shapely.geometry import shape

    resolution, bands = getattr(product, "resolution", None), getattr(product, "bands", None)
    if not resolution or not bands:
        return None
    footprint = shape(geometry)
    metres = METRES_PER_DEGREE**2 * math.cos(math.radians(footprint.centroid.y))
    side = math.sqrt(footprint.area * metres) / float(resolution)
    return Size(side, side, len(bands), float(resolution))


def tiles_in(size: Size, settings: TileSettings) -> float:
    """Windows of the grid in a scene; masks and no-data are not known, so this is the most."""
    scale = settings.resolution / size.pixel if settings.resolution else 1.0
    width, height = pixels(settings.size, settings, size)
    step_x, step_y = pixels(settings.stride or settings.size, settings, size)
    columns = (size.width / scale - width) // step_x + 1
    rows = (size.height / scale - height) // step_y + 1
    return max(0.0, columns) * max(0.0, rows)


def pixels(value: Any, settings: TileSettings, size: Size) -> tuple[float, float]:
    """Width and height of a tile or step in pixels of the tiles."""
    width, height = value if isinstance(value, tuple) else (value, value)
    if settings.unit == "pixels":
        return float(width), float(height)
    pixel = settings.resolution or size.pixel
    return max(1.0, round(width / pixel)), max(1.0, round(height / pixel))
