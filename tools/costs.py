"""Measure the table of costs: `python -m tools.costs FOLDER=CONFIGURATION ...`, finished runs of several sizes.

Writes geolatents/estimate/costs.json. The fixed and the proportional part of a rule are a least-squares fit
with weights 1 / value, so that small jobs count as much as large ones; neither part is negative.

With `--busy`, seconds of computing are fitted instead of seconds on the clock: on a machine that others use at
the same time they stay what they are, and on a quiet one both are alike for rules that compute in one thread.
Trainings are left out there, since waiting threads compute too; their times are given by `--training RULE=UNITS:SECONDS`.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import chdir
from pathlib import Path

import numpy as np
from scipy.optimize import nnls

from geolatents.engine import PlannedJob, read_graph
from geolatents.estimate.rates import shipped_rates
from geolatents.estimate.work import Work
from geolatents.files import read_json, write_json
from geolatents.provenance import provenance_path
from geolatents.report.costs import read_benchmark

ROOT = Path(__file__).resolve().parent.parent

UNITS = {
    "draw_scene": "scene", "draw_landcover": "job", "check_scene": "scene", "check_scenes": "job", "record_scene": "scene",
    "check_landcover": "job", "read_landcover": "job", "cut_tiles": "scene", "check_images": "tiles", "pack_images": "dataset",
    "index_tiles": "tiles", "measure_cover": "scene", "check_labels": "tiles", "make_label_set": "tiles",
    "measure_cooccurrence": "tiles", "check_split": "job", "make_split": "tiles", "make_order": "order", "count_labels": "order",
    "check_training": "dataset", "check_weights": "job", "train_classifier": "training", "train_siamese": "training", "train_decoder": "drawing", "evaluate_model": "dataset",
    "evaluate_embedding": "tiles", "prove": "job",
    "run_experiment": "tiles", "apply_classifier": "prediction", "apply_siamese": "embedding",
    "run_experiment_elsewhere": "other", "map_scene": "mapping", "summarise": "job", "compare_study": "job",
    "draw_study": "job", "write_report": "job",
}  # fmt: skip
"""Unit of work of each rule, see geolatents/estimate/work.py; rules of downloads have none: a service decides."""

COMPUTING = frozenset({"training", "drawing", "prediction", "embedding", "mapping"})
"""Units of computing; what such a job leaves behind does not grow with it."""

TABLE = ROOT / "geolatents/estimate/costs.json"

START = 12.0
"""Seconds before the first step of a training: TensorFlow is imported, tiles are read, graphs are built."""

Measured = tuple[float, float, float, float]
"""Work, seconds, megabytes and files of a job."""


def main() -> int:
    """Fit all rules of the given runs and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", help="FOLDER=CONFIGURATION of a finished run")
    parser.add_argument("--machine", default="", help="what it was measured on")
    parser.add_argument(
        "--compare", action="store_true", help="write nothing; print the table against the runs"
    )
    parser.add_argument(
        "--add", action="store_true", help="keep what the table has; add the rules that it lacks"
    )
    parser.add_argument("--busy", action="store_true", help="fit seconds of computing")
    parser.add_argument(
        "--training", nargs="*", default=[], help="RULE=UNITS:SECONDS on a quiet machine"
    )
    arguments = parser.parse_args()
    runs = [tuple(map(Path, run.split("="))) for run in arguments.runs]
    if arguments.compare:
        for folder, config in runs:
            compare(folder, config, busy=arguments.busy)
        return 0
    found: dict[str, list[Measured]] = {}
    for folder, config in runs:
        for rule, measured in _measured(folder, config, busy=arguments.busy):
            found.setdefault(rule, []).append(measured)
    rules = {rule: _fitted(UNITS[rule], found[rule]) for rule in UNITS if rule in found}
    for given in arguments.training:
        rule, units, seconds = re.split("[=:]", given)
        rules[rule]["seconds"] = [START, float(f"{(float(seconds) - START) / float(units):.3g}")]
    if arguments.add:
        table = read_json(TABLE)
        rules |= table["rules"]
        arguments.machine = f"{table['machine']}; rules added later: {arguments.machine}"
    write_json(TABLE, {"machine": arguments.machine, "rules": rules})
    missing = sorted(set(UNITS) - set(rules))
    print("not measured: " + ", ".join(missing) if missing else "all rules measured")
    return 0


