"""Figure of a decoder: test tiles beside what is redrawn of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from geolatents.files import atomic_path
from geolatents.labels.figures import shorten
from geolatents.olr.refusals import refusal
from geolatents.settings.figures import Figures
from geolatents.stores import open_store, read_array, read_strings
from geolatents.tiles.display import rgb_bands

COLUMNS = {
    "original": "test tile",
    "embeddings": "from embeddings",
    "scores": "from scores alone",
    "pca": "PCA, as many numbers",
    "mean": "mean image",
}
"""Arrays of a store of redrawn tiles, in the order of the figure."""

SIDE, NAMES, HEAD = 1.35, 1.1, 0.55
"""Inches of a tile, of the tiles' names, and of the titles."""


def draw_decoder(redrawn: Path, output: Path, settings: Figures | None = None) -> None:
    """Draw test tiles, one per row, beside their redrawings, all in the tiles' own brightness.

    Args:
        redrawn: Store of redrawn tiles (decoder.py).
        output: PNG to write.
        settings: Resolution.

    Raises:
        StoreError: The store is missing or damaged.
    """
    settings = settings or Figures()
    group = open_store(redrawn)
    attributes: dict[str, Any] = dict(group.attrs)
    refused = refusal(attributes)
    if refused is not None:
        figure = Figure(figsize=(6, 2), layout="constrained")
        text = f"no decoder was trained: {refused['reason']}"
        figure.text(0.5, 0.5, text, ha="center", va="center", fontsize=8, wrap=True)
        _save(figure, output, settings.dpi)
        return
    bands = rgb_bands(attributes["bands"])
    tiles = {name: read_array(group, name)[..., bands] for name in COLUMNS}
    low, high = np.percentile(tiles["original"], [2, 98], axis=(0, 1, 2))
    span = np.where(high > low, high - low, 1.0)
    ids = read_strings(group, "ids").tolist()
    height, width = tiles["original"].shape[1:3]
    tall = SIDE * float(np.clip(height / width, 0.4, 2.5))
    size = NAMES + SIDE * len(COLUMNS), HEAD + tall * len(ids)
    figure = Figure(figsize=size)
    for column, name in enumerate(COLUMNS):
        for row in range(len(ids)):
            left, bottom = NAMES + SIDE * column, tall * (len(ids) - 1 - row)
            place = left / size[0], bottom / size[1], 0.96 * SIDE / size[0], 0.96 * tall / size[1]
            axes = figure.add_axes(place)
            axes.imshow(_shades(tiles[name][row], low, span), interpolation="nearest")
            axes.set_axis_off()
            if row == 0:
                axes.set_title(_title(name, attributes["explained"]), fontsize=8)
            if column == 0:
                axes.text(
                    -0.05, 0.5, shorten(str(ids[row]), 18), transform=axes.transAxes,
                    ha="right", va="center", fontsize=7,
                )  # fmt: skip
    _save(figure, output, settings.dpi)


def _title(name: str, shares: Mapping[str, float | None]) -> str:
    share = shares.get(name)
    if name == "original" or share is None:
        return COLUMNS[name]
    return f"{COLUMNS[name]}\n{share:.1%} of variance"


def _shades(
    tile: npt.NDArray[Any], low: npt.NDArray[Any], span: npt.NDArray[Any]
) -> npt.NDArray[np.float64]:
    return np.asarray(np.clip((tile - low) / span, 0, 1))


def _save(figure: Figure, output: Path, dpi: int) -> None:
    with atomic_path(output) as part:
        figure.savefig(part, format="png", dpi=dpi)
