"""Figure of an experiment: label matrices in one order, and their entries against each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.textpath import TextPath

from geolatents.files import atomic_path, read_json
from geolatents.labels.figures import class_text, colour_strip, display_order, shorten, text_on
from geolatents.labels.sets import LabelClass
from geolatents.olr.refusals import UNLABELLED, measured
from geolatents.settings.figures import Figures

Floats = npt.NDArray[np.float64]

WIDTH = 11.0
"""Inches; on a page 1100 pixels wide a point is then 1.4 pixels, and small text can be read."""

MOST_NUMBERS = 17
"""Matrices up to this many labels have their values written in the cells."""

LEAST_LIMIT = 0.3
"""Colours reach at least this far from zero, so that noise does not look like relations."""

GREY = "#d9d9d9"

SCORERS = ("classifier", "siamese")
TARGETS = {
    "test": "labels of the test part",
    "train": "labels of the training part",
    "all": "labels of all parts",
}
"""What the models' matrices are compared with, in words."""

SCATTER = {
    "train_phi": ("phi of training labels", "#8c8c8c", "x"),
    "classifier": ("classifier", "#1b6ca8", "o"),
    "siamese": ("Siamese", "#d1691b", "^"),
}
"""Name, colour and marker; colours differ in lightness too, so that they read in grey."""


@dataclass(frozen=True)
class Layout:
    """Places of a two by two grid of equal squares, in inches from the lower left corner.

    Attributes:
        left: Left edge of the first column: room for the names of classes.
        gap: Between the columns: room for codes.
        side: Side of a square.
        codes: Height of the codes below a square.
        foot: Height below the second row: codes, colour bar, legend.
        points: Size of names and codes.
    """

    left: float
    gap: float
    side: float
    codes: float
    foot: float
    points: float

    TITLE = 0.36
    PANEL_TITLE = 0.42

    @classmethod
    def of(cls, labels: Sequence[LabelClass]) -> Layout:
        """Layout that leaves room for the names and codes of these labels."""
        points = float(np.clip(0.75 * 72 * 4.2 / len(labels), 6.2, 9.0))
        swatch = min(5.0, points) / 72 + 0.14
        codes = _longest([_code(item) for item in labels], points) + swatch
        left = max(0.7, _longest([class_text(item) for item in labels], points) + swatch + 0.12)
        gap = max(0.75, codes + 0.2)
        side = (WIDTH - left - gap - 0.15) / 2
        return cls(left, gap, side, codes, max(codes + 0.75, 1.15), points)

    @property
    def height(self) -> float:
        """Height of the figure in inches."""
        return self.TITLE + 2 * (self.PANEL_TITLE + self.side) + self.codes + 0.1 + self.foot

    def place(self, position: int) -> tuple[float, float, float, float]:
        """Left, bottom, width, height of a square as shares of the figure, in reading order."""
        row, column = divmod(position, 2)
        left = self.left + column * (self.side + self.gap)
        bottom = self.foot + (1 - row) * (self.side + self.codes + 0.1 + self.PANEL_TITLE)
        return self.shares(left, bottom, self.side, self.side)

    def shares(
        self, left: float, bottom: float, width: float, height: float
    ) -> tuple[float, float, float, float]:
        """Inches as shares of the figure."""
        return left / WIDTH, bottom / self.height, width / WIDTH, height / self.height


def draw_experiment(
    agreement: Path,
    labels: Path,
    output: Path,
    *,
    name: str,
    applied_to: str | None = None,
    settings: Figures | None = None,
) -> None:
    """Draw what an experiment found, see :func:`draw_agreement`.

    Args:
        agreement: ``agreement.json``.
        labels: Manifest of the models' label set, for names and colours.
        output: PNG to write.
        name: Name of the experiment.
        applied_to: The other dataset, where it was applied to one.
        settings: Colours, order and resolution.

    Raises:
        StoreError: A file is missing or no JSON.
    """
    found = read_json(agreement)
    target = next(iter(found["classifier"].values())).get("target", "all")
    title = f"{name} applied to {applied_to}" if applied_to else f"{name}: {TARGETS[target]}"
    classes = read_json(labels)["attributes"]["classes"]
    draw_agreement(found, classes, output, title, settings)


