"""Experiments: agreement of models with co-occurrence on their own dataset; on others: elsewhere.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from geolatents.files import atomic_path, write_json
from geolatents.learning.ledger import record_reading
from geolatents.learning.metrics import evaluate_labels
from geolatents.logs import LOG
from geolatents.olr.agreement import measure_agreement
from geolatents.olr.evaluate import decision_thresholds
from geolatents.olr.refusals import refusal
from geolatents.olr.samples import Predictions, read_predictions, read_sample
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
            log_agreement(f"{name}, {scorer}, seed {model_seed}", result)
    if settings.published:
        found["published"] = dict(settings.published)
    write_json(output, found)
    with atomic_path(per_label) as part:
        pd.DataFrame(rows, columns=list(PER_LABEL_COLUMNS)).to_csv(part, index=False)


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


def log_agreement(what: str, result: Mapping[str, Any]) -> None:
    """Say the figures that count of one agreement."""
    LOG.info(
        "%s: Mantel r %s (training phi %s), partial r %s, %d labels",
        what,
        *(
            "undefined" if result[key] is None else f"{result[key]:.3f}"
            for key in ("mantel_r", "train_phi_r", "partial_r")
        ),
        result["n_labels"],
    )
