"""Progress of downloads, in bytes and files."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Sequence

from tqdm import tqdm

from geolatents.logs import LOG

LINE_EVERY = 30.0
"""Seconds between lines of progress where there is no terminal."""


class _Stopped(BaseException):
    """The run was interrupted."""


class Bar:
    """A bar of bytes with the count of files; without a terminal a line every half minute.

    Args:
        what: What the files are.
        sizes: Known or estimated bytes of each file.
    """

    def __init__(self, what: str, sizes: Sequence[int | None]) -> None:
        terminal = sys.stderr.isatty()
        self.what, self.count, self.done, self.there, self.requests = what, len(sizes), 0, 0, 0
        self._lock = threading.Lock()
        self._stopped = False
        self._bar = tqdm(
            total=None if None in sizes else sum(size or 0 for size in sizes),
            desc=self._label(), unit="B", unit_scale=True, leave=False,
            mininterval=0.5 if terminal else LINE_EVERY, delay=0.0 if terminal else LINE_EVERY,
            disable=not terminal and not LOG.isEnabledFor(logging.INFO),
        )  # fmt: skip

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_error: object) -> None:
        self._bar.close()
        LOG.info(
            "%s: %d of %d files, %d were there, %d requests",
            self.what, self.done, self.count, self.there, self.requests,
        )  # fmt: skip

    def moved(self, n_bytes: int) -> None:
        """Count bytes of a running download."""
        if self._stopped:
            raise _Stopped
        with self._lock:
            self._bar.update(n_bytes)

    def ended(self, n_bytes: int, requests: int) -> None:
        """Count a file; one without requests was there."""
        with self._lock:
            self.done += 1
            self.there += requests == 0
            self.requests += requests
            if requests == 0:
                self._bar.update(n_bytes)
            self._bar.set_description(self._label(), refresh=False)

    def stop(self) -> None:
        """Let running downloads end at their next piece."""
        self._stopped = True

    def _label(self) -> str:
        return f"{self.what} {self.done}/{self.count}"
