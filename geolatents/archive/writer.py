"""A zip file whose bytes depend on its contents alone, written piece by piece."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from geolatents.errors import ArchiveError
from geolatents.files import atomic_path

PIECE = 2**20
"""Bytes that are read at a time."""

LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""Time of every entry: when a file was copied says nothing of the run, and would change the archive's bytes."""

PACKED = {".gif", ".jpeg", ".jpg", ".keras", ".parquet", ".png", ".tif", ".zip"}
"""Endings of files that are compressed already, as the shards of a store are."""


@dataclass(frozen=True)
class Written:
    """A file of the archive.

    Attributes:
        sha256: Hash of its bytes.
        bytes: Number of them.
    """

    sha256: str
    bytes: int


class ArchiveWriter:
    """Adds files to a zip and keeps their hashes.

    Args:
        file: The open zip.
        inspect: Sees every piece with the name of its file and the end of the piece before.
    """

    def __init__(self, file: zipfile.ZipFile, inspect: Callable[[str, bytes], None]) -> None:
        self._file = file
        self._inspect = inspect
        self.written: dict[str, Written] = {}

    def add_file(self, name: str, path: Path) -> None:
        """Add a file from disk."""
        size = path.stat().st_size
        with path.open("rb") as stream:
            self._add(name, iter(lambda: stream.read(PIECE), b""), large=size >= 2**31)

    def add_text(self, name: str, text: str) -> None:
        """Add a text."""
        self._add(name, iter([text.encode()]))

    def _add(self, name: str, pieces: Iterator[bytes], *, large: bool = False) -> None:
        if name in self.written or "\n" in name or "\\" in name:
            raise ArchiveError("a file cannot be archived under its name", where=repr(name))
        digest, size, before = hashlib.sha256(), 0, b""
        with self._file.open(_entry(name), "w", force_zip64=large) as target:
            for piece in pieces:
                self._inspect(name, before + piece)
                digest.update(piece)
                size += target.write(piece)
                before = piece[-200:]
        self.written[name] = Written(digest.hexdigest(), size)


@contextmanager
def new_archive(path: Path, inspect: Callable[[str, bytes], None]) -> Iterator[ArchiveWriter]:
    """Open an archive for writing; it takes its name when the block ends well."""
    with atomic_path(path) as part, zipfile.ZipFile(part, "w") as file:
        yield ArchiveWriter(file, inspect)


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, LONG_AGO)
    entry.create_system = 3  # Unix, wherever it is written
    entry.external_attr = 0o100644 << 16
    path = Path(name)
    in_store = path.suffix == "" and any(part.endswith(".zarr") for part in path.parts)
    stored = path.suffix in PACKED or in_store
    entry.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
    return entry
