"""What the experiments of a study found, read from their files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from geolatents.files import read_json
from geolatents.report.entries import StudyEntry, StudyPart


@dataclass(frozen=True)
class PartResult:
    """What an experiment found, one entry per seed in every list.

    Attributes:
        part: Names that lead to its files.
        quality: Figures of the test part with the experiment's threshold, as of ``agreement.json``.
        training: Course of the classifier's training, as of ``metrics.json``.
        baseline_ap: Macro AP of the best baseline on the test part.
        labels: One row per scorer, seed and label, as of ``per-label.csv``.
        agreement: Agreement of the Siamese network's matrix; empty without one.
        pairs: Errors of the Siamese network on products, with ``starting`` and ``iterations``.
        refused: Why there is no Siamese network, in words, or nothing.
    """

    part: StudyPart
    quality: list[dict[str, Any]]
    training: list[dict[str, Any]]
    baseline_ap: list[float | None]
    labels: pd.DataFrame
    agreement: list[dict[str, Any]] = field(default_factory=list)
    pairs: list[dict[str, Any]] = field(default_factory=list)
    refused: str = ""

    def values(self, key: str) -> list[float]:
        """A figure of the test part per seed, where it is defined."""
        return [float(q[key]) for q in self.quality if q.get(key) is not None]


def read_part(part: StudyPart, root: Path) -> PartResult:
    """Read what an experiment left behind.

    Raises:
        StoreError: A file is missing or no JSON.
    """
    folder = part.folder(root)
    agreement = read_json(folder / "agreement.json")
    metrics = _metrics(part, root, part.classifier)
    result = PartResult(
        part=part,
        quality=[agreement["classifier"][str(seed)]["quality"] for seed in part.seeds],
        training=[found["training"] for found in metrics],
        baseline_ap=[_baseline_ap(found) for found in metrics],
        labels=pd.read_csv(folder / "per-label.csv", dtype={"code": str, "name": str}),
    )
    if part.siamese is None:
        return result
    siamese = _metrics(part, root, part.siamese)
    refused = [found for found in siamese if found.get("status") == "refused"]
    known = agreement.get("siamese", {})
    return PartResult(
        **{
            **result.__dict__,
            "agreement": [known[str(s)] for s in part.seeds if "mantel_r" in known.get(str(s), {})],
            "pairs": [_pairs(found) for found in siamese if found.get("pairs")],
            "refused": str(refused[0].get("reason", "refused")) if refused else "",
        }
    )


def study_matrices(entry: StudyEntry, part: str, root: Path, key: str) -> pd.DataFrame | None:
    """Mean over seeds of a label matrix of a Siamese network's agreement, by code.

    Args:
        entry: The study.
        part: Which part.
        root: Root of the results.
        key: ``correlation``, ``phi`` or ``train_phi``.

    Returns:
        (label, label) with NaN where no seed has both labels; None where nothing was run.
    """
    chosen = next((item for item in entry.parts if item.part == part), None)
    if chosen is None:
        return None
    found = read_part(chosen, root).agreement
    if not found:
        return None
    codes = list(dict.fromkeys(code for one in found for code in one["labels"]))
    frames = [
        pd.DataFrame(one[key], index=one["labels"], columns=one["labels"], dtype=float)
        .reindex(index=codes, columns=codes)
        .to_numpy()
        for one in found
        if one["labels"]
    ]
    if not frames:
        return None
    stack = np.stack(frames)
    known = np.isfinite(stack).sum(axis=0)
    mean = np.where(known > 0, np.nansum(stack, axis=0) / np.maximum(known, 1), np.nan)
    return pd.DataFrame(mean, index=codes, columns=codes)


def _metrics(part: StudyPart, root: Path, model: str) -> list[dict[str, Any]]:
    return [read_json(part.model_folder(root, model, seed) / "metrics.json") for seed in part.seeds]


def _baseline_ap(metrics: Mapping[str, Any]) -> float | None:
    best = metrics["baselines"][metrics["best_baseline"]]["split"].get("test", {})
    value = best.get("macro_ap")
    return None if value is None else float(value)


def _pairs(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Errors on pairs of the test part, and the course of the error on validation."""
    figures: Mapping[str, Any] = metrics["training"].get("figures", {})
    course: Mapping[str, Any] = figures.get("validation_mse", {})
    return {
        **metrics["pairs"],
        "starting": course.get("starting"),
        "final": course.get("final"),
        "iterations": metrics["training"].get("iterations"),
    }
