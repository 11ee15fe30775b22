"""The record of one scene, read from its file: bands, type, position, mask, date, scale."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.errors import CRSError

from geolatents.acquire.files import SCL_USABLE, MaskRecord, SceneRecord, mask_file
from geolatents.acquire.planetscope.metadata import (
    is_surface_reflectance,
    metadata_file,
    read_metadata,
)
from geolatents.acquire.reader import SCANLINE_DRIVERS, Dataset, open_image
from geolatents.errors import SceneError
from geolatents.files import sha256_file
from geolatents.paths import recorded_path
from geolatents.settings.files import ImageFiles, ValidityMask
from geolatents.settings.scenes import SceneImagery

ACQUIRED_TAG = "ACQUIRED"
"""Tag of a file that gives its acquisition date; the synthetic scenes carry it."""
LICENCE_TAG = "LICENCE"
"""Tag of an assembled scene that gives its licence."""
USABLE_DEFAULTS = {"udm": [0], "udm2": [1], "scl": list(SCL_USABLE), "values": [1]}


def build_record(
    scene: str,
    file: Path,
    source: Dataset,
    imagery: SceneImagery,
    output: Path,
    hashed: bool = True,
) -> SceneRecord:
    """Read what a scene's record says from its open file and the files beside it.

    Args:
        scene: Name of the scene.
        file: Its image.
        source: The same, open.
        imagery: Settings of the images.
        output: Where the record will lie; paths are written as seen from there.
        hashed: Hash the image; without, the record only serves to compare scenes.

    Raises:
        SceneError: No CRS or position, unknown bands, bands of several types, or a mask or metadata
            file is missing.
    """
    settings = imagery if isinstance(imagery, ImageFiles) else None
    names, is_image = _band_names(file, source, settings)
    mask = _mask(file, names, settings.mask, output) if settings and settings.mask else None
    in_file = mask is not None and mask.file is None
    mask_band = mask.band_index if mask is not None and in_file else None
    wanted = settings.use_bands if settings else None
    if wanted is None:
        wanted = [n for i, n in enumerate(names, 1) if is_image[i - 1] and i != mask_band]
    indexes = [_band_index(name, names, file, "imagery.use_bands") for name in wanted]
    if not indexes:
        raise SceneError("the image has no band besides its mask", where=file, found=names)
    dtype = _dtype(file, source, indexes)
    acquired, scale = _planetscope(file, indexes, settings)
    return SceneRecord(
        scene=scene,
        path=recorded_path(file, output),
        sha256=sha256_file(file) if hashed else "",
        crs=_crs(file, source, settings),
        transform=_transform(file, source),
        width=source.width,
        height=source.height,
        dtype="uint16" if scale else dtype,
        nodata=_nodata(file, source, indexes, settings),
        bands=wanted,
        band_indexes=indexes,
        mask=mask,
        scale=scale,
        acquired=acquired or _acquired(source, settings),
        licence=_licence(source, settings),
        provider=imagery.provider,
    )


def _band_names(
    file: Path, source: Dataset, settings: ImageFiles | None
) -> tuple[list[str], list[bool]]:
    """Names of all bands of a file, and which of them are image (not alpha).

    GDAL marks the fourth band of any uint8 GeoTIFF as alpha, also near infrared; a name in
    `imagery.bands` other than alpha says that it is an image.
    """
    alpha = [kind == ColorInterp.alpha for kind in source.colorinterp]
    masked = settings is not None and settings.mask is not None and settings.mask.kind == "alpha"
    if settings is not None and settings.bands is not None:
        names = list(settings.bands)
        if len(names) == source.count - sum(alpha):
            given = iter(names)
            names = ["alpha" if is_alpha else next(given) for is_alpha in alpha]
        if len(names) != source.count:
            raise SceneError(
                "the number of bands is not what the configuration says",
                where=file,
                expected=f"{len(settings.bands)} bands: {', '.join(settings.bands)}",
                found=f"{source.count} bands",
                fix="correct `imagery.bands`: one name for each band of the file, in file order",
            )
        if not masked:
            alpha = [
                is_alpha and name.lower() == "alpha"
                for is_alpha, name in zip(alpha, names, strict=True)
            ]
    else:
        names = _own_names(source)
    if len(set(names)) != len(names):
        raise SceneError(
            "a band name occurs twice",
            where=file,
            found=names,
            fix="give other names in `imagery.bands`",
        )
    return names, [not is_alpha for is_alpha in alpha]


def _own_names(source: Dataset) -> list[str]:
    if all(source.descriptions):
        return [str(name) for name in source.descriptions]
    # Only picture formats mean their colours: PlanetScope calls its blue band red.
    if source.driver in SCANLINE_DRIVERS and ColorInterp.palette not in source.colorinterp:
        return [kind.name for kind in source.colorinterp]
    return [f"band-{number}" for number in range(1, source.count + 1)]


def _band_index(name: str, names: Sequence[str], where: Path, key: str) -> int:
    if name in names:
        return list(names).index(name) + 1
    near = difflib.get_close_matches(name, names, n=1)
    raise SceneError(
        f"there is no band {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""),
        where=where,
        expected=f"one of {', '.join(names)}",
        fix=f"correct `{key}`, or name the file's bands in `imagery.bands`",
    )


def _mask(file: Path, names: Sequence[str], mask: ValidityMask, output: Path) -> MaskRecord:
    if mask.kind == "alpha":
        return MaskRecord(kind="alpha")
    usable = sorted(mask.usable) if mask.usable is not None else USABLE_DEFAULTS[mask.kind]
    separate = mask_file(file, mask)
    if separate is None:
        index = _band_index(str(mask.band), names, file, "imagery.mask.band")
        return MaskRecord(kind=mask.kind, band_index=index, usable=usable)
    index = 1
    if mask.band:
        with open_image(separate) as opened:
            index = _band_index(mask.band, _own_names(opened), separate, "imagery.mask.band")
    return MaskRecord(
        kind=mask.kind,
        file=recorded_path(separate, output),
        sha256=sha256_file(separate),
        band_index=index,
        usable=usable,
    )


def _dtype(file: Path, source: Dataset, indexes: Sequence[int]) -> str:
    found = {np.dtype(source.dtypes[index - 1]) for index in indexes}
    if len(found) > 1 or next(iter(found)).kind not in "iuf":
        raise SceneError(
            "the bands are not of one integer or float type",
            where=file,
            found=", ".join(source.dtypes),
            fix="choose bands of one type in `imagery.use_bands`, or use `gdal_translate -ot`",
        )
    dtype = found.pop()
    return "float32" if dtype.kind == "f" else str(dtype)


def _planetscope(
    file: Path, indexes: list[int], settings: ImageFiles | None
) -> tuple[str | None, list[float] | None]:
    if settings is None or settings.metadata == "none":
        return None, None
    xml = metadata_file(file)
    metadata = read_metadata(xml)
    scale = None if is_surface_reflectance(file) else metadata.scale(indexes, xml)
    return metadata.acquired, scale


def _crs(file: Path, source: Dataset, settings: ImageFiles | None) -> str:
    stated = settings.crs if settings else None
    if source.crs is None and stated is None:
        raise SceneError(
            "the image has no CRS",
            where=file,
            fix="give it in `imagery.crs`, or assign it with `gdal_edit.py -a_srs EPSG:...`",
        )
    try:
        crs = source.crs or CRS.from_user_input(stated)
    except (CRSError, ValueError) as error:
        raise SceneError("`imagery.crs` is no CRS", where="imagery.crs", found=error) from None
    authority = crs.to_authority()
    if authority is not None and CRS.from_authority(*authority) == crs:
        return ":".join(authority)
    return str(crs.to_wkt())


def _transform(file: Path, source: Dataset) -> tuple[float, float, float, float, float, float]:
    transform = source.transform
    if transform.is_identity:
        raise SceneError(
            "the image has no position",
            where=file,
            expected="a geotransform in the file, or a world file (`.pgw`, `.jgw`) beside it",
            fix="add the world file; images without position need `provider: images`",
        )
    return (transform.a, transform.b, transform.c, transform.d, transform.e, transform.f)


def _nodata(
    file: Path, source: Dataset, indexes: Sequence[int], settings: ImageFiles | None
) -> float | Literal["nan"] | None:
    values = [source.nodatavals[index - 1] for index in indexes]
    stated = {repr(value): value for value in values}
    if len(stated) > 1:
        raise SceneError(
            "the bands have different no-data values",
            where=file,
            found=", ".join(stated),
            fix="give the file one with `gdal_edit.py -a_nodata`",
        )
    value = next(iter(stated.values()))
    if value is None and settings is not None:
        value = settings.nodata
    if value is None or math.isinf(value):
        return None
    return "nan" if math.isnan(value) else float(value)


def _licence(source: Dataset, settings: ImageFiles | None) -> str:
    stated = settings.licence if settings else "CC0-1.0"
    return str(source.tags().get(LICENCE_TAG, stated))


def _acquired(source: Dataset, settings: ImageFiles | None) -> str | None:
    if settings is not None and settings.acquired is not None:
        return settings.acquired.isoformat()
    return source.tags().get(ACQUIRED_TAG)  # type: ignore[no-any-return]


def file_warnings(source: Dataset, imagery: SceneImagery) -> Iterator[str]:
    """What a user should know of a file that can be used."""
    settings = imagery if isinstance(imagery, ImageFiles) else None
    masked = settings is not None and settings.mask is not None
    name = Path(source.name)
    if not masked and not all(_band_names(name, source, settings)[1]):
        yield (
            f"the alpha band of {name.name} is not used; set `imagery.mask.kind: alpha` to use it as mask, "
            "or give it another name in `imagery.bands` if it is an image"
        )
