"""Terrassa Buildings 900: pictures in ``train/images`` and ``val/images``, their classes in ``annotation.txt``.

The layout is read in public code of the courses that used it: a tab-separated table with a header
line, the image without ending, then its class.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from geolatents.acquire.images.classes import FROZEN
from geolatents.acquire.images.folders import one_hot
from geolatents.acquire.images.pictures import is_picture, left_out, readable_pictures, stem
from geolatents.acquire.images.sets import Archive, ImageSet, Pixels, shortened
from geolatents.errors import LabelError, SceneError
from geolatents.nomenclature import Nomenclature, listed_nomenclature
from geolatents.settings.images import ImageFolder

ANNOTATION = "annotation.txt"

PARTS = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}
"""Part of each folder of annotations."""


@dataclass(frozen=True)
class _Annotated:
    """File, class and part of a picture."""

    file: str
    code: str
    part: str


def annotated_images(imagery: ImageFolder, root: Path) -> ImageSet:
    """Pictures that an ``annotation.txt`` in a folder above them names, each with one class.

    Pictures without an annotation are left out with a warning, as are annotations without picture.

    Raises:
        SceneError: There are no such pictures, or one cannot be decoded and ``corrupt`` is ``error``.
        LabelError: An annotation is wrong, or a class is not of the archive.
    """
    archive = Archive(root / imagery.images)
    names = archive.names()
    tables = [name for name in names if PurePosixPath(name).name == ANNOTATION]
    found, unused = _annotated(archive, tables, [name for name in names if is_picture(name)])
    nomenclature = _nomenclature(imagery, archive, found)
    by_file = {item.file: (name, item) for name, item in found.items()}
    files, pictures, lost = readable_pictures(archive, sorted(by_file), imagery)
    ids = sorted(by_file[file][0] for file in files)

    def decode(position: int) -> Pixels:
        return pictures.decode(found[ids[position]].file)

    return ImageSet(
        ids=ids,
        groups=[found[name].part if imagery.groups == "part" else "" for name in ids],
        bands=pictures.bands,
        size=(imagery.size, imagery.size),
        dtype=np.dtype(pictures.dtype),
        nomenclature=nomenclature,
        labels=one_hot([found[name].code for name in ids], nomenclature),
        decode=decode,
        sha256=archive.sha256([*(found[name].file for name in ids), *tables]),
        warnings=[*unused, *left_out(lost, "cannot be decoded")],
    )


def _annotated(
    archive: Archive, tables: list[str], files: list[str]
) -> tuple[dict[str, _Annotated], list[str]]:
    """Annotated pictures by id, and what is left out."""
    if not tables:
        raise LabelError(
            f"there is no {ANNOTATION}",
            where=archive.path,
            expected=f"train/{ANNOTATION} and train/images/*.jpg, and the same of val",
            fix="correct `imagery.images` or `imagery.layout`",
        )
    found: dict[str, _Annotated] = {}
    absent: list[str] = []
    unnamed = set(files)
    for table in tables:
        folder = PurePosixPath(table).parent
        below = {stem(name): name for name in files if PurePosixPath(name).is_relative_to(folder)}
        for name, code in _rows(archive, table).items():
            if name not in below:
                absent.append(name)
                continue
            if name in found:
                raise LabelError(f"the image {name!r} is annotated twice", where=archive.path)
            found[name] = _Annotated(below[name], code, PARTS.get(folder.name, ""))
            unnamed.discard(below[name])
    if not found:
        raise SceneError(
            "no annotated picture is there",
            where=archive.path,
            found=f"{len(files)} pictures, {len(absent)} annotations such as {shortened(absent, 1)}",
        )
    texts = [f"{len(absent)} annotations have no picture: {shortened(absent)}"] if absent else []
    return found, [*texts, *left_out(sorted(unnamed), "have no annotation")]


def _rows(archive: Archive, table: str) -> dict[str, str]:
    """Class of each image of a table."""
    where = archive.path / table
    try:
        lines = archive.read(table).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise LabelError("annotations are no UTF-8 text", where=where, found=error) from None
    rows: dict[str, str] = {}
    for number, line in enumerate(lines[1:], 2):
        cells = [cell.strip() for cell in line.split("\t")]
        if not any(cells):
            continue
        if len(cells) != 2 or not all(cells) or cells[0] in rows:
            raise LabelError(
                "an annotation is wrong",
                where=f"{where}, line {number}",
                expected="an image that is named once, a tab and its class",
                found=repr(line),
            )
        rows[cells[0]] = cells[1]
    return rows


def _nomenclature(
    imagery: ImageFolder, archive: Archive, found: Mapping[str, _Annotated]
) -> Nomenclature:
    codes = sorted({item.code for item in found.values()})
    if imagery.archive is None:
        return listed_nomenclature(archive.path.stem, codes)
    name, frozen = FROZEN[imagery.archive]
    unknown = sorted(set(codes) - set(frozen))
    if unknown:
        raise LabelError(
            f"annotations name classes that {imagery.archive!r} does not have",
            where=archive.path,
            expected=", ".join(frozen),
            found=shortened(unknown),
        )
    return listed_nomenclature(name, frozen)
