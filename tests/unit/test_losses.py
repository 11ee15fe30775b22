"""Losses against direct formulas in float64, their gradients, and weights that weight."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from geolatents.learning.losses import (
    Asymmetric,
    Focal,
    WeightedCrossentropy,
    balanced_weights,
    build_loss,
)
from geolatents.settings.models import Loss

RANDOM = np.random.default_rng(0)
LOGITS = RANDOM.normal(0, 3, (7, 4)).astype(np.float32)
TARGETS = (RANDOM.random((7, 4)) < 0.4).astype(np.float32)
WEIGHTS = np.array([1.0, 2.0, 5.0, 0.5])


def sigmoid(logits):
    return 1 / (1 + np.exp(-logits.astype(np.float64)))


def crossentropy(p):
    return -np.log(p), -np.log(1 - p)


def focal(p, gamma=1.5, alpha=0.3):
    return -alpha * (1 - p) ** gamma * np.log(p), -(1 - alpha) * p**gamma * np.log(1 - p)


def asymmetric(p, positive=1.0, negative=3.0, clip=0.1):
    q = np.maximum(p - clip, 0)
    return -((1 - p) ** positive) * np.log(p), -(q**negative) * np.log(1 - q)


CASES = {
    "crossentropy": (WeightedCrossentropy, {}, crossentropy),
    "focal": (Focal, {"gamma": 1.5, "alpha": 0.3}, focal),
    "asymmetric": (
        Asymmetric,
        {"gamma_positive": 1.0, "gamma_negative": 3.0, "clip": 0.1},
        asymmetric,
    ),
}


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("case", CASES)
def test_equals_the_formula(case, weights, smoothing):
    kind, arguments, formula = CASES[case]
    positive, negative = formula(sigmoid(LOGITS))
    targets = TARGETS * (1 - smoothing) + smoothing / 2
    factor = 1 if weights is None else weights
    expected = (targets * positive * factor + (1 - targets) * negative).mean()
    found = kind(**arguments, label_weights=weights, label_smoothing=smoothing)(TARGETS, LOGITS)
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_special_cases_are_crossentropy():
    plain = float(WeightedCrossentropy()(TARGETS, LOGITS))
    assert float(Focal(gamma=0.0)(TARGETS, LOGITS)) == pytest.approx(plain, rel=1e-5)
    bare = Asymmetric(0.0, 0.0, 0.0)(TARGETS, LOGITS)
    assert float(bare) == pytest.approx(plain, rel=1e-5)


@pytest.mark.parametrize(
    "loss",
    [
        WeightedCrossentropy(),
        Focal(0.5),
        Focal(5.0, 0.25),
        Asymmetric(),
        Asymmetric(0.5, 0.5, 0.05),
        Asymmetric(1.0, 4.0, 0.0),
    ],
    ids=["crossentropy", "focal", "sharp focal", "asymmetric", "steep", "unclipped"],
)
@pytest.mark.parametrize("target", [0.0, 0.3, 1.0])
def test_values_and_gradients_are_finite_for_any_logit(loss, target):
    logits = tf.constant([[-1e4, -90.0, -20.0, -2.944439, 0.0, 20.0, 90.0, 1e4]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = loss(tf.fill(logits.shape, target), logits)
    assert np.isfinite(float(value))
    assert np.isfinite(tape.gradient(value, logits).numpy()).all()


def test_a_weight_acts_on_positives_of_its_label_alone():
    weights = np.array([1.0, 10.0, 1.0, 1.0])
    gradients = []
    for chosen in (None, weights):
        logits = tf.constant(LOGITS)
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = WeightedCrossentropy(label_weights=chosen)(TARGETS, logits)
        gradients.append(tape.gradient(value, logits).numpy())
    expected = np.where((TARGETS == 1) & (np.arange(4) == 1), 10.0, 1.0)
    np.testing.assert_allclose(gradients[1] / gradients[0], expected, rtol=1e-4)


def test_balanced_weights_balance_and_are_bounded():
    labels = np.array([[1, 1, 0, 1]] * 2 + [[0, 1, 0, 1]] * 6 + [[0, 0, 0, 1]] * 2)
    found = balanced_weights(labels, 20)
    np.testing.assert_allclose(found, [8 / 2, 2 / 8, 20, 1 / 20])
    assert balanced_weights(labels, 3).max() == 3


def test_balanced_crossentropy_of_prevalence_logits_has_no_pull():
    """With negatives / positives as weight, p = 0.5 is the constant that costs least."""
    labels = (np.arange(100)[:, None] < [5, 30]).astype(np.float32)
    loss = WeightedCrossentropy(label_weights=balanced_weights(labels.astype(int), 1000))
    logits = tf.Variable(np.zeros((1, 2), np.float32))
    with tf.GradientTape() as tape:
        value = loss(labels, tf.repeat(logits, 100, axis=0))
    np.testing.assert_allclose(tape.gradient(value, logits).numpy(), 0, atol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_survives_saving(case):
    kind, arguments, _ = CASES[case]
    loss = kind(**arguments, label_weights=WEIGHTS, label_smoothing=0.1)
    loaded = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert type(loaded) is kind
    assert float(loaded(TARGETS, LOGITS)) == float(loss(TARGETS, LOGITS))


def test_configuration_reaches_the_loss():
    loss = build_loss(Loss(name="asymmetric", gamma_negative=2, clip=0.2, label_smoothing=0.1))
    assert isinstance(loss, Asymmetric)
    assert (loss.gamma_negative, loss.clip, loss.label_smoothing) == (2, 0.2, 0.1)
    assert isinstance(build_loss(Loss(name="focal", gamma=3)), Focal)
    assert build_loss(Loss(), np.array([1, 2])).label_weights == [1, 2]
