"""Decoders: tiles redrawn from codes, measured beside what needs no network."""

import json

import keras
import numpy as np
import pytest
from olr_data import write_predictions, write_vectors
from PIL import Image
from training_data import write_files

from geolatents.errors import TrainingError, TrainingStopped
from geolatents.learning.checkpoints import Checkpoints
from geolatents.learning.prepare import read_order, read_tiles, training_statistics
from geolatents.olr import decoder as module
from geolatents.olr.decoder import Code, fit_decoder, read_codes, train_decoder
from geolatents.olr.decoder_figure import draw_decoder
from geolatents.olr.decoder_network import build_decoder, one_decoder
from geolatents.olr.redrawing import (
    StandardTiles,
    effective_dimensions,
    explained,
    gain_interval,
    label_set_errors,
    principal_components,
)
from geolatents.settings.models import Decoder
from geolatents.stores import new_store, open_store, read_array, write_strings

QUICK = Decoder(epochs=2, widths=[8, 4], precision="float32", deterministic=True, average=0.5)


def write_codes(folder, files):
    """Embeddings that know the label and how bright it is; scores that know the label alone."""
    ids = [f"scene-{i}-0" for i in range(len(files.images))]
    bright = files.images.mean((1, 2, 3)) / 1000 - 1
    vectors = np.zeros((len(ids), 3, 2), np.float32)
    vectors[..., 0] = files.targets
    vectors[:, 0, 1] = bright
    with new_store(folder / "embeddings.zarr", {}) as group:
        write_strings(group, "ids", ids[::-1], "tile")
        write_vectors(group, "embeddings", vectors[::-1], ("tile", "label", "k"))
    scores = 0.1 + 0.8 * files.targets
    write_predictions(folder / "predictions.zarr", files.targets, scores, files.parts, ids, n=3)
    return ids


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("decoder")
    made = write_files(folder, n=120)
    write_codes(folder, made)
    return folder, made


def opened(files):
    folder, made = files
    labelled = read_tiles(made.stores, made.labels, made.split)
    tiles = StandardTiles(labelled, *training_statistics(labelled))
    codes = read_codes(folder / "embeddings.zarr", folder / "predictions.zarr", labelled.ids)
    return Code(tiles, codes)


def train(files, out, settings=QUICK, predictions=None):
    folder, made = files
    train_decoder(
        settings, 0,
        stores=made.stores, labels=made.labels, split=made.split, order=made.order,
        embeddings=folder / "embeddings.zarr",
        predictions=predictions or folder / "predictions.zarr",
        model=out / "model.keras", scores_model=out / "scores-model.keras",
        history=out / "history.csv", scores=out / "scores.json", redrawn=out / "redrawn.zarr",
    )  # fmt: skip
    return json.loads((out / "scores.json").read_text())


@pytest.mark.parametrize("shape", [(16, 16, 2), (21, 13, 5), (33, 64, 1)])
def test_any_size_and_any_number_of_bands_start_at_the_mean_image(shape):
    codes = {"embeddings": np.random.default_rng(0).random((9, 6), np.float32)}
    mean = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    decoder = one_decoder(build_decoder(QUICK, codes, mean), "embeddings")
    drawn = np.asarray(decoder(codes["embeddings"]))
    assert drawn.shape == (9, *shape)
    assert drawn.dtype == np.float32
    np.testing.assert_allclose(drawn, np.broadcast_to(mean, drawn.shape), atol=1e-6)


def test_a_decoder_is_trained_measured_and_drawn(files, tmp_path):
    _, made = files
    found = train(files, tmp_path, QUICK.model_copy(update={"epochs": 30, "learning_rate": 0.01}))
    shares = found["explained"]
    assert set(shares) == {
        "mean", "embeddings", "scores", "pca", "pca_effective", "label_set_mean",
    }  # fmt: skip
    assert shares["mean"] == 0
    assert shares["embeddings"] > 0.1
    assert shares["label_set_mean"] > 0
    assert shares["pca"] >= shares["pca_effective"] > 0
    assert found["code"]["numbers"] == 6
    assert found["code"]["scores"] == 3
    assert 1 <= found["code"]["effective"] <= 4
    low, high = found["gain"]["interval"]
    assert low <= found["gain"]["value"] <= high
    assert found["gain"]["resampled"] == "tiles"
    assert found["n_tiles"] == {"train": 72, "validation": 24, "test": 23}
    assert len(found["per_label"]) == 3
    assert (
        sum(one["tiles"] for one in found["per_label"].values())
        == made.targets[made.parts == "test"].sum()
    )
    assert len((tmp_path / "history.csv").read_text().splitlines()) == 31

    code = opened(files)
    test = code.tiles.tiles.of("test")
    saved = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    images = code.tiles.take(test)
    drawn = np.asarray(saved(code.codes["embeddings"][test]))
    mean = code.tiles.mean_of(code.tiles.tiles.of("train"))
    share = 1 - ((images - drawn) ** 2).sum() / ((images - mean) ** 2).sum()
    assert shares["embeddings"] == pytest.approx(share, abs=1e-4)
    group = open_store(tmp_path / "redrawn.zarr")
    assert read_array(group, "original").shape == (8, 16, 16, 2)
    draw_decoder(tmp_path / "redrawn.zarr", tmp_path / "decoder.png")
    with Image.open(tmp_path / "decoder.png") as image:
        assert image.height > image.width


