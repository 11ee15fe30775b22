"""CIFAR-10 as published for Python: five pickled batches of 10,000 images and one for tests.

Source: Krizhevsky 2009, "Learning multiple layers of features from tiny images", and the page of the set.
A pickle can run any program, so only arrays, texts, lists and dictionaries are let through.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from geolatents.acquire.images.classes import CIFAR10
from geolatents.acquire.images.sets import (
    RGB,
    Archive,
    ImageSet,
    Pixels,
    band_positions,
    resample,
    shortened,
)
from geolatents.errors import LabelError, SceneError
from geolatents.nomenclature import listed_nomenclature
from geolatents.settings.images import ImageFolder

BATCHES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
META = "batches.meta"
SIDE = 32
LARGEST = 100 * 2**20
"""Bytes of a batch beyond which it is none; true ones have 31 MB."""


def cifar10_images(imagery: ImageFolder, root: Path) -> ImageSet:
    """Images in their official order; ids are ``train-00000`` to ``train-49999`` and ``test-00000``...

    Raises:
        SceneError: A batch is missing, damaged, or holds something else than images.
        LabelError: Labels are not those of CIFAR-10.
    """
    archive = Archive(root / imagery.images)
    names = _batch_names(archive)
    _check_meta(archive, names)
    batches = [_batch(archive, names[batch]) for batch in BATCHES]
    images = np.concatenate([pixels for pixels, _ in batches])
    classes = np.concatenate([labels for _, labels in batches])
    n_test = len(batches[-1][0])
    ids = [f"train-{i:05d}" for i in range(len(images) - n_test)]
    ids += [f"test-{i:05d}" for i in range(n_test)]
    labels = np.zeros((len(ids), len(CIFAR10)), dtype=np.uint8)
    labels[np.arange(len(ids)), classes] = 1
    channels = band_positions(imagery.bands, RGB)

    def decode(position: int) -> Pixels:
        # A row holds the red plane, then green, then blue.
        planes = images[position].reshape(len(RGB), SIDE, SIDE)
        return np.stack([resample(planes[channel], imagery.size) for channel in channels], axis=-1)

    return ImageSet(
        ids=ids,
        groups=[name.partition("-")[0] if imagery.groups == "part" else "" for name in ids],
        bands=[RGB[channel] for channel in channels],
        size=(imagery.size, imagery.size),
        dtype=np.dtype("uint8"),
        nomenclature=listed_nomenclature("cifar10", CIFAR10),
        labels=labels,
        decode=decode,
        sha256=archive.sha256([names[batch] for batch in BATCHES]),
        warnings=[],
    )


def load_plain_pickle(content: bytes, where: Path) -> Any:
    """Read a pickle of arrays, texts, numbers, lists and dictionaries, and nothing else.

    Raises:
        SceneError: It is damaged, or names anything else.
    """
    try:
        return _PlainUnpickler(content, where).load()
    except SceneError:
        raise
    except Exception as error:  # a damaged pickle raises nearly anything
        raise SceneError(
            "the pickle cannot be read",
            where=where,
            found=f"{type(error).__name__}: {error}",
            fix="copy or download it again",
        ) from None


_NDARRAY = object()
"""Stands for the class of arrays, which is only named as an argument, so that none is made by its size."""


class _PlainUnpickler(pickle.Unpickler):
    """An unpickler that knows the parts of NumPy arrays and no other class or function."""

    def __init__(self, content: bytes, where: Path) -> None:
        super().__init__(io.BytesIO(content), encoding="latin1")
        self.where = where

    def find_class(self, module: str, name: str) -> Any:
        if module in {"numpy.core.multiarray", "numpy._core.multiarray"} and name == "_reconstruct":
            return _empty_array
        if module == "numpy" and name in {"ndarray", "dtype"}:
            return np.dtype if name == "dtype" else _NDARRAY
        if (module, name) == ("_codecs", "encode"):
            return _latin1
        raise SceneError(
            "the pickle is not plain data, so it is not opened",
            where=self.where,
            expected="arrays, texts, lists and dictionaries",
            found=f"{module}.{name}",
            fix="delete it; it is no batch of CIFAR-10, and it may be harmful",
        )


def _empty_array(*_arguments: object) -> npt.NDArray[Any]:
    """What an array is before its state is set; whatever size the pickle asks for."""
    return np.ndarray((0,), "b")


def _latin1(text: str, _encoding: str = "latin1") -> bytes:
    """How Python 3 writes bytes into a pickle for Python 2."""
    return text.encode("latin1")


def _batch_names(archive: Archive) -> dict[str, str]:
    """File of each batch, and of the names of classes."""
    found = {PurePosixPath(name).name: name for name in archive.names()}
    missing = [name for name in BATCHES if name not in found]
    if missing:
        raise SceneError(
            "batches of CIFAR-10 are missing",
            where=archive.path,
            expected=", ".join(BATCHES),
            found=f"no {shortened(missing, 6)}",
            fix="copy or download the version for Python again",
        )
    return {name: found[name] for name in (*BATCHES, META) if name in found}


def _check_meta(archive: Archive, names: dict[str, str]) -> None:
    if META not in names:
        return
    where = archive.path / names[META]
    values = load_plain_pickle(archive.read(names[META]), where)
    classes = values.get("label_names") if isinstance(values, dict) else None
    if classes != list(CIFAR10):
        raise LabelError(
            "these are not the classes of CIFAR-10",
            where=where,
            expected=", ".join(CIFAR10),
            found=classes,
        )


def _batch(archive: Archive, name: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Pixels, uint8 (image, 3072), and class positions of a batch."""
    where = archive.path / name
    content = archive.read(name)
    if len(content) > LARGEST:
        raise SceneError("the file is too large for a batch", where=where, found=len(content))
    values = load_plain_pickle(content, where)
    pixels = values.get("data") if isinstance(values, dict) else None
    labels = values.get("labels") if isinstance(values, dict) else None
    if (
        not isinstance(pixels, np.ndarray)
        or pixels.dtype != np.uint8
        or pixels.shape[1:] != (len(RGB) * SIDE * SIDE,)
        or not isinstance(labels, list)
        or len(labels) != len(pixels)
    ):
        raise SceneError(
            "the batch does not hold images and labels",
            where=where,
            expected=f"`data`, uint8 (image, {len(RGB) * SIDE * SIDE}), and as many `labels`",
            found=sorted(values) if isinstance(values, dict) else type(values).__name__,
        )
    if not all(isinstance(label, int) and 0 <= label < len(CIFAR10) for label in labels):
        raise LabelError(
            "a label is no class of CIFAR-10",
            where=where,
            expected=f"0 to {len(CIFAR10) - 1}",
        )
    return pixels, np.asarray(labels, dtype=np.int64)
