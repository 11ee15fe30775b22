import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import linregress
from scipy.stats import pearsonr as scipy_pearson

from geolatents.olr import agreement as ag
from geolatents.settings.experiments import Agreement

FEW = Agreement(permutations=199, folds=40)


def make(seed=0, n_labels=9, blocks=20, per_block=20, blur=0.5):
    """Labels driven by factors; the model sees them blurred."""
    loadings = np.random.default_rng(7).standard_normal((5, n_labels))

    def draw(rng, blocks):
        shared = np.repeat(rng.standard_normal((blocks, 5)), per_block, axis=0)
        factors = shared + 0.7 * rng.standard_normal(shared.shape)
        latent = 0.6 * factors @ loadings + rng.standard_normal((len(shared), n_labels))
        seen = latent + blur * rng.standard_normal(latent.shape)
        return (latent > 0.8).astype(float), 1 / (1 + np.exp(-2 * (seen - 0.8)))

    train, _ = draw(np.random.default_rng([seed, 1]), 3 * blocks)
    targets, scores = draw(np.random.default_rng([seed, 2]), blocks)
    groups = np.repeat([f"b{i}" for i in range(blocks)], per_block)
    return ag.Sample([f"c{i}" for i in range(n_labels)], train, targets, scores, groups, "blocks")


def replaced(sample, **changes):
    return ag.replace(sample, **changes)


def test_phi_by_hand():
    """Phi = (n11 n00 - n10 n01) / sqrt(product of the margins)."""
    labels = np.array([[1, 1]] * 3 + [[1, 0]] * 2 + [[0, 1]] + [[0, 0]] * 4, float)
    expected = (3 * 4 - 2 * 1) / np.sqrt(5 * 5 * 4 * 6)
    assert ag.correlation_matrix(labels)[0, 1] == pytest.approx(expected)


def test_phi_of_the_predecessors_counts():
    """Thesis, Fig. 18: urban-forest has 840 joint of 2,725 and 8,575 of 14,100; phi -0.301."""
    joint, urban, forest, n = 840, 2725, 8575, 14100
    counts = [joint, urban - joint, forest - joint, n - urban - forest + joint]
    rows = np.repeat([[1, 1], [1, 0], [0, 1], [0, 0]], counts, axis=0).astype(float)
    assert ag.correlation_matrix(rows)[0, 1] == pytest.approx(-0.301, abs=5e-4)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_weights_are_repetitions(seed):
    rng = np.random.default_rng(seed)
    values = rng.random((30, 4))
    weights = rng.integers(0, 4, 30)
    found = ag.correlation_matrix(values, weights)
    repeated = np.repeat(values, weights, axis=0)
    np.testing.assert_allclose(found, np.corrcoef(repeated.T), atol=1e-10)


def test_constant_columns_have_no_correlation():
    values = np.array([[1.0, 0.1, 5], [0, 0.1, 4], [1, 0.1, 7]])
    matrix = ag.correlation_matrix(values)
    assert np.isnan(matrix[0, 1])
    assert np.isnan(matrix[1, 2])
    assert np.isfinite(matrix[0, 2])


def test_a_perfect_model_has_r_one():
    sample = make()
    found = ag.measure_agreement(replaced(sample, scores=sample.targets), FEW)
    assert found["mantel_r"] == pytest.approx(1)
    assert found["partial_r"] == pytest.approx(1)
    assert found["partial_interval"] == pytest.approx([1, 1])
    assert found["slope"] == pytest.approx(1)
    assert found["rmse"] == pytest.approx(0, abs=1e-12)
    assert found["sign_agreement"] == 1
    assert found["mantel_p"] == pytest.approx(1 / 200)
    assert found["shifted"]["model_r"] == pytest.approx(1)
    assert found["shifted"]["positive_share"] == 1


def test_a_model_of_noise_has_none():
    sample = make()
    noise = np.random.default_rng(3).random(sample.scores.shape)
    found = ag.measure_agreement(replaced(sample, scores=noise), FEW)
    assert abs(found["mantel_r"]) < 0.45
    assert abs(found["partial_r"]) < 0.45
    assert found["partial_interval"][0] < 0 < found["partial_interval"][1]
    assert found["mantel_p"] > 0.01
    assert found["shifted"]["median_difference"] < -0.3


def test_a_model_that_repeats_the_training_labels_gains_nothing():
    """Scores whose correlation is training phi: r as good as that baseline, no partial r."""
    sample = make(per_block=60)
    copied = np.tile(sample.train[: len(sample.targets)], (1, 1)) + 0.01 * np.random.default_rng(
        0
    ).random(sample.targets.shape)
    found = ag.measure_agreement(replaced(sample, scores=copied), FEW)
    assert found["mantel_r"] > 0.5
    assert found["partial_r"] < 0.5
    assert found["shifted"]["median_difference"] < 0.05


