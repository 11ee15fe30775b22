"""Images inside the page: PNG files, tiles in display colours and class maps as data addresses."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from PIL import Image

Floats = npt.NDArray[np.float32]


def embedded(image: Path) -> str | None:
    """A PNG as a data address; None where it is not there."""
    return _address(image.read_bytes()) if image.is_file() else None


def embedded_figure(figure: Figure) -> str:
    """A figure as a data address."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=140)
    return _address(stream.getvalue())


def embedded_tiles(tiles: Sequence[Floats], side: int) -> list[str]:
    """Tiles (y, x, 3) as data addresses, in common brightness and at most ``side`` pixels wide."""
    found = []
    for shades in stretched(tiles) if len(tiles) else []:
        image = Image.fromarray(shades)
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
        found.append(_image_address(image))
    return found


def embedded_map(file: Path) -> dict[str, Any] | None:
    """A class map as a data address with its legend; None where it is not there."""
    if not file.is_file():
        return None
    import rasterio

    with rasterio.open(file) as raster:
        values = raster.read(1)
        colours = raster.colormap(1)
        tags = raster.tags()
    palette = np.array([colours.get(i, (0, 0, 0, 0)) for i in range(256)], dtype=np.uint8)
    factor = max(1, min(12, 600 // max(values.shape)))
    image = Image.fromarray(palette[values]).resize(
        (values.shape[1] * factor, values.shape[0] * factor), Image.Resampling.NEAREST
    )
    legend = [
        {"name": tags[f"CLASS_{i}"], "colour": "#{:02x}{:02x}{:02x}".format(*colours[i][:3])}
        for i in np.unique(values)
        if f"CLASS_{i}" in tags
    ]
    return {"image": _image_address(image), "legend": legend}


def stretched(tiles: Sequence[Floats]) -> list[npt.NDArray[np.uint8]]:
    """Tiles (y, x, 3) in display brightness, the same for all of them.

    Each band reaches from the 2nd to the 98th percentile of a tile, the lower quartile of the
    former and the upper quartile of the latter, so that one tile under clouds does not darken the
    others. Pixels without data (NaN) become black.
    """
    known = [tile.reshape(-1, 3) for tile in tiles if np.isfinite(tile).any()]
    if not known:
        return [np.zeros(tile.shape, np.uint8) for tile in tiles]
    ends = np.array([np.nanpercentile(pixels, [2, 98], axis=0) for pixels in known])
    low, high = np.quantile(ends[:, 0], 0.25, axis=0), np.quantile(ends[:, 1], 0.75, axis=0)
    span = np.where(high > low, high - low, 1)
    return [
        np.nan_to_num(255 * np.clip((tile - low) / span, 0, 1)).astype(np.uint8) for tile in tiles
    ]


def _image_address(image: Image.Image) -> str:
    stream = io.BytesIO()
    image.save(stream, format="PNG", optimize=True)
    return _address(stream.getvalue())


def _address(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
