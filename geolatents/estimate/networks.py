"""Multiplications of a network's forward pass, from its settings alone; TensorFlow is not needed."""

from __future__ import annotations

from geolatents.learning.precision import processor_has_bfloat16
from geolatents.settings.models import Classifier, Decoder, Model, Network

KERNEL = 9
"""Weights of a 3 x 3 convolution per pair of channels."""

OLR_CNN = ((64, 64), (64, 64), (64, 64), (128, 128), (256, 256))
"""Filters of the predecessor's network (learning/networks.py)."""

BACKBONES = {
    "efficientnet_lite0": 7_651,
    "efficientnet_b0": 7_651,
    "vgg16": 305_856,
    "vgg19": 388_800,
    "resnet50": 76_848,
    "resnet152": 224_816,
}
"""Multiplications of published networks per pixel that they see, all parts trained or not."""

SLOWER = {"float32": 2.3, "mixed_bfloat16": 20.0}
"""How many times as long a precision takes as native bfloat16: measured with AMX, and without (docs/decisions/precision.md)."""


def multiplications(model: Model, pixels: float, bands: int) -> float:
    """Multiplications of one tile's forward pass; float32 counts as slower.

    Args:
        model: Settings of a classifier or Siamese network.
        pixels: Pixels of a tile.
        bands: Bands of a tile.
    """
    slower = _slower(model.precision)
    if not isinstance(model, Classifier):
        return slower * _pairs([(width, width) for width in model.widths], pixels, bands)
    if model.network.name == "olr_cnn":
        return slower * _pairs(OLR_CNN, pixels, bands)
    if model.network.backbone is not None:
        seen = model.network.side**2 if model.network.side else pixels
        return slower * seen * BACKBONES[model.network.backbone]
    return slower * _residual(model.network, pixels, bands)


def drawing_multiplications(settings: Decoder, pixels: float, bands: int) -> float:
    """Multiplications of a decoder's drawing of one tile.

    Args:
        settings: The decoder.
        pixels: Pixels of a tile.
        bands: Bands of a tile.
    """
    area, total = pixels, pixels * KERNEL * settings.widths[-1] * bands
    before = [settings.widths[0], *settings.widths[:-1]]
    for channels, filters in zip(before[::-1], settings.widths[::-1], strict=True):
        total += area * KERNEL * channels * filters
        area /= 4
    return _slower(settings.precision) * total


def _slower(precision: str) -> float:
    if processor_has_bfloat16() and precision in {"auto", "mixed_bfloat16"}:
        return 1.0
    return SLOWER.get(precision, SLOWER["float32"])


def _residual(network: Network, pixels: float, bands: int) -> float:
    area = pixels / network.stem_stride**2
    channels, total = network.widths[0], area * KERNEL * bands * network.widths[0]
    for stage, width in enumerate(network.widths):
        area /= 4 if stage else 1
        for _ in range(network.blocks):
            total += area * (KERNEL * channels * width + KERNEL * width**2)
            total += area * channels * width if channels != width else 0
            channels = width
    return total


def _pairs(
    widths: tuple[tuple[int, int], ...] | list[tuple[int, int]], pixels: float, bands: int
) -> float:
    """Pairs of convolutions, each halving the map."""
    total, channels, area = 0.0, bands, pixels
    for pair in widths:
        for width in pair:
            total += area * KERNEL * channels * width
            channels = width
        area /= 4
    return total
