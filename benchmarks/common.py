"""What the benchmarks share: alternating competitors, each in a process of its own, and tables."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

Result = dict[str, Any]
"""A competitor's last line: ``seconds``, ``cpu``, ``peak_mb`` and a ``check`` of its output."""


def alternate(
    script: Path, names: Sequence[str], arguments: Sequence[str], repeats: int
) -> dict[str, list[Result]]:
    """Run every competitor in turn, several times, so that a busy moment hits all alike.

    Each run is a process of its own: zarr's codec pipeline and thread pool are process-wide.

    Raises:
        SystemExit: A competitor fails, or competitors disagree on the output.
    """
    results: dict[str, list[Result]] = {name: [] for name in names}
    for repeat in range(repeats):
        for name in names:
            print(f"{repeat + 1}/{repeats} {name}", file=sys.stderr)
            command = [sys.executable, str(script), "--competitor", name, *arguments]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(f"{name} failed:\n{done.stderr}")
            results[name].append(json.loads(done.stdout.splitlines()[-1]))
    checks = {name: runs[0]["check"] for name, runs in results.items()}
    if len(set(checks.values())) != 1:
        raise SystemExit(f"competitors disagree on the output: {checks}")
    return results


def table(results: Mapping[str, Sequence[Result]], reference: str, megabytes: float) -> str:
    """Markdown table of medians; the ratio is the time over that of the reference."""
    base = median(run["seconds"] for run in results[reference])
    lines = [
        f"| competitor | median s | spread s | CPU s | MB/s | time / {reference} | peak MB |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, runs in results.items():
        seconds = [run["seconds"] for run in runs]
        middle = median(seconds)
        lines.append(
            f"| {name} | {middle:.3f} | {min(seconds):.3f} to {max(seconds):.3f} "
            f"| {median(run['cpu'] for run in runs):.2f} "
            f"| {megabytes / middle:.0f} | {middle / base:.2f} "
            f"| {median(run['peak_mb'] for run in runs):.0f} |"
        )
    return "\n".join(lines)


def peak_mb() -> float:
    """Peak memory of this process; ``ru_maxrss`` would start at that of the parent."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def report(text: str, output: Path | None) -> None:
    """Print the result and write it where asked."""
    print(text)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text + "\n", encoding="utf-8")


def parser(description: str | None) -> argparse.ArgumentParser:
    """Options of every benchmark."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--repeats", type=int, default=5, help="runs of each competitor")
    options.add_argument("--output", type=Path, help="Markdown file to write the table to")
    options.add_argument("--competitor", help=argparse.SUPPRESS)
    options.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return options
