import numpy as np
import pytest
from olr_data import write_tiles

from geolatents.errors import StoreError
from geolatents.learning.baselines import band_statistics, baseline_scores
from geolatents.learning.metrics import evaluate_labels


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    features = rng.normal(500, 100, (300, 4))
    first = features[:, 0] > 550
    targets = np.stack([first, rng.random(300) < 0.7, np.zeros(300), np.ones(300)], axis=1)
    is_train = np.arange(300) < 200
    return targets.astype(np.uint8), is_train, features


def test_trivial_baselines(data):
    targets, is_train, _ = data
    scores = baseline_scores(targets, is_train, None)
    assert set(scores) == {"all_absent", "majority", "prevalence"}
    assert not scores["all_absent"].any()
    np.testing.assert_array_equal(scores["majority"][0], [0, 1, 0, 1])
    np.testing.assert_allclose(scores["prevalence"][-1], targets[:200].mean(axis=0))
    for name, values in scores.items():
        found = evaluate_labels(targets[200:], values[200:])
        for row in list(found["per_label"].values())[:2]:
            # Guessing without looking has the prevalence as its AP, and a ROC AUC of one half.
            assert row["ap"] == pytest.approx(row["prevalence"]), name
            assert row["roc_auc"] == 0.5
    absent = evaluate_labels(targets[200:], scores["all_absent"][200:])
    assert absent["accuracy"] == pytest.approx(1 - targets[200:].mean())
    assert absent["tp"] == absent["fp"] == 0


def test_band_statistics_tell_what_depends_on_them(data):
    targets, is_train, features = data
    scores = baseline_scores(targets, is_train, features, seed=3)
    for name in ("logistic", "random_forest"):
        found = evaluate_labels(targets[200:], scores[name][200:])["per_label"]
        assert found["0"]["ap"] > 0.95
        assert abs(found["1"]["ap"] - found["1"]["prevalence"]) < 0.15
        np.testing.assert_array_equal(scores[name][:, 2:], np.tile([0.0, 1.0], (300, 1)))
        assert scores[name].min() >= 0
        assert scores[name].max() <= 1


def test_only_training_rows_count(data):
    targets, is_train, features = data
    changed = targets.copy()
    changed[~is_train] = 1 - changed[~is_train]
    before = baseline_scores(targets, is_train, features)
    after = baseline_scores(changed, is_train, features)
    for name, values in before.items():
        np.testing.assert_array_equal(values, after[name])


def test_one_label_that_varies(data):
    targets, is_train, features = data
    scores = baseline_scores(targets[:, [0, 2]], is_train, features)
    assert scores["random_forest"].shape == (300, 2)
    assert scores["random_forest"][:, 0].std() > 0.1


def test_band_statistics_follow_the_wanted_order(tmp_path):
    stores = []
    for scene, level in (("north", 300), ("south", 900)):
        ids = [f"{scene}-{i}-0" for i in range(3)]
        statistics = np.full((3, 2), level) + 50 * np.arange(3)[:, None]
        stores.append(tmp_path / f"{scene}.zarr")
        write_tiles(stores[-1], ids, statistics, np.arange(3), np.zeros(3, int))
    found = band_statistics(stores, np.array(["south-1-0", "north-2-0"]))
    assert found.shape == (2, 4)
    np.testing.assert_allclose(found[:, :2], [[950, 950], [400, 400]], atol=15)
    np.testing.assert_allclose(found[:, 2:], 20, atol=6)
    with pytest.raises(StoreError, match="1 tiles are in none"):
        band_statistics(stores, np.array(["east-0-0"]))
