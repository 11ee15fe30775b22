"""Generated predictions, stores and tables for tests of evaluation and report."""

from pathlib import Path

import numpy as np
import pandas as pd

from geolatents.stores import create_array, new_store, write_strings

CODES = ["111", "112", "211", "231", "311", "324", "411", "512"]
COLOURS = ["#e6004d", "#ff0000", "#ffffa8", "#e6e64d", "#80ff00", "#a6f200", "#a6a6ff", "#80f2e6"]


def classes(n=8):
    return [
        {
            "code": CODES[i] if i < 8 else f"6{i:02d}",
            "name": f"Class with a rather long name {i}",
            "colour": COLOURS[i % 8],
            "members": [],
        }
        for i in range(n)
    ]


def world(seed=0, blocks=24, per_block=25, n=8, blur=0.5):
    """Labels with relations that differ between blocks, and scores of a model that sees them."""
    rng = np.random.default_rng(seed)
    loadings = np.random.default_rng(7).standard_normal((4, n))
    shared = np.repeat(rng.standard_normal((blocks, 4)), per_block, axis=0)
    factors = shared + 0.7 * rng.standard_normal(shared.shape)
    latent = 0.6 * factors @ loadings + rng.standard_normal((len(factors), n))
    targets = (latent > np.linspace(0.2, 1.6, n)).astype(np.uint8)
    seen = latent + blur * rng.standard_normal(latent.shape)
    scores = 1 / (1 + np.exp(-2 * (seen - np.linspace(0.2, 1.6, n))))
    names = np.repeat([f"{i // 6}_{i % 6}" for i in range(blocks)], per_block)
    return targets, scores.astype(np.float32), names


def parts_of_blocks(blocks):
    names = sorted(set(blocks.tolist()))
    part = {
        name: "train" if i % 5 < 2 else "validation" if i % 5 == 2 else "test"
        for i, name in enumerate(names)
    }
    return np.array([part[b] for b in blocks.tolist()])


def write_vectors(group, name, values, dimensions):
    array = create_array(group, name, values.shape, values.dtype, dimensions=dimensions)
    array[...] = np.ascontiguousarray(values)


def write_predictions(path: Path, targets, scores, part, ids, n=8, **attributes):
    with new_store(
        path,
        {"classes": classes(n), "dataset": "demo", "model": "demo-classifier", "kind": "classifier"}
        | attributes,
    ) as group:
        write_strings(group, "ids", ids, "tile")
        write_strings(group, "part", part, "tile")
        write_vectors(group, "scores", np.asarray(scores, np.float32), ("tile", "label"))
        write_vectors(group, "targets", np.asarray(targets, np.uint8), ("tile", "label"))


def write_tiles(
    path: Path, ids, statistics, columns, rows, crs="EPSG:3035", side=640.0, step=640.0
):
    """A tile store whose images are noise around the given statistics (tile, band)."""
    left = 4_000_000 + columns * step
    top = 3_000_000 - rows * step
    bounds = np.stack([left, top - side, left + side, top], axis=1).astype(np.float64)
    rng = np.random.default_rng(0)
    images = np.clip(
        statistics[:, None, None, :] + rng.normal(0, 20, (len(ids), 8, 8, statistics.shape[1])),
        1,
        4000,
    ).astype(np.uint16)
    attributes = {
        "scene": path.stem,
        "crs": crs,
        "bands": ["blue", "green", "red", "nir"][: statistics.shape[1]],
        "resolution": [80.0, 80.0],
        "nodata": 0,
        "acquired": "2018-07-01",
        "provider": "test",
    }
    with new_store(path, attributes) as group:
        write_strings(group, "ids", ids, "tile")
        write_vectors(group, "images", images, ("tile", "y", "x", "band"))
        write_vectors(group, "column", columns.astype(np.int32), ("tile",))
        write_vectors(group, "row", rows.astype(np.int32), ("tile",))
        write_vectors(group, "bounds", bounds, ("tile", "edge"))
        write_vectors(group, "mean", images.mean((1, 2), dtype=np.float32), ("tile", "band"))
        write_vectors(group, "std", images.std((1, 2), dtype=np.float32), ("tile", "band"))


def write_split(path: Path, ids, part, blocks):
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame({"id": ids, "part": part, "block": blocks}).to_parquet(path, index=False)


def tile_table(path: Path, ids, columns, rows, group="", scene="north"):
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(
        {
            "id": ids,
            "scene": scene,
            "group": group,
            "proj_code": "EPSG:3035",
            "left": columns * 640.0,
            "right": columns * 640.0 + 640,
            "bottom": -rows * 640.0 - 640,
            "top": -rows * 640.0,
        }
    ).to_parquet(path, index=False)
