"""Pairs: targets, likeness, weights, partners, views, errors beside predictors that know less."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from test_siamese import siamese, untrained_teacher
from training_data import write_files

from geolatents.errors import TrainingError
from geolatents.learning.prepare import read_order, read_tiles
from geolatents.olr import pairs
from geolatents.olr.pairs import (
    EVALUATION_PAIRS,
    EvaluationPairs,
    PairErrors,
    Partners,
    Views,
    compare_pairs,
    descriptors,
    drawn_batches,
    likeness,
    likeness_followed,
    pair_batches,
    pair_products,
    pair_targets,
    siamese_objective,
)
from geolatents.olr.siamese import build_siamese
from geolatents.olr.siamese_network import EMBEDDING, SCORES

PREVALENCE = np.array([0.5, 0.4, 0.25])


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    files = write_files(tmp_path_factory.mktemp("pairs"))
    found = read_tiles(files.stores, files.labels, files.split)
    return found, read_order(files.order, found)


def some_batch(n=8, seed=0):
    random = np.random.default_rng(seed)
    images = random.integers(0, 3000, (n, 16, 16, 2)).astype("uint16")
    labels = random.integers(0, 2, (n, 3)).astype(np.uint8)
    return images, labels, labels.astype(np.float32), np.arange(n, dtype=np.int32)


def student_that_knows(teacher):
    """Vectors of length one number: the teacher's probability."""
    vectors = keras.layers.Reshape((3, 1))(teacher.output)
    return keras.Model(teacher.input, {EMBEDDING: vectors, SCORES: teacher.output})


# ---- likeness


def test_likeness_by_labels_is_the_share_of_common_ones():
    a, b = np.array([[1, 1, 0, 0]], "f4"), np.array([[0, 1, 1, 1]], "f4")
    assert float(likeness(siamese(within="labels"), a, b)[0]) == pytest.approx(1 / 4)
    assert float(likeness(siamese(within="probability"), a, b)[0]) == 1
    nothing = np.zeros((1, 4), "f4")
    assert float(likeness(siamese(within="labels"), nothing, nothing)[0]) == 0


def test_likeness_by_cover_is_the_common_share():
    a, b = np.array([[0.7, 0.3, 0.0]], "f4"), np.array([[0.2, 0.3, 0.5]], "f4")
    assert float(likeness(siamese(within="cover"), a, b)[0]) == pytest.approx(0.5)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(0, 1), min_size=4, max_size=4), min_size=2, max_size=6))
def test_likeness_is_symmetric_bounded_and_one_with_itself(rows):
    values = np.asarray(rows, np.float32)
    found = np.asarray(likeness(siamese(), values[:, None], values[None]))
    np.testing.assert_allclose(found, found.T)
    assert ((found >= 0) & (found <= 1 + 1e-6)).all()
    np.testing.assert_allclose(np.diag(found), (values.sum(axis=1) > 0).astype(float), rtol=1e-6)


def test_cover_is_asked_for_where_it_is_needed():
    labels = np.ones((2, 3), np.uint8)
    with pytest.raises(TrainingError, match="presence alone"):
        descriptors(siamese(within="cover"), labels, None)
    cover = np.array([[0.5, np.nan]], "f4")
    np.testing.assert_array_equal(descriptors(siamese(within="cover"), labels, cover), [[0.5, 0]])


def test_vectors_that_follow_the_likeness_are_told_from_those_that_do_not():
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, (60, 5)).astype("f4")
    follows = np.repeat(labels[:, None], 2, axis=1)
    assert likeness_followed(siamese(), follows, labels) > 0.9
    assert abs(likeness_followed(siamese(), random.permuted(follows, axis=0), labels)) < 0.2
    assert np.isnan(likeness_followed(siamese(within="probability"), follows, labels))
    assert np.isnan(likeness_followed(siamese(), follows[:1], labels[:1]))


# ---- objective


