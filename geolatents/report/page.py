"""The report: one self-contained HTML page with every experiment beside its baselines."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from geolatents import __version__
from geolatents.files import atomic_path, read_json
from geolatents.olr.refusals import UNLABELLED, measured, refusal
from geolatents.provenance import provenance_path
from geolatents.report.costs import cost_table, duration
from geolatents.report.datasets import dataset_section
from geolatents.report.entries import ExperimentEntry
from geolatents.report.images import embedded, embedded_map
from geolatents.report.study import study_section

SPACE = "\u00a0"
"""No line breaks between a number and its unit."""

AGREEMENT_ROWS = (
    ("mantel_r", "Mantel r of the model", "result"),
    ("partial_r", "partial Mantel r, given training phi", "figure that counts"),
    ("partial_interval", f"its 95{SPACE}% interval", "figure that counts"),
    ("shifted.median_difference", "gain over training phi on shifted land", "figure that counts"),
    ("shifted.positive_share", "draws of shifted land in which the model is better", "result"),
    ("shifted.model_r", "Mantel r of the model on shifted land", "result"),
    ("shifted.train_phi_r", "phi of the training labels on shifted land", "baseline"),
    ("mantel_p", "p of Mantel r", "result"),
    ("train_phi_r", "phi of the training labels", "baseline"),
    ("scene_mean_r", "mean labels of the scene or nearest block", "baseline"),
    ("noise_r", "ridge regression on noise", "baseline"),
    ("reliability", "reliability of phi (split halves)", "ceiling"),
    ("column_shuffle_r", "labels shuffled", "control"),
    ("row_shuffle_r", "tiles shuffled per label", "control"),
    ("rmse", "RMSE of the correlations", "result"),
    ("train_phi_rmse", "RMSE of training phi", "baseline"),
    ("slope", "slope on phi (1 is right)", "result"),
    ("sign_agreement", "sign agreement on significant pairs", "result"),
    ("train_phi_sign_agreement", "sign agreement of training phi", "baseline"),
    ("majority_sign_agreement", "always the more frequent sign", "baseline"),
)
"""Keys of ``agreement.json`` in the order of the page, with what they are."""

DECODER_ROWS = (
    ("embeddings", "a decoder from the embeddings", "result"),
    ("scores", "the same from the scores alone", "baseline"),
    ("label_set_mean", "mean training image of the tile's own set of labels", "baseline"),
    ("pca", "principal components, as many as the embeddings have numbers", "ceiling"),
    ("pca_effective", "principal components, as many as their effective dimensions", "ceiling"),
    ("mean", "mean training image", "baseline"),
)
"""Keys of a decoder's ``scores.json`` in the order of the page, with what they are."""

QUALITY_COLUMNS = (
    ("macro_ap", "macro AP"),
    ("micro_ap", "micro AP"),
    ("macro_f1", "macro F1"),
    ("micro_f1", "micro F1"),
    ("accuracy", "accuracy"),
    ("balanced_accuracy", "balanced accuracy"),
    ("mcc", "MCC"),
)


def write_report(
    entries: Sequence[ExperimentEntry],
    root: Path,
    output: Path,
    *,
    summary: Path,
    datasets: Sequence[str] = (),
    studies: Sequence[str] = (),
    title: str = "geolatents report",
) -> None:
    """Write the report page.

    Styles and images are inside the page; it needs no network and can be sent as one file.

    Args:
        entries: Experiments to show.
        root: Root of the results.
        output: ``index.html`` to write.
        summary: ``summary.csv``.
        datasets: Datasets to show beside those of the experiments.
        studies: Repetitions of the predecessor's study to show.
        title: Heading of the page.

    Raises:
        StoreError: A file of an experiment is missing.
    """
    shown = [*(d for e in entries for d in (e.dataset, *e.apply_to)), *datasets]
    used = {name: [e.labels for e in entries if name in (e.dataset, *e.apply_to)] for name in shown}
    page = _environment().get_template("report.html").render(
        title=title,
        version=__version__,
        quality_columns=QUALITY_COLUMNS,
        summary=_summary_rows(summary),
        studies=[study_section(name, root) for name in studies],
        experiments=[experiment_section(entry, root) for entry in entries],
        datasets=[dataset_section(name, root, used[name]) for name in used],
        costs=cost_table(root),
        provenance=[row for entry in entries for row in _provenance_rows(entry, root)],
    )  # fmt: skip
    with atomic_path(output) as part:
        part.write_text(page, encoding="utf-8")


