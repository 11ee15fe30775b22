"""Folders and zip archives of images without position, with the labels of a text table."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from geolatents.acquire.decoding import undecodable
from geolatents.errors import LabelError, SceneError
from geolatents.files import sha256_file
from geolatents.nomenclature import Nomenclature, listed_nomenclature
from geolatents.settings.images import ImageFolder

Pixels = npt.NDArray[Any]

PICTURES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
RGB = ("red", "green", "blue")
READ_ERRORS = (
    OSError, zipfile.BadZipFile, zlib.error, EOFError, ValueError, KeyError, RuntimeError,
)  # fmt: skip
"""What files and members of zip archives raise that are missing, damaged, encrypted or packed unusually."""

EIGHT_BIT_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"})


class Archive:
    """A folder or zip archive whose files are read by name, without extraction; safe in threads."""

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises:
            SceneError: It is missing, or neither a folder nor a zip archive.
        """
        self.path = path
        self._zip: zipfile.ZipFile | None = None
        if path.is_file():
            try:
                self._zip = zipfile.ZipFile(path)
            except zipfile.BadZipFile as error:
                raise SceneError(
                    "the image archive is no zip file",
                    where=path,
                    found=error,
                    fix="copy or download it again; tar archives are unpacked into a folder first",
                ) from None
        elif not path.is_dir():
            raise SceneError(
                "the folder or archive of images is missing",
                where=path,
                fix="correct `imagery.images`, or name the data folder with GEOLATENTS_DATA",
            )

    def names(self) -> list[str]:
        """Relative names of all files but hidden ones, sorted."""
        return sorted(name for _, files in self.folders() for name in files)

    def folders(self) -> Iterator[tuple[str, list[str]]]:
        """Relative names of folders, each with those of its files, sorted; nothing hidden.

        A zip archive lists empty folders only where it has entries for them.
        """
        if self._zip is not None:
            entries = sorted(
                (_parent(name.rstrip("/")) if not name.endswith("/") else name.rstrip("/"), name)
                for name in self._zip.namelist()
                if not _hidden(name)
            )
            for folder, grouped in groupby(entries, key=lambda entry: entry[0]):
                yield folder, [name for _, name in grouped if not name.endswith("/")]
            return
        for folder, below, files in os.walk(self.path):
            below[:] = sorted(name for name in below if not _hidden(name))
            relative = Path(folder).relative_to(self.path)
            visible = sorted(name for name in files if not _hidden(name))
            yield _posix(relative), [_posix(relative / name) for name in visible]

    def read(self, name: str) -> bytes:
        """Content of one file.

        Raises:
            SceneError: It is damaged.
        """
        try:
            if self._zip is not None:
                return self._zip.read(name)
            return (self.path / name).read_bytes()
        except READ_ERRORS as error:
            raise undecodable(self.path / name, error) from None

    def sha256(self, names: Iterable[str]) -> str:
        """Content hash: of the zip file, or of names and contents in a folder."""
        if self._zip is not None:
            return sha256_file(self.path)
        digest = hashlib.sha256()
        for name in names:
            digest.update(f"{name}\0{sha256_file(self.path / name)}\n".encode())
        return digest.hexdigest()


@dataclass(frozen=True)
class ImageSet:
    """Labelled images of equal size, in the order of their ids.

    Attributes:
        ids: Name of each image, sorted.
        groups: Group of each image, empty without groups.
        bands: Band names.
        size: Width and height of every image in pixels.
        dtype: Type of the pixels.
        nomenclature: Classes of the labels.
        labels: (image, class): uint8, 0 or 1, or float32 shares of the image.
        decode: Gives the pixels (y, x, band) of the image at a position.
        sha256: Content hash of images and labels.
        warnings: What the user should know.
        attributes: Further float32 values of each image by name, such as its mean height.
    """

    ids: list[str]
    groups: list[str]
    bands: list[str]
    size: tuple[int, int]
    dtype: np.dtype[Any]
    nomenclature: Nomenclature
    labels: npt.NDArray[np.uint8] | npt.NDArray[np.float32]
    decode: Callable[[int], Pixels]
    sha256: str
    warnings: list[str]
    attributes: Mapping[str, npt.NDArray[np.float32]] = field(default_factory=dict)


@dataclass(frozen=True)
class LabelTable:
    """A multi-label text table: names of images, names of labels, uint8 (image, label)."""

    images: list[str]
    classes: list[str]
    labels: npt.NDArray[np.uint8]


