"""Experiments: agreement of models with co-occurrence, on their own and on other datasets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from geolatents.errors import TrainingError
from geolatents.files import atomic_path, write_json
from geolatents.labels.sets import Labels, labels_like, read_labels
from geolatents.learning.ledger import record_reading
from geolatents.learning.metrics import evaluate_labels
from geolatents.logs import LOG
from geolatents.olr.agreement import Sample, measure_agreement
from geolatents.olr.evaluate import decision_thresholds
from geolatents.olr.refusals import refusal
from geolatents.olr.samples import Predictions, read_predictions, read_sample, tile_groups
from geolatents.settings.experiments import Experiment

Floats = npt.NDArray[np.float64]
PER_LABEL_COLUMNS = (
    "scorer", "seed", "code", "name", "train_positives", "positives", "prevalence", "threshold",
    "tp", "tn", "fp", "fn", "accuracy", "majority_accuracy", "precision", "recall", "f1", "ap",
    "roc_auc", "balanced_accuracy", "mcc",
)  # fmt: skip


def run_experiment(
    settings: Experiment,
    *,
    seeds: Sequence[int],
    classifier: Sequence[Path],
    siamese: Sequence[Path] = (),
    split: Path,
    tiles: Path | None = None,
    output: Path,
    per_label: Path,
    name: str = "experiment",
    ledger: Path | None = None,
    seed: int = 0,
) -> None:
    """Compare label matrices of trained models with the co-occurrence of true labels.

    Args:
        settings: What is measured.
        seeds: Seeds of the models, in the order of their predictions.
        classifier: ``predictions.zarr`` of the classifier, one per seed.
        siamese: ``predictions.zarr`` of the Siamese network, one per seed, or none.
        split: Split of the dataset, with its blocks.
        tiles: Tile table of the dataset, for groups and positions.
        output: ``agreement.json`` to write: ``{scorer: {seed: {...}}}``; of a Siamese network that was
            refused, ``status`` and ``reason``.
        per_label: ``per-label.csv`` to write: one row per scorer, seed and label, of the test part
            whatever the target.
        name: Name of the experiment, for the ledger.
        ledger: Ledger of readings of the test part; None: not recorded.
        seed: Seed of permutations and folds.

    Raises:
        StoreError: Predictions, split and tiles do not fit together.
    """
    if ledger is not None:
        record_reading(ledger, what=f"experiment {name}", rule="run_experiment")
    found: dict[str, dict[str, Any]] = {}
    rows: list[dict[str, Any]] = []
    for scorer, stores in (("classifier", classifier), ("siamese", siamese)):
        for model_seed, store in zip(seeds, stores, strict=bool(stores)):
            predictions = read_predictions(store)
            refused = refusal(predictions.attributes)
            if refused is not None:
                found.setdefault(scorer, {})[str(model_seed)] = refused
                continue
            result, labels = _one_model(predictions, settings, split, tiles, seed)
            found.setdefault(scorer, {})[str(model_seed)] = result
            rows += [{"scorer": scorer, "seed": model_seed, **row} for row in labels]
            _log(f"{name}, {scorer}, seed {model_seed}", result)
    if settings.published:
        found["published"] = dict(settings.published)
    write_json(output, found)
    with atomic_path(per_label) as part:
        pd.DataFrame(rows, columns=list(PER_LABEL_COLUMNS)).to_csv(part, index=False)


def apply_experiment(
    settings: Experiment,
    *,
    seeds: Sequence[int],
    models: Sequence[Path],
    stores: Sequence[Path],
    covers: Sequence[Path],
    labels: Path,
    classifier: Sequence[Path],
    tiles: Path | None = None,
    output: Path,
    predictions: Path,
    dataset: str = "another dataset",
    name: str = "experiment",
    flips: bool = False,
    ledger: Path | None = None,
    seed: int = 0,
) -> None:
    """Apply classifiers to another dataset, whole, and compare with its co-occurrence.

    The target is phi of all tiles of the other dataset, for the labels of the model; the baseline
    is phi of the training part that the model learned from.

    Args:
        settings: What is measured.
        seeds: Seeds of the models.
        models: ``model.keras`` of each seed.
        stores: Tile stores of the other dataset.
        covers: Its cover stores.
        labels: Label set that the models were trained on.
        classifier: ``predictions.zarr`` of each seed on the dataset that it was trained on, for
            training phi and for thresholds that were tuned there.
        tiles: Tile table of the other dataset, for groups.
        output: ``agreement.json`` to write: ``{"classifier": {seed: {...}}}``.
        predictions: Zarr store to write: ``ids, part, scores`` (mean over seeds), ``targets`` and
            ``scores_by_seed (tile, seed, label)``.
        dataset: Name of the other dataset.
        name: Name of the experiment.
        flips: Average scores over flips.
        ledger: Ledger of the other dataset; None: not recorded.
        seed: Seed of permutations and folds.

    Raises:
        LabelError: The other dataset knows none of the labels.
        TrainingError: The model does not fit the tiles or the labels.
    """
    from geolatents.olr.predict import apply_model, write_predictions

    if ledger is not None:
        record_reading(
            ledger, what=f"experiment {name} on {dataset}", rule="apply_experiment", part="all"
        )
    own = read_labels(labels)
    ids, targets = labels_like(labels, covers)
    scores = [apply_model(model, stores, [str(i) for i in ids], flips) for model in models]
    _check_width(scores[0], own, models[0])
    found: dict[str, dict[str, Any]] = {"classifier": {}}
    for model_seed, store, values in zip(seeds, classifier, scores, strict=True):
        trained = read_predictions(store)
        sample = _sample_elsewhere(trained, tiles, ids, targets, values)
        result = measure_agreement(sample, settings.agreement, seed)
        result["quality"] = _quality_elsewhere(targets, values, settings, trained)
        found["classifier"][str(model_seed)] = result
        _log(f"{name} on {dataset}, seed {model_seed}", result)
    write_json(output, found)
    by_seed = np.stack(scores, axis=1)
    write_predictions(
        predictions,
        ids=ids,
        part=np.full(len(ids), "test"),
        scores=by_seed.mean(axis=1),
        targets=targets,
        attributes={
            "classes": own.classes, "dataset": dataset, "model": name, "kind": "classifier"
        },
        scores_by_seed=by_seed,
    )  # fmt: skip


def _one_model(
    predictions: Predictions, settings: Experiment, split: Path, tiles: Path | None, seed: int
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Agreement with the target, quality on the test part, and rows of the table of labels."""
    target = settings.agreement.target
    sample = read_sample(predictions, split=split, tiles=tiles, target=target)
    result = measure_agreement(sample, settings.agreement, seed)
    limits = decision_thresholds(predictions, predictions.scores, settings.threshold)
    test = predictions.part == "test"
    targets = predictions.targets[test]
    quality = evaluate_labels(targets, predictions.scores[test], limits, predictions.codes)
    majority_accuracy = (targets == (sample.train.mean(axis=0) >= 0.5)).mean(axis=0)
    rows = [
        {
            "code": item["code"],
            "name": item.get("name", item["code"]),
            "train_positives": int(sample.train[:, column].sum()),
            "majority_accuracy": float(majority_accuracy[column]),
            **quality["per_label"][item["code"]],
        }
        for column, item in enumerate(predictions.classes)
    ]
    result["target"] = target
    result["quality"] = {
        **{key: value for key, value in quality.items() if key != "per_label"},
        "threshold": settings.threshold,
        "all_absent_accuracy": float(1 - targets.mean()),
        "majority_accuracy": float(majority_accuracy.mean()),
    }
    return result, rows


