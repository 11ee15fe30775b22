"""Random changes of training tiles that suit overhead images: no direction is up.

All randomness is stateless: it depends on the seed of the step alone, never on threads or on how
far a pipeline has read ahead. Every tile of a batch is changed on its own.
"""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

from geolatents.settings.models import Augmentation

Tensor = Any  # tensorflow ships no types

MIN_AREA, MAX_AREA = 0.05, 0.3
"""Area share hidden by the occlusion of an augmentation."""

COARSE = 8
"""Cells along each side of a blurred tile."""

LONGEST_ASPECT = 2.0
"""Occluding rectangles have sides in proportions, relative to the tile's, from 1:2 to 2:1."""


def step_seed(seed: int, step: Tensor) -> Tensor:
    """Seed of a training step, ``(2,)`` int32.

    Args:
        seed: Seed of the training, any non-negative integer.
        step: Number of the step, counted over all epochs.
    """
    folded = (seed ^ (seed >> 31)) & 0x7FFFFFFF
    return tf.stack([tf.constant(folded, tf.int32), tf.cast(step, tf.int32)])


def augment(
    tiles: Tensor, labels: Tensor, settings: Augmentation, seed: Tensor, fill: Tensor
) -> tuple[Tensor, Tensor]:
    """Change a batch at random.

    Args:
        tiles: ``(tile, y, x, band)``, any numeric type, in stored units.
        labels: ``(tile, label)``, 0 or 1.
        settings: Which changes.
        seed: ``(2,)`` integer seed of this step.
        fill: ``(band,)`` value of occluded pixels, in stored units.

    Returns:
        Tiles and labels in float32, both of the given shape; labels change by mixup only.
    """
    tiles, labels = tf.cast(tiles, tf.float32), tf.cast(labels, tf.float32)
    draws = _Draws(tf.shape(tiles)[0], seed)
    tiles = _move(tiles, settings, draws)
    if settings.zoom or settings.angle:
        tiles = _warp(tiles, settings, draws)
    if settings.gain or settings.band_gain:
        tiles *= _gains(tf.shape(tiles)[-1], settings, draws)
    if settings.occlusion:
        share = draws.between(MIN_AREA, MAX_AREA) * draws.happens(settings.occlusion)
        tiles = hide(tiles, occlusion_mask(tiles, share, draws), fill)
    if settings.mixup:
        tiles, labels = _mix(tiles, labels, settings.mixup, draws)
    return tiles, labels


def occlude(tiles: Tensor, min_area: float, max_area: float, fill: Tensor, seed: Tensor) -> Tensor:
    """Hide one rectangle in every tile, wholly inside it.

    The predecessor cut its rectangle at the border: a fifth of its images lost less than 5 %.

    Args:
        tiles: ``(tile, y, x, band)``.
        min_area: Smallest hidden share of the tile's area.
        max_area: Largest hidden share. Both are kept up to half a row of pixels.
        fill: ``(band,)`` value of hidden pixels, in stored units, or tiles to take them from.
        seed: ``(2,)`` integer seed.

    Returns:
        Tiles in float32.
    """
    tiles = tf.cast(tiles, tf.float32)
    draws = _Draws(tf.shape(tiles)[0], seed)
    return hide(tiles, occlusion_mask(tiles, draws.between(min_area, max_area), draws), fill)


def blur(tiles: Tensor) -> Tensor:
    """Tiles in float32 whose colours remain and whose forms are gone: means of an eighth of the side."""
    tiles = tf.cast(tiles, tf.float32)
    height, width = tf.shape(tiles)[1], tf.shape(tiles)[2]
    coarse = tf.image.resize(tiles, [COARSE, COARSE], method="area")
    return tf.image.resize(coarse, [height, width], method="bilinear")


def hide(tiles: Tensor, mask: Tensor, fill: Tensor) -> Tensor:
    """Replace masked pixels, ``mask (tile, y, x, 1)``, by ``fill``, ``(band,)`` or tiles."""
    return tf.where(mask, tf.cast(fill, tiles.dtype), tiles)


def occlusion_mask(tiles: Tensor, share: Tensor, draws: _Draws) -> Tensor:
    """Masks ``(tile, y, x, 1)`` of one rectangle each that covers ``share (tile,)`` of its tile."""
    height, width = tf.shape(tiles)[1], tf.shape(tiles)[2]
    y_size, x_size = tf.cast(height, tf.float32), tf.cast(width, tf.float32)
    share = tf.clip_by_value(share, 0.0, 1.0)
    aspect = LONGEST_ASPECT ** draws.between(-1.0, 1.0)
    # At least `share` of the height, since the width can be the whole tile at most.
    rows = tf.clip_by_value(
        tf.round(tf.sqrt(share * aspect) * y_size),
        tf.maximum(tf.math.ceil(share * y_size), 1.0),
        y_size,
    )
    columns = tf.minimum(tf.round(share * y_size * x_size / rows), x_size)
    top = tf.floor(draws.uniform() * (y_size - rows + 1.0))
    left = tf.floor(draws.uniform() * (x_size - columns + 1.0))
    inside_y = _inside(top, rows, height)
    inside_x = _inside(left, columns, width)
    return (inside_y[:, :, None] & inside_x[:, None, :])[..., None]


