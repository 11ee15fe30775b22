"""The Siamese network: shapes, starts, views, outputs of all methods, and what is refused."""

import csv

import keras
import numpy as np
import pytest
import tensorflow as tf
from training_data import write_files

from geolatents.errors import TrainingError
from geolatents.learning.networks import build_network, with_probabilities
from geolatents.learning.prepare import read_order, read_tiles, training_statistics
from geolatents.olr.classifier import save_model
from geolatents.olr.pairs import descriptors, likeness, likeness_followed
from geolatents.olr.refine import refine_directions
from geolatents.olr.siamese import build_siamese, embed, fit_siamese, load_teacher, train_siamese
from geolatents.olr.siamese_network import (
    EMBEDDING,
    SCORES,
    copied_weights,
    flat_outputs,
    split_outputs,
)
from geolatents.settings.models import Classifier, Network, Occlusion, Siamese
from geolatents.stores import open_store, read_array, read_strings

TEACHER = Classifier(kind="classifier", dataset="toy")
METHODS = ("polar", "prototype", "predecessor")


def siamese(**changes):
    values = {
        "kind": "siamese",
        "teacher": "toy-classifier",
        "k": 4,
        "epochs": 4,
        "widths": [4, 8],
        "precision": "float32",
        "refine_steps": 20,
        "occlusion": {"min_area": 0.05, "max_area": 0.3},
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


@pytest.fixture(scope="module", params=METHODS)
def trained(request, files, tmp_path_factory):
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
        siamese(method=request.param),
        TEACHER,
        3,
        teacher,
        files.stores,
        files.labels,
        files.split,
        files.order,
        **out,
    )
    return out | {"teacher": teacher, "method": request.param}


def test_loss_falls(trained):
    with trained["history"].open() as stream:
        rows = list(csv.DictReader(stream))
    figures = ("mse", "r2", "likeness", "macro_ap")
    assert list(rows[0])[:6] == ["epoch", "loss", *(f"validation_{name}" for name in figures)]
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    assert max(float(r["validation_r2"]) for r in rows) > float(rows[0]["validation_r2"])


def test_outputs_fit_each_other(trained, files):
    group = open_store(trained["embeddings"])
    vectors = read_array(group, "embeddings")
    assert vectors.shape == (len(files.targets), 3, 4)
    assert vectors.dtype == np.float32
    predictions = open_store(trained["predictions"])
    np.testing.assert_array_equal(read_strings(group, "ids"), read_strings(predictions, "ids"))
    scores, lengths = read_array(predictions, "scores"), np.linalg.norm(vectors, axis=-1)
    assert ((scores >= 0) & (scores <= 1)).all()
    if trained["method"] == "predecessor":
        assert vectors.min() >= 0, "the predecessor's vectors are not negative"
        np.testing.assert_allclose(scores, np.minimum(lengths, 1), atol=1e-5)
    if trained["method"] == "polar":
        assert (lengths <= scores + 1e-5).all(), (
            "means of vectors are at most as long as their mean length"
        )
    assert ("prototypes" in group) == (trained["method"] == "prototype")
    attributes = dict(predictions.attrs)
    named = {"dataset": "toy", "model": "toy-siamese", "kind": "siamese"}
    assert named.items() <= attributes.items()
    assert attributes["teacher"] == "toy-classifier"


def test_test_errors_stand_beside_constants(trained):
    pairs = open_store(trained["predictions"]).attrs["pairs"]
    assert set(pairs) == {"mse", "rank1_mse", "constant_mse", "zero_mse", "r2"}
    assert pairs["constant_mse"] <= pairs["zero_mse"]
    assert pairs["r2"] == pytest.approx(1 - pairs["mse"] / pairs["constant_mse"])


def test_saved_student_embeds_as_it_did(trained, files):
    student = keras.saving.load_model(trained["model"], compile=False)
    expected = read_array(open_store(trained["embeddings"]), "embeddings")[:8]
    views = [files.images[:8]]
    if trained["method"] != "predecessor":
        views = [turned for flip in flips(views[0]) for turned in (flip, flip.swapaxes(1, 2))]
    found = np.mean([student(view, training=False)[EMBEDDING] for view in views], axis=0)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def flips(tiles):
    return [tiles, tiles[:, ::-1], tiles[:, :, ::-1], tiles[:, ::-1, ::-1]]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("trunk", ["teacher", "own"])
@pytest.mark.parametrize("shape", [(8, 8, 1), (132, 327, 4)])
def test_embeds_tiles_of_any_size_and_band_count(shape, trunk, method):
    if (trunk, method) == ("teacher", "predecessor"):
        pytest.skip("the predecessor's has a trunk of its own")
    bands = shape[2]
    teacher = build_network(Network(widths=[4, 8]), shape, 5, [9] * bands, [2] * bands)
    settings = siamese(k=3, method=method, trunk=trunk)
    student = build_siamese(
        settings, shape, with_probabilities(teacher), precision="mixed_bfloat16"
    )
    out = student(np.ones((2, *shape), "uint16"), training=False)
    assert out[EMBEDDING].shape == (2, 5, 3)
    assert out[SCORES].shape == (2, 5)
    assert {out[EMBEDDING].dtype, out[SCORES].dtype} == {tf.float32}


def test_a_polar_student_starts_with_the_teachers_scores(files):
    teacher = untrained_teacher()
    tiles = files.images[:6]
    out = build_siamese(siamese(), (16, 16, 2), teacher)(tiles, training=False)
    scores = np.asarray(teacher(tiles, training=False))
    np.testing.assert_allclose(out[SCORES], scores, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(out[EMBEDDING], axis=-1), scores, rtol=1e-5)


