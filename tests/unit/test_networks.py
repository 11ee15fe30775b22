"""Networks: any size, any bands, float32 out, statistics inside."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from geolatents.learning.networks import (
    FusedBatchNormalisation,
    Standardise,
    build_network,
    standardisation,
    with_probabilities,
)
from geolatents.learning.stages import last_maps
from geolatents.settings.models import Network

SMALL = Network(widths=[4, 8, 16])


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((8, 8, 1), "uint8"),
        ((64, 64, 4), "uint16"),
        ((132, 327, 3), "float32"),
        ((257, 129, 13), "int16"),
    ],
)
@pytest.mark.parametrize("network", [SMALL, Network(name="olr_cnn")], ids=lambda n: n.name)
def test_takes_any_size_band_count_and_type(shape, dtype, network):
    model = build_network(network, shape, 5, np.full(shape[2], 9.0), np.full(shape[2], 2.0))
    logits = model(np.ones((2, *shape), dtype), training=False)
    assert logits.shape == (2, 5)
    assert logits.dtype == "float32"
    assert np.isfinite(logits).all()


def test_takes_a_thousand_pixels():
    model = build_network(SMALL, (1000, 1000, 3), 2, [0] * 3, [1] * 3, precision="mixed_bfloat16")
    assert model(np.zeros((1, 1000, 1000, 3), "uint8"), training=False).shape == (1, 2)


def test_predecessor_has_its_ten_convolutions_and_dense_layers():
    model = build_network(Network(name="olr_cnn"), (64, 64, 3), 38, [0] * 3, [1] * 3)
    kinds = [type(layer).__name__ for layer in model.layers]
    filters = [layer.filters for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    units = [layer.units for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    assert filters == [64] * 6 + [128] * 2 + [256] * 2
    assert units == [2000, 1000, 38]
    assert kinds.count("MaxPooling2D") == 4
    # 7,942,158 as printed for 178 px, less the weights that flattening 3 x 3 maps costs.
    assert model.count_params() == 7_942_158 - (9 - 1) * 256 * 2000


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_output_is_float32_under_mixed_precision(precision):
    model = build_network(SMALL, (16, 16, 2), 3, [500, 500], [100, 100], precision=precision)
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert {layer.compute_dtype for layer in convolutions} == {precision.removeprefix("mixed_")}
    assert model(np.full((1, 16, 16, 2), 600, "uint16")).dtype == "float32"
    assert keras.config.dtype_policy().name == "float32", "no global state is left behind"


def test_standardises_and_maps_nan_to_the_mean():
    layer = Standardise([1000.0, 5.0], [100.0, 0.0])
    tiles = np.array([1100.0, 6.0, np.nan, np.nan], np.float32).reshape(1, 1, 2, 2)
    assert np.asarray(layer(tiles)).ravel() == pytest.approx([1.0, 1.0, 0.0, 0.0])


def test_large_integers_keep_their_differences_under_bfloat16():
    layer = Standardise([40_000.0], [10.0])
    tiles = np.array([40_010, 40_020], np.uint16).reshape(1, 1, 2, 1)
    assert np.asarray(layer(tiles)).ravel() == pytest.approx([1.0, 2.0])


def test_saved_model_gives_the_same_and_carries_statistics(tmp_path):
    model = with_probabilities(
        build_network(SMALL, (16, 16, 2), 3, [5, 6], [2, 3], bands=["red", "nir"])
    )
    tiles = np.random.default_rng(0).integers(0, 20, (4, 16, 16, 2)).astype("uint16")
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    np.testing.assert_array_equal(model(tiles, training=False), loaded(tiles, training=False))
    assert 0 <= np.min(loaded(tiles)) <= np.max(loaded(tiles)) <= 1
    layer = standardisation(loaded)
    assert (layer.mean, layer.std, layer.bands) == ([5, 6], [2, 3], ["red", "nir"])


def test_every_weight_but_statistics_is_trained():
    model = build_network(SMALL, (16, 16, 2), 3, [5, 6], [2, 3])
    frozen = {weight.path.split("/")[-1] for weight in model.non_trainable_weights}
    assert frozen == {"moving_mean", "moving_variance"}


@pytest.mark.parametrize(
    ("shape", "mean", "message"),
    [((7, 64, 1), [0], "too small"), ((8, 8, 2), [0], "2 bands")],
)
def test_refuses_what_it_cannot_take(shape, mean, message):
    with pytest.raises(ValueError, match=message):
        build_network(SMALL, shape, 2, mean, mean)


@pytest.mark.parametrize("training", [True, False])
def test_fused_normalisation_does_what_keras_does(training):
    x = np.random.default_rng(0).normal(3, 2, (6, 5, 7, 4)).astype(np.float32)
    layers = [
        kind(momentum=0.9) for kind in (FusedBatchNormalisation, keras.layers.BatchNormalization)
    ]
    results = []
    for layer in layers:
        layer.build(x.shape)
        layer.set_weights([np.linspace(low, 2, 4) for low in (0.5, 0.1, 1.0, 0.7)])
        tensor = tf.constant(x)
        with tf.GradientTape() as tape:
            tape.watch(tensor)
            value = layer(tensor, training=training)
            loss = tf.reduce_sum(value**3)
        results.append([value, tape.gradient(loss, tensor), *layer.get_weights()[:3]])
    for fused, plain in zip(*results, strict=True):
        np.testing.assert_allclose(fused, plain, rtol=2e-3, atol=2e-3)
    moved = [layer.get_weights()[3] for layer in layers]
    # The fused kernel keeps the unbiased variance of the batch.
    np.testing.assert_allclose(*moved, rtol=2e-3)
    assert (np.abs(moved[0] - np.linspace(0.7, 2, 4)).max() > 0.01) == training


def test_frozen_normalisation_keeps_its_statistics():
    layer = FusedBatchNormalisation()
    layer.trainable = False
    tiles = np.random.default_rng(0).normal(9, 2, (6, 5, 7, 4)).astype(np.float32)
    np.testing.assert_allclose(layer(tiles, training=True), layer(tiles, training=False))
    np.testing.assert_array_equal(layer.moving_mean, np.zeros(4))


@pytest.mark.parametrize(
    ("network", "channels"),
    [
        (Network(widths=[4, 8, 16], blocks=2), [4, 8, 16]),
        (Network(widths=[4, 8], stem_stride=1), [4, 8]),
        (Network(name="olr_cnn"), [64, 64, 64, 128, 256]),
    ],
)
def test_each_stage_has_one_last_map(network, channels):
    model = build_network(network, (64, 64, 2), 3, [0, 0], [1, 1])
    maps = last_maps(model)
    assert [int(stage.shape[-1]) for stage in maps] == channels
    sides = [
        np.asarray(keras.Model(model.input, stage)(np.zeros((1, 64, 64, 2)))).shape[1]
        for stage in maps
    ]
    assert sides == sorted(sides, reverse=True)
    assert len(set(sides)) == len(sides)
