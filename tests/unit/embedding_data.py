"""Made-up label vectors whose truth is known: nothing but probability, or more than it."""

import numpy as np

from geolatents.labels.sets import Cover
from geolatents.olr.agreement import Sample
from geolatents.olr.embedding import Embedded, rank_one
from geolatents.olr.samples import Predictions

CORINE = ["111", "112", "121", "211", "231", "243", "311", "312", "324", "411", "512", "523"]
SHARES = {"train": 0.6, "validation": 0.15, "test": 0.25}


def made(seed=0, tiles=800, labels=6, k=8, groups=20, extra=1.0, noise=0.05, other_teacher=False):
    """Tiles with hidden kinds: a label looks different in each kind, and covers another share.

    Args:
        extra: How much of the kind the vectors know; 0 leaves the rank-1 control.
        other_teacher: Whether the teacher's errors are others than the student's.

    Returns:
        ``(embedded, sample, scene classes, cover)``.
    """
    rng = np.random.default_rng(seed)
    group = np.arange(tiles) % groups
    kind = rng.integers(0, 4, tiles)
    latent = (
        rng.standard_normal((tiles, labels))
        + 0.8 * np.random.default_rng(9).standard_normal((groups, labels))[group]
    )
    targets = (latent > 0.4).astype(np.uint8)
    scores = 1 / (1 + np.exp(-2.5 * (latent - 0.4 + 0.3 * rng.standard_normal(latent.shape))))
    share = targets * (0.25 + 0.2 * kind[:, None]) + 0.02 * rng.random(latent.shape)
    part = np.empty(tiles, "<U10")
    for name in range(groups):
        rows = rng.permutation(np.flatnonzero(group == name))
        cuts = np.cumsum([round(s * len(rows)) for s in SHARES.values()])[:-1]
        for p, own in zip(SHARES, np.split(rows, cuts), strict=True):
            part[own] = p
    vectors = rank_one(scores, k, seed)
    directions = np.random.default_rng(5).standard_normal((4, labels, k)) / np.sqrt(k)
    vectors = vectors + extra * scores[:, :, None] * directions[kind]
    vectors = (
        vectors + extra * 0.3 * np.random.default_rng(6).standard_normal((groups, labels, k))[group]
    )
    vectors = vectors + noise * extra * rng.standard_normal(vectors.shape)
    classes = [
        {"code": code, "name": code, "colour": "#000000", "members": [code]}
        for code in CORINE[:labels]
    ]
    ids = np.array([f"t{i:04d}" for i in range(tiles)])
    attributes = {"model": "made-siamese", "dataset": "made", "teacher": "made-classifier"}
    student = Predictions(ids, part, scores, targets, classes, attributes)
    test = part == "test"
    names = np.array([f"g{g:02d}" for g in group])
    sample = Sample(
        codes=student.codes,
        train=targets[part == "train"].astype(float),
        targets=targets[test].astype(float),
        scores=scores[test],
        groups=names[test],
        grouping="groups",
    )
    cover = Cover(ids, share.astype(np.float32), classes)
    teacher = scores
    if other_teacher:
        seen = latent - 0.4 + 0.3 * rng.standard_normal(latent.shape)
        teacher = 1 / (1 + np.exp(-2.5 * seen))
    return Embedded(vectors, student, teacher), sample, names, cover
