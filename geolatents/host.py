"""What kind of machine a job ran on, and the memory that it took; nothing that names the machine or its user."""

from __future__ import annotations

import os
import platform
import re
import resource
import threading
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

SECONDS = 1.0
"""Time between two looks at the memory of child processes."""


def host_kind() -> dict[str, Any]:
    """Processor, usable cores, memory, graphics processors, and who started the job: ``local`` or ``slurm``."""
    batch = "SLURM_JOB_ID" in os.environ
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "gpus": _graphics(),
        "visible_gpus": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "scheduler": "slurm" if batch else "local",
        "scheduler_job": os.environ.get("SLURM_JOB_ID"),
    }


class PeakMemory:
    """Measures the most memory that this process and its children held together."""

    def __init__(self) -> None:
        self._together = 0
        self._stop = threading.Event()
        self._watch = threading.Thread(target=self._look_again, daemon=True)

    def __enter__(self) -> Self:
        self._watch.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._watch.join()

    def megabytes(self) -> float:
        """The peak so far; children that lived less than a second count by their own peak alone."""
        self._look()
        ended = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * _RSS_UNIT
        return round(max(_own_peak(), ended, self._together) / 2**20, 1)

    def _look_again(self) -> None:
        while not self._stop.wait(SECONDS):
            self._look()

    def _look(self) -> None:
        total = 0
        with suppress(psutil.Error, OSError):
            process = psutil.Process()
            for one in (process, *process.children(recursive=True)):
                with suppress(psutil.Error, OSError):
                    total += one.memory_info().rss
        self._together = max(self._together, total)


def _own_peak() -> int:
    """Bytes. On Linux not from ``getrusage``, which in a started program begins with the peak of the one that started it."""
    with suppress(OSError):
        found = re.search(r"^VmHWM:\s*(\d+) kB$", Path("/proc/self/status").read_text(), flags=re.M)
        if found:
            return int(found[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT


_RSS_UNIT = 1 if platform.system() == "Darwin" else 1024
"""Bytes per unit of the kernel's peak: Linux counts kilobytes, macOS bytes."""


@cache
def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return " ".join(line.partition(":")[2].split())
    return platform.processor() or platform.machine()


@cache
def _graphics() -> list[str]:
    """Models of the machine's NVIDIA devices, which the kernel module lists without starting CUDA."""
    found = []
    for file in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        with suppress(OSError):
            named = re.search(r"^Model:\s*(.+)$", file.read_text(encoding="utf-8"), flags=re.M)
            found += [named[1].strip()] if named else []
    return found
