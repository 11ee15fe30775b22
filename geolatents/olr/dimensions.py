"""How many dimensions the vectors of a label really use, and how well they score it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from geolatents.learning.metrics import average_precisions
from geolatents.olr.agreement import Floats, Strings
from geolatents.olr.resampling import (
    bootstrap_figures,
    group_weights,
    mean_defined,
    tile_weights,
)

BAR_OF_RANK = 2.0
"""The median effective rank that an embedding must exceed; that of the rank-1 control is 1."""

MARGIN = 0.005
"""By how much the label scores may be worse than the teacher's."""

RANK_DRAWS = 500
AP_DRAWS = 1000
MOST_WEIGHTS = 2 * 10**7
"""Most entries (draw, tile); with many tiles there are fewer draws."""


def effective_ranks(vectors: Floats, *, centred: bool = False) -> Floats:
    """Effective rank of each label's vectors (Roy & Vetterli 2007).

    The exponential of the entropy of the eigenvalues of the second moment, divided by their sum.
    Of p_i u_i with a fixed u_i it is 1.

    Args:
        vectors: (tile, label, k).
        centred: Of the covariance instead: the mean vector counts for nothing.

    Returns:
        (label,) in 1..k; NaN for a label whose vectors are all 0 (or all equal, centred).
    """
    values = vectors - vectors.mean(axis=0) if centred else vectors
    return _ranks_of_moments(np.einsum("tlk,tlm->lkm", values, values))


def _ranks_of_moments(moments: Floats) -> Floats:
    """Effective rank (...,) of second moments (..., k, k)."""
    eigenvalues = np.maximum(np.linalg.eigvalsh(moments), 0)
    total = eigenvalues.sum(axis=-1, keepdims=True)
    # What rounding leaves of a single direction is no second one.
    shares = np.divide(eigenvalues, total, out=np.zeros_like(eigenvalues), where=total > 1e-20)
    shares = np.where(shares > 1e-12, shares, 0)
    entropy = -(shares * np.log(np.where(shares > 0, shares, 1))).sum(axis=-1)
    return np.where(total[..., 0] > 1e-20, np.exp(entropy), np.nan)


def measure_ranks(vectors: Floats, groups: Strings, seed: int = 0) -> dict[str, Any]:
    """Median effective rank over labels, with an interval from resampling groups.

    Args:
        vectors: (tile, label, k) of the test part.
        groups: (tile,).
        seed: Seed of the draws.

    Returns:
        ``median`` (uncentred second moment), ``interval``, ``p`` (against
        :data:`BAR_OF_RANK`), ``median_centred``, ``per_label``, ``per_label_centred``,
        ``control`` (of p_i u_i: 1) and ``of`` (k).
    """
    found, centred = effective_ranks(vectors), effective_ranks(vectors, centred=True)
    names, member = np.unique(groups, return_inverse=True)
    moments = np.zeros((len(names), *vectors.shape[1:], vectors.shape[2]))
    for group in range(len(names)):
        own = vectors[member == group]
        moments[group] = np.einsum("tlk,tlm->lkm", own, own)
    weights = group_weights(len(names), seed, "ranks", draws=RANK_DRAWS)
    drawn = _ranks_of_moments(np.tensordot(weights, moments, axes=1))
    defined = np.isfinite(drawn).any(axis=1)
    median = float(np.nanmedian(found)) if np.isfinite(found).any() else float("nan")
    medians = np.nanmedian(drawn[defined], axis=1) if defined.any() else np.zeros(0)
    figures = bootstrap_figures(median, medians, len(names), BAR_OF_RANK)
    return {
        "median": _number(median),
        "median_centred": _number(float(np.nanmedian(centred)))
        if np.isfinite(centred).any()
        else None,
        "control": 1.0,
        "of": vectors.shape[2],
        "moment": "uncentred second moment over test tiles; centred beside it",
        "per_label": [_number(value) for value in found],
        "per_label_centred": [_number(value) for value in centred],
        **figures,
    }


def compare_label_scores(
    targets: npt.NDArray[np.integer],
    student: Floats,
    teacher: Floats,
    groups: Strings,
    seed: int = 0,
) -> dict[str, Any]:
    """Macro AP of the embedding's label scores against the teacher's.

    Args:
        targets: Presence (tile, label) of the test part.
        student: Scores (tile, label).
        teacher: Probabilities (tile, label).
        groups: (tile,).
        seed: Seed of the draws.

    Returns:
        ``student_macro_ap, teacher_macro_ap, difference, interval, margin`` and ``p`` that the
        scores are worse by the margin or more. Only labels with positives and negatives count.
    """
    usable = targets.any(axis=0) & ~targets.all(axis=0)
    truth = targets[:, usable]
    means = [mean_defined(average_precisions(truth, s[:, usable])) for s in (student, teacher)]
    if means[0] is None or means[1] is None:
        nothing = {"student_macro_ap": None, "teacher_macro_ap": None, "difference": None}
        reason = "no label has positives and negatives"
        return {**nothing, "interval": None, "p": None, "margin": MARGIN, "reason": reason}
    draws = min(AP_DRAWS, max(200, MOST_WEIGHTS // len(truth)))
    weights = tile_weights(groups, seed, "label scores", draws=draws)
    drawn = [
        _mean_over_labels(
            [weighted_average_precision(t, s, weights) for t, s in zip(truth.T, own.T, strict=True)]
        )
        for own in (student[:, usable], teacher[:, usable])
    ]
    difference = means[0] - means[1]
    figures = bootstrap_figures(difference, drawn[0] - drawn[1], len(np.unique(groups)), -MARGIN)
    return {
        "student_macro_ap": means[0],
        "teacher_macro_ap": means[1],
        "difference": difference,
        "margin": MARGIN,
        **figures,
    }


def weighted_average_precision(
    truth: npt.NDArray[np.integer], scores: Floats, weights: Floats
) -> Floats:
    """Average precision of one label for many weightings of the tiles.

    Args:
        truth: Presence (tile,).
        scores: (tile,).
        weights: (draw, tile).

    Returns:
        (draw,); NaN where no positive has a weight.
    """
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))  # equal scores: one step
    hits = np.cumsum(weights[:, order] * truth[order], axis=1)[:, ends]
    total = np.cumsum(weights[:, order], axis=1)[:, ends]
    precision = np.divide(hits, total, out=np.zeros_like(hits), where=total > 0)
    gained = np.diff(hits, axis=1, prepend=0)
    positives = hits[:, -1]
    ap = (gained * precision).sum(axis=1)
    return np.asarray(np.divide(ap, positives, out=np.full(len(hits), np.nan), where=positives > 0))


def _mean_over_labels(values: list[Floats]) -> Floats:
    """Mean over labels (draw,) of those that are defined in a draw."""
    table = np.stack(values)
    defined = np.isfinite(table)
    count = defined.sum(axis=0)
    total = np.where(defined, table, 0).sum(axis=0)
    return np.asarray(np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0))


def _number(value: float | np.floating[Any]) -> float | None:
    return float(value) if np.isfinite(value) else None
