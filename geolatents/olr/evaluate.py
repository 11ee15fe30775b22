"""Metrics of one trained model beside its baselines, and its model card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from geolatents.files import atomic_path, write_json
from geolatents.labels.parts import PARTS
from geolatents.learning.baselines import TRIVIAL, band_statistics, baseline_scores
from geolatents.learning.ledger import record_reading
from geolatents.learning.metrics import DEFAULT_THRESHOLD, evaluate_labels, tune_thresholds
from geolatents.olr.refusals import refusal
from geolatents.olr.samples import Predictions, read_predictions

Floats = npt.NDArray[np.float64]

NO_FIGURES = ("epoch", "learning_rate", "seconds")
"""Columns of a history that are no figures of the model."""

LESS_IS_BETTER = ("loss", "mse")
"""Endings of figures that fall while a model learns."""


def evaluate_model(
    *,
    predictions: Path,
    stores: Sequence[Path],
    history: Path,
    output: Path,
    card: Path,
    split: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    threshold: float | str = DEFAULT_THRESHOLD,
    ledger: Path | None = None,
    seed: int = 0,
) -> None:
    """Write ``metrics.json`` and ``model_card.md`` of a trained model.

    Args:
        predictions: ``predictions.zarr`` of the model.
        stores: Tile stores of its dataset, for the baselines on band statistics.
        history: ``history.csv`` of the training.
        output: ``metrics.json`` to write.
        card: ``model_card.md`` to write.
        split: The dataset's split, named in the card.
        settings: The model's configuration, for the card.
        threshold: Decision threshold, or ``tuned``: per label on validation (best F1).
        ledger: Ledger of readings of the test part; None: not recorded.
        seed: Seed of the model, and of the random forest.
    """
    found = read_predictions(predictions)
    if ledger is not None:
        name = f"{found.attributes.get('model', '?')}, seed {seed}"
        record_reading(ledger, what=f"metrics of {name}", rule="evaluate_model")
    refused = refusal(found.attributes)
    if refused is not None:
        _write_refusal(found, refused, seed, output, card)
        return
    features = band_statistics(stores, found.ids) if stores else None
    metrics = model_metrics(found, features, threshold, seed)
    metrics["training"] = training_progress(
        pd.read_csv(history), found.attributes.get("best_epoch")
    )
    write_json(output, metrics)
    with atomic_path(card) as part:
        part.write_text(model_card(metrics, found, settings or {}, split), encoding="utf-8")


def _write_refusal(
    predictions: Predictions, refused: Mapping[str, str], seed: int, output: Path, card: Path
) -> None:
    named = {name: predictions.attributes.get(name) for name in ("model", "dataset", "kind")}
    write_json(output, {**named, "seed": seed, **refused})
    text = f"# {named['model']}, seed {seed}\n\nThere is no model: {refused['reason']}.\n"
    with atomic_path(card) as part:
        part.write_text(text, encoding="utf-8")


def model_metrics(
    predictions: Predictions,
    features: Floats | None = None,
    threshold: float | str = DEFAULT_THRESHOLD,
    seed: int = 0,
) -> dict[str, Any]:
    """Metrics of a model and of all baselines.

    Returns:
        ``split.{part}`` and ``baselines.{name}.split.{part}`` as of
        :func:`geolatents.learning.metrics.evaluate_labels`, ``per_label.{code}`` with ``name``,
        ``colour`` and the metrics by part, ``best_baseline`` (by validation macro AP),
        ``threshold``, ``kind``, ``model``, ``dataset``, and ``pairs`` of a Siamese network.
    """
    parts = evaluate_parts(predictions, predictions.scores, threshold)
    baselines = {
        name: {"split": _without_labels(evaluate_parts(predictions, scores, threshold))}
        for name, scores in baseline_scores(
            predictions.targets, predictions.part == "train", features, seed
        ).items()
    }
    metrics = {
        **{name: predictions.attributes.get(name) for name in ("model", "dataset", "kind")},
        "seed": seed,
        "threshold": threshold,
        "split": _without_labels(parts),
        "baselines": baselines,
        "best_baseline": best_baseline(baselines),
        "per_label": {
            item["code"]: {
                "name": item.get("name", item["code"]),
                "colour": item.get("colour"),
                **{part: found["per_label"][item["code"]] for part, found in parts.items()},
            }
            for item in predictions.classes
        },
    }
    if "pairs" in predictions.attributes:
        metrics["pairs"] = predictions.attributes["pairs"]
    return metrics


def evaluate_parts(
    predictions: Predictions, scores: Floats, threshold: float | str
) -> dict[str, dict[str, Any]]:
    """Metrics of scores (tile, label) by part; parts without tiles are left out."""
    limits = decision_thresholds(predictions, scores, threshold)
    found = {}
    for part in PARTS:
        tiles = predictions.part == part
        if tiles.any():
            found[part] = evaluate_labels(
                predictions.targets[tiles], scores[tiles], limits, predictions.codes
            )
    return found


def decision_thresholds(predictions: Predictions, scores: Floats, threshold: float | str) -> Floats:
    """Threshold per label (label,): the given one, or the best on the validation part."""
    if threshold != "tuned":
        return np.full(len(predictions.classes), float(threshold))
    tiles = predictions.part == "validation"
    return tune_thresholds(predictions.targets[tiles], scores[tiles])


def best_baseline(baselines: Mapping[str, Any]) -> str:
    """Name of the baseline with the best macro AP on validation: the test part selects nothing."""

    def quality(name: str) -> float:
        value = baselines[name]["split"].get("validation", {}).get("macro_ap")
        return -1.0 if value is None else float(value)

    return max(baselines, key=quality)


def training_progress(history: pd.DataFrame, best_epoch: int | None = None) -> dict[str, Any]:
    """Starting, final and improvement of each figure of a history, as in the predecessor's tables.

    ``starting`` is the value of the first epoch, ``final`` that of the epoch whose weights were kept
    and ``iterations`` its number. ``improvement`` is positive where the figure became better: of
    losses and errors it is starting - final, of others final - starting.

    Args:
        history: ``history.csv``.
        best_epoch: Epoch whose weights were kept, counted from 1; default: the last.

    Returns:
        ``iterations``, ``epochs``, ``seconds`` and ``figures.{column}`` with ``starting``,
        ``final`` and ``improvement``.
    """
    columns = [name for name in history.columns if name not in NO_FIGURES]
    if history.empty or not columns:
        return {"iterations": 0, "epochs": 0, "seconds": None, "figures": {}}
    kept = (best_epoch or len(history)) - 1
    return {
        "iterations": kept + 1,
        "epochs": len(history),
        "seconds": float(history["seconds"].sum()) if "seconds" in history else None,
        "figures": {
            name: {
                "starting": _finite(history[name].iloc[0]),
                "final": _finite(history[name].iloc[kept]),
                "improvement": _finite(
                    _direction(name) * (history[name].iloc[kept] - history[name].iloc[0])
                ),
            }
            for name in columns
        },
    }


def _direction(figure: str) -> int:
    """1 where more of a figure is better, -1 where less is."""
    return -1 if figure.endswith(LESS_IS_BETTER) else 1


def model_card(
    metrics: Mapping[str, Any],
    predictions: Predictions,
    settings: Mapping[str, Any],
    split: Path | None = None,
) -> str:
    """Readable description of a trained model, in Markdown (Mitchell et al. 2019)."""
    return "\n\n".join(
        [
            f"# {metrics['model']}, seed {metrics['seed']}",
            _purpose(metrics),
            "## Data\n\n" + _data(metrics, predictions, split),
            "## Training\n\n" + _training(metrics, settings),
            "## Quality beside baselines\n\n" + _quality(metrics),
            "## Classes\n\n" + _classes(metrics),
            "## Intended use and limits\n\n" + _limits(metrics),
        ]
    ) + "\n"  # fmt: skip


def _purpose(metrics: Mapping[str, Any]) -> str:
    if metrics["kind"] == "siamese":
        return (
            "A Siamese network that learns one vector per label and tile from a classifier's "
            "answers to occluded tiles. Its scores are what label correlations are computed from."
        )
    return (
        "A multi-label classifier of satellite image tiles: which land-cover classes are present."
    )


def _data(metrics: Mapping[str, Any], predictions: Predictions, split: Path | None) -> str:
    counts = ", ".join(
        f"{int((predictions.part == part).sum())} {part}" for part in (*PARTS, "buffer")
    )
    lines = [f"- Dataset: `{metrics['dataset']}`", f"- Tiles: {counts}"]
    if split is not None:
        lines.append(f"- Split: `{split.stem}`, made before training and frozen")
    return "\n".join(lines)


def _training(metrics: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    progress = metrics["training"]
    rows = [
        [name, *(_text(figure[key]) for key in ("starting", "final", "improvement"))]
        for name, figure in progress["figures"].items()
    ]
    lines = [
        f"Weights of epoch {progress['iterations']} of {progress['epochs']} were kept, by the "
        "validation part. The test part had no say in it.",
        _table(["figure", "starting", "final", "improvement"], rows),
    ]
    if settings:
        lines.append(_table(["setting", "value"], [[k, f"`{v}`"] for k, v in settings.items()]))
    return "\n\n".join(lines)


def _quality(metrics: Mapping[str, Any]) -> str:
    keys = ["macro_ap", "micro_ap", "macro_f1", "micro_f1", "accuracy", "balanced_accuracy", "mcc"]
    scored = {"**model**": metrics["split"]} | {
        name: entry["split"] for name, entry in metrics["baselines"].items()
    }
    rows = [
        [name, *(_text(split.get("test", {}).get(key)) for key in keys)]
        for name, split in scored.items()
    ]
    lines = [
        f"Test part, threshold {metrics['threshold']}. `{'`, `'.join(TRIVIAL)}` look at no image.",
        _table(["", *keys], rows),
    ]
    if "pairs" in metrics:
        pairs = metrics["pairs"]
        lines.append(
            _table(["products of pairs", "value"], [[k, _text(v)] for k, v in pairs.items()])
        )
    return "\n\n".join(lines)


def _classes(metrics: Mapping[str, Any]) -> str:
    rows = []
    for code, entry in metrics["per_label"].items():
        test = entry.get("test", {})
        support = [_text(entry.get(part, {}).get("positives")) for part in PARTS]
        rows.append(
            [code, entry["name"], *support]
            + [_text(test.get(key)) for key in ("prevalence", "ap", "f1")]
        )
    head = ["code", "name", *(f"{part} tiles" for part in PARTS), "prevalence", "AP", "F1"]
    return _table(head, rows)


def _limits(metrics: Mapping[str, Any]) -> str:
    left = metrics["split"].get("test", {}).get("left_out", {})
    lines = [
        "- For tiles of the same sensor, bands and ground size as the training data.",
        "- Labels come from a land-cover map with its own smallest unit and date; what it "
        "does not map, the model cannot know.",
        "- AP of a label means nothing without its prevalence, which is the AP of guessing.",
        "- Not for decisions about single parcels or people.",
    ]
    if left:
        lines.append("- Not measured on the test part: " + ", ".join(
            f"{code} ({reason})" for code, reason in left.items()))  # fmt: skip
    return "\n".join(lines)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(str(c).replace("|", "/") for c in row) + " |" for row in lines
    )


def _text(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _without_labels(parts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {
        part: {name: value for name, value in found.items() if name != "per_label"}
        for part, found in parts.items()
    }
