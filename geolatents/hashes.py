"""Hashes of files and folders as they lie on disk."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from geolatents.files import sha256_file

TIMESTAMP = ".snakemake_timestamp"
"""File that Snakemake puts into every folder that a rule makes; no part of the artifact."""

LARGEST = 4 * 2**30
"""Bytes above which an artifact is not read only to be hashed in its provenance (some ten seconds)."""


def files_of(path: Path) -> Iterator[tuple[str, Path]]:
    """Relative names and paths of a folder's files, sorted; of a file its empty name and itself."""
    if not path.is_dir():
        yield "", path
        return
    found = []
    for folder, _, names in os.walk(path):
        found += [Path(folder) / name for name in names if name != TIMESTAMP]
    for file in sorted(found, key=lambda one: one.relative_to(path).as_posix()):
        yield file.relative_to(path).as_posix(), file


def size_of(path: Path) -> int:
    """Bytes of a file, or of a folder's files together."""
    return sum(file.stat().st_size for _, file in files_of(path))


def sha256_of(path: Path) -> str:
    """Hash of a file's bytes; of a folder, that of its sorted names and the hashes of their bytes."""
    if not path.is_dir():
        return sha256_file(path)
    return sha256_of_names((name, sha256_file(file)) for name, file in files_of(path))


def sha256_of_names(files: Iterable[tuple[str, str]]) -> str:
    """Hash of a folder from the names and hashes of its files, in sorted order."""
    digest = hashlib.sha256()
    for name, found in files:
        digest.update(f"{found}  {name}\n".encode())
    return digest.hexdigest()


def bounded_sha256(path: Path, largest: int = LARGEST) -> str | None:
    """Hash of a file or folder; none where it is missing or larger than ``largest`` bytes."""
    if not path.exists() or size_of(path) > largest:
        return None
    return sha256_of(path)
