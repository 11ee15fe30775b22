"""The tables of the predecessor's study: its figures, ours, and the baselines of both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from geolatents.report import predecessor
from geolatents.report.predecessor import Counts, PairError, Result
from geolatents.report.study_results import PartResult
from geolatents.settings.study import PLAIN_RUN, RUNS

PREDECESSOR = "predecessor"
OURS = "ours"
NOT_RUN = "not run"

Results = Mapping[str, PartResult]
Row = dict[str, Any]
Floats = npt.NDArray[np.float64]

FACTORS = ("pruned labels", "weighted labels", "random batches")


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        key: Key of its values in the rows.
        title: Heading.
        digits: Decimals of numbers; None: words.
    """

    key: str
    title: str
    digits: int | None = None


@dataclass(frozen=True)
class Table:
    """A table of the study.

    Attributes:
        key: What it is called in addresses.
        title: Caption.
        columns: Columns from left to right.
        rows: Values by column; a mean over seeds is ``{"mean", "sd", "n"}``. ``missing`` says why a
            row has no values.
        notes: Sentences below it.
    """

    key: str
    title: str
    columns: list[Column]
    rows: list[Row]
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The table as plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Table:
        """The inverse of :meth:`as_json`."""
        return cls(**{**values, "columns": [Column(**column) for column in values["columns"]]})


DECISIONS = [
    Column("what", "experiment"), Column("by", "by"), Column("images", "test images", 0),
    Column("labels", "labels", 0), Column("tp", "TP", 0), Column("tn", "TN", 0),
    Column("fp", "FP", 0), Column("fn", "FN", 0), Column("accuracy", "accuracy", 4),
    Column("all_absent", "all absent", 4), Column("majority", "label majority", 4),
    Column("precision", "precision", 3), Column("recall", "recall", 3), Column("f1", "F1", 3),
    Column("macro_ap", "macro AP", 3), Column("baseline_ap", "best baseline's AP", 3),
]  # fmt: skip
COURSE = [
    Column("what", "experiment"), Column("by", "by"), Column("figure", "figure"),
    Column("starting", "starting", 4), Column("final", "final", 4),
    Column("improvement", "improvement", 4), Column("iterations", "iterations", 0),
    Column("remark", "remark"),
]  # fmt: skip
PER_LABEL = [
    Column("what", "label"), Column("by", "by"), Column("tp", "TP", 0), Column("tn", "TN", 0),
    Column("fp", "FP", 0), Column("fn", "FN", 0), Column("prevalence", "prevalence", 3),
    Column("majority", "majority", 3), Column("accuracy", "accuracy", 3),
    Column("precision", "precision", 3), Column("recall", "recall", 3), Column("f1", "F1", 3),
    Column("balanced_accuracy", "balanced accuracy", 3), Column("mcc", "MCC", 3),
]  # fmt: skip
PAIRS = [
    Column("what", "classifier"), Column("by", "by"), Column("starting", "starting MSE", 5),
    Column("best", "best MSE", 5), Column("iterations", "iterations", 0),
    Column("constant", "best constant's MSE", 5), Column("zero", "MSE of zero", 5),
    Column("r2", "R2 over the constant", 3), Column("remark", "remark"),
]  # fmt: skip

COURSE_NOTES = [
    "The predecessor's figure is accuracy on its test images, read after every iteration, the best one kept. Ours is macro AP on "
    "validation tiles; the test tiles choose nothing. The two columns are no comparison of size.",
]
DECISION_NOTES = [
    "Precision, recall and F1 are over all decisions together. 'All absent' says of every label that it is absent; 'label majority' says "
    "of each label what most training tiles have (the predecessor's is known where it printed counts per label).",
    "Ours: mean ± standard deviation over seeds, of one fixed test part per dataset.",
]


