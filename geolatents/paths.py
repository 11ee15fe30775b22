"""Where input data lie, and how records name files so that a moved data folder changes no record."""

from __future__ import annotations

import os
from pathlib import Path

DATA_VARIABLE = "GEOLATENTS_DATA"
DATA_PREFIX = "data:"
DOWNLOADS_VARIABLE = "GEOLATENTS_DOWNLOADS"
DOWNLOADS_PREFIX = "downloads:"


def data_root() -> Path:
    """Folder of input data: the environment variable GEOLATENTS_DATA, else ``../shared/data``."""
    return Path(os.environ.get(DATA_VARIABLE, "../shared/data")).expanduser()


def downloads_root() -> Path:
    """Folder of everything that was downloaded: the environment variable GEOLATENTS_DOWNLOADS, else ``downloads``."""
    return Path(os.environ.get(DOWNLOADS_VARIABLE, "downloads")).expanduser()


def recorded_path(file: Path, record: Path) -> str:
    """How a record names a file: ``data:...`` or ``downloads:...`` in those folders, relative beside the record, else absolute."""
    file = file.resolve()
    roots = (
        (DATA_PREFIX, data_root()),
        (DOWNLOADS_PREFIX, downloads_root()),
        ("", record.parent),
    )
    for prefix, root in roots:
        if file.is_relative_to(root.resolve()):
            return prefix + file.relative_to(root.resolve()).as_posix()
    return file.as_posix()


def recorded_file(name: str, record: Path) -> Path:
    """The inverse of :func:`recorded_path`."""
    if name.startswith(DATA_PREFIX):
        return data_root() / name.removeprefix(DATA_PREFIX)
    if name.startswith(DOWNLOADS_PREFIX):
        return downloads_root() / name.removeprefix(DOWNLOADS_PREFIX)
    return record.parent / name
