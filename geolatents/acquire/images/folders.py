"""One folder per class: EuroSAT, UC Merced's scene classes, the Paris Dataset, own photos."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from geolatents.acquire.images.classes import EUROSAT, EUROSAT_BANDS, FROZEN, PARIS_CORRUPT
from geolatents.acquire.images.pictures import (
    is_picture,
    left_out,
    readable_pictures,
    stem,
)
from geolatents.acquire.images.sets import Archive, ImageSet, Pixels, shortened
from geolatents.errors import LabelError, SceneError
from geolatents.nomenclature import Nomenclature, listed_nomenclature
from geolatents.settings.images import ImageFolder


def folder_images(imagery: ImageFolder, root: Path) -> ImageSet:
    """Pictures whose folder is their class, at any depth of one archive or folder.

    Ids are file names without ending; where two pictures share one, all ids are ``class_name``.
    GeoTIFFs with other than 8-bit RGB keep all their bands and their type.

    Raises:
        SceneError: There are no pictures, or one cannot be decoded and ``corrupt`` is ``error``.
        LabelError: A class has no pictures, differs from another in case only, or is not of the archive.
    """
    archive = Archive(root / imagery.images)
    by_class = _pictures_by_class(archive)
    nomenclature = _nomenclature(imagery, archive, by_class)
    classes = {name: label for label, names in by_class.items() for name in names}
    known_corrupt = [name for name in classes if stem(name) in PARIS_CORRUPT]
    bands = {len(EUROSAT_BANDS): EUROSAT_BANDS} if set(by_class) <= set(EUROSAT) else None
    files, pictures, lost = readable_pictures(
        archive, sorted(set(classes) - set(known_corrupt)), imagery, bands
    )
    _require_pictures(nomenclature, [classes[name] for name in files], archive.path)
    ids = _ids(files, classes)
    names = sorted(ids)

    def decode(position: int) -> Pixels:
        return pictures.decode(ids[names[position]])

    groups = [classes[ids[name]] if imagery.groups == "folder" else "" for name in names]
    return ImageSet(
        ids=names,
        groups=groups,
        bands=pictures.bands,
        size=(imagery.size, imagery.size),
        dtype=pictures.dtype,
        nomenclature=nomenclature,
        labels=one_hot([classes[ids[name]] for name in names], nomenclature),
        decode=decode,
        sha256=archive.sha256([ids[name] for name in names]),
        warnings=[
            *left_out(known_corrupt, "are known to be broken"),
            *left_out(lost, "cannot be decoded"),
        ],
    )


def one_hot(codes: Sequence[str], nomenclature: Nomenclature) -> npt.NDArray[np.uint8]:
    """Labels of images that have one class each: uint8 (image, class)."""
    labels = np.zeros((len(codes), len(nomenclature)), dtype=np.uint8)
    labels[np.arange(len(codes)), [nomenclature.index(code) for code in codes]] = 1
    return labels


def _pictures_by_class(archive: Archive) -> dict[str, list[str]]:
    """Files of each class. Folders around the class folders, such as ``EuroSAT/2750``, do not matter."""
    by_class: dict[str, list[str]] = defaultdict(list)
    empty: list[str] = []
    around: set[str] = set()
    for folder, files in archive.folders():
        around |= {parent.as_posix() for parent in PurePosixPath(folder).parents}
        pictures = [name for name in files if is_picture(name)]
        by_class[PurePosixPath(folder).name] += pictures
        if not pictures:
            empty.append(folder)
    found = {label: names for label, names in by_class.items() if names}
    if not found:
        raise SceneError(
            "there are no pictures",
            where=archive.path,
            expected="one folder per class with pictures in it",
            fix="correct `imagery.images`",
        )
    _require_depth(found, archive.path)
    _require_case(found, archive.path)
    depth = max(len(PurePosixPath(names[0]).parts) for names in found.values()) - 1
    bare = [f for f in empty if f not in around and len(PurePosixPath(f).parts) == depth]
    if bare:
        raise LabelError(
            "the folder of a class has no pictures",
            where=archive.path / bare[0],
            found=f"{shortened(bare)} beside {len(found)} folders with pictures",
            fix="copy it again, or remove the folder",
        )
    return found


def _require_depth(by_class: Mapping[str, list[str]], where: Path) -> None:
    depths = {len(PurePosixPath(name).parts): name for names in by_class.values() for name in names}
    if 1 in depths:
        raise LabelError(
            "a picture lies in no folder and so has no class",
            where=where / depths[1],
            expected="one folder per class with pictures in it",
            fix="move it into the folder of its class, or remove it",
        )
    if len(depths) > 1:
        shallow, deep = depths[min(depths)], depths[max(depths)]
        raise LabelError(
            "pictures lie in folders of different depth, so that their classes are not clear",
            where=where,
            found=f"{shallow} and {deep}",
            fix="name the folder that holds the folders of the classes in `imagery.images`",
        )


def _require_case(by_class: Mapping[str, list[str]], where: Path) -> None:
    count = Counter(label.casefold() for label in by_class)
    alike = sorted(label for label in by_class if count[label.casefold()] > 1)
    if alike:
        raise LabelError(
            "folders of classes differ in case only",
            where=where,
            found=", ".join(alike),
            fix="give the folders of one class one name",
        )


def _nomenclature(
    imagery: ImageFolder, archive: Archive, by_class: Mapping[str, list[str]]
) -> Nomenclature:
    if imagery.archive is None:
        return listed_nomenclature(archive.path.stem, sorted(by_class))
    name, codes = FROZEN[imagery.archive]
    missing, unknown = sorted(set(codes) - set(by_class)), sorted(set(by_class) - set(codes))
    if missing or unknown:
        raise LabelError(
            f"the folders are not the classes of {imagery.archive!r}",
            where=archive.path,
            expected=", ".join(codes),
            found="; ".join(
                f"{what} {shortened(names)}"
                for what, names in (("missing:", missing), ("not expected:", unknown))
                if names
            ),
            fix="copy or download it again; a subset is read with `layout: folders` without `archive`",
        )
    return listed_nomenclature(name, codes)


def _require_pictures(nomenclature: Nomenclature, codes: Sequence[str], where: Path) -> None:
    missing = sorted(set(nomenclature.codes) - set(codes))
    if missing:
        raise LabelError(
            "no picture of a class can be used",
            where=where,
            found=shortened(missing),
            fix="copy or download the pictures again, or remove the folder of the class",
        )


def _ids(files: Sequence[str], classes: Mapping[str, str]) -> dict[str, str]:
    """File of each id."""
    stems = {stem(name): name for name in files}
    if len(stems) == len(files):
        return stems
    ids = {f"{classes[name]}_{stem(name)}": name for name in files}
    if len(ids) < len(files):
        twice = next(n for n in files if ids[f"{classes[n]}_{stem(n)}"] != n)
        raise SceneError(
            "two pictures of a class have one name",
            found=f"{twice} and {ids[f'{classes[twice]}_{stem(twice)}']}",
            fix="rename one of them",
        )
    return ids
