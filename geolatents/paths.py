"""Where input data lie, and how records name files so that a moved data folder changes no record."""

from __future__ import annotations

import os
from pathlib import Path

DATA_VARIABLE = "GEOLATENTS_DATA"
DATA_PREFIX = "data:"


def data_root() -> Path:
    """Folder of input data: the environment variable GEOLATENTS_DATA, else ``../shared/data``."""
    return Path(os.environ.get(DATA_VARIABLE, "../shared/data")).expanduser()


def recorded_path(file: Path, record: Path) -> str:
    """How a record names a file: ``data:...`` in the data folder, relative beside the record, else absolute."""
    file = file.resolve()
    for prefix, root in ((DATA_PREFIX, data_root()), ("", record.parent)):
        if file.is_relative_to(root.resolve()):
            return prefix + file.relative_to(root.resolve()).as_posix()
    return file.as_posix()


def recorded_file(name: str, record: Path) -> Path:
    """The inverse of :func:`recorded_path`."""
    if name.startswith(DATA_PREFIX):
        return data_root() / name.removeprefix(DATA_PREFIX)
    return record.parent / name
