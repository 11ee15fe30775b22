"""Maps of predicted classes over a scene, as cloud-optimised GeoTIFF."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from affine import Affine
from rasterio.io import MemoryFile
from rasterio.shutil import copy as copy_raster

from geolatents.errors import StoreError
from geolatents.files import atomic_path
from geolatents.labels.sets import read_labels
from geolatents.stores import open_store, read_array, read_strings

Bytes = npt.NDArray[np.uint8]

NO_TILE = 0
"""Value of the class map where there is no tile; label ``i`` is ``i + 1``."""

NO_PROBABILITY = 255
"""Value of the probability map where there is no tile; others are per cent."""


@dataclass(frozen=True)
class TileRaster:
    """The raster that has one pixel per tile of a scene.

    Attributes:
        rows: Row of each tile (tile,).
        columns: Column of each tile (tile,).
        shape: ``(y, x)``.
        transform: From pixels to the CRS; a pixel is one stride, centred on its tile.
        crs: CRS as authority string or WKT.
    """

    rows: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]
    shape: tuple[int, int]
    transform: Affine
    crs: str


def map_scene(
    *,
    model: Path,
    store: Path,
    labels: Path,
    output: Path,
    probabilities: Path,
    flips: bool = False,
) -> None:
    """Map a classifier's answers over a scene.

    Args:
        model: ``model.keras`` of a classifier.
        store: Tile store of the scene.
        labels: Label set that the model was trained on, for codes, names and colours.
        output: GeoTIFF to write: the most probable class of each tile, with colour table.
        probabilities: GeoTIFF to write: per cent, one band per class.
        flips: Average scores over flips.

    Raises:
        StoreError: The tiles have no position.
        TrainingError: The model does not fit the tiles.
    """
    from geolatents.olr.predict import apply_model

    raster = tile_raster(store)  # before the model is applied: it may refuse the store
    ids = [str(name) for name in read_strings(open_store(store), "ids")]
    scores = apply_model(model, [store], ids, flips)
    classes = [dict(item) for item in read_labels(labels).classes]
    write_map(scores, raster, classes, output, probabilities)


def write_map(
    scores: npt.NDArray[np.floating],
    raster: TileRaster,
    classes: Sequence[Mapping[str, Any]],
    output: Path,
    probabilities: Path,
) -> None:
    """Write the two maps of scores.

    Args:
        scores: Probabilities (tile, label) in 0..1.
        raster: Where the tiles lie.
        classes: ``code``, ``name`` and ``colour`` per label; at most 255.
        output: Class map to write; 0: no tile, ``i + 1``: label ``i`` is the most probable.
        probabilities: Probability map to write; 255: no tile.
    """
    dominant = np.full((1, *raster.shape), NO_TILE, dtype=np.uint8)
    dominant[0, raster.rows, raster.columns] = scores.argmax(axis=1) + 1
    percent = np.full((len(classes), *raster.shape), NO_PROBABILITY, dtype=np.uint8)
    percent[:, raster.rows, raster.columns] = np.rint(100 * scores).T.astype(np.uint8)
    named = {f"CLASS_{i + 1}": f"{c['code']} {c['name']}" for i, c in enumerate(classes)}
    _write_cog(output, dominant, raster, NO_TILE, ["most probable class"], named, _palette(classes))
    codes = [str(item["code"]) for item in classes]
    _write_cog(probabilities, percent, raster, NO_PROBABILITY, codes, named | {"UNIT": "per cent"})


def tile_raster(store: Path) -> TileRaster:
    """The raster of a scene's tile grid.

    Raises:
        StoreError: The tiles have no position, or there are none.
    """
    group = open_store(store)
    if "bounds" not in group or group.attrs.get("crs") is None or not group["ids"].shape[0]:  # type: ignore[union-attr]
        raise StoreError(
            "tiles without position cannot be mapped",
            where=store,
            fix="map a scene with georeference",
        )
    columns = read_array(group, "column").astype(np.int64)
    rows = read_array(group, "row").astype(np.int64)
    bounds = read_array(group, "bounds").astype(np.float64)
    x_step = _step(columns, bounds[:, 0], (bounds[:, 2] - bounds[:, 0])[0])
    y_step = _step(rows, bounds[:, 3], -(bounds[:, 3] - bounds[:, 1])[0])
    # Pixels are centred on tiles, which are larger than a pixel where tiles overlap.
    centre_x = (bounds[0, 0] + bounds[0, 2]) / 2 - (columns[0] - columns.min()) * x_step
    centre_y = (bounds[0, 1] + bounds[0, 3]) / 2 - (rows[0] - rows.min()) * y_step
    return TileRaster(
        rows=rows - rows.min(),
        columns=columns - columns.min(),
        shape=(int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1),
        transform=Affine(x_step, 0, centre_x - x_step / 2, 0, y_step, centre_y - y_step / 2),
        crs=str(group.attrs["crs"]),
    )


def _step(index: npt.NDArray[np.int64], edge: npt.NDArray[np.float64], size: float) -> float:
    """Distance between neighbouring tiles; their size where there is but one column or row."""
    first, last = int(index.argmin()), int(index.argmax())
    apart = index[last] - index[first]
    return float((edge[last] - edge[first]) / apart) if apart else float(size)


def _palette(classes: Sequence[Mapping[str, Any]]) -> dict[int, tuple[int, int, int, int]]:
    def rgba(colour: str) -> tuple[int, int, int, int]:
        return (int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16), 255)

    colours = {i + 1: rgba(item.get("colour") or "#999999") for i, item in enumerate(classes)}
    return {NO_TILE: (0, 0, 0, 0), **colours}


def _write_cog(
    output: Path,
    data: Bytes,
    raster: TileRaster,
    nodata: int,
    descriptions: Sequence[str],
    tags: Mapping[str, str],
    palette: Mapping[int, tuple[int, int, int, int]] | None = None,
) -> None:
    """Write bands (band, y, x) as cloud-optimised GeoTIFF."""
    bands, height, width = data.shape
    with ExitStack() as stack:
        part = stack.enter_context(atomic_path(output))
        memory = stack.enter_context(MemoryFile())
        with memory.open(
            driver="GTiff", height=height, width=width, count=bands, dtype="uint8",
            crs=raster.crs, transform=raster.transform, nodata=nodata,
        ) as plain:  # fmt: skip
            plain.write(data)
            plain.update_tags(**tags)
            for band, text in enumerate(descriptions, start=1):
                plain.set_band_description(band, text)
            if palette is not None:
                plain.write_colormap(1, dict(palette))
        with memory.open() as plain:
            copy_raster(
                plain, part, driver="COG", compress="DEFLATE", blocksize="256",
                overview_resampling="nearest" if palette is not None else "average",
            )  # fmt: skip
