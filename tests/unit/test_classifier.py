"""The classifier: checks, a training from stores to predictions, application elsewhere."""

import csv
import json

import keras
import numpy as np
import pytest
from label_makers import write_labels, write_split
from training_data import toy_tiles, write_files, write_tile_store

from geolatents.errors import SplitError, StoreError, TrainingError
from geolatents.learning.metrics import macro_ap
from geolatents.learning.prepare import (
    pooled_statistics,
    read_order,
    read_tiles,
    training_statistics,
)
from geolatents.olr.classifier import fit_classifier, train_classifier
from geolatents.olr.predict import apply_model, load_model, predict_scores
from geolatents.olr.training_check import check_training
from geolatents.settings.models import Augmentation, Classifier, Loss, Network
from geolatents.stores import open_store, read_array, read_strings

NETWORK = Network(widths=[8, 16], stem_stride=1, dropout=0)


def classifier(**changes):
    values = {
        "kind": "classifier",
        "dataset": "toy",
        "network": NETWORK,
        "epochs": 16,
        "learning_rate": 1e-2,
        "augmentation": Augmentation(rotations=False),
        "precision": "float32",
    }
    return Classifier(**(values | changes))


def train(settings, files, folder, seed=0):
    out = {
        name: folder / "toy-classifier" / f"seed-{seed}" / file
        for name, file in (
            ("model", "model.keras"),
            ("history", "history.csv"),
            ("predictions", "predictions.zarr"),
        )
    }
    train_classifier(settings, seed, files.stores, files.labels, files.split, files.order, **out)
    return out


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def trained(files, tmp_path_factory):
    return train(classifier(), files, tmp_path_factory.mktemp("models"))


def test_learns_what_can_be_learned_and_beats_prevalence(trained, files):
    group = open_store(trained["predictions"])
    part, scores = read_strings(group, "part"), read_array(group, "scores")
    targets = read_array(group, "targets")
    test = part == "test"
    prevalence = np.broadcast_to(targets[part == "train"].mean(axis=0), targets[test].shape)
    assert macro_ap(targets[test], scores[test]) > 0.95
    assert macro_ap(targets[test], prevalence) < 0.6


def test_predictions_hold_all_labelled_tiles_of_every_part(trained, files):
    group = open_store(trained["predictions"])
    np.testing.assert_array_equal(read_array(group, "targets"), files.targets)
    np.testing.assert_array_equal(read_strings(group, "part"), files.parts)
    assert "buffer" in files.parts
    assert read_array(group, "scores").dtype == np.float32
    assert group.attrs["dataset"] == "toy"
    assert group.attrs["model"] == "toy-classifier"
    assert group.attrs["kind"] == "classifier"
    assert [item["code"] for item in group.attrs["classes"]] == ["111", "112", "121"]


def test_saved_model_gives_the_predictions(trained, files):
    ids = [f"scene-{i}-0" for i in (5, 3, 100)]
    found = apply_model(trained["model"], files.stores, ids, flips=True)
    expected = read_array(open_store(trained["predictions"]), "scores")[[5, 3, 100]]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    model = load_model(trained["model"])
    tiles = files.images[[5, 3, 100]]
    views = [tiles, tiles[:, ::-1], tiles[:, :, ::-1], tiles[:, ::-1, ::-1]]
    views += [view.swapaxes(1, 2) for view in views]
    direct = np.mean([np.asarray(model(view, training=False)) for view in views], axis=0)
    np.testing.assert_allclose(found, direct, atol=1e-5)


def test_history_names_what_selected_the_model(trained):
    with trained["history"].open() as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["epoch", "loss", "validation_macro_ap", "learning_rate", "seconds"]
    best = max(rows, key=lambda row: float(row["validation_macro_ap"]))
    attributes = open_store(trained["predictions"]).attrs
    assert attributes["best_epoch"] == int(best["epoch"])
    assert attributes["validation_macro_ap"] == pytest.approx(
        float(best["validation_macro_ap"]), abs=1e-5
    )


def test_nothing_but_outputs_is_left_behind(trained):
    names = {path.name for path in trained["model"].parent.iterdir()}
    assert names == {"model.keras", "history.csv", "predictions.zarr"}


