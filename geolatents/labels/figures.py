"""Matrices between labels, side by side in one order and one set of colours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation, blended_transform_factory

from geolatents.files import atomic_path, read_json
from geolatents.labels.sets import LabelClass
from geolatents.settings.figures import Figures

LONGEST_NAME = 26
"""Characters of a class's name; longer ones are cut at a word."""

MOST_NUMBERS = 20
"""Matrices up to this many labels have their values written in the cells."""

PART = "test"
"""Part whose co-occurrence is drawn; all tiles where it is empty."""

_MISSING = "#d9d9d9"


@dataclass(frozen=True)
class Matrix:
    """One panel.

    Attributes:
        title: What it shows.
        values: Shape (label, label); NaN where it is not defined.
        centred: Values from -1 to 1 around 0 (correlations), else from 0 to 1 (probabilities).
    """

    title: str
    values: npt.NDArray[np.floating]
    centred: bool = True


def draw_cooccurrence(table: Path, output: Path, settings: Figures | None = None) -> None:
    """Draw phi and P(j given i) of the test part, or of all tiles where it is empty.

    Args:
        table: ``cooccurrence-{split}.json``.
        output: PNG to write.
        settings: Colours, order and resolution.

    Raises:
        StoreError: The table is missing or no JSON.
    """
    content = read_json(table)
    part = PART if content["parts"][PART]["n"] else "all"
    found = content["parts"][part]
    where = "all tiles" if part == "all" else f"{part} part"
    draw_matrices(
        [
            Matrix("phi", np.array(found["phi"], dtype=np.float64)),
            Matrix(
                "P(column given row)",
                np.array(found["conditional"], dtype=np.float64),
                centred=False,
            ),
        ],
        content["classes"],
        output,
        title=f"Co-occurrence of labels, {where} (n = {found['n']})",
        settings=settings,
    )


def draw_matrices(
    matrices: Sequence[Matrix],
    labels: Sequence[LabelClass],
    output: Path,
    *,
    title: str = "",
    settings: Figures | None = None,
) -> None:
    """Draw matrices side by side: same label order, and one colour scale for all of a kind.

    The scale of centred matrices ends at their largest value off the diagonal, so that weak
    relations can be seen; the diagonal is saturated. Grey cells are not defined.

    Args:
        matrices: Panels from left to right.
        labels: Code, name and colour of each row, in the order of the matrices.
        output: PNG to write.
        title: Title of the figure.
        settings: Colours, order and resolution; the order is that of the first matrix.
    """
    settings = settings or Figures()
    rows = display_order(matrices[0].values, settings)
    labels = [labels[row] for row in rows]
    matrices = [replace(matrix, values=matrix.values[np.ix_(rows, rows)]) for matrix in matrices]
    n = len(labels)
    side = max(3.0, n * (0.30 if n <= MOST_NUMBERS else 0.19))
    kinds = sorted({matrix.centred for matrix in matrices}, reverse=True)
    size = (len(matrices) * (side + 0.5) + 2.6 + 0.9 * len(kinds), side + 1.9)
    figure = Figure(figsize=size, layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(matrices), sharey=False)).tolist()
    limit = settings.limit or _largest(matrices)
    for position, (axes, matrix) in enumerate(zip(panels, matrices, strict=True)):
        _draw_panel(axes, matrix, labels, limit, settings.colours, names=position == 0)
    for centred in kinds:
        shown = [
            axes for axes, matrix in zip(panels, matrices, strict=True) if matrix.centred == centred
        ]
        colours, scale = _colours(centred, limit, settings.colours)
        bar = figure.colorbar(
            ScalarMappable(scale, colours), ax=shown, shrink=0.75, pad=0.02, fraction=0.05,
            extend="both" if centred else "neither",
        )  # fmt: skip
        bar.ax.tick_params(labelsize=7)
    if title:
        figure.suptitle(title, fontsize=10)
    with atomic_path(output) as part:
        figure.savefig(part, format="png", dpi=settings.dpi)


def display_order(relations: npt.ArrayLike, settings: Figures) -> list[int]:
    """Positions of labels in the order in which they are drawn.

    `similar` puts labels that occur together side by side: the leaves of average linkage on
    1 - relation, in their optimal order (Bar-Joseph et al. 2001).

    Args:
        relations: Phi or correlation, shape (label, label); NaN counts as none.
        settings: The order.
    """
    values = np.nan_to_num(np.array(relations, dtype=np.float64))
    if settings.order == "official" or len(values) < 3:
        return list(range(len(values)))
    from scipy.cluster.hierarchy import leaves_list, linkage

    apart = np.clip(1 - (values + values.T) / 2, 0, None)[np.triu_indices(len(values), 1)]
    return [int(row) for row in leaves_list(linkage(apart, "average", optimal_ordering=True))]


