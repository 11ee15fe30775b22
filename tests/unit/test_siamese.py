"""The Siamese baseline: shapes, pairs, targets, errors beside constants, outputs."""

import csv

import keras
import numpy as np
import pytest
import tensorflow as tf
from training_data import write_files

from geolatents.errors import TrainingError
from geolatents.learning.augment import occlude, step_seed
from geolatents.learning.networks import build_network, with_probabilities
from geolatents.learning.prepare import read_tiles, training_statistics
from geolatents.olr.classifier import save_model
from geolatents.olr.siamese import (
    EVALUATION_PAIRS,
    EvaluationPairs,
    PairErrors,
    build_siamese,
    compare_pairs,
    drawn_batches,
    label_scores,
    load_teacher,
    pair_objective,
    pair_products,
    pair_targets,
    train_siamese,
)
from geolatents.settings.models import Classifier, Network, Occlusion, Siamese
from geolatents.stores import open_store, read_array, read_strings

TEACHER = Classifier(kind="classifier", dataset="toy")


def siamese(**changes):
    values = {
        "kind": "siamese",
        "teacher": "toy-classifier",
        "k": 4,
        "epochs": 4,
        "widths": [4, 8],
        "precision": "float32",
        "occlusion": Occlusion(min_area=0.05, max_area=0.3),
    }
    return Siamese(**(values | changes))


def untrained_teacher(mean=(1000, 1000), std=(200, 200), n_labels=3, seed=0):
    keras.utils.set_random_seed(seed)
    network = Network(widths=[4, 8], dropout=0)
    shape = (16, 16, len(mean))
    return with_probabilities(build_network(network, shape, n_labels, mean, std))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def trained(files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "toy-siamese" / "seed-3"
    folder.mkdir(parents=True)
    tiles = read_tiles(files.stores, files.labels, files.split)
    teacher = folder.parent / "teacher.keras"
    save_model(untrained_teacher(*training_statistics(tiles)), teacher)
    out = {
        name: folder / file
        for name, file in (
            ("model", "model.keras"),
            ("history", "history.csv"),
            ("predictions", "predictions.zarr"),
            ("embeddings", "embeddings.zarr"),
        )
    }
    train_siamese(
        siamese(),
        TEACHER,
        3,
        teacher,
        files.stores,
        files.labels,
        files.split,
        files.order,
        **out,
    )
    return out | {"teacher": teacher}


def test_loss_falls(trained):
    with trained["history"].open() as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0])[:4] == ["epoch", "loss", "validation_mse", "validation_r2"]
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    assert float(rows[-1]["validation_mse"]) < float(rows[0]["validation_mse"])


def test_outputs_fit_each_other(trained, files):
    group = open_store(trained["embeddings"])
    vectors = read_array(group, "embeddings")
    assert vectors.shape == (len(files.targets), 3, 4)
    assert vectors.dtype == np.float32
    assert vectors.min() >= 0, "the predecessor's vectors are not negative"
    predictions = open_store(trained["predictions"])
    np.testing.assert_array_equal(read_strings(group, "ids"), read_strings(predictions, "ids"))
    np.testing.assert_allclose(read_array(predictions, "scores"), label_scores(vectors), rtol=1e-6)
    attributes = dict(predictions.attrs)
    assert {
        "dataset": "toy",
        "model": "toy-siamese",
        "kind": "siamese",
    }.items() <= attributes.items()
    assert attributes["teacher"] == "toy-classifier"


def test_test_errors_stand_beside_constants(trained):
    pairs = open_store(trained["predictions"]).attrs["pairs"]
    assert set(pairs) == {"mse", "constant_mse", "zero_mse", "r2"}
    assert pairs["constant_mse"] <= pairs["zero_mse"]
    assert pairs["r2"] == pytest.approx(1 - pairs["mse"] / pairs["constant_mse"])


def test_saved_student_embeds_as_it_did(trained, files):
    student = keras.saving.load_model(trained["model"], compile=False)
    expected = read_array(open_store(trained["embeddings"]), "embeddings")[:8]
    np.testing.assert_allclose(student(files.images[:8], training=False), expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(8, 8, 1), (132, 327, 4), (64, 64, 13)])
def test_embeds_tiles_of_any_size_and_band_count(shape):
    bands = shape[2]
    network = Network(widths=[4, 8])
    teacher = build_network(network, shape, 5, [9] * bands, [2] * bands)
    student = build_siamese(siamese(k=3), shape, teacher, precision="mixed_bfloat16")
    vectors = student(np.ones((2, *shape), "uint16"), training=False)
    assert vectors.shape == (2, 5, 3)
    assert vectors.dtype == "float32"


def test_pairs_are_first_half_with_second_half():
    vectors = np.random.default_rng(0).random((6, 3, 4)).astype(np.float32)
    expected = np.einsum("tlk,tlk->tl", vectors[:3], vectors[3:])
    np.testing.assert_allclose(pair_products(vectors), expected, rtol=1e-5)
    found = pair_targets(tf.constant(vectors[..., 0]))
    np.testing.assert_allclose(found, vectors[:3, :, 0] * vectors[3:, :, 0])
    assert pair_products(vectors[:5]).shape == (2, 3), "an odd last tile has no partner"