def test_same_seed_same_weights_when_deterministic(files):
    settings = classifier(
        epochs=2,
        deterministic=True,
        precision="mixed_bfloat16",
        augmentation=Augmentation(shift=0.1, mixup=0.2, occlusion=0.3),
        network=NETWORK.model_copy(update={"dropout": 0.2}),
    )
    tiles = read_tiles(files.stores, files.labels, files.split)
    order = read_order(files.order, tiles)
    first, again = (fit_classifier(settings, 1, tiles, order)[0] for _ in range(2))
    for one, two in zip(first.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_label_weights_raise_the_scores_of_rare_labels(files, tmp_path):
    """Labels that have nothing to do with the images end at their weighted prevalence."""
    shuffled = np.random.default_rng(0).permutation(files.targets)
    names = [f"scene-{i}-0" for i in range(len(shuffled))]
    labels = write_labels(tmp_path / "shuffled.zarr", names, shuffled)
    tiles = read_tiles(files.stores, labels, files.split)
    order = read_order(files.order, tiles)
    means = []
    for weights in ("none", "balanced"):
        settings = classifier(epochs=4, patience=4, loss=Loss(label_weights=weights))
        model, _ = fit_classifier(settings, 0, tiles, order)
        means.append(predict_scores(model, tiles.images, tiles.positions).mean(axis=0))
    assert means[1][2] > means[0][2] + 0.1, "a quarter of the tiles: weight 3"
    assert abs(means[1][0] - means[0][0]) < 0.1, "half of the tiles: weight about 1"


def test_orders_of_other_label_sets_give_full_batches_of_what_is_left(files, tmp_path):
    kept = np.flatnonzero(files.targets.any(axis=1))
    labels = write_labels(
        tmp_path / "some.zarr", [f"scene-{i}-0" for i in kept], files.targets[kept]
    )
    tiles = read_tiles(files.stores, labels, files.split)
    order = read_order(files.order, tiles)
    rows = order.rows(0)
    assert rows.shape == (len(order.epochs[0]) // 16, 16)
    assert len(np.unique(rows)) == rows.size
    assert set(tiles.part[rows.ravel()]) == {"train"}
    np.testing.assert_array_equal(order.rows(3), rows)
    assert not np.array_equal(order.rows(1), rows)
    images, targets = next(iter(order.batches(tiles, 0)))
    np.testing.assert_array_equal(images, files.images[kept[rows[0]]])
    np.testing.assert_array_equal(targets, files.targets[kept[rows[0]]])
    assert order.steps(4) == 2 * len(rows) + len(order.rows(1)) + len(order.rows(2))


def test_statistics_are_those_of_all_training_pixels(files):
    tiles = read_tiles(files.stores, files.labels, files.split)
    pixels = files.images[files.parts == "train"].reshape(-1, 2).astype(float)
    mean, std = training_statistics(tiles)
    np.testing.assert_allclose(mean, pixels.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(std, pixels.std(axis=0), rtol=1e-4)


def test_statistics_survive_tiles_and_bands_without_pixels():
    mean, std = pooled_statistics(
        [[1.0, np.nan], [3.0, np.nan], [np.nan, np.nan]], [[0.0, np.nan]] * 3, [1, 3, 5]
    )
    np.testing.assert_allclose(mean, [2.5, 0])
    np.testing.assert_allclose(std, [np.sqrt(0.75), 1])


def test_check_counts_tiles_and_positives(files, tmp_path):
    out = tmp_path / "check.json"
    check_training(classifier(), files.stores, files.manifests, files.labels, files.split, out)
    found = json.loads(out.read_text())
    assert found["tiles"] == {"train": 144, "validation": 48, "test": 47}
    train_part = files.parts == "train"
    assert found["positives"]["121"]["train"] == files.targets[train_part, 2].sum()


def changed(files, tmp_path, *, targets=None, parts=None, ids=None):
    names = ids or [f"scene-{i}-0" for i in range(len(files.targets))]
    labels = write_labels(tmp_path / "l.zarr", names, files.targets if targets is None else targets)
    listed = files.parts.tolist() if parts is None else parts
    known = [f"scene-{i}-0" for i in range(len(listed))]
    split = write_split(tmp_path / "s.parquet", known, listed, [""] * len(listed))
    return files.stores, files.manifests, labels, split, tmp_path / "check.json"


def test_check_names_labels_without_training_positives(files, tmp_path):
    targets = files.targets.copy()
    targets[files.parts == "train", 1] = 0
    with pytest.raises(TrainingError, match=r"112[\s\S]*validation \d+[\s\S]*pruned"):
        check_training(classifier(), *changed(files, tmp_path, targets=targets))
    assert not (tmp_path / "check.json").exists()


def test_a_backbone_needs_three_bands(files, tmp_path):
    settings = classifier(network=Network(name="backbone", backbone="vgg16", side=64))
    out = tmp_path / "check.json"
    with pytest.raises(TrainingError, match=r"fewer than three bands[\s\S]*found: b0, b1"):
        check_training(settings, files.stores, files.manifests, files.labels, files.split, out)
    assert not out.exists()


def test_check_names_parts_without_tiles(files, tmp_path):
    parts = np.where(files.parts == "test", "train", files.parts).tolist()
    with pytest.raises(TrainingError, match=r"test part has no labelled tiles[\s\S]*test 0"):
        check_training(classifier(), *changed(files, tmp_path, parts=parts))


def test_check_needs_a_label_that_can_be_validated(files, tmp_path):
    targets = files.targets.copy()
    targets[files.parts == "validation"] = 1
    with pytest.raises(TrainingError, match="validation part"):
        check_training(classifier(), *changed(files, tmp_path, targets=targets))


def test_check_names_labels_of_unknown_tiles(files, tmp_path):
    ids = [f"scene-{i}-0" for i in range(239)] + ["stranger-0-0"]
    with pytest.raises(TrainingError, match=r"1 labelled tiles are in no tile store.*stranger"):
        check_training(classifier(), *changed(files, tmp_path, ids=ids))
    with pytest.raises(SplitError, match="not in the split"):
        check_training(classifier(), *changed(files, tmp_path, parts=files.parts.tolist()[:-1]))


def test_check_compares_stores_with_their_manifests(files, tmp_path):
    manifest = json.loads(files.manifests[0].read_text())
    manifest["arrays"]["images"]["shape"][0] += 1
    (tmp_path / "m.json").write_text(json.dumps(manifest))
    with pytest.raises(StoreError, match="not what the manifest says"):
        check_training(
            classifier(),
            files.stores,
            [tmp_path / "m.json"],
            files.labels,
            files.split,
            tmp_path / "c.json",
        )


def test_orders_of_another_split_are_refused(files, tmp_path):
    parts = np.where(np.arange(240) % 2, files.parts, "test").tolist()
    _, _, labels, split, _ = changed(files, tmp_path, parts=parts)
    tiles = read_tiles(files.stores, labels, split)
    with pytest.raises(TrainingError, match="outside the training part"):
        read_order(files.order, tiles)


def test_a_model_is_refused_on_other_bands(trained, tmp_path):
    images, _ = toy_tiles(4, n_bands=3)
    store = write_tile_store(tmp_path / "other.zarr", list("abcd"), images)
    with pytest.raises(TrainingError, match=r"different numbers of bands[\s\S]*2 \(b0, b1\)"):
        apply_model(trained["model"], [store], ["a"])


def test_a_model_takes_tiles_of_another_size(trained, tmp_path):
    images = np.random.default_rng(0).integers(900, 1400, (3, 24, 40, 2)).astype(np.uint16)
    store = write_tile_store(tmp_path / "other.zarr", list("abc"), images)
    assert apply_model(trained["model"], [store], ["c", "a"]).shape == (2, 3)


def test_files_that_are_no_model_are_named(tmp_path):
    (tmp_path / "model.keras").write_text("no model")
    with pytest.raises(TrainingError, match=r"cannot be read[\s\S]*model\.keras"):
        load_model(tmp_path / "model.keras")
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(tmp_path / "other.keras")
    with pytest.raises(TrainingError, match="no standardisation"):
        load_model(tmp_path / "other.keras")
