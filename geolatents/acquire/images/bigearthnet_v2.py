"""Labels of BigEarthNet version 2 (reBEN): one table for all patches, and maps of the class of each pixel.

Source: Clasen et al. 2025, "reBEN: refined BigEarthNet dataset for remote sensing image analysis"; columns
and paths as in its ``metadata.parquet`` and in torchgeo's reader.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from geolatents.acquire.images.pictures import opened_tiff
from geolatents.acquire.images.sets import Archive
from geolatents.errors import LabelError
from geolatents.files import sha256_file
from geolatents.logs import progress
from geolatents.nomenclature import Nomenclature

MAP = "_reference_map.tif"
REFERENCE_MAP = "reference_map"

NO_CLASS = (0, 990, 995, 999, 65535)
"""Values of pixels without a class in CORINE rasters by official code."""

CHUNK = 1024
"""Reference maps read together."""


@dataclass(frozen=True)
class PatchLabels:
    """Labels of patches.

    Attributes:
        labels: Class positions of each patch that has labels.
        parts: Official part of patches, where it is known.
        sha256: Content hash of what both were read from.
        warnings: What the user should know.
    """

    labels: Mapping[str, Sequence[int]]
    parts: Mapping[str, str]
    sha256: str
    warnings: list[str] = field(default_factory=list)


def read_metadata(
    file: Path, patches: Mapping[str, str], positions: Callable[[Sequence[str]], Sequence[int]]
) -> PatchLabels:
    """Labels and parts of patches.

    The table leaves out patches under snow, cloud or shadow, whose images are in the archive.

    Args:
        file: ``metadata.parquet``.
        patches: Patches that are there, by name.
        positions: Gives the class positions of label names.

    Raises:
        LabelError: The table is missing or damaged, or is of other patches.
    """
    try:
        table = pq.read_table(file, columns=["patch_id", "labels", "split"])
    except (OSError, pa.ArrowException) as error:
        raise LabelError(
            "the metadata of the patches cannot be read",
            where=file,
            expected="Parquet with patch_id, labels and split",
            found=error,
            fix="copy or download metadata.parquet of version 2 again",
        ) from None
    names, splits = table["patch_id"].to_pylist(), table["split"].to_pylist()
    known = cache(positions)
    found: dict[str, Sequence[int]] = {}
    parts: dict[str, str] = {}
    for row, name in enumerate(names):
        if name in patches:
            found[name] = known(tuple(table["labels"][row].as_py()))
            parts[name] = splits[row]
    if not found:
        raise LabelError(
            "no patch is in the metadata",
            where=file,
            expected=f"patches such as {next(iter(patches))}",
            found=f"patches such as {names[0]}" if names else "an empty table",
            fix="use the metadata of these patches; those of version 1 have other names",
        )
    absent = len(names) - len(found)
    texts = [f"{absent} of {len(names)} patches of {file.name} have no images"] if absent else []
    return PatchLabels(found, parts, sha256_file(file), texts)


def reference_maps(archive: Archive, maps: Mapping[str, str], ids: Sequence[str]) -> list[str]:
    """File of the reference map of each patch.

    Raises:
        LabelError: One has none.
    """
    missing = [patch for patch in ids if patch not in maps]
    if missing:
        raise LabelError(
            f"{len(missing)} patches have no reference map",
            where=archive.path,
            expected=f"{missing[0]}{MAP}",
            fix="unpack Reference_Maps.tar.zst beside the patches, or set `labels_key: labels_19`",
        )
    return [maps[patch] for patch in ids]


def map_shares(
    archive: Archive, maps: Sequence[str], nomenclature: Nomenclature
) -> npt.NDArray[np.float32]:
    """Share of each class in each reference map.

    Returns:
        float32 (patch, class); pixels without class count for none.

    Raises:
        SceneError: A map cannot be decoded.
        LabelError: A map holds something else than classes.
    """
    codes = np.asarray([int(code) for code in nomenclature.codes])
    expected = [*codes, *NO_CLASS]

    def share(name: str) -> npt.NDArray[np.float32]:
        with opened_tiff(archive, name) as source:
            found = np.asarray(source.read(1))
        unknown = np.setdiff1d(found, expected)
        if unknown.size or found.dtype.kind not in "iu":
            raise LabelError(
                "a reference map holds what are no CORINE classes",
                where=archive.path / name,
                expected="level-3 codes such as 211",
                found=f"{found.dtype} with {unknown[:5]}",
            )
        counts = np.bincount(found.ravel(), minlength=1 << 16)[codes]
        return np.asarray(counts / found.size, dtype=np.float32)

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        steps = range(0, len(maps), CHUNK)
        rows = [
            np.stack(list(pool.map(share, maps[start : start + CHUNK])))
            for start in progress(steps, total=len(steps), what="Reading maps", unit="chunk")
        ]
    return np.concatenate(rows)
