"""Small stores and tables of labels, splits and tiles that the tests of this floor share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from geolatents.nomenclature import LandClass, corine
from geolatents.stores import create_array, new_store, write_strings


def write_cover(
    path: Path,
    ids: Sequence[str],
    cover: np.ndarray,
    classes: Sequence[LandClass] = corine().classes,
) -> Path:
    """A cover store without masks."""
    listed = [{"code": c.code, "name": c.name, "colour": c.colour} for c in classes]
    with new_store(path, {"nomenclature": "corine", "classes": listed}) as group:
        array = create_array(group, "cover", cover.shape, np.float32, dimensions=("tile", "class"))
        array[:] = np.asarray(cover, dtype=np.float32)
        write_strings(group, "ids", ids, "tile")
    return path


def write_labels(path: Path, ids: Sequence[str], labels: np.ndarray) -> Path:
    """A label set of the first CORINE classes."""
    classes = [
        {"code": c.code, "name": c.name, "colour": c.colour, "members": [c.code]}
        for c in corine().classes[: labels.shape[1]]
    ]
    with new_store(path, {"kind": "standard", "min_cover": 0.01, "classes": classes}) as group:
        array = create_array(group, "labels", labels.shape, np.uint8, dimensions=("tile", "class"))
        array[:] = np.asarray(labels, dtype=np.uint8)
        write_strings(group, "ids", ids, "tile")
    return path


def write_split(
    path: Path, ids: Sequence[str], parts: Sequence[str], blocks: Sequence[str]
) -> Path:
    """A split."""
    pd.DataFrame({"id": ids, "part": parts, "block": blocks}).to_parquet(path)
    return path


def scene_tiles(
    scene: str,
    corner: tuple[float, float],
    side: float,
    shape: tuple[int, int],
    crs: str = "EPSG:32636",
) -> pd.DataFrame:
    """Rows of a tile table: ``shape`` columns and rows of tiles below and right of a corner."""
    column, row = (axis.ravel() for axis in np.meshgrid(*map(np.arange, shape)))
    left, top = corner[0] + column * side, corner[1] - row * side
    return pd.DataFrame(
        {
            "id": [f"{scene}-{c}-{r}" for c, r in zip(column, row, strict=True)],
            "scene": scene,
            "group": "",
            "proj_code": crs,
            "left": left,
            "bottom": top - side,
            "right": left + side,
            "top": top,
        }
    )


def write_tiles(path: Path, *scenes: pd.DataFrame) -> Path:
    """A tile table."""
    pd.concat(scenes, ignore_index=True).to_parquet(path)
    return path
