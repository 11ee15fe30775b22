"""The summary table: one row per experiment and seed, every result beside its baseline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from geolatents.files import atomic_path, read_json
from geolatents.olr.refusals import UNLABELLED, measured
from geolatents.report.entries import ExperimentEntry

COLUMNS = (
    "experiment", "seed", "dataset", "labels", "n_labels", "n_tiles",
    "test_macro_ap", "baseline_macro_ap", "baseline", "prevalence_macro_ap",
    "threshold", "test_micro_f1", "test_macro_f1", "test_accuracy", "all_absent_accuracy", "test_mcc",
    "mantel_r", "mantel_p", "partial_r", "partial_low", "partial_high",
    "train_phi_r", "scene_mean_r", "noise_r", "reliability",
    "shifted_gain", "shifted_share",
    "siamese_macro_ap", "siamese_mantel_r", "siamese_mantel_p", "siamese_partial_r",
    "siamese_partial_low", "siamese_partial_high", "siamese_shifted_gain", "siamese_shifted_share",
    "siamese_pairs_mse", "siamese_pairs_r2", "siamese_status",
)  # fmt: skip
"""Columns of every summary; those of other datasets (``on_{dataset}_...``, ``siamese_on_{dataset}_...``) follow."""

KEPT_ELSEWHERE = ("mantel_r", "train_phi_r", "partial_r", "shifted_gain")
"""Figures of an agreement with another dataset."""

SHORT = {
    "experiment": "experiment",
    "seed": "seed",
    "test_macro_ap": "test macro AP",
    "baseline_macro_ap": "baseline AP",
    "mantel_r": "Mantel r",
    "train_phi_r": "train phi r",
    "partial_r": "partial r",
    "shifted_gain": "shifted gain",
}
"""Columns of the table on the terminal."""


def summarise(entries: Sequence[ExperimentEntry], root: Path, output: Path) -> None:
    """Write ``summary.csv``.

    Args:
        entries: Experiments, in the order of the rows.
        root: Root of the results.
        output: CSV to write; a value that is not defined is empty.

    Raises:
        StoreError: A file of an experiment is missing.
    """
    rows = [row for entry in entries for row in experiment_rows(entry, root)]
    extra = [name for row in rows for name in row if name not in COLUMNS]
    with atomic_path(output) as part:
        pd.DataFrame(rows, columns=[*COLUMNS, *dict.fromkeys(extra)]).to_csv(part, index=False)


def experiment_rows(entry: ExperimentEntry, root: Path) -> Iterator[dict[str, Any]]:
    """One row per seed of an experiment."""
    agreement = read_json(entry.folder(root) / "agreement.json")
    applied = {
        other: read_json(entry.folder(root) / f"on-{other}" / "agreement.json")
        for other in entry.apply_to
    }
    for seed in entry.seeds:
        found = agreement["classifier"][str(seed)]
        metrics = read_json(entry.model_folder(root, entry.classifier, seed) / "metrics.json")
        row = {
            "experiment": entry.name,
            "seed": seed,
            "dataset": entry.dataset,
            "labels": entry.labels,
            "n_labels": found["n_labels"],
            "n_tiles": found["n_tiles"],
            **_quality(metrics, found["quality"]),
            **_agreement(found),
            **{name: found[name] for name in ("scene_mean_r", "noise_r", "reliability")},
        }
        if entry.siamese is not None:
            siamese = read_json(entry.model_folder(root, entry.siamese, seed) / "metrics.json")
            row |= _siamese(siamese, agreement["siamese"][str(seed)])
        for other, content in applied.items():
            row |= _elsewhere(other, content, str(seed))
        yield row


def format_table(summary: Path) -> str:
    """The summary as a short, aligned table for a terminal.

    Args:
        summary: ``summary.csv``.
    """
    rows = pd.read_csv(summary)
    table = [list(SHORT.values())]
    for row in rows.to_dict("records"):
        table.append([_cell(name, row.get(name)) for name in SHORT])
    widths = [max(len(line[i]) for line in table) for i in range(len(SHORT))]
    lines = [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in table
    ]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def _quality(metrics: Mapping[str, Any], decided: Mapping[str, Any]) -> dict[str, Any]:
    """Figures of the test part; decisions are those with the experiment's own threshold."""
    test, baselines = metrics["split"]["test"], metrics["baselines"]
    best = metrics["best_baseline"]
    return {
        "test_macro_ap": test["macro_ap"],
        "baseline_macro_ap": baselines[best]["split"]["test"]["macro_ap"],
        "baseline": best,
        "prevalence_macro_ap": baselines["prevalence"]["split"]["test"]["macro_ap"],
        "threshold": decided["threshold"],
        "test_micro_f1": decided["micro_f1"],
        "test_macro_f1": decided["macro_f1"],
        "test_accuracy": decided["accuracy"],
        "all_absent_accuracy": baselines["all_absent"]["split"]["test"]["accuracy"],
        "test_mcc": decided["mcc"],
    }


def _agreement(found: Mapping[str, Any]) -> dict[str, Any]:
    low, high = found["partial_interval"] or (None, None)
    shifted = found["shifted"] or {}
    return {
        "mantel_r": found["mantel_r"],
        "mantel_p": found["mantel_p"],
        "partial_r": found["partial_r"],
        "partial_low": low,
        "partial_high": high,
        "train_phi_r": found["train_phi_r"],
        "shifted_gain": shifted.get("median_difference"),
        "shifted_share": shifted.get("positive_share"),
    }


def _elsewhere(other: str, content: Mapping[str, Any], seed: str) -> dict[str, Any]:
    """Columns of another dataset, nothing where it has no labels; the Siamese network's begin with its name."""
    if content.get("status") == UNLABELLED:
        return {}
    row: dict[str, Any] = {}
    for scorer, prefix in (("classifier", ""), ("siamese", "siamese_")):
        found = measured(content.get(scorer, {})).get(seed)
        if found is not None:
            values = _agreement(found)
            row |= {f"{prefix}on_{other}_{key}": values[key] for key in KEPT_ELSEWHERE}
    return row


def _siamese(metrics: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    if "status" in metrics:
        return {"siamese_status": metrics["status"]}
    values = {k: v for k, v in _agreement(found).items() if k != "train_phi_r"}
    pairs = metrics.get("pairs") or {}
    return {
        "siamese_macro_ap": metrics["split"]["test"]["macro_ap"],
        **{f"siamese_{key}": value for key, value in values.items()},
        "siamese_pairs_mse": pairs.get("mse"),
        "siamese_pairs_r2": pairs.get("r2"),
        "siamese_status": "trained",
    }


def _cell(name: str, value: Any) -> str:
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return "-"
    if name in {"experiment", "seed"}:
        return str(value)
    return f"{value:+.3f}" if name == "shifted_gain" else f"{value:.3f}"
