"""Work on many items at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

from geolatents.logs import progress

T = TypeVar("T")
R = TypeVar("R")


def in_pool(
    work: Callable[[T], R], items: Sequence[T], workers: int, what: str, unit: str
) -> list[R]:
    """Results of work on items, with a progress bar; after an error no new work begins.

    Args:
        work: Called with one item, in a thread.
        items: What to work on; their order is kept in the result.
        workers: Items at the same time.
        what: What is done, for the bar.
        unit: What an item is.

    Raises:
        Exception: The first error of ``work``, when what was running has ended.
    """
    with ThreadPoolExecutor(workers) as pool:
        running = [pool.submit(work, item) for item in items]
        try:
            ended = as_completed(running)
            for future in progress(ended, total=len(running), what=what, unit=unit):
                future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
        return [future.result() for future in running]
