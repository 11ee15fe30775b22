"""Whether labels of one CORINE level-1 group are closer to each other than to the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from geolatents.nomenclature import corine
from geolatents.olr.agreement import Floats, mantel_p, upper

PERMUTATIONS = 9999


def level1_groups(classes: Sequence[Mapping[str, Any]]) -> list[str] | None:
    """Level-1 group of each label, or None where a label has none or several.

    Args:
        classes: ``{"code", "members", ...}`` per label; codes and members of CORINE level 3.
    """
    known = corine()
    found = []
    for item in classes:
        codes = [str(c) for c in item.get("members") or [item["code"]]]
        if not all(code in known for code in codes):
            return None
        groups = {known.classes[known.index(code)].level1 for code in codes}
        if len(groups) != 1:
            return None
        found.append(groups.pop())
    return found


def hierarchy_figures(
    classes: Sequence[Mapping[str, Any]], matrices: Mapping[str, Floats], seed: int = 0
) -> dict[str, Any]:
    """AUC that a pair of labels within a level-1 group is more alike than a pair across groups.

    Args:
        classes: Labels.
        matrices: (label, label) by name: correlation of the model, phi of true labels.
        seed: Seed of the permutations.

    Returns:
        ``auc`` and one-sided ``p`` by name of matrix, ``method`` (groups are permuted over
        labels: all permutations below 8 labels), ``pairs_within``, ``pairs_across``; ``reason``
        where there is nothing to measure.
    """
    groups = level1_groups(classes)
    if groups is None:
        return {"auc": None, "p": None, "reason": "labels are no classes of CORINE within level 1"}
    same = np.equal.outer(np.array(groups), np.array(groups)).astype(np.float64)
    within = upper(same) > 0
    if not within.any() or within.all():
        reason = "all pairs of labels lie " + (
            "within a group" if within.any() else "across groups"
        )
        return {"auc": None, "p": None, "reason": reason}
    auc: dict[str, float | None] = dict.fromkeys(matrices)
    p: dict[str, float | None] = dict.fromkeys(matrices)
    method = None
    for name, matrix in matrices.items():
        if np.isfinite(upper(matrix)).all():
            ranks = _ranked(matrix)
            auc[name] = pair_auc(upper(matrix), within)
            # With the pairs within fixed, the AUC grows with the correlation of ranks.
            p[name], method = mantel_p(ranks, same, PERMUTATIONS, seed)
    return {
        "auc": auc, "p": p, "method": method,
        "pairs_within": int(within.sum()), "pairs_across": int((~within).sum()),
    }  # fmt: skip


def pair_auc(values: Floats, within: npt.NDArray[np.bool_]) -> float:
    """Share of (within, across) pairs of pairs in which the one within is larger (ties: half)."""
    ranks, n = rankdata(values), int(within.sum())
    return float((ranks[within].sum() - n * (n + 1) / 2) / (n * (len(values) - n)))


def _ranked(matrix: Floats) -> Floats:
    """Symmetric matrix of the ranks of the pairs."""
    ranked = np.zeros_like(matrix)
    rows, columns = np.triu_indices(len(matrix), 1)
    ranked[rows, columns] = ranked[columns, rows] = rankdata(upper(matrix))
    return ranked
