"""Export of a dataset to the predecessor's layout: ``0.npy, labels0.npy, 1.npy, ...``.

The layout, and the way back in, are in :mod:`geolatents.acquire.images.legacy`. The predecessor wrote 100
images per file for PlanetScope scenes and 10 for orthophotos.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from geolatents.acquire.images.legacy import CODES, IDS
from geolatents.batches.loader import TileImages
from geolatents.errors import NoTilesError
from geolatents.files import atomic_path
from geolatents.labels.sets import read_labels
from geolatents.stores import open_store, read_array, read_strings


def export_legacy(
    stores: Sequence[Path],
    labels: Path,
    order: Path | None,
    folder: Path,
    per_file: int = 100,
) -> int:
    """Write a dataset in the predecessor's layout.

    Args:
        stores: Tile stores of the dataset.
        labels: Label set; tiles that it leaves out are left out.
        order: Batch order whose first epoch gives the order of the images; None keeps the order of
            the stores, and all tiles.
        folder: Folder to write; replaced if it is there.
        per_file: Images per file; the last file holds the rest.

    Returns:
        Number of files of images.

    Raises:
        StoreError: A store is damaged, or the order names a tile that is in no store.
        NoTilesError: No tile is left.
    """
    images = TileImages.open(stores, memory_limit=0)
    label_set = read_labels(Path(labels))
    row = {str(name): position for position, name in enumerate(label_set.ids)}
    wanted = images.ids if order is None else _first_epoch(Path(order))
    ids = [str(name) for name in wanted if str(name) in row]
    if not ids:
        raise NoTilesError("the label set has none of the tiles", where=labels)
    positions = images.positions(np.asarray(ids))
    present = label_set.labels[[row[name] for name in ids]]
    with atomic_path(Path(folder)) as part:
        part.mkdir()
        starts = range(0, len(ids), per_file)
        for number, start in enumerate(starts):
            window = slice(start, start + per_file)
            np.save(part / f"{number}.npy", images.take(positions[window]))
            np.save(part / f"labels{number}.npy", present[window])
        (part / CODES).write_text("".join(f"{code}\n" for code in label_set.codes), "utf-8")
        (part / IDS).write_text("".join(f"{name}\n" for name in ids), "utf-8")
    return len(starts)


def _first_epoch(order: Path) -> npt.NDArray[np.str_]:
    group = open_store(order)
    index = read_array(group, "index")[0].ravel()
    return np.asarray(read_strings(group, "ids")[index])
