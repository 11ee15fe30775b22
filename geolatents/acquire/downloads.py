"""How records name downloaded files, and find them again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
        FetchError: It is gone, or of another size.
    """
    path = recorded_file(entry["path"], record)
    if not path.is_file() or path.stat().st_size != entry["bytes"]:
        raise FetchError(
            "a downloaded file has changed" if path.is_file() else "a downloaded file is gone",
            where=path,
            fix=f"delete {record} and run again; it is downloaded anew",
        )
    return path
