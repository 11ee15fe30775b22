"""The Siamese network on a trained classifier: occlusion-based latent representations (OLR).

After Karatsiolis and Kamilaris 2021, as implemented by Tijdeman 2021 (appendix B): every label of a tile
gets its own vector z_i of k numbers, the product of two tiles' vectors is trained towards the product of
a classifier's probabilities for that label, with a rectangle hidden. ``method: predecessor`` is that; its
optimum is the probability alone. What the other methods change, and what each change brings:
docs/decisions/siamese-method.md. Branch: siamese_network.py; pairs and objective: pairs.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from geolatents.errors import TrainingError
from geolatents.files import atomic_path
from geolatents.labels.sets import read_covers
from geolatents.learning.checkpoints import Checkpoints
from geolatents.learning.devices import scope_of
from geolatents.learning.fit import (
    TrainingState,
    adamw,
    cosine_schedule,
    fit,
    scaled_for,
    seed_everything,
    write_history,
)
from geolatents.learning.metrics import macro_ap
from geolatents.learning.precision import chosen_precision
from geolatents.learning.prepare import LabelledTiles, TrainingOrder, read_order, read_tiles
from geolatents.olr.classifier import save_model
from geolatents.olr.gate import reason_to_refuse, write_refusal
from geolatents.olr.pairs import (
    EvaluationPairs,
    PairErrors,
    descriptors,
    likeness_followed,
    pair_batches,
    siamese_objective,
)
from geolatents.olr.predict import (
    Floats,
    check_bands,
    load_model,
    predict_arrays,
    scorer,
    write_predictions,
)
from geolatents.olr.refine import refine_directions
from geolatents.olr.samples import read_predictions
from geolatents.olr.siamese_network import (
    SCORES,
    PrototypeScores,
    build_siamese,
    copied_weights,
    flat_outputs,
    split_outputs,
)
from geolatents.settings.models import Classifier, Siamese
from geolatents.stores import new_store, use_fast_codecs, write_array, write_strings


def train_siamese(
    settings: Siamese,
    teacher_settings: Classifier,
    seed: int,
    teacher: Path,
    stores: Sequence[Path],
    labels: Path,
    split: Path,
    order: Path,
    model: Path,
    history: Path,
    predictions: Path,
    embeddings: Path,
    *,
    covers: Sequence[Path] = (),
    teacher_predictions: Path | None = None,
    checkpoints: Checkpoints | None = None,
    strategy: tf.distribute.Strategy | None = None,
) -> None:
    """Train a Siamese network on a classifier and embed every labelled tile.

    Args:
        settings: The Siamese network.
        teacher_settings: Its classifier's settings.
        seed: Seed of weights, pairs and rectangles.
        teacher: The classifier's ``model.keras``.
        stores: Tile stores of the dataset.
        labels: Label set of the classifier.
        split: Split.
        order: Batch order.
        model: ``model.keras`` to write, in ``{name}/seed-{n}``: from raw tiles to
            ``{"embedding": (tile, label, k), "scores": (tile, label)}``.
        history: CSV to write: epoch, loss, validation_mse, validation_r2, validation_likeness,
            validation_macro_ap, learning_rate, seconds.
        predictions: Zarr store to write, with the scores of the labels. Its attribute ``pairs`` has mse,
            rank1_mse, constant_mse, zero_mse and r2 on pairs of the test part.
        embeddings: Zarr store to write: ids, ``embeddings (tile, label, k)`` float32, and ``prototypes
            (label, k)`` where the method has them.
        covers: Cover stores of the dataset, for ``within: cover``.
        teacher_predictions: The classifier's predictions, by which a weak teacher is refused: then all
            outputs say ``status: refused`` and why. None: any teacher will do.
        checkpoints: Where an interrupted training goes on; deleted when all is written.
        strategy: Devices to train on, as :func:`geolatents.learning.devices.use_devices` gives them.

    Raises:
        TrainingError: Teacher, tiles, labels, split and order do not fit together, there are too
            few tiles for pairs, or training diverged.
        TrainingStopped: A signal asked for it; the state is saved.
    """
    attributes = {
        "dataset": teacher_settings.dataset,
        "model": model.parent.parent.name,
        "kind": settings.kind,
        "teacher": settings.teacher,
        "seed": seed,
    }
    if teacher_predictions is not None and settings.weak_teacher == "refuse":
        judged = read_predictions(teacher_predictions)
        reason = reason_to_refuse(judged, seed)
        if reason is not None:
            write_refusal(
                reason,
                judged,
                {"classes": judged.classes, **attributes},
                k=settings.k,
                model=model,
                history=history,
                predictions=predictions,
                embeddings=embeddings,
            )
            return
    tiles = read_tiles(stores, labels, split)
    described = descriptors(settings, tiles.labels, _cover_of(tiles, covers))
    with scope_of(strategy):
        known = load_teacher(teacher, tiles)
        student, state = fit_siamese(
            settings, seed, known, tiles, read_order(order, tiles), described, checkpoints
        )
    if settings.method == "polar" and settings.within != "probability" and settings.refine_steps:
        refine_directions(student, known, settings, tiles, described, seed)
    with atomic_path(model) as part:
        save_model(student, part)
    write_history(state.rows, history)
    vectors, scores = embed(student, tiles, settings.test_time_flips)
    errors = EvaluationPairs(settings, seed, known, tiles, described, "test").errors(student)
    write_predictions(
        predictions,
        ids=tiles.ids,
        part=tiles.part,
        scores=scores,
        targets=tiles.labels,
        attributes={
            "classes": tiles.classes,
            **attributes,
            "best_epoch": state.best_epoch,
            "pairs": _pair_figures(errors),
        },
    )
    _write_embeddings(embeddings, tiles, vectors, student)
    if checkpoints is not None:
        checkpoints.clear()


def fit_siamese(
    settings: Siamese,
    seed: int,
    teacher: keras.Model,
    tiles: LabelledTiles,
    order: TrainingOrder,
    described: npt.NDArray[np.float32],
    checkpoints: Checkpoints | None = None,
) -> tuple[keras.Model, TrainingState]:
    """Train on tiles that are open already.

    Args:
        settings: The Siamese network.
        seed: Seed of weights, pairs and rectangles.
        teacher: Classifier from raw tiles to probabilities ``(tile, label)``.
        tiles: Labelled tiles.
        order: Batches.
        described: What the likeness of tiles is computed from, (tile, column).
        checkpoints: Where an interrupted training goes on.

    Returns:
        The student, from raw tiles to vectors and scores, with its best weights; the state.
    """
    derived = seed_everything(seed, settings.deterministic, "siamese")
    precision = chosen_precision(settings.precision)
    student = build_siamese(settings, tiles.images.shape, teacher, tiles.images.bands, precision)
    prevalence = tiles.labels[tiles.of("train")].mean(axis=0)
    state = fit(
        student,
        siamese_objective(student, teacher, settings, derived, prevalence),
        _optimizer(settings, student, teacher, order.steps(settings.epochs), precision),
        partial(pair_batches, tiles, order, described, settings, derived),
        epochs=settings.epochs,
        steps_per_epoch=len(order.rows(0)),
        validate=_validation(settings, seed, student, teacher, tiles, described),
        monitor="validation_r2" if settings.within == "probability" else "validation_likeness",
        checkpoints=checkpoints,
        what="siamese",
    )
    return student, state


def embed(student: keras.Model, tiles: LabelledTiles, flips: bool) -> tuple[Floats, Floats]:
    """Vectors ``(tile, label, k)`` and scores ``(tile, label)`` of all labelled tiles."""
    function = scorer(flat_outputs(student), flips)
    flat = predict_arrays(function, tiles.images, tiles.positions, "embedding")
    return split_outputs(flat, len(tiles.classes))


def load_teacher(teacher: Path, tiles: LabelledTiles) -> keras.Model:
    """Read the classifier and check that it knows these bands and labels.

    Raises:
        TrainingError: Bands or number of labels differ.
    """
    model = load_model(teacher)
    check_bands(model, tiles.images.bands, teacher)
    if model.output_shape[-1] != len(tiles.classes):
        raise TrainingError(
            "the teacher has other labels",
            where=teacher,
            expected=f"{len(tiles.classes)} labels",
            found=f"{model.output_shape[-1]} labels",
            fix="rerun the classifier",
        )
    model.trainable = False
    return model


def _optimizer(
    settings: Siamese, student: keras.Model, teacher: keras.Model, steps: int, precision: str
) -> keras.optimizers.Optimizer:
    if settings.optimizer == "rmsprop":
        rate = cosine_schedule(settings.learning_rate, steps)
        return scaled_for(keras.optimizers.RMSprop(rate), precision)
    return adamw(
        settings.learning_rate,
        settings.weight_decay,
        "cosine",
        steps,
        precision,
        _slower(settings, student, teacher),
        settings.average,
    )


def _slower(settings: Siamese, student: keras.Model, teacher: keras.Model) -> dict[str, float]:
    if settings.trunk_rate == 1:
        return {}
    return dict.fromkeys(copied_weights(student, teacher), settings.trunk_rate)


def _validation(
    settings: Siamese,
    seed: int,
    student: keras.Model,
    teacher: keras.Model,
    tiles: LabelledTiles,
    described: npt.NDArray[np.float32],
) -> Callable[[], Mapping[str, float]]:
    pairs = EvaluationPairs(settings, seed, teacher, tiles, described, "validation")
    rows = tiles.of("validation")
    function = scorer(flat_outputs(student))

    def validate() -> Mapping[str, float]:
        errors = pairs.errors(student)
        flat = np.nan_to_num(predict_arrays(function, tiles.images, tiles.positions[rows], ""))
        vectors, scores = split_outputs(flat, len(tiles.classes))
        return {
            "validation_mse": errors.mse,
            "validation_r2": errors.r2,
            "validation_likeness": likeness_followed(settings, vectors, described[rows]),
            "validation_macro_ap": macro_ap(tiles.labels[rows], scores),
        }

    return validate


def _cover_of(tiles: LabelledTiles, covers: Sequence[Path]) -> npt.NDArray[np.float32] | None:
    """Cover (tile, class) of the labelled tiles; None without stores."""
    if not covers:
        return None
    found = read_covers(covers)
    row_of = {name: row for row, name in enumerate(found.ids.tolist())}
    missing = [name for name in tiles.ids.tolist() if name not in row_of]
    if missing:
        raise TrainingError(
            f"{len(missing)} labelled tiles have no cover, such as {missing[0]!r}",
            where=covers[0],
            fix="rerun the cover: it belongs to other tiles",
        )
    rows = [row_of[name] for name in tiles.ids.tolist()]
    return np.asarray(found.cover[rows], np.float32)


def _pair_figures(errors: PairErrors) -> dict[str, float | None]:
    return {**asdict(errors), "r2": errors.r2 if np.isfinite(errors.r2) else None}


def _write_embeddings(
    path: Path, tiles: LabelledTiles, vectors: Floats, student: keras.Model
) -> None:
    use_fast_codecs()
    head = student.get_layer(SCORES)
    with new_store(path, {"classes": tiles.classes}) as group:
        write_strings(group, "ids", tiles.ids, "tile")
        write_array(group, "embeddings", vectors, ("tile", "label", "k"))
        if isinstance(head, PrototypeScores):
            prototypes = keras.ops.convert_to_numpy(head.prototypes)
            write_array(group, "prototypes", prototypes, ("label", "k"))
