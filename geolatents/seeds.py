"""Random generators, one per (seed, stage, item), so that results depend on no order of execution."""

from __future__ import annotations

import hashlib

import numpy as np


def generator(seed: int, *names: object) -> np.random.Generator:
    """A generator of its own for each stage and item.

    Args:
        seed: The configuration's seed.
        names: What the numbers are for, such as ``"batches", "train", epoch``.
    """
    return np.random.default_rng(derived_seed(seed, *names))


def derived_seed(seed: int, *names: object) -> int:
    """A 63-bit seed that is a pure function of ``seed`` and ``names`` on every platform."""
    digest = hashlib.sha256("\x1f".join([str(seed), *map(str, names)]).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
