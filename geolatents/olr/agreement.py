"""How alike two label matrices are, always with the baselines and controls that give it a meaning.

A bare correlation between matrices says little: on UC Merced phi of the *training* labels has r =
0.987 with phi of the test labels, and ridge regression on pure noise 0.93. So every agreement
states both, and the two figures that count: the partial Mantel correlation given training phi, and
the gain over training phi on shifted land.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import factorial
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import false_discovery_control, fisher_exact
from scipy.stats import t as student_t

from geolatents.learning.metrics import left_out
from geolatents.seeds import generator
from geolatents.settings.experiments import Agreement

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Strings = npt.NDArray[np.str_]

EXACT_BELOW = 8
"""Below this number of labels all permutations are enumerated: 7! = 5,040."""

MIN_PAIRS = 3
"""Fewest pairs of labels for a correlation between matrices."""

MIN_PARTIAL_PAIRS = 5
"""Fewest pairs for a partial correlation: with three it is always -1 or 1."""

CONTROL_REPEATS = 20
HALVES = 100
SHIFTED_DRAWS = 300
SHIFTED_SHARE = 0.4
"""Share of the test groups in one draw of shifted land (8 of 21 on UC Merced)."""

MIN_GROUPS = 4
"""With fewer groups than this, resampling falls back to tiles and shifted land is not measured."""
NEARLY_ONE = 1 - 1e-12
"""Fisher's z of 1 is infinite."""

SIGNIFICANCE = 0.05


@dataclass(frozen=True)
class Sample:
    """What one comparison needs; all arrays share the order of labels.

    Attributes:
        codes: Labels.
        train: Presence in the training part (training tile, label), 0 or 1.
        targets: Presence in the compared part (tile, label), 0 or 1.
        scores: The model's scores of the same tiles (tile, label).
        groups: Block or group of each compared tile (tile,): what is left out together.
        grouping: What ``groups`` are: ``blocks``, ``groups``, ``scenes`` or ``tiles``.
        scene_means: Mean training labels of each tile's scene or nearest block (tile, label), or
            None.
        scene_mean_rule: How ``scene_means`` were made, in words.
        given_train: Whether training phi is a baseline that can be held constant (not where it is
            itself the target).
    """

    codes: list[str]
    train: Floats
    targets: Floats
    scores: Floats
    groups: Strings
    grouping: str = "tiles"
    scene_means: Floats | None = None
    scene_mean_rule: str = "none"
    given_train: bool = True

    def keep(self, labels: npt.NDArray[np.bool_]) -> Sample:
        """The same sample with some of its labels."""
        return replace(
            self,
            codes=[code for code, kept in zip(self.codes, labels, strict=True) if kept],
            train=self.train[:, labels],
            targets=self.targets[:, labels],
            scores=self.scores[:, labels],
            scene_means=None if self.scene_means is None else self.scene_means[:, labels],
        )