def test_a_model_that_sees_beats_training_phi_and_controls():
    found = ag.measure_agreement(make(), FEW)
    assert found["mantel_r"] > 0.9
    assert found["partial_r"] > 0.5
    assert found["shifted"]["median_difference"] > 0
    assert found["shifted"]["draws"] == 300
    assert found["shifted"]["groups"] == 8
    assert abs(found["column_shuffle_r"]) < 0.3
    assert abs(found["row_shuffle_r"]) < 0.3
    assert found["noise_r"] < found["train_phi_r"]
    assert 0 < found["reliability"] <= 1
    low, high = found["partial_interval"]
    assert low < high
    assert (found["n_labels"], found["n_tiles"], found["n_groups"]) == (9, 400, 20)


def test_partial_r_is_the_correlation_of_residuals():
    rng = np.random.default_rng(1)
    z = rng.random(40)
    x, y = z + rng.random(40), 2 * z + rng.random(40)

    def residual(values):
        line = linregress(z, values)
        return values - line.slope * z - line.intercept

    expected = scipy_pearson(residual(x), residual(y)).statistic
    assert ag.partial(x, y, z) == pytest.approx(expected)


def test_exact_permutations_for_four_labels():
    """All 24 orders; only orders that leave the matrix as it is reach r = 1."""
    upper = np.triu_indices(4, 1)
    phi = np.eye(4)
    phi[upper] = [0.6, 0.5, 0.4, 0.3, 0.2, 0.1]
    phi = np.maximum(phi, phi.T)
    p, method = ag.mantel_p(phi, phi, 999)
    assert p == 1 / 24
    assert method == "exact, 24 permutations"
    symmetric = np.eye(4)
    symmetric[0, 1] = symmetric[1, 0] = 1.0  # swapping 0 and 1, or 2 and 3, changes nothing
    assert ag.mantel_p(symmetric, symmetric, 999)[0] == pytest.approx(4 / 24)


def test_random_permutations_agree_with_exact_ones():
    sample = make(n_labels=7, blur=6)
    model, phi = ag.correlation_matrix(sample.scores), ag.correlation_matrix(sample.targets)
    exact, _ = ag.mantel_p(model, phi, 99)
    x, y = ag.upper(model), ag.upper(phi)
    drawn = [
        ag.pearson(ag.upper(model[np.ix_(o, o)]), y) for o in ag.random_orders(7, 3000, seed=1)
    ]
    assert exact == pytest.approx(np.mean(np.array(drawn) >= ag.pearson(x, y) - 1e-9), abs=0.04)


def test_rare_and_constant_labels_are_left_out_and_named():
    sample = make()
    targets, scores, train = sample.targets.copy(), sample.scores.copy(), sample.train.copy()
    targets[:, 0] = 0
    targets[2:, 1] = 0
    targets[:2, 1] = 1
    scores[:, 2] = 0.25
    train[:, 3] = 1
    changed = replaced(sample, targets=targets, scores=scores, train=train)
    found = ag.measure_agreement(changed, FEW)
    assert found["left_out"] == {
        "c0": "no positives in the compared part",
        "c1": "only 2 positives in the compared part",
        "c2": "the scores are constant",
        "c3": "no negatives in the training part",
    }
    assert found["labels"] == ["c4", "c5", "c6", "c7", "c8"]
    assert found["n_labels"] == 5
    assert np.shape(found["phi"]) == (5, 5)


def test_too_few_labels_are_undefined_not_wrong():
    sample = make(n_labels=2)
    found = ag.measure_agreement(sample, FEW)
    for key in ("mantel_r", "mantel_p", "partial_r", "train_phi_r", "partial_interval", "slope"):
        assert found[key] is None
    assert found["shifted"] is None
    empty = replaced(sample, targets=np.zeros_like(sample.targets))
    assert ag.measure_agreement(empty, FEW)["n_labels"] == 0


def test_folds_leave_out_groups_whole_and_each_once():
    groups = np.repeat(["a", "b", "c", "d", "e"], [1, 2, 3, 4, 5])
    weights = np.array(list(ag.fold_weights(groups, 3)))
    assert weights.shape == (3, 15)
    assert (np.sum(weights == 0, axis=0) == 1).all()
    for fold in weights:
        assert all(len(set(fold[groups == name])) == 1 for name in "abcde")


@pytest.mark.parametrize("seed", range(5))
def test_the_interval_holds_the_estimate_and_covers_most_repetitions(seed):
    found = ag.measure_agreement(make(seed=seed, blocks=12), FEW)
    low, high = found["partial_interval"]
    assert low < found["partial_r"] < high
    others = [
        ag.measure_agreement(make(seed=s, blocks=12), FEW)["partial_r"] for s in range(20, 26)
    ]
    assert sum(low <= other <= high for other in others) >= 4