def experiment_section(entry: ExperimentEntry, root: Path) -> dict[str, Any]:
    """What the page says of one experiment."""
    folder = entry.folder(root)
    agreement = read_json(folder / "agreement.json")
    models = [entry.classifier, *([entry.siamese] if entry.siamese else [])]
    metrics = {
        model: [
            read_json(entry.model_folder(root, model, seed) / "metrics.json")
            for seed in entry.seeds
        ]
        for model in models
    }
    return {
        "entry": entry,
        "figure": embedded(folder / "agreement.png"),
        "agreement": agreement_table(agreement),
        "notes": _notes(next(iter(agreement["classifier"].values()))),
        "refused": _refused(agreement),
        "published": agreement.get("published", {}),
        "label_threshold": next(iter(agreement["classifier"].values()))["quality"]["threshold"],
        "threshold": metrics[entry.classifier][0]["threshold"],
        "quality": _quality_table(metrics),
        "training": _training_table(metrics),
        "labels": _label_rows(folder / "per-label.csv"),
        "map": embedded_map(folder / "map.tif"),
        "decoder": _decoder(entry, root),
        "applied": [_applied(folder, other) for other in entry.apply_to],
    }


def agreement_table(agreement: Mapping[str, Any]) -> dict[str, Any]:
    """Rows of the table of agreement, one column per scorer and seed."""
    columns = [
        (scorer, seed, found)
        for scorer in ("classifier", "siamese")
        for seed, found in measured(agreement.get(scorer, {})).items()
    ]
    return {
        "columns": [f"{scorer}, seed {seed}" for scorer, seed, _ in columns],
        "rows": [
            {
                "name": name,
                "kind": kind,
                "values": [_agreement_cell(key, found) for *_, found in columns],
            }
            for key, name, kind in AGREEMENT_ROWS
        ],
    }


