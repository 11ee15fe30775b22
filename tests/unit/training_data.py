"""A small dataset whose labels can be learned in seconds, as stores, split and batch order."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from label_makers import write_labels, write_split

from geolatents.batches.orders import make_order
from geolatents.files import write_json
from geolatents.settings.batches import BatchOrder
from geolatents.stores import (
    content_manifest,
    create_array,
    new_store,
    use_fast_codecs,
    write_strings,
)

SIDE = 16


@dataclass(frozen=True)
class Files:
    stores: list[Path]
    manifests: list[Path]
    labels: Path
    split: Path
    order: Path
    images: np.ndarray
    targets: np.ndarray
    parts: np.ndarray


def toy_tiles(n: int, n_bands: int = 2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Tiles (n, 16, 16, band) uint16 and labels (n, 3): a bright band, stripes, a bright square."""
    rng = np.random.default_rng(seed)
    targets = (rng.random((n, 3)) < (0.5, 0.4, 0.25)).astype(np.uint8)
    images = rng.normal(1000, 60, (n, SIDE, SIDE, n_bands))
    images[..., 0] += 200.0 * targets[:, 0, None, None]
    images[:, ::2, :, -1] += 400.0 * targets[:, 1, None, None]
    for tile in np.flatnonzero(targets[:, 2]):
        y, x = rng.integers(0, SIDE - 4, 2)
        images[tile, y : y + 4, x : x + 4] += 900
    return images.astype(np.uint16), targets


def write_files(folder: Path, n: int = 240, n_bands: int = 2, batch_size: int = 16) -> Files:
    images, targets = toy_tiles(n, n_bands)
    ids = [f"scene-{i}-0" for i in range(n)]
    parts = np.array((["train"] * 6 + ["validation"] * 2 + ["test"] * 2) * (n // 10))
    parts[-1] = "buffer"
    store = write_tile_store(folder / "scene.zarr", ids, images)
    manifest = folder / "scene.json"
    write_json(manifest, content_manifest(store))
    labels = write_labels(folder / "labels.zarr", ids, targets)
    split = write_split(folder / "split.parquet", ids, parts.tolist(), [""] * n)
    table = folder / "tiles.parquet"
    pd.DataFrame({"id": ids}).to_parquet(table)
    order = folder / "order.zarr"
    settings = BatchOrder(split="default", batch_size=batch_size, epochs=3)
    make_order(settings, table, split, order, folder / "order.json")
    return Files([store], [manifest], labels, split, order, images, targets, parts)


def write_tile_store(path: Path, ids: list[str], images: np.ndarray) -> Path:
    use_fast_codecs()
    bands = [f"b{i}" for i in range(images.shape[-1])]
    with new_store(path, {"scene": path.stem, "bands": bands, "crs": None}) as group:
        values = {
            "images": images,
            "mean": images.mean((1, 2)).astype(np.float32),
            "std": images.std((1, 2)).astype(np.float32),
            "valid_share": np.ones(len(ids), np.float32),
        }
        names = {"images": ("tile", "y", "x", "band"), "valid_share": ("tile",)}
        for name, array in values.items():
            dimensions = names.get(name, ("tile", "band"))
            made = create_array(group, name, array.shape, array.dtype, dimensions=dimensions)
            made[...] = np.ascontiguousarray(array)
        write_strings(group, "ids", ids, "tile")
    return path
