"""Pictures of one archive that are alike: RGB of 8 bits, or GeoTIFFs with the same bands."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import DatasetReader, MemoryFile

from geolatents.acquire.decoding import DECODE_ERRORS, undecodable
from geolatents.acquire.images.sets import (
    PICTURES,
    RGB,
    Archive,
    Pixels,
    band_positions,
    decode_rgb,
    resample,
    shortened,
)
from geolatents.errors import SceneError
from geolatents.logs import LOG, progress
from geolatents.settings.images import ImageFolder

TIFFS = frozenset({".tif", ".tiff"})

CHUNK = 256
"""Pictures decoded together."""


@dataclass(frozen=True)
class Pictures:
    """What pictures have in common, and how one is decoded.

    Attributes:
        bands: Names of the bands that are decoded.
        dtype: Type of the pixels.
        decode: Gives the pixels (y, x, band) of a file in ``size`` x ``size`` pixels.
    """

    bands: list[str]
    dtype: np.dtype[Any]
    decode: Callable[[str], Pixels]


def is_picture(name: str) -> bool:
    """Whether a file is a picture by its ending."""
    return PurePosixPath(name).suffix.lower() in PICTURES


def open_pictures(
    archive: Archive,
    first: str,
    imagery: ImageFolder,
    known_bands: Mapping[int, Sequence[str]] | None = None,
) -> Pictures:
    """Decoder of pictures that are like the first one.

    Args:
        archive: Where they lie.
        first: File whose bands and type all others must have.
        imagery: Bands and size.
        known_bands: Names by number of bands, for GeoTIFFs that do not name them.

    Raises:
        SceneError: The first cannot be decoded, or lacks a band that is wanted.
    """
    if PurePosixPath(first).suffix.lower() in TIFFS:
        with opened_tiff(archive, first) as source:
            count, dtype = source.count, np.dtype(source.dtypes[0])
            described = [text or "" for text in source.descriptions]
        if dtype != np.uint8 or count > 4:
            names = _band_names(count, described, known_bands or {})
            return _tiffs(archive, names, dtype, imagery)
    channels = band_positions(imagery.bands, RGB)

    def decode(name: str) -> Pixels:
        pixels = decode_rgb(archive.read(name), imagery.size, archive.path / name)
        return np.ascontiguousarray(pixels[..., channels])

    return Pictures([RGB[channel] for channel in channels], np.dtype("uint8"), decode)


@contextmanager
def opened_tiff(archive: Archive, name: str) -> Iterator[DatasetReader]:
    """A GeoTIFF of an archive, with or without position.

    Raises:
        SceneError: It cannot be decoded, also within the block.
    """
    content = archive.read(name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with MemoryFile(content) as memory, memory.open() as source:
                yield source
    except DECODE_ERRORS as error:
        raise undecodable(archive.path / name, error) from None


def readable_pictures(
    archive: Archive,
    files: Sequence[str],
    imagery: ImageFolder,
    known_bands: Mapping[int, Sequence[str]] | None = None,
) -> tuple[list[str], Pictures, list[str]]:
    """Files that are used, their decoder, and files that are left out since they are corrupt.

    Only ``corrupt: skip`` leaves out any, and decodes all for it; else the first corrupt one raises
    an error, here or when it is decoded.

    Raises:
        SceneError: A file cannot be decoded, or none can.
    """
    if imagery.corrupt == "error":
        return list(files), open_pictures(archive, files[0], imagery, known_bands), []
    for first in files:
        try:
            pictures = open_pictures(archive, first, imagery, known_bands)
            pictures.decode(first)
        except SceneError as error:
            LOG.debug("%s", error)
            continue
        kept, lost = _parted(files, pictures.decode)
        return kept, pictures, lost
    raise SceneError(
        "no picture can be decoded",
        where=archive.path,
        found=f"{len(files)} pictures such as {files[0]}" if files else "no pictures",
        fix="copy or download them again",
    )


def left_out(files: Sequence[str], why: str) -> list[str]:
    """What the user is told about pictures that are left out."""
    if not files:
        return []
    names = shortened(sorted(stem(name) for name in files), 20)
    return [f"{len(files)} pictures {why} and are left out: {names}"]


def stem(name: str) -> str:
    """Name of a file without folders and ending."""
    return PurePosixPath(name).stem


def _parted(files: Sequence[str], decode: Callable[[str], Pixels]) -> tuple[list[str], list[str]]:
    """Files that can be decoded, and those that cannot."""

    def is_whole(name: str) -> bool:
        try:
            decode(name)
        except SceneError as error:
            LOG.debug("%s", error)
            return False
        return True

    kept: list[str] = []
    lost: list[str] = []
    steps = range(0, len(files), CHUNK)
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        for start in progress(steps, total=len(steps), what="Decoding images", unit="chunk"):
            chunk = files[start : start + CHUNK]
            for name, whole in zip(chunk, pool.map(is_whole, chunk), strict=True):
                (kept if whole else lost).append(name)
    return kept, lost


def _band_names(
    count: int, described: Sequence[str], known: Mapping[int, Sequence[str]]
) -> list[str]:
    if all(described) and len(set(described)) == count:
        return list(described)
    return list(known.get(count, [f"band-{number}" for number in range(1, count + 1)]))


def _tiffs(
    archive: Archive, names: Sequence[str], dtype: np.dtype[Any], imagery: ImageFolder
) -> Pictures:
    channels = band_positions(imagery.bands, names)

    def decode(name: str) -> Pixels:
        with opened_tiff(archive, name) as source:
            found: npt.NDArray[Any] = source.read()
        if len(found) != len(names) or found.dtype != dtype:
            raise SceneError(
                "the image is not like the others",
                where=archive.path / name,
                expected=f"{len(names)} bands of {dtype}",
                found=f"{len(found)} bands of {found.dtype}",
                fix="leave it out, or give it a folder of its own with others like it",
            )
        return np.stack([resample(found[channel], imagery.size) for channel in channels], axis=-1)

    return Pictures([names[channel] for channel in channels], dtype, decode)
