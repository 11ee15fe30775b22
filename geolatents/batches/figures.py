"""Figure of label counts per batch (the thesis's figures 16, 17)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from geolatents.batches.counts import imbalance, statement
from geolatents.files import atomic_path, read_json
from geolatents.labels.figures import class_text, colour_strip, text_on
from geolatents.labels.sets import LabelClass
from geolatents.settings.figures import Figures

MOST_ROWS = 60
"""Batches that the figure shows; the table has all of the first epoch."""


def draw_counts(
    table: Path, order: Path, labels: Path, output: Path, settings: Figures | None = None
) -> None:
    """Draw batches x labels of the first epoch, at most :data:`MOST_ROWS` batches.

    Args:
        table: ``{labels}-counts.csv``.
        order: Manifest of the batch order, for its batch size.
        labels: Manifest of the label set, for names and colours.
        output: PNG to write.
        settings: Resolution.

    Raises:
        StoreError: A manifest is missing or no JSON.
    """
    counts = pd.read_csv(table).drop(columns="batch").to_numpy(dtype=np.int64)
    ratio = imbalance(counts, read_json(order)["arrays"]["index"]["shape"][2])
    classes = read_json(labels)["attributes"]["classes"]
    _draw(counts, classes, ratio, output, (settings or Figures()).dpi)


def _draw(
    counts: npt.NDArray[np.integer],
    classes: list[LabelClass],
    ratio: float | None,
    output: Path,
    dpi: int,
) -> None:
    shown = counts[:MOST_ROWS]
    n_rows, n_columns = shown.shape
    width = max(6.5, 2.0 + 0.32 * n_columns)
    height = 3.6 + 0.19 * n_rows
    canvas = Figure(figsize=(width, height), layout="constrained")
    axes = canvas.add_subplot()
    image = axes.imshow(shown, cmap="viridis", aspect="auto", vmin=0, interpolation="nearest")
    _write_counts(axes, shown, image.to_rgba(shown))
    step = 1 if n_rows <= 30 else 5
    axes.set_yticks(range(0, n_rows, step))
    axes.set_xticks(range(n_columns), [class_text(item) for item in classes], rotation=90)
    axes.tick_params(labelsize=7)
    axes.set_ylabel("batch of the first epoch")
    colour_strip(axes, classes, "x")
    total = f", first {n_rows} of {len(counts)} batches" if n_rows < len(counts) else ""
    axes.set_title(f"Tiles with each label per batch{total}\n{statement(ratio)}", fontsize=9)
    canvas.colorbar(
        image, ax=axes, label="tiles", shrink=0.8, pad=0.02, ticks=MaxNLocator(6, integer=True)
    )
    with atomic_path(output) as part:
        canvas.savefig(part, format="png", dpi=dpi)


def _write_counts(
    axes: Axes, counts: npt.NDArray[np.integer], colours: npt.NDArray[np.floating]
) -> None:
    for row, column in np.argwhere(counts).tolist():  # zeros are left empty
        text = axes.text(
            column, row, str(counts[row, column]), ha="center", va="center", fontsize=6,
            color=text_on(colours[row, column].tolist()),
        )  # fmt: skip
        text.set_in_layout(False)  # thousands of them slow the layout down
