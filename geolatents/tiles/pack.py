"""Packing images without position as they are: one tile per image, labels from their own table."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from geolatents.acquire.images.annotated import annotated_images
from geolatents.acquire.images.archive import located
from geolatents.acquire.images.bigearthnet import bigearthnet_images
from geolatents.acquire.images.celeba import celeba_images
from geolatents.acquire.images.cifar import cifar10_images
from geolatents.acquire.images.dfc2019 import dfc2019_images
from geolatents.acquire.images.folders import folder_images
from geolatents.acquire.images.legacy import legacy_images
from geolatents.acquire.images.plain import plain_images
from geolatents.acquire.images.sets import ImageSet, table_images
from geolatents.errors import StoreError
from geolatents.files import read_json, write_json
from geolatents.logs import LOG, progress
from geolatents.paths import downloads_root
from geolatents.settings.images import ImageFolder
from geolatents.stores import (
    content_manifest,
    create_array,
    new_store,
    use_fast_codecs,
    write_strings,
)
from geolatents.tiles.writer import Moments, tile_writer

SCENE = "images"
"""Scene name of packed images."""

CHUNK = 256
"""Images decoded and handed to the writer together."""

READERS: dict[str, Callable[[ImageFolder, Path], ImageSet]] = {
    "table": table_images,
    "plain": plain_images,
    "folders": folder_images,
    "annotated": annotated_images,
    "bigearthnet": bigearthnet_images,
    "cifar10": cifar10_images,
    "celeba": celeba_images,
    "dfc2019": dfc2019_images,
    "legacy": legacy_images,
}
"""Readers of the layouts of image folders."""


def check_images(
    imagery: ImageFolder, root: Path, output: Path, downloads: Path | None = None
) -> None:
    """Check a folder or archive of images and its labels; decodes every image.

    ``output`` is JSON with ``n_images``, ``bands``, ``dtype``, ``size`` (width, height),
    ``classes``, ``sha256`` (of images and labels) and ``warnings`` (texts).

    Args:
        imagery: Settings of the images.
        root: Data folder.
        output: JSON to write.
        downloads: Folder of downloads, where archives lie; default: that of the environment.

    Raises:
        SceneError: An image cannot be decoded, is there twice, or lacks a band.
        LabelError: The table is wrong, or an image has no row in it.
    """
    images = open_images(imagery, root, downloads)
    for text in images.warnings:
        LOG.warning(text)
    for _ in _decoded(images, what="Checking images"):
        pass
    write_json(output, _summary(images))


def pack_images(
    imagery: ImageFolder,
    root: Path,
    check: Path,
    store: Path,
    manifest: Path,
    cover_store: Path,
    cover_manifest: Path,
    downloads: Path | None = None,
) -> None:
    """Write images and their labels as a tile store and a cover store.

    Memory is bounded by one shard and one chunk of images; the result does not depend on threads.

    Args:
        imagery: Settings of the images.
        root: Data folder.
        check: What :func:`check_images` wrote.
        store: Tile store: ``images``, ``ids``, ``group``, ``valid_share``, ``mean``, ``std``.
        manifest: Its content manifest.
        cover_store: Cover store: ``cover`` (tile, class) 0 or 1, or shares where the layout has the
            class of each pixel; ``ids``; further attributes such as ``height`` (tile). Of images
            without labels it has no class.
        cover_manifest: Its content manifest.
        downloads: Folder of downloads, where archives lie; default: that of the environment.

    Raises:
        SceneError: An image cannot be decoded.
        StoreError: The images are not those that were checked.
    """
    use_fast_codecs()
    images = open_images(imagery, root, downloads)
    if _summary(images) != read_json(check):
        raise StoreError(
            "the images or labels have changed since they were checked",
            where=imagery.archive or root / imagery.images,
            fix=f"delete {check} and rerun",
        )
    _write_tiles(images, store)
    _write_cover(images, cover_store)
    write_json(manifest, content_manifest(store))
    write_json(cover_manifest, content_manifest(cover_store))


def open_images(imagery: ImageFolder, root: Path, downloads: Path | None = None) -> ImageSet:
    """List images and read their labels, in the layout of the settings or of their archive.

    Raises:
        SceneError: Images are missing or there twice.
        LabelError: Labels are missing or wrong.
    """
    settings, folder = located(imagery, root, downloads or downloads_root())
    return READERS[settings.reads](settings, folder)


def _summary(images: ImageSet) -> dict[str, Any]:
    return {
        "n_images": len(images.ids),
        "bands": images.bands,
        "dtype": str(images.dtype),
        "size": list(images.size),
        "classes": images.nomenclature.codes,
        "sha256": images.sha256,
        "warnings": images.warnings,
    }


def _decoded(images: ImageSet, what: str) -> Iterator[npt.NDArray[Any]]:
    """Images (image, y, x, band) in order, a chunk at a time."""
    starts = range(0, len(images.ids), CHUNK)
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        for start in progress(starts, total=len(starts), what=what, unit="chunk"):
            positions = range(start, min(start + CHUNK, len(images.ids)))
            yield np.stack(list(pool.map(images.decode, positions)))


def _write_tiles(images: ImageSet, store: Path) -> None:
    attributes = {
        "scene": SCENE,
        "crs": None,
        "bands": images.bands,
        "resolution": None,
        "nodata": None,
        "acquired": None,
        "provider": "images",
    }
    width, height = images.size
    shape = (height, width, len(images.bands))
    with new_store(store, attributes) as group:
        with tile_writer(group, len(images.ids), shape, images.dtype) as writer:
            for chunk in _decoded(images, what="Packing images"):
                writer.append(chunk, np.ones(chunk.shape[:-1], dtype=np.bool_))
            moments = writer.finish()
        write_strings(group, "ids", images.ids, "tile")
        write_strings(group, "group", images.groups, "tile")
        _write_moments(group, moments)


def _write_moments(group: zarr.Group, moments: Moments) -> None:
    for name in ("valid_share", "mean", "std"):
        values = getattr(moments, name)
        dimensions = ("tile", "band")[: values.ndim]
        create_array(group, name, values.shape, values.dtype, dimensions=dimensions)[:] = values


def _write_cover(images: ImageSet, store: Path) -> None:
    nomenclature = images.nomenclature
    classes = [
        {"code": item.code, "name": item.name, "colour": item.colour}
        for item in nomenclature.classes
    ]
    with new_store(store, {"nomenclature": nomenclature.name, "classes": classes}) as group:
        cover = images.labels.astype(np.float32)
        create_array(group, "cover", cover.shape, cover.dtype, dimensions=("tile", "class"))[:] = (
            cover
        )
        write_strings(group, "ids", images.ids, "tile")
        for name, values in images.attributes.items():
            create_array(group, name, values.shape, values.dtype, dimensions=("tile",))[:] = values
