"""The gate: which teachers are refused, and what a refusal leaves for those who read it."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from label_makers import write_split
from olr_data import classes, parts_of_blocks, world, write_predictions
from test_experiment import experiment, labels_manifest

from geolatents.errors import TrainingError
from geolatents.files import read_json
from geolatents.olr.evaluate import evaluate_model
from geolatents.olr.experiment import run_experiment
from geolatents.olr.figures import draw_experiment
from geolatents.olr.gate import reason_to_refuse
from geolatents.olr.predict import load_model
from geolatents.olr.samples import read_predictions
from geolatents.olr.siamese import train_siamese
from geolatents.settings.models import Classifier, Siamese

SIAMESE = Siamese(kind="siamese", teacher="demo-classifier", k=4)


@pytest.fixture
def teachers(tmp_path):
    """Predictions of a teacher that sees, one that guesses, and one that calls all absent."""
    targets, scores, blocks = world()
    part = parts_of_blocks(blocks)
    ids = [f"north-{i % 25}-{i // 25}" for i in range(len(targets))]
    guesses = np.random.default_rng(3).random(scores.shape)
    for name, found in (("sees", scores), ("guesses", guesses), ("absent", 0 * scores)):
        write_predictions(tmp_path / f"{name}.zarr", targets, found, part, ids)
    write_split(tmp_path / "split.parquet", ids, part, blocks)
    return tmp_path


def test_only_a_teacher_that_sees_may_teach(teachers):
    assert reason_to_refuse(read_predictions(teachers / "sees.zarr")) is None
    for name in ("guesses", "absent"):
        reason = reason_to_refuse(read_predictions(teachers / f"{name}.zarr"))
        assert "no better than a trivial baseline: macro AP on validation 0." in reason
        assert "`weak_teacher: use`" in reason


def refused(folder, settings=SIAMESE):
    out = folder / "demo-siamese" / "seed-0"
    out.mkdir(parents=True)
    files = {
        "model": out / "model.keras",
        "history": out / "history.csv",
        "predictions": out / "predictions.zarr",
        "embeddings": out / "embeddings.zarr",
    }
    nowhere = folder / "not read"
    train_siamese(
        settings, Classifier(kind="classifier", dataset="demo"), 0, nowhere, [nowhere], nowhere,
        nowhere, nowhere, **files, teacher_predictions=folder / "guesses.zarr",
    )  # fmt: skip
    return SimpleNamespace(**files, folder=out)


def test_a_refusal_reaches_metrics_card_agreement_and_figure(teachers):
    files = refused(teachers)
    assert len(read_predictions(files.predictions).ids) == 0
    with pytest.raises(TrainingError, match="cannot be read"):
        load_model(files.model)

    metrics, card = files.folder / "metrics.json", files.folder / "model_card.md"
    evaluate_model(
        predictions=files.predictions, stores=[], history=files.history, output=metrics, card=card
    )
    assert read_json(metrics)["status"] == "refused"
    assert "no better than a trivial baseline" in card.read_text()

    agreement = teachers / "e" / "agreement.json"
    run_experiment(
        experiment(), seeds=[0], classifier=[teachers / "sees.zarr"], siamese=[files.predictions],
        split=teachers / "split.parquet", output=agreement, per_label=teachers / "e" / "labels.csv",
    )  # fmt: skip
    found = json.loads(agreement.read_text())
    assert found["classifier"]["0"]["mantel_r"] > 0.8
    assert set(found["siamese"]["0"]) == {"status", "reason"}
    draw_experiment(agreement, labels_manifest(teachers), teachers / "a.png", name="demo")
    assert (teachers / "a.png").stat().st_size > 10_000


def test_a_switch_overrides_the_gate(teachers):
    with pytest.raises(Exception, match="not read"):
        refused(teachers, SIAMESE.model_copy(update={"weak_teacher": "use"}))


def test_labels_of_a_refusal_are_those_of_the_teacher(teachers):
    assert read_predictions(refused(teachers).predictions).codes == [c["code"] for c in classes()]
