"""BigEarthNet: one folder per patch with a GeoTIFF per Sentinel-2 band.

Version 1 has a JSON of labels in each folder. Version 2 (reBEN) has one ``metadata.parquet`` for all
patches, and beside them ``*_reference_map.tif`` with the CORINE class of each pixel.

Sources: Sumbul et al. 2019, "BigEarthNet: a large-scale benchmark archive for remote sensing image
understanding"; Sumbul et al. 2021, "BigEarthNet-MM", table 1, for the 19 classes; Clasen et al. 2025,
"reBEN", and torchgeo's reader for the layout of version 2.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from geolatents.acquire.images.bigearthnet_v2 import (
    MAP,
    REFERENCE_MAP,
    PatchLabels,
    map_shares,
    read_metadata,
    reference_maps,
)
from geolatents.acquire.images.pictures import opened_tiff
from geolatents.acquire.images.sets import Archive, ImageSet, resample
from geolatents.errors import LabelError, SceneError
from geolatents.nomenclature import LandClass, Nomenclature, corine
from geolatents.settings.images import ImageFolder

BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
"""Sentinel-2 bands of level 2A by wavelength; B10 is not part of it."""

METADATA = "_labels_metadata.json"
PUBLISHED = "tile_source"
"""A key of the JSONs as published; their ``labels`` are names of level 3."""


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
    known = _positions(nomenclature)
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
    neighbouring patches share; with ``groups: part`` the official part. Patches without the wanted
    labels are left out with a warning.

    Raises:
        SceneError: There are no patches, or a band is missing.
        LabelError: The labels are missing, or one is not of the nomenclature.
    """
    archive = Archive(root / imagery.images)
    listing = _listing(archive, imagery)
    nomenclature = bigearthnet19() if imagery.labels_key == "labels_19" else corine()
    if imagery.table is None:
        found = _read_labels(archive, listing.patches, imagery.labels_key, nomenclature)
    else:
        found = _metadata(root / imagery.table, listing.patches, imagery.labels_key)
    ids = sorted(found.labels)
    labels: npt.NDArray[np.uint8] | npt.NDArray[np.float32]
    if imagery.labels_key == REFERENCE_MAP:
        maps = reference_maps(archive, listing.maps, ids)
        labels, used = map_shares(archive, maps, nomenclature), maps
    else:
        labels, used = np.zeros((len(ids), len(nomenclature)), dtype=np.uint8), []
        for row, patch in enumerate(ids):
            labels[row, found.labels[patch]] = 1
    patches, bands = listing.patches, listing.bands

    def decode(position: int) -> npt.NDArray[np.uint16]:
        base = patches[ids[position]]
        layers = [_decode_band(archive, f"{base}_{band}.tif", imagery.size) for band in bands]
        return np.stack(layers, axis=-1)

    files = chain((f"{patches[patch]}_{band}.tif" for patch in ids for band in bands), used)
    return ImageSet(
        ids=ids,
        groups=_groups(imagery, ids, found),
        bands=bands,
        size=(imagery.size, imagery.size),
        dtype=np.dtype("uint16"),
        nomenclature=nomenclature,
        labels=labels,
        decode=decode,
        sha256=f"{archive.sha256(files)}-{found.sha256}",
        warnings=[*found.warnings, *_warnings(len(patches), labels, imagery.labels_key)],
    )


@dataclass(frozen=True)
class _Listing:
    """Patches of an archive: path up to ``_B02.tif`` by name, their bands, reference maps by name."""

    patches: dict[str, str]
    bands: list[str]
    maps: dict[str, str]


@cache
def _positions(nomenclature: Nomenclature) -> Mapping[str, int]:
    return {_letters(item.name): position for position, item in enumerate(nomenclature.classes)}


def _letters(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.lower()).rstrip("s")


def _acquisition(patch: str) -> str:
    return "_".join(patch.split("_")[:3])


def _groups(imagery: ImageFolder, ids: Sequence[str], found: PatchLabels) -> list[str]:
    if imagery.groups == "none":
        return [""] * len(ids)
    if imagery.groups == "folder":
        return [_acquisition(patch) for patch in ids]
    missing = [patch for patch in ids if patch not in found.parts]
    if missing:
        raise LabelError(
            f"{len(missing)} patches have no official part",
            where="imagery.groups",
            found=f"no part of {missing[0]}",
            fix="use `groups: none` or `groups: folder`; version 2 has parts in `metadata.parquet`",
        )
    return [found.parts[patch] for patch in ids]


def _listing(archive: Archive, imagery: ImageFolder) -> _Listing:
    """Patches of an archive; of each of its files only what is needed is kept, there are millions."""
    bands_of: dict[str, frozenset[str]] = {}
    described: set[str] = set()
    maps: dict[str, str] = {}
    for _, names in archive.folders():
        found: dict[str, list[str]] = {}
        for name in names:
            if match := re.match(r"(.+)_(B\w\w)\.tif$", name):
                found.setdefault(match[1], []).append(match[2])
            elif name.endswith(METADATA):
                described.add(name.removesuffix(METADATA))
            elif name.endswith(MAP):
                maps[PurePosixPath(name).name.removesuffix(MAP)] = name
        for base, bands in found.items():
            bands_of[base] = _shared(frozenset(bands))
    if imagery.table is None:
        _require_both(set(bands_of), described, archive.path)
    elif not bands_of:
        raise _no_patches(archive.path, "`*_B02.tif`, ...")
    patches = {PurePosixPath(base).name: base for base in sorted(bands_of)}
    if len(patches) < len(bands_of):
        raise SceneError(
            "a patch occurs twice", where=archive.path, fix="remove one of its folders"
        )
    return _Listing(patches, _bands(imagery, patches, bands_of, archive.path), maps)