def test_a_training_goes_on_where_it_stopped(files, tmp_path, monkeypatch):
    code = opened(files)
    labelled = code.tiles.tiles
    order = read_order(files[1].order, labelled)
    mean = code.tiles.mean_of(labelled.of("train"))
    whole, _ = fit_decoder(QUICK, 3, code, mean, order)
    states = Checkpoints(tmp_path / "key", "toy/decoder", minutes=0)
    calls = []

    def batches(*arguments):
        for batch in undisturbed(*arguments):
            calls.append(1)
            if len(calls) == 6:
                raise TrainingStopped("stopped")
            yield batch

    undisturbed = module._batches
    with monkeypatch.context() as patch:
        patch.setattr(module, "_batches", batches)
        with pytest.raises(TrainingStopped):
            fit_decoder(QUICK, 3, code, mean, order, states)
    resumed, state = fit_decoder(QUICK, 3, code, mean, order, states)
    assert state.epoch == 2
    for one, other in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_refused_network_has_no_decoder(files, tmp_path):
    store = tmp_path / "refused.zarr"
    write_predictions(
        store, np.empty((0, 3)), np.empty((0, 3)), [], [], n=3, status="refused", reason="weak"
    )
    found = train(files, tmp_path, predictions=store)
    assert found == {"status": "refused", "reason": "weak"}
    assert "refused: weak" in (tmp_path / "model.keras").read_text()
    draw_decoder(tmp_path / "redrawn.zarr", tmp_path / "decoder.png")


def test_codes_of_other_tiles_are_named(files):
    folder, _ = files
    with pytest.raises(TrainingError, match="have no embeddings, such as 'strange'"):
        read_codes(folder / "embeddings.zarr", folder / "predictions.zarr", np.array(["strange"]))


def test_principal_components_are_those_of_the_singular_values(files):
    code = opened(files)
    train = code.tiles.tiles.of("train")
    mean = code.tiles.mean_of(train)
    found = principal_components(code.tiles, train, mean, 5)
    flat = (code.tiles.take(train) - mean).reshape(len(train), -1)
    _, _, axes = np.linalg.svd(flat, full_matrices=False)
    np.testing.assert_allclose(np.abs(found.axes @ axes[:5].T), np.eye(5), atol=1e-2)
    many = principal_components(code.tiles, train, mean, 10_000)
    np.testing.assert_allclose(many.draw(code.tiles.take(train)), code.tiles.take(train), atol=0.01)


def test_the_mean_of_a_label_set_is_that_of_training(files):
    code = opened(files)
    labelled = code.tiles.tiles
    train, test = labelled.of("train"), labelled.of("test")
    mean = code.tiles.mean_of(train)
    found = label_set_errors(code.tiles, train, test, mean)
    own = train[(labelled.labels[train] == labelled.labels[test[3]]).all(axis=1)]
    drawn = code.tiles.take(own).mean(axis=0) if len(own) else mean
    expected = ((code.tiles.take(test[3:4])[0] - drawn) ** 2).sum()
    assert found[3] == pytest.approx(expected, rel=1e-4)


def test_effective_dimensions_and_shares():
    random = np.random.default_rng(0)
    assert effective_dimensions(random.normal(size=(4000, 5))) == pytest.approx(5, abs=0.05)
    line = np.outer(random.normal(size=100), np.ones(5))
    assert effective_dimensions(line) == pytest.approx(1, abs=1e-6)
    assert effective_dimensions(np.ones((4, 3))) == 1
    ones = np.ones(6)
    assert explained(0.25 * ones, ones) == 0.75
    assert explained(ones, 0 * ones) is None
    groups = np.array(list("aabbcc"))
    assert gain_interval(0.5 * ones, 0.75 * ones, ones, groups) == [0.25, 0.25]
    assert gain_interval(ones, ones, ones, np.full(6, "one")) is None
