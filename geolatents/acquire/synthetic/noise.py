"""Smooth random fields and hashes: the raw material of terrain, parcels and textures."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.fft

Field = npt.NDArray[np.float32]


def smooth_noise(
    generator: np.random.Generator, size: int, wavelength: float, steepness: float = 3.0
) -> Field:
    """Isotropic random field by spectral synthesis (Voss 1985), periodic at its edges.

    Args:
        generator: Source of the white noise.
        size: Side in cells.
        wavelength: Cells of the longest waves that carry weight; shorter ones fade as a power law.
        steepness: Exponent of that law: 2 is rugged, 4 is rolling.

    Returns:
        Field ``(size, size)`` with mean 0 and deviation 1.
    """
    white = scipy.fft.rfft2(generator.standard_normal((size, size), dtype=np.float32))
    rows = np.fft.fftfreq(size).astype(np.float32)[:, None]
    columns = np.fft.rfftfreq(size).astype(np.float32)[None, :]
    frequency = np.hypot(rows, columns) * wavelength
    # Waves much longer are damped too: each part of a region shall have every class.
    weight = frequency**2 / (1 + frequency**2) * (1 + frequency**2) ** (-steepness / 2)
    return standardised(scipy.fft.irfft2(white * weight, s=(size, size)))


def standardised(values: npt.NDArray[np.floating]) -> Field:
    """Values with mean 0 and deviation 1."""
    spread = float(values.std())
    scaled: Field = ((values - values.mean()) / max(spread, 1e-12)).astype(np.float32)
    return scaled


def quantiles(values: Field, among: npt.NDArray[np.bool_]) -> Field:
    """Rank of each value, 0 to 1, within the distribution of the chosen cells."""
    sample: Field = np.sort(values[among])
    if sample.size == 0:
        return np.zeros_like(values)
    # A thousand support points are exact enough and much faster than ranking every cell.
    support = sample[np.linspace(0, sample.size - 1, 1000).astype(int)]
    ranks = np.interp(values.ravel(), support, np.linspace(0, 1, 1000))
    return ranks.reshape(values.shape).astype(np.float32)


def hashed(*keys: npt.NDArray[np.integer] | int) -> Field:
    """Uniform numbers 0 to 1 from integer keys (finaliser of SplitMix64, Steele et al. 2014)."""
    state = np.uint64(0x9E3779B97F4A7C15)
    mixed: npt.NDArray[np.uint64] = np.zeros(1, np.uint64)
    with np.errstate(over="ignore"):
        for key in keys:
            mixed = (mixed ^ np.asarray(key).astype(np.int64).view(np.uint64)) * state
            mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            mixed ^= mixed >> np.uint64(27)
    return ((mixed >> np.uint64(40)).astype(np.float32)) / np.float32(2**24)
