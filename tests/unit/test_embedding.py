"""Where the truth is known: the rank-1 control adds nothing, and more than probability is found."""

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score
from threadpoolctl import threadpool_limits

from geolatents.errors import StoreError
from geolatents.files import read_json
from geolatents.olr import dimensions, embedding, hierarchy, probing, resampling
from geolatents.stores import new_store, write_array, write_strings
from tests.unit.embedding_data import CORINE, made
from tests.unit.olr_data import tile_table, write_predictions, write_split

COMPARED = (
    "like_labels", "graded_labels", "composition", "graded_composition", "scene_one_label",
    "scene_all_labels", "cover_gain", "cover_gain_all_scores",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread():
    """As the rule: small matrices are slower with more threads, much so on a busy machine."""
    with threadpool_limits(1):
        yield


def measured(seed=0, *, tiles=500, **options):
    data, sample, names, cover = made(seed, tiles=tiles, **options)
    return embedding.measure_embedding(data, sample, scene_classes=names, cover=cover, seed=seed)


@pytest.mark.parametrize(("seed", "other_teacher"), [(0, False), (1, True)])
def test_the_rank_one_control_gains_nothing(seed, other_teacher):
    """Also where teacher and student err differently: two scores know more than one, but no vector does."""
    found = measured(seed, extra=0.0, other_teacher=other_teacher)
    for name in COMPARED:
        entry = found[name]
        assert entry["difference"] <= 0.01, name
        assert entry["interval"][0] <= 0, name
        assert entry["p"] > 0.025, name
    assert found["cover_gain"]["interval"][0] <= 0 <= found["cover_gain"]["interval"][1] + 0.01
    assert found["effective_rank"]["median"] == pytest.approx(1)
    assert found["effective_rank"]["median_centred"] == pytest.approx(1)
    assert (found["label_scores"]["difference"] == 0) != other_teacher


def test_what_the_vectors_know_beside_probability_is_found():
    found = measured(extra=1.0)
    for name in ("scene_one_label", "scene_all_labels", "cover_gain", "cover_gain_all_scores"):
        entry = found[name]
        assert entry["interval"][0] > 0, name
        assert entry["p"] < 0.01, name
        assert entry["difference"] == pytest.approx(entry["embedding"] - entry["control"])
        assert entry["control"] == max(entry["controls"].values())
    assert found["effective_rank"]["median"] > 2
    assert found["effective_rank"]["interval"][0] > 1


def test_the_difference_is_the_mean_of_what_groups_hold():
    entry = measured(extra=0.5)["like_labels"]
    total, count = np.sum(list(entry["groups"].values()), axis=0)
    assert total / count == pytest.approx(entry["difference"])
    assert count == entry["n"]


def test_results_are_the_same_again():
    assert measured(3, tiles=200) == measured(3, tiles=200)


def test_cover_of_zero_and_one_has_no_composition():
    data, sample, names, cover = made(tiles=200, groups=5)
    cover = replace(cover, cover=(cover.cover > 0.1).astype(np.float32))
    found = embedding.measure_embedding(data, sample, scene_classes=names, cover=cover)
    assert found["composition"]["reason"] == probing.PRESENCE_ONLY
    assert found["cover_gain"]["difference"] is None
    assert found["cover_gain"]["reason"] == probing.PRESENCE_ONLY


def test_blocks_are_no_scene_classes():
    data, sample, _, _ = made(tiles=200, groups=5)
    apart = np.char.add(data.student.part, "-block")
    found = embedding.measure_embedding(data, sample, scene_classes=apart)
    assert found["scene_all_labels"]["reason"] == probing.NO_CLASSES
    assert found["composition"]["reason"] == "there is no cover"


def test_few_groups_give_no_interval():
    data, sample, names, cover = made(tiles=150, groups=3)
    found = embedding.measure_embedding(data, sample, scene_classes=names, cover=cover)
    assert found["like_labels"]["difference"] is not None
    assert found["like_labels"]["interval"] is None
    assert found["like_labels"]["reason"] == "only 3 groups to resample"


@pytest.mark.slow
def test_a_thousand_test_tiles_take_seconds():
    data, sample, names, cover = made(tiles=4000, labels=12, k=16)
    started = time.process_time()
    embedding.measure_embedding(data, sample, scene_classes=names, cover=cover)
    assert time.process_time() - started < 30


# ---- effective rank


def test_effective_rank_of_equal_directions_is_their_number():
    vectors = np.zeros((40, 1, 6))
    vectors[np.arange(40), 0, np.arange(40) % 4] = 1.0
    assert dimensions.effective_ranks(vectors)[0] == pytest.approx(4)
    assert dimensions.effective_ranks(vectors, centred=True)[0] == pytest.approx(3)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.01, 100))