def test_intervals_of_copied_tiles_need_their_groups():
    """Every tile eight times: taken as single tiles, the interval pretends to know more."""
    sample = make(seed=4, blocks=10, per_block=20, blur=2.5)
    rows = np.repeat(np.arange(len(sample.targets)), 8)
    copied = replaced(
        sample, targets=sample.targets[rows], scores=sample.scores[rows], groups=rows.astype(str)
    )
    single = replaced(copied, groups=np.arange(len(rows)).astype(str), grouping="tiles")
    wide, narrow = (ag.partial_interval(s, 2000) for s in (copied, single))
    assert wide[1] - wide[0] > 2 * (narrow[1] - narrow[0])


def test_single_tiles_are_no_shifted_land():
    sample = make()
    tiles = replaced(sample, groups=np.arange(len(sample.targets)).astype(str), grouping="tiles")
    assert ag.shifted_land(tiles, 5) is None


def test_reliability_of_labels_without_relations_is_low():
    sample = make()
    rng = np.random.default_rng(0)
    unrelated = replaced(sample, targets=(rng.random(sample.targets.shape) < 0.3).astype(float))
    assert ag.reliability(sample) > 0.6
    assert ag.reliability(unrelated) < 0.5


def test_significant_pairs():
    rng = np.random.default_rng(0)
    a = rng.random(300) < 0.4
    labels = np.stack([a, a ^ (rng.random(300) < 0.1), rng.random(300) < 0.4], axis=1).astype(float)
    assert ag.significant_pairs(labels).tolist() == [True, False, False]


def test_train_target_has_no_partial():
    sample = make()
    found = ag.measure_agreement(replaced(sample, given_train=False), FEW)
    assert found["partial_r"] is found["train_phi_r"] is found["shifted"] is None
    assert found["mantel_r"] > 0.9


def test_unit_means_of_own_unit_and_nearest_block():
    train = np.array([[1.0, 0], [0, 0], [1, 1]])
    units = np.array(["a", "a", "b"])
    means, rule = ag.unit_means(train, units, np.array(["b", "a"]))
    np.testing.assert_array_equal(means, [[1, 1], [0.5, 0]])
    assert "own scene" in rule
    places = np.array([[0.0, 0], [0, 2], [10, 0]])
    means, rule = ag.unit_means(
        train, units, np.array(["x", "y"]), places, np.array([[9.0, 0], [1, 1]])
    )
    np.testing.assert_array_equal(means, [[1, 1], [0.5, 0]])
    assert "nearest" in rule
    means, _ = ag.unit_means(train, units, np.array(["x"]))
    np.testing.assert_allclose(means, [[2 / 3, 1 / 3]])


def test_equal_seeds_give_equal_results():
    sample = make(n_labels=8)
    first, second = (ag.measure_agreement(sample, FEW, seed=5) for _ in range(2))
    for key, value in first.items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(value, second[key])
        else:
            assert value == second[key]


def test_twenty_labels_take_less_than_two_seconds():
    sample = make(n_labels=20)
    started = time.process_time()
    ag.measure_agreement(sample, Agreement())
    assert time.process_time() - started < 4  # 0.6 s on a quiet machine


@pytest.mark.real_data
def test_baselines_of_uc_merced_are_those_of_the_design(data_folder):
    """DESIGN: training phi has r = 0.987, scene-class means 0.96, ridge on noise 0.93."""
    pd = pytest.importorskip("pandas")
    folder = data_folder / "ucm_multilabel"
    labels = pd.read_csv(folder / "LandUse_Multilabeled.txt", sep="\t", index_col=0)
    split = pd.read_csv(folder / "ucm_split.csv", index_col="image").loc[labels.index]
    train, test = ((split["part"] == part).to_numpy() for part in ("train", "test"))
    values = labels.to_numpy(dtype=float)
    scenes = split["scene_class"].to_numpy(dtype=str)
    means, rule = ag.unit_means(values[train], scenes[train], scenes[test])
    noise = np.random.default_rng(0).random((test.sum(), 17))
    sample = ag.Sample(
        list(labels.columns),
        values[train],
        values[test],
        noise,
        scenes[test],
        "groups",
        means,
        rule,
    )
    found = ag.measure_agreement(sample, Agreement(folds=0, noise_features=512))
    assert found["train_phi_r"] == pytest.approx(0.987, abs=0.006)
    assert found["scene_mean_r"] == pytest.approx(0.96, abs=0.03)
    assert found["noise_r"] == pytest.approx(0.93, abs=0.04)
    assert found["n_labels"] == 17
    assert abs(found["mantel_r"]) < 0.3
    assert found["shifted"]["groups"] == 8
    assert found["shifted"]["of"] == 21
    assert found["shifted"]["train_phi_r"] == pytest.approx(0.899, abs=0.02)
    assert found["shifted"]["labels"] == pytest.approx(11, abs=1.5)


def test_the_gain_has_an_interval_around_it():
    sample = make()
    found = ag.measure_agreement(sample, FEW)
    assert found["gain"] == pytest.approx(found["mantel_r"] - found["train_phi_r"])
    low, high = found["gain_interval"]
    assert low < found["gain"] < high
    without = ag.measure_agreement(replaced(sample, given_train=False), FEW)
    assert without["gain"] is None
    assert without["gain_interval"] is None
