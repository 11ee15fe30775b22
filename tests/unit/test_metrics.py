import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from geolatents.learning.metrics import evaluate_labels, left_out, macro_ap, tune_thresholds


def drawn(seed=0, n=200, labels=5):
    rng = np.random.default_rng(seed)
    targets = (rng.random((n, labels)) < np.linspace(0.1, 0.7, labels)).astype(np.uint8)
    scores = np.clip(0.35 * targets + 0.65 * rng.random((n, labels)), 0, 1)
    return targets, scores


def test_metrics_equal_scikit_learn():
    targets, scores = drawn()
    found = evaluate_labels(targets, scores, 0.5)
    decided = scores >= 0.5
    assert found["macro_ap"] == pytest.approx(sk.average_precision_score(targets, scores))
    assert found["micro_ap"] == pytest.approx(
        sk.average_precision_score(targets, scores, average="micro")
    )
    assert found["macro_roc_auc"] == pytest.approx(sk.roc_auc_score(targets, scores))
    for kind in ("micro", "macro"):
        assert found[f"{kind}_f1"] == pytest.approx(sk.f1_score(targets, decided, average=kind))
        assert found[f"{kind}_recall"] == pytest.approx(
            sk.recall_score(targets, decided, average=kind)
        )
        assert found[f"{kind}_precision"] == pytest.approx(
            sk.precision_score(targets, decided, average=kind)
        )
    assert found["accuracy"] == pytest.approx((decided == targets).mean())
    assert found["exact_match"] == pytest.approx(sk.accuracy_score(targets, decided))
    labels = range(targets.shape[1])
    assert found["mcc"] == pytest.approx(
        np.mean([sk.matthews_corrcoef(targets[:, i], decided[:, i]) for i in labels])
    )
    assert found["balanced_accuracy"] == pytest.approx(
        np.mean([sk.balanced_accuracy_score(targets[:, i], decided[:, i]) for i in labels])
    )


def test_the_predecessors_urban_row():
    """First Table 7 of the thesis: Urban TP 57, TN 1167, FP 4, FN 272."""
    targets = np.r_[np.ones(57), np.zeros(1167), np.zeros(4), np.ones(272)][:, None]
    decided = np.r_[np.ones(57), np.zeros(1167), np.ones(4), np.zeros(272)][:, None]
    row = evaluate_labels(targets, decided, 0.5)["per_label"]["0"]
    assert (row["tp"], row["tn"], row["fp"], row["fn"]) == (57, 1167, 4, 272)
    expected = {"accuracy": 0.816, "precision": 0.934, "recall": 0.173, "f1": 0.292}
    expected |= {"balanced_accuracy": 0.585, "mcc": 0.356, "prevalence": 0.219}
    assert {k: round(row[k], 3) for k in expected} == expected


def test_undefined_is_none_and_named():
    targets = np.array([[0, 1, 1], [0, 1, 0], [0, 1, 0]])
    scores = np.array([[0.9, 0.9, 0.1], [0.1, 0.2, 0.2], [0.1, 0.9, 0.3]])
    found = evaluate_labels(targets, scores, 0.5, ["a", "b", "c"])
    assert found["left_out"] == {"a": "no positives", "b": "no negatives"}
    a, b, c = (found["per_label"][code] for code in "abc")
    assert a["ap"] is a["recall"] is a["f1"] is a["mcc"] is a["roc_auc"] is None
    assert b["roc_auc"] is b["balanced_accuracy"] is None
    assert c["precision"] is None
    assert c["f1"] == c["mcc"] == 0
    assert found["macro_ap"] == pytest.approx(1 / 3)
    assert found["macro_ap"] == macro_ap(targets, scores)
    assert found["macro_precision"] == 0


def test_no_label_left():
    targets = np.zeros((4, 2))
    assert np.isnan(macro_ap(targets, targets))
    found = evaluate_labels(targets, targets)
    assert found["macro_ap"] is None
    assert found["micro_ap"] is None
    assert found["accuracy"] == 1


def test_thresholds_per_label():
    targets = np.array([[1, 1], [0, 0]])
    scores = np.array([[0.3, 0.3], [0.1, 0.1]])
    found = evaluate_labels(targets, scores, [0.2, 0.5])
    assert found["per_label"]["0"]["tp"] == 1
    assert found["per_label"]["1"]["tp"] == 0
    assert found["tp"] + found["tn"] + found["fp"] + found["fn"] == 4


def best_f1_by_search(truth, scores):
    cuts = [*np.unique(scores), 2.0]
    return max(sk.f1_score(truth, scores >= cut, zero_division=0) for cut in cuts)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 30), st.integers(1, 8))
def test_tuned_thresholds_are_the_best(seed, n, levels):
    rng = np.random.default_rng(seed)
    targets = rng.random((n, 3)) < 0.4
    scores = rng.integers(0, levels + 1, (n, 3)) / levels
    limits = tune_thresholds(targets, scores)
    for i in range(3):
        if targets[:, i].any():
            reached = sk.f1_score(targets[:, i], scores[:, i] >= limits[i])
            assert reached == pytest.approx(best_f1_by_search(targets[:, i], scores[:, i]))
        else:
            assert limits[i] == 0.5


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 6))
def test_counts_sum_to_decisions(seed, n, labels):
    targets, scores = drawn(seed, n, labels)
    found = evaluate_labels(targets, scores, 0.4)
    assert found["tp"] + found["tn"] + found["fp"] + found["fn"] == n * labels
    assert found["tp"] + found["fn"] == found["n_positives"] == targets.sum()


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match="must be equal"):
        macro_ap(np.zeros((3, 2)), np.zeros((3, 3)))
    with pytest.raises(ValueError, match="1 scores are not finite"):
        macro_ap(np.zeros((1, 2)), np.array([[0, np.nan]]))


def test_left_out_counts():
    targets = np.array([[1, 1, 0]] * 3 + [[0, 1, 0]] * 4)
    assert left_out(targets, ["a", "b", "c"], minimum=4) == {
        "a": "only 3 positives",
        "b": "no negatives",
        "c": "no positives",
    }
