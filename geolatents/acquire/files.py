"""Local image files as scenes: which file is which scene, and the record of each."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import Field

from geolatents.acquire.planetscope.metadata import metadata_file
from geolatents.errors import SceneError
from geolatents.files import read_json
from geolatents.settings.base import RESERVED, Section
from geolatents.settings.files import FilesImagery, ValidityMask

SCL_USABLE = (2, 4, 5, 6, 7, 11)
"""Usable Sentinel-2 scene classes (ESA L2A ATBD): dark, plants, soil, water, unclassified, snow."""

SIDECARS = re.compile(r"\.(xml|json|txt|csv|md|ovr|msk|prj|aux|wld|[a-z]{1,3}w)", re.IGNORECASE)
"""Endings beside an image that a broad pattern such as ``*`` also finds and that are no images."""

MASK_SUFFIXES = {"udm": "_DN_udm.tif", "udm2": "_udm2.tif"}
"""Endings of PlanetScope's mask files."""

# What follows the scene id in names: ``_AnalyticMS``, ``_AnalyticMS_SR``, ``_AnalyticMS_8b_clip``.
_PRODUCT = re.compile(r"_(ortho_)?Analytic[A-Za-z]*(_SR)?(_\d+b)?(_harmonized)?(_clip)?$")


class MaskRecord(Section):
    """A validity mask with everything resolved.

    Without ``file`` it is a band of the scene's own file; ``alpha`` has neither band nor values.
    """

    kind: Literal["udm", "udm2", "scl", "alpha", "values"] = Field(description="Kind of mask.")
    file: str | None = Field(
        default=None, description="Mask file as recorded by `paths.recorded_path`."
    )
    sha256: str | None = Field(default=None, description="Content hash of the mask file.")
    band_index: int | None = Field(default=None, description="1-based band that holds the mask.")
    usable: list[int] | None = Field(default=None, description="Usable values; none for `alpha`.")


class SceneRecord(Section):
    """One scene: small, canonical, and equal wherever the same file lies in the data folder."""

    scene: str = Field(description="Name of the scene.")
    path: str = Field(description="File as recorded by `paths.recorded_path`.")
    sha256: str = Field(description="Content hash of the file.")
    crs: str = Field(description="Authority string such as `EPSG:32636`, else WKT.")
    transform: tuple[float, float, float, float, float, float] = Field(
        description="Affine a to f: x = a column + b row + c, y = d column + e row + f."
    )
    width: int = Field(description="Width in pixels.")
    height: int = Field(description="Height in pixels.")
    dtype: str = Field(description="Type of the pixels that a reader gives: uint16 where scaled.")
    nodata: float | Literal["nan"] | None = Field(description="No-data value in the file.")
    bands: list[str] = Field(description="Names of the bands that a reader gives.")
    band_indexes: list[int] = Field(description="Their 1-based positions in the file.")
    mask: MaskRecord | None = Field(default=None, description="Validity mask.")
    scale: list[float] | None = Field(
        default=None,
        description="Factor of each band to reflectance x 10000; none: values are kept.",
    )
    acquired: str | None = Field(default=None, description="Acquisition date or time, ISO 8601.")
    licence: str = Field(description="Licence of the image.")
    provider: str = Field(description="Where the image comes from.")


def read_record(path: Path) -> SceneRecord:
    """Read a scene record.

    Raises:
        StoreError: The record is missing or no JSON.
    """
    return SceneRecord.model_validate(read_json(path))


def scene_files(imagery: FilesImagery, root: Path) -> dict[str, Path]:
    """Scenes by name: the files that the patterns find, without masks and sidecars, in name order.

    Opens no file, so that it is cheap when the workflow's graph is built.

    Args:
        imagery: Settings; ``files`` holds paths or glob patterns (``**`` goes into subfolders).
        root: Data folder that they are relative to.

    Raises:
        SceneError: A pattern finds nothing, two files give the same scene name, or a name cannot be
            part of a path.
    """
    scenes: dict[str, Path] = {}
    for pattern in imagery.files:
        found = list(_images(pattern, root, imagery.mask))
        if not found:
            raise SceneError(
                f"no image matches {pattern!r}",
                where=root.resolve(),
                expected="at least one file for each entry of `imagery.files`",
                fix="correct the pattern, or name the data folder with `data:` or GEOLATENTS_DATA",
            )
        for file in found:
            name = scene_name(file)
            if scenes.setdefault(name, file) != file:
                raise SceneError(
                    f"two files give the scene name {name!r}",
                    found=f"{scenes[name]} and {file}",
                    fix="rename one of them, or narrow the patterns of `imagery.files`",
                )
    return dict(sorted(scenes.items()))


