"""Statistics of a proof: several splits and seeds together, and Holm's correction.

Seeds of one split share its tiles, and splits of one dataset share most of them; neither are
independent. Runs are therefore averaged over seeds first, and both what the splits and what the
groups of tiles say of the uncertainty is computed; the wider interval and the larger p count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.stats import t as student_t

from geolatents.olr.agreement import MIN_GROUPS, Floats
from geolatents.olr.dimensions import BAR_OF_RANK, MARGIN
from geolatents.olr.resampling import (
    LEVEL,
    bootstrap_figures,
    drawn_means,
    group_weights,
    mean_defined,
)

MIN_SPLITS = 3
"""With fewer splits their spread says nothing."""

NULLS: Mapping[str, float | None] = {
    "shifted_land": 0.0, "applied_gain": 0.0, "partial_r": 0.0, "mantel_r": None, "macro_ap": None,
    "label_scores": -MARGIN, "like_labels": 0.0, "graded_labels": 0.0, "composition": 0.0,
    "graded_composition": 0.0, "scene_one_label": 0.0, "scene_all_labels": 0.0, "cover_gain": 0.0,
    "cover_gain_all_scores": 0.0, "effective_rank": BAR_OF_RANK,
}  # fmt: skip
"""The value that each measure must exceed; None: it is reported and not tested."""

BEYOND = (
    "like_labels", "graded_labels", "composition", "graded_composition", "scene_one_label",
    "scene_all_labels", "cover_gain", "cover_gain_all_scores",
)  # fmt: skip
"""Measures of what the embedding knows beyond the classifier's scores."""


@dataclass(frozen=True)
class Run:
    """What one model with one seed says of an endpoint.

    Attributes:
        experiment: Experiment, which is one split.
        seed: Seed.
        value: None where it is not defined.
        interval: 95 %, from resampling groups within the run.
        p: One-sided, likewise.
        groups: Sum and number of the figure in each group, where it is a mean over tiles.
        share: Share of draws, of shifted land.
        n_train: Training tiles.
        n_test: Test tiles.
        reason: Why there is no value.
    """

    experiment: str
    seed: int
    value: float | None
    interval: Sequence[float] | None = None
    p: float | None = None
    groups: Mapping[str, Sequence[float]] = field(default_factory=dict)
    share: float | None = None
    n_train: int = 0
    n_test: int = 0
    reason: str | None = None


def holm(p_values: Sequence[float | None]) -> list[float]:
    """Holm's adjusted p values (Holm 1979); what could not be measured counts as p = 1.

    Args:
        p_values: Of all tests of a family, in any order.
    """
    p = np.array([1.0 if value is None else value for value in p_values], dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p))))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(stepped, 1.0)
    return [float(value) for value in adjusted]


def combine(runs: Sequence[Run], null: float | None = 0.0, seed: int = 0) -> dict[str, Any]:
    """One figure of all runs of an endpoint.

    ``value`` is the mean over experiments of the mean over seeds; a single run without a value
    makes it undefined, since a mean over the others would flatter. Uncertainty:

    * three or more splits: Student's t of the means of the splits, their variance multiplied by
      1 / splits + test tiles / training tiles, since they share tiles (Nadeau & Bengio 2003);
    * groups: a bootstrap of groups, the same groups in all splits and seeds;
    * neither: the widest interval and the largest p of the runs.

    The interval reaches as far as the widest of these, and p is the largest.

    Args:
        runs: All runs.
        null: Value to be exceeded; None: no p.
        seed: Seed of the draws.

    Returns:
        ``value, interval, p, methods, by_experiment, n_experiments, n_runs, reason``.
    """
    by_experiment = {
        name: mean_defined(
            [np.nan if r.value is None else r.value for r in runs if r.experiment == name]
        )
        for name in dict.fromkeys(run.experiment for run in runs)
    }
    result: dict[str, Any] = {
        "value": None,
        "interval": None,
        "p": None,
        "methods": [],
        "by_experiment": by_experiment,
        "n_experiments": len(by_experiment),
        "n_runs": len(runs),
        "reason": next((run.reason for run in runs if run.reason), None),
    }
    means = [value for value in by_experiment.values() if value is not None]
    if not runs or any(run.value is None for run in runs):
        return result | {"reason": result["reason"] or "not measured in every run"}
    value = float(np.mean(means))
    found = {
        "spread of splits": _of_splits(np.array(means), runs, null),
        "bootstrap of groups": _of_groups(value, runs, null, seed),
    }
    used = {name: figures for name, figures in found.items() if figures is not None}
    if not used:
        widest = _of_runs(value, runs)
        used = {} if widest is None else {"widest of the runs": widest}
    intervals = np.array([interval for interval, _ in used.values()])
    p = [q for _, q in used.values()]
    known = null is not None and used and all(q is not None for q in p)
    return result | {
        "value": value,
        "interval": [float(intervals[:, 0].min()), float(intervals[:, 1].max())] if used else None,
        "p": float(max(q for q in p if q is not None)) if known else None,
        "methods": list(used),
    }