def compare(folder: Path, config: Path, *, busy: bool) -> None:
    """Print what the shipped table says of a finished run before it began, and what it took.

    Trainings are left out of a busy machine's sums.
    """
    rates = shipped_rates()
    sums = np.zeros((2, 3))
    before = _measured(folder, config, busy=busy, finished=False)
    for rule, (amount, *took) in before:
        rate = rates.get(rule)
        if rate is not None and not (busy and rule.startswith("train_")):
            sums[0] += [line.at(amount) for line in (rate.seconds, rate.megabytes, rate.files)]
            sums[1] += took
    for name, values in zip(("predicted", "actual"), sums, strict=True):
        print(f"{folder.name} {name}: {values[0]:.0f} s, {values[1]:.1f} MB, {values[2]:.0f} files")


def _measured(
    folder: Path, config: Path, *, busy: bool, finished: bool = True
) -> Iterator[tuple[str, Measured]]:
    arguments = ["--directory", str(folder), "--configfile", str(config.resolve())]
    graph = read_graph(["--snakefile", str(ROOT / "Snakefile"), *arguments])
    if not finished:  # as before the run: no index of tiles is there
        graph.plan.root = Path("nowhere")
    work = Work(graph.plan)
    with chdir(folder):
        for job in graph.jobs:
            benchmark = read_benchmark(job.benchmark) if job.benchmark else None
            amount = work.of(UNITS[job.rule], job.wildcards) if job.rule in UNITS else None
            if benchmark is not None and amount is not None:
                seconds = benchmark.cpu_seconds or 1.0 if busy else benchmark.seconds
                yield job.rule, (amount, seconds, *left_behind(job))


def left_behind(job: PlannedJob) -> tuple[float, float]:
    """Megabytes and files of a job: outputs with their provenance, log and benchmark."""
    found: list[Path] = []
    for output in job.outputs:
        inside = [file for file in output.rglob("*") if file.is_file()]
        found += [*(inside if output.is_dir() else [output]), provenance_path(output)]
    sizes = [file.stat().st_size for file in found if file.exists()]
    return sum(sizes) / 1e6, len(sizes) + 2.0


def _fitted(unit: str, jobs: Sequence[Measured]) -> dict[str, object]:
    work, seconds, megabytes, files = np.asarray(jobs, dtype=float).T
    entry: dict[str, object] = {"unit": unit, "seconds": fit(work, seconds, start=1.0)}
    if unit in COMPUTING:  # more epochs leave nothing more behind
        kept = {"megabytes": np.median(megabytes), "files": np.median(files)}
        return entry | {name: [float(f"{value:.3g}"), 0.0] for name, value in kept.items()}
    return entry | {"megabytes": fit(work, megabytes), "files": fit(work, files, start=np.inf)}


def fit(work: np.ndarray, cost: np.ndarray, start: float = 0.0) -> list[float]:
    """Fixed and proportional part, from the median cost at each amount of work.

    Args:
        work: Amounts of work.
        cost: Costs.
        start: Of jobs of one size, the part of their cost that is fixed.
    """
    amounts = np.unique(work)
    medians = np.array([np.median(cost[work == amount]) for amount in amounts])
    if len(amounts) == 1:
        parts = np.array([min(medians[0], start), max(0.0, medians[0] - start) / amounts[0]])
    else:
        weights = 1.0 / np.maximum(medians, 1e-9)
        columns = np.column_stack([np.ones_like(amounts), amounts])
        parts, _ = nnls(columns * weights[:, None], medians * weights)
    return [float(f"{part:.3g}") if part > 1e-9 else 0.0 for part in parts]


if __name__ == "__main__":
    sys.exit(main())
