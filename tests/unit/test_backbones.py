"""Backbones: read from files, cut, fed with the right pixels, frozen as far as wanted, fine-tuned by stages."""

import itertools
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from geolatents.errors import TrainingError
from geolatents.files import read_json, sha256_file
from geolatents.learning import backbones
from geolatents.learning.backbones import (
    channels_of,
    check_tiles,
    check_weights,
    cut,
    rate_shares,
    read_trunk,
    rgb_bands,
    stages_of,
    trunk_of,
)
from geolatents.learning.checkpoints import Checkpoints
from geolatents.learning.fit import Objective, adamw, fit
from geolatents.learning.networks import build_network, with_probabilities
from geolatents.learning.weights import DOWNLOADS, require_weights, weights_file
from geolatents.settings.models import Network

LITE = "efficientnet_lite0"
MEAN, STD = [90.0, 100.0, 110.0], [40.0, 50.0, 60.0]
RGB = ["red", "green", "blue"]
SHAPE = (40, 48, 3)
FIGURES = itertools.count()
"""What a validation measures: more each time, so that the last weights are the best."""


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """EfficientNet-Lite0 with five stages of one narrow block each."""
    blocks = tuple((3, 1, filters, 2, 2) for filters in (4, 6, 8, 10))
    monkeypatch.setattr(backbones, "LITE_BLOCKS", ((3, 2, 4, 1, 1), *blocks))
    monkeypatch.setattr(backbones, "LITE_STEM", 4)
    monkeypatch.setattr(backbones, "LITE_HEAD", 12)


@pytest.fixture
def whole():
    """A network with an output layer, none of whose weights has its usual starting value."""
    keras.utils.set_random_seed(1)
    model = backbones._built(LITE, with_top=True)
    rng = np.random.default_rng(0)
    model.set_weights([_drawn(w, rng) for w in model.weights])
    return model


def _drawn(weight, rng):
    """Signed kernels, so that ReLU6 lets changes through; vectors near 1, as variances must be positive."""
    if len(weight.shape) > 1:
        fan_in = np.prod(weight.shape[:3])
        return rng.normal(0, (2 / fan_in) ** 0.5, weight.shape)
    return rng.uniform(0.5, 1.5, weight.shape)


@pytest.fixture
def file(whole, tmp_path, monkeypatch):
    monkeypatch.setenv("GEOLATENTS_DATA", str(tmp_path))
    whole.save(tmp_path / "lite.keras")
    return tmp_path / "lite.keras"


def network(**changes):
    values = {"name": "backbone", "backbone": LITE, "weights": "lite.keras", "dropout": 0}
    return Network(**(values | changes))


def build(settings, shape=SHAPE, bands=RGB, precision="float32", mean=MEAN, std=STD):
    keras.utils.set_random_seed(2)
    return build_network(settings, shape, 4, mean, std, bands=bands, precision=precision)


def tiles(n=6, shape=SHAPE):
    return np.random.default_rng(3).integers(0, 256, (n, *shape)).astype(np.uint8)


def train(model, settings, precision="float32", epochs=2, checkpoints=None):
    rng = np.random.default_rng(5)
    images, targets = tiles(8), rng.integers(0, 2, (8, 4)).astype(np.float32)

    def loss(rows):
        logits = model(rows[0], training=True)
        return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(rows[1], logits))

    return fit(
        model,
        Objective(lambda batch, step: batch, loss),
        adamw(1e-2, 1e-2, "constant", 10, precision, rate_shares(model, settings)),
        lambda epoch, start: [(images[i::2], targets[i::2]) for i in range(start, 2)],
        epochs=epochs,
        steps_per_epoch=2,
        validate=lambda: {"figure": float(next(FIGURES))},
        monitor="figure",
        checkpoints=checkpoints,
    )


# ---- reading


