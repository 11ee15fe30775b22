"""A disk that is full or fails, in words: libraries say it in many ways, of which most are no help."""

from __future__ import annotations

import errno
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from geolatents.errors import DiskError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
BROKEN = frozenset({errno.EIO, errno.EROFS})

NO_ROOM = 64 * 1024
"""Bytes; with less free, an error that names no cause is taken for a full disk."""

_SAYS_FULL = re.compile(r"no space left|disk quota exceeded|os error (28|122|27)\b", re.I)
_SAYS_BROKEN = re.compile(r"input/output error|read-only file system|os error (5|30)\b", re.I)


def disk_error(error: BaseException, outputs: Iterable[Path]) -> DiskError | None:
    """The error of a full or failing disk, where that is what went wrong.

    Args:
        error: What was raised; its causes count.
        outputs: What was being written.

    Returns:
        None where the disk is not to blame.
    """
    outputs = [Path(output) for output in outputs]
    folders = [_existing(output) for output in outputs] or [Path()]
    tightest = min(folders, key=lambda folder: shutil.disk_usage(folder).free)
    free = shutil.disk_usage(tightest).free
    chain = list(_chain(error))
    named = (e.filename for e in chain if isinstance(e, OSError) and e.filename)
    file = next(named, ", ".join(map(str, outputs)) or tightest)
    if any(_is(e, FULL, _SAYS_FULL) for e in chain) or free < NO_ROOM:
        return DiskError(
            "the disk is full, or your quota is",
            where=str(file),
            found=f"{free / 2**20:.1f} MB free in {tightest}",
            fix="make room, and run the same command again: what is finished is kept",
        )
    if any(_is(e, BROKEN, _SAYS_BROKEN) for e in chain):
        return DiskError(
            "the disk cannot be written or read",
            where=str(file),
            found=str(error),
            fix="look at the file system (mounted, writable, healthy), and run the same command again",
        )
    return None


def _is(error: BaseException, numbers: frozenset[int], words: re.Pattern[str]) -> bool:
    number = error.errno if isinstance(error, OSError) else None
    return number in numbers or bool(words.search(str(error)))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it was raised from or in, each once."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _existing(path: Path) -> Path:
    """The nearest folder above that exists."""
    return next(folder for folder in (*path.absolute().parents, Path("/")) if folder.is_dir())