def draw_agreement(
    agreement: Mapping[str, Any],
    classes: Sequence[Mapping[str, Any]],
    output: Path,
    title: str = "",
    settings: Figures | None = None,
) -> None:
    """Draw phi of the true labels and the models' correlations in the same order and colours.

    Two by two panels: the true labels, the scorers (with one scorer also the baseline that it has
    to beat, phi of the training labels), and their entries against those of the true labels. The
    colours are those of the true labels' range, so that weak relations can be seen. Where nobody
    knows the labels, phi of the training labels takes the place of that of the true ones.

    Args:
        agreement: Content of ``agreement.json``; the first seed of each scorer is drawn.
        classes: ``code``, ``name`` and ``colour`` of all labels of the models.
        output: PNG to write.
        title: Title of the figure.
        settings: Colours, order and resolution; the order is that of the true labels' phi.
    """
    settings = settings or Figures()
    known = agreement.get("status") != UNLABELLED
    entries = {scorer: measured(agreement.get(scorer, {})) for scorer in SCORERS}
    first = {scorer: next(iter(found.values())) for scorer, found in entries.items() if found}
    if not known:
        first = {scorer: {**one, "phi": one["train_phi"]} for scorer, one in first.items()}
    reference = next(iter(first.values()))
    labels = _label_classes(reference["labels"], classes)
    if len(labels) < 2:
        _draw_nothing(reference, output, title, settings.dpi)
        return
    rows = display_order(reference["phi"], settings)
    labels = [labels[row] for row in rows]
    matrices = {
        name: matrix[np.ix_(rows, rows)]
        for name, matrix in _matrices(first, reference, known).items()
    }
    scale = _scale(reference["phi"], settings.limit)
    colours = matplotlib.colormaps[settings.colours].with_extremes(bad=GREY)
    layout = Layout.of(labels)
    figure = Figure(figsize=(WIDTH, layout.height))
    for position, (name, matrix) in enumerate(matrices.items()):
        axes = figure.add_axes(layout.place(position))
        _draw_matrix(axes, matrix, labels, colours, scale, layout, names=position % 2 == 0)
        axes.set_title(name, fontsize=10)
    _draw_bar(figure, layout, colours, scale, matrices)
    axes = figure.add_axes(layout.place(len(matrices)))
    _draw_scatter(axes, first, reference, layout.side, known)
    figure.text(0.5, 1 - 0.1 / layout.height, title, ha="center", va="top", fontsize=12)
    _save(figure, output, settings.dpi)


def _matrices(
    first: Mapping[str, Mapping[str, Any]], reference: Mapping[str, Any], known: bool
) -> dict[str, Floats]:
    """Matrices in reading order, their diagonal, 1 by definition, left blank."""
    of = "true" if known else "training"
    found = {f"{of} labels: phi": np.array(reference["phi"], dtype=np.float64)}
    for scorer, entry in first.items():
        found[f"{SCATTER[scorer][0]}: correlation of scores"] = _aligned(entry, reference)
    if known and len(first) == 1 and reference["train_phi_r"] is not None:
        found["baseline: phi of the training labels"] = np.array(
            reference["train_phi"], dtype=np.float64
        )
    for matrix in found.values():
        np.fill_diagonal(matrix, np.nan)
    return found


def _draw_matrix(
    axes: Axes,
    matrix: Floats,
    labels: Sequence[LabelClass],
    colours: Colormap,
    scale: Normalize,
    layout: Layout,
    *,
    names: bool,
) -> None:
    n = len(labels)
    axes.imshow(np.ma.masked_invalid(matrix), colours, scale, interpolation="nearest")
    axes.set_xticks(range(n), [_code(item) for item in labels], rotation=90)
    axes.set_yticks(range(n), [class_text(item) if names else _code(item) for item in labels])
    axes.tick_params(labelsize=layout.points)
    swatch = min(5.0, layout.points)
    colour_strip(axes, labels, "x", swatch)
    colour_strip(axes, labels, "y", swatch)
    if n <= MOST_NUMBERS:
        size = min(9.0, 0.36 * 72 * layout.side / n)
        _write_values(axes, matrix, colours, scale, size)


def _write_values(
    axes: Axes, matrix: Floats, colours: Colormap, scale: Normalize, size: float
) -> None:
    for (row, column), value in np.ndenumerate(matrix):
        if np.isfinite(value):
            axes.text(
                column, row, _short(value), ha="center", va="center", fontsize=size,
                color=text_on(colours(scale(value))),
            )  # fmt: skip


def _short(value: float) -> str:
    """Two decimals without the leading zero: .42, -.05."""
    return f"{value:.2f}".replace("0.", ".", 1).replace("-.00", ".00")


def _draw_bar(
    figure: Figure,
    layout: Layout,
    colours: Colormap,
    scale: Normalize,
    matrices: Mapping[str, Floats],
) -> None:
    """One colour bar for all matrices, below the first column."""
    beyond = any(np.nanmax(np.abs(m), initial=0) > (scale.vmax or 1) for m in matrices.values())
    place = layout.shares(
        layout.left, layout.foot - layout.codes - 0.27, layout.side, 0.13
    )  # fmt: skip
    bar = figure.colorbar(
        ScalarMappable(scale, colours), cax=figure.add_axes(place), orientation="horizontal",
        extend="both" if beyond else "neither",
    )  # fmt: skip
    bar.ax.tick_params(labelsize=8)
    bar.set_label("phi or correlation; grey: the diagonal (always 1), or not defined", fontsize=8.5)