@pytest.mark.parametrize("ending", [".keras", ".weights.h5", ".h5"])
def test_a_file_is_read_and_cut_at_its_last_map(ending, whole, tmp_path):
    file = tmp_path / f"weights{ending}"
    if ending == ".keras":
        whole.save(file)
    elif ending == ".h5":
        whole.save(file)  # HDF5 as Keras' own downloads have it
    else:
        whole.save_weights(file)
    trunk = read_trunk(LITE, file)
    x = np.random.default_rng(0).normal(size=(2, 64, 33, 3)).astype(np.float32)
    expected = keras.Model(whole.input, whole.get_layer("gap").output)(x, training=False)
    found = tf.reduce_mean(trunk(x, training=False), axis=(1, 2))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert trunk.output.shape == (None, None, None, 12)
    assert "fc" not in {layer.name for layer in trunk.layers}


@pytest.mark.parametrize("with_top", [True, False])
def test_weights_of_an_application_are_read_with_and_without_output_layers(
    with_top, tmp_path, monkeypatch
):
    keras.utils.set_random_seed(0)

    def small(name, *, with_top=False):
        inputs = keras.Input((64, 64, 3) if with_top else (None, None, 3))
        x = keras.layers.Rescaling(1 / 255)(inputs)
        x = keras.layers.Normalization(mean=[0.5] * 3, variance=[0.1] * 3)(x)
        for i in range(5):
            x = keras.layers.Conv2D(4 + i, 3, 2, padding="same", name=f"conv{i}")(x)
        if with_top:
            x = keras.layers.Dense(7, name="predictions")(keras.layers.Flatten()(x))
        return keras.Model(inputs, x)

    monkeypatch.setattr(backbones, "_built", small)
    model = small("vgg16", with_top=with_top)
    for ending in (".weights.h5", ".h5"):
        file = tmp_path / f"weights{ending}"
        model.save_weights(file) if ending == ".weights.h5" else model.save(file)
        trunk = read_trunk("vgg16", file)
        kernels = [layer.name for layer in trunk.layers if layer.weights]
        assert kernels == [f"conv{i}" for i in range(5)]
        for name in kernels:
            np.testing.assert_array_equal(
                trunk.get_layer(name).kernel, model.get_layer(name).kernel
            )


def test_what_prepares_images_in_a_file_is_left_to_ours(file):
    model = with_probabilities(build(network()))
    again = cut(model)
    assert [type(layer).__name__ for layer in again.layers[:2]] == ["InputLayer", "Conv2D"]
    assert backbones._shapes(again) == backbones._shapes(cut(backbones._built(LITE)))


def test_the_file_of_another_architecture_is_refused(whole, tmp_path):
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, 2, padding="same")(inputs)
    keras.Model(inputs, keras.layers.Conv2D(5, 3)(x)).save(tmp_path / "other.keras")
    with pytest.raises(
        TrainingError, match=r"another architecture[\s\S]*other\.keras[\s\S]*found: 4 weights"
    ):
        read_trunk(LITE, tmp_path / "other.keras")
    whole.save_weights(tmp_path / "lite.weights.h5")
    with pytest.raises(TrainingError, match="no weights that vgg16 can take"):
        read_trunk("vgg16", tmp_path / "lite.weights.h5")


@pytest.mark.parametrize("name", ["cut.keras", "cut.weights.h5", "cut.h5", "text.keras", "text.h5"])
def test_a_damaged_file_is_refused(name, whole, tmp_path):
    file = tmp_path / name
    file.write_bytes(b"no weights")
    if name.startswith("cut"):
        whole.save(tmp_path / "whole.keras")
        file.write_bytes((tmp_path / "whole.keras").read_bytes()[:5000])
    with pytest.raises(TrainingError, match=rf"no weights that {LITE} can take[\s\S]*{name}"):
        read_trunk(LITE, file)


def test_a_network_inside_a_network_is_refused(whole, tmp_path):
    inputs = keras.Input((None, None, 3))
    keras.Model(inputs, whole(inputs)).save(tmp_path / "nested.keras")
    with pytest.raises(TrainingError, match="a network of its own"):
        read_trunk(LITE, tmp_path / "nested.keras")


def test_a_file_is_checked_and_described(file, tmp_path):
    settings = network(sha256=sha256_file(file))
    check_weights(settings, tmp_path / "check.json")
    found = read_json(tmp_path / "check.json")
    assert found["sha256"] == settings.sha256
    assert found["features"] == 12
    assert found["parameters"] == cut(backbones._built(LITE)).count_params()


