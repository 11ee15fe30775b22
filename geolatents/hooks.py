"""What the Snakefile prints at the start and at the end of a run, from Snakemake's view of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from geolatents.report.costs import Benchmark, format_costs, read_benchmark, rule_costs
from geolatents.report.failures import Failure, format_failures


def print_estimate(workflow: Any) -> None:
    """Print in one line what the run will take.

    Args:
        workflow: Snakemake's workflow with its graph.
    """
    from geolatents.engine import graph_of
    from geolatents.estimate.estimate import estimate, format_line

    try:
        found = estimate(graph_of(workflow))
        if found.jobs > 1:
            print(f"{format_line(found)}. More: make estimate", file=sys.stderr)
    except Exception as error:  # a guess must never stop a run
        print(f"Estimate: not possible ({type(error).__name__}: {error})", file=sys.stderr)


def print_costs(workflow: Any) -> None:
    """Print what the jobs of this run have cost.

    Args:
        workflow: Snakemake's workflow after the run.
    """
    found: dict[str, list[Benchmark]] = {}
    for job in workflow.dag.needrun_jobs(exclude_finished=False):
        benchmark = read_benchmark(Path(str(job.benchmark))) if job.benchmark else None
        if benchmark is not None:
            found.setdefault(job.rule.name, []).append(benchmark)
    if found:
        print(f"\nCost of this run:\n{format_costs(rule_costs(found))}", file=sys.stderr)


def print_failures(workflow: Any) -> None:
    """Print why jobs failed and what to do; nothing where the run was interrupted.

    Args:
        workflow: Snakemake's workflow after the run.
    """
    import psutil

    failures = list(_failures(workflow))
    if not failures:
        return
    dag = workflow.dag
    waiting = sum(1 for job in dag.needrun_jobs() if job.rule.script) - len(failures)
    since = psutil.Process().create_time()
    print(f"\n{format_failures(failures, max(0, waiting), since)}\n", file=sys.stderr)


def _failures(workflow: Any) -> Iterator[Failure]:
    for failed in workflow.scheduler.failed:
        for job in failed.jobs if failed.is_group() else (failed,):
            if not workflow.dag.finished(job):
                log = Path(str(job.log[0])) if job.log else None
                yield Failure(job.rule.name, dict(job.wildcards_dict), log)
