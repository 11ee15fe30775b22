"""Published networks as part of ours: cut before their output layers, filled from a file, frozen as far as wanted.

What a weight file was trained on enters the network too, so that it takes raw tiles like all of ours:
tiles are standardised, three bands are chosen and put into the units of the backbone, and resized.
Layers of the backbone stand in the network beside all others, under their own names.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from geolatents.errors import TrainingError
from geolatents.files import sha256_file, write_json
from geolatents.learning.layers import (
    BackboneInput,
    FusedBatchNormalisation,
    ShorterSide,
    Standardise,
)
from geolatents.learning.stages import halvings
from geolatents.learning.weights import IMAGENET, checked_weights, weights_file, where_to_get
from geolatents.settings.models import STAGES, BackboneName, Network

SMALLEST = 32
"""Shortest side, in pixels, of what a backbone sees: it halves maps five times."""

IMAGENET_MEAN, IMAGENET_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
"""Colours of ImageNet, red, green, blue in 0..255: 255 times the usual 0.485, 0.456, 0.406 and 0.229, 0.224, 0.225."""

UNITS = {
    "lite": ((0, 1, 2), (127.0,) * 3, (128.0,) * 3),
    "caffe": ((2, 1, 0), (103.939, 116.779, 123.68), (1.0,) * 3),
    "torch": ((0, 1, 2), IMAGENET_MEAN, IMAGENET_STD),
    "signed": ((0, 1, 2), (127.5,) * 3, (127.5,) * 3),
}
"""Order of red, green, blue; what is subtracted of each channel, in 0..255; and what the rest is divided by."""

OWN_UNITS = {
    "efficientnet_lite0": "lite",
    "efficientnet_b0": "torch",
    "vgg16": "caffe",
    "vgg19": "caffe",
    "resnet50": "caffe",
    "resnet152": "caffe",
}
"""Units in which each backbone was published."""

APPLICATIONS = {
    "efficientnet_b0": "EfficientNetB0",
    "vgg16": "VGG16",
    "vgg19": "VGG19",
    "resnet50": "ResNet50",
    "resnet152": "ResNet152",
}
"""Their names in Keras."""

RGB_NAMES = (("red", "green", "blue"), ("r", "g", "b"), ("b04", "b03", "b02"), ("b4", "b3", "b2"))
"""Names that bands of these colours bear."""

LITE_BLOCKS = (
    (3, 1, 16, 1, 1), (3, 2, 24, 6, 2), (5, 2, 40, 6, 2), (3, 3, 80, 6, 2), (5, 3, 112, 6, 1),
    (5, 4, 192, 6, 2), (3, 1, 320, 6, 1),
)  # fmt: skip
"""EfficientNet-B0 (Tan and Le 2019, table 1): kernel, repeats, filters, expansion, stride."""

LITE_STEM, LITE_HEAD = 32, 1280
"""Filters before and after the blocks."""

RESIZED, POOLED = "resized", "pooled"
"""Names of the layers before and after a backbone."""

BEFORE = (
    keras.layers.InputLayer, keras.layers.Identity, keras.layers.Rescaling, keras.layers.Normalization,
    Standardise, BackboneInput, ShorterSide,
)  # fmt: skip
"""Layers that only prepare images, at the beginning of a file's network; ours takes their place."""

UNREADABLE = (OSError, ValueError, TypeError, KeyError, zipfile.BadZipFile)
"""What Keras raises of a file that is not what its ending says."""

Channels = tuple[list[int], npt.NDArray[np.float64], npt.NDArray[np.float64]]


