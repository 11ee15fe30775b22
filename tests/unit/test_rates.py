"""AdamW with rates of its own per variable: equal to Keras' where shares are 1, resumable, scaled otherwise."""

import keras
import numpy as np
import pytest

from geolatents.learning.fit import adamw
from geolatents.learning.rates import RatedAdamW


def model():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((3,))
    hidden = keras.layers.Dense(4, name="first")(inputs)
    return keras.Model(inputs, keras.layers.Dense(2, name="last")(hidden))


def steps(optimizer, network, n=3, start=0):
    optimizer.build(network.trainable_variables)
    for number in range(start, start + n):
        rng = np.random.default_rng(number)
        grads = [
            keras.ops.convert_to_tensor(rng.normal(size=v.shape).astype("float32"))
            for v in network.trainable_variables
        ]
        optimizer.apply(grads, network.trainable_variables)
    return network.get_weights()


def test_shares_of_one_give_what_keras_gives():
    expected = steps(adamw(0.01, 0.1, "cosine", 20, "float32"), model())
    found = steps(adamw(0.01, 0.1, "cosine", 20, "float32", {"first/kernel": 1.0}), model())
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_a_share_scales_step_and_decay(precision):
    begin = model().get_weights()
    whole = steps(adamw(0.01, 0.1, "constant", 20, precision, {"x": 1.0}), model(), 1)
    part = steps(adamw(0.01, 0.1, "constant", 20, precision, {"first/kernel": 0.1}), model(), 1)
    np.testing.assert_allclose(
        part[0] - begin[0], 0.1 * (whole[0] - begin[0]), rtol=1e-3, atol=1e-7
    )
    for a, b in zip(part[1:], whole[1:], strict=True):
        np.testing.assert_array_equal(a, b)


def test_goes_on_from_saved_variables():
    shares = {"first/kernel": 0.1, "first/bias": 0.0}
    through = model()
    expected = steps(adamw(0.01, 0.1, "cosine", 20, "float32", shares), through, 6)
    begun, first = model(), adamw(0.01, 0.1, "cosine", 20, "float32", shares)
    steps(first, begun, 3)
    again, second = model(), adamw(0.01, 0.1, "cosine", 20, "float32", shares)
    again.set_weights(begun.get_weights())
    second.build(again.trainable_variables)
    for variable, saved in zip(second.variables, first.variables, strict=True):
        variable.assign(saved)
    for a, b in zip(steps(second, again, 3, 3), expected, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(expected[1], model().get_weights()[1])


def test_is_remade_from_its_configuration():
    made = RatedAdamW(0.1, 0.2, {"a": 0.5}, beta_1=0.8)
    again = RatedAdamW.from_config(made.get_config())
    assert (again.decay, again.shares, again.beta_1) == (0.2, {"a": 0.5}, 0.8)
