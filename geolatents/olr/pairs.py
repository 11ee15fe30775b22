"""Pairs of tiles: what the Siamese network is trained towards, and how far it gets.

For a label i, the product <z_i(x), z_i(y)> of two tiles' vectors is trained towards p_i(x) p_i(y) S(x, y):
the teacher's probabilities, as of the predecessor, times the likeness S of the two tiles. Without S the
optimum is z_i = p_i u_i with one fixed u_i, which knows nothing beyond the probability.

Products are per label. Products across labels are never read: rotating the vectors of one label changes
them and leaves every target as it was, so they are not identifiable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from geolatents.errors import TrainingError
from geolatents.learning.augment import augment, blur, occlude, step_seed
from geolatents.learning.fit import Objective, read_ahead
from geolatents.learning.networks import standardisation
from geolatents.learning.prepare import Indices, LabelledTiles, TrainingOrder
from geolatents.olr.predict import BATCH_PIXELS, Floats, scorer
from geolatents.olr.siamese_network import EMBEDDING, SCORES, one_output
from geolatents.seeds import derived_seed, generator
from geolatents.settings.models import Siamese

EVALUATION_PAIRS = 512
"""Pairs of a part on which errors are measured, drawn once with their rectangles."""

EVALUATION_BATCH = 64

MOST_FOLLOWED = 1000
"""Most tiles whose pairs are compared with their likeness."""

SMALLEST = 1e-7


@dataclass(frozen=True)
class PairErrors:
    """Errors of predicted pair products, beside those of predictors that know less.

    Attributes:
        mse: Mean squared error over pairs and labels.
        rank1_mse: The same of the products of lengths alone, times the best constant per label: what the
            rank-1 control z_i = |z_i| u_i reaches.
        constant_mse: The same of the best constant per label, the mean of these very targets.
        zero_mse: The same of predicting 0.
    """

    mse: float
    rank1_mse: float
    constant_mse: float
    zero_mse: float

    @property
    def r2(self) -> float:
        """Share of the constant's error that is gone; below 0 where the constant is better."""
        return 1.0 - self.mse / self.constant_mse if self.constant_mse > 0 else float("nan")


# ---- likeness of tiles


def descriptors(
    settings: Siamese, labels: npt.NDArray[np.uint8], cover: npt.NDArray[np.float32] | None
) -> npt.NDArray[np.float32]:
    """What the likeness of two tiles is computed from.

    Args:
        settings: ``within``.
        labels: Presence (tile, label).
        cover: Cover (tile, class) of the same tiles; needed for ``within: cover``.

    Returns:
        (tile, column).

    Raises:
        TrainingError: There is no cover.
    """
    if settings.within == "cover":
        if cover is None:
            raise TrainingError(
                "`within: cover` needs cover shares, and the dataset has presence alone",
                fix="use `within: labels`",
            )
        return np.nan_to_num(cover).astype(np.float32)
    return labels.astype(np.float32)


def likeness(settings: Siamese, first: Any, second: Any) -> Any:
    """Likeness S in 0..1 of tiles by their descriptors, the last axis; other axes broadcast.

    ``labels``: Tanimoto's share of common labels, <a, b> / (<a, a> + <b, b> - <a, b>); ``cover``: common
    share of land cover, sum of min(a, b) (1 minus Bray and Curtis's distance); ``probability``: 1.
    """
    if settings.within == "probability":
        return tf.ones_like(first[..., 0] * second[..., 0])
    if settings.within == "cover":
        return tf.reduce_sum(tf.minimum(first, second), axis=-1)
    common = tf.reduce_sum(first * second, axis=-1)
    either = tf.reduce_sum(first**2, axis=-1) + tf.reduce_sum(second**2, axis=-1) - common
    return common / tf.maximum(either, SMALLEST)


def likeness_followed(
    settings: Siamese, vectors: Floats, described: npt.NDArray[np.float32]
) -> float:
    """Correlation, over pairs of tiles, of the cosine of all their vectors with their likeness.

    Args:
        settings: ``within``.
        vectors: ``(tile, label, k)``; of many tiles, the first :data:`MOST_FOLLOWED` count.
        described: Descriptors of the same tiles (tile, column).

    Returns:
        Pearson's r; NaN where all tiles are equally alike.
    """
    flat = vectors[:MOST_FOLLOWED].reshape(min(len(vectors), MOST_FOLLOWED), -1)
    unit = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), SMALLEST)
    kept = described[:MOST_FOLLOWED]
    alike = np.asarray(likeness(settings, kept[:, None], kept[None]))
    pairs = np.triu_indices(len(flat), 1)
    cosine, wanted = (unit @ unit.T)[pairs], alike[pairs]
    if len(wanted) < 2 or not (np.ptp(cosine) and np.ptp(wanted)):
        return float("nan")
    return float(np.corrcoef(cosine, wanted)[0, 1])


