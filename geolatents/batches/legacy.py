"""The predecessor's layout of a dataset: ``0.npy, labels0.npy, 1.npy, ...``, out and back in.

``{i}.npy`` holds images (n, y, x, band), ``labels{i}.npy`` their labels (n, class), 0 or 1. The
predecessor wrote 100 images per file for PlanetScope scenes and 10 for orthophotos. Beside them we
write ``labels.txt`` (class codes) and ``ids.txt`` (tile ids), one per line, which it ignores.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from geolatents.batches.loader import TileImages
from geolatents.errors import LabelError, NoTilesError, StoreError
from geolatents.files import atomic_path, write_json
from geolatents.labels.sets import read_labels
from geolatents.nomenclature import Nomenclature, listed_nomenclature
from geolatents.stores import (
    content_manifest,
    create_array,
    new_store,
    open_store,
    read_array,
    read_strings,
    use_fast_codecs,
    write_strings,
)
from geolatents.tiles.writer import tile_writer, write_moments

SCENE = "images"
"""Name of the scene of packed images."""

CODES, IDS = "labels.txt", "ids.txt"


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


def import_legacy(
    folder: Path,
    store: Path,
    manifest: Path,
    cover_store: Path,
    cover_manifest: Path,
    *,
    codes: Sequence[str] | None = None,
    bands: Sequence[str] | None = None,
    nomenclature: str = "legacy",
) -> None:
    """Read the predecessor's layout into a packed tile store and its cover store.

    Args:
        folder: Folder of ``{i}.npy`` and ``labels{i}.npy``, numbered from 0.
        store: Tile store to write; images in the order of the files.
        manifest: Its manifest to write.
        cover_store: Cover store to write: labels as cover of 0 or 1.
        cover_manifest: Its manifest to write.
        codes: Class codes in column order; default: the lines of ``labels.txt``.
        bands: Band names; default: ``band1``, ``band2``, ...
        nomenclature: Name of the nomenclature that the codes form.

    Raises:
        StoreError: Files are missing, or differ in shape or type.
        LabelError: Labels are not 0 or 1, or their number differs from the codes or the images.
    """
    use_fast_codecs()
    files = _numbered_files(Path(folder))
    chosen = _lines(Path(folder) / CODES) if codes is None else list(codes)
    if chosen is None:
        raise LabelError(
            "the classes of the labels are not named",
            where=folder,
            fix=f"give `codes`, or write them into {CODES}, one per line, in column order",
        )
    classes = listed_nomenclature(nomenclature, chosen)
    covers = np.concatenate([_labels(item, len(classes)) for item in files])
    ids = _ids(Path(folder), files)
    names = _band_names(files[0], bands)
    attributes = {
        "scene": SCENE, "crs": None, "bands": names, "resolution": None, "nodata": None,
        "acquired": None, "provider": "images",
    }  # fmt: skip
    with new_store(store, attributes) as group:
        _write_images(group, files, ids)
    write_json(manifest, content_manifest(store))
    _write_cover(cover_store, classes, covers, ids)
    write_json(cover_manifest, content_manifest(cover_store))


@dataclass(frozen=True)
class _Numbered:
    """One file of images and that of its labels."""

    images: Path
    labels: Path
    count: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def _first_epoch(order: Path) -> npt.NDArray[np.str_]:
    group = open_store(order)
    index = read_array(group, "index")[0].ravel()
    return np.asarray(read_strings(group, "ids")[index])


def _numbered_files(folder: Path) -> list[_Numbered]:
    numbers = sorted(
        int(path.stem) for path in folder.glob("*.npy") if re.fullmatch(r"\d+", path.stem)
    )
    if numbers != list(range(len(numbers))) or not numbers:
        raise StoreError(
            "files of images are missing",
            where=folder,
            expected="0.npy, 1.npy, ... without a gap",
            found=", ".join(f"{number}.npy" for number in numbers[:20]) or "none",
        )
    files = [_open(folder, number) for number in numbers]
    for item in files:
        if (item.shape, item.dtype) != (files[0].shape, files[0].dtype) or len(item.shape) != 3:
            raise StoreError(
                "images are not alike",
                where=item.images,
                expected=f"(n, y, x, band), {files[0].shape} of {files[0].dtype} as in the first",
                found=f"{item.shape} of {item.dtype}",
            )
    return files


def _open(folder: Path, number: int) -> _Numbered:
    images, labels = folder / f"{number}.npy", folder / f"labels{number}.npy"
    data = _load(images)
    return _Numbered(images, labels, len(data), tuple(data.shape[1:]), data.dtype)


def _load(path: Path) -> npt.NDArray[Any]:
    try:
        return np.asarray(np.load(path, mmap_mode="r"))
    except (OSError, ValueError) as error:
        raise StoreError("file is missing or no .npy", where=path, found=error) from None


def _labels(item: _Numbered, n_classes: int) -> npt.NDArray[np.float32]:
    data = _load(item.labels)
    if data.shape != (item.count, n_classes):
        raise LabelError(
            "labels do not fit the images and classes",
            where=item.labels,
            expected=f"{item.count} images x {n_classes} classes",
            found=f"shape {data.shape}",
        )
    if not np.isin(data, (0, 1)).all():
        raise LabelError(
            "labels are not 0 or 1",
            where=item.labels,
            found=data[~np.isin(data, (0, 1))].ravel()[0],
        )
    return data.astype(np.float32)


def _lines(path: Path) -> list[str] | None:
    return path.read_text("utf-8").splitlines() if path.is_file() else None


def _ids(folder: Path, files: Sequence[_Numbered]) -> list[str]:
    """Ids of ``ids.txt``, else the number of the file and of the image in it."""
    listed = _lines(folder / IDS)
    total = sum(item.count for item in files)
    if listed is None:
        return [f"{n}-{i}" for n, item in enumerate(files) for i in range(item.count)]
    if len(listed) != total or len(set(listed)) != total:
        raise StoreError(
            "ids do not fit the images",
            where=folder / IDS,
            expected=f"{total} lines, none twice",
            found=f"{len(listed)} lines, {len(set(listed))} different ones",
        )
    return listed


def _band_names(first: _Numbered, bands: Sequence[str] | None) -> list[str]:
    count = first.shape[-1]
    names = [f"band{i + 1}" for i in range(count)] if bands is None else list(bands)
    if len(names) != count:
        raise StoreError(
            "band names do not fit the images",
            where=first.images,
            expected=f"{count} names",
            found=names,
        )
    return names


def _pieces(files: Sequence[_Numbered]) -> Iterator[npt.NDArray[Any]]:
    for item in files:
        yield _load(item.images)


def _write_images(group: zarr.Group, files: Sequence[_Numbered], ids: Sequence[str]) -> None:
    shape = files[0].shape
    with tile_writer(group, len(ids), shape, files[0].dtype) as writer:
        for tiles in _pieces(files):
            writer.append(tiles, np.ones(tiles.shape[:3], dtype=np.bool_))
        moments = writer.finish()
    write_strings(group, "ids", list(ids), "tile")
    write_strings(group, "group", [""] * len(ids), "tile")
    write_moments(group, moments)


def _write_cover(
    path: Path, classes: Nomenclature, covers: npt.NDArray[np.float32], ids: Sequence[str]
) -> None:
    listed = [{"code": c.code, "name": c.name, "colour": c.colour} for c in classes.classes]
    with new_store(path, {"nomenclature": classes.name, "classes": listed}) as group:
        array = create_array(group, "cover", covers.shape, "float32", dimensions=("tile", "class"))
        array[:] = covers
        write_strings(group, "ids", list(ids), "tile")
