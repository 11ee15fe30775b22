"""BigEarthNet: one folder per patch with a GeoTIFF per Sentinel-2 band and a JSON of labels.

Sources: Sumbul et al. 2019, "BigEarthNet: a large-scale benchmark archive for remote sensing image
understanding"; Sumbul et al. 2021, "BigEarthNet-MM", table 1, for the 19 classes.
"""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

from geolatents.acquire.decoding import DECODE_ERRORS, undecodable
from geolatents.acquire.images import Archive, ImageSet, resample
from geolatents.errors import LabelError, SceneError
from geolatents.nomenclature import LandClass, Nomenclature, corine
from geolatents.settings.images import ImageFolder

BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
"""Sentinel-2 bands of level 2A by wavelength; B10 is not part of it."""

METADATA = "_labels_metadata.json"


@cache
def bigearthnet19() -> Nomenclature:
    """The 19 classes, ordered by the first CORINE code of each; their names are their codes."""
    first: dict[str, LandClass] = {}
    for item in corine().classes:
        if item.bigearthnet19:
            first.setdefault(item.bigearthnet19, item)
    return Nomenclature(
        "bigearthnet19",
        tuple(
            LandClass(name, name, item.colour, level1=item.level1) for name, item in first.items()
        ),
    )


def label_indices(names: Sequence[str], nomenclature: Nomenclature, where: str | Path) -> list[int]:
    """Positions of label names; spellings may differ in case, plural, spaces and punctuation.

    BigEarthNet writes ``Peatbogs`` and ``Transitional woodland/shrub`` where CORINE's legend has
    ``Peat bogs`` and ``Transitional woodland-shrub``.

    Raises:
        LabelError: A name is of no class.
    """
    known = {_letters(item.name): position for position, item in enumerate(nomenclature.classes)}
    for name in names:
        if _letters(name) not in known:
            raise LabelError(
                f"{name!r} is no class of {nomenclature.name!r}",
                where=where,
                expected=", ".join(nomenclature.names),
                fix="choose the key that fits with `imagery.labels_key`",
            )
    return [known[_letters(name)] for name in names]


def bigearthnet_images(imagery: ImageFolder, root: Path) -> ImageSet:
    """Patches of a folder or archive, all bands on one grid of ``size`` pixels squared.

    With ``groups: folder`` the group is the acquisition (``S2A_MSIL2A_20170613T101031``), which
    neighbouring patches share. Patches without the wanted labels are left out with a warning.

    Raises:
        SceneError: There are no patches, or a band is missing.
        LabelError: The labels are missing, or one is not of the nomenclature.
    """
    archive = Archive(root / imagery.images)
    files = set(archive.names())
    patches = _patches(files, archive.path)
    bands = _bands(imagery, patches, files, archive.path)
    nomenclature = bigearthnet19() if imagery.labels_key == "labels_19" else corine()
    found, digest = _read_labels(archive, patches, imagery.labels_key, nomenclature)
    ids = sorted(found)
    labels = np.zeros((len(ids), len(nomenclature)), dtype=np.uint8)
    for row, patch in enumerate(ids):
        labels[row, found[patch]] = 1

    def decode(position: int) -> npt.NDArray[np.uint16]:
        base = patches[ids[position]]
        layers = [_decode_band(archive, f"{base}_{band}.tif", imagery.size) for band in bands]
        return np.stack(layers, axis=-1)

    return ImageSet(
        ids=ids,
        groups=[_acquisition(patch) if imagery.groups == "folder" else "" for patch in ids],
        bands=bands,
        size=(imagery.size, imagery.size),
        dtype=np.dtype("uint16"),
        nomenclature=nomenclature,
        labels=labels,
        decode=decode,
        sha256=f"{archive.sha256([f'{patches[p]}_{b}.tif' for p in ids for b in bands])}-{digest}",
        warnings=_warnings(len(patches), labels, imagery.labels_key),
    )


def _letters(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.lower()).rstrip("s")


