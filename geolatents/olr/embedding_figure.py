"""Figure of an embedding: differences from the strongest control, and effective ranks."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from geolatents.files import atomic_path, read_json
from geolatents.settings.figures import Figures

ROWS = {
    "like_labels": "retrieval by label set (MAP)",
    "graded_labels": "retrieval by Jaccard index (nDCG)",
    "composition": "likeness of composition (rank r)",
    "graded_composition": "retrieval by composition (nDCG)",
    "scene_one_label": "scene class, one label (accuracy)",
    "scene_all_labels": "scene class, all labels (accuracy)",
    "cover_gain": "cover share over own score (R2)",
    "cover_gain_all_scores": "cover share over all scores (R2)",
    "label_scores": "label scores over teacher (AP)",
}
"""Differences that are drawn, with their measure."""

BLUE, GREY = "#1b6ca8", "#8c8c8c"


REASON_WIDTH = 60
"""Letters of a reason that fit across the panel."""


def draw_embedding(embedding: Path, output: Path, settings: Figures | None = None) -> None:
    """Draw ``embedding.json``.

    Args:
        embedding: JSON of :func:`geolatents.olr.embedding.evaluate_embedding`.
        output: PNG to write.
        settings: Resolution.

    Raises:
        StoreError: The file is missing or no JSON.
    """
    found = read_json(embedding)
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    figure.suptitle(f"{found['model']}, seed {found['seed']}: beyond probability", fontsize=11)
    if found["status"] == "measured":
        left, right = figure.subplots(1, 2, width_ratios=[3, 2])
        _draw_differences(left, found)
        _draw_ranks(right, found["effective_rank"])
    else:
        figure.text(0.5, 0.45, f"not measured: {found['reason']}", ha="center", wrap=True)
    with atomic_path(output) as part:
        figure.savefig(part, dpi=(settings or Figures()).dpi, format="png")


def _draw_differences(axes: Axes, found: Mapping[str, Any]) -> None:
    """One row per measure: difference and interval, or why there is none."""
    places = np.arange(len(ROWS))[::-1]
    for place, key in zip(places, ROWS, strict=True):
        entry = found[key]
        if entry["difference"] is None:
            words = textwrap.fill(entry["reason"], REASON_WIDTH)
            at = axes.get_yaxis_transform()  # across the panel, whatever its numbers are
            axes.text(0.02, place, words, fontsize=6, color=GREY, va="center", transform=at)
            continue
        if entry["interval"] is not None:
            axes.plot(entry["interval"], [place, place], color=BLUE, lw=2)
        axes.plot(entry["difference"], place, "o", color=BLUE, ms=5)
    axes.axvline(0, color=GREY, lw=1)
    axes.set_yticks(places, list(ROWS.values()), fontsize=8)
    axes.set_ylim(-0.7, len(ROWS) - 0.3)
    axes.tick_params(axis="x", labelsize=8)
    axes.set_xlabel("embedding minus strongest control, 95 % interval", fontsize=8)


def _draw_ranks(axes: Axes, found: Mapping[str, Any]) -> None:
    """Effective ranks of the labels in falling order, that of the control as a line."""
    for key, text, marker in (
        ("per_label", "second moment", "o"),
        ("per_label_centred", "covariance", "x"),
    ):
        values = sorted((v for v in found[key] if v is not None), reverse=True)
        axes.plot(np.arange(1, len(values) + 1), values, marker, color=BLUE, ms=4, label=text)
    axes.axhline(found["control"], color=GREY, lw=1, label="rank-1 control")
    axes.set_ylim(bottom=0)
    axes.tick_params(labelsize=8)
    axes.set_xlabel("labels, by rank", fontsize=8)
    axes.set_ylabel(f"effective rank of {found['of']} dimensions", fontsize=8)
    axes.legend(fontsize=7)
