"""Networks on another dataset: scores and vectors, with labels to compare with or without."""

import keras
import numpy as np
import pytest
from label_makers import write_labels
from olr_data import write_predictions, write_vectors
from training_data import toy_tiles, write_tile_store

from geolatents.errors import LabelError, TrainingError
from geolatents.learning.networks import build_network, with_probabilities
from geolatents.olr.apply import apply_classifier, apply_siamese
from geolatents.olr.classifier import save_model
from geolatents.olr.predict import load_model
from geolatents.olr.samples import read_applied, read_predictions
from geolatents.olr.siamese_network import build_siamese
from geolatents.settings.models import Network, Siamese
from geolatents.stores import new_store, open_store, read_array, read_strings, write_strings

IDS = [f"new-{i:02d}" for i in range(12)]
SEEDS = [0, 2]
CODES = ["111", "112", "121"]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Untrained networks of two seeds for tiles of two bands and three labels."""
    folder = tmp_path_factory.mktemp("models")
    network = Network(widths=[4], blocks=1, stem_stride=1)
    for seed in SEEDS:
        keras.utils.set_random_seed(seed)
        teacher = with_probabilities(
            build_network(network, (16, 16, 2), 3, [1000.0] * 2, [300.0] * 2)
        )
        save_model(teacher, folder / f"classifier-{seed}.keras")
        settings = Siamese(kind="siamese", teacher="a-classifier", k=5)
        student = build_siamese(settings, (16, 16, 2), teacher)
        save_model(student, folder / f"siamese-{seed}.keras")
    return folder


@pytest.fixture
def tiles(tmp_path):
    images, targets = toy_tiles(12)
    write_tile_store(tmp_path / "new.zarr", IDS, images)
    write_labels(tmp_path / "labels.zarr", ["a", "b"], targets[:2])
    write_cover(tmp_path / "cover.zarr", targets)
    for seed in SEEDS:
        write_predictions(
            tmp_path / f"own-{seed}.zarr", targets[:2], targets[:2], ["train"] * 2, ["a", "b"], n=3
        )
    return tmp_path, images, targets


def write_cover(path, targets, codes=CODES, nomenclature="table"):
    known = [{"code": code, "name": code, "colour": "#000000"} for code in codes]
    with new_store(path, {"nomenclature": nomenclature, "classes": known}) as group:
        write_strings(group, "ids", IDS, "tile")
        write_vectors(group, "cover", targets.astype(np.float32), ("tile", "class"))


def score(models, folder, labelled=True, **more):
    apply_classifier(
        seeds=SEEDS,
        models=[models / f"classifier-{seed}.keras" for seed in SEEDS],
        stores=[folder / "new.zarr"],
        covers=[folder / "cover.zarr"] if labelled else [],
        labels=folder / "labels.zarr",
        predictions=folder / "predictions.zarr",
        dataset="new",
        **more,
    )


def embed(models, folder, labelled=True):
    apply_siamese(
        seeds=SEEDS,
        models=[models / f"siamese-{seed}.keras" for seed in SEEDS],
        trained=[folder / f"own-{seed}.zarr" for seed in SEEDS],
        stores=[folder / "new.zarr"],
        covers=[folder / "cover.zarr"] if labelled else [],
        labels=folder / "labels.zarr",
        predictions=folder / "siamese-predictions.zarr",
        embeddings=folder / "embeddings.zarr",
        k=5,
        dataset="new",
    )


def test_a_classifier_scores_all_tiles(models, tiles):
    folder, images, targets = tiles
    score(models, folder)
    found = read_predictions(folder / "predictions.zarr")
    assert found.ids.tolist() == IDS
    assert set(found.part) == {"test"}
    assert found.codes == CODES
    np.testing.assert_array_equal(found.targets, targets)
    expected = [
        np.asarray(load_model(models / f"classifier-{seed}.keras")(images.astype(np.float32)))
        for seed in SEEDS
    ]
    np.testing.assert_allclose(found.scores, np.mean(expected, axis=0), atol=1e-5)
    applied = read_applied(folder / "predictions.zarr")
    np.testing.assert_allclose(applied.scores[2], expected[1], atol=1e-5)


def test_a_siamese_network_embeds_them_too(models, tiles):
    folder, images, _ = tiles
    embed(models, folder)
    first, second = (
        load_model(models / f"siamese-{seed}.keras")(images.astype(np.float32)) for seed in SEEDS
    )
    applied = read_applied(folder / "siamese-predictions.zarr")
    assert list(applied.scores) == SEEDS
    np.testing.assert_allclose(applied.scores[0], first["scores"], atol=1e-5)
    np.testing.assert_allclose(applied.scores[2], second["scores"], atol=1e-5)
    group = open_store(folder / "embeddings.zarr")
    assert group.attrs["seed"] == 0
    assert read_strings(group, "ids").tolist() == IDS
    vectors = read_array(group, "embeddings")
    assert vectors.shape == (12, 3, 5)
    np.testing.assert_allclose(vectors, first["embedding"], atol=1e-5)


def test_tiles_without_labels(models, tiles):
    folder, _, _ = tiles
    score(models, folder, labelled=False)
    embed(models, folder, labelled=False)
    for name in ("predictions", "siamese-predictions", "embeddings"):
        group = open_store(folder / f"{name}.zarr")
        assert group.attrs["labels"] == "none", name
        assert read_strings(group, "ids").tolist() == IDS
        assert "targets" not in group
    assert read_applied(folder / "predictions.zarr").targets is None


def refuse(folder, seed, targets):
    write_predictions(
        folder / f"own-{seed}.zarr", targets[:0], np.empty((0, 3)), [], [], n=3,
        status="refused", reason=f"weak {seed}",
    )  # fmt: skip


def test_the_first_seed_was_refused(models, tiles):
    folder, images, targets = tiles
    refuse(folder, 0, targets)
    embed(models, folder)
    applied = read_applied(folder / "siamese-predictions.zarr")
    assert (list(applied.scores), applied.refused) == ([2], {0: "weak 0"})
    group = open_store(folder / "embeddings.zarr")
    assert group.attrs["seed"] == 2
    second = load_model(models / "siamese-2.keras")(images.astype(np.float32))
    np.testing.assert_allclose(read_array(group, "embeddings"), second["embedding"], atol=1e-5)


def test_all_seeds_were_refused(models, tiles):
    folder, _, targets = tiles
    for seed in SEEDS:
        refuse(folder, seed, targets)
    embed(models, folder)
    applied = read_applied(folder / "siamese-predictions.zarr")
    assert (applied.scores, applied.refused) == ({}, {0: "weak 0", 2: "weak 2"})
    for name in ("siamese-predictions", "embeddings"):
        attributes = open_store(folder / f"{name}.zarr").attrs
        assert (attributes["status"], attributes["reason"]) == ("refused", "weak 0")
    assert read_array(open_store(folder / "embeddings.zarr"), "embeddings").shape == (0, 3, 5)


def test_another_number_of_bands_is_named(models, tiles):
    folder, _, _ = tiles
    write_tile_store(folder / "three.zarr", IDS, toy_tiles(12, n_bands=3)[0])
    (folder / "new.zarr").rename(folder / "two.zarr")
    (folder / "three.zarr").rename(folder / "new.zarr")
    for apply in (score, embed):
        with pytest.raises(TrainingError, match="different numbers of bands"):
            apply(models, folder, labelled=False)


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (["a", "b", "c"], "knows none of the label set's classes"),
        (["111", "112", "forest"], "other labels than the model\n(.|\n)*121 too(.|\n)*forest"),
    ],
)
def test_other_names_of_labels_are_named(models, tiles, codes, message):
    folder, _, targets = tiles
    write_cover(folder / "strange.zarr", targets, codes)
    (folder / "cover.zarr").rename(folder / "old.zarr")
    (folder / "strange.zarr").rename(folder / "cover.zarr")
    with pytest.raises(LabelError, match=message):
        score(models, folder)


def test_labels_that_a_dataset_lacks_or_has_beside(models, tiles):
    folder, _, targets = tiles
    for codes, kept in ((CODES[:2], [0, 1]), ([*CODES, "extra"], [0, 1, 2, 0])):
        write_cover(folder / "cover.zarr", targets[:, kept], codes)
        score(models, folder)
        found = read_predictions(folder / "predictions.zarr").targets
        np.testing.assert_array_equal(found[:, :2], targets[:, :2])
        assert found.shape == (12, 3)


def test_a_model_of_other_labels_is_named(models, tiles):
    folder, _, targets = tiles
    write_labels(folder / "labels.zarr", ["a", "b"], targets[:2, :2])
    for apply in (score, embed):
        with pytest.raises(TrainingError, match="other labels than the label set"):
            apply(models, folder, labelled=False)
