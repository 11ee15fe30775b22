"""Logging and progress: bars on a terminal, lines in a log file."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

LOG = logging.getLogger("geolatents")

T = TypeVar("T")


def configure(level: int = logging.INFO, file: str | None = None) -> None:
    """Send the library's messages to stderr and, if given, to a log file."""
    LOG.setLevel(level)
    LOG.handlers.clear()
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if file:
        handlers.append(logging.FileHandler(file, mode="w", encoding="utf-8"))
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
        LOG.addHandler(handler)
    LOG.propagate = False


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