def _sample_elsewhere(
    trained: Predictions,
    tiles: Path | None,
    ids: npt.NDArray[np.str_],
    targets: npt.NDArray[np.uint8],
    scores: npt.NDArray[np.float32],
) -> Sample:
    groups, grouping = tile_groups(tiles, ids) if tiles is not None else (ids, "tiles")
    return Sample(
        codes=trained.codes,
        train=trained.targets[trained.part == "train"].astype(np.float64),
        targets=targets.astype(np.float64),
        scores=scores.astype(np.float64),
        groups=groups,
        grouping=grouping,
        scene_mean_rule="none: scenes of another dataset have no training tiles",
    )


def _quality_elsewhere(
    targets: npt.NDArray[np.uint8],
    scores: npt.NDArray[np.float32],
    settings: Experiment,
    trained: Predictions,
) -> dict[str, Any]:
    """Metrics on another dataset, with thresholds that were tuned on the own validation part."""
    limits = decision_thresholds(trained, trained.scores, settings.threshold)
    found = evaluate_labels(targets, scores, limits, trained.codes)
    usable = [
        row["prevalence"] for row in found["per_label"].values() if row["roc_auc"] is not None
    ]
    del found["per_label"]
    return found | {
        "threshold": settings.threshold,
        "prevalence_macro_ap": float(np.mean(usable)) if usable else None,
        "all_absent_accuracy": float(1 - targets.mean()),
    }


def _check_width(scores: npt.NDArray[np.float32], own: Labels, model: Path) -> None:
    if scores.shape[1] != len(own.classes):
        raise TrainingError(
            "the model has other labels than the label set",
            where=model,
            expected=f"{len(own.classes)} labels",
            found=f"{scores.shape[1]}",
            fix="train the model again",
        )


def _log(what: str, result: Mapping[str, Any]) -> None:
    LOG.info(
        "%s: Mantel r %s (training phi %s), partial r %s, %d labels",
        what,
        *(
            "undefined" if result[key] is None else f"{result[key]:.3f}"
            for key in ("mantel_r", "train_phi_r", "partial_r")
        ),
        result["n_labels"],
    )