def scene_name(file: Path) -> str:
    """Name of a scene: the file's stem, with ``-`` for what cannot be part of a name.

    Raises:
        SceneError: Nothing usable is left, or the name is a reserved word.
    """
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", file.stem).strip("-._")
    if len(name) < 2 or name in RESERVED:
        raise SceneError(
            f"{file.stem!r} cannot be the name of a scene",
            where=file,
            expected=f"two or more letters or digits, and none of {', '.join(sorted(RESERVED))}",
            fix="rename the file",
        )
    return name


def mask_file(file: Path, mask: ValidityMask) -> Path | None:
    """The file of a scene's mask, or None where the mask is a band or mask of the scene's own file.

    Besides ``{stem}{suffix}``, PlanetScope's own names are found: ``..._3B_AnalyticMS.tif`` has its
    UDM2 in ``..._3B_udm2.tif``, and clipped products end in ``_clip``.

    Raises:
        SceneError: The file is missing, or the settings name no mask.
    """
    suffix = mask.suffix or (None if mask.band else MASK_SUFFIXES.get(mask.kind))
    if mask.kind == "alpha" or (mask.band and not mask.suffix):
        return None
    if suffix is None:
        raise SceneError(
            f"the mask of kind {mask.kind!r} is neither a band nor a file",
            where="imagery.mask",
            fix="give `band` (a band of the scene's file) or `suffix` (a file beside it)",
        )
    candidates = [file.with_name(name) for name in _beside(file.stem, suffix)]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise SceneError(
        "the mask file is missing",
        where=file,
        expected=" or ".join(path.name for path in candidates),
        fix="put it beside the image, or correct `imagery.mask`",
    )


def sidecars(file: Path, imagery: FilesImagery) -> list[Path]:
    """Files beside an image on which its record depends too, as far as they are there.

    The mask file, metadata XML, world file, and GDAL's own ``.aux.xml`` and ``.msk``.
    What is missing is left to the check of the scene. Opens no file.
    """
    names = [f"{file.name}.aux.xml", f"{file.name}.msk"]
    names += [found.name for found in file.parent.glob(f"{glob.escape(file.stem)}.*w")]
    found = {file.with_name(name) for name in names}
    for look in (_own_mask, _own_metadata):
        try:
            found.add(look(file, imagery) or file)
        except SceneError:
            continue
    return sorted(path for path in found if path != file and path.is_file())


def _own_mask(file: Path, imagery: FilesImagery) -> Path | None:
    return mask_file(file, imagery.mask) if imagery.mask else None


def _own_metadata(file: Path, imagery: FilesImagery) -> Path | None:
    return metadata_file(file) if imagery.metadata == "planetscope" else None


def _beside(stem: str, suffix: str) -> list[str]:
    ending = Path(suffix).suffix
    plain = suffix.removesuffix(ending)
    product = _PRODUCT.search(stem)
    clip = "_clip" if stem.endswith("_clip") else ""
    names = [stem + suffix]
    if clip:
        names.append(stem.removesuffix("_clip") + plain + clip + ending)
    if product:
        names.append(stem[: product.start()] + plain + clip + ending)
    return list(dict.fromkeys(names))


def _images(pattern: str, root: Path, mask: ValidityMask | None) -> Iterable[Path]:
    suffix = None if mask is None else mask.suffix or MASK_SUFFIXES.get(mask.kind)
    endings = () if suffix is None else (suffix, _clipped(suffix))
    # Not Path.glob: it refuses the absolute patterns that users also give.
    for name in sorted(glob.glob(pattern, root_dir=root, recursive=True)):  # noqa: PTH207
        file = root / name
        if file.is_file() and not SIDECARS.fullmatch(file.suffix) and not name.endswith(endings):
            yield file


def _clipped(suffix: str) -> str:
    ending = Path(suffix).suffix
    return f"{suffix.removesuffix(ending)}_clip{ending}"
