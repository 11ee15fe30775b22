"""Figure of an experiment: label matrices side by side, and their entries against each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from geolatents.files import atomic_path
from geolatents.labels.figures import class_text, colour_strip, shorten, text_on
from geolatents.labels.sets import LabelClass

Floats = npt.NDArray[np.float64]

MOST_NUMBERS = 12
"""Matrices up to this many labels have their values written in the cells."""

SCORERS = ("classifier", "siamese")
SCATTER = {
    "train_phi": ("phi of training labels", "#8c8c8c", "x"),
    "classifier": ("classifier", "#1b6ca8", "o"),
    "siamese": ("Siamese", "#d1691b", "^"),
}
"""Name, colour and marker; colours differ in lightness too, so that they read in grey."""


def draw_agreement(
    agreement: Mapping[str, Any],
    classes: Sequence[Mapping[str, Any]],
    output: Path,
    title: str = "",
) -> None:
    """Draw phi of the true labels and the models' correlations in the same order and colours.

    Args:
        agreement: Content of ``agreement.json``; the first seed of each scorer is drawn.
        classes: ``code``, ``name`` and ``colour`` of all labels of the models.
        output: PNG to write.
        title: Title of the figure.
    """
    first = {s: next(iter(agreement[s].values())) for s in SCORERS if agreement.get(s)}
    reference = next(iter(first.values()))
    labels = _label_classes(reference["labels"], classes)
    matrices = {"true labels: phi": np.asarray(reference["phi"], dtype=np.float64)}
    for scorer, entry in first.items():
        matrices[f"{SCATTER[scorer][0]}: correlation of scores"] = _aligned(entry, reference)
    n = len(labels)
    if n < 2:
        _draw_nothing(reference, output, title)
        return
    side = float(np.clip(0.24 * n, 3.0, 6.6))
    widths = [*([side] * len(matrices)), max(3.4, 0.8 * side)]
    figure = Figure(figsize=(sum(widths) + 2.8, side + 1.15), layout="constrained")
    panels = figure.subplots(1, len(widths), width_ratios=widths)
    colours, scale = matplotlib.colormaps["RdBu_r"].with_extremes(bad="#d9d9d9"), _scale(matrices)
    for position, (name, matrix) in enumerate(matrices.items()):
        _draw_matrix(panels[position], matrix, labels, side, first=position == 0)
        panels[position].images[0].set(cmap=colours, norm=scale)
        panels[position].set_title(name, fontsize=9)
        if n <= MOST_NUMBERS:
            _write_values(panels[position], matrix, colours, scale)
    bar = figure.colorbar(
        ScalarMappable(scale, colours), ax=list(panels[:-1]), shrink=0.8, pad=0.01, extend="both"
    )
    bar.ax.tick_params(labelsize=7)
    _draw_scatter(panels[-1], first, reference)
    figure.suptitle(title, fontsize=10)
    _save(figure, output)


def _draw_matrix(
    axes: Axes, matrix: Floats, labels: Sequence[LabelClass], side: float, *, first: bool
) -> None:
    n = len(labels)
    points = float(np.clip(0.62 * 72 * side / n, 3.6, 8))
    axes.imshow(np.ma.masked_invalid(matrix), interpolation="nearest")
    axes.set_xticks(range(n), [shorten(item["code"], 14) for item in labels], rotation=90)
    names = [class_text(item) if first else shorten(item["code"], 14) for item in labels]
    axes.set_yticks(range(n), names)
    axes.tick_params(labelsize=points)
    swatch = min(5.0, points)
    colour_strip(axes, labels, "x", swatch)
    colour_strip(axes, labels, "y", swatch)


def _write_values(axes: Axes, matrix: Floats, colours: Any, scale: Normalize) -> None:
    for (row, column), value in np.ndenumerate(matrix):
        if row != column and np.isfinite(value):
            axes.text(
                column, row, f"{value:+.2f}", ha="center", va="center", fontsize=5.5,
                color=text_on(colours(scale(value))),
            )  # fmt: skip


def _draw_scatter(
    axes: Axes, first: Mapping[str, Mapping[str, Any]], reference: Mapping[str, Any]
) -> None:
    """Entries above the diagonal against phi; on the dashed line they are equal."""
    upper = np.triu_indices(len(reference["labels"]), 1)
    phi = np.asarray(reference["phi"], dtype=np.float64)[upper]
    series = {"train_phi": (np.asarray(reference["train_phi"])[upper], reference["train_phi_r"])}
    for scorer, entry in first.items():
        series[scorer] = (_aligned(entry, reference)[upper], entry["mantel_r"])
    size = 14 if len(phi) < 200 else 5
    for name, (values, r) in series.items():
        text, colour, marker = SCATTER[name]
        legend = text if r is None else f"{text}, r = {r:.3f}"
        axes.scatter(phi, values, s=size, c=colour, marker=marker, linewidths=0.8, alpha=0.75,
                     label=legend)  # fmt: skip
    every = np.concatenate([phi, *(values for values, _ in series.values())])
    low, high = np.nanmin(every), np.nanmax(every)
    axes.plot([low, high], [low, high], color="#444444", linewidth=0.8, linestyle="--")
    axes.set_xlabel("phi of true labels, one point per pair", fontsize=8)
    axes.set_ylabel("correlation of scores, or training phi", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.legend(fontsize=7, loc="upper left", frameon=False)
    axes.set_title(_figures_that_count(reference), fontsize=8)
    axes.set_box_aspect(1)


def _figures_that_count(entry: Mapping[str, Any]) -> str:
    parts = []
    if entry["partial_r"] is not None:
        text = f"partial r = {entry['partial_r']:.3f}"
        if entry["partial_interval"]:
            text += " [{:.2f}, {:.2f}]".format(*entry["partial_interval"])
        parts.append(text)
    if entry["shifted"]:
        parts.append(f"gain on shifted land {entry['shifted']['median_difference']:+.3f}")
    return "\n".join(parts)


def _draw_nothing(reference: Mapping[str, Any], output: Path, title: str) -> None:
    figure = Figure(figsize=(6, 2), layout="constrained")
    reasons = "; ".join(f"{code}: {why}" for code, why in reference["left_out"].items())
    figure.text(0.5, 0.5, f"{title}\nfewer than two labels can be compared\n{reasons[:200]}",
                ha="center", va="center", fontsize=8, wrap=True)  # fmt: skip
    _save(figure, output)


def _aligned(entry: Mapping[str, Any], reference: Mapping[str, Any]) -> Floats:
    """Correlation matrix in the reference's label order, NaN for labels that it lacks."""
    place = {code: i for i, code in enumerate(entry["labels"])}
    found = np.asarray(entry["correlation"], dtype=np.float64)
    index = np.array([place.get(code, -1) for code in reference["labels"]], dtype=np.int64)
    if not len(found):
        return np.full((len(index), len(index)), np.nan)
    known = index >= 0
    return np.where(np.outer(known, known), found[np.ix_(index, index)], np.nan)


def _label_classes(codes: Sequence[str], classes: Sequence[Mapping[str, Any]]) -> list[LabelClass]:
    known = {item["code"]: item for item in classes}
    return [
        LabelClass(
            code=code,
            name=str(known[code].get("name", code)),
            colour=str(known[code].get("colour") or "#999999"),
            members=[],
        )
        for code in codes
    ]


def _scale(matrices: Mapping[str, Floats]) -> Normalize:
    """One scale for all matrices, up to the largest value off the diagonal, in tenths."""
    apart = [matrix[~np.eye(len(matrix), dtype=bool)] for matrix in matrices.values()]
    largest = float(np.nanmax(np.abs(np.concatenate(apart)), initial=0.1))
    limit = min(1.0, np.ceil(round(largest * 10, 6)) / 10)
    return Normalize(-limit, limit)


def _save(figure: Figure, output: Path) -> None:
    with atomic_path(output) as part:
        figure.savefig(part, format="png", dpi=130)
