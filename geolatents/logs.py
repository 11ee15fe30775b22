"""Logging and progress: bars on a terminal, lines in a log file."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import TypeVar

from tqdm import tqdm

LOG = logging.getLogger("geolatents")

T = TypeVar("T")


class _Shown(logging.Formatter):
    """A formatter whose finished text, tracebacks included, passes a function."""

    def __init__(self, shown: Callable[[str], str]) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S")
        self._shown = shown

    def format(self, record: logging.LogRecord) -> str:
        return self._shown(super().format(record))


class _LogFile(logging.FileHandler):
    """A log file that a full disk cuts short; the same text goes to stderr."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        if not isinstance(sys.exception(), OSError):
            super().handleError(record)


def configure(
    level: int = logging.INFO,
    file: str | None = None,
    shown: Callable[[str], str] = str,
    errors_on_terminal: bool = True,
) -> None:
    """Send the library's messages to stderr and, if given, to a log file.

    Args:
        level: Least level.
        file: Log file.
        shown: What is done to every text before it is written, such as hiding secrets.
        errors_on_terminal: Whether errors also go to stderr; not where a digest shows them later.
    """
    LOG.setLevel(level)
    LOG.handlers.clear()
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if not errors_on_terminal:
        handlers[0].addFilter(_is_no_error)
    if file:
        with suppress(OSError):  # of a full disk; the job's own error says so
            handlers.append(_LogFile(file, mode="w", encoding="utf-8"))
    for handler in handlers:
        handler.setFormatter(_Shown(shown))
        LOG.addHandler(handler)
    LOG.propagate = False
    # At DEBUG these print whole addresses, keys included.
    for name in ("urllib3", "httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.INFO)


def _is_no_error(record: logging.LogRecord) -> bool:
    return record.levelno < logging.ERROR


def progress(
    items: Iterable[T],
    *,
    total: int | None = None,
    what: str,
    unit: str = "it",
    in_log: bool = True,
) -> Iterator[T]:
    """Iterate with a progress bar on a terminal and a line every half minute elsewhere.

    Args:
        items: What to iterate.
        total: Number of items, where it is known.
        what: What is done, for the bar.
        unit: What an item is.
        in_log: Whether to write lines where there is no terminal; False for work that logs itself.
    """
    yield from tqdm(
        items,
        total=total,
        desc=what,
        unit=unit,
        mininterval=0.5 if sys.stderr.isatty() else 30.0,
        delay=0.0 if sys.stderr.isatty() else 30.0,
        leave=False,
        disable=None if sys.stderr.isatty() else not (in_log and LOG.isEnabledFor(logging.INFO)),
    )
