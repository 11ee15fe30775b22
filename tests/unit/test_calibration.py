import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geolatents.learning.calibration import (
    brier_score,
    expected_calibration_error,
    fit_temperature,
)


def drawn(n=40_000, seed=0):
    """Logits, and labels that are present as often as they say."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (n, 2))
    return (random.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(np.uint8), logits


@given(st.floats(0.3, 4.0))
def test_the_temperature_that_logits_were_multiplied_by_is_found(temperature):
    targets, logits = drawn()
    assert fit_temperature(targets, temperature * logits) == pytest.approx(temperature, rel=0.05)


def test_without_tiles_or_with_perfect_ones_it_stays_within_bounds():
    assert fit_temperature(np.zeros((0, 3)), np.zeros((0, 3))) == 1.0
    targets = np.array([[0, 1], [1, 0]])
    assert fit_temperature(targets, 2.0 * targets - 1) == pytest.approx(0.1, rel=0.01)


def test_errors_of_what_is_right_and_what_is_too_sure():
    targets, logits = drawn()
    right, sure = (1 / (1 + np.exp(-factor * logits)) for factor in (1, 4))
    assert expected_calibration_error(targets, right) < 0.01
    assert expected_calibration_error(targets, sure) > 0.05
    assert brier_score(targets, right) < brier_score(targets, sure)


def test_errors_by_hand():
    targets, scores = np.array([[1, 0], [1, 1]]), np.array([[1.0, 0.5], [0.5, 0.5]])
    assert brier_score(targets, scores) == pytest.approx((0 + 3 * 0.25) / 4)
    assert expected_calibration_error(targets, scores) == pytest.approx(abs(2 - 1.5) / 4)
