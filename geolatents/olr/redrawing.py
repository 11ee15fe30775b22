"""How well tiles are redrawn from a code, beside redrawings that need no network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from geolatents.learning.prepare import Indices, LabelledTiles
from geolatents.seeds import generator

Images = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Strings = npt.NDArray[np.str_]

CHUNK_BYTES = 8 * 2**20
"""Tiles in standardised units that are held at a time."""

PCA_TILES, PCA_BYTES = 2000, 512 * 2**20
"""Most training tiles, and most bytes of them, that principal components are made of."""

DRAWS = 1000

MEAN = "mean"
"""The redrawing that all others are measured against: the mean training image."""


@dataclass(frozen=True)
class StandardTiles:
    """Tiles in standardised units: per band ``(x - mean) / std`` of the training tiles.

    Attributes:
        tiles: Labelled tiles.
        mean: Per band (band,), in stored units.
        std: Per band (band,), in stored units.
    """

    tiles: LabelledTiles
    mean: Floats
    std: Floats

    def take(self, rows: Indices) -> Images:
        """Tiles (tile, y, x, band) of the given rows; pixels without data are 0, the band's mean."""
        images = self.tiles.images.take(self.tiles.positions[rows]).astype(np.float32)
        spread = np.where(self.std > 0, self.std, 1.0)
        scaled = (images - self.mean.astype(np.float32)) / spread.astype(np.float32)
        return np.asarray(np.nan_to_num(scaled), np.float32)

    def chunks(self, rows: Indices) -> Iterator[Indices]:
        """The rows in parts that fit into memory."""
        size = max(1, CHUNK_BYTES // (4 * int(np.prod(self.tiles.images.shape))))
        return (rows[start : start + size] for start in range(0, len(rows), size))

    def mean_of(self, rows: Indices) -> Images:
        """Mean image (y, x, band) of the given rows."""
        total = np.zeros(self.tiles.images.shape, np.float64)
        for part in self.chunks(rows):
            total += self.take(part).sum(axis=0, dtype=np.float64)
        return np.asarray(total / len(rows), np.float32)


@dataclass(frozen=True)
class Components:
    """Principal components of training tiles around their mean image.

    Attributes:
        mean: Mean image (y, x, band).
        axes: Orthonormal components (component, pixel), the largest first.
        n_tiles: Training tiles that they were made of.
    """

    mean: Images
    axes: Images
    n_tiles: int

    def project(self, images: Images) -> Images:
        """Coordinates (tile, component)."""
        flat = (images - self.mean).reshape(len(images), -1)
        return np.asarray(flat @ self.axes.T, np.float32)

    def draw(self, images: Images) -> Images:
        """The images as far as the components can show them."""
        drawn = self.project(images) @ self.axes
        return np.asarray(drawn.reshape(images.shape) + self.mean, np.float32)


def principal_components(
    tiles: StandardTiles, rows: Indices, mean: Images, count: int, seed: int = 0
) -> Components:
    """Principal components of tiles, from the matrix of products between tiles (Turk and Pentland 1991).

    Args:
        tiles: Tiles.
        rows: Training tiles; where there are too many, some are drawn.
        mean: Their mean image.
        count: Wanted components; there are at most as many as tiles less one.
        seed: Seed of the draw.
    """
    most = max(2, min(PCA_TILES, PCA_BYTES // (4 * mean.size)))
    if len(rows) > most:
        rows = np.sort(generator(seed, "decoder", "pca").choice(rows, most, replace=False))
    flat = np.concatenate(
        [(tiles.take(part) - mean).reshape(len(part), -1) for part in tiles.chunks(rows)]
    )
    values, vectors = np.linalg.eigh(flat.astype(np.float64) @ flat.T)
    largest = np.argsort(values)[::-1][: min(count, len(rows) - 1)]
    largest = largest[values[largest] > 1e-9 * values.max()]
    axes = (vectors[:, largest] / np.sqrt(values[largest])).T.astype(np.float32) @ flat
    return Components(mean, axes, len(rows))


def effective_dimensions(codes: npt.NDArray[np.floating]) -> float:
    """Effective rank of codes (tile, number).

    The exponential of the entropy of their variances along principal axes (Roy and Vetterli 2007).
    """
    centred = codes - codes.mean(axis=0)
    share = np.linalg.svd(centred, compute_uv=False) ** 2
    if not share.sum():
        return 1.0
    share = share[share > 0] / share.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def errors(
    tiles: StandardTiles,
    rows: Indices,
    mean: Images,
    redrawings: Mapping[str, Callable[[Indices, Images], Images]],
    components: Components,
    counts: Mapping[str, int],
) -> dict[str, Floats]:
    """Squared errors, summed over pixels and bands, of each tile and each redrawing.

    Args:
        tiles: Tiles.
        rows: Tiles to redraw.
        mean: Mean training image.
        redrawings: Per name what gives redrawn tiles of rows and their images.
        components: Principal components.
        counts: Per name how many of them are used.

    Returns:
        Per name (tile,); :data:`MEAN` among them.
    """
    found: dict[str, list[Floats]] = {name: [] for name in (MEAN, *redrawings, *counts)}
    for part in tiles.chunks(rows):
        images = tiles.take(part)
        whole = _squares(images - mean)
        found[MEAN].append(whole)
        for name, redraw in redrawings.items():
            found[name].append(_squares(images - redraw(part, images)))
        explained = np.cumsum(components.project(images).astype(np.float64) ** 2, axis=1)
        for name, count in counts.items():
            used = min(count, explained.shape[1])
            found[name].append(whole - explained[:, used - 1] if used else whole)
    return {name: np.concatenate(values) for name, values in found.items()}


def label_set_errors(tiles: StandardTiles, train: Indices, rows: Indices, mean: Images) -> Floats:
    """Squared errors (tile,) of the mean training image of a tile's own set of labels.

    Sets that do not occur in training have the mean of all.
    """
    labels = tiles.tiles.labels
    found = np.empty(len(rows))
    sets, member = np.unique(labels[rows], axis=0, return_inverse=True)
    for number, one in enumerate(sets):
        like = train[(labels[train] == one).all(axis=1)]
        drawn = tiles.mean_of(like) if len(like) else mean
        here = np.flatnonzero(member.reshape(-1) == number)
        for part in tiles.chunks(here):
            found[part] = _squares(tiles.take(rows[part]) - drawn)
    return found


def explained(error: Floats, of_mean: Floats) -> float | None:
    """Share of the variance around the mean training image; None where there is none."""
    total = float(of_mean.sum())
    return 1.0 - float(error.sum()) / total if total > 0 else None


def gain_interval(
    better: Floats, worse: Floats, of_mean: Floats, groups: Strings, seed: int = 0
) -> list[float] | None:
    """95 % interval of the gain in explained share, from drawing groups of tiles with replacement.

    Args:
        better: Errors (tile,) of the redrawing.
        worse: Of the one that it is compared with.
        of_mean: Of the mean image.
        groups: Group of each tile.
        seed: Seed of the draws.
    """
    names, member = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        return None
    sums = [np.bincount(member, values, len(names)) for values in (worse - better, of_mean)]
    draws = generator(seed, "decoder", "gain").integers(0, len(names), (DRAWS, len(names)))
    gained, total = (values[draws].sum(axis=1) for values in sums)
    kept = total > 0
    low, high = np.quantile(gained[kept] / total[kept], [0.025, 0.975])
    return [float(low), float(high)]


def _squares(difference: Images) -> Floats:
    flat = difference.reshape(len(difference), -1)
    return np.asarray(np.einsum("ij,ij->i", flat, flat, dtype=np.float64))


def per_label(
    found: Mapping[str, Floats], targets: npt.NDArray[np.uint8], codes: list[str]
) -> dict[str, dict[str, Any]]:
    """Explained share of the tiles with each label, by redrawing."""
    shares: dict[str, dict[str, Any]] = {}
    for column, code in enumerate(codes):
        have = targets[:, column] == 1
        shares[code] = {"tiles": int(have.sum())} | {
            name: explained(error[have], found[MEAN][have])
            for name, error in found.items()
            if name != MEAN
        }
    return shares
