import json
import shutil

import pandas as pd
import pytest
from olr_data import build_results

from geolatents.errors import StoreError
from geolatents.files import read_json, write_json
from geolatents.report.entries import entries_text, experiment_entries, read_entries
from geolatents.report.summary import COLUMNS, experiment_rows, format_table, summarise
from geolatents.settings.config import Config


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    root = tmp_path_factory.mktemp("results")
    return root, build_results(root)


def test_one_row_per_seed_beside_its_baselines(results):
    root, entry = results
    summarise([entry], root, root / "summary.csv")
    table = pd.read_csv(root / "summary.csv")
    assert list(table["seed"]) == [0, 1]
    assert list(table.columns[: len(COLUMNS)]) == list(COLUMNS)
    row = table.iloc[1]
    metrics = json.loads((root / "demo/models/demo-classifier/seed-1/metrics.json").read_text())
    agreement = json.loads((root / "demo/experiments/demo/agreement.json").read_text())
    assert row.test_macro_ap == pytest.approx(metrics["split"]["test"]["macro_ap"])
    best = metrics["baselines"][metrics["best_baseline"]]["split"]["test"]
    assert row.baseline_macro_ap == pytest.approx(best["macro_ap"])
    assert row.test_macro_ap > row.baseline_macro_ap
    found = agreement["classifier"]["1"]
    assert row.mantel_r == pytest.approx(found["mantel_r"])
    assert row.partial_r == pytest.approx(found["partial_r"])
    assert [row.partial_low, row.partial_high] == pytest.approx(found["partial_interval"])
    assert row.shifted_gain == pytest.approx(found["shifted"]["median_difference"])
    assert row.siamese_mantel_r == pytest.approx(agreement["siamese"]["1"]["mantel_r"])
    assert row.siamese_pairs_r2 == 0.7
    assert row.on_other_mantel_r == pytest.approx(found["mantel_r"])
    siamese = agreement["siamese"]["1"]["mantel_r"]
    assert row.siamese_on_other_mantel_r == pytest.approx(siamese)
    assert not any("bare" in name for name in table.columns)
    assert row.on_other_train_phi_r == pytest.approx(found["train_phi_r"])


def test_decisions_are_those_of_the_experiments_threshold(results, tmp_path):
    root, entry = results
    experiments = tmp_path / "demo" / "experiments"
    shutil.copytree(root / "demo" / "experiments", experiments)
    (tmp_path / "demo" / "models").symlink_to(root / "demo" / "models")
    content = read_json(experiments / "demo" / "agreement.json")
    quality = {"threshold": 0.2, "micro_f1": 0.1, "macro_f1": 0.2, "accuracy": 0.3, "mcc": 0.4}
    for found in content["classifier"].values():
        found["quality"] |= quality
    write_json(experiments / "demo" / "agreement.json", content)
    row = next(experiment_rows(entry, tmp_path))
    assert row["threshold"] == 0.2
    for name in ("micro_f1", "macro_f1", "accuracy", "mcc"):
        assert row[f"test_{name}"] == quality[name]


def test_the_terminal_table_is_aligned_and_short(results):
    root, entry = results
    summarise([entry], root, root / "summary.csv")
    lines = format_table(root / "summary.csv").splitlines()
    assert len(lines) == 4
    assert lines[0].split("  ")[0] == "experiment"
    assert "test macro AP" in lines[0]
    assert "Mantel r" in lines[0]
    assert len({len(line) for line in lines}) == 1
    assert max(map(len, lines)) <= 100


def test_undefined_values_are_dashes(tmp_path):
    frame = pd.DataFrame([{"experiment": "a", "seed": 3, "mantel_r": 0.5, "partial_r": None}])
    frame.to_csv(tmp_path / "summary.csv", index=False)
    last = format_table(tmp_path / "summary.csv").splitlines()[-1].split()
    assert last == ["a", "3", "-", "-", "0.500", "-", "-", "-"]


def test_no_experiments_is_a_table_without_rows(tmp_path):
    summarise([], tmp_path, tmp_path / "summary.csv")
    assert list(pd.read_csv(tmp_path / "summary.csv").columns) == list(COLUMNS)
    assert len(format_table(tmp_path / "summary.csv").splitlines()) == 2


def test_a_missing_file_is_named(tmp_path, results):
    _, entry = results
    with pytest.raises(StoreError, match=r"agreement\.json"):
        summarise([entry], tmp_path, tmp_path / "summary.csv")


def test_entries_from_a_configuration():
    config = Config.model_validate(
        {
            "datasets": {
                "demo": {
                    "imagery": {"provider": "images", "images": "a.zip", "table": "t.txt"},
                    "splits": {"listed": {"kind": "listed", "file": "s.csv"}},
                    "batches": {"randomized": {"split": "listed"}},
                }
            },
            "models": {
                "a-classifier": {"kind": "classifier", "dataset": "demo", "seeds": [0, 2]},
                "a-siamese": {"kind": "siamese", "teacher": "a-classifier"},
            },
            "experiments": {"first": {"classifier": "a-classifier", "siamese": "a-siamese"}},
        }
    )
    (entry,) = experiment_entries(config)
    assert (entry.dataset, entry.labels, entry.split) == ("demo", "standard", "listed")
    assert (entry.seeds, entry.siamese) == ([0, 2], "a-siamese")
    assert read_entries(entries_text([entry])) == [entry]
