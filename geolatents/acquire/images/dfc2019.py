"""Data Fusion Contest 2019, track 1: RGB images of WorldView-3 with a class and a height of every pixel.

Names are ``{city}_{place}_{view}_RGB.tif``; ``_CLS.tif`` holds classes of the LAS specification, ``_AGL.tif``
metres above ground. Views of one place show it from other sides and overlap, so that they belong into
one part of a split: ``groups: folder`` gives each place. The images have no position.

Source: pubgeo/dfc2019, data/README.md (names, classes, types) and track1/track1-metrics.py.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from geolatents.acquire.images.classes import DFC2019, DFC2019_UNLABELLED
from geolatents.acquire.images.pictures import left_out, opened_tiff
from geolatents.acquire.images.sets import (
    RGB,
    Archive,
    ImageSet,
    Pixels,
    band_positions,
    decode_rgb,
)
from geolatents.errors import LabelError, SceneError
from geolatents.logs import progress
from geolatents.settings.images import ImageFolder

IMAGE, CLASSES, HEIGHT = "_RGB.tif", "_CLS.tif", "_AGL.tif"


@dataclass(frozen=True)
class _File:
    """A file of one of the archives."""

    archive: Archive
    name: str

    @property
    def path(self) -> Path:
        return self.archive.path / self.name

    def read(self) -> npt.NDArray[Any]:
        """Its first band."""
        with opened_tiff(self.archive, self.name) as source:
            return np.asarray(source.read(1))


def dfc2019_images(imagery: ImageFolder, root: Path) -> ImageSet:
    """Images with the share of each class as labels, and their mean height above ground in metres.

    Unlabelled pixels count for no class. The images lie in a zip archive, a folder, or a folder of zip
    archives; those without classes (validation images) are left out with a warning.

    Raises:
        SceneError: There are no images, or one cannot be decoded.
        LabelError: An image of classes holds other codes.
    """
    archives = _archives(root / imagery.images)
    images, classes, heights = (_files(archives, end) for end in (IMAGE, CLASSES, HEIGHT))
    ids = sorted(set(images) & set(classes))
    if not ids:
        raise SceneError(
            "there are no images with classes",
            where=root / imagery.images,
            expected=f"`*{IMAGE}` and `*{CLASSES}`, in folders or zip archives",
            found=f"{len(images)} images and {len(classes)} images of classes",
            fix="correct `imagery.images`; both Train-Track1-RGB.zip and Train-Track1-Truth.zip are needed",
        )
    channels = band_positions(imagery.bands, RGB)

    def decode(position: int) -> Pixels:
        file = images[ids[position]]
        pixels = decode_rgb(file.archive.read(file.name), imagery.size, file.path)
        return np.ascontiguousarray(pixels[..., channels])

    with_height = [name for name in ids if name in heights]
    return ImageSet(
        ids=ids,
        groups=[_place(name) if imagery.groups == "folder" else "" for name in ids],
        bands=[RGB[channel] for channel in channels],
        size=(imagery.size, imagery.size),
        dtype=np.dtype("uint8"),
        nomenclature=DFC2019,
        labels=_shares([classes[name] for name in ids]),
        decode=decode,
        sha256=_sha256(
            archives,
            [
                *(images[n] for n in ids),
                *(classes[n] for n in ids),
                *(heights[n] for n in with_height),
            ],
        ),
        warnings=left_out(sorted(set(images) - set(classes)), "have no classes"),
        attributes={"height": _mean_heights(heights, ids)} if with_height else {},
    )


def _archives(path: Path) -> list[Archive]:
    """The archive or folder itself, and zip archives that lie in a folder."""
    packed = sorted(path.glob("*.zip")) if path.is_dir() else []
    return [Archive(path), *(Archive(file) for file in packed)]


def _files(archives: Sequence[Archive], ending: str) -> dict[str, _File]:
    """File of each image by its name without the ending."""
    found: dict[str, _File] = {}
    for archive in archives:
        for name in archive.names():
            if name.endswith(ending):
                key = PurePosixPath(name).name.removesuffix(ending)
                file = found.setdefault(key, _File(archive, name))
                if file.path != archive.path / name:
                    raise SceneError(
                        f"the image {key!r} is there twice",
                        found=f"{file.path} and {archive.path / name}",
                        fix="remove one of them; an archive and its unpacked copy are too much",
                    )
    return found


def _place(name: str) -> str:
    """``JAX_004`` of ``JAX_004_006``."""
    return "_".join(name.split("_")[:2])


def _shares(files: Sequence[_File]) -> npt.NDArray[np.float32]:
    """Share of each class in each image, float32 (image, class)."""
    codes = [int(item.code) for item in DFC2019.classes]
    known = np.zeros(256, dtype=bool)
    known[[*codes, DFC2019_UNLABELLED]] = True

    def share(file: _File) -> npt.NDArray[np.float32]:
        found = file.read()
        if found.dtype != np.uint8 or not known[found].all():
            raise LabelError(
                "an image of classes holds other codes",
                where=file.path,
                expected=f"uint8 of {', '.join(map(str, codes))} and {DFC2019_UNLABELLED}",
                found=found.dtype if found.dtype != np.uint8 else np.unique(found[~known[found]]),
                fix="copy or download it again",
            )
        return np.asarray(
            np.bincount(found.ravel(), minlength=256)[codes] / found.size, dtype=np.float32
        )

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        rows = progress(
            pool.map(share, files), total=len(files), what="Reading classes", unit="image"
        )
        return np.stack(list(rows))


def _mean_heights(files: dict[str, _File], ids: Sequence[str]) -> npt.NDArray[np.float32]:
    """Mean height above ground of each image in metres, NaN without any, float32 (image,)."""

    def mean(name: str) -> float:
        values = files[name].read() if name in files else np.empty(0)
        finite = values[np.isfinite(values)]
        return float(finite.mean(dtype=np.float64)) if finite.size else np.nan

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        rows = progress(pool.map(mean, ids), total=len(ids), what="Reading heights", unit="image")
        return np.fromiter(rows, dtype=np.float32, count=len(ids))


def _sha256(archives: Sequence[Archive], used: Sequence[_File]) -> str:
    """Content of all archives that give a file."""
    names = {id(archive): [f.name for f in used if f.archive is archive] for archive in archives}
    return "-".join(
        archive.sha256(names[id(archive)]) for archive in archives if names[id(archive)]
    )
