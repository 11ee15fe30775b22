"""Unpack archives that may be broken or hostile: whole folders or nothing, and nothing outside them."""

from __future__ import annotations

import bisect
import functools
import io
import itertools
import os
import posixpath
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tarfile import TarInfo
from typing import IO, Any, Literal, cast

import pyarrow as pa
from filelock import FileLock

from geolatents.acquire.fetch.packed import unpacked
from geolatents.acquire.fetch.transfer import FULL, room
from geolatents.errors import FetchError
from geolatents.files import atomic_path, remove
from geolatents.logs import progress

LONGEST_READ = 1 << 24
"""Bytes that an archive may make us hold at once: headers of tar files say themselves how long they are."""

RATIO_FROM = 1 << 24
"""Unpacked bytes that an archive may hold whatever its size."""

RATIO = 200.0
"""Most unpacked bytes per byte of an archive."""

_PIECE = 1 << 20
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")

_BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    EOFError,
    NotImplementedError,  # a compression that Python lacks
    RuntimeError,  # a password is needed
    UnicodeError,
    ValueError,
    pa.ArrowException,
)


class ArchiveError(FetchError):
    """An archive is broken, or holds what must not be unpacked."""


@dataclass(frozen=True)
class _Member:
    """What an archive holds under one name: a file opens, a link names another member or leads out."""

    name: str
    kind: Literal["file", "folder", "link", "other"]
    opened: Callable[[], IO[bytes]] | None = None
    target: str = ""


def unpack(
    archive: Path | Sequence[Path],
    folder: Path,
    limit_bytes: int,
    *,
    limit_members: int = 1_000_000,
) -> None:
    """Unpack a zip, tar, tar.gz or tar.zst archive into a folder of its own, in place of what was there.

    The kind is seen from the first bytes. The folder appears when everything is in it. Limits count
    what really comes out, not what the archive says of itself. A link to a file of the archive
    becomes a copy of it, so that the folder holds no links.

    Args:
        archive: Archive, or the parts that it was split into, in their order.
        folder: Folder to make.
        limit_bytes: Most bytes in all.
        limit_members: Most files, folders and links.

    Raises:
        ArchiveError: The archive is broken or cut short, is larger than the limits, or holds a path
            or link that leaves the folder, or a device. Nothing is left of it.
        FetchError: The disk is full.
    """
    parts = [archive] if isinstance(archive, Path) else list(archive)
    account = _Account(parts, limit_bytes, limit_members)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (
        FileLock(folder.with_name(f".{folder.name}.lock")),
        room(folder.parent, lambda: None),
    ):
        _remove_leftovers(folder)
        with atomic_path(folder) as partial, account.explained(), _Joined(parts) as stream:
            partial.mkdir()
            _write_all(io.BufferedReader(stream, _PIECE), partial, account)


def _remove_leftovers(folder: Path) -> None:
    """Delete what a run that was killed had unpacked."""
    for left in folder.parent.iterdir():
        if re.fullmatch(rf"\.{re.escape(folder.name)}\.\d+\.partial", left.name):
            remove(left)


def _write_all(stream: io.BufferedReader, folder: Path, account: _Account) -> None:
    links: dict[str, str] = {}
    for member in progress(
        _members(stream, account), what=f"Unpacking {account.name}", unit="file"
    ):
        account.enter(member.name)
        name = _inside(member.name, account)
        links.pop(name, None)  # the last member of a name counts
        if member.kind == "link":
            target = _inside(member.target, account, "points outside its folder")
            if target != name or not (folder / name).is_file():  # else it is there already
                links[name] = target
        elif member.kind == "folder":
            (folder / name).mkdir(parents=True, exist_ok=True)
        elif member.kind == "file" and member.opened and name != ".":
            with member.opened() as source:
                _copy(source, folder / name, account)
        else:
            raise account.error("holds what is neither a file nor a folder")
    if not account.members:
        raise account.error("holds nothing")
    _copy_links(links, folder, account)


def _inside(name: str, account: _Account, fault: str = "has a path outside its folder") -> str:
    """A path that stays in the folder; no links are ever made, so that the words of a path are enough.

    Raises:
        ArchiveError: It is absolute, or leads up.
    """
    plain = name.replace("\\", "/")
    parts = PurePosixPath(plain).parts
    if plain.startswith("/") or ".." in parts or re.match("[A-Za-z]:", plain):
        raise account.error(fault, found=name)
    return "/".join(parts) or "."


def _copy(source: IO[bytes], target: Path, account: _Account) -> None:
    try:
        stream = target.open("wb")
    except FileNotFoundError:
        target.parent.mkdir(parents=True, exist_ok=True)
        stream = target.open("wb")
    with stream:
        while piece := source.read(_PIECE):
            account.count(len(piece))
            stream.write(piece)


def _copy_links(links: dict[str, str], folder: Path, account: _Account) -> None:
    """Copy the files that links name, links to links too."""
    while links:
        ready = [name for name, target in links.items() if (folder / target).is_file()]
        for name in ready:
            account.at = name
            with (folder / links.pop(name)).open("rb") as source:
                _copy(source, folder / name, account)
        if not ready:
            account.at, target = next(iter(links.items()))
            raise account.error("holds a link to what is no file in it", found=target)