def backbone_features(
    x: Any,
    network: Network,
    shape: Sequence[int],
    bands: Sequence[str],
    statistics: tuple[npt.ArrayLike, npt.ArrayLike],
    policy: keras.DTypePolicy,
) -> Any:
    """Pooled features of a backbone.

    Args:
        x: Standardised tiles ``(tile, y, x, band)``.
        network: Backbone, weights, what is frozen.
        shape: ``(y, x, band)`` of the tiles in pixels.
        bands: Band names; may be empty.
        statistics: Mean and standard deviation per band of the training tiles, in stored units.
        policy: Arithmetic.

    Returns:
        ``(tile, feature)`` float32.

    Raises:
        TrainingError: The weights are missing, others than stated or of another architecture, or the tiles do
            not suit the backbone.
    """
    mean, std = (np.asarray(values, np.float64) for values in statistics)
    check_tiles(network, shape, bands, mean)
    channels, gain, offset = channels_of(network, bands, mean, std)
    x = BackboneInput(channels, gain.tolist(), offset.tolist(), name="backbone_input")(x)
    x = _resized(x, network.side, min(shape[:2]))
    x = _grafted(trunk_for(network), x, network, policy)
    x = keras.layers.GlobalAveragePooling2D(dtype="float32", name=POOLED)(x)
    return keras.layers.Dropout(network.dropout, dtype="float32")(x)


def trunk_of(model: keras.Model) -> keras.Model:
    """The backbone inside a network of ours, weights shared: from resized channels to its last map.

    Raises:
        ValueError: The network has no backbone.
    """
    names = {layer.name for layer in model.layers}
    if not {RESIZED, POOLED} <= names:
        raise ValueError(f"network {model.name!r} has no backbone")
    return keras.Model(model.get_layer(RESIZED).output, model.get_layer(POOLED).input)


def rate_shares(model: keras.Model, network: Network) -> dict[str, float]:
    """Share of the learning rate by path of each weight of a pretrained backbone; empty where all learn alike."""
    if network.weights is None:
        return {}
    trunk = trunk_of(model)
    stages = stages_of(trunk)
    return {
        weight.path: network.learning_rate_scale
        * network.learning_rate_decay ** (STAGES - stages[layer.name])
        for layer in trunk.layers
        for weight in layer.trainable_weights
    }


def check_weights(network: Network, output: Path) -> None:
    """Read a network's pretrained weights once, before anything is trained; Keras' own are downloaded here.

    Args:
        network: A backbone with weights.
        output: JSON to write: what the file is; trainings depend on it.

    Raises:
        TrainingError: The file is missing, another one than stated, damaged, or of another architecture.
    """
    if network.weights == IMAGENET:
        _download(network)
    file = checked_weights(network)
    trunk = read_trunk(_name(network), file)
    write_json(
        output,
        {
            "backbone": network.backbone,
            "file": file.name,
            "sha256": sha256_file(file),
            "parameters": trunk.count_params(),
            "features": trunk.output.shape[-1],
        },
    )


# ---- tiles


def check_tiles(
    network: Network,
    shape: Sequence[int],
    bands: Sequence[str],
    mean: npt.NDArray[np.floating[Any]],
    where: object = None,
) -> None:
    """Refuse tiles that a backbone cannot see.

    Args:
        network: Backbone.
        shape: ``(y, x, band)`` of the tiles.
        bands: Band names; may be empty.
        mean: Mean per band, in stored units.
        where: Where the tiles lie, for messages.

    Raises:
        TrainingError: Fewer than three bands, no red, green and blue among them, too few pixels, or
            values that are not 0..255 where `values` says so.
    """
    place = None if where is None else str(where)
    side = network.side or min(shape[:2])
    if side < SMALLEST:
        raise TrainingError(
            f"the tiles are too small for {network.backbone}",
            where=place,
            expected=f"a shorter side of {SMALLEST} px or more",
            found=f"{shape[0]} x {shape[1]} px",
            fix="resize them inside the network: `side: 64` of `network`",
        )
    chosen = rgb_bands(network, bands, shape[2], place)
    colours = np.asarray(mean, np.float64)[chosen]
    if network.values == "bytes" and not (colours.min() >= 0 and 1 < colours.max() <= 255):
        raise TrainingError(
            "the tiles are not in the units of pixels that the backbone was trained on",
            where=place,
            expected="values of 0..255",
            found="a mean of " + ", ".join(f"{value:.4g}" for value in colours),
            fix="`values: statistics` of `network`, which suits any range",
        )


