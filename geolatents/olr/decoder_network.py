"""The decoder's network: from label embeddings, and beside it from scores, back to a tile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from geolatents.learning.layers import Standardise
from geolatents.learning.precision import Precision
from geolatents.settings.models import Decoder

SMALLEST_SPREAD = 1e-3
"""Numbers of a code that vary less are not enlarged beyond this."""


@keras.saving.register_keras_serializable(package="geolatents")
class MeanImage(keras.layers.Layer):  # type: ignore[misc]
    """Adds the mean training image, so that a decoder starts at that baseline and learns what differs."""

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Make room for the image ``(y, x, band)``."""
        self.image = self.add_weight(
            shape=tuple(input_shape[1:]), initializer="zeros", trainable=False, name="image"
        )

    def call(self, images: Any) -> Any:
        """Add it to ``images (tile, y, x, band)``."""
        return images + self.image

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The shape stays."""
        return input_shape


def build_decoder(
    settings: Decoder,
    codes: Mapping[str, npt.NDArray[np.float32]],
    mean_image: npt.NDArray[np.float32],
    precision: Precision = "float32",
) -> keras.Model:
    """Decoders from several codes of the same tiles, equal but for the code, to be trained together.

    Args:
        settings: Filters.
        codes: Per name the codes ``(tile, number)`` of the training tiles, for their mean and spread.
        mean_image: Mean of the training tiles ``(y, x, band)``, in standardised units.
        precision: Keras dtype policy of all layers but the last.

    Returns:
        Model from ``{name: (tile, number)}`` to float32 ``{name: (tile, y, x, band)}``, standardised
        units; before training every output is the mean image.
    """
    policy = keras.DTypePolicy(precision)
    inputs, outputs = {}, {}
    for name, code in codes.items():
        inputs[name] = keras.Input((code.shape[1],), name=name)
        spread = np.maximum(code.std(axis=0), SMALLEST_SPREAD)
        scaled = Standardise(code.mean(axis=0).tolist(), spread.tolist(), name=f"{name}-scaled")
        outputs[name] = _drawn(scaled(inputs[name]), settings.widths, mean_image, policy)
    return keras.Model(inputs, outputs, name="decoder")


def one_decoder(model: keras.Model, name: str) -> keras.Model:
    """The decoder from one of the codes, weights shared."""
    return keras.Model(model.input[name], model.output[name], name=f"decoder-{name}")


def _drawn(
    code: Any,
    widths: Sequence[int],
    mean_image: npt.NDArray[np.float32],
    policy: keras.DTypePolicy,
) -> Any:
    """Stages of doubling and a convolution; what is drawn beyond the tile's sides is cut off."""
    height, width, n_bands = mean_image.shape
    rows, columns = (-(-side // 2 ** len(widths)) for side in (height, width))
    start = keras.layers.Dense(
        rows * columns * widths[0], activation="relu", kernel_initializer="he_normal", dtype=policy
    )
    x = keras.layers.Reshape((rows, columns, widths[0]), dtype=policy)(start(code))
    for filters in widths:
        x = keras.layers.UpSampling2D(2, dtype=policy)(x)
        x = keras.layers.Conv2D(
            filters, 3, padding="same", activation="relu", kernel_initializer="he_normal",
            dtype=policy,
        )(x)  # fmt: skip
    last = keras.layers.Conv2D(
        n_bands, 3, padding="same", kernel_initializer="zeros", dtype="float32"
    )
    beyond = ((0, rows * 2 ** len(widths) - height), (0, columns * 2 ** len(widths) - width))
    mean = MeanImage(dtype="float32")
    drawn = mean(keras.layers.Cropping2D(beyond, dtype="float32")(last(x)))
    mean.image.assign(mean_image)
    return drawn
