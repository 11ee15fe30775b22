"""Multi-label metrics: counts and rates per label, micro and macro means, tuned thresholds.

A metric that is not defined (precision without predicted positives, AP without positives) is
``None``, never a number that looks like one. Labels without positives or without negatives are left
out of every macro mean, and named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score, roc_auc_score

from geolatents.learning.calibration import brier_score, expected_calibration_error

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

DEFAULT_THRESHOLD = 0.5

PER_LABEL = (
    "precision", "recall", "f1", "ap", "roc_auc", "accuracy", "balanced_accuracy", "mcc",
)  # fmt: skip
"""Rates per label, beside its counts."""


def macro_ap(targets: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Mean average precision over the labels that have positives and negatives.

    Args:
        targets: Presence (tile, label), 0 or 1.
        scores: Scores (tile, label), higher means present; any monotonic scale.

    Returns:
        The mean in 0..1, or NaN where no label has both positives and negatives.

    Raises:
        ValueError: The shapes differ, or a score is not finite.
    """
    truth, values = _checked(targets, scores)
    ap = average_precisions(truth, values)[_has_both(truth)]
    return float(ap.mean()) if ap.size else float("nan")


def average_precisions(targets: npt.ArrayLike, scores: npt.ArrayLike) -> Floats:
    """Average precision per label (label,), NaN without positives."""
    truth, values = _checked(targets, scores)
    return np.array(
        [
            average_precision_score(column, score) if column.any() else np.nan
            for column, score in zip(truth.T, values.T, strict=True)
        ],
        dtype=np.float64,
    )


def roc_aucs(targets: npt.ArrayLike, scores: npt.ArrayLike) -> Floats:
    """Area under the ROC curve per label (label,), NaN without positives or without negatives."""
    truth, values = _checked(targets, scores)
    return np.array(
        [
            roc_auc_score(column, score) if column.any() and not column.all() else np.nan
            for column, score in zip(truth.T, values.T, strict=True)
        ],
        dtype=np.float64,
    )


def tune_thresholds(targets: npt.ArrayLike, scores: npt.ArrayLike) -> Floats:
    """Threshold per label with the best F1; to be called with the validation part only.

    Thresholds lie midway between two neighbouring scores, so that they hold for other tiles too.
    Where several are equally good, the one with the fewest positives is taken. A label without
    positives keeps :data:`DEFAULT_THRESHOLD`.

    Args:
        targets: Presence (tile, label), 0 or 1.
        scores: Probabilities (tile, label).

    Returns:
        Thresholds (label,); a tile is decided present where ``score >= threshold``.
    """
    truth, values = _checked(targets, scores)
    return np.array(
        [_best_f1_threshold(t, s) for t, s in zip(truth.T, values.T, strict=True)], dtype=np.float64
    )


def _best_f1_threshold(truth: Bools, scores: Floats) -> float:
    if not truth.any():
        return DEFAULT_THRESHOLD
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    true_positives = np.cumsum(truth[order])
    f1 = 2 * true_positives / (np.arange(1, len(truth) + 1) + truth.sum())
    is_cut = np.append(ranked[1:] < ranked[:-1], True)  # equal scores cannot be told apart
    best = int(np.argmax(np.where(is_cut, f1, -1)))
    if best + 1 < len(ranked):
        return float((ranked[best] + ranked[best + 1]) / 2)
    return float(ranked[-1])


def evaluate_labels(
    targets: npt.ArrayLike,
    scores: npt.ArrayLike,
    thresholds: npt.ArrayLike | float = DEFAULT_THRESHOLD,
    codes: Sequence[str] | None = None,
) -> dict[str, Any]:
    """All metrics of one part.

    ``accuracy`` is the share of right decisions (the predecessor's); ``balanced_accuracy`` and
    ``mcc`` are means over labels; ``mcc`` of constant decisions is 0 (Chicco & Jurman 2020). In
    ``macro_precision`` a label that is never predicted counts as 0.

    Args:
        targets: Presence (tile, label), 0 or 1.
        scores: Probabilities (tile, label).
        thresholds: One threshold, or one per label (label,).
        codes: Names of the labels, for ``left_out`` and ``per_label``; default ``"0", "1", ...``.

    Returns:
        ``macro_ap, micro_ap, macro_roc_auc, macro_f1, micro_f1, macro_precision, micro_precision,
        macro_recall, micro_recall, accuracy, exact_match, balanced_accuracy, mcc, micro_mcc, brier, ece``,
        counts ``tp, tn, fp, fn``, ``n_tiles, n_labels, n_positives``, ``left_out`` (label: reason)
        and ``per_label`` (label: counts, :data:`PER_LABEL`, prevalence, threshold).

    Raises:
        ValueError: The shapes differ, or a score is not finite.
    """
    truth, values = _checked(targets, scores)
    names = list(codes) if codes is not None else [str(i) for i in range(truth.shape[1])]
    if len(names) != truth.shape[1]:
        raise ValueError(f"{len(names)} codes for {truth.shape[1]} labels")
    limits = np.broadcast_to(np.asarray(thresholds, dtype=np.float64), (truth.shape[1],))
    decided = values >= limits
    counts = confusion(truth, decided)
    rates = _rates(counts) | {
        "ap": average_precisions(truth, values), "roc_auc": roc_aucs(truth, values)
    }  # fmt: skip
    usable = _has_both(truth)
    micro = {name: float(rate[0]) for name, rate in _rates(_summed(counts)).items()}
    return {
        "macro_ap": _mean(rates["ap"][usable]),
        "micro_ap": _micro_ap(truth, values),
        "macro_roc_auc": _mean(rates["roc_auc"][usable]),
        "macro_f1": _mean(rates["f1"][usable]),
        "micro_f1": _number(micro["f1"]),
        "macro_precision": _mean(np.nan_to_num(rates["precision"][usable])),
        "micro_precision": _number(micro["precision"]),
        "macro_recall": _mean(rates["recall"][usable]),
        "micro_recall": _number(micro["recall"]),
        "accuracy": _number(micro["accuracy"]),
        "exact_match": _mean((decided == truth).all(axis=1)) if truth.shape[1] else None,
        "balanced_accuracy": _mean(rates["balanced_accuracy"][usable]),
        "mcc": _mean(rates["mcc"][usable]),
        "micro_mcc": _number(micro["mcc"]),
        "brier": brier_score(truth, values) if truth.size else None,
        "ece": expected_calibration_error(truth, values) if truth.size else None,
        **{name: int(count.sum()) for name, count in counts.items()},
        "n_tiles": int(truth.shape[0]),
        "n_labels": int(truth.shape[1]),
        "n_positives": int(truth.sum()),
        "left_out": left_out(truth, names),
        "per_label": {
            name: _label_entry(i, counts, rates, truth, float(limits[i]))
            for i, name in enumerate(names)
        },
    }