def test_effective_rank_knows_no_scale_nor_rotation(seed, scale):
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((30, 2, 5))
    rotation = np.linalg.qr(rng.standard_normal((5, 5)))[0]
    found = dimensions.effective_ranks(scale * vectors @ rotation)
    np.testing.assert_allclose(found, dimensions.effective_ranks(vectors), rtol=1e-6)
    assert (found >= 1).all()
    assert (found <= 5 + 1e-9).all()


def test_vectors_of_zeros_have_no_rank():
    assert np.isnan(dimensions.effective_ranks(np.zeros((5, 2, 3)))).all()


# ---- label scores


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_weighted_average_precision_is_that_of_repeated_tiles(seed):
    rng = np.random.default_rng(seed)
    truth, scores = rng.integers(0, 2, 30), rng.integers(0, 8, 30) / 8
    weights = rng.integers(0, 3, (4, 30)).astype(float)
    found = dimensions.weighted_average_precision(truth, scores, weights)
    for row, value in zip(weights.astype(int), found, strict=True):
        repeated = np.repeat(truth, row)
        if repeated.any():
            expected = average_precision_score(repeated, np.repeat(scores, row))
            assert value == pytest.approx(expected)
        else:
            assert np.isnan(value)


def test_worse_label_scores_are_seen():
    data, sample, _, _ = made()
    test = data.student.part == "test"
    targets, teacher = data.student.targets[test], data.teacher[test]
    noise = np.random.default_rng(0).random(teacher.shape)
    worse = dimensions.compare_label_scores(targets, noise, teacher, sample.groups)
    assert worse["difference"] < -0.2
    assert worse["p"] == 1
    same = dimensions.compare_label_scores(targets, teacher, teacher, sample.groups)
    assert same["difference"] == 0
    assert same["p"] < 0.01


# ---- hierarchy


def as_classes(codes):
    return [{"code": code, "members": [code]} for code in codes]


def test_hierarchy_is_found_where_it_is():
    groups = np.array([code[0] for code in CORINE])
    near = np.where(groups[:, None] == groups, 0.9, 0.1)
    noise = np.random.default_rng(0).random(near.shape)
    found = hierarchy.hierarchy_figures(
        as_classes(CORINE), {"model": near, "noise": noise + noise.T}
    )
    assert found["auc"]["model"] == 1
    assert found["p"]["model"] < 0.01
    assert 0.2 < found["auc"]["noise"] < 0.8
    assert found["p"]["noise"] > 0.05


def test_hierarchy_of_few_labels_is_exact():
    codes = ["111", "112", "211", "231"]
    near = np.array([[1, 0.9, 0, 0], [0.9, 1, 0, 0], [0, 0, 1, 0.8], [0, 0, 0.8, 1]])
    found = hierarchy.hierarchy_figures(as_classes(codes), {"model": near})
    assert found["method"] == "exact, 24 permutations"
    assert found["p"]["model"] == pytest.approx(8 / 24)


def test_other_nomenclatures_have_no_hierarchy():
    found = hierarchy.hierarchy_figures(as_classes(["airplane", "bare-soil"]), {})
    assert found["auc"] is None
    assert "CORINE" in found["reason"]


