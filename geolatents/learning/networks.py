"""Networks by name, for tiles of any size and any number of bands.

Every network takes tiles as they are stored (raw integers or floats), standardises them with the
statistics of the training tiles that it carries, and ends in float32 whatever the arithmetic.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from geolatents.learning.backbones import backbone_features
from geolatents.learning.layers import FusedBatchNormalisation, Standardise
from geolatents.learning.precision import Precision
from geolatents.settings.models import Network

SMALLEST_SIDE = 8
"""Shortest side of a tile, in pixels, that the networks accept."""

OLR_CNN_WIDTHS = ((64, 64), (64, 64), (64, 64), (128, 128), (256, 256))


def build_network(
    network: Network,
    shape: Sequence[int],
    n_labels: int,
    mean: npt.ArrayLike,
    std: npt.ArrayLike,
    *,
    bands: Sequence[str] = (),
    precision: Precision = "float32",
) -> keras.Model:
    """Build a classifier that ends in logits.

    The input is ``(tile, y, x, band)`` with free sides, so that a trained network also takes tiles
    of another size; ``shape`` is what it is checked for.

    Args:
        network: Name and sizes.
        shape: ``(y, x, band)`` of the tiles in pixels.
        n_labels: Number of labels.
        mean: Mean per band of the training tiles, in stored units.
        std: Standard deviation per band, same units.
        bands: Band names, stored with the statistics.
        precision: Keras dtype policy of all layers but the first and the last.

    Returns:
        Model from raw tiles to float32 logits ``(tile, label)``.

    Raises:
        ValueError: A side is shorter than 8 px, or the statistics do not fit the bands.
        TrainingError: The weights of a backbone cannot be used, or it cannot see such tiles.
    """
    inputs = tile_input(shape, mean, std)
    features = standardised(inputs, mean, std, bands)
    policy = keras.DTypePolicy(precision)
    if network.name == "backbone":
        features = backbone_features(features, network, shape, bands, (mean, std), policy)
    else:
        body = {"residual": _residual, "olr_cnn": _olr_cnn}[network.name]
        features = body(features, network, policy)
    logits = keras.layers.Dense(n_labels, dtype="float32", name="logits")(features)
    return keras.Model(inputs, logits, name=network.name)


def with_probabilities(model: keras.Model) -> keras.Model:
    """The same network, weights shared, with a sigmoid after its logits: what is saved."""
    probabilities = keras.layers.Activation("sigmoid", dtype="float32", name="probabilities")
    return keras.Model(model.input, probabilities(model.output), name=model.name)


def tile_input(shape: Sequence[int], mean: npt.ArrayLike, std: npt.ArrayLike) -> Any:
    """Input of raw tiles with free sides; checks what the network is built for."""
    height, width, n_bands = shape
    if min(height, width) < SMALLEST_SIDE:
        raise ValueError(f"tiles of {height} x {width} px are too small: at least {SMALLEST_SIDE}")
    for name, values in (("mean", mean), ("std", std)):
        if np.shape(values) != (n_bands,):
            raise ValueError(f"{name} has shape {np.shape(values)}, tiles have {n_bands} bands")
    return keras.Input((None, None, n_bands), name="tiles")


def standardised(
    inputs: Any,
    mean: npt.ArrayLike,
    std: npt.ArrayLike,
    bands: Sequence[str] = (),
) -> Any:
    """Put the standardisation layer behind an input."""
    layer = Standardise(
        np.asarray(mean, float).tolist(), np.asarray(std, float).tolist(), bands, name="standardise"
    )
    return layer(inputs)


def standardisation(model: keras.Model) -> Standardise:
    """The layer that holds a model's band statistics.

    Raises:
        ValueError: The model has none, so it is not one of ours.
    """
    for layer in model.layers:
        if isinstance(layer, Standardise):
            return layer
    raise ValueError(f"model {model.name!r} has no standardisation layer")


def _residual(x: Any, network: Network, policy: keras.DTypePolicy) -> Any:
    """Compact residual network (He et al. 2016, basic blocks) with global average pooling."""
    x = _conv(x, network.widths[0], policy, stride=network.stem_stride)
    x = keras.layers.ReLU(dtype=policy)(x)
    for stage, width in enumerate(network.widths):
        for block in range(network.blocks):
            x = _block(x, width, policy, stride=2 if stage and not block else 1)
    x = keras.layers.GlobalAveragePooling2D(dtype=policy)(x)
    return keras.layers.Dropout(network.dropout, dtype=policy)(x)


def _block(x: Any, width: int, policy: keras.DTypePolicy, stride: int) -> Any:
    """Two convolutions and a shortcut; the second normalisation starts at 0 (Goyal et al. 2017)."""
    shortcut = x
    if stride > 1 or x.shape[-1] != width:
        shortcut = _conv(x, width, policy, stride=stride, kernel=1)
    x = keras.layers.ReLU(dtype=policy)(_conv(x, width, policy, stride=stride))
    x = _conv(x, width, policy, scale_start="zeros")
    return keras.layers.ReLU(dtype=policy)(keras.layers.Add(dtype=policy)([x, shortcut]))


def _conv(
    x: Any,
    width: int,
    policy: keras.DTypePolicy,
    stride: int = 1,
    kernel: int = 3,
    scale_start: str = "ones",
) -> Any:
    x = keras.layers.Conv2D(
        width,
        kernel,
        stride,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        dtype=policy,
    )(x)
    # 0.9 instead of Keras' 0.99: a small dataset has some twenty steps per epoch.
    return FusedBatchNormalisation(
        momentum=0.9, epsilon=1e-3, gamma_initializer=scale_start, dtype=policy
    )(x)


def _olr_cnn(x: Any, network: Network, policy: keras.DTypePolicy) -> Any:
    """The predecessor's classifier, made size-agnostic.

    Ten 3x3 convolutions in pairs of 64, 64, 64, 128, 256 filters (ReLU, He normal), maximum pooling
    after the first four pairs, dense 2000, dropout 0.5, dense 1000 (Tijdeman 2021, appendix A).
    Deviations: 'same' instead of 'valid' convolutions, which fall to size zero below 140 px, and
    global average pooling instead of flattening, so that the dense layers fit any tile size.
    """
    for pair, widths in enumerate(OLR_CNN_WIDTHS):
        for width in widths:
            x = keras.layers.Conv2D(
                width,
                3,
                padding="same",
                activation="relu",
                kernel_initializer="he_normal",
                dtype=policy,
            )(x)
        if pair < len(OLR_CNN_WIDTHS) - 1:
            x = keras.layers.MaxPooling2D(2, padding="same", dtype=policy)(x)
    x = keras.layers.GlobalAveragePooling2D(dtype=policy)(x)
    for units, follower in itertools.zip_longest((2000, 1000), (0.5,)):
        x = keras.layers.Dense(
            units, activation="relu", kernel_initializer="he_normal", dtype=policy
        )(x)
        if follower:
            x = keras.layers.Dropout(follower, dtype=policy)(x)
    return x
