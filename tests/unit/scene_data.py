"""Small scenes of every kind for the tests of readers and checks."""

from __future__ import annotations

import numpy as np
import rasterio
from affine import Affine

from geolatents.settings.files import FilesImagery
from geolatents.settings.tiles import TileSettings
from geolatents.tiles.check import check_scene, record_scene

TRANSFORM = Affine(3.0, 0.0, 500_100.0, 0.0, -3.0, 3_900_300.0)


def pixels(shape=(50, 70), bands=3, dtype="uint16", seed=0):
    """(band, y, x), never 0."""
    values = np.random.default_rng(seed).integers(1, 250, (bands, *shape))
    return values.astype(dtype)


def write(path, data, transform=TRANSFORM, crs="EPSG:32636", names=None, **profile):
    """A raster of (band, y, x); small tiles, so that several blocks exist."""
    settings = {"driver": "GTiff", "tiled": True, "blockxsize": 16, "blockysize": 16} | profile
    count, height, width = data.shape
    shape = {"count": count, "height": height, "width": width, "dtype": data.dtype}
    with rasterio.open(path, "w", crs=crs, transform=transform, **shape, **settings) as target:
        target.write(data)
        if names:
            target.descriptions = names
    return path


def imagery(**settings):
    return FilesImagery(provider="files", files=["*"], **settings)


def record(path, tiles=None, **settings):
    """Check a scene and return its record's path."""
    check, output = path.parent / "check.json", path.parent / f"{path.stem}.record.json"
    check_scene(path.stem, path, imagery(**settings), tiles or TileSettings(size=16), check)
    record_scene(check, output)
    return output