def table_images(imagery: ImageFolder, root: Path) -> ImageSet:
    """Images named in a label table, as RGB uint8 of ``size`` pixels squared.

    Rows without an image are left out with a warning (published tables name more images than one
    has); an image without a row is an error, since nothing says what is in it.

    Raises:
        SceneError: The images are missing, two have one name, or none is in the table.
        LabelError: The table is missing or wrong, or lacks an image.
    """
    archive = Archive(root / imagery.images)
    table_file = root / str(imagery.table)  # without one, images are read as `plain`
    table = read_label_table(table_file)
    files = pictures_by_stem(archive)
    rows = {name: row for row, name in enumerate(table.images)}
    require_rows(files, rows, archive.path, table_file)
    ids = sorted(files)
    channels = band_positions(imagery.bands, RGB)

    def decode(position: int) -> Pixels:
        name = files[ids[position]]
        pixels = decode_rgb(archive.read(name), imagery.size, archive.path / name)
        return np.ascontiguousarray(pixels[..., channels])

    return ImageSet(
        ids=ids,
        groups=[group_of(files[name], imagery, archive.path) for name in ids],
        bands=[RGB[channel] for channel in channels],
        size=(imagery.size, imagery.size),
        dtype=np.dtype("uint8"),
        nomenclature=listed_nomenclature(table_file.stem, table.classes),
        labels=table.labels[[rows[name] for name in ids]],
        decode=decode,
        sha256=f"{archive.sha256([files[name] for name in ids])}-{sha256_file(table_file)}",
        warnings=rows_left_out(files, rows, table_file),
    )


