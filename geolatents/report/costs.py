"""What a run has cost: time and memory per rule, from the benchmark files that Snakemake wrote."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SHOWN = 8
"""Rules in the table on the terminal."""


@dataclass(frozen=True)
class Benchmark:
    """What Snakemake measured of one job.

    Attributes:
        seconds: Time from start to end.
        megabytes: Largest resident memory; none where the job was too short to be looked at.
        cpu_seconds: Seconds that its processes computed, likewise.
    """

    seconds: float
    megabytes: float | None
    cpu_seconds: float | None = None


@dataclass(frozen=True)
class RuleCost:
    """Costs of the jobs of one rule.

    Attributes:
        rule: Name of the rule.
        jobs: Number of jobs.
        seconds: Sum of their seconds.
        longest: Seconds of the longest.
        megabytes: Largest memory of any.
        share: Share of the time of all rules.
    """

    rule: str
    jobs: int
    seconds: float
    longest: float
    megabytes: float | None
    share: float

    @property
    def mean(self) -> float:
        """Mean seconds of a job."""
        return self.seconds / self.jobs


def read_benchmark(file: Path) -> Benchmark | None:
    """The last job of a benchmark file; none where it is missing or not whole."""
    try:
        with file.open(newline="", encoding="utf-8") as stream:
            row = list(csv.DictReader(stream, delimiter="\t"))[-1]
        memory, computed = _number(row.get("max_rss")), _number(row.get("cpu_time"))
        return Benchmark(float(row["s"]), memory, computed)
    except (OSError, LookupError, TypeError, ValueError):
        return None  # a killed run leaves such; costs are no result


def cost_table(root: Path) -> list[RuleCost]:
    """Costs of all rules that left benchmarks below a results root, the dearest first.

    What stands there is the last job of every file, whichever run did it.
    """
    found: dict[str, list[Benchmark]] = {}
    for rule, file in _files(root):
        benchmark = read_benchmark(file)
        if benchmark is not None:
            found.setdefault(rule, []).append(benchmark)
    return rule_costs(found)


def rule_costs(benchmarks: Mapping[str, Sequence[Benchmark]]) -> list[RuleCost]:
    """Costs by rule, the dearest first."""
    total = sum(one.seconds for many in benchmarks.values() for one in many)
    rows = [
        RuleCost(
            rule=rule,
            jobs=len(many),
            seconds=(own := sum(one.seconds for one in many)),
            longest=max(one.seconds for one in many),
            megabytes=max((m for one in many if (m := one.megabytes) is not None), default=None),
            share=own / total if total else 0.0,
        )
        for rule, many in benchmarks.items()
    ]
    return sorted(rows, key=lambda row: (-row.seconds, row.rule))


def format_costs(rows: Sequence[RuleCost], shown: int = SHOWN) -> str:
    """The table for a terminal: the dearest rules, the others in one line."""
    head = [
        f"{'rule':<22}{'jobs':>6}{'time':>10}{'mean':>10}{'longest':>10}{'memory':>10}{'share':>7}"
    ]
    rest = rows[shown:]
    lines = [
        f"{row.rule:<22}{row.jobs:>6}{duration(row.seconds):>10}{duration(row.mean):>10}"
        f"{duration(row.longest):>10}{_memory(row.megabytes):>10}{row.share:>7.0%}"
        for row in rows[:shown]
    ]
    if rest:
        seconds, jobs = sum(row.seconds for row in rest), sum(row.jobs for row in rest)
        name, share = f"{len(rest)} other rules", sum(row.share for row in rest)
        lines.append(f"{name:<22}{jobs:>6}{duration(seconds):>10}{'':>30}{share:>7.0%}")
    return "\n".join(head + lines)


def duration(seconds: float) -> str:
    """Time in the largest fitting unit: 12 s, 3.4 min, 5.1 h, 2.0 d."""
    for limit, unit in ((60, "s"), (3600, "min"), (86400, "h"), (float("inf"), "d")):
        if seconds < limit * 0.995:
            value = seconds / {"s": 1, "min": 60, "h": 3600, "d": 86400}[unit]
            return f"{value:.0f} {unit}" if unit == "s" and value >= 10 else f"{value:.1f} {unit}"
    raise AssertionError("unreachable")


def _files(root: Path) -> Iterator[tuple[str, Path]]:
    """Benchmark files with their rules: `benchmarks/{rule}/*.tsv` or `benchmarks/{rule}.tsv`."""
    for folder in sorted([root / "benchmarks", *root.glob("*/benchmarks")]):
        yield from ((file.stem, file) for file in sorted(folder.glob("*.tsv")))
        yield from ((file.parent.name, file) for file in sorted(folder.glob("*/*.tsv")))


def _memory(megabytes: float | None) -> str:
    return "" if megabytes is None else f"{megabytes:,.0f} MB"


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None  # `NA`: the job was shorter than the measuring interval
