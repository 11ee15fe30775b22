"""Trivial and simple classifiers that every model is shown beside.

The first three look at no image at all; the last two see only the mean and the deviation of each
band of a tile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from geolatents.errors import StoreError
from geolatents.seeds import derived_seed
from geolatents.stores import open_store, read_array, read_strings

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.uint8]

TRIVIAL = ("all_absent", "majority", "prevalence")
"""Baselines that look at no image."""

TREES = 200
MAX_FOREST_TILES = 20_000
"""Tiles that one tree draws at most; more change nothing that a baseline is for."""


def baseline_scores(
    targets: Labels, is_train: npt.NDArray[np.bool_], features: Floats | None, seed: int = 0
) -> dict[str, Floats]:
    """Scores of all baselines for all tiles, made from the training part alone.

    Args:
        targets: Presence (tile, label); only training rows are looked at.
        is_train: Which tiles are of the training part (tile,).
        features: Band statistics (tile, feature); None leaves out the baselines that need them.
        seed: Seed of the random forest.

    Returns:
        Probabilities (tile, label) by name: ``all_absent``, ``majority`` (per label),
        ``prevalence`` (constant), ``logistic`` and ``random_forest`` on band statistics.
    """
    train = targets[is_train]
    prevalence = train.mean(axis=0, dtype=np.float64)
    constant = {
        "all_absent": np.zeros_like(prevalence),
        "majority": (prevalence >= 0.5).astype(np.float64),
        "prevalence": prevalence,
    }
    scores = {name: np.tile(row, (len(targets), 1)) for name, row in constant.items()}
    if features is not None:
        scores["logistic"] = logistic_scores(features, is_train, train)
        scores["random_forest"] = forest_scores(features, is_train, train, seed)
    return scores


def logistic_scores(features: Floats, is_train: npt.NDArray[np.bool_], train: Labels) -> Floats:
    """Probabilities (tile, label) of one logistic regression per label on standardised features."""

    def fitted(column: Labels) -> Floats:
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        model.fit(features[is_train], column)
        return np.asarray(model.predict_proba(features)[:, 1])

    return _per_label(fitted, train, len(features))


def forest_scores(
    features: Floats, is_train: npt.NDArray[np.bool_], train: Labels, seed: int = 0
) -> Floats:
    """Probabilities (tile, label) of one random forest for all labels (Breiman 2001).

    For training tiles they come from the trees that saw them: only the other parts are of interest.
    """
    n_train = int(is_train.sum())
    forest = RandomForestClassifier(
        n_estimators=TREES,
        min_samples_leaf=2,
        max_samples=min(n_train, MAX_FOREST_TILES),
        random_state=derived_seed(seed, "baselines", "forest") % 2**32,
        n_jobs=1,
    )
    varied = np.flatnonzero(np.ptp(train, axis=0)) if n_train else np.zeros(0, int)
    scores = np.tile(train.mean(axis=0, dtype=np.float64), (len(features), 1))
    if varied.size:
        wanted = train[:, varied]
        forest.fit(features[is_train], wanted.ravel() if len(varied) == 1 else wanted)
        found = forest.predict_proba(features)
        columns = found if isinstance(found, list) else [found]
        scores[:, varied] = np.stack([column[:, 1] for column in columns], axis=1)
    return scores


def band_statistics(stores: Sequence[Path], ids: npt.NDArray[np.str_]) -> Floats:
    """Mean and deviation of each band (tile, 2 x band) of the given tiles, from their stores.

    Raises:
        StoreError: A tile is in none of the stores.
    """
    found: dict[str, tuple[int, int]] = {}
    tables = []
    for which, path in enumerate(stores):
        group = open_store(path)
        tables.append(np.concatenate([read_array(group, "mean"), read_array(group, "std")], axis=1))
        names = read_strings(group, "ids")
        found |= {str(name): (which, row) for row, name in enumerate(names)}
    missing = [str(name) for name in ids if str(name) not in found]
    if missing:
        raise StoreError(
            f"{len(missing)} tiles are in none of the tile stores",
            where=", ".join(map(str, stores)),
            found=missing[0],
            fix="train the model again on the present tiles",
        )
    places = [found[str(name)] for name in ids]
    rows = np.array([tables[which][row] for which, row in places], dtype=np.float64)
    return np.nan_to_num(rows)


def _per_label(fitted: Callable[[Any], Floats], train: Labels, n_tiles: int) -> Floats:
    """One column per label; a label that is constant in training keeps that constant."""
    columns = [
        fitted(column) if np.ptp(column) else np.full(n_tiles, float(column[0]))
        for column in train.T
    ]
    return np.stack(columns, axis=1)
