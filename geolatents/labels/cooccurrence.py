"""Co-occurrence of the true labels: counts, P(j given i) and phi, per part of a split."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt

from geolatents.files import Json, write_json
from geolatents.labels.parts import PARTS, parts_of
from geolatents.labels.sets import read_labels
from geolatents.seeds import generator

ALL = "all"
"""Every tile of the label set, with those that the split keeps out as buffer."""

FEWEST_BLOCKS = 10
"""Blocks from which intervals are resampled; with fewer the resamples say little."""

RESAMPLES = 200

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.integer | np.bool_]


def measure_cooccurrence(labels: Path, split: Path, output: Path) -> None:
    """Measure which labels occur together, in each part of a split and in all tiles.

    The JSON has ``classes`` and ``parts``; each part has ``n``, ``counts`` (tiles with both
    labels), ``conditional`` (row i, column j: P(j given i)), ``phi``, ``phi_low``, ``phi_high``,
    ``support`` (tiles with the label) and ``interval`` (how it was made). What is not defined is
    null.

    Args:
        labels: Label set.
        split: Split of the dataset.
        output: JSON file to write.

    Raises:
        SplitError: The split lacks tiles of the label set.
    """
    label_set = read_labels(labels)
    part, block = parts_of(label_set.ids, split)
    results: dict[str, dict[str, Json]] = {}
    for name in (*PARTS, ALL):
        rows = np.ones(len(part), dtype=bool) if name == ALL else part == name
        results[name] = cooccurrence(label_set.labels[rows], block[rows], name)
    write_json(output, {"classes": label_set.classes, "parts": _as_json(results)})


def cooccurrence(labels: Labels, blocks: npt.NDArray[np.str_], name: str = "") -> dict[str, Json]:
    """Co-occurrence of one part.

    Args:
        labels: Presence, shape (tile, class).
        blocks: Block of each tile, shape (tile,); empty where tiles have none.
        name: Name of the part, which seeds the resampling.

    Returns:
        The entry of :func:`measure_cooccurrence`, with arrays and NaN.
    """
    counts = joint_counts(labels)
    n = len(labels)
    phi = phi_from_counts(counts, n)
    low, high, interval = phi_interval(labels, phi, blocks, name)
    return {
        "n": n,
        "counts": counts,
        "conditional": conditional(counts),
        "phi": phi,
        "phi_low": low,
        "phi_high": high,
        "support": np.diag(counts),
        "interval": interval,
    }


def joint_counts(labels: Labels) -> npt.NDArray[np.int64]:
    """Tiles that have both labels, shape (class, class); the diagonal is each label's support."""
    values = np.asarray(labels, dtype=np.float64)  # BLAS has no integer product; exact below 2**53
    return np.rint(values.T @ values).astype(np.int64)


def phi_from_counts(counts: npt.ArrayLike, n: npt.ArrayLike) -> Floats:
    """Phi from joint counts.

    phi_ij = (n n_ij - n_i n_j) / sqrt(n_i (n - n_i) n_j (n - n_j)).

    Args:
        counts: Joint counts, shape (..., class, class).
        n: Tiles, shape (...).

    Returns:
        Shape (..., class, class); NaN where a label is constant.
    """
    joint = np.asarray(counts, dtype=np.float64)
    total = np.asarray(n, dtype=np.float64)[..., None]
    single = np.diagonal(joint, axis1=-2, axis2=-1)
    spread = np.sqrt(single * (total - single))
    above = total[..., None] * joint - single[..., :, None] * single[..., None, :]
    below = spread[..., :, None] * spread[..., None, :]
    phi: Floats = np.full_like(above, np.nan)
    np.divide(above, below, out=phi, where=below > 0)
    return phi


def conditional(counts: npt.NDArray[np.int64]) -> Floats:
    """P(j given i) in row i and column j; NaN in rows of labels that no tile has."""
    single = np.diag(counts).astype(np.float64)[:, None]
    given: Floats = np.full(counts.shape, np.nan)
    np.divide(counts, single, out=given, where=single > 0)
    return given


def phi_interval(
    labels: Labels, phi: Floats, blocks: npt.NDArray[np.str_], name: str = ""
) -> tuple[Floats, Floats, dict[str, Json]]:
    """95 % interval of phi.

    Neighbouring tiles are alike, so where tiles have at least :data:`FEWEST_BLOCKS` blocks, whole
    blocks are resampled (percentiles of :data:`RESAMPLES` resamples). Otherwise tiles count as
    independent and the interval is Fisher's z, which is too narrow for neighbouring tiles.

    Returns:
        Lower and upper end, shape (class, class), NaN where phi is; and how they were made.
    """
    names = np.unique(blocks)
    if len(names) >= FEWEST_BLOCKS and "" not in names:
        resampled = _block_resamples(labels, blocks, name)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="All-NaN slice")
            low, high = np.nanpercentile(resampled, [2.5, 97.5], axis=0)
        method = {"method": "block bootstrap", "blocks": len(names), "resamples": RESAMPLES}
    else:
        low, high = _fisher_interval(phi, len(labels))
        method = {"method": "fisher z"}
    defined = np.isfinite(phi)
    return np.where(defined, low, np.nan), np.where(defined, high, np.nan), method


def _fisher_interval(phi: Floats, n: int) -> tuple[Floats, Floats]:
    """Fisher (1921): atanh(r) is about normal with standard deviation 1 / sqrt(n - 3)."""
    if n <= 3:
        return np.full_like(phi, -1.0), np.ones_like(phi)
    z = np.arctanh(np.clip(phi, -1 + 1e-12, 1 - 1e-12))
    half = 1.959964 / np.sqrt(n - 3)
    return np.tanh(z - half), np.tanh(z + half)


def _block_resamples(labels: Labels, blocks: npt.NDArray[np.str_], name: str) -> Floats:
    """Phi of tiles whose blocks are drawn with replacement, shape (resample, class, class)."""
    names, block = np.unique(blocks, return_inverse=True)
    draw = generator(0, "cooccurrence", name)
    weights = draw.multinomial(len(names), np.full(len(names), 1 / len(names)), RESAMPLES)
    order = np.argsort(block, kind="stable")
    first = np.searchsorted(block[order], np.arange(len(names)))
    values = np.asarray(labels, dtype=np.float32)[order]
    n_classes = values.shape[1]
    counts = np.empty((RESAMPLES, n_classes, n_classes))
    for column in range(n_classes):  # one label at a time keeps memory at one copy of the labels
        per_block = np.add.reduceat(values[:, column, None] * values, first, axis=0)
        counts[:, column] = weights @ per_block
    return phi_from_counts(counts, weights @ np.bincount(block))


def _as_json(value: Json) -> Json:
    """Arrays as lists, rounded to six digits, NaN as null."""
    if isinstance(value, dict):
        return {key: _as_json(item) for key, item in value.items()}
    if not isinstance(value, np.ndarray):
        return value
    if value.dtype.kind == "i":
        return value.tolist()
    rows = np.round(value, 6) + 0.0  # no negative zero
    return [[x if np.isfinite(x) else None for x in row] for row in rows.tolist()]
