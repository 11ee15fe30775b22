"""The predecessor's layout of labelled images: ``0.npy, labels0.npy, 1.npy, labels1.npy, ...``.

``{i}.npy`` holds images (n, y, x, band), ``labels{i}.npy`` their labels (n, class), 0 or 1. Beside
them lie ``labels.txt`` (class codes) and ``ids.txt`` (tile ids), one per line, where we wrote them
(``batches/legacy.py``); the predecessor ignores both.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from geolatents.acquire.decoding import undecodable
from geolatents.acquire.images.sets import Archive, ImageSet, Pixels
from geolatents.errors import LabelError, SceneError
from geolatents.files import sha256_file
from geolatents.nomenclature import listed_nomenclature
from geolatents.settings.images import ImageFolder

CODES, IDS = "labels.txt", "ids.txt"

OPEN_FILES = 8
"""Files kept open (of a zip archive: in memory) at a time."""

Load = Callable[[str], npt.NDArray[Any]]


@dataclass(frozen=True)
class _Numbered:
    """One file of images and that of its labels, as names in the archive."""

    images: str
    labels: str
    count: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def legacy_images(imagery: ImageFolder, root: Path) -> ImageSet:
    """Images in the order of their files and in their own size; floats become float32.

    Class codes are the lines of ``imagery.table``, else of ``labels.txt``; ids those of
    ``ids.txt``, else ``{file}-{image}``; bands are ``imagery.bands``, else ``band-1``, ...

    Raises:
        SceneError: Files of images are missing, damaged or not alike, or do not fit ids or bands.
        LabelError: Labels or their codes are missing, not 0 or 1, or differ in number.
    """
    archive = Archive(root / imagery.images)
    load: Load = lru_cache(OPEN_FILES)(partial(_load, archive))
    names = archive.names()
    files = _numbered_files(archive.path, names, load)
    texts = {
        path.name: name
        for name in names
        if (path := PurePosixPath(name)).name in (CODES, IDS)
        and path.parent == PurePosixPath(files[0].images).parent
    }
    codes = _codes(imagery, root, archive, texts)
    used = [name for item in files for name in (item.images, item.labels)]
    table = [sha256_file(root / imagery.table)] if imagery.table else []
    return ImageSet(
        ids=_ids(archive, texts, files),
        groups=[""] * sum(item.count for item in files),
        bands=_bands(imagery, files[0], archive.path),
        size=(files[0].shape[1], files[0].shape[0]),
        dtype=_dtype(files[0]),
        nomenclature=listed_nomenclature("legacy", codes),
        labels=np.concatenate([_labels(archive.path, load, item, codes) for item in files]),
        decode=_decoder(archive.path, load, files),
        sha256="-".join([archive.sha256([*used, *texts.values()]), *table]),
        warnings=[],
    )


def _load(archive: Archive, name: str) -> npt.NDArray[Any]:
    path = archive.path / name
    try:
        if archive.path.is_dir():
            return np.asarray(np.load(path, mmap_mode="r"))
        return np.asarray(np.load(io.BytesIO(archive.read(name))))
    except (OSError, ValueError, EOFError) as error:
        raise undecodable(path, error) from None


# Images


def _numbered_files(where: Path, names: Collection[str], load: Load) -> list[_Numbered]:
    by_number: dict[int, str] = {}
    for name in names:
        path = PurePosixPath(name)
        if not re.fullmatch(r"\d+\.npy", path.name):
            continue
        if by_number.setdefault(int(path.stem), name) != name:
            raise SceneError(
                f"two files have the number {path.stem}",
                where=where,
                found=f"{by_number[int(path.stem)]} and {name}",
                fix="name the folder of one of them in `imagery.images`",
            )
    missing = sorted(set(range(max(by_number, default=0) + 1)) - set(by_number))
    if missing:
        raise SceneError(
            "files of images are missing",
            where=where / f"{missing[0]}.npy",
            expected="0.npy, 1.npy, ... without a gap",
            found=f"{len(by_number)} such files",
            fix="correct `imagery.images` or `imagery.layout`, or copy the files again",
        )
    known = frozenset(names)
    files = [_numbered(where, by_number[number], known, load) for number in sorted(by_number)]
    for item in files:
        if (item.shape, item.dtype) != (files[0].shape, files[0].dtype):
            raise SceneError(
                "the images are not alike",
                where=where / item.images,
                expected=f"{files[0].shape} of {files[0].dtype} as in {files[0].images}",
                found=f"{item.shape} of {item.dtype}",
            )
    return files


def _numbered(where: Path, name: str, names: Collection[str], load: Load) -> _Numbered:
    path = PurePosixPath(name)
    labels = str(path.with_name(f"labels{path.name}"))
    if labels not in names:
        raise LabelError(
            "the labels of images are missing",
            where=where / labels,
            expected=f"a file of labels for {name}",
            fix="copy it again, beside its images",
        )
    data = load(name)
    if data.ndim != 4 or data.size == 0 or data.dtype.kind not in "iuf":
        raise SceneError(
            "the file holds no images",
            where=where / name,
            expected="integers or floats of shape (n, y, x, band)",
            found=f"{data.dtype} of shape {data.shape}",
        )
    return _Numbered(name, labels, len(data), tuple(data.shape[1:]), data.dtype)


def _dtype(item: _Numbered) -> np.dtype[Any]:
    return np.dtype("float32") if item.dtype.kind == "f" else item.dtype.newbyteorder("=")


def _decoder(where: Path, load: Load, files: Sequence[_Numbered]) -> Callable[[int], Pixels]:
    starts = np.cumsum([0, *(item.count for item in files)])
    dtype = _dtype(files[0])

    def decode(position: int) -> Pixels:
        number = int(np.searchsorted(starts, position, side="right")) - 1
        name, row = files[number].images, position - int(starts[number])
        pixels = np.array(load(name)[row], dtype=dtype)
        if not np.isfinite(pixels).all():
            raise SceneError(
                "an image holds NaN or infinite values",
                where=f"{where / name}, image {row}",
                fix="leave it out, or give it values",
            )
        return pixels

    return decode


def _bands(imagery: ImageFolder, first: _Numbered, where: Path) -> list[str]:
    count = first.shape[-1]
    names = imagery.bands or [f"band-{number}" for number in range(1, count + 1)]
    if len(names) != count or len(set(names)) != count:
        raise SceneError(
            "the band names do not fit the images",
            where=where / first.images,
            expected=f"{count} names, none twice",
            found=", ".join(names),
            fix="correct `imagery.bands`",
        )
    return list(names)


# Labels and ids


def _codes(
    imagery: ImageFolder, root: Path, archive: Archive, texts: Mapping[str, str]
) -> list[str]:
    if imagery.table is not None:
        table = root / imagery.table
        try:
            codes = _split_lines(table.read_bytes())
        except OSError as error:
            raise LabelError(
                "the class codes cannot be read",
                where=table,
                found=error,
                fix="correct `imagery.table`",
            ) from None
        return _once(codes, table)
    if CODES not in texts:
        raise LabelError(
            "the classes of the labels are not named",
            where=archive.path / CODES,
            expected="class codes, one per line, in the order of the labels' columns",
            fix=f"write {CODES}, or name such a file in `imagery.table`",
        )
    return _once(_split_lines(archive.read(texts[CODES])), archive.path / texts[CODES])


def _once(codes: list[str], where: Path) -> list[str]:
    if len(set(codes)) != len(codes) or not codes:
        raise LabelError("class codes are missing or occur twice", where=where, found=codes)
    return codes


def _labels(
    where: Path, load: Load, item: _Numbered, codes: Sequence[str]
) -> npt.NDArray[np.uint8]:
    data = load(item.labels)
    if data.shape != (item.count, len(codes)):
        raise LabelError(
            "the labels do not fit the images and classes",
            where=where / item.labels,
            expected=f"{item.count} images x {len(codes)} classes",
            found=f"shape {data.shape}",
        )
    wrong = ~np.isin(data, (0, 1))
    if wrong.any():
        raise LabelError(
            "a label is neither 0 nor 1",
            where=f"{where / item.labels}, row {int(np.argwhere(wrong)[0][0])}",
            found=data[wrong][0],
        )
    return data.astype(np.uint8)


def _ids(archive: Archive, texts: Mapping[str, str], files: Sequence[_Numbered]) -> list[str]:
    if IDS not in texts:
        return [f"{number}-{row}" for number, item in enumerate(files) for row in range(item.count)]
    listed = _split_lines(archive.read(texts[IDS]))
    total = sum(item.count for item in files)
    if len(listed) != total or len(set(listed)) != total:
        raise SceneError(
            "the ids do not fit the images",
            where=archive.path / texts[IDS],
            expected=f"{total} lines, none twice",
            found=f"{len(listed)} lines, {len(set(listed))} different ones",
            fix="correct it, or remove it to number the images",
        )
    return listed


def _split_lines(content: bytes) -> list[str]:
    lines = content.decode("utf-8-sig", errors="replace").splitlines()
    return [line.strip() for line in lines if line.strip()]