def _acquisition(patch: str) -> str:
    return "_".join(patch.split("_")[:3])


def _patches(files: set[str], where: Path) -> dict[str, str]:
    """Path of each patch up to its ``_B02.tif`` by its name."""
    bases = {name.removesuffix(METADATA) for name in files if name.endswith(METADATA)}
    images = {match[1] for name in files if (match := re.match(r"(.+)_B\w\w\.tif$", name))}
    if not bases & images:
        raise SceneError(
            "there are no BigEarthNet patches",
            where=where,
            expected=f"a folder per patch with `*_B02.tif`, ... and `*{METADATA}`",
            fix="correct `imagery.images` or `imagery.layout`",
        )
    for problem, odd in (("no labels", images - bases), ("no bands", bases - images)):
        if odd:
            raise SceneError(
                f"{len(odd)} patches have {problem}",
                where=where / sorted(odd)[0],
                expected=f"`*_B02.tif`, ... and `*{METADATA}`",
                fix="copy or download them again, or remove their folders",
            )
    patches = {PurePosixPath(base).name: base for base in sorted(bases)}
    if len(patches) < len(bases):
        raise SceneError("a patch occurs twice", where=where, fix="remove one of its folders")
    return patches


def _bands(
    imagery: ImageFolder, patches: dict[str, str], files: set[str], where: Path
) -> list[str]:
    first = next(iter(patches.values()))
    bands = imagery.bands or [band for band in BANDS if f"{first}_{band}.tif" in files]
    for base in patches.values():
        for band in bands:
            if f"{base}_{band}.tif" not in files:
                raise SceneError(
                    f"a patch has no band {band!r}",
                    where=where / f"{base}_{band}.tif",
                    expected=f"bands {', '.join(bands)} in every patch",
                    fix="copy or download the patch again, or choose others in `imagery.bands`",
                )
    return list(bands)


def _read_labels(
    archive: Archive, patches: dict[str, str], key: str, nomenclature: Nomenclature
) -> tuple[dict[str, list[int]], str]:
    """Class positions of each patch that has labels, and a hash of all of them."""
    found: dict[str, list[int]] = {}
    digest = hashlib.sha256()
    keys: set[str] = set()
    for patch, base in patches.items():
        content = archive.read(base + METADATA)
        digest.update(content)
        values = _json(content, archive.path / (base + METADATA))
        keys |= {name for name in values if "labels" in name}
        if values.get(key) is not None:
            where = archive.path / (base + METADATA)
            found[patch] = label_indices(values[key], nomenclature, where)
    if not found:
        raise LabelError(
            f"no patch has labels under {key!r}",
            where=archive.path,
            found=f"keys {', '.join(sorted(keys)) or 'without labels'}",
            fix="correct `imagery.labels_key`",
        )
    return found, digest.hexdigest()


def _json(content: bytes, where: Path) -> dict[str, Any]:
    try:
        values = json.loads(content)
    except ValueError as error:
        raise LabelError(
            "the labels of a patch are no JSON", where=where, found=error, fix="download them again"
        ) from None
    return dict(values)


def _decode_band(archive: Archive, name: str, size: int) -> npt.NDArray[np.uint16]:
    content = archive.read(name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with MemoryFile(content) as memory, memory.open() as source:
                band = source.read(1)
    except DECODE_ERRORS as error:
        raise undecodable(archive.path / name, error) from None
    if band.dtype != np.uint16:
        raise SceneError(
            "a band is not uint16", where=archive.path / name, expected="uint16", found=band.dtype
        )
    return resample(band, size)


def _warnings(n_patches: int, labels: npt.NDArray[np.uint8], key: str) -> list[str]:
    texts = []
    if len(labels) < n_patches:
        texts.append(
            f"{n_patches - len(labels)} of {n_patches} patches have no {key} and are left out"
        )
    empty = int((labels.sum(axis=1) == 0).sum())
    if empty:
        texts.append(f"{empty} patches have none of the classes of {key}")
    return texts
