"""Experiments on another dataset: what applied models say of it, with labels to compare with or without."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from geolatents.errors import StoreError
from geolatents.files import write_json
from geolatents.learning.ledger import record_reading
from geolatents.learning.metrics import evaluate_labels, left_out
from geolatents.logs import LOG
from geolatents.olr.agreement import (
    Floats,
    Sample,
    correlation_matrix,
    is_constant,
    measure_agreement,
    pearson,
    upper,
)
from geolatents.olr.evaluate import decision_thresholds
from geolatents.olr.experiment import log_agreement
from geolatents.olr.refusals import REFUSED, UNLABELLED
from geolatents.olr.samples import (
    Applied,
    Predictions,
    read_applied,
    read_predictions,
    tile_groups,
)
from geolatents.settings.experiments import Agreement, Experiment


def run_experiment_elsewhere(
    settings: Experiment,
    *,
    seeds: Sequence[int],
    applied: Sequence[Path],
    classifier: Sequence[Path],
    siamese: Sequence[Path] = (),
    output: Path,
    tiles: Path | None = None,
    dataset: str = "another dataset",
    name: str = "experiment",
    ledger: Path | None = None,
    seed: int = 0,
) -> None:
    """Compare what applied models say of another dataset with its co-occurrence.

    The target is phi of all tiles of the other dataset, for the labels of the model; the baseline
    is phi of the training part that the model learned from. Tiles without labels have no target:
    then the correlations of the scores stand beside training phi, and nothing is judged.

    Args:
        settings: What is measured.
        seeds: Seeds of the models.
        applied: Predictions of the other dataset: the classifier's, and the Siamese network's where
            there is one.
        classifier: ``predictions.zarr`` of the classifier on its own dataset, one per seed, for
            training phi and for thresholds that were tuned there.
        siamese: The same of the Siamese network, or none.
        output: ``agreement.json`` to write: ``{scorer: {seed: {...}}}``; without labels also
            ``status: no labels`` and ``reason``.
        tiles: Tile table of the other dataset, for groups.
        dataset: Name of the other dataset.
        name: Name of the experiment.
        ledger: Ledger of the other dataset, written where it has labels; None: not recorded.
        seed: Seed of permutations and folds.

    Raises:
        StoreError: Predictions are missing or damaged, or of other seeds.
    """
    found: dict[str, Any] = {}
    scorers = (
        (("classifier", classifier), ("siamese", siamese))
        if siamese
        else (("classifier", classifier),)
    )
    for store, (scorer, trained) in zip(applied, scorers, strict=True):
        content = read_applied(store)
        entries = found.setdefault(scorer, {})
        for model_seed, own in zip(seeds, trained, strict=True):
            if model_seed in content.refused:
                entries[str(model_seed)] = {
                    "status": REFUSED,
                    "reason": content.refused[model_seed],
                }
                continue
            scores = _scores_of(content, model_seed, store)
            entry = _one_model(content, scores, read_predictions(own), settings, tiles, seed)
            entries[str(model_seed)] = entry
            if content.targets is not None:
                log_agreement(f"{name} on {dataset}, {scorer}, seed {model_seed}", entry)
        if content.targets is None:
            found |= {"status": UNLABELLED, "reason": f"the tiles of {dataset} have no labels"}
    if "status" in found:
        LOG.info("%s on %s: there are no labels to compare with", name, dataset)
    elif ledger is not None:
        what = f"experiment {name} on {dataset}"
        record_reading(ledger, what=what, rule="run_experiment_elsewhere", part="all")
    write_json(output, found)


def _scores_of(content: Applied, seed: int, store: Path) -> Floats:
    if seed not in content.scores:
        raise StoreError(
            "predictions of another dataset are of other seeds",
            where=store,
            expected=f"seed {seed}",
            found=", ".join(map(str, content.scores)),
            fix="apply the models again",
        )
    return content.scores[seed]


def _one_model(
    content: Applied,
    scores: Floats,
    trained: Predictions,
    settings: Experiment,
    tiles: Path | None,
    seed: int,
) -> dict[str, Any]:
    if content.targets is None:
        return label_relations(scores, trained, settings.agreement)
    sample = _sample(content.ids, content.targets, scores, trained, tiles)
    result = measure_agreement(sample, settings.agreement, seed)
    result["quality"] = _quality(content.targets, scores, settings, trained)
    return result


def label_relations(scores: Floats, trained: Predictions, settings: Agreement) -> dict[str, Any]:
    """What scores of tiles without labels say: how labels go together there, and in training.

    Args:
        scores: Scores (tile, label).
        trained: Predictions of the model for the dataset that it was trained on.
        settings: Fewest positives of a label in training.

    Returns:
        ``labels, left_out, n_labels, n_tiles``, the matrices ``correlation`` (of the scores) and
        ``train_phi``, ``against_train_phi_r`` (their correlation: low where labels go together
        otherwise than in training) and ``mean_scores`` per label.
    """
    train = trained.targets[trained.part == "train"].astype(np.float64)
    reasons = {
        code: f"{why} in the training part"
        for code, why in left_out(train, trained.codes, settings.min_positives).items()
    }
    for code, constant in zip(trained.codes, is_constant(scores), strict=True):
        if constant:
            reasons.setdefault(code, "the scores are constant")
    kept = np.array([code not in reasons for code in trained.codes], bool)
    correlation, train_phi = correlation_matrix(scores[:, kept]), correlation_matrix(train[:, kept])
    r = pearson(upper(correlation), upper(train_phi))
    return {
        "labels": [code for code in trained.codes if code not in reasons],
        "left_out": reasons,
        "n_labels": int(kept.sum()),
        "n_tiles": len(scores),
        "correlation": correlation,
        "train_phi": train_phi,
        "against_train_phi_r": r if np.isfinite(r) else None,
        "mean_scores": dict(zip(trained.codes, scores.mean(axis=0).tolist(), strict=True)),
    }


def _sample(
    ids: npt.NDArray[np.str_],
    targets: npt.NDArray[np.uint8],
    scores: Floats,
    trained: Predictions,
    tiles: Path | None,
) -> Sample:
    groups, grouping = tile_groups(tiles, ids) if tiles is not None else (ids, "tiles")
    return Sample(
        codes=trained.codes,
        train=trained.targets[trained.part == "train"].astype(np.float64),
        targets=targets.astype(np.float64),
        scores=scores,
        groups=groups,
        grouping=grouping,
        scene_mean_rule="none: scenes of another dataset have no training tiles",
    )


def _quality(
    targets: npt.NDArray[np.uint8],
    scores: Floats,
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
