"""CelebA: aligned faces with 40 attributes (Liu et al. 2015).

``list_attr_celeba.txt`` has the number of images, a line of attribute names, and a line of -1 or 1 per
image; ``list_eval_partition.txt`` beside it has the official part: 0 train, 1 validation, 2 test.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from geolatents.acquire.images.sets import (
    RGB,
    Archive,
    ImageSet,
    LabelTable,
    Pixels,
    band_positions,
    decode_rgb,
    pictures_by_stem,
    require_rows,
    rows_left_out,
)
from geolatents.errors import LabelError
from geolatents.files import sha256_file
from geolatents.nomenclature import listed_nomenclature
from geolatents.settings.archives import PARTITION
from geolatents.settings.images import ImageFolder

ATTRIBUTES = "list_attr_celeba.txt"
PARTS = {"0": "train", "1": "validation", "2": "test"}


def celeba_images(imagery: ImageFolder, root: Path) -> ImageSet:
    """Faces, cut to the largest centred square and averaged to ``size``, with their attributes as labels.

    Raises:
        SceneError: The images are missing.
        LabelError: Attributes or parts are missing or wrong, or lack an image.
    """
    archive = Archive(root / imagery.images)
    beside = archive.path if archive.path.is_dir() else archive.path.parent
    file = root / imagery.table if imagery.table else beside / ATTRIBUTES
    table = read_attributes(file)
    files = pictures_by_stem(archive)
    rows = {name: row for row, name in enumerate(table.images)}
    require_rows(files, rows, archive.path, file)
    ids = sorted(files)
    sources = [file, *([file.with_name(PARTITION)] if imagery.groups == "part" else [])]
    channels = band_positions(imagery.bands, RGB)

    def decode(position: int) -> Pixels:
        name = files[ids[position]]
        pixels = decode_rgb(archive.read(name), imagery.size, archive.path / name, crop=True)
        return np.ascontiguousarray(pixels[..., channels])

    return ImageSet(
        ids=ids,
        groups=_parts(sources[1], ids) if len(sources) > 1 else [""] * len(ids),
        bands=[RGB[channel] for channel in channels],
        size=(imagery.size, imagery.size),
        dtype=np.dtype("uint8"),
        nomenclature=listed_nomenclature("celeba", table.classes),
        labels=table.labels[[rows[name] for name in ids]],
        decode=decode,
        sha256="-".join(
            [archive.sha256([files[name] for name in ids]), *(sha256_file(s) for s in sources)]
        ),
        warnings=rows_left_out(files, rows, file),
    )


def read_attributes(file: Path) -> LabelTable:
    """Read the table of attributes.

    Raises:
        LabelError: It is missing or damaged; the message names the line.
    """
    lines = _lines(file)
    classes = lines[1].split() if len(lines) > 1 else []
    rows = [(number, line.split()) for number, line in enumerate(lines[2:], 3) if line.strip()]
    if not classes or not lines[0].strip().isdigit() or int(lines[0]) != len(rows):
        raise LabelError(
            "the table of attributes is not whole",
            where=file,
            expected="the number of images, a line of attributes, and as many lines of images",
            found=f"{lines[0][:40]!r} first, {len(rows)} lines of images" if lines else "no line",
            fix="copy or download it again",
        )
    labels = np.zeros((len(rows), len(classes)), dtype=np.uint8)
    for row, (number, cells) in enumerate(rows):
        labels[row] = _present(cells[1:], len(classes), f"{file}, line {number}")
    images = [cells[0].rpartition(".")[0] for _, cells in rows]
    if len(set(images)) < len(images):
        raise LabelError("an image has two lines of attributes", where=file)
    return LabelTable(images, classes, labels)


def _present(values: Sequence[str], count: int, where: str) -> npt.NDArray[np.bool_]:
    found = np.asarray(values)
    if len(found) != count or not np.isin(found, ["-1", "1"]).all():
        raise LabelError(
            "a line of attributes is wrong", where=where, expected=f"{count} values of -1 or 1"
        )
    present: npt.NDArray[np.bool_] = found == "1"
    return present


def _parts(file: Path, ids: Sequence[str]) -> list[str]:
    part: dict[str, str] = {}
    for number, line in enumerate(_lines(file), 1):
        cells = line.split()
        if cells and (len(cells) != 2 or cells[1] not in PARTS):
            raise LabelError(
                "a line of parts is wrong",
                where=f"{file}, line {number}",
                expected="an image and 0, 1 or 2",
                found=repr(line),
            )
        if cells:
            part[cells[0].rpartition(".")[0]] = PARTS[cells[1]]
    missing = [name for name in ids if name not in part]
    if missing:
        raise LabelError(f"{len(missing)} images have no part", where=file, found=missing[0])
    return [part[name] for name in ids]


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LabelError(
            "a table of CelebA cannot be read",
            where=file,
            found=error,
            fix=f"put {file.name} there, or correct `imagery.table`",
        ) from None
