"""A proof from the files of its experiments: every endpoint over splits and seeds, beside the controls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from geolatents.files import atomic_path, read_json, write_json
from geolatents.olr.proof import (
    NULLS,
    Run,
    combine,
    holm,
    judge_primary,
    judge_secondary,
    p_of_interval,
)
from geolatents.olr.resampling import mean_defined
from geolatents.report.entries import ExperimentEntry
from geolatents.settings.proofs import Endpoint, Proof

NAMES = {
    "shifted_land": "shifted land: gain over training phi",
    "applied_gain": "other land: Mantel r above training phi",
    "partial_r": "partial Mantel r given training phi",
    "mantel_r": "Mantel r",
    "macro_ap": "test macro AP",
    "label_scores": "macro AP of label scores above the teacher's",
    "like_labels": "retrieval by label set: mean average precision above the control",
    "graded_labels": "retrieval by Jaccard index: nDCG above the control",
    "composition": "likeness of composition: rank correlation above the control",
    "graded_composition": "retrieval by composition: nDCG above the control",
    "scene_one_label": "scene class from one label's vector: accuracy above the control",
    "scene_all_labels": "scene class from all vectors: accuracy above the control",
    "cover_gain": "R2 of cover share above functions of the label's score",
    "cover_gain_all_scores": "R2 of cover share above functions of all scores",
    "effective_rank": "median effective rank of the label vectors",
}
"""Endpoints in words."""

CONTROLS = (
    "mantel_r", "train_phi_r", "scene_mean_r", "noise_r", "column_shuffle_r", "row_shuffle_r",
    "reliability", "partial_r", "gain", "rmse", "sign_agreement",
)  # fmt: skip
"""Figures of ``agreement.json`` that stand beside each other in the table of controls."""

OF_SCORER = frozenset({"shifted_land", "applied_gain", "partial_r", "mantel_r", "macro_ap"})


def prove(
    settings: Proof,
    entries: Sequence[ExperimentEntry],
    root: Path,
    output: Path,
    table: Path,
    name: str = "proof",
) -> None:
    """Write ``proof/{name}.json`` and ``proof/{name}.md``.

    Args:
        settings: Experiments and endpoints.
        entries: Where the experiments lie, in the order of the settings.
        root: Root of the results.
        output: JSON to write, see :func:`prove_endpoints`.
        table: Markdown to write.
        name: Name of the proof.

    Raises:
        StoreError: A file of an experiment is missing.
    """
    found = {"name": name, **prove_endpoints(settings, entries, root)}
    write_json(output, found)
    with atomic_path(table) as part:
        part.write_text(f"# {settings.title}\n\n{proof_tables(found)}\n", encoding="utf-8")


def prove_endpoints(
    settings: Proof, entries: Sequence[ExperimentEntry], root: Path
) -> dict[str, Any]:
    """Every endpoint over splits and seeds.

    Returns:
        ``title, level, experiments`` (seeds and parts of each), ``primary`` and ``secondary``:
        each with ``measure, scorer, applied_to, name, bar, share_bar, null``, the keys of
        :func:`geolatents.olr.proof.combine`, ``runs`` (value, interval, p of each), ``p_holm``,
        ``verdict`` and ``shown``; ``controls`` by scorer and ``hierarchy``.
    """
    measured = [_measured(endpoint, entries, root) for endpoint in settings.endpoints]
    for endpoint, result in zip(settings.endpoints, measured, strict=True):
        result["p_holm"] = None
        result["null"] = NULLS[endpoint.measure]
    primary, *secondary = measured
    tested = [result for result in secondary if result["null"] is not None]
    for result, adjusted in zip(tested, holm([r["p"] for r in tested]), strict=True):
        result["p_holm"] = adjusted
    runs = list(_runs(settings.primary, entries, root))
    bars = (settings.primary.bar, settings.primary.share_bar)
    primary |= judge_primary(primary, runs, *bars, primary["null"])
    primary["shown"] = primary["verdict"] == "met"
    for result in secondary:
        result |= judge_secondary(
            result, result["p_holm"], result["bar"], result["null"], settings.level
        )
    return {
        "title": settings.title,
        "level": settings.level,
        "experiments": {entry.name: _facts(entry, root) for entry in entries},
        "primary": primary,
        "secondary": secondary,
        "controls": {s: _controls(s, entries, root) for s in ("classifier", "siamese")},
        "hierarchy": _hierarchy(entries, root),
    }


def _measured(endpoint: Endpoint, entries: Sequence[ExperimentEntry], root: Path) -> dict[str, Any]:
    runs = list(_runs(endpoint, entries, root))
    return {
        **endpoint.model_dump(mode="json"),
        "scorer": endpoint.scorer if endpoint.measure in OF_SCORER else "siamese",
        "name": endpoint_name(endpoint),
        **combine(runs, NULLS[endpoint.measure]),
        "runs": [
            {
                "experiment": run.experiment, "seed": run.seed, "value": run.value,
                "interval": run.interval, "p": run.p, "share": run.share,
            }
            for run in runs
        ],
    }  # fmt: skip


def endpoint_name(endpoint: Endpoint) -> str:
    """An endpoint in words."""
    text = NAMES[endpoint.measure]
    if endpoint.applied_to is not None:
        text = text.replace("other land", f"applied to {endpoint.applied_to}")
    of_scorer = endpoint.measure in OF_SCORER and endpoint.scorer == "classifier"
    return f"{text} (classifier)" if of_scorer else text


def _runs(endpoint: Endpoint, entries: Sequence[ExperimentEntry], root: Path) -> Iterator[Run]:
    for entry in entries:
        counts = _counts(entry, root)
        for seed in entry.seeds:
            found = _figure(endpoint, entry, root, seed)
            yield Run(entry.name, seed, n_train=counts["train"], n_test=counts["test"], **found)


def _figure(endpoint: Endpoint, entry: ExperimentEntry, root: Path, seed: int) -> dict[str, Any]:
    """Fields of a run that the measure gives."""
    if endpoint.measure in OF_SCORER:
        return _scorer_figure(endpoint, entry, root, seed)
    found = _embedding(entry, root, seed)
    if found.get("status") == "refused":
        return {"value": None, "reason": f"{entry.name}: {found['reason']}"}
    figures = found[endpoint.measure]
    value = figures["median"] if endpoint.measure == "effective_rank" else figures["difference"]
    kept = {key: figures.get(key) for key in ("interval", "p", "reason")}
    return {"value": value, "groups": figures.get("groups", {}), **kept}


def _scorer_figure(
    endpoint: Endpoint, entry: ExperimentEntry, root: Path, seed: int
) -> dict[str, Any]:
    model = entry.siamese if endpoint.scorer == "siamese" else entry.classifier
    if endpoint.measure == "macro_ap":
        metrics = read_json(entry.model_folder(root, str(model), seed) / "metrics.json")
        return {"value": metrics["split"].get("test", {}).get("macro_ap")}
    folder = entry.folder(root) / (f"on-{endpoint.applied_to}" if endpoint.applied_to else "")
    agreement = read_json(folder / "agreement.json")
    if str(seed) not in agreement.get(endpoint.scorer, {}):
        return {"value": None, "reason": f"{entry.name} has no scores of the {endpoint.scorer}"}
    found = agreement[endpoint.scorer][str(seed)]
    if endpoint.measure == "shifted_land":
        return _shifted(found)
    if endpoint.measure == "mantel_r":
        return {"value": found.get("mantel_r")}
    key, limits = (
        ("partial_r", "partial_interval")
        if endpoint.measure == "partial_r"
        else ("gain", "gain_interval")
    )
    value, interval = found.get(key), found.get(limits)
    if value is None or interval is None:
        reason = found.get("reason", f"{key} is not defined")
        return {"value": value, "reason": reason if value is None else None}
    fisher = endpoint.measure == "partial_r"
    p = p_of_interval(value, interval, found["n_groups"], fisher=fisher)
    return {"value": value, "interval": interval, "p": p}


def _shifted(found: Mapping[str, Any]) -> dict[str, Any]:
    shifted = found.get("shifted")
    if shifted is None:
        return {"value": None, "reason": "no groups for shifted land"}
    return {"value": shifted["median_difference"], "share": shifted["positive_share"]}


def _embedding(entry: ExperimentEntry, root: Path, seed: int) -> dict[str, Any]:
    folder = entry.model_folder(root, str(entry.siamese), seed)
    found: dict[str, Any] = read_json(folder / "embedding.json")
    return found


def _counts(entry: ExperimentEntry, root: Path) -> dict[str, int]:
    summary = read_json(root / entry.dataset / "splits" / f"{entry.split}.json")
    counts: dict[str, int] = summary["counts"]
    return counts


def _facts(entry: ExperimentEntry, root: Path) -> dict[str, Any]:
    return {
        "dataset": entry.dataset, "split": entry.split, "labels": entry.labels,
        "classifier": entry.classifier, "siamese": entry.siamese, "seeds": entry.seeds,
        "tiles": _counts(entry, root),
    }  # fmt: skip


def _controls(
    scorer: str, entries: Sequence[ExperimentEntry], root: Path
) -> dict[str, float | None]:
    """Means over experiments of means over seeds."""
    found = [read_json(entry.folder(root) / "agreement.json").get(scorer, {}) for entry in entries]

    def mean(key: str) -> float | None:
        by_experiment = [_mean([seed.get(key) for seed in seeds.values()]) for seeds in found]
        return _mean(by_experiment)

    return {key: mean(key) for key in CONTROLS}


def _hierarchy(entries: Sequence[ExperimentEntry], root: Path) -> list[dict[str, Any]]:
    """AUC of the level-1 groups, one row per experiment and seed."""
    rows = []
    for entry in entries:
        for seed in entry.seeds:
            found = _embedding(entry, root, seed).get("hierarchy", {})
            if found.get("auc") is not None:
                rows.append({"experiment": entry.name, "seed": seed, **found})
    return rows


def _mean(values: Sequence[float | None]) -> float | None:
    return mean_defined(np.array([np.nan if value is None else value for value in values]))


# ---- in words


def proof_tables(found: Mapping[str, Any]) -> str:
    """A proof as Markdown tables: endpoints, runs of the primary one, controls, hierarchy."""
    parts = [_endpoint_table(found), _run_table(found["primary"]), _control_table(found)]
    if found["hierarchy"]:
        parts.append(_hierarchy_table(found["hierarchy"]))
    return "\n\n".join(parts)


def _endpoint_table(found: Mapping[str, Any]) -> str:
    head = ["", "endpoint", "value", "95 % interval", "p", "p (Holm)", "bar", "verdict"]
    rows = []
    for number, entry in enumerate([found["primary"], *found["secondary"]]):
        verdict = entry["verdict"]
        if verdict == "not measured" and entry.get("reason"):
            verdict += f" ({entry['reason']})"
        rows.append([
            "**primary**" if number == 0 else str(number), entry["name"], text(entry["value"]),
            interval_text(entry["interval"]), text(entry["p"]), text(entry["p_holm"]),
            bar_text(entry), f"**{verdict}**",
        ])  # fmt: skip
    return markdown_table(head, rows)


def bar_text(endpoint: Mapping[str, Any]) -> str:
    """What an endpoint must reach, in words."""
    null, bar = NULLS[endpoint["measure"]], endpoint["bar"]
    texts = [] if bar is None else [f"≥ {bar:g}"]
    if endpoint["share_bar"] is not None:
        texts.append(f"positive in ≥ {100 * endpoint['share_bar']:g} % of draws")
    if null is not None:
        texts.append(f"interval above {null:g}")
    return "; ".join(texts) or "reported"


def _run_table(primary: Mapping[str, Any]) -> str:
    rows = [
        [run["experiment"], str(run["seed"]), text(run["value"]), text(run["share"])]
        for run in primary["runs"]
    ]
    reached = f"{primary['runs_that_reach_the_bars']} of {len(primary['runs'])} runs reach the bars"
    title = f"Runs of the primary endpoint ({primary['name']}); {reached}."
    return f"{title}\n\n" + markdown_table(["experiment", "seed", "value", "positive share"], rows)


def _control_table(found: Mapping[str, Any]) -> str:
    controls = found["controls"]
    rows = [
        [scorer, *(text(values[key]) for key in CONTROLS)] for scorer, values in controls.items()
    ]
    return "Controls, means over all runs.\n\n" + markdown_table(["scorer", *CONTROLS], rows)


def _hierarchy_table(rows: Sequence[Mapping[str, Any]]) -> str:
    names = list(rows[0]["auc"])
    head = ["experiment", "seed", *(f"{name} (p)" for name in names)]
    body = [
        [row["experiment"], str(row["seed"])]
        + [f"{text(row['auc'][name])} ({text(row['p'][name])})" for name in names]
        for row in rows
    ]
    title = "AUC that pairs of labels of one CORINE level-1 group are closer than others."
    return f"{title}\n\n" + markdown_table(head, body)


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "/") for cell in row) + " |" for row in lines
    )


def text(value: float | None) -> str:
    """A figure with four digits, or a dash."""
    return "–" if value is None else f"{value:.4g}"


def interval_text(interval: Sequence[float] | None) -> str:
    """An interval, or a dash."""
    return "–" if interval is None else f"{interval[0]:.4g} to {interval[1]:.4g}"
