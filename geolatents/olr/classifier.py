"""The multi-label classifier: checks before training, training, scores of all labelled tiles."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from geolatents.batches.loader import check_stores
from geolatents.errors import StoreError, TrainingError
from geolatents.files import atomic_path, read_json, write_json
from geolatents.labels.parts import PARTS, parts_of
from geolatents.labels.sets import read_labels
from geolatents.learning import augment as augmentation
from geolatents.learning.backbones import check_tiles, rate_shares
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
from geolatents.stores import open_store, read_array, read_strings

MONITOR = "validation_macro_ap"


def check_training(
    settings: Classifier,
    stores: Sequence[Path],
    manifests: Sequence[Path],
    labels: Path,
    split: Path,
    output: Path,
) -> None:
    """Refuse what cannot be trained on, before anything that exists is removed.

    Args:
        settings: The classifier.
        stores: Tile stores of the dataset.
        manifests: Their manifests, in the same order.
        labels: Label set.
        split: Split.
        output: JSON to write: tiles per part, positives of each label per part.

    Raises:
        TrainingError: A part has no tiles, a label has no positives in training, no label can be
            validated, a labelled tile is in no store, or a backbone cannot see such tiles.
        SplitError: A labelled tile is in no part.
        StoreError: A store is missing, truncated, or not what its manifest says.
    """
    check_stores([*stores, labels])
    _check_manifests(stores, manifests)
    _check_backbone(settings, stores)
    found = read_labels(labels)
    _check_positions(found.ids, stores, labels)
    part, _ = parts_of(found.ids, split)
    counts = {name: int((part == name).sum()) for name in PARTS}
    positives = {name: found.labels[part == name].sum(axis=0).astype(int) for name in PARTS}
    _check_parts(counts, split)
    _check_positives(settings, found.codes, positives, counts, labels)
    write_json(
        output,
        {
            "tiles": counts,
            "positives": {
                code: {name: int(positives[name][column]) for name in PARTS}
                for column, code in enumerate(found.codes)
            },
        },
    )


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


def _check_manifests(stores: Sequence[Path], manifests: Sequence[Path]) -> None:
    """Compare shapes and types with the manifests; contents are the task of `snakemake verify`."""
    for store, manifest in zip(stores, manifests, strict=True):
        group = open_store(store)
        for name, entry in read_json(manifest)["arrays"].items():
            found = list(group[name].shape) if name in group else None  # type: ignore[union-attr]
            if found != entry["shape"]:
                raise StoreError(
                    f"array {name!r} is not what the manifest says",
                    where=store,
                    expected=f"shape {entry['shape']}",
                    found=f"shape {found}" if found else "no such array",
                    fix="delete the store with its manifest and rerun the rule that makes it",
                )


def _check_backbone(settings: Classifier, stores: Sequence[Path]) -> None:
    if settings.network.name != "backbone":
        return
    for store in stores:
        group = open_store(store)
        shape, bands = group["images"].shape[1:], group.attrs["bands"]  # type: ignore[union-attr]
        means = read_array(group, "mean")
        if np.isfinite(means).any():
            mean = np.nan_to_num(np.nanmean(means, axis=0))
            check_tiles(settings.network, shape, bands, mean, store)  # type: ignore[arg-type]


def _check_positions(ids: npt.NDArray[np.str_], stores: Sequence[Path], labels: Path) -> None:
    known = {name for store in stores for name in read_strings(open_store(store), "ids").tolist()}
    missing = [name for name in ids.tolist() if name not in known]
    if missing:
        raise TrainingError(
            f"{len(missing)} labelled tiles are in no tile store, such as {missing[0]!r}",
            where=labels,
            fix="rerun the label set: it belongs to other tiles",
        )


def _check_parts(counts: Mapping[str, int], split: Path) -> None:
    empty = [name for name, count in counts.items() if not count]
    if empty:
        raise TrainingError(
            f"the {empty[0]} part has no labelled tiles",
            where=split,
            found=", ".join(f"{name} {count}" for name, count in counts.items()),
            fix="choose a smaller `block`, other shares or another seed of the split, "
            "or a label set with a lower `min_labels`",
        )


def _check_positives(
    settings: Classifier,
    codes: Sequence[str],
    positives: Mapping[str, npt.NDArray[np.int64]],
    counts: Mapping[str, int],
    labels: Path,
) -> None:
    absent = [code for code, n in zip(codes, positives["train"], strict=True) if not n]
    if absent:
        raise TrainingError(
            f"no training tile has {'label' if len(absent) == 1 else 'labels'} {', '.join(absent)}",
            where=labels,
            expected="at least one positive of every label in the training part",
            found=", ".join(
                f"{code}: validation {positives['validation'][codes.index(code)]}, "
                f"test {positives['test'][codes.index(code)]}"
                for code in absent
            ),
            fix="use a `pruned` label set with a higher `min_count`, or a `combined` one, "
            f"for `labels: {settings.labels}`; or another seed or block size of the split",
        )
    found = positives["validation"]
    if not ((found > 0) & (found < counts["validation"])).any():
        raise TrainingError(
            "no label has both positives and negatives in the validation part",
            where=labels,
            fix="use a larger share of validation, or another seed of the split",
        )
