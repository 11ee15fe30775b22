"""Retrieval of like tiles: how well a similarity of tiles ranks those that are truly alike first.

Each tile is a query against all others. Two truths: the label sets (the same; or their Jaccard
index), and the cover shares (1 - half the L1 distance, the share of ground on which both agree).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist
from scipy.stats import rankdata

from geolatents.olr.agreement import Floats

Similarity = Callable[[slice], Floats]
"""From the positions of queries to their similarity with all tiles (query, tile)."""

Scalar = TypeVar("Scalar", bound=np.generic)

EMBEDDING = "embedding"

CLIP = 1e-6
"""Scores are kept so far from 0 and 1 before their logarithm is taken."""

BLOCK_ENTRIES = 2**21
"""Entries (query, tile) that are ranked at a time."""

MEASURES = ("like_labels", "graded_labels", "composition", "graded_composition")


def logits(scores: Floats) -> Floats:
    """Log odds of scores in 0..1."""
    kept = np.clip(scores, CLIP, 1 - CLIP)
    return np.asarray(np.log(kept / (1 - kept)))


def embedding_similarity(vectors: Floats) -> Similarity:
    """Cosine of the concatenated label vectors.

    Args:
        vectors: (tile, label, k).
    """
    return cosine(vectors.reshape(len(vectors), -1))


def control_similarities(scores: Floats, source: str) -> dict[str, Similarity]:
    """Every similarity that the scores alone give: what the rank-1 control p_i u_i can know.

    The cosine of the concatenated p_i u_i is that of p. ``likelihood`` is the logarithm of the
    probability that both tiles have the same label set, were the scores independent probabilities:
    the best that can be done for equal label sets.

    Args:
        scores: (tile, label) in 0..1.
        source: Whose scores they are, for the names.

    Returns:
        Similarity by name, such as ``"teacher scores, cosine"``.
    """
    odds = logits(scores)
    return {
        f"{source} scores, cosine": cosine(scores),
        f"{source} scores, dot": dot(scores),
        f"{source} scores, distance": nearness(scores),
        f"{source} logits, cosine": cosine(odds),
        f"{source} logits, dot": dot(odds),
        f"{source} logits, distance": nearness(odds),
        f"{source} scores, likelihood": likelihood(scores),
    }


def cosine(values: Floats) -> Similarity:
    """Cosine of rows (tile, feature); 0 beside a row of zeros."""
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return dot(values / np.where(length > 0, length, 1))


def dot(values: Floats) -> Similarity:
    """Dot product of rows (tile, feature)."""
    return lambda rows: np.asarray(values[rows] @ values.T)


def nearness(values: Floats) -> Similarity:
    """Negative Euclidean distance of rows (tile, feature)."""
    return lambda rows: np.asarray(-cdist(values[rows], values))


def likelihood(scores: Floats) -> Similarity:
    """Logarithm of the probability of equal label sets (tile, label)."""
    p = np.clip(scores, CLIP, 1 - CLIP)

    def block(rows: slice) -> Floats:
        total = np.zeros((len(p[rows]), len(p)))
        for column in p.T:
            query = column[rows, None]
            total += np.log(query * column + (1 - query) * (1 - column))
        return total

    return block


def rank_tiles(
    similarities: Mapping[str, Similarity],
    targets: npt.NDArray[np.integer],
    cover: Floats | None = None,
) -> dict[str, dict[str, Floats]]:
    """Quality of each similarity's ranking for each query.

    ``like_labels``: average precision, where tiles with the same label set are relevant; NaN for
    queries without any. ``graded_labels``: nDCG over the whole ranking, gain the Jaccard index of
    label sets (Järvelin & Kekäläinen 2002). ``composition``: Spearman correlation with the
    likeness of cover; ``graded_composition``: nDCG with that likeness as gain.

    Args:
        similarities: By name.
        targets: Presence (tile, label), 0 or 1.
        cover: Cover shares (tile, class); None leaves out composition.

    Returns:
        ``{measure: {similarity: values (query,)}}``.
    """
    n = len(targets)
    measures = MEASURES if cover is not None else MEASURES[:2]
    found = {m: {name: np.full(n, np.nan) for name in similarities} for m in measures}
    if n < 3:
        return found
    discounts = 1 / np.log2(np.arange(2, n + 1))
    step = max(1, BLOCK_ENTRIES // n)
    for start in range(0, n, step):
        rows = slice(start, min(n, start + step))
        same, jaccard = _label_likeness(targets, rows)
        relevant, gains = _others(same, rows), _others(jaccard, rows)
        likeness = None if cover is None else _others(cover_likeness(cover, rows), rows)
        ranked = None if likeness is None else _centred(rankdata(likeness, axis=1))
        ideal = [None if g is None else ideal_gain(g, discounts) for g in (gains, likeness)]
        for name, similarity in similarities.items():
            values = _others(similarity(rows), rows)
            order = np.argsort(-values, axis=1)
            found["like_labels"][name][rows] = average_precision(relevant, order)
            found["graded_labels"][name][rows] = ndcg(gains, order, discounts, ideal[0])
            if likeness is not None and ranked is not None:
                found["composition"][name][rows] = _rank_correlation(ranked, order)
                found["graded_composition"][name][rows] = ndcg(likeness, order, discounts, ideal[1])
    return found


def average_precision(relevant: npt.NDArray[np.bool_], order: npt.NDArray[np.integer]) -> Floats:
    """Average precision of each ranking.

    Args:
        relevant: (query, tile).
        order: Tiles in the order of falling similarity (query, tile).

    Returns:
        (query,); NaN without a relevant tile.
    """
    hits = np.take_along_axis(relevant, order, axis=1)
    precision = np.cumsum(hits, axis=1) / np.arange(1, hits.shape[1] + 1)
    count = hits.sum(axis=1)
    total = (precision * hits).sum(axis=1)
    return np.asarray(np.divide(total, count, out=np.full(len(hits), np.nan), where=count > 0))


def ndcg(
    gains: Floats,
    order: npt.NDArray[np.integer],
    discounts: Floats,
    ideal: Floats | None = None,
) -> Floats:
    """Normalised discounted cumulative gain of each ranking.

    Args:
        gains: Not negative (query, tile).
        order: Tiles in the order of falling similarity (query, tile).
        discounts: Weight of each rank (tile,).
        ideal: Of :func:`ideal_gain`, where it is known (query,).

    Returns:
        (query,) in 0..1; NaN where no tile has a gain.
    """
    reached = np.take_along_axis(gains, order, axis=1) @ discounts
    ideal = ideal_gain(gains, discounts) if ideal is None else ideal
    return np.asarray(np.divide(reached, ideal, out=np.full(len(gains), np.nan), where=ideal > 0))


def ideal_gain(gains: Floats, discounts: Floats) -> Floats:
    """Discounted gain of the best ranking (query,)."""
    return np.asarray(-np.sort(-gains, axis=1) @ discounts)


def cover_likeness(cover: Floats, rows: slice) -> Floats:
    """Share of ground on which tiles agree, 1 - half the L1 distance of cover (query, tile)."""
    return np.asarray(np.maximum(1 - cdist(cover[rows], cover, "cityblock") / 2, 0))


def _label_likeness(
    targets: npt.NDArray[np.integer], rows: slice
) -> tuple[npt.NDArray[np.bool_], Floats]:
    """Whether label sets are equal, and their Jaccard index (two empty sets: 1)."""
    truth = targets.astype(np.float64)
    joint = truth[rows] @ truth.T
    sizes = truth.sum(axis=1)
    union = sizes[rows, None] + sizes - joint
    return joint == union, np.divide(joint, union, out=np.ones_like(joint), where=union > 0)


def _others(values: npt.NDArray[Scalar], rows: slice) -> npt.NDArray[Scalar]:
    """Drop each query's own column: (query, tile - 1)."""
    kept = np.ones(values.shape, dtype=bool)
    kept[np.arange(len(values)), np.arange(rows.start, rows.stop)] = False
    return values[kept].reshape(len(values), -1)


def _centred(ranks: Floats) -> Floats:
    centred = ranks - ranks.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.asarray(
        np.divide(centred, length, out=np.full_like(centred, np.nan), where=length > 0)
    )


def _rank_correlation(ranked: Floats, order: npt.NDArray[np.integer]) -> Floats:
    """Spearman correlation of centred ranks of length 1 with an order."""
    own = np.empty(order.shape)
    np.put_along_axis(own, order, np.arange(order.shape[1], 0, -1.0)[None], axis=1)
    return np.asarray((ranked * _centred(own)).sum(axis=1))