def class_text(item: LabelClass) -> str:
    """Code and name of a class, the name cut at a word; once where code and name say the same."""
    name = shorten(item["name"])
    same = item["code"].replace("-", " ") == item["name"].replace("-", " ")
    return name if same else f"{name} {shorten(item['code'])}"


def shorten(text: str, longest: int = LONGEST_NAME) -> str:
    """Text of at most ``longest`` characters, cut at a word where one ends in its second half."""
    if len(text) <= longest:
        return text
    cut = text[: longest - 1]
    word = cut.rfind(" ")
    return (cut[:word] if word > longest // 2 else cut).rstrip(" ,;") + "…"


def colour_strip(
    axes: Axes, labels: Sequence[LabelClass], side: Literal["x", "y"], size: float = 5.0
) -> None:
    """Put each class's colour between its tick and its name.

    Args:
        axes: Axes with one tick per label at 0, 1, ...
        labels: Their classes.
        side: Which axis has the labels.
        size: Side of a swatch in points.
    """
    figure = axes.get_figure()
    if figure is None:
        return
    away = -(size / 2 + 4) / 72
    if side == "x":
        base = blended_transform_factory(axes.transData, axes.transAxes)
        shift = ScaledTranslation(0, away, figure.dpi_scale_trans)
    else:
        base = blended_transform_factory(axes.transAxes, axes.transData)
        shift = ScaledTranslation(away, 0, figure.dpi_scale_trans)
    for position, item in enumerate(labels):
        point = ([position], [0]) if side == "x" else ([0], [position])
        axes.plot(
            *point, marker="s", markersize=size, markerfacecolor=item["colour"],
            markeredgecolor="#555555", markeredgewidth=0.4, linestyle="none",
            transform=base + shift, clip_on=False, scalex=False, scaley=False,
        )  # fmt: skip
    axes.tick_params(axis=side, pad=size + 5, length=2)


def text_on(colour: Sequence[float]) -> str:
    """Black or white, whichever reads better on an RGB(A) colour (ITU-R BT.601 luma)."""
    red, green, blue = colour[:3]
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "white"


def _draw_panel(
    axes: Axes,
    matrix: Matrix,
    labels: Sequence[LabelClass],
    limit: float,
    diverging: str,
    *,
    names: bool,
) -> None:
    n = len(labels)
    colours, scale = _colours(matrix.centred, limit, diverging)
    axes.imshow(
        np.ma.masked_invalid(matrix.values), cmap=colours, norm=scale, interpolation="nearest"
    )
    axes.set_title(matrix.title, fontsize=9)
    axes.set_xticks(range(n), [shorten(item["code"]) for item in labels], rotation=90)
    axes.set_yticks(
        range(n), [class_text(item) if names else shorten(item["code"]) for item in labels]
    )
    axes.tick_params(labelsize=7 if n > MOST_NUMBERS else 8)
    colour_strip(axes, labels, "x")
    colour_strip(axes, labels, "y")
    if n <= MOST_NUMBERS:
        _write_values(axes, matrix.values, colours, scale)


def _write_values(
    axes: Axes, values: npt.NDArray[np.floating], colours: Colormap, scale: Normalize
) -> None:
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            text = f"{value:.2f}".replace("0.", ".", 1).replace("1.00", "1").replace("-.00", ".00")
            axes.text(
                column, row, text, ha="center", va="center", fontsize=6,
                color=text_on(colours(scale(value))),
            )  # fmt: skip


def _colours(centred: bool, limit: float, diverging: str) -> tuple[Colormap, Normalize]:
    import matplotlib

    colours = matplotlib.colormaps[diverging if centred else "viridis"].with_extremes(bad=_MISSING)
    return colours, Normalize(-limit, limit) if centred else Normalize(0, 1)


def _largest(matrices: Sequence[Matrix]) -> float:
    """Largest absolute value off the diagonal of the centred matrices, rounded up to tenths."""
    largest = 0.0
    for matrix in matrices:
        if matrix.centred:
            apart = matrix.values[~np.eye(len(matrix.values), dtype=bool)]
            largest = max(largest, float(np.nanmax(np.abs(apart), initial=0.0)))
    return min(1.0, max(0.1, math.ceil(round(largest * 10, 6)) / 10))