def test_one_pair_per_tile_is_first_half_with_second_half():
    vectors = np.random.default_rng(0).random((6, 3, 4)).astype(np.float32)
    expected = np.einsum("tlk,tlk->tl", vectors[:3], vectors[3:])
    np.testing.assert_allclose(pair_products(vectors), expected, rtol=1e-5)
    known = siamese(method="predecessor")
    found = pair_targets(known, tf.constant(vectors[..., 0]), tf.ones((6, 2)))
    np.testing.assert_allclose(found, vectors[:3, :, 0] * vectors[3:, :, 0])
    assert pair_products(vectors[:5]).shape == (2, 3), "an odd last tile has no partner"


@pytest.mark.parametrize("which", ["all", "one"])
def test_teacher_and_student_see_the_same_occluded_tiles(which):
    """A student whose products are the teacher's has no loss only if both saw the same."""
    teacher = untrained_teacher()
    student = student_that_knows(teacher)
    teacher.trainable = False

    def loss(view):
        chosen = siamese(method="predecessor", pairs=which, teacher_view=view)
        objective = siamese_objective(student, teacher, chosen, 0, PREVALENCE)
        return float(objective.loss(objective.prepare(some_batch(), tf.constant(0))))

    assert loss("same") == pytest.approx(0, abs=1e-10)
    assert min(loss("other"), loss("whole")) > 1e-9


def test_all_pairs_are_those_that_a_loop_finds():
    random = np.random.default_rng(1)
    vectors = random.normal(size=(5, 3, 4)).astype("f4")
    known, described = (
        random.random((5, 3)).astype("f4"),
        random.integers(0, 2, (5, 3)).astype("f4"),
    )
    chosen = siamese(max_weight=6)
    found = pairs._all_pairs(
        chosen, pairs._pair_weights(PREVALENCE, 6), vectors, known, described, np.arange(5)
    )
    share = PREVALENCE**2
    most = np.clip((1 - share) / share, 1, 6)
    errors = []
    for x in range(5):
        for y in set(range(5)) - {x}:
            both = known[x] * known[y]
            alike = float(likeness(chosen, described[x], described[y]))
            weight = (1 + (most - 1) * both) / (1 + (most - 1) * share)
            errors.append(weight * ((vectors[x] * vectors[y]).sum(axis=1) - both * alike) ** 2)
    assert float(found) == pytest.approx(np.mean(errors), rel=1e-5)


def test_weights_lift_pairs_that_share_a_rare_label():
    weigh = pairs._pair_weights(np.array([0.5, 0.01]), 20)
    both, neither = np.asarray(weigh(np.ones(2, "f4"))), np.asarray(weigh(np.zeros(2, "f4")))
    np.testing.assert_allclose(both / neither, [3, 20], rtol=1e-5)
    np.testing.assert_allclose(0.25 * both[0] + 0.75 * neither[0], 1, rtol=1e-5)