def study_tables(found: Results) -> list[Table]:
    """All tables, those of the predecessor in its order, then those that it lacks.

    Args:
        found: Results by part, such as ``planetscope.run_1``; parts that are not run are absent.
    """
    runs = [f"planetscope.run_{number}" for number in range(1, 9)]
    planet = {f"planetscope.{key}": row for key, row in predecessor.METHODS.items()}
    ortho = {f"orthophotos.{key}": row for key, row in predecessor.ORTHOPHOTOS.items()}
    by_run = dict(zip(runs, predecessor.RUNS, strict=True))
    named = {run: _run_name(number) for number, run in enumerate(runs, 1)}
    combined = ("planetscope.combined", predecessor.COMBINED_LABELS)
    of_ortho = ("orthophotos.combined", predecessor.ORTHOPHOTO_LABELS)
    return [
        decisions("2", "Table 2: the first run", {"planetscope.first_run": predecessor.FIRST_RUN}, found),
        course("3", "Table 3: course of the eight runs (P pruned, W weighted, R random)", by_run, found, named),
        decisions("4", "Table 4: decisions of the eight runs", by_run, found, named),
        factor_effects(found),
        course("5", "Table 5: course of three methods", planet, found),
        decisions("6", "Table 6: decisions of three methods", planet, found),
        threshold_check(found),
        per_label("7", "Table 7, the first of that number: the combined labels", *combined, found),
        improved(found),
        pairs("7b", "Table 7, the second of that number: Siamese networks",
              {f"planetscope.{key}": row for key, row in predecessor.PAIRS.items()}, found),
        course("8", "Table 8: course on orthophotos", ortho, found),
        decisions("9", "Table 9: decisions on orthophotos", ortho, found),
        per_label("10", "Table 10: the combined labels of orthophotos", *of_ortho, found),
        pairs("11", "Table 11: the Siamese network on orthophotos",
              {"orthophotos.combined": predecessor.ORTHOPHOTO_PAIRS}, found),
        resolutions(found),
        agreements(found),
        said_of_pairs(found),
        celeba(found),
    ]  # fmt: skip


# -- the predecessor's tables -------------------------------------------------------------------


def decisions(
    key: str,
    title: str,
    wanted: Mapping[str, Result],
    found: Results,
    names: Mapping[str, str] | None = None,
) -> Table:
    """Counts of decisions, and what follows from them (tables 2, 4, 6 and 9)."""
    rows = []
    for part, row in wanted.items():
        what = (names or {}).get(part, row.name)
        rows += [_printed_decisions(what, row), _our_decisions(what, found.get(part))]
    return Table(key, title, DECISIONS, rows, DECISION_NOTES)


def course(
    key: str,
    title: str,
    wanted: Mapping[str, Result],
    found: Results,
    names: Mapping[str, str] | None = None,
) -> Table:
    """Starting and final figure, improvement and iterations (tables 3, 5 and 8)."""
    rows = []
    for part, row in wanted.items():
        what = (names or {}).get(part, row.name)
        rows.append(
            {
                "what": what,
                "by": PREDECESSOR,
                "figure": "test accuracy",
                "starting": row.starting,
                "final": row.final,
                "improvement": row.improvement,
                "iterations": row.iterations,
                "remark": "; ".join(predecessor.flags(row)) or None,
            }
        )
        rows.append(_our_course(what, found.get(part)))
    return Table(key, title, COURSE, rows, COURSE_NOTES)


def per_label(
    key: str, title: str, part: str, printed: Mapping[str, Counts], found: Results
) -> Table:
    """Decisions per label, with their means (tables 7 and 10)."""
    result = found.get(part)
    ours = _our_labels(result)
    rows: list[Row] = []
    for name, counts in printed.items():
        rows.append({"what": name, "by": PREDECESSOR, **_rates(counts)})
        rows.append({"what": name, "by": OURS, **ours.pop(name, _missing(result))})
    rows += [{"what": name, "by": OURS, **values} for name, values in ours.items()]
    mean = predecessor.macro(printed)
    rows.append({"what": "mean of labels", "by": PREDECESSOR, **mean})
    rows.append({"what": "mean of labels", "by": OURS, **_our_macro(result)})
    notes = [
        "A label that is always said to be absent has accuracy 1 - prevalence, F1 0, balanced accuracy 0.5 and MCC 0: "
        "look at the last three columns.",
    ]
    return Table(key, title, PER_LABEL, rows, notes)