class _Account:
    """What came out of an archive so far, and how much may."""

    def __init__(self, parts: Sequence[Path], limit_bytes: int, limit_members: int) -> None:
        self.parts, self.name = parts, parts[0].name
        self.at: str | None = None
        for part in parts:
            if not part.is_file():
                raise ArchiveError("an archive is missing", where=part, fix="download it again")
        packed = sum(part.stat().st_size for part in parts)
        self.limit_bytes = int(min(limit_bytes, max(RATIO_FROM, RATIO * packed)))
        self.limit_members = limit_members
        self.members = self.bytes = 0

    def enter(self, name: str) -> None:
        """Begin with a member."""
        self.at = name
        self.members += 1
        if self.members > self.limit_members:
            raise self.error("holds too much", expected=f"at most {self.limit_members} files")

    def count(self, n_bytes: int) -> None:
        """Count unpacked bytes before they are written."""
        self.bytes += n_bytes
        if self.bytes > self.limit_bytes:
            raise self.too_large()

    def too_large(self) -> ArchiveError:
        """The error of an archive that does not end where it should."""
        return self.error("holds too much", expected=f"at most {self.limit_bytes} bytes unpacked")

    def error(self, fault: str, *, expected: object = None, found: object = None) -> ArchiveError:
        """An error that names archive and member."""
        member = "" if self.at is None else f", member {self.at!r}"
        return ArchiveError(
            f"an archive {fault}",
            where=f"{self.parts[0]}{member}",
            expected=expected,
            found=None if found is None else repr(str(found)),
            fix="nothing of it was kept; compare its checksum with the published one, and look where it came from",
        )

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Name archive and member in errors of the libraries that read them."""
        try:
            yield
        except PermissionError:
            raise
        except (*_BROKEN, OSError) as error:
            if isinstance(error, OSError) and error.errno in FULL:
                raise
            reason = str(error) or type(error).__name__
            raise self.error("cannot be unpacked", found=reason) from None


# ---- what archives hold


def _members(stream: io.BufferedReader, account: _Account) -> Iterator[_Member]:
    start = stream.read(4)
    stream.seek(0)
    if start.startswith(_ZIP):
        return _zip_members(stream)
    return _tar_members(unpacked(stream), account)


def _zip_members(stream: IO[bytes]) -> Iterator[_Member]:
    with zipfile.ZipFile(stream) as archive:
        for info in archive.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if info.is_dir():
                yield _Member(info.filename, "folder")
            elif kind == stat.S_IFLNK:
                with archive.open(info) as source:
                    target = source.read(4096).decode()
                yield _Member(info.filename, "link", target=_joined(info.filename, target))
            elif kind in {0, stat.S_IFREG}:
                yield _Member(info.filename, "file", functools.partial(archive.open, info))
            else:
                yield _Member(info.filename, "other")


def _tar_members(stream: IO[bytes], account: _Account) -> Iterator[_Member]:
    forward = _Forward(stream, account)
    with tarfile.open(fileobj=cast(IO[bytes], forward), mode="r:") as archive:
        while (info := archive.next()) is not None:
            # TarFile remembers each member; archives of images have millions.
            cast(Any, archive).members.clear()
            if info.isdir():
                yield _Member(info.name, "folder")
            elif info.issym():
                yield _Member(info.name, "link", target=_joined(info.name, info.linkname))
            elif info.islnk():
                yield _Member(info.name, "link", target=info.linkname)
            elif info.isreg():
                opened = cast(
                    Callable[[TarInfo], IO[bytes]], archive.extractfile
                )  # None of folders
                yield _Member(info.name, "file", functools.partial(opened, info))
            else:
                yield _Member(info.name, "other")
    # TarFile takes a broken header, or the end of the file, for the end of the archive.
    if forward.last != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("it is cut short or damaged")
    while forward.read(_PIECE):  # gzip and zstd have checksums at their end
        pass


def _joined(name: str, target: str) -> str:
    """What a symbolic link names, as a path in the archive."""
    if target.startswith("/"):
        return target
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), target))


class _Forward:
    """A stream that tarfile reads from its beginning to its end, with a limit on what it reads."""

    def __init__(self, stream: IO[bytes], account: _Account) -> None:
        self._stream, self._account = stream, account
        self._position = 0
        self.last = b""

    def tell(self) -> int:
        return self._position

    def read(self, size: int) -> bytes:
        if size > LONGEST_READ:
            raise tarfile.ReadError(f"a header says that it is {size} bytes long")
        self.last = self._stream.read(size)
        self._position += len(self.last)
        headers = LONGEST_READ + 4096 * self._account.members
        if self._position > self._account.limit_bytes + headers:
            raise self._account.too_large()
        return self.last

    def seek(self, position: int) -> None:
        if position < self._position:
            raise tarfile.StreamError("the archive leads back")
        while position > self._position and self.read(min(_PIECE, position - self._position)):
            pass


class _Joined(io.RawIOBase):
    """Files one after the other, as one."""

    def __init__(self, parts: Sequence[Path]) -> None:
        super().__init__()
        self._streams = [part.open("rb", buffering=0) for part in parts]
        sizes = [os.fstat(stream.fileno()).st_size for stream in self._streams]
        self._ends = list(itertools.accumulate(sizes))
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._ends[-1]}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        index = bisect.bisect_right(self._ends, self._position)
        if index == len(self._ends):
            return 0
        stream = self._streams[index]
        stream.seek(self._position - (self._ends[index - 1] if index else 0))
        n_bytes = stream.readinto(buffer) or 0
        self._position += n_bytes
        return n_bytes

    def close(self) -> None:
        for stream in self._streams:
            stream.close()
        super().close()
