"""What a job of a rule costs: a shipped table of fixed and proportional costs, and what this folder measured."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from geolatents.engine import PlannedJob
from geolatents.estimate.work import Work
from geolatents.report.costs import read_benchmark

TABLE = "estimate/costs.json"


@dataclass(frozen=True)
class Line:
    """A fixed part and a part per unit of work."""

    fixed: float
    per_unit: float

    def at(self, work: float) -> float:
        """Value for an amount of work."""
        return self.fixed + self.per_unit * work


@dataclass(frozen=True)
class Rate:
    """Costs of the jobs of one rule.

    Attributes:
        unit: Unit of work, see :class:`geolatents.estimate.work.Work`.
        seconds: Seconds on the machine of the table.
        megabytes: Disk.
        files: Number of files, records and logs among them.
    """

    unit: str
    seconds: Line
    megabytes: Line
    files: Line


@cache
def shipped_rates() -> dict[str, Rate]:
    """The table that the library ships, by rule; what is not in it is not estimated."""
    text = (files("geolatents") / TABLE).read_text(encoding="utf-8")
    return {
        rule: Rate(entry["unit"], *(Line(*entry[key]) for key in ("seconds", "megabytes", "files")))
        for rule, entry in json.loads(text)["rules"].items()
    }


def measured_here(
    jobs: Sequence[PlannedJob], rates: Mapping[str, Rate], work: Work
) -> dict[str, float]:
    """How many times as long as in the table the jobs of each rule took in this folder.

    Sums are compared, so that a single slow small job does not count much.
    """
    took: dict[str, float] = {}
    expected: dict[str, float] = {}
    for job in jobs:
        rate, found = rates.get(job.rule), job.benchmark and read_benchmark(job.benchmark)
        amount = work.of(rate.unit, job.wildcards) if rate and found else None
        if rate is None or not found or amount is None:
            continue
        took[job.rule] = took.get(job.rule, 0.0) + found.seconds
        expected[job.rule] = expected.get(job.rule, 0.0) + rate.seconds.at(amount)
    return {rule: took[rule] / expected[rule] for rule in took if expected[rule] > 0}