def pairs(key: str, title: str, wanted: Mapping[str, PairError], found: Results) -> Table:
    """Errors of Siamese networks on products of probabilities (tables 7 and 11)."""
    rows: list[Row] = []
    for part, row in wanted.items():
        rows.append(
            {
                "what": row.name,
                "by": PREDECESSOR,
                "starting": row.starting,
                "best": row.best,
                "iterations": row.iterations,
                "zero": _zero_error(part),
                "remark": "MSE of zero: of yes-or-no labels at the printed prevalences",
            }
        )
        rows.append({"what": row.name, "by": OURS, **_our_pairs(found.get(part))})
    notes = [
        "An error says nothing without that of a predictor that knows nothing of the image: the best constant per label, and zero. "
        "R2 is the share of the constant's error that is gone. The best constant and zero of ours are measured on the same pairs of test tiles.",
        "A rarer label has a smaller error by itself: its products are nearly always nearly 0.",
    ]
    return Table(key, title, PAIRS, rows, notes)


def _printed_decisions(what: str, row: Result) -> Row:
    counts = row.counts
    labels = {7: predecessor.COMBINED_LABELS, 5: predecessor.ORTHOPHOTO_LABELS}.get(row.labels)
    return {
        "what": what,
        "by": PREDECESSOR,
        "images": row.images,
        "labels": row.labels,
        **_counts(counts),
        "accuracy": counts.accuracy,
        "all_absent": counts.all_absent,
        "majority": predecessor.macro(labels)["majority"] if labels else None,
        "precision": counts.precision,
        "recall": counts.recall,
        "f1": counts.f1,
    }


def _our_decisions(what: str, result: PartResult | None) -> Row:
    if result is None:
        return {"what": what, "by": OURS, "missing": NOT_RUN}
    keys = {
        "tp": "tp", "tn": "tn", "fp": "fp", "fn": "fn", "accuracy": "accuracy",
        "all_absent": "all_absent_accuracy", "majority": "majority_accuracy",
        "precision": "micro_precision", "recall": "micro_recall", "f1": "micro_f1",
        "macro_ap": "macro_ap",
    }  # fmt: skip
    return {
        "what": what,
        "by": OURS,
        "images": result.quality[0]["n_tiles"],
        "labels": result.quality[0]["n_labels"],
        **{key: over_seeds(result.values(name)) for key, name in keys.items()},
        "baseline_ap": over_seeds(result.baseline_ap),
    }


def _our_course(what: str, result: PartResult | None) -> Row:
    if result is None:
        return {"what": what, "by": OURS, "missing": NOT_RUN}
    figure = "validation_macro_ap"
    found = [one["figures"].get(figure, {}) for one in result.training]
    return {
        "what": what,
        "by": OURS,
        "figure": "validation macro AP",
        **{
            key: over_seeds([one.get(key) for one in found])
            for key in ("starting", "final", "improvement")
        },
        "iterations": over_seeds([one["iterations"] for one in result.training]),
        "remark": f"iterations are epochs, at most {result.part.epochs}",
    }


def _our_labels(result: PartResult | None) -> dict[str, Row]:
    """Rows of the classifier by name of the label, means over seeds."""
    if result is None:
        return {}
    table = result.labels[result.labels["scorer"] == "classifier"]
    keys = {
        "tp": "tp", "tn": "tn", "fp": "fp", "fn": "fn", "prevalence": "prevalence",
        "majority": "majority_accuracy", "accuracy": "accuracy", "precision": "precision",
        "recall": "recall", "f1": "f1", "balanced_accuracy": "balanced_accuracy", "mcc": "mcc",
    }  # fmt: skip
    return {
        str(rows["name"].iloc[0]): {key: over_seeds(rows[name]) for key, name in keys.items()}
        for _, rows in table.groupby("code", sort=False)
    }


def _our_macro(result: PartResult | None) -> Row:
    if result is None:
        return _missing(result)
    keys = {
        "majority": "majority_accuracy", "accuracy": "accuracy", "f1": "macro_f1",
        "balanced_accuracy": "balanced_accuracy", "mcc": "mcc",
    }  # fmt: skip
    return {key: over_seeds(result.values(name)) for key, name in keys.items()}