Figures = tuple[list[float], float | None]


def _of_splits(means: Floats, runs: Sequence[Run], null: float | None) -> Figures | None:
    if len(means) < MIN_SPLITS:
        return None
    shares = [run.n_test / run.n_train for run in runs if run.n_train]
    overlap = float(np.mean(shares)) if shares else 0.0
    error = np.sqrt((1 / len(means) + overlap) * means.var(ddof=1))
    reach = student_t.ppf((1 + LEVEL) / 2, len(means) - 1) * error
    value = float(means.mean())
    interval = [float(value - reach), float(value + reach)]
    if null is None:
        return interval, None
    if error < 1e-12:  # all alike
        return interval, float(value <= null)
    return interval, float(student_t.sf((value - null) / error, len(means) - 1))


def _of_groups(value: float, runs: Sequence[Run], null: float | None, seed: int) -> Figures | None:
    if not all(run.groups for run in runs):
        return None
    names = sorted({name for run in runs for name in run.groups})
    if len(names) < MIN_GROUPS:
        return None
    position = {name: i for i, name in enumerate(names)}
    experiments = list(dict.fromkeys(run.experiment for run in runs))
    table = np.zeros((len(experiments), 2, len(names)))
    for run in runs:
        for name, (total, count) in run.groups.items():
            table[experiments.index(run.experiment), :, position[name]] += total, count
    weights = group_weights(len(names), seed, "proof")
    means = drawn_means(table[:, 0], table[:, 1], weights)
    drawn = np.where(np.isfinite(means).all(axis=0), means.mean(axis=0), np.nan)
    figures = bootstrap_figures(value, drawn, len(names), 0.0 if null is None else null)
    if figures["interval"] is None:
        return None
    return figures["interval"], None if null is None else figures["p"]


def _of_runs(value: float, runs: Sequence[Run]) -> Figures | None:
    """The widest interval, moved to the mean, and the largest p."""
    if any(run.interval is None for run in runs):
        return None
    below = max(run.value - run.interval[0] for run in runs)  # type: ignore[operator, index]
    above = max(run.interval[1] - run.value for run in runs)  # type: ignore[operator, index]
    p = [run.p for run in runs]
    largest = None if any(q is None for q in p) else max(q for q in p if q is not None)
    return [value - below, value + above], largest


def p_of_interval(
    value: float, interval: Sequence[float], folds: int, null: float = 0.0, *, fisher: bool = False
) -> float:
    """One-sided p that belongs to a jackknife's interval.

    Args:
        value: Estimate.
        interval: 95 %, with Student's t of one degree of freedom less than folds.
        folds: Folds of the jackknife.
        null: Value to be exceeded.
        fisher: Whether the interval is one of Fisher's z, as of partial r.
    """
    limit = 1 - 1e-12
    points = np.array([value, *interval, null], dtype=np.float64)
    x, low, high, zero = np.arctanh(np.clip(points, -limit, limit)) if fisher else points
    error = (high - low) / 2 / student_t.ppf((1 + LEVEL) / 2, folds - 1)
    return float(student_t.sf((x - zero) / error, folds - 1)) if error > 0 else float(x <= zero)