def rgb_bands(
    network: Network, bands: Sequence[str], n_bands: int, where: str | None = None
) -> list[int]:
    """Positions of red, green and blue among the bands of the tiles.

    Raises:
        TrainingError: There are fewer than three bands, or these three cannot be told.
    """
    names = [str(name).lower() for name in bands]
    found = ", ".join(map(str, bands)) or f"{n_bands} without names"
    wanted = [network.rgb] if network.rgb else RGB_NAMES
    if n_bands < 3:
        raise TrainingError(
            f"{network.backbone} sees red, green and blue, and the tiles have fewer than three bands",
            where=where,
            expected="3 bands or more",
            found=found,
            fix="use the networks `residual` or `olr_cnn`, which take any bands",
        )
    for colours in wanted:
        if all(colour.lower() in names for colour in colours):
            return [names.index(colour.lower()) for colour in colours]
    if network.rgb or n_bands > 3:
        raise TrainingError(
            f"it is not clear which bands {network.backbone} is to see as red, green and blue",
            where=where,
            expected=", ".join(network.rgb) if network.rgb else "bands named red, green and blue",
            found=found,
            fix="name three of these bands in this order: `rgb: [...]` of `network`",
        )
    return [0, 1, 2]


def channels_of(
    network: Network,
    bands: Sequence[str],
    mean: npt.NDArray[np.float64],
    std: npt.NDArray[np.float64],
) -> Channels:
    """Bands, factors and offsets that put standardised tiles into a backbone's units.

    Args:
        network: Backbone.
        bands: Band names.
        mean: Mean per band of the training tiles, ``(band,)``.
        std: Standard deviation likewise; 0 counts as 1, as in :class:`Standardise`.

    Returns:
        Positions of the bands, factor and offset per channel, each ``(3,)``.
    """
    order, centre, scale = UNITS[
        OWN_UNITS[_name(network)] if network.units == "own" else network.units
    ]
    chosen = [rgb_bands(network, bands, len(mean))[colour] for colour in order]
    if network.values == "bytes":
        level, spread = mean[chosen], np.where(std > 0, std, 1.0)[chosen]
    else:
        level, spread = (np.asarray(v)[list(order)] for v in (IMAGENET_MEAN, IMAGENET_STD))
    return chosen, spread / np.asarray(scale), (level - np.asarray(centre)) / np.asarray(scale)


def _resized(x: Any, side: int | None, shorter: int) -> Any:
    if side is None:
        return keras.layers.Identity(dtype="float32", name=RESIZED)(x)
    return ShorterSide(side, antialias=shorter > side, name=RESIZED)(x)


# ---- trunks


def trunk_for(network: Network) -> keras.Model:
    """The backbone without its output layers: random, or with the weights of a file.

    Raises:
        TrainingError: As :func:`read_trunk`; or the file is missing or another one than stated.
    """
    name = _name(network)
    return (
        cut(_built(name)) if network.weights is None else read_trunk(name, checked_weights(network))
    )


def read_trunk(name: BackboneName, file: Path) -> keras.Model:
    """Read a weight file and cut its network before its output layers.

    Args:
        name: Which backbone it must be.
        file: ``.keras``, a whole network; ``.weights.h5`` or ``.h5``, weights of Keras' application of that
            name with or without its output layers.

    Returns:
        Model from three prepared channels to the last map.

    Raises:
        TrainingError: The file is damaged, or of another architecture.
    """
    is_whole = file.suffix == ".keras"
    try:
        trunk = cut(
            keras.saving.load_model(file, compile=False) if is_whole else _filled(name, file)
        )
    except UNREADABLE as error:
        raise TrainingError(
            f"the file holds no weights that {name} can take",
            where=file.absolute(),
            expected=f"a whole network as `.keras`, or weights of {name} as `.weights.h5` or `.h5`",
            found=str(error).strip().partition("\n")[0][:300],
            fix="name the `backbone` that the file is of, or another file",
        ) from None
    wanted, found = _shapes(cut(_built(name))), _shapes(trunk)
    if wanted != found:
        raise TrainingError(
            f"the file is of another architecture than {name}",
            where=file.absolute(),
            expected=_described(wanted, found),
            found=_described(found, wanted),
            fix="name the `backbone` that the file is of, or another file",
        )
    return trunk


