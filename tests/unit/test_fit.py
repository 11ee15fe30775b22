"""The training loop: early stopping, best weights, schedules, reading ahead, histories."""

import csv
import itertools
import threading
import time

import keras
import numpy as np
import pytest

from geolatents.errors import TrainingError
from geolatents.learning.fit import (
    Objective,
    adamw,
    cosine_schedule,
    fit,
    full_batches,
    read_ahead,
    write_history,
)


def line():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    inputs = np.random.default_rng(0).normal(size=(4, 16, 2)).astype(np.float32)
    targets = inputs @ np.array([[1.0], [-2.0]], np.float32) + 0.5

    def loss(rows):
        return keras.ops.mean((model(rows[0], training=True) - rows[1]) ** 2)

    def batches(epoch, start):
        return zip(inputs[start:], targets[start:], strict=True)

    return model, Objective(lambda batch, step: batch, loss), batches


def run(values, patience=None, epochs=6, **options):
    """Train with given validation figures; keep the weights after every epoch."""
    model, objective, batches = line()
    weights, figures = [], iter(values)

    def validate():
        weights.append(model.get_weights())
        return {"figure": next(figures)}

    state = fit(
        model,
        objective,
        options.pop("optimizer", None) or keras.optimizers.SGD(0.05),
        batches,
        epochs=epochs,
        steps_per_epoch=4,
        validate=validate,
        monitor="figure",
        patience=patience,
        **options,
    )
    return model, state, weights


def test_the_loss_falls_and_every_step_counts():
    _, state, _ = run([1, 2, 3, 4, 5, 6])
    losses = [row["loss"] for row in state.rows]
    assert losses[-1] < losses[0] / 5
    assert (state.epoch, state.step) == (6, 24)
    assert list(state.rows[0]) == ["epoch", "loss", "figure", "learning_rate", "seconds"]


def test_restores_the_best_and_stops_when_it_waited_long_enough():
    model, state, weights = run([0.1, 0.5, 0.3, 0.4, 0.9, 1.0], patience=2)
    assert (state.epoch, state.best_epoch, state.best) == (4, 2, 0.5)
    for found, expected in zip(model.get_weights(), weights[1], strict=True):
        np.testing.assert_array_equal(found, expected)
    assert not np.array_equal(model.get_weights()[0], weights[3][0])


def test_the_average_of_the_weights_is_measured_and_kept_and_the_weights_are_trained():
    averaged = keras.optimizers.SGD(0.05, use_ema=True, ema_momentum=0.9)
    model, state, seen = run([1.0, 2.0], epochs=2, optimizer=averaged)
    _, plain, trained = run([1.0, 2.0], epochs=2)
    assert [r["loss"] for r in state.rows] == [r["loss"] for r in plain.rows], "the same training"
    assert all(abs(a - b).max() > 1e-3 for a, b in zip(seen[1], trained[1], strict=True))
    for kept, measured in zip(model.get_weights(), seen[1], strict=True):
        np.testing.assert_array_equal(kept, measured)


def test_an_equal_figure_is_no_better():
    _, state, _ = run([0.5] * 6, patience=3)
    assert (state.epoch, state.best_epoch) == (4, 1)


def test_undefined_figures_are_never_best():
    _, state, _ = run([float("nan"), float("nan"), 0.1, float("nan"), 0.05, 0.02])
    assert (state.best_epoch, state.best) == (3, 0.1)
    model, state, weights = run([float("nan")] * 6)
    np.testing.assert_array_equal(model.get_weights()[0], weights[0][0])


def test_a_loss_that_is_not_finite_is_an_error():
    model, _, batches = line()
    with pytest.raises(TrainingError, match=r"no longer finite[\s\S]*learning_rate"):
        fit(
            model,
            Objective(
                lambda batch, step: batch, lambda rows: keras.ops.mean(model(rows[0])) * np.inf
            ),
            keras.optimizers.SGD(0.1),
            batches,
            epochs=1,
            steps_per_epoch=4,
            validate=lambda: {"figure": 0.0},
            monitor="figure",
        )


def test_cosine_warms_up_for_a_twentieth_and_ends_at_zero():
    rates = np.array([float(cosine_schedule(0.1, 200)(step)) for step in range(201)])
    assert rates.argmax() == 10
    assert rates.max() == pytest.approx(0.1)
    assert (np.diff(rates[:10]) > 0).all()
    assert (np.diff(rates[10:]) <= 0).all()
    assert rates[-1] == pytest.approx(0, abs=1e-8)
    assert rates[105] == pytest.approx(0.05, rel=0.02)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_cosine_of_very_few_steps_is_finite(steps):
    rates = [float(cosine_schedule(0.1, steps)(step)) for step in range(steps + 2)]
    assert np.isfinite(rates).all()
    assert 0 <= min(rates) <= max(rates) <= 0.1 + 1e-6


def test_decay_spares_biases_and_normalisation():
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(2), keras.layers.BatchNormalization()]
    )
    model.set_weights([np.ones_like(weight) for weight in model.get_weights()])
    optimizer = adamw(0.1, 0.5, "constant", 10, "float32")
    optimizer.build(model.trainable_variables)
    nothing = [np.zeros(v.shape, np.float32) for v in model.trainable_variables]
    optimizer.apply([keras.ops.convert_to_tensor(g) for g in nothing], model.trainable_variables)
    shrunk = {v.name: float(np.mean(v)) < 1 for v in model.trainable_variables}
    assert shrunk == {"kernel": True, "bias": False, "gamma": False, "beta": False}


@pytest.mark.parametrize(("n", "size", "shape"), [(10, 3, (3, 3)), (2, 5, (1, 2)), (6, 6, (1, 6))])
def test_full_batches_keep_the_order(n, size, shape):
    found = full_batches(np.arange(n), size)
    assert found.shape == shape
    assert found.ravel().tolist() == list(range(found.size))


def test_reads_ahead_in_order_and_no_further_than_asked():
    made = []

    def items():
        for number in range(20):
            made.append(number)
            yield number

    ahead = read_ahead(items(), ahead=3)
    assert next(ahead) == 0
    time.sleep(0.2)
    assert 2 <= len(made) <= 6
    assert list(ahead) == list(range(1, 20))


def test_reading_ahead_passes_errors_on_and_leaves_no_thread():
    def failing():
        yield 1
        raise KeyError("broken shard")

    with pytest.raises(KeyError, match="broken shard"):
        list(read_ahead(failing()))
    endless = read_ahead(itertools.count())
    next(endless)
    endless.close()
    assert not [t for t in threading.enumerate() if t.name == "read-ahead"]


def test_history_is_a_table(tmp_path):
    write_history(
        [{"epoch": 1, "loss": 0.123456789}, {"epoch": 2, "loss": 0.1}], tmp_path / "h.csv"
    )
    with (tmp_path / "h.csv").open() as stream:
        assert list(csv.DictReader(stream)) == [
            {"epoch": "1", "loss": "0.123457"},
            {"epoch": "2", "loss": "0.1"},
        ]