def judge_primary(
    combined: Mapping[str, Any],
    runs: Sequence[Run],
    bar: float | None,
    share_bar: float | None,
    null: float | None,
) -> dict[str, Any]:
    """Whether the primary endpoint is met: every run reaches the bars, and the interval lies above.

    Returns:
        ``verdict`` (``met``, ``not met``, ``not measured``; ``reported`` where there is neither a
        bar nor an interval) and ``runs_that_reach_the_bars``.
    """
    reached = sum(_reaches(run, bar, share_bar) for run in runs)
    if combined["value"] is None:
        return {"verdict": "not measured", "runs_that_reach_the_bars": reached}
    if combined["interval"] is None and bar is None and share_bar is None:
        return {"verdict": "reported", "runs_that_reach_the_bars": reached}
    above = null is None or combined["interval"] is None or combined["interval"][0] > null
    met = above and reached == len(runs)
    return {"verdict": "met" if met else "not met", "runs_that_reach_the_bars": reached}


def _reaches(run: Run, bar: float | None, share_bar: float | None) -> bool:
    if run.value is None or (bar is not None and run.value < bar):
        return False
    return share_bar is None or (run.share is not None and run.share >= share_bar)


def judge_secondary(
    combined: Mapping[str, Any],
    p_adjusted: float | None,
    bar: float | None,
    null: float | None,
    level: float,
) -> dict[str, Any]:
    """Whether a secondary endpoint is met.

    A tested one needs an interval above its null and an adjusted p of at most the level; one with
    a bar needs a value of at least the bar; one with neither is reported.

    Returns:
        ``verdict``: ``met``, ``not met``, ``not measured`` or ``reported``; ``shown``: whether the
        test alone succeeds (None where there is none).
    """
    value, interval = combined["value"], combined["interval"]
    if value is None or (null is not None and (interval is None or combined["p"] is None)):
        return {"verdict": "not measured", "shown": None if null is None else False}
    shown = None
    if null is not None:
        shown = bool(interval[0] > null and p_adjusted is not None and p_adjusted <= level)
    conditions = [c for c in (shown, None if bar is None else value >= bar) if c is not None]
    if not conditions:
        return {"verdict": "reported", "shown": shown}
    return {"verdict": "met" if all(conditions) else "not met", "shown": shown}


def outcome(proofs: Mapping[str, Mapping[str, Any] | None]) -> str:
    """What all proofs say together, in one sentence.

    Args:
        proofs: Content of each proof's JSON by name; None where it has not run.
    """
    run = {name: proof for name, proof in proofs.items() if proof is not None}
    if not run:
        return "not run yet"
    added: dict[str, list[str]] = {}
    for name, proof in run.items():
        for endpoint in [proof["primary"], *proof["secondary"]]:
            if endpoint["measure"] in BEYOND and endpoint.get("shown"):
                added.setdefault(endpoint["name"], []).append(name)
    if added:
        what = "; ".join(f"{key} ({', '.join(names)})" for key, names in added.items())
        first = f"the embedding knows more than the classifier's scores: {what}"
    else:
        first = f"the embedding adds nothing beyond the classifier's scores ({', '.join(run)})"
    verdicts: dict[str, list[str]] = {}
    for name, content in proofs.items():
        verdict = "not run yet" if content is None else content["primary"]["verdict"]
        verdicts.setdefault(verdict, []).append(name)
    rest = "; ".join(f"{verdict}: {', '.join(names)}" for verdict, names in verdicts.items())
    return f"{first}; primary endpoint {rest}"
