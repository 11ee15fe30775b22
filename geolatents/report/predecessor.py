"""The predecessor's figures as data, and what is wrong with them, found by arithmetic.

Tijdeman (2021), University of Twente: tables 2 to 11 and figures 16 to 18 as printed, also where they
contradict each other. Figures 19 to 24 are images without numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

TOLERANCE = 1e-6
"""Printed accuracies are cut or rounded at the seventh digit or later."""


@dataclass(frozen=True)
class Counts:
    """Decisions on a test part, summed over labels or of one label.

    Attributes:
        tp: Present, and said so.
        tn: Absent, and said so.
        fp: Absent, said present.
        fn: Present, said absent.
    """

    tp: int
    tn: int
    fp: int
    fn: int

    @property
    def total(self) -> int:
        """Number of decisions."""
        return self.tp + self.tn + self.fp + self.fn

    @property
    def positives(self) -> int:
        """Decisions whose label is present."""
        return self.tp + self.fn

    @property
    def accuracy(self) -> float:
        """Share of right decisions."""
        return (self.tp + self.tn) / self.total

    @property
    def all_absent(self) -> float:
        """Accuracy of saying 'absent' always."""
        return 1 - self.positives / self.total

    @property
    def majority(self) -> float:
        """Accuracy of the more frequent answer, of one label."""
        return max(self.all_absent, 1 - self.all_absent)

    @property
    def precision(self) -> float | None:
        """Share of right ones among those said present; None where there are none."""
        said = self.tp + self.fp
        return self.tp / said if said else None

    @property
    def recall(self) -> float | None:
        """Share of the present ones that were found."""
        return self.tp / self.positives if self.positives else None

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and recall; 0 where nothing was found."""
        return 2 * self.tp / (2 * self.tp + self.fp + self.fn) if self.positives else None

    @property
    def balanced_accuracy(self) -> float:
        """Mean of the accuracies on present and on absent ones."""
        return (self.tp / self.positives + self.tn / (self.tn + self.fp)) / 2

    @property
    def mcc(self) -> float:
        """Matthews correlation; 0 for constant answers."""
        spread = (self.tp + self.fp) * self.positives * (self.tn + self.fp) * (self.tn + self.fn)
        return float((self.tp * self.tn - self.fp * self.fn) / spread**0.5) if spread else 0.0


@dataclass(frozen=True)
class Result:
    """One row of the tables of accuracies and decisions.

    Attributes:
        name: What was run.
        images: Test images.
        labels: Labels.
        counts: Decisions as printed.
        starting: Printed accuracy of the first iteration; None: not printed.
        final: Printed accuracy of the best iteration, chosen on the test images.
        improvement: Printed difference of the two.
        iterations: Iterations until the best.
    """

    name: str
    images: int
    labels: int
    counts: Counts
    starting: float | None = None
    final: float | None = None
    improvement: float | None = None
    iterations: int | None = None


@dataclass(frozen=True)
class PairError:
    """Mean squared error of a Siamese network on products of probabilities.

    Attributes:
        name: Its classifier.
        starting: Error of the first iteration.
        best: Smallest error.
        iterations: Iterations until it.
    """

    name: str
    starting: float
    best: float
    iterations: int


FIRST_RUN = Result("first run", 500, 32, Counts(0, 14979, 0, 1021), final=0.9361875)
"""Table 2."""

RUNS = (
    Result("run 1", 500, 16, Counts(7, 7075, 6, 912), 0.8851250, 0.8852500, 0.0001250, 9),
    Result("run 2", 500, 16, Counts(2, 7039, 2, 957), 0.8406250, 0.8801250, 0.0395000, 5),
    Result("run 3", 500, 16, Counts(65, 7023, 58, 854), 0.8850000, 0.8860000, 0.0010000, 42),
    Result("run 4", 500, 16, Counts(0, 7041, 0, 959), 0.8403750, 0.8801250, 0.0695000, 3),
    Result("run 5", 500, 32, Counts(2, 15012, 1, 986), 0.9383125, 0.9383750, 0.0000625, 5),
    Result("run 6", 500, 32, Counts(0, 14979, 0, 1021), 0.9230000, 0.9361875, 0.0131875, 2),
    Result("run 7", 500, 32, Counts(62, 14955, 58, 925), 0.9383125, 0.9385625, 0.0002500, 51),
    Result("run 8", 500, 32, Counts(0, 14979, 0, 1021), 0.9316250, 0.9361875, 0.0045625, 8),
)
"""Tables 3 and 4."""

METHODS = {
    "combined": Result(
        "combined labels", 1500, 7, Counts(1588, 7205, 693, 1014),
        0.81314284, 0.83742857, 0.0242857, 287,
    ),
    "threshold": Result(
        "threshold 0.2", 1500, 32, Counts(876, 44059, 1028, 2037),
        0.8882083, 0.9250208, 0.0368125, 407,
    ),
    "focal": Result(
        "focal loss", 900, 32, Counts(840, 25638, 1309, 1013),
        0.75135416, 0.919375, 0.16652781, 33,
    ),
}  # fmt: skip
"""Tables 5 and 6; all with random batches."""

