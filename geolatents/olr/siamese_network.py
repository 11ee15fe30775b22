"""The Siamese network's branch: from a tile to one vector and one score per label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from geolatents.learning.networks import standardisation, standardised, tile_input
from geolatents.learning.precision import Precision
from geolatents.learning.stages import last_maps
from geolatents.settings.models import Siamese

EMBEDDING, SCORES = "embedding", "scores"

SHORT_START = 0.01
"""Scale of the variance of vectors' first weights."""

HIDDEN, DROPOUT, DIRECTIONS = "hidden", "hidden_dropout", "directions"
"""First, second and last layer of what makes directions of the features of all stages."""

HIDDEN_UNITS, HIDDEN_DROPOUT = 256, 0.5

PROTOTYPE_SLOPE, PROTOTYPE_OFFSET = 10.0, -4.0
"""Start of a prototype's logit as a function of its product with the vector: half-way at 0.4."""


@keras.saving.register_keras_serializable(package="geolatents")
class PrototypeScores(keras.layers.Layer):  # type: ignore[misc]
    """Score of a label: a logistic function of the product of its vector with a learned prototype."""

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Make prototypes ``(label, k)``, slopes and offsets ``(label,)``."""
        n_labels, k = input_shape[-2:]
        self.prototypes = self.add_weight(
            shape=(n_labels, k), initializer="glorot_uniform", name="prototypes"
        )
        constant = keras.initializers.Constant
        self.slopes = self.add_weight(
            shape=(n_labels,), initializer=constant(PROTOTYPE_SLOPE), name="slopes"
        )
        self.offsets = self.add_weight(
            shape=(n_labels,), initializer=constant(PROTOTYPE_OFFSET), name="offsets"
        )

    def call(self, vectors: Any) -> Any:
        """Scores ``(tile, label)`` of ``vectors (tile, label, k)``."""
        length = keras.ops.norm(self.prototypes, axis=-1, keepdims=True)
        product = keras.ops.sum(vectors * self.prototypes / (length + 1e-6), axis=-1)
        return keras.ops.sigmoid(self.slopes * product + self.offsets)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """``(tile, label)``."""
        return input_shape[:-1]


@keras.saving.register_keras_serializable(package="geolatents")
class LengthScores(keras.layers.Layer):  # type: ignore[misc]
    """Score of a label: the length of its vector, at most 1.

    Where <z_i(x), z_i(x)> tends to p_i(x)^2, the length is the network's estimate of p_i(x).
    """

    def call(self, vectors: Any) -> Any:
        """Scores ``(tile, label)`` of ``vectors (tile, label, k)``."""
        squares = keras.ops.sum(keras.ops.square(vectors), axis=-1)
        return keras.ops.minimum(keras.ops.sqrt(keras.ops.maximum(squares, 1e-12)), 1.0)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """``(tile, label)``."""
        return input_shape[:-1]


def build_siamese(
    settings: Siamese,
    shape: Sequence[int],
    teacher: keras.Model,
    bands: Sequence[str] = (),
    precision: Precision = "float32",
) -> keras.Model:
    """The branch that both tiles of a pair go through.

    Args:
        settings: Method, trunk and k.
        shape: ``(y, x, band)`` of the tiles.
        teacher: Classifier that gives the number of labels, the band statistics, and the start of a
            trunk that is its copy.
        bands: Band names.
        precision: Keras dtype policy of the convolutions of a trunk of its own.

    Returns:
        Model from raw tiles to float32 ``{"embedding": (tile, label, k), "scores": (tile, label)}``.
    """
    heads = {"polar": _polar, "prototype": _prototype, "predecessor": _predecessor}
    trunk = (
        _copied_trunk(teacher)
        if settings.trunk == "teacher"
        else _own_trunk(settings, shape, teacher, bands, precision)
    )
    embedding, scores = heads[settings.method](trunk, settings, teacher, precision)
    return keras.Model(trunk.input, {EMBEDDING: embedding, SCORES: scores}, name="siamese")


def copied_weights(student: keras.Model, teacher: keras.Model) -> set[str]:
    """Paths of the weights that began as those of the teacher: the layers of its names."""
    names = {layer.name for layer in teacher.layers}
    return {w.path for layer in student.layers if layer.name in names for w in layer.weights}


def one_output(model: keras.Model, name: str) -> keras.Model:
    """The same branch, weights shared, with one of its two outputs."""
    return keras.Model(model.input, model.output[name], name=f"{model.name}-{name}")


def flat_outputs(model: keras.Model) -> keras.Model:
    """The same branch with vectors and scores side by side, ``(tile, label * k + label)``."""
    flat = keras.layers.Flatten(dtype="float32")(model.output[EMBEDDING])
    both = keras.layers.Concatenate(dtype="float32")([flat, model.output[SCORES]])
    return keras.Model(model.input, both, name=f"{model.name}-flat")


def split_outputs(flat: Any, n_labels: int) -> tuple[Any, Any]:
    """Vectors ``(tile, label, k)`` and scores ``(tile, label)`` of what :func:`flat_outputs` gives."""
    vectors, scores = flat[:, :-n_labels], flat[:, -n_labels:]
    return vectors.reshape(len(flat), n_labels, -1), scores


def _copied_trunk(teacher: keras.Model) -> keras.Model:
    """The teacher up to what its output layer sees; it keeps its own arithmetic and normalisation."""
    copy = keras.models.clone_model(teacher)
    copy.set_weights(teacher.get_weights())
    copy.trainable = True
    for layer in copy.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False  # its statistics too: two views and occlusion would change them
    return keras.Model(copy.input, copy.get_layer("logits").input)


def _own_trunk(
    settings: Siamese,
    shape: Sequence[int],
    teacher: keras.Model,
    bands: Sequence[str],
    precision: Precision,
) -> keras.Model:
    """Pairs of 'same' 3x3 convolutions (ReLU) with maximum pooling, as the predecessor's."""
    layer = standardisation(teacher)
    policy = keras.DTypePolicy(precision)
    inputs = tile_input(shape, layer.mean, layer.std)
    x = standardised(inputs, layer.mean, layer.std, bands)
    for width in settings.widths:
        for _ in range(2):
            x = _relu_convolution(x, width, policy)
        x = keras.layers.MaxPooling2D(2, padding="same", dtype=policy)(x)
    return keras.Model(inputs, x)


