"""What the Snakefile does when it is read, at the start and at the end of a run, from Snakemake's view of it."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from geolatents.plan import Plan
from geolatents.report.costs import Benchmark, format_costs, read_benchmark, rule_costs
from geolatents.report.failures import Failure, format_failures
from geolatents.workflow import trained


def outlive_warnings() -> None:
    """Let Snakemake, and every process that it starts, outlive the signal that warns of a time limit.

    SLURM sends SIGUSR1 to all processes of a job step, and an unprepared process dies of it. A signal that is
    ignored stays ignored in the programs that are started, until one, such as a training, asks for it.
    """
    if threading.current_thread() is threading.main_thread():  # Python allows it nowhere else
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)


def forget_forced(dag: Any, root: Path) -> None:
    """Delete the saved states of trainings that the user forces to run, so that they start clean.

    Args:
        dag: Snakemake's jobs, before the first of them starts.
        root: ``results/.state``.
    """
    from geolatents.learning.checkpoints import clear_states

    forced = [
        trained(job.output.model, root)
        for job in dag.needrun_jobs()
        if job.rule.params.get("checkpoints") and dag.reason(job).forced
    ]
    for name in clear_states(root, forced):
        print(f"{name} starts clean, as it is forced to run", file=sys.stderr)


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


def print_summary(plan: Plan) -> None:
    """Print the table of all experiments and where the report lies."""
    from geolatents.report.summary import format_table  # pandas is not needed for parsing

    summary, report = plan.root / "summary.csv", plan.root / "report" / "index.html"
    if summary.exists() and report.exists() and plan.config.experiments:
        print(f"\n{format_table(summary)}\n\nReport: {report}", file=sys.stderr)


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
