"""Multi-label losses from logits, stable for any logit, with weights that act per label.

A label's weight multiplies the loss of its positives and nothing else, so that a weight of 10 on
one label equals ten copies of each positive of that label. All losses are means over tiles and
labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from geolatents.settings.models import Loss

Tensor = Any  # Keras tensors have no static type


class _LabelWise(keras.losses.Loss):  # type: ignore[misc]
    """Mean over tiles and labels of ``y w L+ + (1 - y) L-``."""

    def __init__(
        self,
        label_weights: Sequence[float] | None = None,
        label_smoothing: float = 0.0,
        name: str | None = None,
        reduction: str = "sum_over_batch_size",
        dtype: str | None = "float32",
    ) -> None:
        """Create the loss.

        Args:
            label_weights: Weight of the positives of each label, ``(label,)``; None for 1.
            label_smoothing: Targets become s/2 and 1 - s/2.
            name: As in Keras.
            reduction: As in Keras.
            dtype: As in Keras.
        """
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.label_weights = None if label_weights is None else [float(w) for w in label_weights]
        self.label_smoothing = float(label_smoothing)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Loss per tile ``(tile,)`` of targets in 0..1 and logits, both ``(tile, label)``."""
        smooth = self.label_smoothing
        targets = y_true * (1.0 - smooth) + 0.5 * smooth
        positive, negative = self.parts(y_pred)
        if self.label_weights is not None:
            positive = positive * np.asarray(self.label_weights, np.float32)
        return keras.ops.mean(targets * positive + (1.0 - targets) * negative, axis=-1)

    def parts(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Loss of a positive and of a negative for each logit, before weights."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """Arguments, so that the loss can be saved and loaded."""
        return {
            "name": self.name,
            "reduction": self.reduction,
            "label_weights": self.label_weights,
            "label_smoothing": self.label_smoothing,
        }


@keras.saving.register_keras_serializable(package="geolatents")
class WeightedCrossentropy(_LabelWise):
    """Binary cross-entropy with label weights."""

    def parts(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """``-log p`` and ``-log(1 - p)``."""
        return keras.ops.softplus(-logits), keras.ops.softplus(logits)


@keras.saving.register_keras_serializable(package="geolatents")
class Focal(_LabelWise):
    """Focal loss (Lin et al. 2017, eq. 4 and 5)."""

    def __init__(
        self,
        gamma: float = 2.0,
        alpha: float | None = None,
        **kwargs: Any,
    ) -> None:
        """Create the loss.

        Args:
            gamma: Focusing exponent; 0 gives cross-entropy.
            alpha: Weight of positives, negatives weigh ``1 - alpha``; None weighs both 1.
            kwargs: Arguments of all label-wise losses.
        """
        super().__init__(**kwargs)
        self.gamma, self.alpha = float(gamma), alpha

    def parts(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """``-(1 - p)^gamma log p`` and ``-p^gamma log(1 - p)``, powers through logarithms."""
        no_hit, no_miss = keras.ops.softplus(-logits), keras.ops.softplus(logits)
        positive = keras.ops.exp(-self.gamma * no_miss) * no_hit
        negative = keras.ops.exp(-self.gamma * no_hit) * no_miss
        if self.alpha is None:
            return positive, negative
        return self.alpha * positive, (1.0 - self.alpha) * negative

    def get_config(self) -> dict[str, Any]:
        """Arguments."""
        return {**super().get_config(), "gamma": self.gamma, "alpha": self.alpha}


@keras.saving.register_keras_serializable(package="geolatents")
class Asymmetric(_LabelWise):
    """Asymmetric loss (Ben-Baruch et al. 2021, eq. 4 to 7)."""

    def __init__(
        self,
        gamma_positive: float = 0.0,
        gamma_negative: float = 4.0,
        clip: float = 0.05,
        **kwargs: Any,
    ) -> None:
        """Create the loss.

        Args:
            gamma_positive: Exponent of positives.
            gamma_negative: Exponent of negatives.
            clip: Margin by which probabilities of negatives are lowered; easy ones count nothing.
            kwargs: Arguments of all label-wise losses.
        """
        super().__init__(**kwargs)
        self.gamma_positive, self.gamma_negative = float(gamma_positive), float(gamma_negative)
        self.clip = float(clip)

    def parts(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """``-(1 - p)^g+ log p`` and ``-q^g- log(1 - q)`` with ``q = max(p - clip, 0)``."""
        no_hit, no_miss = keras.ops.softplus(-logits), keras.ops.softplus(logits)
        positive = keras.ops.exp(-self.gamma_positive * no_miss) * no_hit
        if self.clip == 0:
            return positive, keras.ops.exp(-self.gamma_negative * no_hit) * no_miss
        lowered = keras.ops.sigmoid(logits) - self.clip
        counts = lowered > 0
        # A stand-in where nothing counts: 0 to a power below 1 has no finite gradient.
        lowered = keras.ops.where(counts, lowered, 0.5)
        negative = -(lowered**self.gamma_negative) * keras.ops.log1p(-lowered)
        return positive, keras.ops.where(counts, negative, 0.0)

    def get_config(self) -> dict[str, Any]:
        """Arguments."""
        return {
            **super().get_config(),
            "gamma_positive": self.gamma_positive,
            "gamma_negative": self.gamma_negative,
            "clip": self.clip,
        }


def build_loss(loss: Loss, label_weights: npt.ArrayLike | None = None) -> keras.losses.Loss:
    """The loss of a configuration.

    Args:
        loss: Name and parameters.
        label_weights: Weight of the positives of each label, ``(label,)``; None for 1.
    """
    shared: dict[str, Any] = {
        "label_weights": None if label_weights is None else np.ravel(label_weights).tolist(),
        "label_smoothing": loss.label_smoothing,
    }
    if loss.name == "focal":
        return Focal(loss.gamma, loss.alpha, **shared)
    if loss.name == "asymmetric":
        return Asymmetric(loss.gamma_positive, loss.gamma_negative, loss.clip, **shared)
    return WeightedCrossentropy(**shared)


def balanced_weights(
    labels: npt.NDArray[np.integer[Any]], max_weight: float
) -> npt.NDArray[np.float32]:
    """Negatives over positives of each label, at most ``max_weight``.

    Args:
        labels: ``(tile, label)`` of the training part, 0 or 1.
        max_weight: Upper bound; also the weight of a label without positives.

    Returns:
        ``(label,)``, so that positives and negatives of a label weigh the same in sum. At least
        ``1 / max_weight``, so that a label that is always present is learned too.
    """
    positives = np.asarray(labels, np.int64).sum(axis=0)
    negatives = len(labels) - positives
    ratio = negatives / np.maximum(positives, 1)
    return np.where(positives > 0, ratio, max_weight).clip(1 / max_weight, max_weight).astype("f4")
