"""What a running search for photos has found so far, so that a killed one goes on where it was."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from filelock import FileLock, Timeout

from geolatents.acquire.photos.table import Photo
from geolatents.errors import FetchError
from geolatents.files import canonical_json

LONGEST_KEPT = 7 * 24 * 3600.0
"""Seconds; links of older searches have expired, and what was found may have been deleted since."""


class Journal:
    """Finished questions of one search, a line each: split in two, or photos (with hashed ids only).

    Attributes:
        photos: Photos that were found, by id.
    """

    def __init__(self, file: Path) -> None:
        self.photos: dict[str, Photo] = {}
        self._file = file
        self._answered: dict[str, bool] = {}
        self._read()

    def split(self, question: str) -> bool | None:
        """Whether a question was split; None if it was not asked."""
        return self._answered.get(question)

    def write(self, question: str, photos: Iterable[Photo] | None) -> None:
        """Note the answer of a question, on disk when this returns.

        Args:
            question: Name of the question.
            photos: What was found; None if the question was split.
        """
        found = None if photos is None else [asdict(photo) for photo in photos]
        with self._file.open("a", encoding="utf-8") as stream:
            stream.write(canonical_json({"question": question, "photos": found}) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        self._take(question, photos)

    def _read(self) -> None:
        """Take in whole lines, and cut off what a killed process left, or another version wrote."""
        if not self._file.exists():
            return
        end = 0
        with self._file.open("rb") as stream:
            for line in stream:
                if not line.endswith(b"\n"):
                    break
                try:
                    question, photos = _parsed(line)
                except (ValueError, TypeError, KeyError):
                    break
                self._take(question, photos)
                end += len(line)
        os.truncate(self._file, end)

    def _take(self, question: str, photos: Iterable[Photo] | None) -> None:
        self._answered[question] = photos is None
        self.photos.update((photo.id, photo) for photo in photos or ())


def _parsed(line: bytes) -> tuple[str, list[Photo] | None]:
    row = json.loads(line)
    found = row["photos"]
    return row["question"], None if found is None else [Photo(**values) for values in found]


@contextmanager
def open_journal(folder: Path, key: str) -> Iterator[Journal]:
    """The journal of a search; deleted when the block ends well, and a week after it was left.

    Args:
        folder: Folder of journals.
        key: What identifies the search.

    Raises:
        FetchError: Another process makes the same search.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{key}.jsonl"
    lock = FileLock(f"{file}.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise FetchError(
            "another process makes the same search", where=file, fix="wait until it has finished"
        ) from None
    try:
        for old in folder.glob("*.jsonl"):
            if old.stat().st_mtime < time.time() - LONGEST_KEPT:
                old.unlink(missing_ok=True)
        yield Journal(file)
        file.unlink(missing_ok=True)
    finally:
        lock.release()
