"""The list of what was downloaded: one line of JSON per file, safe against other processes and against being killed."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

from filelock import FileLock

from geolatents.files import canonical_json

MANIFEST = "manifest.jsonl"

NEEDED = frozenset({"path", "request", "bytes", "sha256", "mtime_ns"})
"""Columns without which a row says nothing."""

Row = dict[str, Any]


class Manifest:
    """Rows of one folder of downloads. The last row of a path counts; a line cut short counts as absent.

    Args:
        file: The manifest; it need not exist.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._rows: dict[str, Row] = {}
        self._read = 0  # bytes that are in _rows
        self._inode = 0
        self._lock = threading.Lock()

    def row(self, path: str) -> Row | None:
        """The row of a file below the downloads folder, as other processes left it too."""
        with self._lock:
            self._refresh()
            return self._rows.get(path)

    def append(self, row: Row) -> None:
        """Add a row, on disk when this returns.

        Raises:
            OSError: The disk is full; the manifest is as before.
        """
        self.file.parent.mkdir(parents=True, exist_ok=True)
        line = canonical_json(row).encode() + b"\n"
        with FileLock(self.file.with_name(f".{self.file.name}.lock")):
            target = os.open(self.file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
            try:
                _append(target, line)
            finally:
                os.close(target)

    def _refresh(self) -> None:
        """Read what was added since the last time; large folders have 100 000 rows."""
        try:
            with self.file.open("rb") as stream:
                state = os.fstat(stream.fileno())
                if state.st_ino != self._inode or state.st_size < self._read:
                    self._rows, self._read, self._inode = {}, 0, state.st_ino
                if state.st_size == self._read:
                    return
                stream.seek(self._read)
                added = stream.read()
        except FileNotFoundError:
            self._rows, self._read, self._inode = {}, 0, 0
            return
        whole, end, _ = added.rpartition(b"\n")  # after the last end: a row being written, or torn
        self._read += len(whole) + len(end)
        for line in whole.split(b"\n"):
            row = _parsed(line)
            if row is not None:
                self._rows[row["path"]] = row


def _append(target: int, line: bytes) -> None:
    """Write a line; close a torn one before it; leave nothing of it where there is no room."""
    size = os.fstat(target).st_size
    if size and os.pread(target, 1, size - 1) != b"\n":
        line = b"\n" + line
    try:
        while line:  # a full disk takes a part of it first, and raises at the next attempt
            line = line[os.write(target, line) :]
        os.fsync(target)
    except OSError:
        os.ftruncate(target, size)
        raise


def _parsed(line: bytes) -> Row | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and row.keys() >= NEEDED else None
