"""How long jobs take together: a plain simulation of what Snakemake's scheduler does."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Mapping, Sequence

from geolatents.engine import PlannedJob


def longest_chain(jobs: Sequence[PlannedJob], seconds: Sequence[float]) -> float:
    """Seconds of the jobs that wait for each other: the least that any number of machines takes.

    Args:
        jobs: Jobs, those that come first in front.
        seconds: Seconds of each; 0 for what is not needed.
    """
    ends: list[float] = []
    for job, own in zip(jobs, seconds, strict=True):
        ends.append(own + max((ends[i] for i in job.after), default=0.0))
    return max(ends, default=0.0)


def seconds_with(
    jobs: Sequence[PlannedJob], seconds: Sequence[float], cores: int, limits: Mapping[str, int]
) -> float:
    """Seconds of all needed jobs on one machine.

    Args:
        jobs: Jobs, those that come first in front.
        seconds: Seconds of each.
        cores: Cores of the machine.
        limits: Global resources, such as memory.
    """
    free = {"_cores": cores, **limits}
    needs = [_needs(job, free) for job in jobs]
    waiting = [sum(jobs[before].needed for before in job.after) for job in jobs]
    followers: list[list[int]] = [[] for _ in jobs]
    for i, job in enumerate(jobs):
        for before in job.after:
            followers[before].append(i)
    ready = deque(i for i, job in enumerate(jobs) if job.needed and not waiting[i])
    running: list[tuple[float, int]] = []
    now = 0.0
    while ready or running:
        for i in _start(ready, needs, free):
            heapq.heappush(running, (now + seconds[i], i))
        now, done = heapq.heappop(running)
        _add(free, needs[done], 1)
        for i in followers[done]:
            waiting[i] -= 1
            if jobs[i].needed and not waiting[i]:
                ready.append(i)
    return now


def _needs(job: PlannedJob, limits: Mapping[str, int]) -> dict[str, int]:
    """What a job takes of each limit; a job that asks for more than there is takes all."""
    wanted = {"_cores": job.threads, **job.resources}
    return {name: min(value, limits[name]) for name, value in wanted.items() if name in limits}


def _start(ready: deque[int], needs: Sequence[dict[str, int]], free: dict[str, int]) -> list[int]:
    """Take the ready jobs that fit, in their order."""
    started, kept = [], []
    while ready and free["_cores"] > 0:
        i = ready.popleft()
        if all(value <= free[name] for name, value in needs[i].items()):
            _add(free, needs[i], -1)
            started.append(i)
        else:
            kept.append(i)
    ready.extendleft(reversed(kept))
    return started


def _add(free: dict[str, int], amounts: Mapping[str, int], sign: int) -> None:
    for name, value in amounts.items():
        free[name] += sign * value