def _our_pairs(result: PartResult | None) -> Row:
    if result is None or result.part.siamese is None:
        return {"missing": NOT_RUN}
    if result.refused:
        return {"missing": "refused", "remark": result.refused}
    if not result.pairs:
        return {"missing": "not measured", "remark": "trained with another objective"}
    keys = {
        "starting": "starting", "best": "mse", "constant": "constant_mse", "zero": "zero_mse",
        "r2": "r2", "iterations": "iterations",
    }  # fmt: skip
    row: Row = {
        key: over_seeds([one.get(name) for one in result.pairs]) for key, name in keys.items()
    }
    return row | {"remark": "starting: validation pairs, first epoch; best: test pairs"}


def _rates(counts: Counts) -> Row:
    return {
        **_counts(counts),
        "prevalence": counts.positives / counts.total,
        "majority": counts.majority,
        "accuracy": counts.accuracy,
        "precision": counts.precision,
        "recall": counts.recall,
        "f1": counts.f1,
        "balanced_accuracy": counts.balanced_accuracy,
        "mcc": counts.mcc,
    }


def _zero_error(part: str) -> float | None:
    """Error of predicting 0 for products of yes-or-no labels: the mean square of the prevalences."""
    if part == "planetscope.combined":
        diagonal = np.diag(np.array(predecessor.COOCCURRENCE)) / predecessor.COOCCURRENCE_IMAGES
        return float(np.mean(diagonal**2))
    if part.startswith("planetscope."):
        shares = np.array(list(predecessor.RANDOM_COUNTS.values())) / 100
        return float(np.mean(shares**2))
    counts = predecessor.ORTHOPHOTO_LABELS.values()
    return float(np.mean([(one.positives / one.total) ** 2 for one in counts]))


# -- what the predecessor lacks ------------------------------------------------------------------


def factor_effects(found: Results) -> Table:
    """Effect of each factor of the eight runs, the other two held, on labels that all runs have."""
    columns = [
        Column("what", "factor"), Column("ap", "change of AP", 4),
        Column("gain", "change of right decisions beyond 'all absent', per 1,000", 2),
        Column("with", "AP with it", 4), Column("without", "AP without it", 4),
        Column("pairs", "pairs of runs", 0),
    ]  # fmt: skip
    runs: dict[tuple[bool, ...], PartResult] = {
        factors: found[f"planetscope.run_{number}"]
        for number, factors in enumerate(RUNS, 1)
        if f"planetscope.run_{number}" in found
    }
    shared = _shared_labels(runs.values())
    rows = []
    for place, name in enumerate(FACTORS):
        both = _pairs_of_runs(place, runs)
        if not both:
            rows.append({"what": name, "missing": NOT_RUN, "pairs": 0})
            continue
        ap = [(_ap_of(a, shared), _ap_of(b, shared)) for a, b in both]
        gain = [_gains(a, shared) - _gains(b, shared) for a, b in both]
        rows.append(
            {
                "what": name,
                "ap": over_seeds(np.mean([with_it - without for with_it, without in ap], axis=0)),
                "gain": over_seeds(np.mean(gain, axis=0)),
                "with": over_seeds(np.mean([with_it for with_it, _ in ap], axis=0)),
                "without": over_seeds(np.mean([without for _, without in ap], axis=0)),
                "pairs": len(both),
            }
        )
    notes = [
        f"Ours only, test part, {len(shared)} labels that all runs have: AP is the mean over these labels. A change is the mean over pairs of "
        "runs that differ in this factor alone, ± standard deviation over seeds.",
        "The predecessor's random batches also drew other test images, so that its factor R compares two test sets.",
    ]
    return Table("factors", "The three factors on one test part", columns, rows, notes)


