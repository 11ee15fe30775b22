"""The figures of the predecessor's study in the same form: labels per batch, co-occurrence, correlations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure

from geolatents.files import atomic_path, read_json
from geolatents.labels.cooccurrence import phi_from_counts
from geolatents.labels.figures import class_text, colour_strip, shorten, text_on
from geolatents.labels.sets import LabelClass
from geolatents.report import predecessor
from geolatents.report.entries import StudyEntry, StudyPart
from geolatents.report.predecessor import FIGURES
from geolatents.report.study_results import study_matrices
from geolatents.settings.figures import Figures
from geolatents.settings.study import PLAIN_RUN

Floats = npt.NDArray[np.float64]

BATCHES = 5
"""Batches shown, as in the predecessor's figures."""

CELL = 0.36
"""Inches of a matrix cell with a number in it."""
SMALL_CELL = 0.21
"""Inches of a cell of a matrix with many labels."""
MANY = 20
"""Matrices with more labels have small cells, and numbers only where they fit."""

GREY = "#d9d9d9"
NO_MATRIX = "The predecessor's figure is an image without numbers."
IN_ORDER_RUN = 8


@dataclass(frozen=True)
class Panel:
    """A matrix to be drawn.

    Attributes:
        title: What it shows.
        matrix: (row, label); NaN where it is not defined.
        labels: Its columns, and its rows too unless ``rows`` says otherwise.
        centred: Values from -1 to 1 around 0; else counts from 0.
        rows: Texts of rows that are no labels.
        whole: Counts are written as whole numbers.
    """

    title: str
    matrix: Floats
    labels: list[LabelClass]
    centred: bool
    rows: list[str] | None = None
    whole: bool = True


def draw_study(
    entry: StudyEntry, root: Path, outputs: Sequence[Path], settings: Figures | None = None
) -> None:
    """Draw figures 16 to 24 with ours; a figure says so where its experiment was not run.

    Args:
        entry: Which experiments play which parts.
        root: Root of the results.
        outputs: PNG files to write, named as :data:`geolatents.report.predecessor.FIGURES`.
        settings: Colours and resolution.

    Raises:
        StoreError: A file of an experiment is missing.
    """
    settings = settings or Figures()
    for output in outputs:
        panels, notes = figure_panels(output.stem, entry, root)
        draw_panels(FIGURES[output.stem], panels, output, notes, settings)


def figure_panels(figure: str, entry: StudyEntry, root: Path) -> tuple[list[Panel], list[str]]:
    """What a figure shows, and what is to be said below it."""
    draw: dict[str, Callable[[], tuple[list[Panel], list[str]]]] = {
        "figure-16": lambda: _batches(entry, root, f"planetscope.run_{IN_ORDER_RUN}", False),
        "figure-17": lambda: _batches(entry, root, f"planetscope.run_{PLAIN_RUN}", True),
        "figure-18": lambda: _cooccurrence(entry, root, "planetscope.combined", True),
        "figure-19": lambda: _cooccurrence(entry, root, f"planetscope.run_{PLAIN_RUN}", False),
        "figure-20": lambda: _correlations(entry, root, "planetscope.combined"),
        "figure-21": lambda: _correlations(entry, root, "planetscope.threshold"),
        "figure-22": lambda: _correlations(entry, root, "planetscope.focal"),
        "figure-23": lambda: _cooccurrence(entry, root, "orthophotos.combined", False),
        "figure-24": lambda: _correlations(entry, root, "orthophotos.combined"),
    }
    return draw[figure]()