class _Draws:
    """Independent uniform numbers per tile, a new vector at each call, fixed by the seed."""

    def __init__(self, n_tiles: Tensor, seed: Tensor) -> None:
        self._shape = tf.reshape(n_tiles, [1])
        self._seed = tf.cast(seed, tf.int32)
        self._used = 0

    def uniform(self) -> Tensor:
        """``(tile,)`` in [0, 1)."""
        return tf.random.stateless_uniform(self._shape, self.next_seed())

    def between(self, low: float, high: float) -> Tensor:
        """``(tile,)`` in [low, high)."""
        return low + (high - low) * self.uniform()

    def happens(self, probability: float) -> Tensor:
        """``(tile,)`` 1 with the given probability, else 0."""
        return tf.cast(self.uniform() < probability, tf.float32)

    def coin(self) -> Tensor:
        """``(tile,)`` booleans."""
        return self.uniform() < 0.5

    def next_seed(self) -> Tensor:
        """A seed of its own for the next vector."""
        self._used += 1
        return tf.random.fold_in(self._seed, self._used)


def _move(tiles: Tensor, settings: Augmentation, draws: _Draws) -> Tensor:
    """Flips, turns and shifts as one transposition and one look-up of rows and columns.

    A quarter turn is a transposition and a flip, a half turn two flips.
    """
    n_tiles, height, width = (tf.shape(tiles)[axis] for axis in range(3))
    flip_y = flip_x = tf.zeros(n_tiles, tf.bool)
    if settings.flips:
        flip_y, flip_x = draws.coin(), draws.coin()
    if settings.rotations:
        quarter, half = draws.coin(), draws.coin()
        if tiles.shape[1] is not None and tiles.shape[1] == tiles.shape[2]:
            turned = tf.transpose(tiles, [0, 2, 1, 3])
            tiles = tf.where(quarter[:, None, None, None], turned, tiles)
            flip_y = flip_y ^ quarter
        flip_y, flip_x = flip_y ^ half, flip_x ^ half
    if not (settings.flips or settings.rotations or settings.shift):
        return tiles
    rows = _indices(height, flip_y, settings.shift, draws)
    columns = _indices(width, flip_x, settings.shift, draws)
    tiles = tf.gather(tiles, rows, axis=1, batch_dims=1)
    return tf.gather(tiles, columns, axis=2, batch_dims=1)


def _indices(size: Tensor, flip: Tensor, shift: float, draws: _Draws) -> Tensor:
    """Source index ``(tile, size)`` of every row or column; edges are reflected."""
    index = tf.range(size)[None]
    if shift:
        most = tf.cast(size, tf.float32) * shift
        index += tf.cast(tf.round((2.0 * draws.uniform() - 1.0) * most), tf.int32)[:, None]
        index = size - 1 - tf.abs(size - 1 - tf.abs(index))
    return tf.where(flip[:, None], size - 1 - index, index)


def _warp(tiles: Tensor, settings: Augmentation, draws: _Draws) -> Tensor:
    """Zoom and turn around the centre of the tile, bilinear."""
    shape = tf.shape(tiles)
    most = -math.log1p(-settings.zoom)
    scale = tf.exp(draws.between(-most, most))
    radians = draws.between(-1.0, 1.0) * math.radians(settings.angle)
    cosine, sine = scale * tf.cos(radians), scale * tf.sin(radians)
    y = (tf.cast(shape[1], tf.float32) - 1.0) / 2.0
    x = (tf.cast(shape[2], tf.float32) - 1.0) / 2.0
    none = tf.zeros_like(scale)
    # Rows of the matrix from output (x, y, 1) to input (x, y).
    matrix = [cosine, -sine, x - cosine * x + sine * y, sine, cosine, y - sine * x - cosine * y]
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=tiles,
        transforms=tf.stack([*matrix, none, none], axis=1),
        output_shape=shape[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="REFLECT",
    )


def _gains(n_bands: Tensor, settings: Augmentation, draws: _Draws) -> Tensor:
    """Factors ``(tile, 1, 1, band)``."""
    gain = draws.between(1.0 - settings.gain, 1.0 + settings.gain)[:, None]
    if settings.band_gain:
        shape = tf.stack([tf.shape(gain)[0], n_bands])
        low, high = 1.0 - settings.band_gain, 1.0 + settings.band_gain
        gain *= tf.random.stateless_uniform(shape, draws.next_seed(), low, high)
    return gain[:, None, None, :]


def _mix(tiles: Tensor, labels: Tensor, beta: float, draws: _Draws) -> tuple[Tensor, Tensor]:
    """Mixup (Zhang et al. 2018): each tile with its mirror in the batch, labels in equal shares."""
    shape = tf.shape(tiles)[:1]
    first = tf.random.stateless_gamma(shape, draws.next_seed(), alpha=beta)
    second = tf.random.stateless_gamma(shape, draws.next_seed(), alpha=beta)
    own = tf.math.divide_no_nan(first, first + second)
    own = tf.maximum(own, 1.0 - own)  # the larger share is the tile's own
    wide = own[:, None, None, None]
    tiles = wide * tiles + (1.0 - wide) * tf.reverse(tiles, [0])
    labels = own[:, None] * labels + (1.0 - own[:, None]) * tf.reverse(labels, [0])
    return tiles, labels


def _inside(start: Tensor, length: Tensor, size: Tensor) -> Tensor:
    """Which of ``size`` positions lie in ``[start, start + length)``; ``(tile, size)``."""
    position = tf.range(tf.cast(size, tf.float32))[None]
    return (position >= start[:, None]) & (position < (start + length)[:, None])
