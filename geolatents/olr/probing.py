"""What can be read out of label vectors that cannot be read out of the scores: scene class, cover."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt

from geolatents.learning.probes import (
    Parts,
    hinge_features,
    radial_features,
    ridge_classes,
    ridge_predictions,
)
from geolatents.olr.agreement import Floats, Strings
from geolatents.olr.resampling import mean_defined, paired_difference
from geolatents.olr.retrieval import logits

MIN_OF_CLASS = 5
"""A scene class counts with so many training tiles, and a label's cover with so many covered tiles."""

NO_CLASSES = "the tiles' groups are no scene classes that training and test share"
PRESENCE_ONLY = "cover is 0 or 1: there are no shares"


def flexible(scores: Parts) -> Parts:
    """Scores, log odds and piecewise linear functions of both (tile, feature).

    A probe of these knows any function of a score that a linear one could need, so that a gain over
    it is more than a bent scale.
    """
    return hinge_features(scores.beside(scores.mapped(logits)))


def scene_probes(
    vectors: Floats,
    scores: Mapping[str, Floats],
    classes: Strings | None,
    part: Strings,
    groups: Strings,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """Accuracy of scene classes read out of label vectors, against the scores.

    Args:
        vectors: (tile, label, k).
        scores: (tile, label) by source.
        classes: Scene class of each tile (tile,), or None.
        part: Part of each tile (tile,).
        groups: Resampled groups of the test tiles (test tile,).
        seed: Seed of draws and landmarks.

    Returns:
        ``scene_one_label`` (z_i against functions of p_i, mean over labels) and
        ``scene_all_labels`` (all z_i against the best probe of all p), each as of
        :func:`compared`, with ``n_classes``.
    """
    found = None if classes is None else known_classes(classes, part)
    if found is None:
        return {name: undefined(NO_CLASSES) for name in ("scene_one_label", "scene_all_labels")}
    names, number = found
    # Training tiles of classes with too few of them are left out.
    rows = np.where((part == "train") & (number < 0), "", part)
    by_part = (number[rows == "train"], number[rows == "validation"])
    test = number[rows == "test"]

    def right(features: Parts) -> Floats:
        predicted = ridge_classes(features, by_part, len(names))
        return np.where(test >= 0, (predicted == test).astype(np.float64), np.nan)

    one = {
        f"{source} scores, flexible": np.mean(
            [right(flexible(Parts.of(p[:, [i]], rows))) for i in range(p.shape[1])], axis=0
        )
        for source, p in scores.items()
    }
    z_one = np.mean([right(Parts.of(vectors[:, i], rows)) for i in range(vectors.shape[1])], axis=0)
    every: dict[str, Floats] = {}
    for source, p in scores.items():
        plain = Parts.of(p, rows)
        odds = plain.mapped(logits)
        every |= {
            f"{source} scores, linear": right(plain),
            f"{source} logits, linear": right(odds),
            f"{source} scores, flexible": right(flexible(plain)),
            f"{source} scores, radial": right(radial_features(plain, seed)),
            f"{source} logits, radial": right(radial_features(odds, seed)),
        }
    z_all = right(Parts.of(vectors, rows))
    extra = {"n_classes": len(names), "left_out": int((test < 0).sum())}
    return {
        "scene_one_label": compared(z_one, one, groups, seed, "scene one") | extra,
        "scene_all_labels": compared(z_all, every, groups, seed, "scene all") | extra,
    }


def known_classes(
    classes: Strings, part: Strings
) -> tuple[list[str], npt.NDArray[np.int64]] | None:
    """Scene classes with enough training tiles that test tiles have too.

    Returns:
        Names and the number of each tile's class (tile,), -1 for others; None for fewer than two,
        or where most test tiles are of other classes: groups are no classes then.
    """
    train, test = classes[part == "train"], classes[part == "test"]
    found, counts = np.unique(train, return_counts=True)
    names = [str(n) for n, c in zip(found, counts, strict=True) if n and c >= MIN_OF_CLASS]
    in_test = np.isin(test, names)
    if len(set(test[in_test].tolist())) < 2 or in_test.mean() < 0.5:
        return None
    number = {name: i for i, name in enumerate(names)}
    return names, np.array([number.get(str(name), -1) for name in classes], dtype=np.int64)


def cover_gains(
    vectors: Floats,
    scores: Mapping[str, Floats],
    cover: Floats | None,
    part: Strings,
    groups: Strings,
    codes: list[str],
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """Gain in R2 of a label's cover share from its vector, over functions of its score.

    Args:
        vectors: (tile, label, k).
        scores: (tile, label) by source.
        cover: Share of each label (tile, label) in 0..1, or None.
        part: Part of each tile (tile,).
        groups: Resampled groups of the test tiles (test tile,).
        codes: Labels.
        seed: Seed of the draws.

    Returns:
        ``cover_gain``: z_i beside functions of p_i of all sources, against the best of these
        functions alone; ``cover_gain_all_scores``: the same beside the scores of all labels. Each as of :func:`compared`, figures being R2
        (mean over labels), with ``embedding_alone``, ``per_label`` and ``left_out``.
    """
    keys = ("cover_gain", "cover_gain_all_scores")
    if cover is None:
        return {key: undefined("there is no cover") for key in keys}
    if np.isin(cover, (0, 1)).all():
        return {key: undefined(PRESENCE_ONLY) for key in keys}
    usable = [i for i in range(len(codes)) if _varies(cover[:, i], part)]
    left_out = [codes[i] for i in range(len(codes)) if i not in usable]
    if not usable:
        return {
            key: undefined("no label covers enough tiles") | {"left_out": left_out} for key in keys
        }
    y = {i: Parts.of(cover[:, [i]], part) for i in usable}
    z = {i: Parts.of(vectors[:, i], part) for i in usable}
    every = {source: Parts.of(p, part) for source, p in scores.items()}
    every = {source: p.beside(p.mapped(logits)) for source, p in every.items()}

    def base(key: str, sources: Sequence[str], i: int) -> Parts:
        """What the control knows: functions of a label's scores of the sources."""
        own = [flexible(Parts.of(scores[s][:, [i]], part)) for s in sources]
        parts = own if key == "cover_gain" else own + [every[s] for s in sources]
        return reduce(Parts.beside, parts)

    known = {source: [source] for source in scores} | {" and ".join(scores): list(scores)}
    alone = np.mean([_explained(z[i], y[i]) for i in usable], axis=0)
    found = {}
    for key in keys:
        controls = {
            name: np.stack([_explained(base(key, sources, i), y[i]) for i in usable])
            for name, sources in known.items()
        }
        best = max(controls, key=lambda name: float(controls[name].mean()))
        # Beside the scores of all sources: two scores know more than one, without any vector.
        both = np.stack([_explained(base(key, list(scores), i).beside(z[i]), y[i]) for i in usable])
        named = {f"{name} scores, flexible": v.mean(axis=0) for name, v in controls.items()}
        found[key] = compared(both.mean(axis=0), named, groups, seed, key) | {
            "embedding_alone": mean_defined(alone),
            "per_label": {
                codes[i]: {"control": float(c.mean()), "embedding": float(b.mean())}
                for i, c, b in zip(usable, controls[best], both, strict=True)
            },
            "left_out": left_out,
        }
    return found


def _varies(cover: Floats, part: Strings) -> bool:
    """Whether a label covers enough tiles of training and test, and is not everywhere the same."""
    return all(
        (cover[part == name] > 0).sum() >= MIN_OF_CLASS and np.ptp(cover[part == name]) > 1e-6
        for name in ("train", "test")
    )


def _explained(features: Parts, cover: Parts) -> Floats:
    """Each test tile's part of R2 (tile,): the mean over tiles is R2 of the test part."""
    predicted = ridge_predictions(features, cover)[:, 0]
    truth = cover.test[:, 0]
    return np.asarray(1 - (truth - predicted) ** 2 / truth.var())


def compared(
    embedding: Floats, controls: Mapping[str, Floats], groups: Strings, seed: int, name: str
) -> dict[str, Any]:
    """A figure of the embedding against the strongest control.

    Args:
        embedding: Figure of each tile (tile,), NaN where it is not defined.
        controls: The same of each control. The best one *on these very tiles* is the bar, so that
            the choice favours the control.
        groups: Resampled groups (tile,).
        seed: Seed of the draws.
        name: What the draws are for.

    Returns:
        ``embedding``, ``control``, ``control_name``, ``controls`` (mean of each) and the keys of
        :func:`geolatents.olr.resampling.paired_difference`.
    """
    means = {key: mean_defined(values) for key, values in controls.items()}
    best = max(means, key=lambda key: (means[key] is not None, means[key] or 0.0))
    return {
        "embedding": mean_defined(embedding),
        "control": means[best],
        "control_name": best,
        "controls": means,
        **paired_difference(embedding, controls[best], groups, seed, name),
    }


def undefined(reason: str) -> dict[str, Any]:
    """An entry of :func:`compared` that cannot be measured."""
    keys = ("embedding", "control", "control_name", "difference", "interval", "p")
    return {**dict.fromkeys(keys), "controls": {}, "groups": {}, "n": 0, "reason": reason}