def measure_agreement(sample: Sample, settings: Agreement, seed: int = 0) -> dict[str, Any]:
    """Agreement of a model's correlation matrix with the phi of true labels.

    Values that are not defined (too few labels or groups) are None.

    Args:
        sample: Labels, scores and groups.
        settings: Numbers of permutations and folds, fewest positives.
        seed: Seed of permutations, folds, noise and shuffles.

    Returns:
        ``mantel_r, mantel_p, mantel_method, partial_r, partial_interval, train_phi_r, gain,
        gain_interval, scene_mean_r, scene_mean_rule, noise_r, reliability, column_shuffle_r, row_shuffle_r, rmse,
        train_phi_rmse, slope, sign_agreement, train_phi_sign_agreement, majority_sign_agreement,
        n_significant, significance, shifted, resampled, n_groups, n_labels, n_tiles, labels,
        left_out`` and the matrices ``phi, train_phi, correlation``.
    """
    sample, dropped = usable_labels(sample, settings.min_positives)
    phi, train_phi = correlation_matrix(sample.targets), correlation_matrix(sample.train)
    model = correlation_matrix(sample.scores)
    x, y, z = upper(model), upper(phi), upper(train_phi)
    p, method = mantel_p(model, phi, settings.permutations, seed)
    noise = noise_correlation(sample.train, len(sample.targets), settings.noise_features, seed)
    return {
        "mantel_r": _number(pearson(x, y)),
        "mantel_p": _number(p),
        "mantel_method": method,
        "partial_r": _number(partial(x, y, z)) if sample.given_train else None,
        "partial_interval": partial_interval(sample, settings.folds, seed),
        "train_phi_r": _number(pearson(z, y)) if sample.given_train else None,
        "gain": _number(pearson(x, y) - pearson(z, y)) if sample.given_train else None,
        "gain_interval": gain_interval(sample, settings.folds, seed),
        "scene_mean_r": scene_mean_r(sample, phi),
        "scene_mean_rule": sample.scene_mean_rule,
        "noise_r": _mean([pearson(upper(matrix), y) for matrix in noise]),
        "reliability": reliability(sample, seed),
        "column_shuffle_r": column_shuffle_r(model, phi, seed),
        "row_shuffle_r": row_shuffle_r(sample.scores, phi, seed),
        "rmse": _number(np.sqrt(np.mean((x - y) ** 2))) if y.size else None,
        "train_phi_rmse": _number(np.sqrt(np.mean((z - y) ** 2)))
        if y.size and sample.given_train
        else None,
        "slope": _number(slope(x, y)),
        **sign_agreement(sample, x, y, z),
        "shifted": shifted_land(sample, settings.min_positives, seed),
        "resampled": sample.grouping,
        "n_groups": len(np.unique(sample.groups)),
        "n_labels": len(sample.codes),
        "n_tiles": len(sample.targets),
        "labels": sample.codes,
        "left_out": dropped,
        "phi": phi,
        "train_phi": train_phi,
        "correlation": model,
    }  # fmt: skip


def usable_labels(sample: Sample, min_positives: int) -> tuple[Sample, dict[str, str]]:
    """Drop labels that are too rare or too frequent in a part, or whose scores are constant.

    Returns:
        The sample without them, and each dropped label with its reason.
    """
    reasons: dict[str, str] = {}
    for name, values in (("training", sample.train), ("compared", sample.targets)):
        for code, reason in left_out(values, sample.codes, min_positives).items():
            reasons.setdefault(code, f"{reason} in the {name} part")
    for code, constant in zip(sample.codes, is_constant(sample.scores), strict=True):
        if constant:
            reasons.setdefault(code, "the scores are constant")
    return sample.keep(np.array([code not in reasons for code in sample.codes], bool)), reasons