def cut(model: keras.Model) -> keras.Model:
    """A network between what prepares images and its last map, weights shared.

    Raises:
        ValueError: It has no maps, or other networks inside.
    """
    nested = [layer.name for layer in model.layers if isinstance(layer, keras.Model)]
    if nested:
        raise ValueError(f"its layer {nested[0]!r} is a network of its own; save that one instead")
    start = model.input
    for layer in model.layers:
        if not isinstance(layer, BEFORE):
            break
        start = layer.output
    maps = [layer for layer in model.layers if _is_map(layer) and not isinstance(layer, BEFORE)]
    if not maps:
        raise ValueError("it has no layer whose output is a map")
    return keras.Model(start, maps[-1].output, name=model.name)


def stages_of(trunk: keras.Model) -> dict[str, int]:
    """Stage of each layer by name, 1 to 5: layers with weights whose maps have one size are a stage."""
    halved = halvings(trunk)
    weighted = sorted({halved[layer.name] for layer in trunk.layers if layer.weights})
    return {
        name: min(1 + sum(other < level for other in weighted), STAGES)
        for name, level in halved.items()
    }


def _grafted(trunk: keras.Model, x: Any, network: Network, policy: keras.DTypePolicy) -> Any:
    """The layers of a trunk applied to a tensor of ours, in our arithmetic, frozen as configured."""
    stages, copies = stages_of(trunk), {}
    kept = {"all": STAGES, "none": 0}.get(str(network.frozen), network.frozen)

    def copied(layer: keras.layers.Layer) -> keras.layers.Layer:
        frozen = stages.get(layer.name, STAGES) <= int(kept)
        copies[layer.name] = _copied(layer, network, policy, frozen=frozen)
        return copies[layer.name]

    keras.models.clone_model(trunk, input_tensors=x, clone_function=copied)
    for layer in trunk.layers:
        if layer.weights:
            copies[layer.name].set_weights(layer.get_weights())
    # Not the clone's output: Keras puts an input of its own before a model that begins inside another.
    return copies[trunk.layers[-1].name].output


def _copied(
    layer: keras.layers.Layer, network: Network, policy: keras.DTypePolicy, *, frozen: bool
) -> keras.layers.Layer:
    config = {**layer.get_config(), "dtype": policy, "trainable": not frozen}
    kind = type(layer)
    if issubclass(kind, keras.layers.BatchNormalization) and layer.scale and layer.center:
        kind = FusedBatchNormalisation
        config["learns_statistics"] = network.weights is None or network.statistics == "learned"
        config["momentum"] = 0.9  # as in networks.py
        config.pop("synchronized", None)
    if issubclass(kind, keras.layers.Dropout) and frozen:
        config["rate"] = 0.0
    return kind.from_config(config)


def _filled(name: BackboneName, file: Path) -> keras.Model:
    """Keras' application with the weights of a file that was saved with or without output layers."""
    model = _built(name)
    try:
        model.load_weights(file)
    except UNREADABLE as error:
        try:
            model = _built(name, with_top=True)
            model.load_weights(file)
        except UNREADABLE:
            raise error from None
    return model