def draw_panels(
    title: str,
    panels: Sequence[Panel],
    output: Path,
    notes: Sequence[str] = (),
    settings: Figures | None = None,
) -> None:
    """Draw matrices side by side, wide ones below each other, with names, codes and numbers.

    Args:
        title: Title of the figure.
        panels: Matrices; none: the figure says that it was not run.
        output: PNG to write.
        notes: Sentences below.
        settings: Colours and resolution.
    """
    settings = settings or Figures()
    if not panels:
        figure = Figure(figsize=(7, 1.6), layout="constrained")
        figure.text(0.5, 0.5, f"{title}\nnot run", ha="center", va="center", fontsize=10)
        _save(figure, output, settings.dpi)
        return
    # On a page 11 inches wide small text stays legible only where large matrices lie below each other.
    wide = any(panel.rows is not None or len(panel.labels) > MANY for panel in panels)
    sizes = [_size(panel) for panel in panels]
    columns = 1 if wide else min(2, len(panels))
    lines = -(-len(panels) // columns)
    width = columns * max(w for w, _ in sizes) + 0.3
    heights = [max(h for _, h in sizes[i : i + columns]) for i in range(0, len(sizes), columns)]
    height = sum(heights) + 0.6 + 0.2 * len(notes)
    figure = Figure(figsize=(width, height), layout="constrained")
    grid = np.ravel(figure.subplots(lines, columns, squeeze=False, height_ratios=heights)).tolist()
    limit = settings.limit or _limit(panels)
    for axes, panel in zip(grid, panels, strict=False):
        _draw_panel(figure, axes, panel, limit, settings.colours)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    figure.suptitle(title, fontsize=11)
    if notes:
        figure.supxlabel("\n".join(notes), fontsize=8)
    _save(figure, output, settings.dpi)


# -- what the figures show -----------------------------------------------------------------------


def _batches(
    entry: StudyEntry, root: Path, part: str, random: bool
) -> tuple[list[Panel], list[str]]:
    """Tiles with each label in the first batches; the predecessor's means over files beside them."""
    chosen = _part(entry, part)
    panels, notes = [], []
    if random:
        counts = [predecessor.RANDOM_COUNTS[i + 1] for i in range(len(predecessor.CLASSES))]
        panels.append(
            Panel(
                "predecessor: mean of five files of 100 random tiles",
                np.array([counts]),
                [_bare(code) for code in predecessor.CLASSES],
                centred=False,
                rows=["mean"],
                whole=False,
            )
        )
    else:
        notes.append("The predecessor's figure is left out: two of its rows are not whole.")
    if chosen is None:
        return ([], []) if not random else (panels, ["Ours: not run."])
    folder = root / chosen.dataset
    table = pd.read_csv(folder / "batches" / chosen.batches / f"{chosen.labels}-counts.csv")
    values = table.drop(columns="batch").to_numpy(dtype=np.float64)
    labels = read_json(_cooccurrence_file(chosen, root))["classes"]
    shown = values[:BATCHES]
    panels.append(
        Panel(
            f"ours: {chosen.batches}, first {len(shown)} of {len(values)} batches",
            shown,
            labels,
            centred=False,
            rows=[f"batch {i + 1}" for i in range(len(shown))],
        )
    )
    return panels, notes


def _cooccurrence(
    entry: StudyEntry, root: Path, part: str, printed: bool
) -> tuple[list[Panel], list[str]]:
    """Tiles with both labels and phi, of all tiles."""
    chosen = _part(entry, part)
    panels = []
    if printed:
        counts = np.array(predecessor.COOCCURRENCE, dtype=np.float64)
        labels = [_bare(name) for name in predecessor.COOCCURRENCE_LABELS]
        n = predecessor.COOCCURRENCE_IMAGES
        panels += [
            Panel(f"predecessor: tiles with both labels, of {n:,}", counts, labels, centred=False),
            Panel("phi of the predecessor's counts", phi_from_counts(counts, n), labels, True),
        ]
    notes = [] if printed else [NO_MATRIX]
    if chosen is None:
        return panels, [*notes, "Ours: not run."]
    content = read_json(_cooccurrence_file(chosen, root))
    found, labels = content["parts"]["all"], content["classes"]
    counts = np.array(found["counts"], dtype=np.float64)
    panels += [
        Panel(f"ours: tiles with both labels, of {found['n']:,}", counts, labels, centred=False),
        Panel("phi of our labels", np.array(found["phi"], dtype=np.float64), labels, True),
    ]
    return panels, notes


def _correlations(entry: StudyEntry, root: Path, part: str) -> tuple[list[Panel], list[str]]:
    """Correlation of the Siamese network's label scores beside phi of the test labels."""
    chosen = _part(entry, part)
    matrices = {
        title: study_matrices(entry, part, root, key)
        for title, key in (
            ("ours: phi of the test labels", "phi"),
            ("ours: correlation of the Siamese scores, mean of seeds", "correlation"),
            ("baseline: phi of the training labels", "train_phi"),
        )
    }
    if chosen is None or any(matrix is None for matrix in matrices.values()):
        return [], []
    classes = {c["code"]: c for c in read_json(_cooccurrence_file(chosen, root))["classes"]}
    panels = [
        Panel(
            title,
            matrix.to_numpy(),
            [classes.get(code, _bare(code)) for code in matrix.index],
            centred=True,
        )
        for title, matrix in matrices.items()
        if matrix is not None
    ]
    return panels, [NO_MATRIX]


def _part(entry: StudyEntry, part: str) -> StudyPart | None:
    return next((item for item in entry.parts if item.part == part), None)


def _cooccurrence_file(part: StudyPart, root: Path) -> Path:
    folder = root / part.dataset / "labels" / part.labels
    return folder / f"cooccurrence-{part.split}.json"


def _bare(code: str) -> LabelClass:
    """A class of the predecessor: code and name are one, and it has no colour of its own."""
    return LabelClass(code=code, name=code, colour="#ffffff", members=[])


# -- how they are drawn --------------------------------------------------------------------------


def _size(panel: Panel) -> tuple[float, float]:
    """Inches of a panel with its texts and colour bar."""
    cell = _cell(panel)
    n_rows = len(panel.matrix)
    names = panel.rows or [class_text(item) for item in panel.labels]
    codes = max(len(_code(item)) for item in panel.labels)
    left = 0.085 * max(map(len, names)) + 0.3
    return (
        left + cell * len(panel.labels) + 1.0,
        max(1.2, cell * n_rows) + 0.085 * codes + 0.9,
    )


def _cell(panel: Panel) -> float:
    many = len(panel.labels) > MANY
    if panel.rows is not None:
        return 0.3 if many else CELL
    return SMALL_CELL if many else max(CELL, 2.9 / len(panel.labels))


def _draw_panel(figure: Figure, axes: Axes, panel: Panel, limit: float, diverging: str) -> None:
    values = panel.matrix.copy()
    if panel.centred:
        np.fill_diagonal(values, np.nan)
    colours, scale = _colours(panel, limit, diverging)
    axes.imshow(np.ma.masked_invalid(values), colours, scale, interpolation="nearest")
    n = len(panel.labels)
    points = 7 if n > MANY else 8
    axes.set_xticks(range(n), [_code(item) for item in panel.labels], rotation=90)
    axes.set_yticks(range(len(values)), panel.rows or [class_text(i) for i in panel.labels])
    axes.tick_params(labelsize=points)
    coloured = any(item["colour"] != "#ffffff" for item in panel.labels)
    if coloured:
        colour_strip(axes, panel.labels, "x", 5.0)
        if panel.rows is None:
            colour_strip(axes, panel.labels, "y", 5.0)
    axes.set_title(panel.title, fontsize=9)
    _write_values(axes, values, panel, colours, scale)
    if panel.rows is None:
        bar = figure.colorbar(
            ScalarMappable(scale, colours), ax=axes, shrink=0.8, pad=0.02, fraction=0.05,
            extend="both" if panel.centred else "max",
        )  # fmt: skip
        bar.ax.tick_params(labelsize=7)


def _write_values(
    axes: Axes, values: Floats, panel: Panel, colours: Colormap, scale: Normalize
) -> None:
    """Numbers in the cells; of many labels only where they are short and the cells are wide."""
    many = len(panel.labels) > MANY
    if many and panel.rows is None:
        return
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            axes.text(
                column, row, _number(value, panel), ha="center", va="center",
                fontsize=6 if many else 7, color=text_on(colours(scale(value))),
            )  # fmt: skip


def _number(value: float, panel: Panel) -> str:
    if panel.centred:
        return f"{value:.2f}".replace("0.", ".", 1).replace("-.00", ".00")
    return f"{value:.0f}" if panel.whole or value >= 10 else f"{value:g}"


def _colours(panel: Panel, limit: float, diverging: str) -> tuple[Colormap, Normalize]:
    if panel.centred:
        return matplotlib.colormaps[diverging].with_extremes(bad=GREY), Normalize(-limit, limit)
    values = panel.matrix
    square = panel.rows is None
    # The diagonal, how often a label occurs at all, would leave no colours to the pairs.
    apart = values[~np.eye(len(values), dtype=bool)] if square else values
    top = float(np.nanmax(apart, initial=0.0)) or 1.0
    return matplotlib.colormaps["viridis"].with_extremes(bad=GREY), Normalize(0, top)


def _limit(panels: Sequence[Panel]) -> float:
    """Largest relation in any panel, rounded up to tenths."""
    largest = 0.0
    for panel in panels:
        if panel.centred:
            apart = panel.matrix[~np.eye(len(panel.matrix), dtype=bool)]
            largest = max(largest, float(np.nanmax(np.abs(apart), initial=0.0)))
    return min(1.0, max(0.1, float(np.ceil(round(largest * 10, 6)) / 10)))


def _code(item: Any) -> str:
    return shorten(item["code"], 18)


def _save(figure: Figure, output: Path, dpi: int) -> None:
    output.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(output) as part:
        figure.savefig(part, format="png", dpi=dpi)
