"""Refinement of a polar embedding's directions on the features of a trained branch.

Directions need some thousands of steps, and an epoch of a small dataset has few. With the trunk as it is,
features of all training tiles are made once, without occlusion, and a step costs milliseconds
(docs/decisions/siamese-method.md). Trunk and scores stay as they are.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from geolatents.learning.fit import adamw
from geolatents.learning.prepare import LabelledTiles
from geolatents.logs import LOG
from geolatents.olr.pairs import likeness
from geolatents.olr.predict import predict_arrays, scorer
from geolatents.olr.siamese_network import DIRECTIONS, DROPOUT, HIDDEN
from geolatents.seeds import derived_seed, generator
from geolatents.settings.models import Siamese

MOST_TILES = 20_000
"""Training tiles that directions are refined on; of more, so many are drawn."""

BATCH = 64

RATE = 3e-3

SMALLEST = 1e-3


def refine_directions(
    student: keras.Model,
    teacher: keras.Model,
    settings: Siamese,
    tiles: LabelledTiles,
    described: npt.NDArray[np.float32],
    seed: int,
) -> None:
    """Fit the layers that make directions, for ``settings.refine_steps`` steps, in place.

    The loss is the squared error of cosines towards likeness, over pairs of different tiles, weighted by
    how surely both have the label, so that every label counts alike.

    Args:
        student: A trained branch of method ``polar``.
        teacher: Classifier from raw tiles to probabilities.
        settings: Likeness and number of steps.
        tiles: Labelled tiles; the training part is used.
        described: Descriptors of all tiles (tile, column).
        seed: Seed of batches.
    """
    random = generator(seed, "refine")
    rows = np.sort(random.permutation(tiles.of("train"))[:MOST_TILES])
    seen = keras.Model(student.input, student.get_layer(HIDDEN).input)
    features, known = (
        predict_arrays(scorer(model, flips=True), tiles.images, tiles.positions[rows], "")
        for model in (seen, teacher)
    )
    head = keras.Model(student.get_layer(HIDDEN).input, student.get_layer(DIRECTIONS).output)
    # What dropout drew before depends on where a training was interrupted.
    head.get_layer(DROPOUT).seed_generator.state.assign([derived_seed(seed, "refine") % 2**32, 0])
    step = _step(head, settings)
    for _ in range(settings.refine_steps):
        at = random.permutation(len(rows))[:BATCH]
        loss = step(*map(tf.constant, (features[at], known[at], described[rows[at]])))
    LOG.info("directions: %d steps, last loss %.4f", settings.refine_steps, float(loss))


def _step(head: keras.Model, settings: Siamese) -> Any:
    optimizer = adamw(RATE, settings.weight_decay, "cosine", settings.refine_steps, "float32")
    optimizer.build(head.trainable_variables)

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator, unused-ignore]
    def step(features: Any, known: Any, described: Any) -> Any:
        wanted = likeness(settings, described[:, None], described[None])[..., None]
        different = 1.0 - tf.eye(tf.shape(known)[0])[..., None]
        both = known[:, None] * known[None] * different
        with tf.GradientTape() as tape:
            directions = head(features, training=True)
            cosines = tf.einsum("xik,yik->xyi", directions, directions)
            errors = tf.reduce_sum(both * tf.square(cosines - wanted), axis=(0, 1))
            loss = tf.reduce_mean(errors / (tf.reduce_sum(both, axis=(0, 1)) + SMALLEST))
        variables = head.trainable_variables
        optimizer.apply(tape.gradient(loss, variables), variables)
        return loss

    return step