def confusion(targets: npt.ArrayLike, decided: npt.ArrayLike) -> dict[str, npt.NDArray[np.int64]]:
    """Counts ``tp, tn, fp, fn`` per label (label,) of decisions (tile, label)."""
    truth, yes = np.asarray(targets, dtype=bool), np.asarray(decided, dtype=bool)
    return {
        "tp": (truth & yes).sum(axis=0, dtype=np.int64),
        "tn": (~truth & ~yes).sum(axis=0, dtype=np.int64),
        "fp": (~truth & yes).sum(axis=0, dtype=np.int64),
        "fn": (truth & ~yes).sum(axis=0, dtype=np.int64),
    }


def left_out(targets: npt.ArrayLike, codes: Sequence[str], minimum: int = 1) -> dict[str, str]:
    """Labels with fewer than ``minimum`` positives or negatives, each with the reason."""
    truth = np.asarray(targets, dtype=bool)
    positives = truth.sum(axis=0)
    reasons = {}
    for code, n in zip(codes, positives, strict=True):
        for count, word in ((int(n), "positives"), (len(truth) - int(n), "negatives")):
            if count < minimum:
                found = "no" if count == 0 else f"only {count}"
                reasons[code] = f"{found} {word if count != 1 else word[:-1]}"
    return reasons


def _rates(counts: Mapping[str, npt.NDArray[np.int64]]) -> dict[str, Floats]:
    tp, tn, fp, fn = (counts[name].astype(np.float64) for name in ("tp", "tn", "fp", "fn"))
    precision, recall = _divide(tp, tp + fp), _divide(tp, tp + fn)
    specificity = _divide(tn, tn + fp)
    spread = np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    has_both = (tp + fn > 0) & (tn + fp > 0)
    mcc = np.where(spread > 0, _divide(tp * tn - fp * fn, spread), 0.0)
    return {
        "precision": precision,
        "recall": recall,
        "f1": np.where(tp + fn > 0, _divide(2 * tp, 2 * tp + fp + fn), np.nan),
        "accuracy": _divide(tp + tn, tp + tn + fp + fn),
        "balanced_accuracy": (recall + specificity) / 2,
        "mcc": np.where(has_both, mcc, np.nan),
    }


def _summed(counts: Mapping[str, npt.NDArray[np.int64]]) -> dict[str, npt.NDArray[np.int64]]:
    return {name: np.array([count.sum()]) for name, count in counts.items()}


def _label_entry(
    i: int,
    counts: Mapping[str, npt.NDArray[np.int64]],
    rates: Mapping[str, Floats],
    truth: Bools,
    threshold: float,
) -> dict[str, Any]:
    return {
        **{name: int(count[i]) for name, count in counts.items()},
        **{name: _number(rates[name][i]) for name in PER_LABEL},
        "positives": int(truth[:, i].sum()),
        "prevalence": _mean(truth[:, i]),
        "threshold": threshold,
    }


def _micro_ap(truth: Bools, scores: Floats) -> float | None:
    return float(average_precision_score(truth.ravel(), scores.ravel())) if truth.any() else None


def _has_both(truth: Bools) -> Bools:
    return np.asarray(truth.any(axis=0) & ~truth.all(axis=0))


def _divide(above: Floats, below: Floats) -> Floats:
    return np.asarray(np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0))


def _mean(values: npt.NDArray[Any]) -> float | None:
    return float(values.mean()) if values.size else None


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _checked(targets: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[Bools, Floats]:
    truth = np.asarray(targets).astype(bool)
    values = np.asarray(scores, dtype=np.float64)
    if truth.ndim != 2 or truth.shape != values.shape:
        raise ValueError(
            f"targets {truth.shape} and scores {values.shape} must be equal (tile, label)"
        )
    if not np.isfinite(values).all():
        raise ValueError(f"{int((~np.isfinite(values)).sum())} scores are not finite")
    return truth, values
