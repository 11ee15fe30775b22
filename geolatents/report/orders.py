"""Label counts per batch of all orders side by side (the thesis's figures 16 and 17)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from geolatents.batches.counts import imbalance
from geolatents.files import read_json
from geolatents.labels.figures import colour_strip, shorten
from geolatents.labels.sets import LabelClass

WIDTH = 11.0
MOST_BATCHES = 50
IN_ORDER = "in_order"


@dataclass(frozen=True)
class OrderCounts:
    """Label counts of a batch order.

    Attributes:
        name: Batch order.
        in_order: Tiles in the order in which they were cut.
        counts: Tiles with each label, shape (batch, label), of the first epoch.
        ratio: How many times as much counts vary as in random batches; None: cannot be told.
    """

    name: str
    in_order: bool
    counts: npt.NDArray[np.int64]
    ratio: float | None


def read_counts(batches: Path, labels: str) -> list[OrderCounts]:
    """Counts of a label set in all batch orders, those in order first.

    Args:
        batches: Folder of the batch orders of a dataset.
        labels: Label set.
    """
    found = []
    for table in sorted(batches.glob(f"*/{labels}-counts.csv")):
        manifest = read_json(batches / f"{table.parent.name}.json")
        counts = pd.read_csv(table).drop(columns="batch").to_numpy(dtype=np.int64)
        found.append(
            OrderCounts(
                name=table.parent.name,
                in_order=manifest["attributes"].get("order") == IN_ORDER,
                counts=counts,
                ratio=imbalance(counts, manifest["arrays"]["index"]["shape"][2]),
            )
        )
    return sorted(found, key=lambda order: (not order.in_order, order.name))


def draw_orders(orders: Sequence[OrderCounts], classes: Sequence[LabelClass]) -> Figure:
    """Draw batches x labels of each order, two in a row, in one colour scale."""
    n = len(classes)
    n_batches = min(MOST_BATCHES, max(len(order.counts) for order in orders))
    columns = min(2, len(orders))
    rows = -(-len(orders) // columns)
    height = rows * (1.6 + max(1.5, 0.095 * n_batches))
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    panels = np.ravel(figure.subplots(rows, columns, squeeze=False)).tolist()
    scale = Normalize(0, max(1, *(int(order.counts[:n_batches].max()) for order in orders)))
    points = float(np.clip(0.75 * 72 * (9.5 / columns) / n, 6.2, 9))
    for axes, order in zip(panels, orders, strict=False):
        axes.imshow(
            order.counts[:n_batches], "viridis", scale, aspect="auto", interpolation="nearest"
        )
        axes.set_xticks(range(n), [shorten(item["code"], 14) for item in classes], rotation=90)
        axes.tick_params(axis="x", labelsize=points)
        axes.tick_params(axis="y", labelsize=8)
        axes.yaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10], integer=True))
        colour_strip(axes, classes, "x", min(5.0, points))
        axes.set_title(_title(order, n_batches), fontsize=10)
    for axes in panels[len(orders) :]:
        axes.set_axis_off()
    for first in range(0, len(orders), columns):
        panels[first].set_ylabel("batch of the first epoch", fontsize=9)
    bar = figure.colorbar(
        ScalarMappable(scale, "viridis"), ax=panels, pad=0.01, fraction=0.04, shrink=0.9,
        ticks=MaxNLocator(6, integer=True),
    )  # fmt: skip
    bar.ax.tick_params(labelsize=8)
    bar.set_label("tiles with the label", fontsize=9)
    return figure


def _title(order: OrderCounts, shown: int) -> str:
    total = len(order.counts)
    name = f"{order.name}: " + (f"first {shown} of {total} batches" if total > shown else
                                f"{total} batch{'es' if total != 1 else ''}")  # fmt: skip
    if order.ratio is None:
        return name
    return f"{name}\ncounts vary {order.ratio:.2f} times as much as in random batches"