def threshold_check(found: Results) -> Table:
    """The same model with two thresholds."""
    columns = [
        Column("what", "experiment"), Column("threshold", "threshold", 2),
        Column("macro_ap", "macro AP", 4), Column("accuracy", "accuracy", 4),
        Column("all_absent", "all absent", 4), Column("precision", "precision", 3),
        Column("recall", "recall", 3), Column("f1", "F1", 3),
    ]  # fmt: skip
    rows: list[Row] = []
    same = True
    for plain, other in (
        (f"planetscope.run_{PLAIN_RUN}", "planetscope.threshold"),
        ("orthophotos.standard", "orthophotos.threshold"),
    ):
        both = [(part, found.get(part)) for part in (plain, other)]
        for part, result in both:
            rows.append(_threshold_row(part, result))
        if all(result is not None for _, result in both):
            same &= found[plain].values("macro_ap") == found[other].values("macro_ap")
    notes = [
        "Both rows of a dataset are one trained model: macro AP, which needs no threshold, "
        + ("is the same to the last digit." if same else "DIFFERS, which cannot be."),
    ]
    return Table("threshold", "A threshold changes decisions, not the model", columns, rows, notes)


def improved(found: Results) -> Table:
    """Ours on the combined labels beside the predecessor's method."""
    columns = [
        Column("what", "method"), Column("by", "by"), Column("macro_f1", "macro F1", 3),
        Column("balanced_accuracy", "balanced accuracy", 3), Column("mcc", "MCC", 3),
        Column("accuracy", "accuracy", 3), Column("majority", "label majority", 3),
        Column("macro_ap", "macro AP", 3), Column("baseline_ap", "best baseline's AP", 3),
    ]  # fmt: skip
    mean = predecessor.macro(predecessor.COMBINED_LABELS)
    printed = {
        "what": "its network", "by": PREDECESSOR, "macro_f1": mean["f1"],
        **{key: mean[key] for key in ("balanced_accuracy", "mcc", "accuracy", "majority")},
    }  # fmt: skip
    rows: list[Row] = [printed]
    for what, part in (
        ("its network", "planetscope.combined"),
        ("our network", "planetscope.improved"),
    ):
        result = found.get(part)
        if result is None:
            rows.append({"what": what, "by": OURS, "missing": NOT_RUN})
            continue
        keys = ("macro_f1", "balanced_accuracy", "mcc", "accuracy", "macro_ap")
        rows.append(
            {
                "what": f"{what} ({result.part.network})",
                "by": OURS,
                **{key: over_seeds(result.values(key)) for key in keys},
                "majority": over_seeds(result.values("majority_accuracy")),
                "baseline_ap": over_seeds(result.baseline_ap),
            }
        )
    notes = ["Labels that are always said to be absent reach macro F1 0 and balanced accuracy 0.5."]
    return Table(
        "improved", "Combined labels: its method and ours, test part", columns, rows, notes
    )


def resolutions(found: Results) -> Table:
    """Orthophotos at two resolutions, the same ground and test part."""
    columns = [
        Column("what", "labels"), Column("resolution", "orthophotos"),
        Column("macro_ap", "macro AP", 3), Column("baseline_ap", "best baseline's AP", 3),
        Column("macro_f1", "macro F1", 3), Column("balanced_accuracy", "balanced accuracy", 3),
        Column("accuracy", "accuracy", 4), Column("all_absent", "all absent", 4),
    ]  # fmt: skip
    rows: list[Row] = []
    for what in ("standard", "combined"):
        for resolution, part in (("as taken", what), ("lower resolution", f"coarse_{what}")):
            result = found.get(f"orthophotos.{part}")
            row: Row = {"what": what, "resolution": resolution}
            if result is None:
                rows.append(row | {"missing": NOT_RUN})
                continue
            keys = ("macro_ap", "macro_f1", "balanced_accuracy", "accuracy")
            rows.append(
                row
                | {key: over_seeds(result.values(key)) for key in keys}
                | {
                    "all_absent": over_seeds(result.values("all_absent_accuracy")),
                    "baseline_ap": over_seeds(result.baseline_ap),
                }
            )
    notes = ["The predecessor proposed this as future work and printed no figure."]
    return Table("resolution", "Orthophotos of lower resolution", columns, rows, notes)


