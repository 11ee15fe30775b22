"""Probes: what linear models can read out of features that a network learned for something else.

Ridge regression in closed form. Its penalty is chosen on the validation part, and without one by
leave-one-out errors on the training part; the test part only scores it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist

from geolatents.seeds import generator

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

PENALTIES = 10.0 ** np.arange(-3.0, 6.0)
"""Ridge penalties that are tried, for standardised features."""

MIN_VALIDATION = 20
"""With fewer validation tiles the penalty is chosen by leave-one-out errors."""

KNOTS = 8
"""Knots of the piecewise linear functions of one feature."""

LANDMARKS = 300
"""Training tiles whose nearness makes radial features."""


@dataclass(frozen=True)
class Parts:
    """The same arrays of the three parts, each (tile, column)."""

    train: Floats
    validation: Floats
    test: Floats

    @classmethod
    def of(cls, values: npt.NDArray[np.generic], part: npt.NDArray[np.str_]) -> Parts:
        """Rows of values (tile, ...) by part (tile,); trailing axes become columns."""
        columns = values.reshape(len(values), -1).astype(np.float64)
        return cls(*(columns[part == name] for name in ("train", "validation", "test")))

    def mapped(self, function: Callable[[Floats], Floats]) -> Parts:
        """The same function of all parts."""
        return Parts(function(self.train), function(self.validation), function(self.test))

    def beside(self, other: Parts) -> Parts:
        """Columns of both."""
        return Parts(
            np.hstack([self.train, other.train]),
            np.hstack([self.validation, other.validation]),
            np.hstack([self.test, other.test]),
        )


def standardised(features: Parts) -> Parts:
    """Training mean 0 and deviation 1; columns that are constant in training become 0."""
    mean, spread = features.train.mean(axis=0), features.train.std(axis=0)
    scale = np.where(spread > 1e-9, 1 / np.where(spread > 1e-9, spread, 1), 0)
    return features.mapped(lambda values: (values - mean) * scale)


def ridge_predictions(features: Parts, targets: Parts, *, joint: bool = False) -> Floats:
    """Predictions of the test part by ridge regression with an intercept.

    Args:
        features: (tile, feature).
        targets: (tile, column); those of the test part are not looked at.
        joint: One penalty for all columns; otherwise one for each.

    Returns:
        (test tile, column).
    """
    x = standardised(features)
    mean = targets.train.mean(axis=0)
    # The Gram matrix is small, and its eigenvectors serve all penalties.
    values, axes = np.linalg.eigh(x.train.T @ x.train)
    values = np.maximum(values, 0)
    turned = x.mapped(lambda block: block @ axes)
    moments = turned.train.T @ (targets.train - mean)
    errors = np.stack([_error(turned, targets, mean, values, moments, a) for a in PENALTIES])
    if joint:
        errors = np.repeat(errors.sum(axis=1, keepdims=True), errors.shape[1], axis=1)
    # Of equal penalties the larger one.
    best = PENALTIES[::-1][errors[::-1].argmin(axis=0)]
    return np.asarray(turned.test @ (moments / (values[:, None] + best)) + mean)


def _error(
    x: Parts, y: Parts, mean: Floats, values: Floats, moments: Floats, penalty: float
) -> Floats:
    """Squared error per column (column,) with a penalty.

    Args:
        x: Features along the eigenvectors of their Gram matrix (tile, axis).
        y: Targets (tile, column).
        mean: Training mean of the targets (column,).
        values: Eigenvalues (axis,).
        moments: Features times targets (axis, column).
        penalty: Ridge penalty.
    """
    weights = moments / (values[:, None] + penalty)
    if len(y.validation) >= MIN_VALIDATION:
        return np.asarray(((x.validation @ weights + mean - y.validation) ** 2).mean(axis=0))
    left = y.train - mean - x.train @ weights
    leverage = (x.train**2) @ (1 / (values + penalty)) + 1 / len(x.train)
    return np.asarray(((left / np.maximum(1 - leverage, 1e-6)[:, None]) ** 2).mean(axis=0))


def ridge_classes(features: Parts, classes: tuple[Integers, Integers], n_classes: int) -> Integers:
    """Predicted class of the test tiles: the largest of ridge regressions on one column per class.

    Args:
        features: (tile, feature).
        classes: Class of the training and of the validation tiles, 0..n_classes - 1; -1 in
            validation for a class that training does not know.
        n_classes: Number of classes.

    Returns:
        (test tile,).
    """
    columns = np.eye(n_classes)
    train, validation = classes
    known = validation >= 0
    kept = Parts(features.train, features.validation[known], features.test)
    targets = Parts(columns[train], columns[validation[known]], np.zeros((0, n_classes)))
    return np.asarray(ridge_predictions(kept, targets, joint=True).argmax(axis=1))


def hinge_features(values: Parts) -> Parts:
    """Piecewise linear functions of each column, with knots at quantiles of the training part.

    Args:
        values: (tile, column).

    Returns:
        (tile, feature): the columns themselves, and for each up to :data:`KNOTS` hinges.
    """
    quantiles = np.linspace(0, 1, KNOTS + 2)[1:-1]
    knots = [np.unique(np.quantile(column, quantiles)) for column in values.train.T]

    def bent(block: Floats) -> Floats:
        hinges = [np.maximum(block[:, i, None] - knot[None], 0) for i, knot in enumerate(knots)]
        return np.hstack([block, *hinges])

    return values.mapped(bent)


def radial_features(values: Parts, seed: int = 0) -> Parts:
    """Gaussian nearness to training tiles, so that a linear probe becomes any smooth function.

    Args:
        values: (tile, column).
        seed: Seed of the choice of landmarks.

    Returns:
        (tile, landmark), at most :data:`LANDMARKS`; width: the median distance of landmarks.
    """
    x = standardised(values)
    rows = generator(seed, "probes", "landmarks").permutation(len(x.train))[:LANDMARKS]
    landmarks = x.train[rows]
    apart = cdist(landmarks, landmarks)
    width = float(np.median(apart[apart > 0])) if (apart > 0).any() else 1.0
    return x.mapped(lambda block: np.exp(-0.5 * (cdist(block, landmarks) / width) ** 2))
