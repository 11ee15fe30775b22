import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score, ndcg_score

from geolatents.olr import retrieval as rt


def drawn(seed, tiles=40, labels=4):
    rng = np.random.default_rng(seed)
    targets = (rng.random((tiles, labels)) < 0.4).astype(np.uint8)
    cover = targets * rng.random(targets.shape)
    return targets, cover / np.maximum(cover.sum(axis=1, keepdims=True), 1), rng


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6))
def test_figures_are_those_of_other_libraries(seed):
    targets, cover, rng = drawn(seed)
    values = rng.standard_normal((len(targets), 5))
    found = rt.rank_tiles({"cosine": rt.cosine(values)}, targets, cover)
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    for query in range(0, 40, 7):
        others = np.arange(40) != query
        similarity = (unit[query] @ unit.T)[others]
        same = (targets == targets[query]).all(axis=1)[others]
        if same.any():
            expected = average_precision_score(same, similarity)
            assert found["like_labels"]["cosine"][query] == pytest.approx(expected)
        else:
            assert np.isnan(found["like_labels"]["cosine"][query])
        union = np.maximum(targets[query], targets).sum(axis=1)
        joint = np.minimum(targets[query], targets).sum(axis=1)
        jaccard = np.where(union > 0, joint / np.maximum(union, 1), 1)[others]
        if jaccard.any():
            expected = ndcg_score([jaccard], [similarity])
            assert found["graded_labels"]["cosine"][query] == pytest.approx(expected)
        likeness = (1 - np.abs(cover[query] - cover).sum(axis=1) / 2)[others]
        if np.ptp(likeness):
            expected = spearmanr(likeness, similarity)[0]
            assert found["composition"]["cosine"][query] == pytest.approx(expected)


def test_blocks_of_queries_change_nothing(monkeypatch):
    targets, cover, rng = drawn(1)
    similarities = rt.control_similarities(rng.random(targets.shape), "teacher")
    whole = rt.rank_tiles(similarities, targets, cover)
    monkeypatch.setattr(rt, "BLOCK_ENTRIES", 7 * len(targets))
    parts = rt.rank_tiles(similarities, targets, cover)
    for measure, values in whole.items():
        for name, expected in values.items():
            np.testing.assert_allclose(parts[measure][name], expected)


def test_the_rank_one_control_is_the_cosine_of_scores():
    from geolatents.olr.embedding import rank_one

    scores = np.random.default_rng(0).random((30, 5))
    found = rt.embedding_similarity(rank_one(scores, 8))(slice(0, 30))
    np.testing.assert_allclose(found, rt.cosine(scores)(slice(0, 30)), atol=1e-12)


def test_likelihood_is_the_probability_of_equal_label_sets():
    p = np.array([[0.9, 0.2], [0.5, 0.5]])
    expected = np.log((0.9 * 0.5 + 0.1 * 0.5) * (0.2 * 0.5 + 0.8 * 0.5))
    assert rt.likelihood(p)(slice(0, 1))[0, 1] == pytest.approx(expected)


def test_truth_itself_ranks_perfectly():
    targets, cover, _ = drawn(3)
    found = rt.rank_tiles({"truth": rt.nearness(targets.astype(float))}, targets, cover)
    assert np.nanmin(found["like_labels"]["truth"]) == pytest.approx(1)


def test_two_tiles_have_nothing_to_rank():
    targets = np.ones((2, 3), np.uint8)
    assert np.isnan(
        rt.rank_tiles({"x": rt.dot(np.ones((2, 1)))}, targets)["like_labels"]["x"]
    ).all()
