from __future__ import annotations

import csv

import numpy as np
import pytest
from PIL import Image

from geolatents.batches.counts import count_labels, imbalance
from geolatents.batches.figures import draw_counts
from geolatents.batches.orders import make_order
from geolatents.files import write_json
from geolatents.settings.batches import BatchOrder
from geolatents.stores import content_manifest
from tests.unit.label_makers import scene_tiles, write_labels, write_split, write_tiles


@pytest.fixture
def dataset(tmp_path):
    """400 tiles in 8 groups of 50 neighbours, each with labels of its own."""
    tiles = scene_tiles("one", (0.0, 0.0), 10.0, (20, 20))
    ids = tiles["id"].tolist()
    table = write_tiles(tmp_path / "t.parquet", tiles)
    split = write_split(tmp_path / "s.parquet", ids, ["train"] * 400, [""] * 400)
    labels = np.random.default_rng(0).random((8, 6)).round().repeat(50, axis=0)
    labels[:, 5] = 1
    return table, split, ids, labels.astype(np.uint8)


def counted(tmp_path, dataset, kind, rows=slice(None), size=25):
    table, split, ids, labels = dataset
    store = write_labels(tmp_path / "l.zarr", ids[rows], labels[rows])
    config = BatchOrder(split="main", order=kind, batch_size=size, epochs=2)
    make_order(config, table, split, tmp_path / "b.zarr", tmp_path / "b.json")
    ratio = count_labels(tmp_path / "b.zarr", store, tmp_path / "c.csv")
    write_json(tmp_path / "l.json", content_manifest(store))
    draw_counts(tmp_path / "c.csv", tmp_path / "b.json", tmp_path / "l.json", tmp_path / "c.png")
    with (tmp_path / "c.csv").open() as stream:
        header, *lines = csv.reader(stream)
    return ratio, header, np.array(lines, dtype=int)


def test_counts_of_batches_in_order(tmp_path, dataset):
    ratio, header, lines = counted(tmp_path, dataset, "in_order")
    assert header == ["batch", "111", "112", "121", "122", "123", "124"]
    assert lines[:, 0].tolist() == list(range(16))
    expected = dataset[3].reshape(16, 25, 6).sum(axis=1)
    assert np.array_equal(lines[:, 1:], expected)
    assert ratio > 20
    assert Image.open(tmp_path / "c.png").width > 500


def test_random_batches_are_balanced_by_chance(tmp_path, dataset):
    ratio, _, lines = counted(tmp_path, dataset, "randomized")
    assert ratio == pytest.approx(1, abs=0.6)
    assert np.array_equal(lines[:, 1:].sum(axis=0), dataset[3].sum(axis=0))


def test_tiles_that_the_label_set_leaves_out_count_nothing(tmp_path, dataset):
    _, _, lines = counted(tmp_path, dataset, "in_order", rows=slice(50, None))
    assert not lines[:2, 1:].any()
    assert np.array_equal(lines[2:, 1:].sum(axis=0), dataset[3][50:].sum(axis=0))


def test_more_batches_than_the_figure_shows(tmp_path, dataset):
    _, _, lines = counted(tmp_path, dataset, "randomized", size=4)
    assert len(lines) == 100
    assert Image.open(tmp_path / "c.png").height < 2500


def test_imbalance_of_random_batches_is_one_on_average():
    rng = np.random.default_rng(1)
    labels = (rng.random((120, 3)) < [0.05, 0.3, 0.8]).astype(int)
    ratios = [
        imbalance(rng.permutation(labels).reshape(6, 20, 3).sum(axis=1), 20) for _ in range(800)
    ]
    assert np.mean(ratios) == pytest.approx(1, abs=0.05)


def test_imbalance_needs_two_batches_and_a_label_that_varies():
    assert imbalance(np.array([[3, 2]]), 5) is None
    assert imbalance(np.array([[5, 0], [5, 0]]), 5) is None
    assert imbalance(np.array([[2], [2]]), 4) == 0