def read_label_table(file: Path) -> LabelTable:
    """Read a table whose first column names the image and whose others are labels, 0 or 1.

    Separated by tab, semicolon or comma, as the header says. An ending such as ``.jpg`` is cut off.

    Raises:
        LabelError: The table is missing or empty, a row has another length, a name occurs
            twice, or a value is neither 0 nor 1; the message names file, row and column.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LabelError(
            "the label table cannot be read",
            where=file,
            found=error,
            fix="correct `imagery.table`; the table is UTF-8 text",
        ) from None
    separator = next((c for c in "\t;," if lines and c in lines[0]), None)
    if separator is None or len(lines) < 2:
        raise LabelError(
            "the label table has no columns or no rows",
            where=file,
            expected="a header `image, label, label, ...` and a row for each image",
        )
    cells = list(csv.reader(lines, delimiter=separator))
    classes = [name.strip() for name in cells[0][1:]]
    rows = [(number, row) for number, row in enumerate(cells[1:], 2) if any(map(str.strip, row))]
    images = [_without_ending(row[0].strip()) for _, row in rows]
    _require_once(classes, "label", file)
    _require_once(images, "image", file)
    labels = np.zeros((len(rows), len(classes)), dtype=np.uint8)
    for index, (number, row) in enumerate(rows):
        labels[index] = _label_values(row[1:], classes, file, number)
    return LabelTable(images, classes, labels)


def decode_rgb(
    content: bytes, size: int, where: Path, *, crop: bool = False
) -> npt.NDArray[np.uint8]:
    """Decode a picture and average it by area to ``size`` x ``size``.

    Args:
        content: JPEG, PNG, TIFF, ...
        size: Side of the result in pixels.
        where: File, for messages.
        crop: Cut out the largest centred square first, instead of squeezing what is no square.

    Returns:
        uint8 (y, x, 3).

    Raises:
        SceneError: It cannot be decoded, or has more than 8 bits per band.
    """
    try:
        with Image.open(io.BytesIO(content)) as picture:
            if picture.mode not in EIGHT_BIT_MODES:
                raise SceneError(
                    "the image has more than 8 bits per band",
                    where=where,
                    found=f"mode {picture.mode}",
                    fix="convert it to 8 bits; scenes of any type go into `provider: files`",
                )
            rgb = picture.convert("RGB")
            if crop:
                side = min(rgb.size)
                left, top = ((length - side) // 2 for length in rgb.size)
                rgb = rgb.crop((left, top, left + side, top + side))
    except (OSError, UnidentifiedImageError, SyntaxError, Image.DecompressionBombError) as error:
        raise undecodable(where, error) from None
    bands = np.asarray(rgb, dtype=np.uint8)
    return np.stack([resample(bands[..., i], size) for i in range(len(RGB))], axis=-1)


def resample(band: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    """Resample a band to ``size`` pixels squared, in its own type.

    Finer bands are averaged by area. Coarser ones are interpolated bilinearly: nearest neighbours
    would give edges every few pixels that a convolution sees, a cubic overshoots at borders.
    Computed in float32 and rounded once; Pillow's resizing of bytes rounds up twice.
    """
    if band.shape == (size, size):
        return band
    finer = min(band.shape) >= size
    method = Image.Resampling.BOX if finer else Image.Resampling.BILINEAR
    resized = Image.fromarray(band.astype(np.float32)).resize((size, size), method)
    return np.asarray(np.rint(np.asarray(resized))).astype(band.dtype)


def pictures_by_stem(archive: Archive) -> dict[str, str]:
    """File of each picture by its name without folders and ending.

    Raises:
        SceneError: There are none, or two have one name.
    """
    files: dict[str, str] = {}
    for name in archive.names():
        path = PurePosixPath(name)
        if path.suffix.lower() in PICTURES and files.setdefault(path.stem, name) != name:
            raise SceneError(
                f"two images have the name {path.stem!r}",
                where=archive.path,
                found=f"{files[path.stem]} and {name}",
                fix="rename one of them",
            )
    if not files:
        raise SceneError(
            "there are no images",
            where=archive.path,
            expected=f"files ending in {', '.join(sorted(PICTURES))}",
            fix="correct `imagery.images`",
        )
    return files


def require_rows(
    files: Mapping[str, str], rows: Mapping[str, int], images: Path, table: Path
) -> None:
    """See that every image has a row in the table.

    Raises:
        LabelError: One has none.
    """
    without = sorted(set(files) - set(rows))
    if len(without) == len(files):
        raise LabelError(
            "no image is in the label table",
            where=table,
            expected=f"images such as {next(iter(sorted(rows)))!r}",
            found=f"images such as {without[0]!r} in {images}",
            fix="use the table of these images; its first column holds their file names",
        )
    if without:
        raise LabelError(
            f"{len(without)} images have no row in the label table",
            where=table,
            found=shortened(without),
            fix=f"add their rows, or remove them from {images}",
        )


def rows_left_out(files: Mapping[str, str], rows: Mapping[str, int], table: Path) -> list[str]:
    """What the user is told about rows of a table without image."""
    absent = sorted(set(rows) - set(files))
    if not absent:
        return []
    return [
        f"{len(absent)} of {len(rows)} rows of {table.name} have no image and are left out, the first"
        f" is {absent[0]}"
    ]


def band_positions(wanted: Sequence[str] | None, available: Sequence[str]) -> list[int]:
    """Positions of the wanted bands, all where none are named.

    Raises:
        SceneError: There is no such band.
    """
    for band in wanted or ():
        if band not in available:
            raise SceneError(
                f"there is no band {band!r}",
                where="imagery.bands",
                expected=f"of {', '.join(available)}",
            )
    return [available.index(band) for band in wanted or available]


def shortened(names: Sequence[str], count: int = 5) -> str:
    """The first names of a list, for messages."""
    return ", ".join(names[:count]) + (", ..." if len(names) > count else "")


def _posix(path: Path) -> str:
    return "" if path == Path() else path.as_posix()


def _parent(name: str) -> str:
    return name.rpartition("/")[0]


def _hidden(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(name).parts)


def _without_ending(name: str) -> str:
    path = PurePosixPath(name)
    return path.stem if path.suffix.lower() in PICTURES else name


def group_of(name: str, imagery: ImageFolder, where: Path) -> str:
    """Group of an image: its folder, or none.

    Raises:
        SceneError: It lies in no folder.
    """
    if imagery.groups == "none":
        return ""
    folder = PurePosixPath(name).parent.name
    if not folder:
        raise SceneError(
            f"the image {name!r} lies in no folder and so has no group",
            where=where,
            fix="put each group in a folder of its own, or set `imagery.groups: none`",
        )
    return folder


def _require_once(names: Sequence[str], what: str, file: Path) -> None:
    name, count = Counter(names).most_common(1)[0] if names else ("", 0)
    if count != 1 or "" in names:
        problem = (
            f"the {what} {name!r} occurs {count} times" if count > 1 else f"a {what} has no name"
        )
        raise LabelError(problem, where=file, fix="every row and column needs a name of its own")


def _label_values(
    values: Sequence[str], classes: Sequence[str], file: Path, number: int
) -> list[int]:
    if len(values) != len(classes):
        raise LabelError(
            "a row of the label table has another length than its header",
            where=f"{file}, line {number}",
            expected=f"{len(classes)} labels",
            found=f"{len(values)} labels",
        )
    for value, name in zip(values, classes, strict=True):
        if value.strip() not in ("0", "1"):
            raise LabelError(
                "a label is neither 0 nor 1",
                where=f"{file}, line {number}, column {name!r}",
                expected="0 or 1",
                found=repr(value),
                fix="correct the table; shares and counts are no labels",
            )
    return [int(value) for value in values]