def _draw_scatter(
    axes: Axes,
    first: Mapping[str, Mapping[str, Any]],
    reference: Mapping[str, Any],
    side: float,
    known: bool,
) -> None:
    """Entries above the diagonal against phi; on the dashed line they are equal."""
    upper = np.triu_indices(len(reference["labels"]), 1)
    phi = np.asarray(reference["phi"], dtype=np.float64)[upper]
    series = {}
    if known:
        train_phi = np.asarray(reference["train_phi"])[upper]
        series["train_phi"] = (train_phi, reference["train_phi_r"])
    for scorer, entry in first.items():
        r = entry["mantel_r" if known else "against_train_phi_r"]
        series[scorer] = (_aligned(entry, reference)[upper], r)
    size = 20 if len(phi) < 200 else 9
    for name, (values, r) in series.items():
        text, colour, marker = SCATTER[name]
        legend = text if r is None else f"{text}, r = {r:.3f}"
        axes.scatter(phi, values, s=size, c=colour, marker=marker, linewidths=0.8, alpha=0.7,
                     label=legend)  # fmt: skip
    every = np.concatenate([phi, *(values for values, _ in series.values())])
    low, high = np.nanmin(every), np.nanmax(every)
    axes.axline((low, low), (high, high + 1e-9), color="#444444", linewidth=0.8, linestyle="--",
                label="equal")  # fmt: skip
    axes.set_xlim(*_span(phi))
    axes.set_ylim(*_span(every))
    of = "true" if known else "training"
    axes.set_xlabel(f"phi of the {of} labels, one point per pair", fontsize=9)
    what = "correlation of scores, or training phi" if known else "correlation of scores"
    axes.set_ylabel(what, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.legend(fontsize=8.5, loc="upper center", bbox_to_anchor=(0.5, -0.5 / side), ncols=2,
                frameon=False, borderaxespad=0)  # fmt: skip
    count = _figures_that_count(reference) if known else f"{reference['n_tiles']} tiles, no labels"
    axes.set_title(f"{SCATTER[next(iter(first))][0]}: {count}", fontsize=9)


def _span(values: Floats) -> tuple[float, float]:
    """Smallest and largest value with a margin."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    margin = 0.04 * (high - low) or 0.05
    return low - margin, high + margin


def _figures_that_count(entry: Mapping[str, Any]) -> str:
    parts = []
    if entry["partial_r"] is not None:
        text = f"partial r = {entry['partial_r']:.3f}"
        if entry["partial_interval"]:
            text += " [{:.2f}, {:.2f}]".format(*entry["partial_interval"])
        parts.append(text)
    if entry["shifted"]:
        parts.append(f"gain on shifted land {entry['shifted']['median_difference']:+.3f}")
    return ",\n".join(parts) or f"{entry['n_tiles']} tiles"


def _draw_nothing(reference: Mapping[str, Any], output: Path, title: str, dpi: int) -> None:
    figure = Figure(figsize=(6, 2), layout="constrained")
    reasons = "; ".join(f"{code}: {why}" for code, why in reference["left_out"].items())
    figure.text(0.5, 0.5, f"{title}\nfewer than two labels can be compared\n{reasons[:200]}",
                ha="center", va="center", fontsize=8, wrap=True)  # fmt: skip
    _save(figure, output, dpi)


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


def _scale(phi: Sequence[Sequence[float]], limit: float | None) -> Normalize:
    """Scale around 0 that ends at the limit, or where 99 % of the true labels' relations do, in twentieths."""
    if limit is not None:
        return Normalize(-limit, limit)
    values = np.array(phi, dtype=np.float64)
    apart = np.abs(values[~np.eye(len(values), dtype=bool)])
    known = apart[np.isfinite(apart)]
    reach = float(np.quantile(known, 0.99)) if known.size else 0.0
    end = float(np.clip(np.ceil(round(20 * reach, 6)) / 20, LEAST_LIMIT, 1.0))
    return Normalize(-end, end)


def _code(item: LabelClass) -> str:
    return shorten(item["code"], 14)


def _longest(texts: Sequence[str], points: float) -> float:
    """Width of the longest text in inches."""
    return (
        max(float(TextPath((0, 0), text, size=points).get_extents().width) for text in texts) / 72
    )


def _save(figure: Figure, output: Path, dpi: int) -> None:
    with atomic_path(output) as part:
        figure.savefig(part, format="png", dpi=dpi)
