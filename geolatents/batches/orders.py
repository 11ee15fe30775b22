"""Batch orders: which tiles each training step sees, as positions in a list of tile ids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from geolatents.errors import SplitError
from geolatents.files import write_json
from geolatents.labels.parts import parts_of
from geolatents.seeds import generator
from geolatents.settings.batches import BatchOrder
from geolatents.stores import (
    content_manifest,
    new_store,
    open_store,
    read_array,
    read_strings,
    use_fast_codecs,
    write_array,
    write_strings,
)


def make_order(settings: BatchOrder, table: Path, split: Path, store: Path, manifest: Path) -> None:
    """Order the training part of a split into batches.

    The order knows nothing of label sets; a training skips tiles that its label set leaves out.

    Args:
        settings: Kind, batch size, epochs and seed.
        table: Tile table of the dataset, whose row order is the order in which tiles were cut.
        split: Split whose part ``train`` is ordered.
        store: Zarr store to write: ``index`` (epoch, step, item) int32 into ``ids`` (tile,).
        manifest: JSON to write: canonical content of the store.

    Raises:
        SplitError: A batch is larger than the training part, or the split lacks tiles.
    """
    ids = _training_ids(table, split)
    if settings.batch_size > len(ids):
        raise SplitError(
            "a batch is larger than the training part",
            where="batches.batch_size",
            expected=f"at most {len(ids)}, the training tiles of split {settings.split!r}",
            found=settings.batch_size,
            fix="lower `batch_size`",
        )
    _write_order(order_index(settings, len(ids)), ids, settings, store)
    write_json(manifest, content_manifest(store))


def order_index(settings: BatchOrder, n_tiles: int) -> npt.NDArray[np.int32]:
    """Positions of the tiles of each step.

    Returns:
        Positions below ``n_tiles``, shape (epoch, step, item), int32. No tile occurs twice in an
        epoch; those of the last, incomplete batch do not occur.
    """
    steps = n_tiles // settings.batch_size
    used = steps * settings.batch_size
    epochs = np.empty((settings.epochs, used), dtype=np.int32)
    for epoch in range(settings.epochs):
        epochs[epoch] = _one_epoch(settings, epoch, n_tiles)[:used]
    return epochs.reshape(settings.epochs, steps, settings.batch_size)


def read_order(store: Path) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.str_]]:
    """Read a batch order: ``index`` (epoch, step, item) and the tile ids that it points into.

    Raises:
        StoreError: The store is missing or damaged.
    """
    group = open_store(store)
    return read_array(group, "index").astype(np.int32), read_strings(group, "ids")


def _one_epoch(settings: BatchOrder, epoch: int, n_tiles: int) -> npt.NDArray[np.int64]:
    if settings.order == "in_order":
        return np.arange(n_tiles)
    return generator(settings.seed, "batches", epoch).permutation(n_tiles)


def _training_ids(table: Path, split: Path) -> npt.NDArray[np.str_]:
    ids = pq.read_table(table, columns=["id"]).to_pandas()["id"].to_numpy(dtype=str)
    parts, _ = parts_of(ids, split)
    training: npt.NDArray[np.str_] = ids[parts == "train"]
    return training


def _write_order(
    index: npt.NDArray[np.int32], ids: npt.NDArray[np.str_], settings: BatchOrder, store: Path
) -> None:
    use_fast_codecs()
    attributes = {"order": settings.order, "split": settings.split, "seed": settings.seed}
    with new_store(store, attributes) as group:
        write_array(group, "index", index, ("epoch", "step", "item"))
        write_strings(group, "ids", ids, "tile")