def test_a_missing_file_names_path_and_origin(file):
    settings = network(weights="absent/lite.keras")
    for check in (lambda: build(settings), lambda: require_weights(settings, "models.a.network")):
        with pytest.raises(
            TrainingError,
            match=r"missing[\s\S]*absent/lite\.keras[\s\S]*GEOLATENTS_DATA[\s\S]*docs/backbones",
        ):
            check()


def test_another_file_than_stated_is_refused(file, tmp_path):
    settings = network(sha256="0" * 64)
    with pytest.raises(
        TrainingError, match=rf"another one[\s\S]*{'0' * 64}[\s\S]*{sha256_file(file)}"
    ):
        check_weights(settings, tmp_path / "check.json")
    assert not (tmp_path / "check.json").exists()


def test_keras_own_weights_lie_where_keras_keeps_them(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    settings = Network(name="backbone", backbone="resnet50", weights="imagenet")
    assert weights_file(settings) == tmp_path / "models" / DOWNLOADS["resnet50"]
    require_weights(settings, "models.a.network")  # a download is no missing file yet

    def offline(**options):
        raise Exception("URL fetch failure")

    monkeypatch.setattr(keras.applications, "ResNet50", offline)
    with pytest.raises(
        TrainingError, match=r"could not download[\s\S]*fetch failure[\s\S]*internet"
    ):
        check_weights(settings, tmp_path / "check.json")


# ---- pixels


@pytest.mark.parametrize("units", list(backbones.UNITS))
def test_a_backbone_gets_the_pixels_it_was_trained_on(units, file):
    order, centre, scale = backbones.UNITS[units]
    bands = ["nir", "blue", "green", "red"]
    model = build(network(units=units), (40, 48, 4), bands, mean=[5, *MEAN], std=[1, *STD])
    images = tiles(shape=(40, 48, 4))
    found = keras.Model(model.input, model.get_layer("resized").output)(images)
    red_first = images[..., [3, 2, 1]].astype(float)
    expected = (red_first[..., order] - centre) / scale
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_statistics_give_any_range_the_colours_of_imagenet(file):
    settings = network(values="statistics", units="torch")
    model = build(settings, mean=[900.0, 1000, 1100], std=[100.0, 200, 300])
    images = np.array([[900, 1000, 1100], [1000, 1200, 1400], [800, 800, 800]], np.uint16)
    found = keras.Model(model.input, model.get_layer("backbone_input").output)(
        np.broadcast_to(images[:, None, None], (3, 40, 48, 3))
    )
    np.testing.assert_allclose(np.asarray(found)[:, 0, 0], [[0] * 3, [1] * 3, [-1] * 3], atol=1e-5)


def test_a_pixel_without_value_is_the_mean_of_its_band(file):
    model = build(network())
    images = np.broadcast_to(np.float32(MEAN), (1, *SHAPE)).copy()
    clear = model(images, training=False)
    images[:, :9] = np.nan
    np.testing.assert_allclose(model(images, training=False), clear, rtol=1e-5)


@pytest.mark.parametrize("size", [(40, 48), (64, 40), (200, 150)])
def test_tiles_of_any_size_are_resized_by_their_shorter_side(size, file):
    model = build(network(side=64))
    resize = keras.Model(model.input, model.get_layer("resized").output)
    shape = resize(tiles(2, (*size, 3))).shape
    assert min(shape[1:3]) == 64
    assert max(shape[1:3]) == round(64 * max(size) / min(size))
    assert np.isfinite(model(tiles(2, (*size, 3)), training=False)).all()


@pytest.mark.parametrize(
    ("bands", "chosen"),
    [
        (["red", "green", "blue"], [0, 1, 2]),
        (["Blue", "Green", "Red", "NIR"], [2, 1, 0]),
        (["B02", "B03", "B04", "B08"], [2, 1, 0]),
        (["1", "2", "3"], [0, 1, 2]),
        ([], [0, 1, 2]),
    ],
)
def test_red_green_and_blue_are_found_by_name_or_order(bands, chosen):
    assert rgb_bands(network(), bands, len(bands) or 3) == chosen


def test_bands_are_named_where_they_cannot_be_told():
    settings = network(rgb=["swir", "nir", "Red"])
    assert rgb_bands(settings, ["red", "nir", "x", "swir"], 4) == [3, 1, 0]
    with pytest.raises(TrainingError, match=r"not clear which bands[\s\S]*`rgb"):
        rgb_bands(network(), ["a", "b", "c", "d"], 4)
    with pytest.raises(TrainingError, match=r"expected: swir, nir, Red[\s\S]*found: a, b, c"):
        rgb_bands(settings, ["a", "b", "c"], 3)


@pytest.mark.parametrize(
    ("shape", "mean", "changes", "message"),
    [
        ((64, 64, 2), [9, 9], {}, r"fewer than three bands[\s\S]*found: a, b"),
        ((64, 31, 3), [9, 9, 9], {}, r"too small[\s\S]*64 x 31[\s\S]*side"),
        ((64, 64, 3), [900, 9, 9], {}, r"units of pixels[\s\S]*900, 9, 9[\s\S]*values: statistics"),
        ((64, 64, 3), [0.1, 0.2, 0.3], {}, r"units of pixels"),
    ],
)
def test_tiles_that_do_not_suit_are_refused(shape, mean, changes, message):
    with pytest.raises(TrainingError, match=message):
        check_tiles(network(**changes), shape, list("abc")[: shape[2]], np.array(mean), "here")
    check_tiles(network(values="statistics", side=64), (16, 16, 3), RGB, np.array([900, 9, 9]))


def test_a_constant_band_keeps_its_value():
    chosen, gain, offset = channels_of(network(), RGB, np.array(MEAN), np.array([0.0, 50, 60]))
    assert chosen == [0, 1, 2]
    np.testing.assert_allclose(
        np.add(gain, offset), [(91 - 127) / 128, (150 - 127) / 128, (170 - 127) / 128]
    )


# ---- stages and freezing


@pytest.mark.parametrize("name", ["efficientnet_b0", "vgg16", "resnet50"])
def test_every_application_has_five_stages_and_no_output_layers(name):
    trunk = cut(backbones._built(name))
    stages = stages_of(trunk)
    weighted = {layer.name: stages[layer.name] for layer in trunk.layers if layer.weights}
    assert set(weighted.values()) == {1, 2, 3, 4, 5}
    assert list(weighted.values()) == sorted(weighted.values()) or name == "resnet50"
    first = {"efficientnet_b0": "stem_conv", "vgg16": "block1_conv1", "resnet50": "conv1_conv"}
    assert weighted[first[name]] == 1
    if name == "vgg16":
        assert {layer: int(layer[5]) for layer in weighted} == weighted
    assert not [layer for layer in trunk.layers if isinstance(layer, backbones.BEFORE[2:4])]


@pytest.mark.parametrize(
    ("frozen", "statistics"),
    [(frozen, statistics) for frozen in ("all", 1, 3, 5) for statistics in ("kept", "learned")],
)
def test_what_is_frozen_stays_bitwise_the_same(frozen, statistics, file):
    settings = network(frozen=frozen, statistics=statistics)
    model = build(settings)
    stages = stages_of(trunk_of(model))
    limit = 5 if frozen == "all" else frozen
    layers = {
        n: model.get_layer(n) for n, stage in stages.items() if n in {x.name for x in model.layers}
    }
    before = {name: layer.get_weights() for name, layer in layers.items() if layer.weights}
    features = trunk_of(model)(np.ones((1, 64, 64, 3), np.float32), training=True)
    state = train(model, settings)
    assert state.step == 4
    changed = {
        name
        for name, weights in before.items()
        if not all(map(np.array_equal, weights, layers[name].get_weights()))
    }
    assert changed == {name for name in before if stages[name] > limit}
    if limit == 5:
        again = trunk_of(model)(np.ones((1, 64, 64, 3), np.float32), training=True)
        np.testing.assert_array_equal(features, again)
        assert len(model.trainable_variables) == 2


@pytest.mark.parametrize(
    ("statistics", "moves"),
    [("kept", False), ("learned", True)],
)
def test_statistics_are_kept_while_scale_and_offset_learn(statistics, moves, file):
    settings = network(statistics=statistics)
    model = build(settings)
    layer = model.get_layer("block2_project_bn")
    before = layer.get_weights()
    train(model, settings)
    after = layer.get_weights()
    assert not np.array_equal(before[0], after[0])
    assert all(np.array_equal(a, b) for a, b in zip(before[2:], after[2:], strict=True)) != moves


def test_from_scratch_everything_learns_alike():
    settings = Network(name="backbone", backbone=LITE, dropout=0)
    model = build(settings)
    assert rate_shares(model, settings) == {}
    before = model.get_weights()
    train(model, settings)
    same = [np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True)]
    assert not any(same)


