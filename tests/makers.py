"""Small generated inputs for tests of the workflow: one scene or two, a land cover, a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio
import yaml
from rasterio.transform import from_origin
from shapely.geometry import box

CRS = "EPSG:32636"
LEFT, TOP, PIXEL = 500_010.0, 3_900_000.0, 3.0
CODES = ("112", "211", "312", "523")
BANDS = ("blue", "green", "red", "nir")


def make_scene(
    path: Path,
    *,
    side: int = 256,
    column: int = 0,
    bands: int = 4,
    crs: str | None = CRS,
    seed: int = 0,
) -> Path:
    """A scene of bright and dark stripes that follow :func:`make_landcover`."""
    rng = np.random.default_rng(seed)
    left = LEFT + column * side * PIXEL
    stripe = ((left + PIXEL * np.arange(side) - LEFT) // (32 * PIXEL)).astype(int) % len(CODES)
    level = 500 + 400 * stripe[None, None, :] * (1 + np.arange(bands))[:, None, None]
    image = (level + rng.integers(0, 100, (bands, side, side))).astype("uint16")
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {"driver": "GTiff", "width": side, "height": side, "count": bands, "dtype": "uint16"}
    grid = {"transform": from_origin(left, TOP, PIXEL, PIXEL), "crs": crs, "nodata": 0}
    with rasterio.open(
        path, "w", **profile, **grid, tiled=True, blockxsize=128, blockysize=128
    ) as file:
        file.write(image)
        file.descriptions = BANDS[:bands]
    return path


def make_landcover(
    path: Path, *, codes: tuple[str, ...] = CODES, shift: float = 0.0, side: int = 512
) -> Path:
    """Vertical stripes, 32 pixels wide, whose classes repeat; exact edges on the pixel grid."""
    width, height = 32 * PIXEL, side * PIXEL
    stripes = [
        box(LEFT + shift + i * width, TOP - height, LEFT + shift + (i + 1) * width, TOP)
        for i in range(16)
    ]
    frame = geopandas.GeoDataFrame(
        {"CODE_18": [codes[i % len(codes)] for i in range(16)]}, geometry=stripes, crs=CRS
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_file(path, layer="clc", driver="GPKG")
    return path


def make_config(folder: Path, **changes: Any) -> Path:
    """A configuration on the files above: tiny tiles, one label set, one split, one quick classifier."""
    config: dict[str, Any] = {
        "results": "results",
        "data": "data",
        "datasets": {
            "small": {
                "imagery": {"provider": "files", "files": ["scene-*.tif"], "bands": list(BANDS)},
                "landcover": {
                    "source": "vector",
                    "path": "landcover.gpkg",
                    "year": None,
                    "minimum_unit_ha": 0,
                },
                "tiles": {"size": 16},
                "labels": {"standard": {"kind": "standard", "min_cover": 0.1}},
                "splits": {"chance": {"kind": "random"}},
                "batches": {"randomized": {"split": "chance", "batch_size": 16, "epochs": 2}},
            }
        },
        "models": {
            "small-classifier": {
                "kind": "classifier",
                "dataset": "small",
                "epochs": 2,
                "precision": "float32",
                "deterministic": True,
                "network": {"name": "residual", "widths": [8, 16], "stem_stride": 1},
            }
        },
        "experiments": {
            "small": {
                "classifier": "small-classifier",
                "agreement": {"permutations": 99, "folds": 20},
            }
        },
    }
    merge(config, changes)
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return path


def merge(base: dict[str, Any], changes: dict[str, Any]) -> None:
    """Change a nested mapping in place; ``None`` removes a key."""
    for key, value in changes.items():
        if value is None:
            base.pop(key, None)
        elif isinstance(value, dict) and isinstance(base.get(key), dict):
            merge(base[key], value)
        else:
            base[key] = value