def _polar(trunk: keras.Model, settings: Siamese, teacher: keras.Model, precision: Any) -> Any:
    """z_i = s_i u_i: the score s_i starts as the teacher's, u_i has length 1."""
    features = _pooled(trunk.output)
    last = teacher.get_layer("logits")
    logits = keras.layers.Dense(last.units, dtype="float32", name="logits")
    scores = keras.layers.Activation("sigmoid", dtype="float32", name=SCORES)(logits(features))
    if settings.trunk == "teacher":
        logits.set_weights(last.get_weights())
    hidden = keras.layers.Dense(HIDDEN_UNITS, "relu", dtype="float32", name=HIDDEN)
    dropout = keras.layers.Dropout(HIDDEN_DROPOUT, dtype="float32", name=DROPOUT)
    kinds = dropout(hidden(_of_all_stages(trunk)))
    kinds = _vectors(kinds, last.units, settings.k, "kinds", "glorot_uniform")
    directions = keras.layers.UnitNormalization(dtype="float32", name=DIRECTIONS)(kinds)
    lengths = keras.layers.Reshape((last.units, 1), dtype="float32")(scores)
    return keras.layers.Multiply(dtype="float32", name=EMBEDDING)([directions, lengths]), scores


def _of_all_stages(trunk: keras.Model) -> Any:
    """Features of every stage of a trunk, (tile, channel): what scores do not need, late ones have lost.

    Maps are averaged, of the last one the maximum is taken, since what the scores see is its average. Each is centred
    and scaled on its own: features are not negative and far from zero, and all directions would start as one.
    """
    *earlier, last = last_maps(trunk)
    layers = keras.layers
    # Named, since a teacher that was read from a file may have the names that Keras would give.
    seen = [
        layers.GlobalAveragePooling2D(dtype="float32", name=f"kinds_average_{number}")(stage)
        for number, stage in enumerate(earlier, 1)
    ]
    seen += [
        layers.GlobalMaxPooling2D(dtype="float32", name="kinds_maximum")(last),
        _pooled(trunk.output),
    ]
    scaled = [
        layers.LayerNormalization(dtype="float32", name=f"kinds_scaled_{number}")(features)
        for number, features in enumerate(seen, 1)
    ]
    return layers.Concatenate(dtype="float32", name="kinds_seen")(scaled)


def _prototype(trunk: keras.Model, settings: Siamese, teacher: keras.Model, precision: Any) -> Any:
    """Signed vectors, linear in the features, and the score of a prototype per label."""
    n_labels = int(teacher.output_shape[-1])
    # Short at the start: products of untrained vectors would exceed all targets by far.
    start = keras.initializers.VarianceScaling(SHORT_START)
    vectors = _vectors(_pooled(trunk.output), n_labels, settings.k, EMBEDDING, start)
    return vectors, PrototypeScores(dtype="float32", name=SCORES)(vectors)


def _predecessor(
    trunk: keras.Model, settings: Siamese, teacher: keras.Model, precision: Any
) -> Any:
    """One convolution to N k maps, ReLU, global average pooling: vectors are not negative."""
    n_labels = int(teacher.output_shape[-1])
    x = _relu_convolution(trunk.output, n_labels * settings.k, keras.DTypePolicy(precision))
    x = keras.layers.GlobalAveragePooling2D(dtype="float32")(x)
    vectors = keras.layers.Reshape((n_labels, settings.k), dtype="float32", name=EMBEDDING)(x)
    return vectors, LengthScores(dtype="float32", name=SCORES)(vectors)


def _pooled(features: Any) -> Any:
    """Features ``(tile, channel)`` in float32."""
    if len(features.shape) == 4:
        return keras.layers.GlobalAveragePooling2D(dtype="float32")(features)
    return keras.layers.Identity(dtype="float32")(features)


def _vectors(features: Any, n_labels: int, k: int, name: str, start: Any) -> Any:
    x = keras.layers.Dense(n_labels * k, kernel_initializer=start, dtype="float32", name="vectors")(
        features
    )
    return keras.layers.Reshape((n_labels, k), dtype="float32", name=name)(x)


def _relu_convolution(x: Any, width: int, policy: keras.DTypePolicy) -> Any:
    layer = keras.layers.Conv2D(
        width, 3, padding="same", activation="relu", kernel_initializer="he_normal", dtype=policy
    )
    return layer(x)
