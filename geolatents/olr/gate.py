"""The gate before a Siamese network: a teacher that knows nothing has nothing to teach.

The predecessor trained Siamese networks on classifiers that called every label absent, and concluded
that the method does not work on land.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from geolatents.files import atomic_path
from geolatents.learning.baselines import TRIVIAL, baseline_scores
from geolatents.learning.fit import write_history
from geolatents.learning.metrics import macro_ap
from geolatents.logs import LOG
from geolatents.olr.predict import write_predictions
from geolatents.olr.refusals import REFUSED
from geolatents.olr.samples import Predictions
from geolatents.seeds import generator
from geolatents.stores import new_store, use_fast_codecs, write_array, write_strings

SHUFFLES = 200
SIGNIFICANCE = 0.05


def reason_to_refuse(teacher: Predictions, seed: int = 0) -> str | None:
    """Why nothing can be learned from a classifier, or None.

    It must rank the tiles of the validation part better than its best trivial baseline, and better than
    its own scores do when they are given to the wrong tiles (permutation test over tiles, one-sided).

    Args:
        teacher: The classifier's predictions.
        seed: Seed of the permutations.
    """
    part = teacher.part == "validation"
    targets, scores = teacher.targets[part], teacher.scores[part]
    constants = baseline_scores(teacher.targets, teacher.part == "train", None)
    found = macro_ap(targets, scores)
    trivial = max(macro_ap(targets, constants[name][part]) for name in TRIVIAL)
    random = generator(seed, "gate")
    shuffled = [macro_ap(targets, scores[random.permutation(len(scores))]) for _ in range(SHUFFLES)]
    p = (1 + sum(value >= found for value in shuffled)) / (1 + SHUFFLES)
    if found > trivial and p < SIGNIFICANCE:
        return None
    return (
        f"the teacher is no better than a trivial baseline: macro AP on validation {found:.3f}, "
        f"best trivial baseline {trivial:.3f}, p of its ranking {p:.3f}; "
        "train a better classifier, or set `weak_teacher: use`"
    )


def write_refusal(
    reason: str,
    teacher: Predictions,
    attributes: Mapping[str, Any],
    *,
    k: int,
    model: Path,
    history: Path,
    predictions: Path,
    embeddings: Path,
) -> None:
    """Write a training's outputs without a model: stores of no tiles, with the reason.

    Args:
        reason: Why there is none.
        teacher: The classifier's predictions, for the labels.
        attributes: Attributes of the predictions.
        k: Dimensions that an embedding would have had.
        model: Text file instead of a model; reading it as one fails with a message.
        history: CSV without epochs.
        predictions: Store of no tiles; its attributes ``status`` and ``reason`` say so.
        embeddings: Store of no tiles.
    """
    LOG.warning("refused: %s", reason)
    n_labels, status = len(teacher.classes), {"status": REFUSED, "reason": reason}
    with atomic_path(model) as part:
        part.write_text(f"refused: {reason}\n", encoding="utf-8")
    write_history([], history)
    write_predictions(
        predictions,
        ids=np.empty(0, np.str_),
        part=np.empty(0, np.str_),
        scores=np.empty((0, n_labels), np.float32),
        targets=np.empty((0, n_labels), np.uint8),
        attributes={**attributes, **status},
    )
    use_fast_codecs()
    with new_store(embeddings, {"classes": teacher.classes, **status}) as group:
        write_strings(group, "ids", np.empty(0, np.str_), "tile")
        empty = np.empty((0, n_labels, k), np.float32)
        write_array(group, "embeddings", empty, ("tile", "label", "k"))
