"""Label counts per batch: how evenly a batch order spreads labels (the thesis's figures 16, 17)."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import numpy.typing as npt

from geolatents.batches.orders import read_order
from geolatents.files import atomic_path
from geolatents.labels.sets import read_labels
from geolatents.logs import LOG


def count_labels(order: Path, labels: Path, table: Path) -> float | None:
    """Count the labels in each batch of the first epoch.

    Args:
        order: Batch order.
        labels: Label set; tiles that it leaves out count nothing.
        table: CSV to write: ``batch`` and one column per label code.

    Returns:
        Imbalance between batches, see :func:`imbalance`.
    """
    index, ids = read_order(order)
    label_set = read_labels(labels)
    presence = _presence_by_tile(ids, label_set.ids, label_set.labels)
    counts = presence[index[0]].sum(axis=1)
    ratio = imbalance(counts, index.shape[2])
    LOG.info("%s", statement(ratio))
    _write_table(counts, label_set.codes, table)
    return ratio


def imbalance(counts: npt.NDArray[np.integer], batch_size: int) -> float | None:
    """How much more label counts differ between batches than chance makes them.

    For each label, the variance of its count over batches, divided by the variance that drawing
    batches without replacement gives (hypergeometric: m p (1 - p) (N - m) / (N - 1), with N tiles
    in batches of m); the mean over labels that are neither in all tiles nor in none. 1 means random
    batches.

    Args:
        counts: Tiles with the label, shape (batch, label).
        batch_size: Tiles per batch.

    Returns:
        The mean ratio; None with fewer than two batches or without such labels.
    """
    n_tiles = len(counts) * batch_size
    share = counts.sum(axis=0) / n_tiles
    varies = (share > 0) & (share < 1)
    if len(counts) < 2 or not varies.any():
        return None
    p = share[varies]
    expected = batch_size * p * (1 - p) * (n_tiles - batch_size) / (n_tiles - 1)
    return float(np.mean(counts[:, varies].var(axis=0) / expected))


def _presence_by_tile(
    ids: npt.NDArray[np.str_],
    label_ids: npt.NDArray[np.str_],
    labels: npt.NDArray[np.uint8],
) -> npt.NDArray[np.int32]:
    """Presence (tile, label) of the given tiles; 0 for tiles that the label set leaves out."""
    row = {name: position for position, name in enumerate(label_ids.tolist())}
    rows = np.asarray([row.get(name, -1) for name in ids.tolist()], dtype=np.int64)
    return np.where(rows[:, None] >= 0, labels[rows], 0).astype(np.int32)


def statement(ratio: float | None) -> str:
    """The imbalance between batches in words."""
    if ratio is None:
        return "Too few batches or labels to tell how evenly labels are spread"
    return f"Label counts vary {ratio:.2f} times as much between batches as in random batches"


def _write_table(counts: npt.NDArray[np.integer], codes: list[str], table: Path) -> None:
    with atomic_path(table) as part, part.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["batch", *codes])
        writer.writerows([batch, *row] for batch, row in enumerate(counts.tolist()))
