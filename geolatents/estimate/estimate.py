"""What a run will take: jobs, time, disk and files per rule; what is not known is said."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import chdir
from dataclasses import dataclass, replace

from geolatents.engine import Graph, PlannedJob
from geolatents.estimate.rates import Rate, measured_here, shipped_rates
from geolatents.estimate.schedule import longest_chain, seconds_with
from geolatents.estimate.work import Work
from geolatents.report.costs import duration

HERE, TABLE, UNKNOWN = "this folder", "table", "not estimated"
"""Where a rule's time comes from: its earlier jobs here, the shipped table, or nothing."""


@dataclass(frozen=True)
class RuleEstimate:
    """What the jobs of one rule will take.

    Attributes:
        rule: Name of the rule.
        jobs: Number of jobs.
        unknown: How many of them are not in the sums.
        seconds: Their seconds, one after another.
        megabytes: What they leave on disk.
        files: Number of files that they leave.
        source: Where the time comes from.
    """

    rule: str
    jobs: int
    unknown: int
    seconds: float
    megabytes: float
    files: float
    source: str


@dataclass(frozen=True)
class Estimate:
    """What a run will take.

    Attributes:
        rules: Rules with jobs to run, in the order of the workflow.
        cores: Cores of the run; none where jobs are given to a cluster.
        wall: Seconds with these cores; none on a cluster.
        chain: Seconds of the longest chain of jobs.
    """

    rules: list[RuleEstimate]
    cores: int | None
    wall: float | None
    chain: float

    @property
    def jobs(self) -> int:
        """Number of jobs, those that are not estimated among them."""
        return sum(row.jobs for row in self.rules)

    @property
    def unknown(self) -> list[RuleEstimate]:
        """Rules with jobs that are not estimated."""
        return [row for row in self.rules if row.unknown]

    @property
    def seconds(self) -> float:
        """Seconds of all jobs, one after another."""
        return sum(row.seconds for row in self.rules)

    @property
    def megabytes(self) -> float:
        """What is left on disk."""
        return sum(row.megabytes for row in self.rules)

    @property
    def files(self) -> float:
        """Number of files that are left."""
        return sum(row.files for row in self.rules)


def estimate(graph: Graph, rates: Mapping[str, Rate] | None = None) -> Estimate:
    """Estimate a run from its graph.

    A rule's time is that of the shipped table, times what its earlier jobs in this folder took
    against it. Rules without a script (targets) cost nothing and are left out.

    Args:
        graph: All jobs of the targets, finished ones too: their times are the best measure.
        rates: Costs by rule; default: the shipped table.
    """
    with chdir(graph.folder):
        seconds, rows = _costs(graph, shipped_rates() if rates is None else rates)
    cores = graph.cores
    return Estimate(
        rules=list(rows.values()),
        cores=cores,
        wall=None if cores is None else seconds_with(graph.jobs, seconds, cores, graph.limits),
        chain=longest_chain(graph.jobs, seconds),
    )


def format_line(found: Estimate) -> str:
    """The estimate in one line."""
    parts = [f"{found.jobs} job{'s' if found.jobs != 1 else ''}", f"about {_time(found)}"]
    parts.append(f"{_size(found.megabytes)} in {_count(found.files)} files")
    text = "Estimate: " + ", ".join(parts)
    unknown = sum(row.unknown for row in found.unknown)
    return text + (f"; {unknown} jobs not estimated" if unknown else "")


def format_estimate(found: Estimate) -> str:
    """The whole estimate as a table with its sums."""
    if not found.rules:
        return "Nothing to be done."
    lines = [f"{'rule':<22}{'jobs':>6}{'time':>10}{'disk':>11}{'files':>8}  time from"]
    for row in found.rules:
        known = row.unknown < row.jobs
        cells = (
            (duration(row.seconds), _size(row.megabytes), _count(row.files)) if known else ("",) * 3
        )
        lines.append(
            f"{row.rule:<22}{row.jobs:>6}{cells[0]:>10}{cells[1]:>11}{cells[2]:>8}  {row.source}"
        )
    lines += ["", format_line(found) + "."]
    lines.append(
        f"One after another the jobs take {duration(found.seconds)}; "
        f"those that wait for each other take {duration(found.chain)} on any number of machines."
    )
    lines += [
        f"Not estimated: {row.unknown} job{'s' if row.unknown != 1 else ''} of {row.rule}."
        for row in found.unknown
    ]
    if any(row.source == TABLE for row in found.rules):
        lines.append(
            "Times from the table are those of its machine: expect a factor of two. Trainings may stop early."
        )
    return "\n".join(lines)


def _costs(graph: Graph, rates: Mapping[str, Rate]) -> tuple[list[float], dict[str, RuleEstimate]]:
    """Seconds of each job, and the sums of each rule."""
    work = Work(graph.plan)
    factors = measured_here(graph.jobs, rates, work)
    seconds = [0.0] * len(graph.jobs)
    rows: dict[str, RuleEstimate] = {}
    for i, job in enumerate(graph.jobs):
        if not job.needed or not job.scripted:
            continue
        found = _of_job(job, rates, factors, work)
        seconds[i] = found.seconds
        rows[job.rule] = _sum(rows[job.rule], found) if job.rule in rows else found
    return seconds, rows


def _of_job(
    job: PlannedJob, rates: Mapping[str, Rate], factors: Mapping[str, float], work: Work
) -> RuleEstimate:
    rate = rates.get(job.rule)
    amount = work.of(rate.unit, job.wildcards) if rate else None
    if rate is None or amount is None:
        return RuleEstimate(job.rule, 1, 1, 0.0, 0.0, 0.0, UNKNOWN)
    return RuleEstimate(
        rule=job.rule,
        jobs=1,
        unknown=0,
        seconds=rate.seconds.at(amount) * factors.get(job.rule, 1.0),
        megabytes=rate.megabytes.at(amount),
        files=rate.files.at(amount),
        source=HERE if job.rule in factors else TABLE,
    )


def _sum(one: RuleEstimate, other: RuleEstimate) -> RuleEstimate:
    return replace(
        one,
        jobs=one.jobs + other.jobs,
        unknown=one.unknown + other.unknown,
        seconds=one.seconds + other.seconds,
        megabytes=one.megabytes + other.megabytes,
        files=one.files + other.files,
        source=other.source if one.source == UNKNOWN else one.source,
    )


def _time(found: Estimate) -> str:
    if found.wall is None:
        return f"{duration(found.chain)} or more on a cluster"
    return f"{duration(found.wall)} with {found.cores} core{'s' if found.cores != 1 else ''}"


def _size(megabytes: float) -> str:
    return f"{megabytes:,.1f} MB" if megabytes < 1000 else f"{megabytes / 1000:,.1f} GB"


def _count(files: float) -> str:
    return f"{files:,.0f}"
