"""Calibration: whether a probability of 0.8 is right in eight of ten cases, and how to make it so."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

Floats = npt.NDArray[np.float64]

LOWEST, HIGHEST = 0.1, 10.0
"""Bounds of a temperature; at a bound, the validation part is too small or ranked perfectly."""

BINS = 15


def fit_temperature(targets: npt.ArrayLike, logits: npt.ArrayLike) -> float:
    """Temperature that minimises the cross-entropy of ``sigmoid(logits / T)`` (Guo et al. 2017, sec. 4).

    One for all labels, so that no ranking changes; to be called with the validation part only.

    Args:
        targets: Presence (tile, label), 0 or 1.
        logits: (tile, label).

    Returns:
        T in 0.1..10; above 1 the network was too sure of itself. 1 where there is no tile.
    """
    truth, values = np.asarray(targets, np.float64), np.asarray(logits, np.float64)
    if not truth.size:
        return 1.0

    def loss(log_temperature: float) -> float:
        scaled = values / np.exp(log_temperature)
        return float(np.mean(np.logaddexp(0, scaled) - truth * scaled))

    found = minimize_scalar(loss, bounds=(np.log(LOWEST), np.log(HIGHEST)), method="bounded")
    return float(np.exp(found.x))


def brier_score(targets: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Mean squared error of probabilities (tile, label) (Brier 1950)."""
    return float(np.mean((np.asarray(scores, np.float64) - np.asarray(targets, np.float64)) ** 2))


def expected_calibration_error(targets: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Mean distance of probability and frequency in 15 bins of equal width (Guo et al. 2017, eq. 3).

    Over all decisions of all labels, weighted by their number per bin.

    Args:
        targets: Presence (tile, label), 0 or 1.
        scores: Probabilities (tile, label).
    """
    truth, values = np.ravel(np.asarray(targets, np.float64)), np.ravel(np.asarray(scores))
    bins = np.minimum((values * BINS).astype(np.int64), BINS - 1)
    count, hits, sums = (
        np.bincount(bins, weights=weights, minlength=BINS) for weights in (None, truth, values)
    )
    return float(np.abs(hits - sums).sum() / max(count.sum(), 1))