@pytest.mark.parametrize("method", ["polar", "prototype", "predecessor"])
def test_only_the_student_learns(method):
    teacher = untrained_teacher()
    teacher.trainable = False
    student = build_siamese(siamese(method=method), (16, 16, 2), teacher)
    before = [weight.copy() for weight in teacher.get_weights()]
    with tf.GradientTape() as tape:
        tape.watch([v.value for v in teacher.variables if "float" in v.dtype])
        objective = siamese_objective(student, teacher, siamese(method=method), 0, PREVALENCE)
        value = objective.loss(objective.prepare(some_batch(), tf.constant(0)))
    gradients = tape.gradient(
        value, [v.value for v in (*student.trainable_variables, *teacher.weights)]
    )
    n_student = len(student.trainable_variables)
    assert all(gradient is not None for gradient in gradients[:n_student])
    assert all(gradient is None for gradient in gradients[n_student:])
    for found, expected in zip(teacher.get_weights(), before, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_copied_trunk_keeps_its_statistics():
    teacher = untrained_teacher()
    student = build_siamese(siamese(), (16, 16, 2), teacher)
    moving = [w for w in student.weights if "moving" in w.path]
    before = [np.array(w) for w in moving]
    objective = siamese_objective(student, teacher, siamese(), 0, PREVALENCE)
    objective.loss(objective.prepare(some_batch(), tf.constant(0)))
    assert moving
    for weight, expected in zip(moving, before, strict=True):
        np.testing.assert_array_equal(weight, expected)


# ---- views


@pytest.mark.parametrize("fill", ["black", "mean", "blur"])
def test_hidden_pixels_are_black_the_mean_or_blurred(fill):
    teacher = untrained_teacher((1000, 2000), (1, 1))
    tiles = np.full((2, 16, 16, 2), 7, "uint16")
    chosen = siamese(occlusion={"min_area": 0.3, "max_area": 0.3, "fill": fill})
    hidden, whole = Views(chosen, teacher).of(tiles, tf.constant([0, 0]))
    found = {tuple(pixel) for pixel in np.asarray(hidden).reshape(-1, 2)}
    expected = {"black": {(7, 7), (0, 0)}, "mean": {(7, 7), (1000, 2000)}, "blur": {(7, 7)}}
    assert found == expected[fill]
    np.testing.assert_array_equal(whole, tiles)


def test_other_view_is_another_rectangle():
    chosen = siamese(teacher_view="other", occlusion={"min_area": 0.3, "max_area": 0.3})
    tiles = np.full((4, 16, 16, 2), 7, "uint16")
    student, teacher = Views(chosen, untrained_teacher()).of(tiles, tf.constant([0, 0]))
    assert (np.asarray(student) != np.asarray(teacher)).any(axis=(1, 2, 3)).all()
    assert ((np.asarray(teacher) != 7).mean(axis=(1, 2, 3)) > 0.2).all()


# ---- partners


def test_partners_share_a_label_and_rare_ones_meet_more_often(tiles):
    found, order = tiles
    chosen = siamese(partners=0.5)
    described = found.labels.astype("f4")

    def meetings(share):
        pairs_with = np.zeros(3)
        for epoch in range(4):
            batches = pair_batches(
                found, order, described, chosen.model_copy(update={"partners": share}), 5, epoch
            )
            for _, labels, same, number in batches:
                np.testing.assert_array_equal(labels, same)
                assert number.tolist() == list(range(len(labels)))
                count = labels.sum(axis=0).astype(int)
                pairs_with += count * (count - 1) / 2
        return pairs_with

    assert meetings(0.5)[2] > 1.2 * meetings(0.0)[2]


def test_a_partner_has_a_label_of_the_tile_and_is_a_training_tile(tiles):
    found, _ = tiles
    rows = found.of("train")[:10]
    mixed = Partners(found).exchanged(rows, 0.5, np.random.default_rng(0))
    np.testing.assert_array_equal(mixed[:5], rows[:5])
    assert set(mixed.tolist()) <= set(found.of("train").tolist())
    for row, mate in zip(rows[:5], mixed[5:], strict=True):
        labels = found.labels[row]
        assert (labels & found.labels[mate]).any() or (not labels.any() and mate == row)


def test_an_epoch_that_goes_on_has_the_batches_that_were_left(tiles):
    found, order = tiles
    described = found.labels.astype("f4")
    whole = list(pair_batches(found, order, described, siamese(), 5, 1))
    rest = list(pair_batches(found, order, described, siamese(), 5, 1, start=3))
    for (images, *_), (expected, *_) in zip(rest, whole[3:], strict=True):
        np.testing.assert_array_equal(images, expected)


# ---- errors


def test_errors_know_constant_zero_and_lengths():
    targets = np.array([[0.0, 0.2], [0.4, 0.2]], np.float32)
    constant = np.tile(targets.mean(axis=0), (2, 1))
    found = compare_pairs(constant, targets, targets / 2)
    assert found.mse == pytest.approx(found.constant_mse) == pytest.approx(0.02)
    assert found.rank1_mse == pytest.approx(0, abs=1e-12), "lengths that are right but for a factor"
    assert found.r2 == pytest.approx(0)
    assert found.zero_mse == pytest.approx((0.16 + 0.04 + 0.04) / 4)
    assert np.isnan(PairErrors(0.1, 0.1, 0.0, 0.0).r2)


def test_evaluation_pairs_are_fixed_by_seed_and_part(tiles):
    found, _ = tiles
    teacher = untrained_teacher()
    student = build_siamese(siamese(), (16, 16, 2), teacher)
    described = found.labels.astype("f4")

    def errors(seed, part):
        chosen = EvaluationPairs(siamese(), seed, teacher, found, described, part)
        return chosen.errors(student)

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
