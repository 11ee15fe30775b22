import json

import numpy as np
import pandas as pd
import pytest
from olr_data import parts_of_blocks, world, write_predictions, write_tiles

from geolatents.errors import StoreError
from geolatents.learning.ledger import read_ledger, record_reading
from geolatents.olr.evaluate import evaluate_model, model_metrics, training_progress
from geolatents.olr.samples import read_predictions

STABLE = {"macro_ap", "micro_ap", "macro_f1", "micro_f1", "accuracy", "balanced_accuracy", "mcc"}


@pytest.fixture
def model(tmp_path):
    targets, scores, blocks = world()
    part = parts_of_blocks(blocks)
    part[:3] = "buffer"
    ids = [f"north-{i % 25}-{i // 25}" for i in range(len(targets))]
    store = tmp_path / "predictions.zarr"
    write_predictions(store, targets, scores, part, ids, best_epoch=2)
    statistics = 500 + 300 * targets[:, :4].astype(float)
    columns, rows = np.arange(len(ids)) % 25, np.arange(len(ids)) // 25
    write_tiles(tmp_path / "north.zarr", ids, statistics, columns, rows)
    pd.DataFrame(
        {
            "epoch": [1, 2, 3],
            "loss": [0.7, 0.4, 0.3],
            "validation_macro_ap": [0.4, 0.8, 0.7],
            "learning_rate": [0.1, 0.1, 0.0],
            "seconds": [1.0, 2.0, 3.0],
        }
    ).to_csv(tmp_path / "history.csv", index=False)
    return tmp_path


def evaluated(folder, look=False, **arguments):
    evaluate_model(
        predictions=folder / "predictions.zarr",
        stores=[folder / "north.zarr"] if look else [],
        history=folder / "history.csv",
        output=folder / "metrics.json",
        card=folder / "model_card.md",
        **arguments,
    )
    return json.loads((folder / "metrics.json").read_text())


def test_metrics_and_baselines(model):
    found = evaluated(model, look=True)
    assert set(found["split"]) == {"train", "validation", "test"}
    names = {"all_absent", "majority", "prevalence", "logistic", "random_forest"}
    assert set(found["baselines"]) == names
    for entry in (found, *found["baselines"].values()):
        for part in entry["split"].values():
            assert set(part) >= STABLE | {"tp", "tn", "fp", "fn", "left_out"}
            assert part["tp"] + part["tn"] + part["fp"] + part["fn"] == part["n_tiles"] * 8
    counted = sum(part["n_tiles"] for part in found["split"].values())
    assert counted == 600 - 3  # not the buffer
    assert (
        found["split"]["test"]["macro_ap"]
        > found["baselines"]["random_forest"]["split"]["test"]["macro_ap"]
    )
    assert found["best_baseline"] in {"logistic", "random_forest"}
    label = found["per_label"]["211"]
    assert label["name"] == "Class with a rather long name 2"
    assert label["test"]["tp"] + label["test"]["fn"] == label["test"]["positives"]


def test_starting_final_improvement_iterations(model):
    found = evaluated(model)["training"]
    assert found["iterations"] == 2
    assert found["epochs"] == 3
    assert found["seconds"] == 6
    ap = found["figures"]["validation_macro_ap"]
    assert ap["starting"] == 0.4
    assert ap["final"] == 0.8
    assert ap["improvement"] == pytest.approx(0.4)
    assert set(found["figures"]) == {"loss", "validation_macro_ap"}
    assert found["figures"]["loss"]["improvement"] == pytest.approx(0.3)  # a loss that fell
    # Rounded figures can be equal: the epoch that was kept is known, not guessed.
    equal = pd.read_csv(model / "history.csv").assign(validation_macro_ap=0.8)
    assert training_progress(equal, best_epoch=3)["iterations"] == 3


def test_empty_history():
    assert training_progress(pd.DataFrame({"epoch": []}))["iterations"] == 0


def test_thresholds(model):
    predictions = read_predictions(model / "predictions.zarr")
    half, low, tuned = (model_metrics(predictions, None, t) for t in (0.5, 0.2, "tuned"))
    assert low["split"]["test"]["fn"] < half["split"]["test"]["fn"]
    assert low["split"]["test"]["macro_ap"] == half["split"]["test"]["macro_ap"]
    assert tuned["split"]["validation"]["macro_f1"] >= half["split"]["validation"]["macro_f1"]
    rows = [row["test"]["threshold"] for row in tuned["per_label"].values()]
    assert len(set(rows)) > 1


def test_test_labels_do_not_choose_thresholds_or_baselines(model):
    predictions = read_predictions(model / "predictions.zarr")
    test = predictions.part == "test"
    before = model_metrics(predictions, None, "tuned")
    predictions.targets[test] = 1 - predictions.targets[test]
    after = model_metrics(predictions, None, "tuned")
    assert before["split"]["validation"] == after["split"]["validation"]
    assert before["best_baseline"] == after["best_baseline"]
    assert (
        before["per_label"]["211"]["test"]["threshold"]
        == (after["per_label"]["211"]["test"]["threshold"])
    )


def test_model_card_is_readable(model):
    evaluated(model, settings={"epochs": 3, "network": {"name": "residual"}}, seed=4)
    text = (model / "model_card.md").read_text()
    assert text.startswith("# demo-classifier, seed 4\n")
    for expected in (
        "## Quality beside baselines",
        "| prevalence |",
        "| 211 | Class with a rather long name 2 |",
        "| epochs | `3` |",
        "buffer",
        "## Intended use and limits",
    ):
        assert expected in text


def test_siamese_pairs_are_carried(model, tmp_path):
    predictions = read_predictions(model / "predictions.zarr")
    store = tmp_path / "siamese.zarr"
    write_predictions(
        store, predictions.targets, predictions.scores, predictions.part, predictions.ids,
        kind="siamese", pairs={"mse": 0.01, "r2": 0.8},
    )  # fmt: skip
    found = model_metrics(read_predictions(store))
    assert found["pairs"] == {"mse": 0.01, "r2": 0.8}
    assert found["kind"] == "siamese"


def test_every_reading_is_in_the_ledger(model):
    ledger = model / "results" / "test-ledger.jsonl"
    evaluated(model, ledger=ledger, seed=1)
    record_reading(ledger, what="experiment demo", rule="run_experiment")
    rows = read_ledger(ledger)
    assert [row["rule"] for row in rows] == ["evaluate_model", "run_experiment"]
    assert rows[0]["what"] == "metrics of demo-classifier, seed 1"
    assert rows[0]["part"] == "test"
    assert rows[0]["when"].endswith("+00:00")
    assert read_ledger(model / "none.jsonl") == []


def test_predictions_that_do_not_fit_are_refused(model, tmp_path):
    predictions = read_predictions(model / "predictions.zarr")
    store = tmp_path / "wrong.zarr"
    write_predictions(
        store, predictions.targets[:, :5], predictions.scores, predictions.part, predictions.ids
    )
    with pytest.raises(StoreError, match="do not fit together"):
        read_predictions(store)


def test_a_torn_row_of_the_ledger_spoils_no_other(tmp_path):
    ledger = tmp_path / "ledger.jsonl"
    record_reading(ledger, what="one", rule="a")
    with ledger.open("a") as stream:
        stream.write('{"part": "te')
    assert [row["what"] for row in read_ledger(ledger)] == ["one"]
    record_reading(ledger, what="two", rule="a")
    assert [row["what"] for row in read_ledger(ledger)] == ["one", "two"]
