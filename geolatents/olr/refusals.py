"""How a model that was refused (gate.py), or labels that nobody knows, are told from the usual case."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

REFUSED = "refused"

NO_LABELS = "none"
"""Attribute ``labels`` of predictions and embeddings of tiles whose labels nobody knows."""

UNLABELLED = "no labels"
"""Status of an agreement with a dataset without labels."""


def refusal(entry: Mapping[str, Any]) -> dict[str, str] | None:
    """``status`` and ``reason`` of a refused model, or None.

    Args:
        entry: Attributes of its ``predictions.zarr``, its ``metrics.json``, or its entry in
            ``agreement.json``.
    """
    if entry.get("status") != REFUSED:
        return None
    return {"status": REFUSED, "reason": str(entry["reason"])}


def measured(by_seed: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Entries of one scorer in ``agreement.json`` that are not refusals."""
    return {seed: found for seed, found in by_seed.items() if refusal(found) is None}
