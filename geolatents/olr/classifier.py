"""The multi-label classifier: training, and scores of all labelled tiles."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from geolatents.files import atomic_path
from geolatents.learning import augment as augmentation
from geolatents.learning.backbones import rate_shares
from geolatents.learning.calibration import fit_temperature
from geolatents.learning.checkpoints import Checkpoints
from geolatents.learning.devices import scope_of
from geolatents.learning.fit import (
    Objective,
    TrainingState,
    adamw,
    fit,
    seed_everything,
    write_history,
)
from geolatents.learning.losses import balanced_weights, build_loss
from geolatents.learning.metrics import macro_ap
from geolatents.learning.networks import build_network, standardisation, with_probabilities
from geolatents.learning.precision import chosen_precision
from geolatents.learning.prepare import (
    LabelledTiles,
    TrainingOrder,
    read_order,
    read_tiles,
    training_statistics,
)
from geolatents.logs import LOG
from geolatents.olr.predict import predict_arrays, predict_scores, scorer, write_predictions
from geolatents.settings.models import Classifier

MONITOR = "validation_macro_ap"


def train_classifier(
    settings: Classifier,
    seed: int,
    stores: Sequence[Path],
    labels: Path,
    split: Path,
    order: Path,
    model: Path,
    history: Path,
    predictions: Path,
    *,
    checkpoints: Checkpoints | None = None,
    strategy: tf.distribute.Strategy | None = None,
) -> None:
    """Train a classifier and score every labelled tile.

    Args:
        settings: The classifier.
        seed: Seed of weights, augmentation and dropout.
        stores: Tile stores of the dataset.
        labels: Label set.
        split: Split; the training part is learned, the validation part selects the best weights.
        order: Batch order.
        model: ``model.keras`` to write, in ``{name}/seed-{n}``: from raw tiles to probabilities,
            standardisation inside.
        history: CSV to write: epoch, loss, validation_macro_ap, learning_rate, seconds.
        predictions: Zarr store to write: scores of all labelled tiles, of every part.
        checkpoints: Where an interrupted training goes on; deleted when all is written.
        strategy: Devices to train on, as :func:`geolatents.learning.devices.use_devices` gives them.

    Raises:
        TrainingError: Tiles, labels, split and order do not fit together, or training diverged.
        TrainingStopped: A signal asked for it; the state is saved.
    """
    tiles = read_tiles(stores, labels, split)
    with scope_of(strategy):
        trained, state = fit_classifier(
            settings, seed, tiles, read_order(order, tiles), checkpoints
        )
    with atomic_path(model) as part:
        save_model(trained, part)
    write_history(state.rows, history)
    write_predictions(
        predictions,
        ids=tiles.ids,
        part=tiles.part,
        scores=predict_scores(trained, tiles.images, tiles.positions, settings.test_time_flips),
        targets=tiles.labels,
        attributes={
            "classes": tiles.classes,
            "dataset": settings.dataset,
            "model": model.parent.parent.name,
            "kind": settings.kind,
            "seed": seed,
            "best_epoch": state.best_epoch,
            "validation_macro_ap": round(state.best, 6) if np.isfinite(state.best) else None,
        },
    )
    if checkpoints is not None:
        checkpoints.clear()


def fit_classifier(
    settings: Classifier,
    seed: int,
    tiles: LabelledTiles,
    order: TrainingOrder,
    checkpoints: Checkpoints | None = None,
) -> tuple[keras.Model, TrainingState]:
    """Train on tiles that are open already.

    Returns:
        The model with its best weights, from raw tiles to probabilities, and the training's state.
    """
    seed = seed_everything(seed, settings.deterministic, "classifier")
    precision = chosen_precision(settings.precision)
    mean, std = training_statistics(tiles)
    network = build_network(
        settings.network,
        tiles.images.shape,
        len(tiles.classes),
        mean,
        std,
        bands=tiles.images.bands,
        precision=precision,
    )
    steps = order.steps(settings.epochs)
    state = fit(
        network,
        classifier_objective(network, settings, seed, tiles.labels[tiles.of("train")]),
        adamw(
            settings.learning_rate,
            settings.weight_decay,
            settings.schedule,
            steps,
            precision,
            rate_shares(network, settings.network),
            settings.average,
        ),
        partial(order.batches, tiles),
        epochs=settings.epochs,
        steps_per_epoch=len(order.rows(0)),
        validate=_validation(network, tiles),
        monitor=MONITOR,
        patience=settings.patience,
        checkpoints=checkpoints,
        what="classifier",
    )
    if settings.calibrate:
        _calibrate(network, tiles)
    return with_probabilities(network), state


def _calibrate(network: keras.Model, tiles: LabelledTiles) -> None:
    """Divide the logits by their temperature on the validation part, in the weights of their layer."""
    rows = tiles.of("validation")
    logits = predict_arrays(scorer(network), tiles.images, tiles.positions[rows], "")
    temperature = fit_temperature(tiles.labels[rows], np.nan_to_num(logits))
    LOG.info("classifier: temperature %.3f", temperature)
    layer = network.get_layer("logits")
    layer.set_weights([weight / temperature for weight in layer.get_weights()])


def classifier_objective(
    network: keras.Model, settings: Classifier, seed: int, labels: npt.NDArray[np.uint8]
) -> Objective:
    """Augmentation of raw tiles and labels, and their loss, weighted as configured.

    Args:
        network: Network that ends in logits.
        settings: Loss and augmentation.
        seed: Seed of the augmentation.
        labels: Presence in the training part (tile, label), for label weights.
    """
    balanced = settings.loss.label_weights == "balanced"
    weights = balanced_weights(labels, settings.loss.max_weight) if balanced else None
    loss = build_loss(settings.loss, weights)
    fill = tf.constant(standardisation(network).mean, tf.float32)

    def augmented(batch: tuple[Any, ...], step: Any) -> tuple[Any, ...]:
        seeds = augmentation.step_seed(seed, step)
        return augmentation.augment(batch[0], batch[1], settings.augmentation, seeds, fill)

    def mean_loss(rows: tuple[Any, ...]) -> Any:
        # Not loss(...): Keras would divide by the number of devices, which `fit` weighs itself.
        return tf.reduce_mean(loss.call(rows[1], network(rows[0], training=True)))

    return Objective(augmented, mean_loss)


def save_model(model: keras.Model, path: Path) -> None:
    """Save under any name: Keras insists on the suffix, atomic writes on another."""
    inner = path.with_name(path.name + ".keras")
    try:
        model.save(inner)
        inner.replace(path)
    finally:
        inner.unlink(missing_ok=True)


def _validation(network: keras.Model, tiles: LabelledTiles) -> Callable[[], Mapping[str, float]]:
    rows = tiles.of("validation")
    score = scorer(network)  # logits rank as probabilities do

    def validate() -> Mapping[str, float]:
        logits = predict_arrays(score, tiles.images, tiles.positions[rows], "")
        return {MONITOR: macro_ap(tiles.labels[rows], np.nan_to_num(logits))}

    return validate
