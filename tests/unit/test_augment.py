"""Augmentation: shapes, labels, determinism, and what each change really does."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from geolatents.learning.augment import _Draws, augment, occlude, step_seed
from geolatents.settings.models import Augmentation

NONE = Augmentation(flips=False, rotations=False, gain=0)
ALL = Augmentation(shift=0.2, zoom=0.2, angle=30, gain=0.2, band_gain=0.1, mixup=0.4, occlusion=0.5)
FILL = tf.zeros(3)


def batch(shape=(32, 12, 12, 3), dtype="uint16"):
    rng = np.random.default_rng(0)
    labels = (rng.random((shape[0], 5)) < 0.4).astype(np.uint8)
    return rng.integers(1, 4000, shape).astype(dtype), labels


def run(chosen, tiles, labels, seed=0, step=0):
    found = augment(tiles, labels, chosen, step_seed(seed, step), FILL)
    return [np.asarray(values) for values in found]


@pytest.mark.parametrize("shape", [(8, 12, 12, 3), (8, 9, 20, 3)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_keeps_shapes_and_stays_finite(shape, dtype):
    tiles, labels = batch(shape, "uint16")
    changed, mixed = run(ALL, tiles.astype(dtype), labels)
    assert changed.shape == shape
    assert changed.dtype == mixed.dtype == np.float32
    assert mixed.shape == labels.shape
    assert np.isfinite(changed).all()


def test_nothing_changes_without_settings():
    tiles, labels = batch()
    changed, mixed = run(NONE, tiles, labels)
    np.testing.assert_array_equal(changed, tiles)
    np.testing.assert_array_equal(mixed, labels)


def test_depends_on_seed_and_step_alone():
    tiles, labels = batch()
    first, again = run(ALL, tiles, labels, 3, 7), run(ALL, tiles, labels, 3, 7)
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[0], run(ALL, tiles, labels, 3, 8)[0])
    assert not np.array_equal(first[0], run(ALL, tiles, labels, 4, 7)[0])


def test_zoom_and_angle_move_nothing_out_of_the_centre():
    tiles = np.full((16, 13, 13, 1), 100, "uint16")
    tiles[:, 5:8, 5:8] = 900
    labels = np.zeros((16, 1), np.uint8)
    chosen = NONE.model_copy(update={"zoom": 0.3, "angle": 90.0})
    changed, _ = run(chosen, tiles, labels)
    np.testing.assert_allclose(changed[:, 6, 6, 0], 900, rtol=1e-3)
    assert changed.min() >= 99.9
    assert changed.max() <= 900.1
    bright = (changed[..., 0] > 500).sum(axis=(1, 2))
    assert bright.min() < 9 < bright.max(), "some smaller, some larger"


def test_a_quarter_turn_is_a_quarter_turn(monkeypatch):
    """Of all angles up to 90 degrees the largest, and no zoom."""
    tiles, labels = batch((4, 12, 12, 3))
    monkeypatch.setattr(_Draws, "uniform", lambda self: tf.ones(4))
    changed, _ = run(NONE.model_copy(update={"angle": 90.0}), tiles, labels)
    turned = [np.rot90(tiles, turns, axes=(1, 2)) for turns in (1, 3)]
    assert min(np.abs(changed - turn).max() for turn in turned) < 0.1


def test_a_graph_gives_what_eager_gives():
    tiles, labels = batch()
    graph = tf.function(lambda step: augment(tiles, labels, ALL, step_seed(0, step), FILL))
    np.testing.assert_allclose(
        graph(tf.constant(5))[0], run(ALL, tiles, labels, 0, 5)[0], rtol=1e-6
    )


def test_square_tiles_take_all_eight_positions_and_others_four():
    for shape, rotations, count in (((200, 5, 5, 3), True, 8), ((200, 5, 7, 3), True, 4)):
        tile = np.arange(np.prod(shape[1:]), dtype=np.float32).reshape(1, *shape[1:])
        tiles = np.repeat(tile, shape[0], axis=0)
        chosen = NONE.model_copy(update={"flips": True, "rotations": rotations})
        changed, labels = run(chosen, tiles, np.ones((shape[0], 1)))
        positions = {image.tobytes() for image in changed}
        assert len(positions) == count
        assert {tuple(np.sort(image.ravel())) for image in changed} == {tuple(tile.ravel())}
        assert labels.min() == 1


def test_rotations_alone_never_mirror():
    tile = np.arange(75, dtype=np.float32).reshape(1, 5, 5, 3)
    chosen = NONE.model_copy(update={"rotations": True})
    changed, _ = run(chosen, np.repeat(tile, 100, axis=0), np.ones((100, 1)))
    turns = {np.rot90(tile[0], k).tobytes() for k in range(4)}
    assert {image.tobytes() for image in changed} == turns


def test_shift_reflects_edges():
    tile = np.tile(np.arange(10, dtype=np.float32)[:, None, None], (1, 10, 3))
    changed, _ = run(
        NONE.model_copy(update={"shift": 0.3}), np.repeat(tile[None], 50, axis=0), np.ones((50, 1))
    )
    expected = {
        tuple(np.pad(np.arange(10), 3, mode="reflect")[3 + by : 13 + by]) for by in range(-3, 4)
    }
    assert {tuple(image[:, 0, 0].astype(int)) for image in changed} == expected


def test_gains_scale_each_tile_and_band():
    tiles = np.full((64, 4, 4, 3), 1000.0, np.float32)
    one, _ = run(NONE.model_copy(update={"gain": 0.2}), tiles, np.ones((64, 1)))
    assert np.ptp(one.reshape(64, -1), axis=1).max() < 1e-3, "one factor for the whole tile"
    assert 790 < one.min() < 900 < 1100 < one.max() < 1210
    each, _ = run(NONE.model_copy(update={"band_gain": 0.2}), tiles, np.ones((64, 1)))
    assert np.ptp(each, axis=(1, 2)).max() < 1e-3
    assert np.ptp(each, axis=3).min() > 0


def test_mixup_mixes_labels_as_it_mixes_tiles():
    rng = np.random.default_rng(0)
    values = rng.random((64, 1)).astype(np.float32)
    tiles = np.tile(values[:, None, None], (1, 4, 4, 3))
    changed, labels = run(NONE.model_copy(update={"mixup": 0.4}), tiles, values)
    np.testing.assert_allclose(changed[:, 0, 0, 0], labels[:, 0], rtol=1e-4)
    assert not np.allclose(labels, values)
    own = (labels - values[::-1]) / (values - values[::-1])
    assert own.min() >= 0.5 - 1e-3, "the larger share is the tile's own"


def test_occlusion_happens_at_its_rate():
    tiles = np.ones((400, 20, 20, 3), np.float32)
    changed, _ = run(NONE.model_copy(update={"occlusion": 0.25}), tiles, np.ones((400, 1)))
    hidden = (changed == 0).any(axis=(1, 2, 3)).mean()
    assert 0.17 < hidden < 0.33


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(8, 70),
    width=st.integers(8, 70),
    bounds=st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)).map(sorted),
    seed=st.integers(0, 2**31 - 1),
)
def test_occluded_share_keeps_its_bounds(height, width, bounds, seed):
    low, high = bounds
    tiles = np.ones((6, height, width, 1), np.float32)
    hidden = np.asarray(occlude(tiles, low, high, tf.zeros(1), step_seed(0, seed)))[..., 0] == 0
    share = hidden.mean(axis=(1, 2))
    rounding = 0.5 / width + 1e-6
    assert (share >= low - rounding).all()
    assert (share <= high + rounding).all()
    for mask in hidden:
        rows, columns = mask.any(axis=1).sum(), mask.any(axis=0).sum()
        assert mask.sum() == rows * columns, "one rectangle, wholly inside"


def test_occlusion_fills_with_the_given_value_per_band():
    fill = tf.constant([7.0, 8.0, 9.0])
    found = np.asarray(occlude(np.zeros((5, 16, 16, 3), "uint8"), 0.2, 0.2, fill, step_seed(0, 1)))
    for image in found:
        assert {tuple(pixel) for pixel in image.reshape(-1, 3)} == {(0, 0, 0), (7, 8, 9)}


def test_every_part_of_a_tile_gets_hidden():
    tiles = np.ones((500, 16, 16, 1), np.float32)
    hidden = np.asarray(occlude(tiles, 0.1, 0.4, tf.zeros(1), step_seed(0, 0)))[..., 0] == 0
    assert hidden.mean(axis=0).min() > 0