# ---- batches


def pair_batches(
    tiles: LabelledTiles,
    order: TrainingOrder,
    described: npt.NDArray[np.float32],
    settings: Siamese,
    seed: int,
    epoch: int,
    start: int = 0,
) -> Iterator[tuple[npt.NDArray[Any], ...]]:
    """Batches of an epoch, some of their tiles exchanged for partners of others.

    Yields:
        Images (tile, y, x, band), labels (tile, label), descriptors (tile, column), and the position of
        each tile in the batch (tile,) int32.
    """
    partners = Partners(tiles)
    for step, rows in enumerate(order.rows(epoch)[start:], start):
        if settings.partners:
            random = generator(seed, "partners", epoch, step)
            rows = partners.exchanged(rows, settings.partners, random)
        images, labels = tiles.take(rows)
        yield images, labels, described[rows], np.arange(len(rows), dtype=np.int32)


class Partners:
    """Draws tiles that share a label with given ones, rare labels first, so that rare labels meet.

    Of tiles in random batches, one with a label of prevalence 1 % seldom meets another.
    """

    def __init__(self, tiles: LabelledTiles) -> None:
        """Index the training part by label."""
        self._labels = tiles.labels
        training = tiles.of("train")
        self._with = [training[tiles.labels[training, i] > 0] for i in range(tiles.labels.shape[1])]
        counts = np.array([max(1, len(rows)) for rows in self._with])
        self._wanted = 1.0 / counts

    def exchanged(self, rows: Indices, share: float, random: np.random.Generator) -> Indices:
        """The batch with its last tiles exchanged for partners of the first ones."""
        count = min(round(share * len(rows)), len(rows) // 2)
        mates = [self._partner(row, random) for row in rows[:count]]
        return np.concatenate([rows[: len(rows) - count], np.asarray(mates, rows.dtype)])

    def _partner(self, row: int, random: np.random.Generator) -> int:
        weights = self._labels[row] * self._wanted
        if not weights.sum():
            return int(row)
        label = random.choice(len(weights), p=weights / weights.sum())
        return int(random.choice(self._with[label]))


# ---- objective


def siamese_objective(
    student: keras.Model,
    teacher: keras.Model,
    settings: Siamese,
    seed: int,
    prevalence: npt.NDArray[np.floating[Any]],
) -> Objective:
    """Squared errors of pair products, and the cross-entropy of label scores.

    Args:
        student: The branch.
        teacher: Classifier from raw tiles to probabilities.
        settings: Pairs, views, weights.
        seed: Seed of augmentation and rectangles.
        prevalence: Share of training tiles with each label (label,), for the weights of pairs.
    """
    views = Views(settings, teacher)
    pairs = _all_pairs if settings.pairs == "all" else _half_pairs
    weigh = _pair_weights(prevalence, settings.max_weight)

    def prepare(batch: tuple[Any, ...], step: Any) -> tuple[Any, ...]:
        seeds = step_seed(seed, step)
        images, labels = augment(batch[0], batch[1], settings.augmentation, seeds, views.fill)
        rows = (*views.of(images, seeds), labels, tf.cast(batch[2], tf.float32), batch[3])
        # With halves a row is a pair, so that each of several devices gets whole pairs.
        return rows if settings.pairs == "all" else tuple(zip_halves(value) for value in rows)

    def loss(rows: tuple[Any, ...]) -> Any:
        if settings.pairs == "one":
            rows = tuple(unzip_halves(value) for value in rows)
        seen, shown, labels, described, number = rows
        out = student(seen, training=True)
        known = tf.stop_gradient(teacher(shown, training=False))
        total = pairs(settings, weigh, out[EMBEDDING], known, described, number)
        if settings.score_weight:
            wanted = (1.0 - settings.label_share) * known + settings.label_share * labels
            total += settings.score_weight * cross_entropy(wanted, out[SCORES])
        return total

    return Objective(prepare, loss)


class Views:
    """What student and teacher see of the same augmented tiles."""

    def __init__(self, settings: Siamese, teacher: keras.Model) -> None:
        """Take occlusion and views from the settings, the fill from the teacher's statistics."""
        self.fill = occlusion_fill(teacher, settings)
        self._settings = settings

    def of(self, tiles: Any, seed: Any) -> tuple[Any, Any]:
        """The student's view and the teacher's, both ``(tile, y, x, band)`` float32."""
        hidden = self._hidden(tiles, seed)
        view = self._settings.teacher_view
        if view == "same":
            return hidden, hidden
        if view == "other":
            return hidden, self._hidden(tiles, tf.random.fold_in(tf.cast(seed, tf.int32), 1 << 16))
        return hidden, tf.cast(tiles, tf.float32)

    def _hidden(self, tiles: Any, seed: Any) -> Any:
        area = self._settings.occlusion
        fill = blur(tiles) if area.fill == "blur" else self.fill
        return occlude(tiles, area.min_area, area.max_area, fill, seed)


def occlusion_fill(model: keras.Model, settings: Siamese) -> Any:
    """Value of hidden pixels per band, in stored units; ``(band,)`` float32."""
    mean = np.asarray(standardisation(model).mean, np.float32)
    return tf.constant(np.zeros_like(mean) if settings.occlusion.fill == "black" else mean)


def cross_entropy(wanted: Any, scores: Any) -> Any:
    """Mean cross-entropy of scores in 0..1 towards targets in 0..1, both ``(tile, label)``."""
    scores = tf.clip_by_value(scores, SMALLEST, 1.0 - SMALLEST)
    return -tf.reduce_mean(wanted * tf.math.log(scores) + (1 - wanted) * tf.math.log(1 - scores))


def _all_pairs(
    settings: Siamese, weigh: Any, vectors: Any, known: Any, described: Any, number: Any
) -> Any:
    """Weighted squared error over all pairs of different tiles of the batch.

    With several devices each has its rows and sees the columns of all.
    """
    others = [_of_all_devices(value) for value in (vectors, known, described, number)]
    products = tf.einsum("xik,yik->xyi", vectors, others[0])
    both = known[:, None] * others[1][None]
    targets = both * likeness(settings, described[:, None], others[2][None])[..., None]
    different = tf.cast(number[:, None] != others[3][None], tf.float32)[..., None]
    errors = different * weigh(both) * tf.square(products - targets)
    # Each row has as many pairs: a mean over rows is a mean over pairs on any number of devices.
    pairs = tf.cast(tf.maximum(tf.shape(others[0])[0] - 1, 1), tf.float32)
    return tf.reduce_mean(tf.reduce_sum(errors, axis=1) / pairs)


def _half_pairs(
    settings: Siamese, weigh: Any, vectors: Any, known: Any, described: Any, number: Any
) -> Any:
    """Weighted squared error over pairs of the first half with the second."""
    first, second = halves(known)
    both = first * second
    targets = pair_targets(settings, known, described)
    return tf.reduce_mean(weigh(both) * tf.square(pair_products(vectors) - targets))


def _pair_weights(
    prevalence: npt.NDArray[np.floating[Any]], max_weight: float
) -> Callable[[Any], Any]:
    """Weight of a pair by how surely both tiles have the label: with a mean of 1 per label.

    Pairs that have the label weigh as much as those that do not, at most ``max_weight`` each.
    """
    share = np.asarray(prevalence, np.float64) ** 2
    most = np.clip((1.0 - share) / np.maximum(share, SMALLEST), 1.0, max_weight)
    mean = 1.0 + (most - 1.0) * share
    extra, scale = (most - 1.0).astype(np.float32), (1.0 / mean).astype(np.float32)
    return lambda both: scale * (1.0 + extra * both)


def _of_all_devices(values: Any) -> Any:
    here = tf.distribute.get_replica_context()
    if here is None or here.num_replicas_in_sync == 1:
        return values
    return here.all_gather(values, axis=0)


# ---- pairs of halves


def halves(values: Any) -> tuple[Any, Any]:
    """First and second half of the rows of ``(tile, ...)``; an odd last row is left out."""
    half = tf.shape(values)[0] // 2
    return values[:half], values[half : 2 * half]


def zip_halves(values: Any) -> Any:
    """Both tiles of each pair side by side, ``(pair, 2, ...)``."""
    return tf.stack(halves(values), axis=1)


def unzip_halves(values: Any) -> Any:
    """First tiles of all pairs, then second ones, ``(tile, ...)``."""
    return tf.concat([values[:, 0], values[:, 1]], axis=0)


def pair_products(vectors: Any) -> Any:
    """Dot product per label of each vector of the first half with one of the second half.

    Args:
        vectors: ``(tile, label, k)``; an odd last tile is left out.

    Returns:
        ``(tile // 2, label)``.
    """
    first, second = halves(vectors)
    return tf.reduce_sum(first * second, axis=-1)


def pair_targets(settings: Siamese, probabilities: Any, described: Any) -> Any:
    """Targets p_i(x) p_i(y) S(x, y) of the same pairs.

    Args:
        settings: ``within``.
        probabilities: ``(tile, label)``.
        described: Descriptors ``(tile, column)``.

    Returns:
        ``(tile // 2, label)``.
    """
    first, second = halves(probabilities)
    return first * second * likeness(settings, *halves(described))[..., None]


# ---- errors on fixed pairs


def compare_pairs(products: Floats, targets: Floats, lengths: Floats) -> PairErrors:
    """Errors of predicted products, with products of lengths alone beside them; all ``(pair, label)``."""
    wanted, rank1 = np.asarray(targets, np.float64), np.asarray(lengths, np.float64)
    factor = (rank1 * wanted).sum(axis=0) / np.maximum((rank1**2).sum(axis=0), SMALLEST)
    return PairErrors(
        mse=float(np.mean((products - wanted) ** 2)),
        rank1_mse=float(np.mean((factor * rank1 - wanted) ** 2)),
        constant_mse=float(np.mean((wanted.mean(axis=0) - wanted) ** 2)),
        zero_mse=float(np.mean(wanted**2)),
    )


class EvaluationPairs:
    """Fixed pairs of a part with fixed rectangles; the teacher's targets are computed once."""

    def __init__(
        self,
        settings: Siamese,
        seed: int,
        teacher: keras.Model,
        tiles: LabelledTiles,
        described: npt.NDArray[np.float32],
        part: str,
    ) -> None:
        """Draw the pairs.

        Args:
            settings: Views and likeness.
            seed: Seed of pairs and rectangles.
            teacher: Classifier from raw tiles to probabilities.
            tiles: Labelled tiles.
            described: Descriptors of all tiles (tile, column).
            part: Which part.

        Raises:
            TrainingError: The part has fewer than two tiles.
        """
        self._settings, self._tiles, self._described = settings, tiles, described
        self._views = Views(settings, teacher)
        self._seed = derived_seed(seed, "siamese", "pairs", part)
        self._rows = drawn_batches(tiles.of(part), tiles.images.shape, self._seed, part)
        self._student: tuple[keras.Model, Callable[[Any], Any]] | None = None
        known = self._values(scorer(teacher), view=1)
        self._targets = np.concatenate(
            [
                np.asarray(pair_targets(settings, values, described[rows]), np.float32)
                for values, rows in zip(known, self._rows, strict=True)
            ]
        )

    def errors(self, student: keras.Model) -> PairErrors:
        """Errors of a student with its present weights."""
        if self._student is None or self._student[0] is not student:
            # Traced once, weights are read at each call.
            self._student = student, scorer(one_output(student, EMBEDDING))
        vectors = self._values(self._student[1], view=0)
        products = np.concatenate([np.asarray(pair_products(values)) for values in vectors])
        lengths = [np.linalg.norm(values, axis=-1, keepdims=True) for values in vectors]
        rank1 = np.concatenate([np.asarray(pair_products(values)) for values in lengths])
        return compare_pairs(products, self._targets, rank1)

    def _values(self, function: Callable[[Any], Any], view: int) -> list[Floats]:
        shown = (views[view] for views in read_ahead(self._shown()))
        return [np.asarray(function(tiles), np.float32) for tiles in shown]

    def _shown(self) -> Iterator[tuple[Any, Any]]:
        for number, rows in enumerate(self._rows):
            images, _ = self._tiles.take(rows)
            yield self._views.of(
                tf.convert_to_tensor(images), step_seed(self._seed, tf.constant(number))
            )


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
