"""What the label vectors of a Siamese network know beyond probability.

Everything is measured against the rank-1 control z_i = p_i u_i with a fixed unit vector u_i: what
it knows is exactly p_i. The control may take p from the teacher or from the network's own scores
and use any similarity or function of them; the one that does best on the very tiles that are
compared is the bar. Intervals resample groups or blocks of tiles, never single tiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from geolatents.errors import StoreError
from geolatents.files import write_json
from geolatents.labels.sets import Cover, read_covers
from geolatents.learning.ledger import record_reading
from geolatents.logs import LOG
from geolatents.olr.agreement import Floats, Sample, Strings, correlation_matrix, usable_labels
from geolatents.olr.dimensions import compare_label_scores, measure_ranks
from geolatents.olr.hierarchy import hierarchy_figures
from geolatents.olr.probing import PRESENCE_ONLY, compared, cover_gains, scene_probes, undefined
from geolatents.olr.retrieval import (
    EMBEDDING,
    MEASURES,
    control_similarities,
    embedding_similarity,
    rank_tiles,
)
from geolatents.olr.samples import Predictions, read_predictions, read_sample, tile_classes
from geolatents.seeds import generator
from geolatents.stores import open_store, read_array, read_strings

MOST_RANKED = 5000
"""Most test tiles of retrieval; of more, so many are drawn."""

MIN_POSITIVES = 5
"""Labels of the hierarchy need so many positives and negatives, as in the agreement."""

REFUSED = "refused"


@dataclass(frozen=True)
class Embedded:
    """Label vectors beside the scores that they must know more than; rows are tiles.

    Attributes:
        vectors: (tile, label, k).
        student: Predictions of the Siamese network.
        teacher: Probabilities of its teacher (tile, label).
    """

    vectors: Floats
    student: Predictions
    teacher: Floats

    @property
    def scores(self) -> dict[str, Floats]:
        """Scores (tile, label) that a control may know, by source."""
        return {"teacher": self.teacher, "student": self.student.scores}


def evaluate_embedding(
    *,
    embeddings: Path,
    predictions: Path,
    teacher: Path,
    split: Path,
    output: Path,
    tiles: Path | None = None,
    covers: Sequence[Path] = (),
    ledger: Path | None = None,
    seed: int = 0,
) -> None:
    """Write ``embedding.json`` of a Siamese network.

    Args:
        embeddings: ``embeddings.zarr``.
        predictions: ``predictions.zarr`` of the same model and seed.
        teacher: ``predictions.zarr`` of its classifier with the same seed.
        split: Split of the dataset.
        output: JSON to write, see :func:`measure_embedding`; where the training was refused only
            ``status`` and ``reason``.
        tiles: Tile table of the dataset, for groups and scene classes.
        covers: Cover stores of the dataset.
        ledger: Ledger of readings of the test part; None: not recorded.
        seed: Seed of the model.

    Raises:
        StoreError: The stores do not fit together.
    """
    student = read_predictions(predictions)
    name = student.attributes.get("model", "?")
    facts = {key: student.attributes.get(key) for key in ("model", "dataset", "teacher")}
    if student.attributes.get("status") == REFUSED:
        reason = student.attributes.get("reason", "the training was refused")
        write_json(output, {**facts, "seed": seed, "status": REFUSED, "reason": reason})
        return
    if ledger is not None:
        record_reading(ledger, what=f"embedding of {name}, seed {seed}", rule="evaluate_embedding")
    data = read_embedded(embeddings, student, read_predictions(teacher), teacher)
    sample = read_sample(student, split=split, tiles=tiles)
    found = measure_embedding(
        data,
        sample,
        scene_classes=None if tiles is None else tile_classes(tiles, student.ids),
        cover=read_covers(covers) if covers else None,
        seed=seed,
    )
    write_json(output, {**facts, "seed": seed, "status": "measured", **found})
    _log(f"{name}, seed {seed}", found)


def read_embedded(
    embeddings: Path, student: Predictions, teacher: Predictions, where: Path | None = None
) -> Embedded:
    """Vectors and scores of the same tiles, in the order of the student's predictions.

    Raises:
        StoreError: A tile has no vector or no probability, or labels differ.
    """
    group = open_store(embeddings)
    vectors = read_array(group, "embeddings").astype(np.float64)
    rows = _rows_of(student.ids, read_strings(group, "ids"), embeddings)
    if vectors.ndim != 3 or vectors.shape[1] != len(student.classes):
        raise StoreError(
            "embeddings have another form than the predictions",
            where=embeddings,
            expected=f"(tile, {len(student.classes)} labels, k)",
            found=vectors.shape,
            fix="rerun the training that wrote them",
        )
    if teacher.codes != student.codes:
        raise StoreError(
            "teacher and Siamese network have other labels",
            where=where,
            expected=", ".join(student.codes),
            found=", ".join(teacher.codes),
            fix="rerun the training of the Siamese network",
        )
    known = _rows_of(student.ids, teacher.ids, where)
    return Embedded(vectors[rows], student, teacher.scores[known])


def measure_embedding(
    data: Embedded,
    sample: Sample,
    *,
    scene_classes: Strings | None = None,
    cover: Cover | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Everything that the embedding is asked, on the test part.

    Args:
        data: Vectors and scores of all tiles.
        sample: Of the test part, for its groups, labels and training labels.
        scene_classes: Scene class of each tile (tile,), or None.
        cover: Cover of the dataset, or None.
        seed: Seed of draws.

    Returns:
        ``n_tiles, n_train, n_labels, k, resampled, n_groups`` and

        * ``like_labels, graded_labels, composition, graded_composition``: retrieval, see
          :func:`geolatents.olr.retrieval.rank_tiles`, mean over queries;
        * ``scene_one_label, scene_all_labels``: accuracy of probes of scene class;
        * ``cover_gain, cover_gain_all_scores``: R2 of cover share;

        each with ``embedding, control, control_name, controls, difference, interval, p, n,
        groups`` (and ``reason`` where None);

        * ``effective_rank``: :func:`geolatents.olr.dimensions.measure_ranks`;
        * ``label_scores``: :func:`geolatents.olr.dimensions.compare_label_scores`;
        * ``hierarchy``: :func:`geolatents.olr.hierarchy.hierarchy_figures` of ``model``,
          ``test_phi`` and ``train_phi``.
    """
    student, part = data.student, data.student.part
    test = part == "test"
    cover_of_labels, cover_of_classes = _cover_shares(student, cover)
    groups = sample.groups
    return {
        "n_tiles": int(test.sum()),
        "n_train": int((part == "train").sum()),
        "n_labels": len(student.classes),
        "k": data.vectors.shape[2],
        "resampled": sample.grouping,
        "n_groups": len(np.unique(groups)),
        **_retrieval(data, test, groups, cover_of_classes, seed),
        **scene_probes(data.vectors, data.scores, scene_classes, part, groups, seed),
        **cover_gains(
            data.vectors, data.scores, cover_of_labels, part, groups, student.codes, seed
        ),
        "effective_rank": measure_ranks(data.vectors[test], groups, seed),
        "label_scores": compare_label_scores(
            student.targets[test], student.scores[test], data.teacher[test], groups, seed
        ),
        "hierarchy": _hierarchy(student, sample, seed),
    }