def agreements(found: Results) -> Table:
    """Agreement of the Siamese networks' correlation matrices with phi, beside baselines."""
    keys = {
        "mantel": ("mantel_r", "Mantel r"), "train": ("train_phi_r", "training phi"),
        "partial": ("partial_r", "partial r, given training phi"),
        "scene": ("scene_mean_r", "mean labels nearby"), "noise": ("noise_r", "ridge on noise"),
        "ceiling": ("reliability", "reliability of phi"), "p": ("mantel_p", "p of Mantel r"),
    }  # fmt: skip
    columns = [Column("what", "Siamese network"), Column("labels", "labels compared", 0)]
    columns += [Column(key, title, 3) for key, (_, title) in keys.items()]
    rows: list[Row] = []
    for what, part in (
        ("figure 20: combined labels", "planetscope.combined"),
        ("figure 21: threshold 0.2", "planetscope.threshold"),
        ("figure 22: focal loss", "planetscope.focal"),
        ("figure 24: orthophotos, combined labels", "orthophotos.combined"),
    ):
        result = found.get(part)
        if result is None or not result.agreement:
            missing = "refused" if result and result.refused else NOT_RUN
            rows.append({"what": what, "missing": missing})
            continue
        values = {key: [one[name] for one in result.agreement] for key, (name, _) in keys.items()}
        rows.append(
            {
                "what": what,
                "labels": over_seeds([one["n_labels"] for one in result.agreement]),
                **{key: over_seeds(value) for key, value in values.items()},
            }
        )
    notes = [
        "The predecessor compared its matrices with raw counts by eye and printed no number. Mantel r is high for almost anything, also for the "
        "training labels alone; partial r is what the network knows beyond them.",
    ]
    return Table(
        "agreement", "Figures 20 to 24 as numbers: agreement with phi of the test labels",
        columns, rows, notes,
    )  # fmt: skip


def said_of_pairs(found: Results) -> Table:
    """What was said of single pairs of labels, beside phi."""
    from geolatents.labels.cooccurrence import phi_from_counts

    columns = [
        Column("what", "pair"), Column("dataset", "images"), Column("said", "predecessor's network"),
        Column("phi", "phi of its labels", 2), Column("our_phi", "phi of our test labels", 2),
        Column("ours", "our Siamese network", 2),
    ]  # fmt: skip
    phi = phi_from_counts(np.array(predecessor.COOCCURRENCE), predecessor.COOCCURRENCE_IMAGES)
    rows: list[Row] = []
    for group, one, two, said in predecessor.SAID_OF_PAIRS:
        planet = group == "combined"
        part = "planetscope.combined" if planet else "orthophotos.combined"
        i, j = (predecessor.COOCCURRENCE_LABELS.index(name) for name in (one, two))
        rows.append(
            {
                "what": f"{one} and {two}",
                "dataset": "PlanetScope" if planet else "orthophotos",
                "said": said,
                "phi": float(phi[i, j]) if planet else None,
                **_our_pair(found.get(part), one, two),
            }
        )
    notes = [
        "Two labels can be together in many tiles and still avoid each other: agriculture and forests share 3,770 of 14,100 tiles, "
        "fewer than their shares of the tiles make by chance, so that phi is negative. Counts do not tell; phi does.",
    ]
    return Table("said", "What was said of pairs of labels", columns, rows, notes)


def celeba(found: Results) -> Table:
    """The check on faces."""
    columns = [
        Column("what", "figure"), Column(PREDECESSOR, PREDECESSOR, 4), Column(OURS, OURS, 4),
        Column("baseline", "all absent, or best constant", 4),
    ]  # fmt: skip
    result = found.get("celeba")
    rows: list[Row] = [
        {"what": "classifier: accuracy", PREDECESSOR: predecessor.CELEBA_ACCURACY},
        {"what": "Siamese network: MSE", PREDECESSOR: predecessor.CELEBA_MSE},
    ]
    if result is None:
        rows = [row | {"missing": NOT_RUN} for row in rows]
    else:
        rows[0] |= {
            OURS: over_seeds(result.values("accuracy")),
            "baseline": over_seeds(result.values("all_absent_accuracy")),
        }
        rows[1] |= {
            OURS: over_seeds([one.get("mse") for one in result.pairs]),
            "baseline": over_seeds([one.get("constant_mse") for one in result.pairs]),
        }
    notes = ["Run by config/thesis-celeba.yaml where the images are; no figure without them."]
    return Table("celeba", "The check on faces (CelebA, 38 labels)", columns, rows, notes)


