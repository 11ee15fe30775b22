"""How records name downloaded files, and find them again."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from geolatents.acquire.fetch.manifest import MANIFEST, Manifest
from geolatents.errors import FetchError
from geolatents.files import sha256_file
from geolatents.paths import recorded_file, recorded_path


def described(path: Path, record: Path) -> dict[str, Any]:
    """``path`` (see :func:`geolatents.paths.recorded_path`), ``sha256`` and ``bytes`` of a downloaded file."""
    return {
        "path": recorded_path(path, record),
        "sha256": sha256_file(path),
        "bytes": path.stat().st_size,
    }


def found_again(entry: Mapping[str, Any], record: Path) -> Path:
    """The file that an entry of a record names.

    Raises:
        FetchError: It is gone, or has other bytes.
    """
    path = recorded_file(entry["path"], record)
    if (
        not path.is_file()
        or path.stat().st_size != entry["bytes"]
        or _sha256(path) != entry["sha256"]
    ):
        raise FetchError(
            "a downloaded file has changed" if path.is_file() else "a downloaded file is gone",
            where=path,
            fix=f"delete {record} and run again; it is downloaded anew",
        )
    return path


def _sha256(path: Path) -> str:
    """The hash of a downloaded file: of its manifest row while size and clock are as there, else of its bytes."""
    state = path.stat()
    for folder in path.parents:
        row = _manifest(folder / MANIFEST).row(path.relative_to(folder.parent).as_posix())
        if row and (row["bytes"], row["mtime_ns"]) == (state.st_size, state.st_mtime_ns):
            return str(row["sha256"])
    return sha256_file(path)


@functools.cache
def _manifest(file: Path) -> Manifest:
    """The manifest, of which only what was added is read again."""
    return Manifest(file)