COMBINED_LABELS = {
    "Urban": Counts(57, 1167, 4, 272),
    "Special sites": Counts(0, 1472, 0, 28),
    "Non-irrigated arable land": Counts(83, 1040, 33, 344),
    "Agriculture": Counts(650, 290, 440, 120),
    "Forests": Counts(750, 410, 197, 143),
    "Rocky or mountainous": Counts(0, 1415, 0, 85),
    "Bodies of water": Counts(48, 1411, 19, 22),
}
"""The first of the two tables numbered 7."""

PAIRS = {
    "combined": PairError("combined labels", 0.060082, 0.00591019, 27),
    "threshold": PairError("threshold 0.2", 0.00366061, 0.001401, 95),
    "focal": PairError("focal loss", 0.0029063, 0.0024499, 39),
}
"""The second of the two tables numbered 7."""

ORTHOPHOTOS = {
    "standard": Result(
        "standard labels", 300, 35, Counts(0, 9580, 0, 920), 0.912381, 0.912381, 0.0, 0
    ),
    "threshold": Result(
        "threshold 0.2", 300, 35, Counts(401, 8883, 700, 516), 0.8338095, 0.8841905, 0.050381, 1
    ),
    "combined": Result("combined labels", 100, 5, Counts(187, 221, 53, 39), 0.83, 0.816, 0.014, 12),
}
"""Tables 8 and 9; 10,500 decisions are 300 images of 35 labels, though 34 are named."""

ORTHOPHOTO_LABELS = {
    "Urban": Counts(64, 9, 24, 3),
    "Agriculture": Counts(80, 1, 19, 0),
    "Forests": Counts(42, 25, 10, 23),
    "Rocky or mountainous": Counts(0, 89, 0, 11),
    "Bodies of water": Counts(1, 97, 0, 2),
}
"""Table 10."""

ORTHOPHOTO_PAIRS = PairError("combined labels", 0.08682765066623688, 0.009012744274167787, 20)
"""Table 11."""

CELEBA_ACCURACY = 0.91
CELEBA_MSE = 0.0135

COOCCURRENCE_LABELS = tuple(COMBINED_LABELS)
COOCCURRENCE_IMAGES = 14_100
COOCCURRENCE = (
    (2725, 66, 780, 1522, 840, 79, 67),
    (66, 214, 62, 103, 127, 8, 3),
    (780, 62, 3566, 1540, 1360, 234, 84),
    (1522, 103, 1540, 7176, 3770, 238, 122),
    (840, 127, 1360, 3770, 8575, 422, 195),
    (79, 8, 234, 238, 422, 711, 62),
    (67, 3, 84, 122, 195, 62, 857),
)
"""Figure 18: tiles with both labels."""

CLASSES = (
    "111", "112", "121", "122", "123", "124", "131", "132", "133", "141", "142", "211", "212", "221",
    "222", "223", "231", "241", "242", "243", "311", "312", "313", "321", "323", "324", "331", "332",
    "333", "421", "512", "523",
)  # fmt: skip
"""CORINE codes of its 32 labels; their number, from 1, is their place."""

RANDOM_COUNTS = {
    12: 36.2, 25: 31.2, 22: 26.0, 2: 17.4, 19: 15.0, 20: 15.0, 13: 11.8, 26: 7.4, 3: 6.6, 18: 6.6,
    16: 4.6, 29: 3.6, 24: 2.6, 10: 2.0, 1: 1.4, 15: 1.4, 4: 1.2, 9: 1.2, 21: 1.2, 23: 1.0, 30: 1.0,
    6: 0.8, 11: 0.8, 7: 0.6, 31: 0.6, 17: 0.2, 5: 0.0, 8: 0.0, 14: 0.0, 27: 0.0, 28: 0.0, 32: 0.0,
}  # fmt: skip
"""Figure 17: mean tiles with a label per file of 100 random tiles, over five files, by label number."""

FIGURES = {
    "figure-16": "Figure 16: labels per batch, in order",
    "figure-17": "Figure 17: labels per batch, random",
    "figure-18": "Figure 18: co-occurrence of the combined labels",
    "figure-19": "Figure 19: co-occurrence of all labels",
    "figure-20": "Figure 20: Siamese network on the combined labels",
    "figure-21": "Figure 21: Siamese network on the model of threshold 0.2",
    "figure-22": "Figure 22: Siamese network on the model with focal loss",
    "figure-23": "Figure 23: co-occurrence of the orthophotos' combined labels",
    "figure-24": "Figure 24: Siamese network on the orthophotos' combined labels",
}
"""Figures by file name; what 19 to 24 show is read from the text, which numbers some of them otherwise."""

SAID_OF_PAIRS = (
    ("combined", "Urban", "Agriculture", "high"),
    ("combined", "Agriculture", "Forests", "-0.6, the lowest"),
    ("orthophotos", "Agriculture", "Forests", "strong"),
    ("orthophotos", "Urban", "Forests", "-0.9, the lowest"),
)
"""What the text says of correlations of the Siamese networks; no matrix has numbers."""


