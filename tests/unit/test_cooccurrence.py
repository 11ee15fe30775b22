from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from geolatents.errors import SplitError
from geolatents.files import read_json
from geolatents.labels.cooccurrence import (
    conditional,
    joint_counts,
    measure_cooccurrence,
    phi_from_counts,
    phi_interval,
)
from geolatents.labels.figures import Matrix, draw_cooccurrence, draw_matrices, shorten
from tests.unit.label_makers import write_labels, write_split

# Figure 18 of the thesis: 14,100 patches, seven combined labels.
THESIS = np.array(
    [
        [2725, 66, 780, 1522, 840, 79, 67],
        [66, 214, 62, 103, 127, 8, 3],
        [780, 62, 3566, 1540, 1360, 234, 84],
        [1522, 103, 1540, 7176, 3770, 238, 122],
        [840, 127, 1360, 3770, 8575, 422, 195],
        [79, 8, 234, 238, 422, 711, 62],
        [67, 3, 84, 122, 195, 62, 857],
    ]
)


def test_phi_of_the_thesis_counts():
    phi = phi_from_counts(THESIS, 14_100)
    expected = [0.036, 0.038, 0.049, -0.301, -0.048, -0.074]
    assert phi[0, 1:] == pytest.approx(expected, abs=6e-4)
    assert phi[3, 4] == pytest.approx(-0.173, abs=6e-4)
    assert np.diag(phi) == pytest.approx(1)


def test_conditional_has_the_condition_in_rows():
    given_row = conditional(THESIS)
    assert given_row[1, 4] == pytest.approx(127 / 214)
    assert given_row[4, 1] == pytest.approx(127 / 8575)


def phi_of(labels):
    return phi_from_counts(joint_counts(labels), len(labels))


@settings(max_examples=50, deadline=None)
@given(
    arrays(np.uint8, st.tuples(st.integers(2, 40), st.integers(1, 6)), elements=st.integers(0, 1))
)
def test_phi_is_the_pearson_correlation(labels):
    phi = phi_of(labels)
    constant = labels.min(axis=0) == labels.max(axis=0)
    assert np.isnan(phi[constant]).all()
    assert np.isnan(phi[:, constant]).all()
    varied = np.flatnonzero(~constant)
    for i in varied:
        for j in varied:
            assert phi[i, j] == pytest.approx(
                np.corrcoef(labels[:, i], labels[:, j])[0, 1], abs=1e-9
            )


def clustered(rng, n_blocks, per_block):
    """Two unrelated labels that whole blocks share, and their blocks."""
    labels = rng.random((n_blocks, 2)) < 0.5
    return labels.repeat(per_block, axis=0), np.arange(n_blocks).repeat(per_block).astype(str)


def test_intervals_from_blocks_hold_the_truth_where_independent_tiles_do_not():
    rng = np.random.default_rng(0)
    hits = {"block bootstrap": 0, "fisher z": 0}
    for run in range(60):
        labels, blocks = clustered(rng, 40, 25)
        for used in (blocks, np.full(len(blocks), "")):
            low, high, how = phi_interval(labels, phi_of(labels), used, str(run))
            hits[how["method"]] += low[0, 1] <= 0 <= high[0, 1]
    assert hits["block bootstrap"] >= 50
    assert hits["fisher z"] <= 35


def test_resamples_are_those_of_a_plain_bootstrap():
    """Summing counts per block gives what repeating the tiles of drawn blocks gives."""
    from geolatents.labels.cooccurrence import RESAMPLES, _block_resamples
    from geolatents.seeds import generator

    rng = np.random.default_rng(3)
    labels = (rng.random((200, 4)) < 0.4).astype(np.uint8)
    blocks = rng.integers(0, 12, 200).astype(str)
    names = np.unique(blocks)
    drawn = generator(0, "cooccurrence", "x").multinomial(12, np.full(12, 1 / 12), RESAMPLES)
    resampled = _block_resamples(labels, blocks, "x")
    for weights, phi in list(zip(drawn, resampled, strict=True))[:5]:
        times = weights[np.searchsorted(names, blocks)]
        np.testing.assert_allclose(phi, phi_of(labels.repeat(times, axis=0)), atol=1e-9)


def test_fisher_interval_of_a_known_correlation():
    labels = np.array([[1, 1]] * 40 + [[0, 0]] * 40 + [[1, 0]] * 10 + [[0, 1]] * 10)
    low, high, _ = phi_interval(labels, phi_of(labels), np.full(100, ""))
    assert (low[0, 1], high[0, 1]) == pytest.approx((0.4575, 0.7118), abs=2e-3)