def _refused(agreement: Mapping[str, Any]) -> list[str]:
    """Seeds without a Siamese network, and why."""
    entries = agreement.get("siamese", {}).items()
    return [f"seed {seed}: {found['reason']}" for seed, found in entries if refusal(found)]


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("geolatents.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    environment.filters["gain"] = gain
    environment.filters["percent"] = percent
    environment.filters["duration"] = duration
    environment.filters["threshold"] = threshold_text
    return environment


def number(value: Any, digits: int = 3) -> str:
    """A number as text, a dash where it is not defined."""
    if value is None or (isinstance(value, float) and not np.isfinite(value)):
        return "–"
    if isinstance(value, float | np.floating):
        return f"{value:.{digits}f}".replace("-", "−")
    return str(value)


def percent(value: Any) -> str:
    """A share as per cent."""
    return "–" if number(value) == "–" else f"{100 * value:.1f}{SPACE}%"


def gain(value: Any) -> str:
    """A difference with its sign."""
    text = number(value)
    return text if text[0] in "–−" else f"+{text}"


def threshold_text(threshold: float | str) -> str:
    """A decision threshold in words."""
    if threshold == "tuned":
        return "a threshold per label, tuned on the validation part for the best F1"
    return f"threshold {threshold} for all labels"


def _agreement_cell(key: str, found: Mapping[str, Any]) -> str:
    value: Any = found
    for name in key.split("."):
        value = None if value is None else value[name]
    if value is None:
        return "–"
    if key == "partial_interval":
        return f"{number(value[0])} to {number(value[1])}"
    if key == "shifted.positive_share":
        return percent(value)
    if key == "shifted.median_difference":
        return gain(value)
    return number(value, 4 if key == "mantel_p" else 3)


def _notes(found: Mapping[str, Any]) -> list[str]:
    """Sentences below the table of agreement."""
    of_tiles = found["resampled"] == "tiles"
    notes = [
        f"{found['n_labels']} labels, {found['n_tiles']} tiles. Intervals from leaving "
        f"out {found['resampled']}, of which there are {found['n_groups']}"
        + (" (too narrow where neighbouring tiles are alike)." if of_tiles else "."),
        f"Mantel test: {found['mantel_method']}.",
        f"Significant pairs: {found['n_significant']} ({found['significance']}).",
        f"Scene baseline: {found['scene_mean_rule']}.",
    ]
    if found["shifted"]:
        shifted = found["shifted"]
        notes.append(
            f"Shifted land: {shifted['draws']} draws of {shifted['groups']} of the {shifted['of']} "
            f"test {found['resampled']}, {number(shifted['labels'], 1)} labels on average."
        )
    if found["left_out"]:
        reasons = ", ".join(f"{code} ({why})" for code, why in found["left_out"].items())
        notes.append(f"Labels left out: {reasons}.")
    return [re.sub(r"(\d) ?%", rf"\1{SPACE}%", note) for note in notes]


def _summary_rows(summary: Path) -> list[dict[str, Any]]:
    """Rows of the summary: the classifier and the Siamese network, each also where it was applied."""
    table = pd.read_csv(summary).astype(object)
    rows = table.where(table.notna(), None).to_dict("records")
    shown: list[dict[str, Any]] = []
    for row in ({str(key): value for key, value in row.items()} for row in rows):
        own = {**row, "scorer": "classifier", "macro_ap": row["test_macro_ap"]}
        shown += [own, *(_applied_row(own, name) for name in _applied_to(own))]
        if row["siamese_status"] == "trained":
            values = {
                name.removeprefix("siamese_"): value
                for name, value in row.items()
                if name.startswith("siamese_")
            }
            plain = {key: value for key, value in own.items() if not key.startswith("on_")}
            other = {**plain, **values, "scorer": "Siamese"}
            shown += [other, *(_applied_row(other, name) for name in _applied_to(other))]
    return shown


def _applied_to(row: Mapping[str, Any]) -> list[str]:
    """Other datasets that a row of the summary has figures of."""
    names = [re.fullmatch("on_(.+)_mantel_r", key) for key in row]
    return [found[1] for found in names if found and row[found[0]] is not None]


def _applied_row(row: Mapping[str, Any], dataset: str) -> dict[str, Any]:
    keys = ("mantel_r", "train_phi_r", "partial_r", "shifted_gain")
    absent = ("macro_ap", "baseline_macro_ap", "baseline", "partial_low", "partial_high")
    return {
        **row,
        **dict.fromkeys(absent),
        **{key: row[f"on_{dataset}_{key}"] for key in keys},
        "scorer": f"{row['scorer']} on {dataset}",
    }


def _quality_table(metrics: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    rows = []
    for model, seeds in metrics.items():
        for found in filter(_is_trained, seeds):
            name = f"{model}, seed {found['seed']}"
            rows.append({"name": name, "is_model": True, "values": found["split"].get("test", {})})
    first = next(iter(metrics.values()))[0]
    for name, baseline in first["baselines"].items():
        best = " (best on validation)" if name == first["best_baseline"] else ""
        rows.append(
            {
                "name": name.replace("_", " ") + best,
                "is_model": False,
                "values": baseline["split"].get("test", {}),
            }
        )
    return rows


def _is_trained(metrics: Mapping[str, Any]) -> bool:
    return refusal(metrics) is None


def _training_table(metrics: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    return [
        {
            "model": model,
            "seed": found["seed"],
            "figure": name,
            "iterations": found["training"]["iterations"],
            **figure,
        }
        for model, seeds in metrics.items()
        for found in filter(_is_trained, seeds)
        for name, figure in found["training"]["figures"].items()
    ]


def _label_rows(table: Path) -> list[dict[str, Any]]:
    """Rows of the classifier's first seed."""
    rows = pd.read_csv(table, dtype={"code": str, "name": str})
    rows = rows[rows["scorer"] == "classifier"]
    rows = rows[rows["seed"] == rows["seed"].iloc[0]].astype(object)
    return [
        {str(key): value for key, value in row.items()}
        for row in rows.where(rows.notna(), None).to_dict("records")
    ]


def _applied(folder: Path, other: str) -> dict[str, Any]:
    agreement = read_json(folder / f"on-{other}" / "agreement.json")
    first = {
        scorer: next(iter(found.values()))
        for scorer in ("classifier", "siamese")
        if (found := measured(agreement.get(scorer, {})))
    }
    shown = {
        "dataset": other,
        "figure": embedded(folder / f"on-{other}" / "agreement.png"),
        "refused": _refused(agreement),
        "labelled": agreement.get("status") != UNLABELLED,
    }
    if not shown["labelled"]:
        return {**shown, "scores": _score_rows(first), "relations": first}
    return {
        **shown,
        "agreement": agreement_table(agreement),
        "notes": _notes(first["classifier"]),
        "quality": {scorer: entry["quality"] for scorer, entry in first.items()},
    }


def _score_rows(first: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Mean score of each label on tiles without labels, one column per scorer."""
    codes = first["classifier"]["mean_scores"]
    return [
        {"code": code, "values": [entry["mean_scores"][code] for entry in first.values()]}
        for code in codes
    ]


def _decoder(entry: ExperimentEntry, root: Path) -> dict[str, Any] | None:
    """Redrawn tiles of the first seed, and the shares of variance of all seeds."""
    if not entry.decoder:
        return None
    folders = {
        seed: entry.model_folder(root, str(entry.siamese), seed) / "decoder" for seed in entry.seeds
    }
    found = {seed: read_json(folder / "scores.json") for seed, folder in folders.items()}
    scores = {seed: one for seed, one in found.items() if refusal(one) is None}
    if not scores:
        return None
    first = next(iter(scores.values()))
    return {
        "figure": embedded(folders[next(iter(scores))] / "decoder.png"),
        "seeds": list(scores),
        "code": first["code"],
        "rows": [
            {
                "name": name,
                "kind": kind,
                "values": [one["explained"].get(key) for one in scores.values()],
            }
            for key, name, kind in DECODER_ROWS
        ],
        "gains": [one["gain"] for one in scores.values()],
    }


def _provenance_rows(entry: ExperimentEntry, root: Path) -> list[dict[str, Any]]:
    artifacts = [entry.folder(root) / "agreement.json"]
    for model in filter(None, (entry.classifier, entry.siamese)):
        artifacts += [entry.model_folder(root, model, seed) / "model.keras" for seed in entry.seeds]
    rows = []
    for artifact in artifacts:
        record = provenance_path(artifact)
        if record.is_file():
            rows.append(read_json(record) | {"artifact": artifact.relative_to(root).as_posix()})
    return rows
