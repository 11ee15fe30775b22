"""The predecessor's Siamese network, occlusion-based latent representations: the baseline of olr.

Karatsiolis and Kamilaris 2021, as implemented by Tijdeman 2021 (appendix B): a convolutional
network gives every label its own non-negative vector z_i of k numbers; the dot product of the
vectors of two images is trained towards the product of a classifier's probabilities for that label,
with a rectangle hidden in both images. What differs from the predecessor: 'same' convolutions and
occlusion as a share of the tile's area, so that any tile size works; the learning rate falls by a
schedule instead of by hand; the best epoch on validation pairs is kept.

Scores are per label. Dot products across labels are never read: rotating the vectors of one label
changes them and leaves every training target as it was, so they are not identifiable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from geolatents.errors import TrainingError
from geolatents.files import atomic_path
from geolatents.learning.augment import occlude, step_seed
from geolatents.learning.checkpoints import Checkpoints
from geolatents.learning.devices import scope_of
from geolatents.learning.fit import (
    Objective,
    TrainingState,
    cosine_schedule,
    fit,
    read_ahead,
    scaled_for,
    seed_everything,
    write_history,
)
from geolatents.learning.networks import standardisation, standardised, tile_input
from geolatents.learning.precision import Precision, chosen_precision
from geolatents.learning.prepare import (
    Indices,
    LabelledTiles,
    TrainingOrder,
    read_order,
    read_tiles,
)
from geolatents.olr.classifier import save_model
from geolatents.olr.predict import (
    BATCH_PIXELS,
    Floats,
    check_bands,
    load_model,
    predict_arrays,
    scorer,
    write_predictions,
)
from geolatents.seeds import derived_seed, generator
from geolatents.settings.models import Classifier, Siamese
from geolatents.stores import new_store, use_fast_codecs, write_array, write_strings

MONITOR = "validation_r2"

EVALUATION_PAIRS = 512
"""Pairs of a part on which errors are measured, drawn once with their rectangles."""

EVALUATION_BATCH = 64


@dataclass(frozen=True)
class PairErrors:
    """Errors of predicted pair products, beside those of predictors that know nothing of the image.

    Attributes:
        mse: Mean squared error over pairs and labels.
        constant_mse: The same of the best constant per label, the mean of these very targets.
        zero_mse: The same of predicting 0.
    """

    mse: float
    constant_mse: float
    zero_mse: float

    @property
    def r2(self) -> float:
        """Share of the constant's error that is gone; below 0 where the constant is better."""
        return 1.0 - self.mse / self.constant_mse if self.constant_mse > 0 else float("nan")


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
            ``(tile, label, k)``.
        history: CSV to write: epoch, loss, validation_mse, validation_r2, learning_rate, seconds.
        predictions: Zarr store to write; ``scores`` are the clipped lengths of the vectors. Its
            attribute ``pairs`` has mse, constant_mse, zero_mse and r2 on pairs of the test part.
        embeddings: Zarr store to write: ids and ``embeddings (tile, label, k)`` float32.
        checkpoints: Where an interrupted training goes on; deleted when all is written.
        strategy: Devices to train on, as :func:`geolatents.learning.devices.use_devices` gives them.

    Raises:
        TrainingError: Teacher, tiles, labels, split and order do not fit together, there are too
            few tiles for pairs, or training diverged.
        TrainingStopped: A signal asked for it; the state is saved.
    """
    tiles = read_tiles(stores, labels, split)
    with scope_of(strategy):
        known = load_teacher(teacher, tiles)
        student, state = fit_siamese(
            settings, seed, known, tiles, read_order(order, tiles), checkpoints
        )
    with atomic_path(model) as part:
        save_model(student, part)
    write_history(state.rows, history)
    vectors = predict_arrays(scorer(student), tiles.images, tiles.positions, "embedding")
    errors = EvaluationPairs(settings, seed, known, tiles, "test").errors(student)
    write_predictions(
        predictions,
        ids=tiles.ids,
        part=tiles.part,
        scores=label_scores(vectors),
        targets=tiles.labels,
        attributes={
            "classes": tiles.classes,
            "dataset": teacher_settings.dataset,
            "model": model.parent.parent.name,
            "kind": settings.kind,
            "teacher": settings.teacher,
            "seed": seed,
            "best_epoch": state.best_epoch,
            "pairs": _pair_figures(errors),
        },
    )
    _write_embeddings(embeddings, tiles, vectors)
    if checkpoints is not None:
        checkpoints.clear()


def fit_siamese(
    settings: Siamese,
    seed: int,
    teacher: keras.Model,
    tiles: LabelledTiles,
    order: TrainingOrder,
    checkpoints: Checkpoints | None = None,
) -> tuple[keras.Model, TrainingState]:
    """Train on tiles that are open already.

    Args:
        settings: The Siamese network.
        seed: Seed of weights, pairs and rectangles.
        teacher: Classifier from raw tiles to probabilities ``(tile, label)``.
        tiles: Labelled tiles.
        order: Batches; each makes half as many pairs.
        checkpoints: Where an interrupted training goes on.

    Returns:
        The student, from raw tiles to ``(tile, label, k)``, with its best weights; the state.
    """
    derived = seed_everything(seed, settings.deterministic, "siamese")
    precision = chosen_precision(settings.precision)
    student = build_siamese(settings, tiles.images.shape, teacher, tiles.images.bands, precision)
    pairs = EvaluationPairs(settings, seed, teacher, tiles, "validation")
    state = fit(
        student,
        pair_objective(student, teacher, settings, derived),
        scaled_for(
            keras.optimizers.RMSprop(
                cosine_schedule(settings.learning_rate, order.steps(settings.epochs))
            ),
            precision,
        ),
        partial(order.batches, tiles),
        epochs=settings.epochs,
        steps_per_epoch=len(order.rows(0)),
        validate=lambda: _validation_figures(pairs.errors(student)),
        monitor=MONITOR,
        checkpoints=checkpoints,
        what="siamese",
    )
    return student, state


def build_siamese(
    settings: Siamese,
    shape: Sequence[int],
    teacher: keras.Model,
    bands: Sequence[str] = (),
    precision: Precision = "float32",
) -> keras.Model:
    """The branch that both images of a pair go through.

    Pairs of 'same' 3x3 convolutions (ReLU) with maximum pooling, one convolution to N k maps (ReLU,
    as the predecessor's, so that vectors are non-negative), global average pooling, reshaping.

    Args:
        settings: Widths and k.
        shape: ``(y, x, band)`` of the tiles.
        teacher: Classifier that gives the number of labels and the band statistics.
        bands: Band names.
        precision: Keras dtype policy of the convolutions.

    Returns:
        Model from raw tiles to float32 ``(tile, label, k)``.
    """
    layer = standardisation(teacher)
    n_labels = int(teacher.output_shape[-1])
    policy = keras.DTypePolicy(precision)
    inputs = tile_input(shape, layer.mean, layer.std)
    x = standardised(inputs, layer.mean, layer.std, bands)
    for width in settings.widths:
        for _ in range(2):
            x = _relu_convolution(x, width, policy)
        x = keras.layers.MaxPooling2D(2, padding="same", dtype=policy)(x)
    x = _relu_convolution(x, n_labels * settings.k, policy)
    x = keras.layers.GlobalAveragePooling2D(dtype="float32")(x)
    x = keras.layers.Reshape((n_labels, settings.k), dtype="float32", name="embedding")(x)
    return keras.Model(inputs, x, name="siamese")


def pair_objective(
    student: keras.Model, teacher: keras.Model, settings: Siamese, seed: int
) -> Objective:
    """Mean squared error of a batch: its first half paired with its second, every tile occluded.

    The teacher sees the same occluded tiles as the student, as the predecessor's did.
    """
    fill = occlusion_fill(teacher, settings)
    area = settings.occlusion

    def paired(batch: tuple[Any, ...], step: Any) -> tuple[Any, ...]:
        seeds = step_seed(seed, step)
        return halves(occlude(batch[0], area.min_area, area.max_area, fill, seeds))

    def loss(pairs: tuple[Any, ...]) -> Any:
        hidden = tf.concat(pairs, axis=0)
        products = pair_products(student(hidden, training=True))
        targets = pair_targets(tf.stop_gradient(teacher(hidden, training=False)))
        return tf.reduce_mean(tf.square(products - targets))

    return Objective(paired, loss)


def halves(values: Any) -> tuple[Any, Any]:
    """First and second half of the rows of ``(tile, ...)``; an odd last row is left out."""
    half = tf.shape(values)[0] // 2
    return values[:half], values[half : 2 * half]


def pair_products(vectors: Any) -> Any:
    """Dot product per label of each vector of the first half with one of the second half.

    Args:
        vectors: ``(tile, label, k)``; an odd last tile is left out.

    Returns:
        ``(tile // 2, label)``.
    """
    first, second = halves(vectors)
    return tf.reduce_sum(first * second, axis=-1)


def pair_targets(probabilities: Any) -> Any:
    """Product p_i(x) p_i(y) per label of the same pairs.

    Args:
        probabilities: ``(tile, label)``.

    Returns:
        ``(tile // 2, label)``.
    """
    first, second = halves(probabilities)
    return first * second


def label_scores(vectors: npt.NDArray[np.floating[Any]]) -> Floats:
    """Score per label: the length of its vector, at most 1.

    Trained as it is, <z_i(x), z_i(x)> tends to p_i(x)^2, so the length is the network's estimate of
    p_i(x); pairs of an image with itself are never trained on.

    Args:
        vectors: ``(tile, label, k)``.

    Returns:
        ``(tile, label)`` float32 in 0..1.
    """
    scores: Floats = np.clip(np.linalg.norm(vectors, axis=-1), 0.0, 1.0).astype(np.float32)
    return scores


def compare_pairs(products: Floats, targets: Floats) -> PairErrors:
    """Errors of predicted pair products, both ``(pair, label)``."""
    wanted = np.asarray(targets, np.float64)
    return PairErrors(
        mse=float(np.mean((products - wanted) ** 2)),
        constant_mse=float(np.mean((wanted.mean(axis=0) - wanted) ** 2)),
        zero_mse=float(np.mean(wanted**2)),
    )


def occlusion_fill(model: keras.Model, settings: Siamese) -> Any:
    """Value of hidden pixels per band, in stored units; ``(band,)`` float32."""
    mean = np.asarray(standardisation(model).mean, np.float32)
    return tf.constant(mean if settings.occlusion.fill == "mean" else np.zeros_like(mean))


class EvaluationPairs:
    """Fixed pairs of a part with fixed rectangles; the teacher's targets are computed once."""

    def __init__(
        self, settings: Siamese, seed: int, teacher: keras.Model, tiles: LabelledTiles, part: str
    ) -> None:
        """Draw the pairs.

        Args:
            settings: Occlusion.
            seed: Seed of pairs and rectangles.
            teacher: Classifier from raw tiles to probabilities.
            tiles: Labelled tiles.
            part: Which part.

        Raises:
            TrainingError: The part has fewer than two tiles.
        """
        self._tiles, self._occlusion = tiles, settings.occlusion
        self._fill = occlusion_fill(teacher, settings)
        self._seed = derived_seed(seed, "siamese", "pairs", part)
        self._rows = drawn_batches(tiles.of(part), tiles.images.shape, self._seed, part)
        self._student: tuple[keras.Model, Callable[[Any], Any]] | None = None
        self._targets = self._values(scorer(teacher), pair_targets)

    def errors(self, student: keras.Model) -> PairErrors:
        """Errors of a student with its present weights."""
        if self._student is None or self._student[0] is not student:
            self._student = student, scorer(student)  # traced once, weights are read at each call
        return compare_pairs(self._values(self._student[1], pair_products), self._targets)

    def _values(self, function: Callable[[Any], Any], reduce: Callable[[Any], Any]) -> Floats:
        found = [
            np.asarray(reduce(function(batch)), np.float32) for batch in read_ahead(self._hidden())
        ]
        return np.concatenate(found)

    def _hidden(self) -> Iterator[Any]:
        for number, rows in enumerate(self._rows):
            images, _ = self._tiles.take(rows)
            seed = step_seed(self._seed, tf.constant(number))
            low, high = self._occlusion.min_area, self._occlusion.max_area
            yield occlude(tf.convert_to_tensor(images), low, high, self._fill, seed)


def drawn_batches(rows: Indices, shape: Sequence[int], seed: int, part: str) -> Indices:
    """Draw batches of tiles whose halves make pairs; no tile is twice in a batch.

    Args:
        rows: Tiles of the part.
        shape: ``(y, x, band)`` of a tile, which bounds the batch.
        seed: Seed.
        part: Name of the part, for the message.

    Returns:
        ``(batch, item)``, an even number of items, at least :data:`EVALUATION_PAIRS` pairs in all.

    Raises:
        TrainingError: There are fewer than two tiles.
    """
    if len(rows) < 2:
        raise TrainingError(
            f"the {part} part has too few tiles for pairs", expected="at least 2", found=len(rows)
        )
    fitting = max(2, BATCH_PIXELS // (shape[0] * shape[1]))
    size = min(EVALUATION_BATCH, fitting, len(rows)) // 2 * 2
    random = generator(seed, "batches")
    n_batches = -(-2 * EVALUATION_PAIRS // size)
    return np.stack([random.permutation(rows)[:size] for _ in range(n_batches)])


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


def _relu_convolution(x: Any, width: int, policy: keras.DTypePolicy) -> Any:
    layer = keras.layers.Conv2D(
        width, 3, padding="same", activation="relu", kernel_initializer="he_normal", dtype=policy
    )
    return layer(x)


def _validation_figures(errors: PairErrors) -> Mapping[str, float]:
    return {"validation_mse": errors.mse, MONITOR: errors.r2}


def _pair_figures(errors: PairErrors) -> dict[str, float | None]:
    return {**asdict(errors), "r2": errors.r2 if np.isfinite(errors.r2) else None}


def _write_embeddings(path: Path, tiles: LabelledTiles, vectors: Floats) -> None:
    use_fast_codecs()
    with new_store(path, {"classes": tiles.classes}) as group:
        write_strings(group, "ids", tiles.ids, "tile")
        write_array(group, "embeddings", vectors, ("tile", "label", "k"))