def test_teacher_and_student_see_the_same_occluded_tiles():
    """A student whose products are the teacher's has no loss only if both saw the same."""
    teacher = untrained_teacher()
    scores = keras.layers.Reshape((3, 1))(teacher.output)
    student = keras.Model(teacher.input, scores)
    tiles = np.random.default_rng(0).integers(0, 3000, (8, 16, 16, 2)).astype("uint16")
    objective = pair_objective(student, teacher, siamese(), seed=0)
    # Batch normalisation of the student runs in training mode, so freeze it for the comparison.
    teacher.trainable = False
    pairs = objective.prepare((tiles, None), tf.constant(0))
    assert float(objective.loss(pairs)) == pytest.approx(0, abs=1e-10)


def test_only_the_student_learns():
    teacher = untrained_teacher()
    teacher.trainable = False
    student = build_siamese(siamese(), (16, 16, 2), teacher)
    before = [weight.copy() for weight in teacher.get_weights()]
    tiles = np.random.default_rng(0).integers(0, 3000, (8, 16, 16, 2)).astype("uint16")
    with tf.GradientTape() as tape:
        tape.watch([v.value for v in teacher.variables if "float" in v.dtype])
        objective = pair_objective(student, teacher, siamese(), seed=0)
        value = objective.loss(objective.prepare((tiles, None), tf.constant(0)))
    gradients = tape.gradient(
        value, [v.value for v in (*student.trainable_variables, *teacher.weights)]
    )
    n_student = len(student.trainable_variables)
    assert all(gradient is not None for gradient in gradients[:n_student])
    assert all(gradient is None for gradient in gradients[n_student:])
    for found, expected in zip(teacher.get_weights(), before, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_scores_are_bounded_lengths():
    vectors = np.array([[[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]]])
    np.testing.assert_allclose(label_scores(vectors), [[1.0, 0.5, 0.0]])


def test_errors_know_constant_and_zero():
    targets = np.array([[0.0, 0.2], [0.4, 0.2]], np.float32)
    found = compare_pairs(np.tile(targets.mean(axis=0), (2, 1)), targets)
    assert found.mse == pytest.approx(found.constant_mse) == pytest.approx(0.02)
    assert found.r2 == pytest.approx(0)
    assert found.zero_mse == pytest.approx((0.16 + 0.04 + 0.04) / 4)
    assert np.isnan(PairErrors(0.1, 0.0, 0.0).r2)


def test_evaluation_pairs_are_fixed_by_seed_and_part(files):
    tiles = read_tiles(files.stores, files.labels, files.split)
    teacher = untrained_teacher()
    student = build_siamese(siamese(), (16, 16, 2), teacher)

    def errors(seed, part):
        return EvaluationPairs(siamese(), seed, teacher, tiles, part).errors(student)

    assert errors(0, "test") == errors(0, "test")
    assert len({errors(0, "test").mse, errors(1, "test").mse, errors(0, "validation").mse}) == 3


def test_drawn_pairs_are_enough_and_never_a_tile_with_itself():
    rows = np.arange(100, 111)
    found = drawn_batches(rows, (64, 64, 3), 0, "test")
    assert found.shape[1] == 10
    assert found.size >= 2 * EVALUATION_PAIRS
    assert set(found.ravel().tolist()) == set(rows.tolist())
    assert all(len(set(batch.tolist())) == 10 for batch in found)
    assert drawn_batches(np.arange(9), (1000, 1000, 3), 0, "test").shape[1] == 2
    with pytest.raises(TrainingError, match="test part has too few tiles"):
        drawn_batches(np.arange(1), (64, 64, 3), 0, "test")


def test_a_teacher_of_other_labels_is_refused(files, tmp_path):
    tiles = read_tiles(files.stores, files.labels, files.split)
    save_model(untrained_teacher(n_labels=7), tmp_path / "other.keras")
    with pytest.raises(TrainingError, match=r"other labels[\s\S]*3 labels[\s\S]*7 labels"):
        load_teacher(tmp_path / "other.keras", tiles)
    save_model(untrained_teacher((0, 0, 0), (1, 1, 1)), tmp_path / "bands.keras")
    with pytest.raises(TrainingError, match="numbers of bands"):
        load_teacher(tmp_path / "bands.keras", tiles)


def test_fill_is_black_or_the_training_mean():
    teacher = untrained_teacher((1000, 2000), (1, 1))
    tiles = np.full((2, 16, 16, 2), 7, "uint16")
    seen = []
    student = keras.Model(teacher.input, keras.layers.Reshape((3, 1))(teacher.output))
    for fill in ("black", "mean"):
        settings = siamese(occlusion=Occlusion(min_area=0.3, max_area=0.3, fill=fill))
        from geolatents.olr.siamese import occlusion_fill

        hidden = occlude(tiles, 0.3, 0.3, occlusion_fill(student, settings), step_seed(0, 0))
        seen.append({tuple(pixel) for pixel in np.asarray(hidden).reshape(-1, 2)})
    assert seen == [{(7, 7), (0, 0)}, {(7, 7), (1000, 2000)}]