# ---- resampling


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    held = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        groups = np.repeat([f"g{i}" for i in range(8)], 10)
        values = np.repeat(rng.standard_normal(8), 10) + 0.3 * rng.standard_normal(80)
        found = resampling.paired_difference(values, np.zeros(80), groups, seed)
        held += found["interval"][0] <= 0 <= found["interval"][1]
    assert 0.9 <= held / 200 <= 0.99


# ---- files


def test_a_file_is_written_and_the_reading_recorded(tmp_path):
    data, _, names, _ = made(tiles=200, groups=5)
    student, place = data.student, np.arange(200)
    attributes = {"classes": student.classes, "model": "made-siamese", "kind": "siamese"}
    for name, scores in (("student", student.scores), ("teacher", data.teacher)):
        write_predictions(
            tmp_path / f"{name}.zarr", student.targets, scores, student.part, student.ids,
            **attributes,
        )  # fmt: skip
    shuffled = np.random.default_rng(0).permutation(200)
    with new_store(tmp_path / "embeddings.zarr") as group:
        write_strings(group, "ids", student.ids[shuffled], "tile")
        vectors = data.vectors[shuffled].astype(np.float32)
        write_array(group, "embeddings", vectors, ("tile", "label", "k"))
    write_split(tmp_path / "split.parquet", student.ids, student.part, "")
    tile_table(tmp_path / "tiles.parquet", student.ids, place % 20, place // 20, group=names)
    arguments = {
        "embeddings": tmp_path / "embeddings.zarr",
        "predictions": tmp_path / "student.zarr",
        "teacher": tmp_path / "teacher.zarr",
        "split": tmp_path / "split.parquet",
        "tiles": tmp_path / "tiles.parquet",
        "output": tmp_path / "embedding.json",
        "ledger": tmp_path / "ledger.jsonl",
    }
    embedding.evaluate_embedding(**arguments)
    found = read_json(tmp_path / "embedding.json")
    assert found["status"] == "measured"
    assert found["scene_all_labels"]["n_classes"] == 5
    assert found["resampled"] == "groups"
    assert "evaluate_embedding" in (tmp_path / "ledger.jsonl").read_text()

    with new_store(tmp_path / "embeddings.zarr") as group:
        write_strings(group, "ids", student.ids[:150], "tile")
        write_array(group, "embeddings", vectors[:150], ("tile", "label", "k"))
    with pytest.raises(StoreError, match="50 tiles"):
        embedding.evaluate_embedding(**arguments)


def test_a_refused_training_has_nothing_to_measure(tmp_path):
    data, *_ = made(tiles=40)
    student = data.student
    write_predictions(
        tmp_path / "student.zarr", student.targets, student.scores, student.part, student.ids,
        classes=student.classes, status="refused", reason="no better than prevalence",
    )  # fmt: skip
    embedding.evaluate_embedding(
        embeddings=tmp_path / "none", predictions=tmp_path / "student.zarr",
        teacher=tmp_path / "none", split=tmp_path / "none", output=tmp_path / "embedding.json",
    )  # fmt: skip
    found = read_json(tmp_path / "embedding.json")
    assert (found["status"], found["reason"]) == ("refused", "no better than prevalence")


@pytest.mark.parametrize("status", ["measured", "refused"])
def test_a_figure_is_drawn(status, tmp_path):
    from geolatents.files import write_json
    from geolatents.olr.embedding_figure import draw_embedding

    found = {"model": "made-siamese", "seed": 0, "status": status, "reason": "too weak"}
    if status == "measured":
        found |= measured(tiles=200, groups=5)
    write_json(tmp_path / "embedding.json", found)
    draw_embedding(tmp_path / "embedding.json", tmp_path / "embedding.png")
    assert (tmp_path / "embedding.png").read_bytes()[:4] == b"\x89PNG"
