"""Experiments on another dataset: agreement of what applied models say of it, with labels or without."""

import json

import numpy as np
import pytest
from olr_data import (
    classes,
    parts_of_blocks,
    tile_table,
    world,
    write_predictions,
    write_vectors,
)
from PIL import Image

from geolatents.errors import StoreError
from geolatents.files import write_json
from geolatents.learning.ledger import read_ledger
from geolatents.learning.metrics import evaluate_labels, tune_thresholds
from geolatents.olr.agreement import correlation_matrix, pearson, upper
from geolatents.olr.elsewhere import run_experiment_elsewhere
from geolatents.olr.figures import draw_experiment
from geolatents.olr.samples import read_applied, read_predictions
from geolatents.settings.experiments import Agreement, Experiment
from geolatents.stores import new_store, write_strings

DESIGN_KEYS = {
    "mantel_r", "mantel_p", "partial_r", "partial_interval", "train_phi_r", "scene_mean_r",
    "noise_r", "reliability", "column_shuffle_r", "row_shuffle_r", "n_labels", "n_tiles",
}  # fmt: skip

SEEDS = (0, 3)


@pytest.fixture
def folder(tmp_path):
    """Models of two seeds on their own dataset, and the tiles of another."""
    targets, scores, blocks = world()
    part = parts_of_blocks(blocks)
    ids = [f"north-{i % 25}-{i // 25}" for i in range(len(targets))]
    for scorer, power in (("classifier", 1), ("siamese", 2)):
        for seed in SEEDS:
            noisy = scores**power + 0.05 * np.random.default_rng(seed).random(scores.shape)
            store = tmp_path / f"{scorer}-{seed}.zarr"
            write_predictions(store, targets, np.clip(noisy, 0, 1), part, ids, kind=scorer)
    place = np.arange(600)
    groups = [f"g{i % 9}" for i in place]
    tile_table(tmp_path / "east.parquet", east_ids(), place % 25, place // 25, group=groups)
    write_json(tmp_path / "manifest.json", {"attributes": {"classes": classes()}})
    return tmp_path


def east_ids():
    return [f"east-{i % 25}-{i // 25}" for i in range(600)]


def east():
    """Presence in the other dataset, which does not know the last class, and scores of a model there."""
    targets, scores, _ = world(seed=5)
    return np.concatenate([targets[:, :7], np.zeros((600, 1), np.uint8)], axis=1), scores


def write_applied(path, scores, targets=None, seeds=SEEDS, **attributes):
    """What a model of two seeds says, the second a little more."""
    ids = east_ids() if seeds else []
    by_seed = np.stack([scores + 0.01 * i for i, _ in enumerate(seeds, 1)] or [scores], axis=1)
    labels = {"labels": "none"} if targets is None else {}
    with new_store(
        path, {"classes": classes(), "seeds": list(seeds), **labels, **attributes}
    ) as group:
        write_strings(group, "ids", ids, "tile")
        if seeds:
            write_vectors(
                group, "scores_by_seed", by_seed.astype(np.float32), ("tile", "seed", "label")
            )
        if targets is not None:
            write_vectors(group, "targets", targets[: len(ids)], ("tile", "label"))


def run(folder, applied=("classifier",), **settings):
    run_experiment_elsewhere(
        Experiment(
            classifier="demo-classifier",
            agreement=Agreement(permutations=199, folds=20),
            **settings,
        ),
        seeds=SEEDS,
        applied=[folder / f"on-east/{scorer}.zarr" for scorer in applied],
        classifier=[folder / f"classifier-{s}.zarr" for s in SEEDS],
        siamese=[folder / f"siamese-{s}.zarr" for s in SEEDS] if len(applied) > 1 else [],
        tiles=folder / "east.parquet",
        output=folder / "on-east" / "agreement.json",
        dataset="east",
        ledger=folder / "east" / "test-ledger.jsonl",
    )
    return json.loads((folder / "on-east" / "agreement.json").read_text())


def draw(folder):
    draw_experiment(
        folder / "on-east" / "agreement.json", folder / "manifest.json", folder / "east.png",
        name="demo", applied_to="east",
    )  # fmt: skip
    with Image.open(folder / "east.png") as image:
        return image.size


def test_a_classifier_on_another_dataset(folder):
    targets, scores = east()
    write_applied(folder / "on-east/classifier.zarr", scores, targets)
    found = run(folder, threshold="tuned")["classifier"]
    assert set(found) == {"0", "3"}
    entry = found["3"]
    assert set(entry) >= DESIGN_KEYS
    assert entry["left_out"] == {"512": "no positives in the compared part"}
    assert entry["n_labels"] == 7
    assert entry["resampled"] == "groups"
    assert entry["scene_mean_r"] is None
    np.testing.assert_allclose(entry["phi"], correlation_matrix(targets[:, :7]), atol=1e-12)
    trained = read_predictions(folder / "classifier-0.zarr")
    train = trained.targets[trained.part == "train"][:, :7]
    np.testing.assert_allclose(entry["train_phi"], correlation_matrix(train), atol=1e-12)
    assert entry["quality"]["threshold"] == "tuned"
    own = read_predictions(folder / "classifier-3.zarr")
    validation = own.part == "validation"
    limits = tune_thresholds(own.targets[validation], own.scores[validation])
    expected = evaluate_labels(targets, (scores + 0.02).astype(np.float32), limits)
    assert entry["quality"]["macro_f1"] == pytest.approx(expected["macro_f1"])
    assert entry["quality"]["prevalence_macro_ap"] == pytest.approx(targets[:, :7].mean())
    assert read_ledger(folder / "east" / "test-ledger.jsonl")[0]["part"] == "all"
    assert draw(folder)[0] > 1000


def test_a_siamese_network_stands_beside_with_the_same_keys(folder):
    targets, scores = east()
    write_applied(folder / "on-east/classifier.zarr", scores, targets)
    reason = {"3": "the teacher knows nothing"}
    write_applied(folder / "on-east/siamese.zarr", scores**2, targets, seeds=[0], refused=reason)
    found = run(folder, ("classifier", "siamese"))
    assert set(found) == {"classifier", "siamese"}
    assert set(found["siamese"]["0"]) == set(found["classifier"]["0"])
    assert found["siamese"]["3"] == {"status": "refused", "reason": "the teacher knows nothing"}
    np.testing.assert_allclose(
        found["siamese"]["0"]["correlation"],
        correlation_matrix((scores**2 + 0.01).astype(np.float32).astype(float)[:, :7]),
        atol=1e-6,
    )
    assert len(read_ledger(folder / "east" / "test-ledger.jsonl")) == 1
    assert draw(folder)[0] > 1000


def test_a_siamese_network_that_was_refused_with_every_seed(folder):
    targets, scores = east()
    write_applied(folder / "on-east/classifier.zarr", scores, targets)
    reasons = {str(seed): "weak" for seed in SEEDS}
    write_applied(folder / "on-east/siamese.zarr", scores, targets, seeds=[], refused=reasons)
    found = run(folder, ("classifier", "siamese"))
    assert {entry["status"] for entry in found["siamese"].values()} == {"refused"}
    assert draw(folder)[0] > 1000


@pytest.mark.parametrize("scorers", [("classifier",), ("classifier", "siamese")])
def test_tiles_without_labels_are_described_and_not_judged(folder, scorers):
    _, scores = east()
    for scorer in scorers:
        write_applied(folder / f"on-east/{scorer}.zarr", scores)
    found = run(folder, scorers)
    assert found["status"] == "no labels"
    assert "east" in found["reason"]
    entry = found["classifier"]["0"]
    assert set(found) == {"status", "reason", *scorers}
    assert entry["labels"] == [item["code"] for item in classes()]
    assert entry["n_tiles"] == 600
    np.testing.assert_allclose(entry["correlation"], correlation_matrix(scores), atol=1e-5)
    trained = read_predictions(folder / "classifier-0.zarr")
    phi = correlation_matrix(trained.targets[trained.part == "train"].astype(float))
    np.testing.assert_allclose(entry["train_phi"], phi, atol=1e-12)
    r = pearson(upper(np.array(entry["correlation"])), upper(phi))
    assert entry["against_train_phi_r"] == pytest.approx(r)
    assert entry["mean_scores"]["111"] == pytest.approx(scores[:, 0].mean() + 0.01, abs=1e-6)
    assert "mantel_r" not in entry
    assert not read_ledger(folder / "east" / "test-ledger.jsonl"), "no labels, no reading"
    assert draw(folder)[0] > 1000


def test_a_constant_score_is_left_out_also_without_labels(folder):
    _, scores = east()
    scores[:, 2] = 0.5
    write_applied(folder / "on-east/classifier.zarr", scores)
    entry = run(folder)["classifier"]["0"]
    assert entry["left_out"] == {"211": "the scores are constant"}
    assert entry["n_labels"] == 7


def test_predictions_of_other_seeds_are_refused(folder):
    targets, scores = east()
    write_applied(folder / "on-east/classifier.zarr", scores, targets, seeds=[0])
    with pytest.raises(StoreError, match="of other seeds"):
        run(folder)


def test_predictions_without_labels_are_no_training_predictions(folder):
    _, scores = east()
    write_applied(folder / "on-east/classifier.zarr", scores)
    assert read_applied(folder / "on-east/classifier.zarr").targets is None
    with pytest.raises(StoreError, match="have no labels"):
        read_predictions(folder / "on-east/classifier.zarr")