@pytest.mark.parametrize("method", ["polar", "prototype"])
def test_a_student_of_a_teacher_that_another_process_named(method):
    keras.backend.clear_session()
    teacher = untrained_teacher()
    keras.backend.clear_session()  # the same names again, as in the process that reads a saved teacher
    names = [
        layer.name for layer in build_siamese(siamese(method=method), (16, 16, 2), teacher).layers
    ]
    assert len(set(names)) == len(names)


def test_vectors_and_scores_come_apart_again(files):
    student = build_siamese(siamese(), (16, 16, 2), untrained_teacher())
    out = student(files.images[:6], training=False)
    flat = np.asarray(flat_outputs(student)(files.images[:6], training=False))
    vectors, scores = split_outputs(flat, 3)
    np.testing.assert_array_equal(vectors, out[EMBEDDING])
    np.testing.assert_array_equal(scores, out[SCORES])


def test_a_teacher_of_other_labels_is_refused(files, tmp_path):
    tiles = read_tiles(files.stores, files.labels, files.split)
    save_model(untrained_teacher(n_labels=7), tmp_path / "other.keras")
    with pytest.raises(TrainingError, match=r"other labels[\s\S]*3 labels[\s\S]*7 labels"):
        load_teacher(tmp_path / "other.keras", tiles)
    save_model(untrained_teacher((0, 0, 0), (1, 1, 1)), tmp_path / "bands.keras")
    with pytest.raises(TrainingError, match="numbers of bands"):
        load_teacher(tmp_path / "bands.keras", tiles)


def test_the_predecessors_values_give_way_to_what_is_given():
    found = siamese(method="predecessor", occlusion={"max_area": 0.2}, learning_rate=0.1)
    assert (found.trunk, found.pairs, found.score_weight) == ("own", "one", 0.0)
    assert found.occlusion == Occlusion(min_area=0.05, max_area=0.2, fill="black")
    assert found.learning_rate == 0.1
    assert siamese(method="predecessor", pairs="all").pairs == "all"
    assert Siamese.parse(found.complete()) == found


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "predecessor", "trunk": "teacher"}, "`trunk` of its own"),
        ({"augmentation": {"mixup": 0.2}}, "neither `mixup` nor"),
        ({"trunk": "own", "trunk_rate": 0.1}, "`trunk_rate` needs"),
        ({"optimizer": "rmsprop", "trunk_rate": 0.1}, "`trunk_rate` needs"),
    ],
)
def test_what_does_not_go_together_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        siamese(**changes)


def test_refinement_makes_directions_follow_the_likeness_and_leaves_the_scores(files):
    tiles = read_tiles(files.stores, files.labels, files.split)
    teacher = untrained_teacher(*training_statistics(tiles))
    student = build_siamese(siamese(), (16, 16, 2), teacher)
    described = tiles.labels.astype("f4")
    train = tiles.of("train")

    def follows():
        vectors, scores = embed(student, tiles, flips=False)
        unit = vectors[train] / np.linalg.norm(vectors[train], axis=-1, keepdims=True)
        known = np.asarray(teacher(tiles.take(train)[0], training=False))
        alike = np.asarray(likeness(siamese(), described[train][:, None], described[train][None]))
        both = known[:, None] * known[None] * (1 - np.eye(len(train)))[..., None]
        errors = np.square(np.einsum("xik,yik->xyi", unit, unit) - alike[..., None])
        missed = np.sum(both * errors) / np.sum(both)
        return likeness_followed(siamese(), unit, described[train]), missed, scores

    before, missed, scores = follows()
    weights = {w.path: np.array(w) for w in student.weights}
    refine_directions(student, teacher, siamese(refine_steps=300), tiles, described, seed=1)
    after, missed_after, same = follows()
    assert after > before + 0.05
    assert missed_after < missed / 2
    np.testing.assert_array_equal(scores, same)
    changed = {w.path for w in student.weights if not np.array_equal(w, weights[w.path])}
    assert {path.split("/")[0] for path in changed} == {"hidden", "vectors"}

    again = build_siamese(siamese(), (16, 16, 2), teacher)
    again.set_weights([weights[w.path] for w in student.weights])
    refine_directions(again, teacher, siamese(refine_steps=300), tiles, described, seed=1)
    for one, two in zip(student.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-4)


def test_what_was_copied_may_learn_slower(files):
    """At a rate of next to nothing the trunk stays the teacher's, and the new layer learns all the same."""
    tiles = read_tiles(files.stores, files.labels, files.split)
    teacher = untrained_teacher(*training_statistics(tiles))
    settings = siamese(trunk_rate=1e-9, epochs=1, average=0.0, weight_decay=0.0)
    described = descriptors(settings, tiles.labels, None)
    student, _ = fit_siamese(settings, 0, teacher, tiles, read_order(files.order, tiles), described)
    start = build_siamese(settings, tiles.images.shape, teacher)
    copied = copied_weights(student, teacher)
    assert {path.partition("/")[0] for path in copied} == {
        layer.name for layer in teacher.layers if layer.weights
    }
    for layer in (layer for layer in teacher.layers if layer.weights):
        for before, after in zip(
            layer.get_weights(), student.get_layer(layer.name).get_weights(), strict=True
        ):
            np.testing.assert_allclose(after, before, atol=1e-6)
    assert not np.allclose(*(m.get_layer("vectors").kernel for m in (start, student)), atol=1e-3)
