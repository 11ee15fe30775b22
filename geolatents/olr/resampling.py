"""Intervals of paired differences between tiles, from resampling groups of tiles.

Neighbouring tiles, and tiles of one scene class, are alike: whole groups are drawn, never tiles.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import norm
from scipy.stats import t as student_t

from geolatents.olr.agreement import MIN_GROUPS, Floats, Strings
from geolatents.seeds import generator

DRAWS = 2000
"""Bootstrap draws: the smallest p is 1 / 2001."""

LEVEL = 0.95


def group_weights(n_groups: int, seed: int, *names: object, draws: int = DRAWS) -> Floats:
    """How often each group is drawn (draw, group), groups with replacement."""
    rng = generator(seed, "resampling", *names)
    shares = np.full(n_groups, 1 / max(1, n_groups))
    return rng.multinomial(n_groups, shares, size=draws).astype(np.float64)


def tile_weights(groups: Strings, seed: int, *names: object, draws: int = DRAWS) -> Floats:
    """How often each tile is drawn with its group (draw, tile)."""
    found, member = np.unique(groups, return_inverse=True)
    return group_weights(len(found), seed, *names, draws=draws)[:, member]


def group_sums(values: Floats, groups: Strings) -> dict[str, list[float]]:
    """Sum and number of the defined values of each group; groups without any are left out."""
    defined = np.isfinite(values)
    names, member = np.unique(groups[defined], return_inverse=True)
    sums = np.bincount(member, values[defined], minlength=len(names))
    counts = np.bincount(member, minlength=len(names))
    return {
        str(name): [float(total), float(count)]
        for name, total, count in zip(names, sums, counts, strict=True)
    }


def drawn_means(sums: Floats, counts: Floats, weights: Floats) -> Floats:
    """Mean value of each draw.

    Args:
        sums: Sum of values (..., group).
        counts: Number of values (..., group).
        weights: (draw, group).

    Returns:
        (..., draw); NaN where a draw holds no value.
    """
    total = counts @ weights.T
    return np.asarray(
        np.divide(sums @ weights.T, total, out=np.full(total.shape, np.nan), where=total > 0)
    )


def expansion(n_groups: int) -> float:
    """How much wider than its draws an interval is, with few groups (Hesterberg 2015, section 4.3).

    Percentiles of a bootstrap are too narrow by sqrt((n - 1) / n) and know no Student's t.
    """
    wider = student_t.ppf((1 + LEVEL) / 2, n_groups - 1) / norm.ppf((1 + LEVEL) / 2)
    return float(np.sqrt(n_groups / (n_groups - 1)) * wider)


def bootstrap_figures(
    estimate: float, drawn: Floats, n_groups: int, null: float = 0.0
) -> dict[str, Any]:
    """Interval and one-sided p of an estimate.

    Args:
        estimate: Of all groups.
        drawn: The same of each draw (draw,); undefined draws are left out.
        n_groups: Groups that were drawn from.
        null: The value that is to be exceeded.

    Returns:
        ``interval`` (95 %, expanded percentiles) and ``p`` ((1 + draws not above the null) /
        (1 + draws), of draws expanded alike); both None with fewer than four groups, and
        ``reason`` then.
    """
    drawn = drawn[np.isfinite(drawn)]
    if n_groups < MIN_GROUPS or len(drawn) == 0 or not np.isfinite(estimate):
        return {"interval": None, "p": None, "reason": f"only {n_groups} groups to resample"}
    spread = estimate + (drawn - estimate) * expansion(n_groups)
    low, high = np.quantile(spread, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    p = (1 + int((spread <= null).sum())) / (1 + len(spread))
    return {"interval": [float(low), float(high)], "p": float(p)}


def paired_difference(
    first: Floats, second: Floats, groups: Strings, seed: int, *names: object
) -> dict[str, Any]:
    """Mean difference of two figures of the same tiles, with its interval.

    Args:
        first: Figure of each tile (tile,); NaN where it is not defined.
        second: The same of what it is compared with.
        groups: Groups that are resampled (tile,).
        seed: Seed of the draws.
        names: What the draws are for.

    Returns:
        ``difference, interval, p`` (one-sided, against 0), ``n`` tiles and ``groups``: sum and
        number of differences of each group, from which several runs are pooled.
    """
    difference = first - second
    sums = group_sums(difference, groups)
    if not sums:
        return {**UNDEFINED, "n": 0, "groups": {}, "reason": "no tile has both figures"}
    total, counts = np.array(list(sums.values())).T
    estimate = float(total.sum() / counts.sum())
    drawn = drawn_means(total, counts, group_weights(len(sums), seed, *names))
    figures = bootstrap_figures(estimate, drawn, len(sums))
    return {"difference": estimate, **figures, "n": int(counts.sum()), "groups": sums}


UNDEFINED: Mapping[str, None] = {"difference": None, "interval": None, "p": None}


def mean_defined(values: npt.ArrayLike) -> float | None:
    """Mean of the defined values, or None without any."""
    finite = np.asarray(values, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    return float(finite.mean()) if finite.size else None