# -- parts ---------------------------------------------------------------------------------------


def over_seeds(values: Iterable[Any]) -> dict[str, Any] | None:
    """Mean and standard deviation (n - 1) of what is defined; None where nothing is."""
    known = np.array([v for v in values if v is not None and np.isfinite(v)], dtype=np.float64)
    if not known.size:
        return None
    spread = float(known.std(ddof=1)) if known.size > 1 else None
    return {"mean": float(known.mean()), "sd": spread, "n": int(known.size)}


def _counts(counts: Counts) -> Row:
    return {"tp": counts.tp, "tn": counts.tn, "fp": counts.fp, "fn": counts.fn}


def _missing(result: PartResult | None) -> Row:
    return {"missing": NOT_RUN if result is None else "no such label"}


def _run_name(number: int) -> str:
    letters = "".join(letter for letter, on in zip("PWR", RUNS[number - 1], strict=True) if on)
    return f"run {number}, {letters or 'none'}"


def _pairs_of_runs(
    place: int, runs: Mapping[tuple[bool, ...], PartResult]
) -> list[tuple[PartResult, PartResult]]:
    """Runs with and without a factor that are alike in the others, and have the same seeds."""
    found = []
    for others in product((True, False), repeat=2):
        with_it, without = (
            runs.get((*others[:place], on, *others[place:])) for on in (True, False)
        )
        if with_it and without and with_it.part.seeds == without.part.seeds:
            found.append((with_it, without))
    return found


def _shared_labels(results: Iterable[PartResult]) -> list[str]:
    """Codes that all results have and that the test part has both answers of."""
    sets = [set(_classifier_rows(result).dropna(subset="roc_auc")["code"]) for result in results]
    return sorted(set.intersection(*sets)) if sets else []


def _classifier_rows(result: PartResult) -> pd.DataFrame:
    return result.labels[result.labels["scorer"] == "classifier"]


def _ap_of(result: PartResult, codes: Sequence[str]) -> Floats:
    """Mean AP of labels per seed (seed,)."""
    return np.array([rows["ap"].mean() for rows in _by_seed(result, codes)], dtype=np.float64)


def _gains(result: PartResult, codes: Sequence[str]) -> Floats:
    """Right decisions beyond 'all absent' per 1,000, per seed (seed,)."""
    return np.array(
        [
            1000 * (rows["tp"] - rows["fp"]).sum() / rows[["tp", "tn", "fp", "fn"]].to_numpy().sum()
            for rows in _by_seed(result, codes)
        ],
        dtype=np.float64,
    )


def _by_seed(result: PartResult, codes: Sequence[str]) -> Iterator[pd.DataFrame]:
    rows = _classifier_rows(result)
    rows = rows[rows["code"].isin(codes)]
    for seed in result.part.seeds:
        yield rows[rows["seed"] == seed]


def _threshold_row(part: str, result: PartResult | None) -> Row:
    what = part.replace(".", ": ").replace("_", " ")
    if result is None:
        return {"what": what, "missing": NOT_RUN}
    keys = {
        "macro_ap": "macro_ap", "accuracy": "accuracy", "all_absent": "all_absent_accuracy",
        "precision": "micro_precision", "recall": "micro_recall", "f1": "micro_f1",
    }  # fmt: skip
    return {
        "what": what,
        "threshold": result.quality[0]["threshold"],
        **{key: over_seeds(result.values(name)) for key, name in keys.items()},
    }


def _our_pair(result: PartResult | None, one: str, two: str) -> Row:
    if result is None or not result.agreement:
        return {"missing": "refused" if result and result.refused else NOT_RUN}
    found: dict[str, list[float | None]] = {"phi": [], "correlation": []}
    for entry in result.agreement:
        labels = list(entry["labels"])
        for key, values in found.items():
            both = one in labels and two in labels
            values.append(entry[key][labels.index(one)][labels.index(two)] if both else None)
    return {"our_phi": over_seeds(found["phi"]), "ours": over_seeds(found["correlation"])}