def dataset(tmp_path, n=240, n_classes=5):
    rng = np.random.default_rng(5)
    ids = [f"t-{i}" for i in range(n)]
    labels = (rng.random((n, n_classes)) < 0.3).astype(np.uint8)
    labels[:, -1] = 0
    labels[0, -1] = 1
    parts = np.array(["train", "validation", "test", "buffer"])[np.arange(n) % 4]
    blocks = [f"{i % 48}_0" for i in range(n)]
    store = write_labels(tmp_path / "l.zarr", ids, labels)
    split = write_split(tmp_path / "s.parquet", [*ids, "other"], [*parts, "test"], [*blocks, "9_9"])
    return store, split, labels, parts


def test_parts_of_the_file(tmp_path):
    store, split, labels, parts = dataset(tmp_path)
    measure_cooccurrence(store, split, tmp_path / "c.json")
    result = read_json(tmp_path / "c.json")
    assert [item["code"] for item in result["classes"]] == ["111", "112", "121", "122", "123"]
    assert set(result["parts"]) == {"train", "validation", "test", "all"}
    assert result["parts"]["all"]["n"] == 240
    test = result["parts"]["test"]
    assert test["counts"] == joint_counts(labels[parts == "test"]).tolist()
    assert test["support"] == labels[parts == "test"].sum(axis=0).tolist()
    assert test["interval"] == {"method": "block bootstrap", "blocks": 12, "resamples": 200}
    phi = phi_of(labels[parts == "test"])
    assert test["phi"][0][1] == pytest.approx(phi[0, 1], abs=1e-6)
    assert test["phi_low"][0][1] < phi[0, 1] < test["phi_high"][0][1]
    assert test["phi"][4] == test["phi_low"][4] == [None] * 5
    assert test["conditional"][4] == [None] * 5
    assert test["conditional"][0][4] == 0
    first = (tmp_path / "c.json").read_bytes()
    measure_cooccurrence(store, split, tmp_path / "c.json")
    assert (tmp_path / "c.json").read_bytes() == first


def test_a_label_set_without_test_tiles_is_drawn_from_all(tmp_path):
    store = write_labels(tmp_path / "l.zarr", ["a", "b"], np.array([[1, 0], [0, 1]]))
    split = write_split(tmp_path / "s.parquet", ["a", "b"], ["train", "train"], ["", ""])
    measure_cooccurrence(store, split, tmp_path / "c.json")
    parts = read_json(tmp_path / "c.json")["parts"]
    assert parts["test"]["n"] == 0
    assert parts["test"]["phi"] == [[None, None], [None, None]]
    assert parts["train"]["interval"] == {"method": "fisher z"}
    draw_cooccurrence(tmp_path / "c.json", tmp_path / "c.png")
    assert Image.open(tmp_path / "c.png").width > 500


def test_tiles_outside_the_split_are_an_error(tmp_path):
    store = write_labels(tmp_path / "l.zarr", ["a", "b"], np.eye(2))
    split = write_split(tmp_path / "s.parquet", ["a"], ["train"], [""])
    with pytest.raises(SplitError, match="1 tiles are not in the split"):
        measure_cooccurrence(store, split, tmp_path / "c.json")


def test_matrices_side_by_side_share_one_colour_scale(tmp_path):
    """Equal values of two centred panels get one colour, also if the panels' ranges differ."""
    labels = [
        {"code": str(i), "name": f"class {i}", "colour": "#00ff00", "members": []}
        for i in range(25)
    ]
    values = np.full((25, 25), 0.4)
    wide = values.copy()
    wide[0, 1] = -0.8
    draw_matrices([Matrix("a", values), Matrix("b", wide)], labels, tmp_path / "m.png")
    image = np.asarray(Image.open(tmp_path / "m.png").convert("RGB"))
    colours, count = np.unique(image.reshape(-1, 3), axis=0, return_counts=True)
    large = colours[count > 0.15 * len(image) * image.shape[1]]
    assert len(large) == 2, "white paper and one colour for all cells"


def test_names_are_cut_at_a_word():
    assert shorten("Olive groves") == "Olive groves"
    assert shorten("Road and rail networks and associated land") == "Road and rail networks…"
    assert shorten("x" * 40, 10) == "x" * 9 + "…"