def _built(name: BackboneName, *, with_top: bool = False) -> keras.Model:
    """An untrained backbone."""
    if name == "efficientnet_lite0":
        return _efficientnet_lite0(with_top=with_top)
    build: Callable[..., keras.Model] = getattr(keras.applications, APPLICATIONS[name])
    if with_top:
        return build(weights=None)
    return build(weights=None, include_top=False, input_shape=(None, None, 3))


def _efficientnet_lite0(*, with_top: bool = False) -> keras.Model:
    """EfficientNet-B0 without gates and with ReLU6 (EfficientNet-Lite, 2020): 3.4 million weights."""
    inputs = keras.Input((None, None, 3))
    x = _lite_conv(inputs, LITE_STEM, "stem", 3, 2)
    number = 0
    for kernel, repeats, filters, expansion, stride in LITE_BLOCKS:
        for repeat in range(repeats):
            x = _lite_block(
                x, filters, f"block{number}", kernel, stride if not repeat else 1, expansion
            )
            number += 1
    x = _lite_conv(x, LITE_HEAD, "head")
    if with_top:
        x = keras.layers.GlobalAveragePooling2D(name="gap")(x)
        x = keras.layers.Dense(1000, name="fc")(x)
    return keras.Model(inputs, x, name="efficientnet_lite0")


def _lite_block(x: Any, filters: int, name: str, kernel: int, stride: int, expansion: int) -> Any:
    shortcut = x
    if expansion > 1:
        x = _lite_conv(x, expansion * x.shape[-1], f"{name}_expand")
    x = keras.layers.DepthwiseConv2D(
        kernel, stride, padding="same", use_bias=False, name=f"{name}_depthwise"
    )(x)
    x = _lite_norm(x, f"{name}_depthwise")
    x = _lite_conv(x, filters, f"{name}_project", activated=False)
    same = stride == 1 and shortcut.shape[-1] == filters
    return keras.layers.Add(name=f"{name}_add")([x, shortcut]) if same else x


def _lite_conv(
    x: Any, filters: int, name: str, kernel: int = 1, stride: int = 1, *, activated: bool = True
) -> Any:
    x = keras.layers.Conv2D(
        filters,
        kernel,
        stride,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=name,
    )(x)
    return _lite_norm(x, name, activated=activated)


def _lite_norm(x: Any, name: str, *, activated: bool = True) -> Any:
    x = keras.layers.BatchNormalization(epsilon=1e-3, name=f"{name}_bn")(x)
    return keras.layers.ReLU(6.0, name=f"{name}_relu")(x) if activated else x


def _download(network: Network) -> None:
    file = weights_file(network)
    if file is None or file.is_file():
        return
    build = getattr(keras.applications, APPLICATIONS[_name(network)])
    try:
        build(weights="imagenet", include_top=False, input_shape=(None, None, 3))
    except Exception as error:  # Keras raises a bare Exception where it cannot download
        raise TrainingError(
            f"Keras could not download its weights of {network.backbone}",
            where=file,
            found=str(error).strip().partition("\n")[0][:300],
            fix=where_to_get(network),
        ) from None


def _name(network: Network) -> BackboneName:
    if network.backbone is None:
        raise ValueError("the network is no backbone")
    return network.backbone


def _is_map(layer: keras.layers.Layer) -> bool:
    return len(getattr(layer.output, "shape", ())) == 4


def _shapes(trunk: keras.Model) -> list[tuple[int, ...]]:
    return [tuple(weight.shape) for weight in trunk.weights]


def _described(shapes: list[tuple[int, ...]], other: list[tuple[int, ...]]) -> str:
    """A network in words, with its first weight that differs from another one's."""
    size = f"{len(shapes)} weights, {sum(map(math.prod, shapes)):,} numbers"
    first = next(_different(shapes, other), None)
    return f"{size}; weight {first} of shape {shapes[first]}" if first is not None else size


def _different(shapes: list[tuple[int, ...]], other: list[tuple[int, ...]]) -> Iterator[int]:
    for number, shape in enumerate(shapes):
        if number >= len(other) or other[number] != shape:
            yield number