def test_earlier_stages_learn_more_slowly(file):
    settings = network(learning_rate_scale=0.5, learning_rate_decay=0.1)
    model = build(settings)
    shares = rate_shares(model, settings)
    assert shares["head/kernel"] == pytest.approx(0.5)
    assert shares["stem/kernel"] == pytest.approx(0.5e-4)
    assert not {weight.path for weight in model.get_layer("logits").weights} & set(shares)
    before = {w.path: np.array(w) for w in model.trainable_variables}
    train(model, settings, epochs=1)
    moved = {w.path: float(np.abs(w - before[w.path]).max()) for w in model.trainable_variables}
    # Adam's first steps are as large as the rate, whatever the gradient.
    assert 1e-3 < moved["logits/bias"] < 2.1e-2
    assert moved["head_bn/beta"] < 0.6 * 2.1e-2
    assert moved["stem_bn/beta"] < 0.6e-4 * 2.1e-2


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_an_interrupted_training_ends_as_an_undisturbed_one(precision, file, tmp_path):
    settings = network(frozen=2, learning_rate_decay=0.5)
    through = build(settings, precision=precision)
    train(through, settings, precision)
    train(
        build(settings, precision=precision),
        settings,
        precision,
        1,
        Checkpoints(tmp_path / "s", "a", 0),
    )
    again = build(settings, precision=precision)
    state = train(again, settings, precision, 2, Checkpoints(tmp_path / "s", "a", 0))
    assert state.step == 4
    for found, expected in zip(again.get_weights(), through.get_weights(), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_trains_and_ends_in_float32(precision, file):
    settings = network(frozen=2)
    model = build(settings, precision=precision)
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert {layer.compute_dtype for layer in convolutions} == {precision.removeprefix("mixed_")}
    assert {w.dtype for w in model.weights} == {"float32"}
    train(model, settings, precision)
    found = model(tiles(), training=False)
    assert found.dtype == "float32"
    assert np.isfinite(found).all()


def test_a_saved_network_needs_neither_the_file_nor_this_module(file, tmp_path):
    model = with_probabilities(build(network(side=64, frozen=2)))
    images = tiles()
    np.savez(
        tmp_path / "tiles.npz", images=images, scores=np.asarray(model(images, training=False))
    )
    model.save(tmp_path / "model.keras")
    file.unlink()
    code = (
        "import keras, numpy as np, geolatents.learning.networks as n\n"
        f"m = keras.saving.load_model({str(tmp_path / 'model.keras')!r}, compile=False)\n"
        f"z = np.load({str(tmp_path / 'tiles.npz')!r})\n"
        "np.testing.assert_allclose(m(z['images'], training=False), z['scores'], rtol=1e-5)\n"
        "assert n.standardisation(m).mean == [90.0, 100.0, 110.0]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# ---- settings


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "backbone"}, "needs `backbone`"),
        ({"backbone": "vgg16"}, "needs `name: backbone`"),
        ({"weights": "a.keras"}, "`weights` needs `name: backbone`"),
        ({"name": "backbone", "backbone": "vgg16", "frozen": "all"}, "`frozen` needs `weights`"),
        ({"name": "backbone", "backbone": "vgg16", "sha256": "0" * 64}, "`sha256` needs `weights`"),
        (
            {"name": "backbone", "backbone": LITE, "weights": "imagenet"},
            "no weights of efficientnet_lite0",
        ),
        ({"name": "backbone", "backbone": LITE, "weights": "a.keras", "frozen": 6}, "at most 5"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        Network(**values)
