"""Read an archive, zip or unpacked folder, without unpacking and without trusting it."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from geolatents.archive.layout import MANIFEST, METADATA
from geolatents.errors import ArchiveError
from geolatents.files import Json

PIECE = 2**20
SMALL = 2**28
"""Bytes of the largest description that is read into memory."""

DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError)
"""What a damaged or encrypted zip raises while it is read."""


class Archive(ABC):
    """Files of an archive by name.

    Attributes:
        path: The zip or folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @abstractmethod
    def names(self) -> list[str]:
        """Names of all files, sorted."""

    @abstractmethod
    def open(self, name: str) -> IO[bytes]:
        """Open a file."""

    def sha256(self, name: str) -> str | None:
        """Hash of a file; none where it cannot be read."""
        digest = hashlib.sha256()
        try:
            with self.open(name) as stream:
                while piece := stream.read(PIECE):
                    digest.update(piece)
        except DAMAGED:
            return None
        return digest.hexdigest()

    def text(self, name: str) -> str:
        """A description of the archive as text.

        Raises:
            ArchiveError: It is missing, damaged or no text.
        """
        try:
            with self.open(name) as stream:
                content = stream.read(SMALL + 1)
            if len(content) > SMALL:
                raise ValueError(f"more than {SMALL} bytes")
            return content.decode("utf-8")
        except KeyError:
            raise ArchiveError("a file is missing", where=f"{self.path}: {name}") from None
        except (ValueError, *DAMAGED) as error:
            raise ArchiveError(
                "a file is damaged",
                where=f"{self.path}: {name}",
                found=error,
                fix="get the archive again",
            ) from None

    def json(self, name: str) -> Json:
        """A JSON file.

        Raises:
            ArchiveError: It is missing, damaged or no JSON.
        """
        try:
            return json.loads(self.text(name))
        except ValueError as error:
            raise ArchiveError(
                "a file is no JSON",
                where=f"{self.path}: {name}",
                found=error,
                fix="get the archive again",
            ) from None


class ZipArchive(Archive):
    """An archive in a zip file."""

    def __init__(self, path: Path, file: zipfile.ZipFile) -> None:
        super().__init__(path)
        self._file = file
        self._entries = {one.filename: one for one in file.infolist() if not one.is_dir()}
        _require_harmless(path, file.infolist())

    def names(self) -> list[str]:
        """Names of all files, sorted."""
        return sorted(self._entries)

    def open(self, name: str) -> IO[bytes]:
        """Open a file."""
        return self._file.open(self._entries[name])


class FolderArchive(Archive):
    """An unpacked archive."""

    def names(self) -> list[str]:
        """Names of all files, sorted.

        Raises:
            ArchiveError: There is a link, which no archive holds.
        """
        found = []
        for folder, folders, files in os.walk(self.path):
            for name in (*folders, *files):
                if (Path(folder) / name).is_symlink():
                    raise ArchiveError(
                        "the folder holds a link, which may lead anywhere",
                        where=Path(folder) / name,
                        fix="remove it, or unpack the archive again",
                    )
            found += [(Path(folder) / name).relative_to(self.path).as_posix() for name in files]
        return sorted(found)

    def open(self, name: str) -> IO[bytes]:
        """Open a file."""
        try:
            return (self.path / name).open("rb")
        except FileNotFoundError:
            raise KeyError(name) from None


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Open an archive of a run.

    Raises:
        ArchiveError: It is missing, no zip, damaged, no archive of a run, or has entries that lead out of it.
    """
    if path.is_dir():
        yield _described(FolderArchive(path))
        return
    if not path.exists():
        raise ArchiveError(
            "there is no archive",
            where=path,
            fix="make one with `make archive`, or name another path",
        )
    try:
        file = zipfile.ZipFile(path)
    except (ValueError, *DAMAGED) as error:
        raise ArchiveError(
            "the archive is no zip, or its end is missing",
            where=path,
            found=f"{error}; {path.stat().st_size} bytes",
            fix="get it again; its size is told where it was published",
        ) from None
    with file:
        yield _described(ZipArchive(path, file))


def listed(archive: Archive) -> dict[str, str]:
    """Hashes that the archive states of its files.

    Raises:
        ArchiveError: The list cannot be read.
    """
    found = {}
    for number, line in enumerate(archive.text(MANIFEST).splitlines(), 1):
        sha256, gap, name = line.partition("  ")
        if not gap or len(sha256) != 64 or not name:
            raise ArchiveError(
                "the list of hashes is damaged",
                where=f"{archive.path}: {MANIFEST}, line {number}",
                expected="a sha256, two blanks, a name",
                found=line[:100],
                fix="get the archive again",
            )
        found[name] = sha256
    return found


def _described(archive: Archive) -> Archive:
    lacking = sorted({MANIFEST, METADATA} - set(archive.names()))
    if lacking:
        raise ArchiveError(
            "this is no archive of a run",
            where=archive.path,
            expected=f"{METADATA} and {MANIFEST}",
            found=f"no {' and no '.join(lacking)}",
            fix="name the zip that `make archive` made, or the folder that it was unpacked into",
        )
    return archive


def _require_harmless(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    """No entry leads out of the archive, is a link, or stands for two files."""
    seen: set[str] = set()
    for entry in entries:
        name = entry.filename
        parts = PurePosixPath(name).parts
        why = None
        if name.startswith("/") or "\\" in name or ".." in parts or ":" in (parts or ("",))[0]:
            why = "an entry leads out of the archive"
        elif stat.S_ISLNK(entry.external_attr >> 16):
            why = "an entry is a link"
        elif name in seen:
            why = "two entries have one name"
        if why:
            raise ArchiveError(
                why,
                where=f"{path}: {name!r}",
                fix="do not unpack it; get the archive from its makers",
            )
        seen.add(name)
