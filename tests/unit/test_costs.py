"""Costs per rule, from the files that Snakemake writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from geolatents.report.costs import (
    Benchmark,
    cost_table,
    duration,
    format_costs,
    read_benchmark,
    rule_costs,
)
from tests.unit.report_data import add_benchmarks


def test_costs_are_summed_by_rule_and_the_dearest_is_first(tmp_path: Path) -> None:
    add_benchmarks(tmp_path)
    cut, summarise = cost_table(tmp_path)
    assert (cut.rule, cut.jobs, cut.seconds, cut.mean, cut.longest) == ("cut_tiles", 2, 90, 45, 60)
    assert cut.megabytes == 300.4
    assert cut.share == pytest.approx(0.9)
    assert (summarise.rule, summarise.megabytes) == ("summarise", None)


def test_a_file_that_a_killed_run_left_is_no_cost(tmp_path: Path) -> None:
    add_benchmarks(tmp_path)
    assert read_benchmark(tmp_path / "benchmarks/verify.tsv") is None
    assert read_benchmark(tmp_path / "benchmarks/nothing.tsv") is None
    (tmp_path / "benchmarks/verify.tsv").write_text("")
    assert read_benchmark(tmp_path / "benchmarks/verify.tsv") is None


def test_the_table_shows_the_dearest_and_sums_the_others() -> None:
    rows = rule_costs({f"rule_{i}": [Benchmark(10.0 * (i + 1), 100.0)] for i in range(5)})
    lines = format_costs(rows, shown=2).splitlines()
    assert len(lines) == 4
    assert lines[1].split() == ["rule_4", "1", "50", "s", "50", "s", "50", "s", "100", "MB", "33%"]
    assert lines[3].split() == ["3", "other", "rules", "3", "1.0", "min", "40%"]
    assert "other" not in format_costs(rows, shown=5)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.42, "0.4 s"), (12.3, "12 s"), (59.9, "1.0 min"), (204, "3.4 min"), (18_360, "5.1 h"), (172_800, "2.0 d")],
)  # fmt: skip
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