@cache
def _shared(bands: frozenset[str]) -> frozenset[str]:
    """One object for equal sets."""
    return bands


def _require_both(images: set[str], described: set[str], where: Path) -> None:
    if not described & images:
        raise _no_patches(where, f"`*_B02.tif`, ... and `*{METADATA}`")
    for problem, odd in (("no labels", images - described), ("no bands", described - images)):
        if odd:
            raise SceneError(
                f"{len(odd)} patches have {problem}",
                where=where / sorted(odd)[0],
                expected=f"`*_B02.tif`, ... and `*{METADATA}`",
                fix="copy or download them again, or remove their folders; version 2 needs `imagery.table`",
            )


def _no_patches(where: Path, expected: str) -> SceneError:
    return SceneError(
        "there are no BigEarthNet patches",
        where=where,
        expected=f"a folder per patch with {expected}",
        fix="correct `imagery.images` or `imagery.layout`",
    )


def _bands(
    imagery: ImageFolder,
    patches: Mapping[str, str],
    bands_of: Mapping[str, frozenset[str]],
    where: Path,
) -> list[str]:
    first = next(iter(patches.values()))
    bands = imagery.bands or [band for band in BANDS if band in bands_of[first]]
    for base in patches.values():
        missing = set(bands) - bands_of[base]
        if missing:
            band = min(missing)
            raise SceneError(
                f"a patch has no band {band!r}",
                where=where / f"{base}_{band}.tif",
                expected=f"bands {', '.join(bands)} in every patch",
                fix="copy or download the patch again, or choose others in `imagery.bands`",
            )
    return list(bands)


def _read_labels(
    archive: Archive, patches: Mapping[str, str], key: str, nomenclature: Nomenclature
) -> PatchLabels:
    """Labels of version 1, whose JSONs have the 43 names of level 3 under ``labels``.

    Copies that are described otherwise have ``labels_43`` and ``labels_19``; the 19 classes follow
    from the 43 where they are not given.
    """
    found: dict[str, list[int]] = {}
    parts: dict[str, str] = {}
    digest = hashlib.sha256()
    keys: set[str] = set()
    for patch, base in patches.items():
        content = archive.read(base + METADATA)
        digest.update(content)
        where = archive.path / (base + METADATA)
        values = _json(content, where)
        keys |= {name for name in values if "labels" in name}
        names = _names(values, key, where)
        if names is not None:
            found[patch] = label_indices(names, nomenclature, where)
        if values.get("split"):
            parts[patch] = str(values["split"])
    if not found:
        raise LabelError(
            f"no patch has labels under {key!r}",
            where=archive.path,
            found=f"keys {', '.join(sorted(keys)) or 'without labels'}",
            fix="correct `imagery.labels_key`",
        )
    return PatchLabels(found, parts, digest.hexdigest())


def _names(values: Mapping[str, Any], key: str, where: Path) -> list[str] | None:
    """Label names under a key, or those that follow from the official key of version 1."""
    if key in values:
        return values[key]  # type: ignore[no-any-return]
    official = values.get("labels")
    if official is None or PUBLISHED not in values or key not in {"labels_19", "labels_43"}:
        return None
    if key == "labels_43":
        return list(official)
    classes = [corine().classes[i] for i in label_indices(official, corine(), where)]
    return sorted({item.bigearthnet19 for item in classes} - {""})


def _metadata(file: Path, patches: Mapping[str, str], key: str) -> PatchLabels:
    """Labels of version 2."""
    if key not in {"labels_19", REFERENCE_MAP}:
        raise LabelError(
            f"the table of version 2 has no {key!r}",
            where="imagery.labels_key",
            expected=f"labels_19 or {REFERENCE_MAP}",
        )
    return read_metadata(file, patches, lambda names: label_indices(names, bigearthnet19(), file))


def _json(content: bytes, where: Path) -> dict[str, Any]:
    try:
        values = json.loads(content)
    except ValueError as error:
        raise LabelError(
            "the labels of a patch are no JSON", where=where, found=error, fix="download them again"
        ) from None
    return dict(values)


def _decode_band(archive: Archive, name: str, size: int) -> npt.NDArray[np.uint16]:
    with opened_tiff(archive, name) as source:
        band = source.read(1)
    if band.dtype != np.uint16:
        raise SceneError(
            "a band is not uint16", where=archive.path / name, expected="uint16", found=band.dtype
        )
    return resample(band, size)


def _warnings(n_patches: int, labels: npt.NDArray[Any], key: str) -> list[str]:
    texts = []
    if len(labels) < n_patches:
        texts.append(
            f"{n_patches - len(labels)} of {n_patches} patches have no {key} and are left out"
        )
    empty = int((labels.sum(axis=1) == 0).sum())
    if empty:
        texts.append(f"{empty} patches have none of the classes of {key}")
    return texts