def is_constant(values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Columns without spread (label,)."""
    return (
        np.asarray(np.ptp(values, axis=0) == 0) if len(values) else np.ones(values.shape[1], bool)
    )


def correlation_matrix(values: npt.NDArray[Any], weights: npt.NDArray[Any] | None = None) -> Floats:
    """Pearson correlation of columns; phi where they are 0 and 1.

    Args:
        values: (tile, label).
        weights: How often each tile counts (tile,); default: once.

    Returns:
        (label, label) with ones on the diagonal; NaN beside a column without spread.
    """
    weights = np.ones(len(values)) if weights is None else np.asarray(weights, dtype=np.float64)
    total = weights.sum()
    if not total:
        return np.full((values.shape[1], values.shape[1]), np.nan)
    centred = values - weights @ values / total
    covariance = (centred * weights[:, None]).T @ centred
    spread = np.sqrt(np.diag(covariance))
    # A column that is constant among the tiles that count leaves rounding errors, not zero.
    spread = np.where(spread > 1e-9 * np.sqrt(total), spread, np.nan)
    matrix = np.clip(covariance / np.outer(spread, spread), -1, 1)
    np.fill_diagonal(matrix, 1.0)
    return np.asarray(matrix, dtype=np.float64)


def upper(matrix: Floats) -> Floats:
    """Entries above the diagonal (pair,), row by row."""
    return matrix[np.triu_indices(len(matrix), 1)]


def pearson(x: Floats, y: Floats) -> float:
    """Pearson correlation where both are defined; NaN for fewer than three or without spread."""
    both = np.isfinite(x) & np.isfinite(y)
    x, y = x[both], y[both]
    if len(x) < MIN_PAIRS:
        return float("nan")
    x, y = x - x.mean(), y - y.mean()
    spread = np.sqrt((x @ x) * (y @ y))
    return float(np.clip(x @ y / spread, -1, 1)) if spread > 1e-12 else float("nan")


def partial(x: Floats, y: Floats, z: Floats) -> float:
    """Partial correlation of x and y given z (Smouse, Long & Sokal 1986, eq. 4).

    NaN for fewer than five pairs, or where z explains x or y completely.
    """
    every = np.isfinite(x) & np.isfinite(y) & np.isfinite(z)
    if every.sum() < MIN_PARTIAL_PAIRS:
        return float("nan")
    x, y, z = x[every], y[every], z[every]
    xy, xz, yz = pearson(x, y), pearson(x, z), pearson(y, z)
    left = (1 - xz**2) * (1 - yz**2)
    return float(np.clip((xy - xz * yz) / np.sqrt(left), -1, 1)) if left > 1e-12 else float("nan")


def slope(x: Floats, y: Floats) -> float:
    """Slope of the model's correlations on phi: 1 is right, above 1 the model exaggerates."""
    spread = np.var(y) if y.size >= MIN_PAIRS else 0.0
    return float(np.mean((x - x.mean()) * (y - y.mean())) / spread) if spread else float("nan")


def mantel_p(model: Floats, phi: Floats, permutations: int, seed: int = 0) -> tuple[float, str]:
    """One-sided p of the Mantel correlation (Mantel 1967): labels of one matrix are permuted.

    Exact (all permutations, the identity among them) below :data:`EXACT_BELOW` labels, otherwise
    ``(1 + hits) / (1 + permutations)``.

    Returns:
        p (NaN where r is not defined), and the method in words.
    """
    n = len(model)
    exact = n < EXACT_BELOW
    method = f"exact, {factorial(n)} permutations" if exact else f"{permutations} permutations"
    found = pearson(upper(model), upper(phi))
    if not np.isfinite(found):
        return float("nan"), method
    orders = all_orders(n) if exact else random_orders(n, permutations, seed)
    rows, columns = np.triu_indices(n, 1)
    y = phi[rows, columns] - phi[rows, columns].mean()
    y /= np.sqrt(y @ y)
    x = model[rows, columns]
    scale = np.sqrt(((x - x.mean()) ** 2).sum())  # the same in every order
    drawn = np.concatenate(
        [model[part[:, rows], part[:, columns]] @ y / scale for part in _parts(orders, len(rows))]
    )
    hits = int((drawn >= found - 1e-9).sum())
    return (hits / len(orders) if exact else (1 + hits) / (1 + permutations)), method


def all_orders(n: int) -> Integers:
    """Every permutation of n items (n!, n), the identity first."""
    return np.array(list(itertools.permutations(range(n))), dtype=np.int64)


def random_orders(n: int, count: int, seed: int) -> Integers:
    """Seeded random permutations (count, n)."""
    rng = generator(seed, "agreement", "mantel")
    return np.asarray(rng.permuted(np.tile(np.arange(n), (count, 1)), axis=1), dtype=np.int64)


def _parts(orders: Integers, pairs: int) -> Iterator[Integers]:
    """Slices of orders that keep the permuted pairs below 64 MiB."""
    step = max(1, 2**23 // max(1, pairs))
    return (orders[start : start + step] for start in range(0, len(orders), step))


def partial_interval(sample: Sample, folds: int, seed: int = 0) -> list[float] | None:
    """95 % interval of the partial correlation from a jackknife that leaves out groups of tiles.

    Groups, not tiles, are left out, since neighbouring tiles are not independent; with more groups
    than ``folds``, groups are left out together. Standard error of Fisher's z by the grouped
    jackknife (Efron and Stein 1981), Student's t with one degree of freedom less than folds.
    A bootstrap would not do: drawing groups twice shifts label relations away from training, which
    the model follows and training phi cannot, so that every draw lies above the estimate.
    Labels that are constant without a fold are left out there.
    """
    if not sample.given_train:
        return None
    given = upper(correlation_matrix(sample.train))

    def fisher_z(model: Floats, truth: Floats) -> float:
        return float(np.arctanh(np.clip(partial(model, truth, given), -NEARLY_ONE, NEARLY_ONE)))

    found = _jackknife(sample, fisher_z, folds, seed)
    return None if found is None else [float(np.tanh(limit)) for limit in found]


def gain_interval(sample: Sample, folds: int, seed: int = 0) -> list[float] | None:
    """95 % interval of the gain, Mantel r of the model minus that of training phi.

    Jackknife over groups as of :func:`partial_interval`.
    """
    if not sample.given_train:
        return None
    given = upper(correlation_matrix(sample.train))
    return _jackknife(
        sample, lambda model, truth: pearson(model, truth) - pearson(given, truth), folds, seed
    )


def _jackknife(
    sample: Sample, statistic: Callable[[Floats, Floats], float], folds: int, seed: int
) -> list[float] | None:
    """95 % interval of a statistic of the pairs of the model and of the truth (pair,)."""
    if folds < MIN_GROUPS or len(sample.codes) < MIN_GROUPS:
        return None

    def measured(weights: Floats | None) -> float:
        model = upper(correlation_matrix(sample.scores, weights))
        return statistic(model, upper(correlation_matrix(sample.targets, weights)))

    left_out = np.array([measured(weights) for weights in fold_weights(sample.groups, folds, seed)])
    count = len(left_out)
    whole = measured(None)
    if count < MIN_GROUPS or not np.isfinite(left_out).all() or not np.isfinite(whole):
        return None
    error = np.sqrt((count - 1) * np.var(left_out))
    reach = student_t.ppf(0.975, count - 1) * error
    return [float(whole - reach), float(whole + reach)]


def fold_weights(groups: Strings, folds: int, seed: int = 0) -> Iterator[Floats]:
    """Weights (tile,) of 0 for the tiles of one fold and 1 for all others, once per fold."""
    names, member = np.unique(groups, return_inverse=True)
    count = min(folds, len(names))
    order = generator(seed, "agreement", "folds").permutation(len(names))
    fold = np.empty(len(names), dtype=np.int64)
    fold[order] = np.arange(len(names)) % count
    for dropped in range(count):
        yield (fold[member] != dropped).astype(np.float64)


def scene_mean_r(sample: Sample, phi: Floats) -> float | None:
    """Mantel r of scores that know only the scene or the nearest training block of a tile."""
    if sample.scene_means is None:
        return None
    return _number(pearson(upper(correlation_matrix(sample.scene_means)), upper(phi)))


def noise_correlation(
    train: Floats, n_tiles: int, features: int, seed: int = 0, repeats: int = CONTROL_REPEATS
) -> list[Floats]:
    """Correlation matrices of ridge regressions of the training labels on Gaussian noise.

    They know nothing of any image; what they agree with comes from the training labels alone.
    """
    rng = generator(seed, "agreement", "noise")
    centred = train - train.mean(axis=0) if len(train) else train
    matrices = []
    for _ in range(repeats):
        noise = rng.standard_normal((len(train), features))
        weights = np.linalg.solve(noise.T @ noise + np.eye(features), noise.T @ centred)
        matrices.append(correlation_matrix(rng.standard_normal((n_tiles, features)) @ weights))
    return matrices


def reliability(sample: Sample, seed: int = 0, halves: int = HALVES) -> float | None:
    """Split-half reliability of phi (Spearman-Brown): the agreement that its own noise allows.

    The mean correlation r between phi of two random halves of the groups, as 2 r / (1 + r).
    """
    names, member = np.unique(sample.groups, return_inverse=True)
    rng = generator(seed, "agreement", "halves")
    found = []
    for _ in range(halves):
        first = (rng.permutation(len(names)) < len(names) // 2)[member]
        parts = (upper(correlation_matrix(sample.targets[half])) for half in (first, ~first))
        found.append(pearson(*parts))
    r = np.array(found)[np.isfinite(found)]
    return float(2 * r.mean() / (1 + r.mean())) if len(r) >= halves / 2 else None


def column_shuffle_r(model: Floats, phi: Floats, seed: int = 0) -> float | None:
    """Control: mean Mantel r when each label is given the scores of another, random label."""
    rng = generator(seed, "agreement", "columns")
    orders = (rng.permutation(len(model)) for _ in range(CONTROL_REPEATS))
    return _mean([pearson(upper(model[np.ix_(order, order)]), upper(phi)) for order in orders])


def row_shuffle_r(scores: Floats, phi: Floats, seed: int = 0) -> float | None:
    """Control: mean Mantel r when every label's scores are shuffled over tiles, each on its own."""
    rng = generator(seed, "agreement", "rows")
    drawn = (correlation_matrix(rng.permuted(scores, axis=0)) for _ in range(CONTROL_REPEATS))
    return _mean([pearson(upper(matrix), upper(phi)) for matrix in drawn])


def sign_agreement(sample: Sample, x: Floats, y: Floats, z: Floats) -> dict[str, Any]:
    """Share of pairs with a significant phi in which the model's correlation has the same sign.

    Significant: Fisher's exact test over tiles, false discovery rate 5 % (Benjamini & Hochberg
    1995). Beside it the same share of training phi, and of always guessing the more frequent sign.
    """
    chosen = significant_pairs(sample.targets)

    def share(values: Floats) -> float | None:
        return (
            float((np.sign(values[chosen]) == np.sign(y[chosen])).mean()) if chosen.any() else None
        )

    positive = share(np.ones_like(y))
    return {
        "sign_agreement": share(x),
        "train_phi_sign_agreement": share(z) if sample.given_train else None,
        "majority_sign_agreement": None if positive is None else max(positive, 1 - positive),
        "n_significant": int(chosen.sum()),
        "significance": f"Fisher's exact test, Benjamini-Hochberg, {SIGNIFICANCE:.0%}",
    }


def significant_pairs(targets: Floats) -> npt.NDArray[np.bool_]:
    """Pairs of labels (pair,) whose joint counts differ from independence."""
    truth = targets.astype(np.int64)
    joint, count, n = truth.T @ truth, truth.sum(axis=0), len(truth)
    pairs = zip(*np.triu_indices(truth.shape[1], 1), strict=True)
    p = [
        fisher_exact(
            [
                [joint[i, j], count[i] - joint[i, j]],
                [count[j] - joint[i, j], n - count[i] - count[j] + joint[i, j]],
            ]
        )[1]
        for i, j in pairs
    ]
    return np.asarray(false_discovery_control(p) < SIGNIFICANCE) if p else np.zeros(0, bool)


def shifted_land(
    sample: Sample, min_positives: int, seed: int = 0, draws: int = SHIFTED_DRAWS
) -> dict[str, Any] | None:
    """Model against training phi on many random subsets of the groups of the compared part.

    Label relations of a subset differ from those of the training part; a model that looks at the
    images follows them, training phi cannot. Within a draw only labels with enough positives and
    negatives count. None without groups.

    Returns:
        Medians ``model_r`` and ``train_phi_r``, ``median_difference``, ``positive_share`` (draws in
        which the model is better), ``draws``, ``groups`` per draw, ``of`` how many, mean ``labels``
        per draw.
    """
    names, member = np.unique(sample.groups, return_inverse=True)
    if sample.grouping == "tiles" or len(names) < MIN_GROUPS or not sample.given_train:
        return None
    size = max(2, round(SHIFTED_SHARE * len(names)))
    rng = generator(seed, "agreement", "shifted")
    train_phi = correlation_matrix(sample.train)
    found = []
    for _ in range(draws):
        tiles = np.isin(member, rng.choice(len(names), size, replace=False))
        row = _one_draw(sample.targets[tiles], sample.scores[tiles], train_phi, min_positives)
        if row is not None:
            found.append(row)
    if not found:
        return None
    model, train, labels = np.array(found).T
    return {
        "model_r": float(np.median(model)),
        "train_phi_r": float(np.median(train)),
        "median_difference": float(np.median(model - train)),
        "positive_share": float((model > train).mean()),
        "draws": len(found),
        "groups": size,
        "of": len(names),
        "labels": float(labels.mean()),
    }


def _one_draw(
    targets: Floats, scores: Floats, train_phi: Floats, min_positives: int
) -> tuple[float, float, float] | None:
    positives = targets.sum(axis=0)
    kept = np.minimum(positives, len(targets) - positives) >= min_positives
    kept &= ~is_constant(scores)
    if kept.sum() < MIN_GROUPS:
        return None
    phi = upper(correlation_matrix(targets[:, kept]))
    model = pearson(upper(correlation_matrix(scores[:, kept])), phi)
    train = pearson(upper(train_phi[np.ix_(kept, kept)]), phi)
    return (model, train, float(kept.sum())) if np.isfinite(model + train) else None


def unit_means(
    train: Floats,
    train_units: Strings,
    units: Strings,
    train_places: Floats | None = None,
    places: Floats | None = None,
) -> tuple[Floats, str]:
    """Mean training labels of each tile's own unit, else of the nearest training unit.

    Args:
        train: Presence of training tiles (training tile, label).
        train_units: Scene, group or block of the training tiles.
        units: The same of the compared tiles.
        train_places: Centres (training tile, 2) in any one planar system; None without positions.
        places: Centres (tile, 2).

    Returns:
        Scores (tile, label), and how they were made, in words. Without positions tiles of unknown
        units get the mean of the training part.
    """
    names, member = np.unique(train_units, return_inverse=True)
    counts = np.bincount(member, minlength=len(names))[:, None]
    means = _sums(train, member, len(names)) / counts
    position: Mapping[str, int] = {str(name): i for i, name in enumerate(names)}
    own = np.array([position.get(str(unit), -1) for unit in units], dtype=np.int64)
    scores = means[np.maximum(own, 0)]
    unknown = own < 0
    if not unknown.any():
        return scores, "mean training labels of the tile's own scene or group"
    if train_places is None or places is None:
        scores[unknown] = train.mean(axis=0)
        return scores, "own scene or group where it has training tiles, else the training mean"
    centres = _sums(train_places, member, len(names)) / counts
    distance = ((places[unknown][:, None, :] - centres[None]) ** 2).sum(axis=2)
    scores[unknown] = means[distance.argmin(axis=1)]
    if (~unknown).any():
        return scores, "own scene, group or block where it has training tiles, else the nearest"
    return scores, "mean training labels of the nearest training block"


def _sums(values: Floats, member: npt.NDArray[Any], count: int) -> Floats:
    sums = np.zeros((count, values.shape[1]))
    np.add.at(sums, member, values)
    return sums


def _mean(values: Sequence[float]) -> float | None:
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else None


def _number(value: float | np.floating[Any]) -> float | None:
    return float(value) if np.isfinite(value) else None
