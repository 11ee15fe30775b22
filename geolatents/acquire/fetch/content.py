"""Checks that a downloaded file is what it should be; a page of HTML with status 200 is none of it."""

from __future__ import annotations

import json
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import rasterio
from PIL import Image, UnidentifiedImageError
from rasterio.windows import Window

from geolatents.acquire.fetch.packed import unpacked
from geolatents.acquire.fetch.secrets import beginning, longest, redacted
from geolatents.errors import FetchError

Content = Callable[[Path], None]
"""Raises :class:`ContentError` where the file is not what was asked for."""

_GLIMPSE = 2000
"""Bytes from which a message is made; so many more are read as a secret at their end may have."""


class ContentError(FetchError):
    """A file is not what was asked for. Busy services send such files, so the fetcher asks again.

    Args:
        problem: What is wrong.
        where: The file.
        expected: What it should be.
        found: What it is.
        fix: What the user can do.
    """

    def __init__(
        self,
        problem: str,
        *,
        where: str | Path | None = None,
        expected: object = None,
        found: object = None,
        fix: str | None = None,
    ) -> None:
        super().__init__(problem, where=where, expected=expected, found=found, fix=fix)
        self.expected, self.found, self.fix = expected, found, fix

    @property
    def brief(self) -> str:
        """The error in one line."""
        return self.problem if self.found is None else f"{self.problem}: {self.found}"

    def at(self, where: str) -> ContentError:
        """The same error at another place: the file itself has been deleted."""
        return ContentError(
            self.problem, where=where, expected=self.expected, found=self.found, fix=self.fix
        )


def anything(file: Path) -> None:
    """Any file that is neither empty nor a page of HTML.

    Raises:
        ContentError: It is one of them.
    """
    _check_start(file, "data")


def json_content(file: Path) -> None:
    """A JSON document.

    Raises:
        ContentError: It is none.
    """
    _check_start(file, "JSON")
    try:
        with file.open("rb") as stream:
            json.load(stream)
    except (ValueError, RecursionError) as error:
        raise _error(file, "JSON", error) from None


def tiff_content(file: Path) -> None:
    """A TIFF whose header and last block can be read.

    Raises:
        ContentError: It is none, or cut short.
    """
    _check_start(file, "a TIFF image")
    try:
        # Without this, GDAL lists the whole folder for each file.
        with (
            rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"),
            rasterio.open(file, driver="GTiff") as image,
        ):
            height, width = image.block_shapes[0]
            column, row = (image.width - 1) // width * width, (image.height - 1) // height * height
            last = Window(column, row, image.width - column, image.height - row)
            image.read(image.count, window=last)
    except rasterio.errors.RasterioError as error:
        raise _error(file, "a TIFF image", error) from None


def image_content(file: Path) -> None:
    """A picture that Pillow decodes to its last row.

    Raises:
        ContentError: It is none, or cut short.
    """
    _check_start(file, "an image")
    try:
        with Image.open(file) as image:
            image.load()
    except UnidentifiedImageError:
        raise _error(file, "an image") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise _error(file, "an image", error) from None


def zip_content(file: Path) -> None:
    """A zip archive with a whole list of members; their data are checked when it is unpacked.

    Raises:
        ContentError: It is none, or cut short.
    """
    _check_start(file, "a zip archive")
    try:
        with zipfile.ZipFile(file) as archive:
            archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise _error(file, "a zip archive", error) from None


def tar_content(file: Path) -> None:
    """A tar, tar.gz or tar.zst archive with a first member; the rest is checked when it is unpacked.

    Raises:
        ContentError: It is none.
    """
    _check_start(file, "a tar archive")
    try:
        with (
            file.open("rb") as stream,
            tarfile.open(fileobj=unpacked(stream), mode="r|") as archive,
        ):
            found = archive.next()
    except (tarfile.TarError, OSError, EOFError, ValueError, zlib.error) as error:
        raise _error(file, "a tar archive", error) from None
    if found is None:
        raise _error(file, "a tar archive", "it is empty")


def _check_start(file: Path, expected: str) -> None:
    start = _start(file)
    if not start.strip() or _is_html(start):
        raise _error(file, expected)


def _error(file: Path, expected: str, reason: object = None) -> ContentError:
    found = _glimpse(_start(file)) or (f"{file.stat().st_size} bytes of other data")
    return ContentError(
        "a file is not what was asked for",
        where=file,
        expected=expected,
        found=f"{found} ({redacted(reason)})" if reason else found,
        fix="try again later; if it stays so, correct the request by what the service says",
    )


def _start(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(_GLIMPSE + longest())


def _is_html(start: bytes) -> bool:
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    text = re.sub(rb"^(<\?xml.*?\?>|<!--.*?-->|\s)+", b"", text, flags=re.DOTALL)
    return text.startswith((b"<!doctype html", b"<html", b"<head", b"<body"))


def _glimpse(start: bytes) -> str | None:
    """What a text says, for the message; None of binary data."""
    if not start:
        return "an empty file"
    if _is_html(start):
        title = re.search(rb"<title[^>]*>(.*?)</title", start, re.DOTALL | re.IGNORECASE)
        named = " ".join(title[1].decode("utf-8", "replace").split()) if title else ""
        return f"an HTML page titled {redacted(named)!r}" if named else "an HTML page"
    try:
        text = start.decode("utf-8")
    except UnicodeDecodeError:
        return None
    if "\0" in text:
        return None
    unsure = longest() if len(start) > _GLIMPSE else 0
    return beginning(" ".join(text.split()), 300, unsure) or "only blanks"