def rank_one(scores: Floats, k: int, seed: int = 0) -> Floats:
    """The control itself: z_i = p_i u_i.

    Args:
        scores: (tile, label).
        k: Dimensions.
        seed: Seed of the unit vectors.

    Returns:
        (tile, label, k).
    """
    directions = generator(seed, "rank one").standard_normal((scores.shape[1], k))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return np.asarray(scores[:, :, None] * directions)


def _retrieval(
    data: Embedded, test: npt.NDArray[np.bool_], groups: Strings, cover: Floats | None, seed: int
) -> dict[str, Any]:
    """Entries of the four measures of retrieval."""
    # In a random order, so that tiles that are equally alike do not come in that of the store.
    chosen = generator(seed, "retrieval").permutation(int(test.sum()))[:MOST_RANKED]
    similarities = {EMBEDDING: embedding_similarity(data.vectors[test][chosen])}
    for source, scores in data.scores.items():
        similarities |= control_similarities(scores[test][chosen], source)
    shares = None
    if cover is not None and not np.isin(cover, (0, 1)).all():
        shares = cover[test][chosen]
    ranked = rank_tiles(similarities, data.student.targets[test][chosen], shares)
    found = {}
    for measure in MEASURES:
        if measure not in ranked:
            found[measure] = undefined("there is no cover" if cover is None else PRESENCE_ONLY)
            continue
        values = ranked[measure]
        controls = {name: v for name, v in values.items() if name != EMBEDDING}
        found[measure] = compared(values[EMBEDDING], controls, groups[chosen], seed, measure)
        found[measure]["left_out"] = int(np.isnan(values[EMBEDDING]).sum())
    return found


def _hierarchy(student: Predictions, sample: Sample, seed: int) -> dict[str, Any]:
    kept, _ = usable_labels(sample, MIN_POSITIVES)
    classes = [item for item in student.classes if str(item["code"]) in kept.codes]
    matrices = {
        "model": correlation_matrix(kept.scores),
        "test_phi": correlation_matrix(kept.targets),
        "train_phi": correlation_matrix(kept.train),
    }
    return hierarchy_figures(classes, matrices, seed)


def _cover_shares(student: Predictions, cover: Cover | None) -> tuple[Floats | None, Floats | None]:
    """Cover of each tile by label (tile, label) and by class (tile, class)."""
    if cover is None:
        return None, None
    rows = _rows_of(student.ids, cover.ids, None)
    shares = cover.cover[rows].astype(np.float64)
    column = {code: i for i, code in enumerate(cover.codes)}
    by_label = np.zeros((len(rows), len(student.classes)))
    for i, item in enumerate(student.classes):
        members = [column[c] for c in item.get("members") or [item["code"]] if c in column]
        by_label[:, i] = np.minimum(shares[:, members].sum(axis=1), 1)
    return by_label, shares


def _rows_of(wanted: Strings, known: Strings, where: Path | None) -> npt.NDArray[np.int64]:
    """Position of each wanted tile among the known ones."""
    position = {str(name): i for i, name in enumerate(known)}
    missing = [str(name) for name in wanted if str(name) not in position]
    if missing:
        raise StoreError(
            f"{len(missing)} tiles of the Siamese network's predictions are missing",
            where=where,
            found=missing[0],
            fix="rerun the trainings on the present tiles",
        )
    return np.array([position[str(name)] for name in wanted], dtype=np.int64)


def _log(what: str, found: dict[str, Any]) -> None:
    for measure in ("like_labels", "scene_all_labels", "cover_gain"):
        entry = found[measure]
        if entry["difference"] is not None:
            LOG.info(
                "%s, %s: embedding %.4f, %s %.4f, difference %+.4f in %s", what, measure,
                entry["embedding"], entry["control_name"], entry["control"], entry["difference"],
                entry["interval"],
            )  # fmt: skip
