import csv
import json

import numpy as np
import pytest
from olr_data import (
    classes,
    parts_of_blocks,
    tile_table,
    world,
    write_predictions,
    write_split,
)
from PIL import Image

from geolatents.errors import GeolatentsError, StoreError
from geolatents.files import write_json
from geolatents.learning.ledger import read_ledger
from geolatents.olr.agreement import correlation_matrix
from geolatents.olr.experiment import run_experiment
from geolatents.olr.figures import draw_experiment
from geolatents.olr.samples import ground_blocks, read_predictions, read_sample, tile_groups
from geolatents.settings.experiments import Agreement, Experiment

DESIGN_KEYS = {
    "mantel_r", "mantel_p", "partial_r", "partial_interval", "train_phi_r", "scene_mean_r",
    "noise_r", "reliability", "column_shuffle_r", "row_shuffle_r", "n_labels", "n_tiles",
}  # fmt: skip


def experiment(**arguments):
    agreement = Agreement(permutations=199, folds=20)
    return Experiment(classifier="demo-classifier", agreement=agreement, **arguments)


@pytest.fixture
def folder(tmp_path):
    targets, scores, blocks = world()
    part = parts_of_blocks(blocks)
    ids = [f"north-{i % 25}-{i // 25}" for i in range(len(targets))]
    for seed in (0, 1):
        noisy = np.clip(scores + 0.05 * np.random.default_rng(seed).random(scores.shape), 0, 1)
        write_predictions(tmp_path / f"classifier-{seed}.zarr", targets, noisy, part, ids)
    write_predictions(tmp_path / "siamese-0.zarr", targets, scores**2, part, ids, kind="siamese")
    write_predictions(tmp_path / "siamese-1.zarr", targets, scores**3, part, ids, kind="siamese")
    write_split(tmp_path / "split.parquet", ids, part, blocks)
    place = np.arange(len(ids))
    tile_table(tmp_path / "tiles.parquet", ids, place % 25, place // 25)
    return tmp_path


def labels_manifest(folder):
    write_json(folder / "manifest.json", {"attributes": {"classes": classes()}})
    return folder / "manifest.json"


def run(folder, settings, siamese=True):
    run_experiment(
        settings,
        seeds=[0, 1],
        classifier=[folder / f"classifier-{s}.zarr" for s in (0, 1)],
        siamese=[folder / f"siamese-{s}.zarr" for s in (0, 1)] if siamese else [],
        split=folder / "split.parquet",
        tiles=folder / "tiles.parquet",
        output=folder / "e" / "agreement.json",
        per_label=folder / "e" / "per-label.csv",
        name="demo",
        ledger=folder / "test-ledger.jsonl",
    )
    found = json.loads((folder / "e" / "agreement.json").read_text())
    rows = list(csv.DictReader((folder / "e" / "per-label.csv").open()))
    return found, rows


def test_an_experiment_with_both_scorers(folder):
    found, rows = run(folder, experiment())
    assert set(found) == {"classifier", "siamese"}
    for seeds in found.values():
        assert set(seeds) == {"0", "1"}
        for entry in seeds.values():
            assert set(entry) >= DESIGN_KEYS
            assert entry["mantel_r"] > 0.8
            assert entry["resampled"] == "blocks"
            assert "nearest" in entry["scene_mean_rule"]
            quality = entry["quality"]
            assert (
                quality["tp"] + quality["tn"] + quality["fp"] + quality["fn"]
                == 8 * quality["n_tiles"]
            )
    predictions = read_predictions(folder / "classifier-0.zarr")
    test = predictions.part == "test"
    np.testing.assert_allclose(
        found["classifier"]["0"]["phi"], correlation_matrix(predictions.targets[test]), atol=1e-12
    )
    np.testing.assert_allclose(
        found["siamese"]["1"]["correlation"],
        correlation_matrix(read_predictions(folder / "siamese-1.zarr").scores[test]),
        atol=1e-12,
    )
    assert len(rows) == 4 * 8
    for row in rows:
        counts = sum(int(row[key]) for key in ("tp", "tn", "fp", "fn"))
        assert counts == test.sum()
    draw_experiment(
        folder / "e" / "agreement.json", labels_manifest(folder), folder / "a.png", name="demo"
    )
    assert Image.open(folder / "a.png").width > 1000
    assert read_ledger(folder / "test-ledger.jsonl")[0]["what"] == "experiment demo"


def test_thresholds_change_decisions_only(folder):
    half, _ = run(folder, experiment(), siamese=False)
    low, rows = run(folder, experiment(threshold=0.2), siamese=False)
    tuned, _ = run(folder, experiment(threshold="tuned"), siamese=False)
    qualities = [entry["classifier"]["0"]["quality"] for entry in (half, low, tuned)]
    assert qualities[1]["micro_recall"] > qualities[0]["micro_recall"]
    assert len({q["macro_ap"] for q in qualities}) == 1
    assert len({q["macro_f1"] for q in qualities}) == 3
    assert {row["threshold"] for row in rows} == {"0.2"}
    assert half["classifier"]["0"]["mantel_r"] == low["classifier"]["0"]["mantel_r"]


@pytest.mark.parametrize("target", ["train", "all"])
def test_quality_and_labels_are_of_the_test_part_whatever_the_target(folder, target):
    agreement = Agreement(permutations=99, folds=0, target=target)
    settings = Experiment(classifier="demo-classifier", agreement=agreement)
    found, rows = run(folder, settings, siamese=False)
    entry = found["classifier"]["0"]
    n_test = int((read_predictions(folder / "classifier-0.zarr").part == "test").sum())
    assert entry["n_tiles"] != n_test
    assert entry["quality"]["n_tiles"] == n_test
    assert sum(int(rows[0][key]) for key in ("tp", "tn", "fp", "fn")) == n_test
    assert (entry["train_phi_rmse"] is None) == (target == "train")


def test_published_figures_are_kept_beside(folder):
    found, _ = run(folder, experiment(published={"micro_f1": 0.65}), siamese=False)
    assert found["published"] == {"micro_f1": 0.65}


def test_targets(folder):
    predictions = read_predictions(folder / "classifier-0.zarr")
    sizes = {}
    for target in ("train", "test", "all"):
        sample = read_sample(
            predictions,
            split=folder / "split.parquet",
            tiles=folder / "tiles.parquet",
            target=target,
        )
        sizes[target] = len(sample.targets)
        assert sample.given_train == (target != "train")
    assert sizes["all"] == 600
    assert sizes["test"] == (predictions.part == "test").sum()


def test_groups_of_images_without_blocks(folder):
    predictions = read_predictions(folder / "classifier-0.zarr")
    n = len(predictions.ids)
    write_split(folder / "listed.parquet", predictions.ids, predictions.part, [""] * n)
    groups = np.array([f"scene{i % 7}" for i in range(n)])
    place = np.arange(n)
    tile_table(folder / "grouped.parquet", predictions.ids, place % 25, place // 25, group=groups)
    sample = read_sample(
        predictions, split=folder / "listed.parquet", tiles=folder / "grouped.parquet"
    )
    assert sample.grouping == "groups"
    assert len(np.unique(sample.groups)) == 7
    first = np.flatnonzero(predictions.part == "test")[0]
    own = (predictions.part == "train") & (groups == groups[first])
    np.testing.assert_allclose(sample.scene_means[0], predictions.targets[own].mean(axis=0))
    write_split(folder / "by-group.parquet", predictions.ids, predictions.part, groups)
    whole = read_sample(
        predictions, split=folder / "by-group.parquet", tiles=folder / "grouped.parquet"
    )
    assert whole.grouping == "groups"  # not blocks of ground
    alone = read_sample(predictions, split=folder / "listed.parquet")
    assert alone.grouping == "tiles"


def test_few_scenes_are_resampled_by_blocks_of_ground(folder):
    """Two scenes cannot be left out; single tiles would give intervals that are far too narrow."""
    predictions = read_predictions(folder / "classifier-0.zarr")
    place = np.arange(len(predictions.ids))
    scene = np.where(place % 25 < 12, "west", "east")
    table = folder / "two.parquet"
    tile_table(table, predictions.ids, place % 25, place // 25, scene=scene)
    groups, grouping = tile_groups(table, predictions.ids)
    assert grouping == "blocks"
    assert 25 <= len(np.unique(groups)) <= 42
    for name in np.unique(groups):  # neighbours stay together
        columns, rows = place[groups == name] % 25, place[groups == name] // 25
        assert max(np.ptp(columns), np.ptp(rows)) <= 4
    write_split(folder / "chance.parquet", predictions.ids, predictions.part, [""] * len(place))
    sample = read_sample(predictions, split=folder / "chance.parquet", tiles=table)
    assert sample.grouping == "blocks"
    line = np.stack([np.arange(40.0), np.zeros(40)], axis=1)
    assert len(np.unique(ground_blocks(line))) == 36
    assert set(ground_blocks(np.zeros((3, 2)))) == {"0_0"}


def test_a_split_that_changed_is_refused(folder):
    predictions = read_predictions(folder / "classifier-0.zarr")
    part = predictions.part.copy()
    part[part == "test"] = "train"
    write_split(folder / "other.parquet", predictions.ids, part, [""] * len(part))
    with pytest.raises(StoreError, match="another part"):
        read_sample(predictions, split=folder / "other.parquet")
    write_split(folder / "short.parquet", predictions.ids[1:], part[1:], [""] * (len(part) - 1))
    with pytest.raises(GeolatentsError, match="not in the split"):
        read_sample(predictions, split=folder / "short.parquet")
