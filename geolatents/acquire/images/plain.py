"""Images without labels, such as new ones that a trained model is applied to."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from geolatents.acquire.images.pictures import readable_pictures
from geolatents.acquire.images.sets import Archive, ImageSet, Pixels, group_of, pictures_by_stem
from geolatents.nomenclature import listed_nomenclature
from geolatents.settings.images import ImageFolder


def plain_images(imagery: ImageFolder, root: Path) -> ImageSet:
    """Pictures at any depth of a folder or archive, RGB or GeoTIFFs that are alike, without labels.

    Raises:
        SceneError: There are no pictures, two have one name, or one cannot be decoded or is not like
            the first.
    """
    archive = Archive(root / imagery.images)
    files = pictures_by_stem(archive)
    ids = sorted(files)
    _, pictures, _ = readable_pictures(archive, [files[name] for name in ids], imagery)

    def decode(position: int) -> Pixels:
        return pictures.decode(files[ids[position]])

    return ImageSet(
        ids=ids,
        groups=[group_of(files[name], imagery, archive.path) for name in ids],
        bands=pictures.bands,
        size=(imagery.size, imagery.size),
        dtype=pictures.dtype,
        nomenclature=listed_nomenclature("none", []),
        labels=np.zeros((len(ids), 0), np.uint8),
        decode=decode,
        sha256=archive.sha256([files[name] for name in ids]),
        warnings=[],
    )
