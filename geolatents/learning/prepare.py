"""Labelled tiles for training: images, labels, parts and orders brought together by tile id."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from geolatents.batches import orders
from geolatents.batches.loader import TileImages
from geolatents.errors import TrainingError
from geolatents.labels.parts import parts_of
from geolatents.labels.sets import LabelClass, read_labels
from geolatents.learning.fit import full_batches

Indices = npt.NDArray[np.int64]

SMALLEST_WEIGHT = 1e-6


@dataclass(frozen=True)
class LabelledTiles:
    """The tiles of a label set.

    Attributes:
        images: Tile images of the dataset.
        ids: Tile ids, shape (tile,).
        part: train, validation, test or buffer, shape (tile,).
        labels: Presence, 0 or 1, shape (tile, label), uint8.
        positions: Position of each tile in ``images``, shape (tile,).
        classes: Columns of ``labels``.
    """

    images: TileImages
    ids: npt.NDArray[np.str_]
    part: npt.NDArray[np.str_]
    labels: npt.NDArray[np.uint8]
    positions: Indices
    classes: list[LabelClass]

    def of(self, part: str) -> Indices:
        """Rows of a part."""
        return np.flatnonzero(self.part == part)

    def take(self, rows: Indices) -> tuple[npt.NDArray[Any], npt.NDArray[np.uint8]]:
        """Tiles (tile, y, x, band) in stored units and labels (tile, label) of the given rows."""
        return self.images.take(self.positions[rows]), self.labels[rows]


def read_tiles(stores: Sequence[Path], labels: Path, split: Path) -> LabelledTiles:
    """Bring images, labels and parts together.

    Raises:
        TrainingError: A labelled tile is in no store.
        SplitError: A labelled tile is in no part.
        StoreError: A store is missing or damaged.
    """
    found = read_labels(labels)
    images = TileImages.open(stores)
    missing = sorted(set(found.ids.tolist()) - set(images.ids.tolist()))
    if missing:
        raise TrainingError(
            f"{len(missing)} labelled tiles are in no tile store, such as {missing[0]!r}",
            where=labels,
            expected=", ".join(map(str, stores)),
            fix="rerun the label set: it belongs to other tiles",
        )
    part, _ = parts_of(found.ids, split)
    positions = np.asarray(images.positions(found.ids), np.int64)
    return LabelledTiles(images, found.ids, part, found.labels, positions, found.classes)


@dataclass(frozen=True)
class TrainingOrder:
    """Rows of labelled training tiles in the order of a batch order; epochs repeat when used up.

    Attributes:
        epochs: Rows of each epoch, tiles that are not in the label set left out.
        batch_size: Tiles per step; smaller than configured only where there are fewer tiles.
    """

    epochs: list[Indices]
    batch_size: int

    def rows(self, epoch: int) -> Indices:
        """Rows (step, item) of an epoch counted from 0, in full batches."""
        return full_batches(self.epochs[epoch % len(self.epochs)], self.batch_size)

    def steps(self, n_epochs: int) -> int:
        """Steps of so many epochs."""
        return sum(len(self.rows(epoch)) for epoch in range(n_epochs))

    def batches(
        self, tiles: LabelledTiles, epoch: int, start: int = 0
    ) -> Iterator[tuple[npt.NDArray[Any], npt.NDArray[np.uint8]]]:
        """Images (tile, y, x, band) and labels (tile, label) of the steps of an epoch from ``start``."""
        for rows in self.rows(epoch)[start:]:
            yield tiles.take(rows)


def read_order(order: Path, tiles: LabelledTiles) -> TrainingOrder:
    """Read a batch order for the tiles of a label set.

    Raises:
        TrainingError: The order has a tile outside the training part, or none of the label set.
    """
    index, ids = orders.read_order(order)
    row_of = {name: row for row, name in enumerate(tiles.ids.tolist())}
    rows = np.asarray([row_of.get(name, -1) for name in ids.tolist()])
    labelled = [rows[epoch[epoch >= 0]] for epoch in index.reshape(len(index), -1)]
    epochs = [epoch[epoch >= 0].astype(np.int64) for epoch in labelled]
    smallest = min((len(epoch) for epoch in epochs), default=0)
    if not smallest:
        raise TrainingError("the batch order has no tile of the label set", where=order)
    strangers = np.setdiff1d(np.concatenate(epochs), tiles.of("train"))
    if len(strangers):
        raise TrainingError(
            f"the batch order has {len(strangers)} tiles outside the training part, "
            f"such as {tiles.ids[strangers[0]]!r}",
            where=order,
            fix="rerun the batch order: it belongs to another split",
        )
    return TrainingOrder(epochs, min(index.shape[2], smallest))


def training_statistics(
    tiles: LabelledTiles,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean and standard deviation per band (band,) of the training tiles, in stored units."""
    at = tiles.positions[tiles.of("train")]
    weight = np.asarray(tiles.images.valid_share, np.float64)[at]
    return pooled_statistics(tiles.images.mean[at], tiles.images.std[at], weight)


def pooled_statistics(
    mean: npt.ArrayLike, std: npt.ArrayLike, weight: npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean and standard deviation of all pixels from those of the tiles.

    The variance is that within tiles plus that between their means (law of total variance).

    Args:
        mean: Per tile (tile, band); NaN where a tile has no usable pixel.
        std: Per tile (tile, band).
        weight: Usable pixels per tile, in any unit (tile,).

    Returns:
        Mean and standard deviation, each (band,); 0 and 1 for a band without usable pixels.
    """
    means, stds = np.asarray(mean, np.float64), np.asarray(std, np.float64)
    usable = np.isfinite(means) & np.isfinite(stds)
    weights = np.where(usable, np.asarray(weight, np.float64)[:, None], 0.0)
    means, stds = np.where(usable, means, 0.0), np.where(usable, stds, 0.0)
    total = weights.sum(axis=0)
    known = total > SMALLEST_WEIGHT
    total = np.where(known, total, 1.0)
    centre = (weights * means).sum(axis=0) / total
    variance = (weights * (stds**2 + (means - centre) ** 2)).sum(axis=0) / total
    return centre, np.where(known, np.sqrt(variance), 1.0)
