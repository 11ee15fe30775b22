from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geolatents.batches.orders import make_order, order_index, read_order
from geolatents.errors import SplitError
from geolatents.files import read_json
from geolatents.settings.batches import BatchOrder
from geolatents.stores import verify_store
from tests.unit.label_makers import scene_tiles, write_split, write_tiles


def order(**changes) -> BatchOrder:
    return BatchOrder(**{"split": "main", "batch_size": 4, "epochs": 3, **changes})


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 60), st.integers(1, 20), st.integers(1, 4), st.integers(0, 99),
    st.sampled_from(["in_order", "randomized"]),
)  # fmt: skip
def test_no_tile_occurs_twice_in_an_epoch_and_only_the_last_batch_is_dropped(
    n, size, epochs, seed, kind
):
    if size > n:
        return
    config = order(batch_size=size, epochs=epochs, seed=seed, order=kind)
    index = order_index(config, n)
    assert index.shape == (epochs, n // size, size)
    assert index.dtype == np.int32
    for epoch in index.reshape(epochs, -1):
        assert len(set(epoch.tolist())) == len(epoch)
        assert set(epoch.tolist()) <= set(range(n))
    if n % size == 0:
        assert np.array_equal(
            np.sort(index.reshape(epochs, -1)), np.tile(np.arange(n), (epochs, 1))
        )


def test_in_order_is_the_same_in_each_epoch_and_randomized_is_not():
    index = order_index(order(order="in_order"), 18)
    assert np.array_equal(index[0].ravel(), np.arange(16))
    assert np.array_equal(index[0], index[2])
    shuffled = order_index(order(), 18)
    assert not np.array_equal(shuffled[0], shuffled[1])
    assert np.array_equal(shuffled, order_index(order(), 18))
    assert not np.array_equal(shuffled, order_index(order(seed=1), 18))
    assert np.array_equal(shuffled, order_index(order(epochs=9), 18)[:3]), "more epochs change none"


def dataset(tmp_path):
    tiles = scene_tiles("one", (0.0, 0.0), 10.0, (6, 5)).iloc[::-1]
    table = write_tiles(tmp_path / "t.parquet", tiles)
    ids = tiles["id"].tolist()
    parts = ["test" if i % 3 == 0 else "train" for i in range(30)]
    shuffled = np.random.default_rng(0).permutation(30)
    rows = [ids[i] for i in shuffled], [parts[i] for i in shuffled], [""] * 30
    split = write_split(tmp_path / "s.parquet", *rows)
    training = [name for name, part in zip(ids, parts, strict=True) if part == "train"]
    return table, split, training


def test_the_store_has_the_training_tiles_in_the_order_of_the_table(tmp_path):
    table, split, training = dataset(tmp_path)
    outputs = tmp_path / "b.zarr", tmp_path / "b.json"
    make_order(order(order="in_order"), table, split, *outputs)
    index, ids = read_order(outputs[0])
    assert ids.tolist() == training
    assert ids[index[1]].ravel().tolist() == training
    assert verify_store(outputs[0], read_json(outputs[1])) == []


def test_a_batch_larger_than_the_training_part_is_an_error(tmp_path):
    table, split, _ = dataset(tmp_path)
    with pytest.raises(SplitError, match=r"at most 20(.|\n)*found: 21(.|\n)*batch_size"):
        make_order(order(batch_size=21), table, split, tmp_path / "b.zarr", tmp_path / "b.json")
    assert not (tmp_path / "b.zarr").exists()
    make_order(order(batch_size=20), table, split, tmp_path / "b.zarr", tmp_path / "b.json")
