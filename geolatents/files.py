"""Files that are whole or absent, canonical JSON, and content hashes."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import Any

from geolatents.errors import StoreError

Json = Any


def canonical_json(value: Json) -> str:
    """One text for equal values: sorted keys, no spaces, NaN refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, default=_plain)


def content_key(value: Json) -> str:
    """Short name of what determines a file's content: 16 hexadecimal digits, the same for equal values."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:16]


def write_json(path: Path, value: Json) -> None:
    """Write sorted, indented JSON atomically."""
    text = json.dumps(value, sort_keys=True, indent=1, allow_nan=False, default=_plain)
    with atomic_path(path) as part:
        part.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> Json:
    """Read JSON.

    Raises:
        StoreError: The file is missing or no JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StoreError(
            "file is missing", where=path, fix="rerun the rule that makes it"
        ) from None
    except ValueError as error:
        raise StoreError(
            "file is no JSON",
            where=path,
            found=error,
            fix="delete it and rerun the rule that makes it",
        ) from None


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a path beside ``path`` to write to; rename it when the block ends well, delete it otherwise.

    Works for files and folders.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.partial")
    remove(part)
    try:
        yield part
        if path.is_dir():
            remove(path)
        part.replace(path)
    finally:
        remove(part)


def remove_leftovers(path: Path, older_than: float = 0.0) -> None:
    """Delete what killed processes left half-written of a file or folder.

    Args:
        path: The final name. Nobody else may be writing it now: Snakemake runs one job for an output.
        older_than: Least age in seconds, where somebody else may.
    """
    named = re.compile(rf"\.{re.escape(path.name)}\.\d+\.partial(\..*)?")
    for part in path.parent.glob(f".{escape(path.name)}.*"):
        with suppress(FileNotFoundError):  # finished and renamed in this moment
            if named.fullmatch(part.name) and time.time() - part.stat().st_mtime >= older_than:
                remove(part)


def remove(path: Path) -> None:
    """Delete a file or folder if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def read_rows(file: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Columns of a CSV with a header, and its rows with their line numbers.

    Raises:
        OSError, UnicodeDecodeError: The file cannot be read; the caller knows what it is for.
    """
    with file.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream)
        columns = list(reader.fieldnames or [])
        return columns, [(reader.line_num, dict(row)) for row in reader]


def sha256_file(path: Path) -> str:
    """Content hash of a file."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _plain(value: object) -> Json:
    if hasattr(value, "tolist"):  # NumPy scalars and arrays
        return value.tolist()
    if isinstance(value, Path):
        return value.as_posix()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