def inconsistencies() -> list[str]:
    """Printed figures that contradict others, found by recomputing them."""
    rows = [FIRST_RUN, *RUNS, *METHODS.values(), *(_orthophoto(r) for r in ORTHOPHOTOS.values())]
    found = [text for row in rows for text in _row_problems(row)]
    found += _different_positives([FIRST_RUN, *RUNS])
    found += _different_positives([_orthophoto(ORTHOPHOTOS[k]) for k in ("standard", "threshold")])
    for name, labels, row in (
        ("table 7", COMBINED_LABELS, METHODS["combined"]),
        ("table 10", ORTHOPHOTO_LABELS, ORTHOPHOTOS["combined"]),
    ):
        summed = sum_counts(list(labels.values()))
        if summed != row.counts:
            found.append(
                f"{name}: its labels add up to {summed}, the sum is printed as {row.counts}"
            )
    found += _different_shares()
    return found


def sum_counts(counts: Sequence[Counts]) -> Counts:
    """Decisions of several labels together."""
    return Counts(
        tp=sum(c.tp for c in counts),
        tn=sum(c.tn for c in counts),
        fp=sum(c.fp for c in counts),
        fn=sum(c.fn for c in counts),
    )


def macro(labels: Mapping[str, Counts]) -> dict[str, float]:
    """Means over labels: ``accuracy, majority, f1, balanced_accuracy, mcc``."""
    each = list(labels.values())
    return {
        "accuracy": float(np.mean([c.accuracy for c in each])),
        "majority": float(np.mean([c.majority for c in each])),
        "f1": float(np.mean([c.f1 or 0.0 for c in each])),
        "balanced_accuracy": float(np.mean([c.balanced_accuracy for c in each])),
        "mcc": float(np.mean([c.mcc for c in each])),
    }


def beyond_all_absent(row: Result) -> int:
    """Decisions that are right beyond those that 'absent always' gets right; below 0: fewer."""
    return row.counts.tp - row.counts.fp


def flags(row: Result) -> list[str]:
    """What is wrong in a row, in short."""
    return [text.partition(": ")[2] for text in _row_problems(row)]


def _orthophoto(row: Result) -> Result:
    return Result(**{**row.__dict__, "name": f"orthophotos, {row.name}"})


def _row_problems(row: Result) -> Iterator[str]:
    wanted = row.images * row.labels
    whole = row.counts.total == wanted
    if not whole:
        yield (
            f"{row.name}: TP, TN, FP and FN add up to {row.counts.total}, not to "
            f"{row.images} images x {row.labels} labels = {wanted}"
        )
    if whole and row.final is not None and abs(row.final - row.counts.accuracy) > TOLERANCE:
        yield (
            f"{row.name}: final accuracy {row.final:.7g} is printed, TP, TN, FP and FN give "
            f"{row.counts.accuracy:.7g}"
        )
    if row.starting is None or row.final is None or row.improvement is None:
        return
    gain = row.final - row.starting
    if abs(gain - row.improvement) > TOLERANCE:
        lost = " (a loss)" if gain < 0 else ""
        yield (
            f"{row.name}: improvement {row.improvement:.7g} is printed, final - starting is "
            f"{gain:.7g}{lost}"
        )


def _different_positives(rows: Sequence[Result]) -> Iterator[str]:
    """Rows with as many images and labels, whose test images cannot be the same ones."""
    by_size: dict[tuple[int, int], dict[int, list[str]]] = {}
    for row in rows:
        if row.counts.total == row.images * row.labels:
            same = by_size.setdefault((row.images, row.labels), {})
            same.setdefault(row.counts.positives, []).append(row.name)
    for (images, labels), found in by_size.items():
        if len(found) > 1:
            text = "; ".join(f"{count} in {', '.join(names)}" for count, names in found.items())
            yield f"{images} test images x {labels} labels hold different numbers of positives: {text}"


def _different_shares() -> Iterator[str]:
    arable = list(COMBINED_LABELS).index("Non-irrigated arable land")
    figure_17 = RANDOM_COUNTS[CLASSES.index("211") + 1] / 100
    figure_18 = COOCCURRENCE[arable][arable] / COOCCURRENCE_IMAGES
    table_7 = COMBINED_LABELS["Non-irrigated arable land"]
    yield (
        f"non-irrigated arable land is in {figure_17:.1%} of the tiles of figure 17, {figure_18:.1%} "
        f"of figure 18 and {table_7.positives / table_7.total:.1%} of the test tiles of table 7"
    )
    sea = RANDOM_COUNTS[CLASSES.index("523") + 1]
    yield f"'sea and ocean' is in {sea:g} of 500 tiles of figure 17, and in 686 of 14,100 later"
    yield "two tables are numbered 7; the orthophotos' 10,500 decisions are no multiple of their 34 labels"
