"""What scenes must pass before anything is cut: a complete record, every block decoded, tiles."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyproj
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.errors import CRSError, RasterioError

from geolatents.acquire.files import SCL_USABLE, MaskRecord, SceneRecord, mask_file, scene_files
from geolatents.acquire.planetscope import is_surface_reflectance, metadata_file, read_metadata
from geolatents.acquire.reader import (
    SCANLINE_DRIVERS,
    Dataset,
    SceneReader,
    gdal_options,
    open_image,
    open_recorded,
    record_geobox,
    snapped,
)
from geolatents.errors import NoTilesError, SceneError
from geolatents.files import read_json, sha256_file, write_json
from geolatents.logs import LOG
from geolatents.paths import recorded_file, recorded_path
from geolatents.settings.imagery import FilesImagery, SyntheticImagery, ValidityMask
from geolatents.settings.landcover import LandCover
from geolatents.settings.tiles import TileSettings
from geolatents.tiles.cut import count_tiles
from geolatents.tiles.grid import TileGrid

MAX_YEARS_APART = 3
"""Images and land cover further apart than this get a warning."""

ACQUIRED_TAG = "ACQUIRED"
"""Tag of a file that gives its acquisition date; the synthetic scenes carry it."""

FIX_NO_TILES = "use a smaller `tiles.size`, a lower `tiles.min_valid`, or `tiles.edges: pad`"

USABLE_DEFAULTS = {"udm": [0], "udm2": [1], "scl": list(SCL_USABLE), "values": [1]}


def check_scene(
    scene: str,
    file: Path,
    imagery: FilesImagery | SyntheticImagery,
    tiles: TileSettings,
    output: Path,
    others: Mapping[str, Path] | None = None,
) -> None:
    """Check one scene and write its record, number of tiles and what is worth a warning.

    Decodes every block, so that a truncated file is found here and not while tiles are cut.
    ``output`` is JSON with ``record`` (:class:`SceneRecord`), ``n_tiles``, ``valid_share`` (usable
    pixels of the scene) and ``warnings`` (texts).

    Args:
        scene: Name of the scene.
        file: Its image.
        imagery: Settings of the images.
        tiles: Settings of the tile grid.
        output: JSON to write.
        others: Images of the dataset's other scenes, see :func:`other_scenes`; None: not known.
            They are only looked at: a dependency on their checks would run every scene again when one is added.

    Raises:
        SceneError: The image cannot be read or has no CRS or position, a band, mask or metadata
            file is missing, it is rotated, or its bands are not those of the other scenes.
        NoTilesError: Neither this scene nor another one leaves a tile.
    """
    with gdal_options(), open_image(file) as source:
        record = _record(scene, file, source, imagery, output)
        warnings = list(_file_warnings(source, imagery))
    _require_like_others(record, others or {}, imagery, output)
    with open_recorded(record, output, tiles.resolution) as reader:
        n_tiles, valid_share = count_tiles(reader, tiles)
    if n_tiles == 0:
        reason = _no_tiles(reader, tiles)
        if others is not None:
            _require_tiles_elsewhere(record, reason, others, imagery, tiles, output)
        warnings.append(f"scene {scene} leaves no tile: {reason}")
    for warning in warnings:
        LOG.warning(warning)
    write_json(
        output,
        {
            "record": record.model_dump(mode="json"),
            "n_tiles": n_tiles,
            "valid_share": round(float(valid_share), 6),
            "warnings": warnings,
        },
    )


def record_scene(check: Path, output: Path) -> None:
    """Write the record of a checked scene, with its paths as seen from ``output``."""
    record = _read_check(check)[0]
    mask = record.mask
    if mask is not None and mask.file is not None:
        moved = recorded_path(recorded_file(mask.file, check), output)
        mask = mask.model_copy(update={"file": moved})
    path = recorded_path(recorded_file(record.path, check), output)
    write_json(
        output, record.model_copy(update={"path": path, "mask": mask}).model_dump(mode="json")
    )


def check_scenes(
    checks: Sequence[Path],
    landcover: LandCover | None,
    tiles: TileSettings,
    output: Path,
    warnings: Path | None = None,
) -> None:
    """Check that scenes fit together: equal bands and type, at least one tile in all.

    ``output`` holds only bands and type, so that another scene or year reruns nothing below.

    Args:
        checks: What :func:`check_scene` wrote, one for each scene.
        landcover: Settings of the land cover, whose year and smallest unit are compared; None:
            tiles are only cut.
        tiles: Settings of the tile grid.
        output: JSON ``{"bands": [str], "dtype": str}``.
        warnings: JSON ``{"warnings": [str]}`` of all scenes and of the dataset, if wanted.

    Raises:
        SceneError: Bands or types differ between scenes.
        NoTilesError: No scene leaves a tile.
    """
    scenes = [_read_check(check) for check in checks]
    if not scenes:
        raise NoTilesError("the dataset has no scene", fix="correct `imagery.files`")
    records = [record for record, _ in scenes]
    for record in records[1:]:
        _require_equal(records[0], record)
    if sum(check["n_tiles"] for _, check in scenes) == 0:
        raise NoTilesError(
            "no scene leaves a tile",
            where=", ".join(record.scene for record in records),
            found="; ".join(text for _, check in scenes for text in check["warnings"]),
            fix=FIX_NO_TILES,
        )
    found: list[str] = []
    if landcover is not None:
        found += _year_warnings(records, landcover.year)
        found += _unit_warnings(records, landcover.minimum_unit_ha, tiles)
    for text in found:
        LOG.warning(text)
    if warnings is not None:
        write_json(warnings, {"warnings": [*(t for _, c in scenes for t in c["warnings"]), *found]})
    write_json(output, {"bands": records[0].bands, "dtype": records[0].dtype})


def _read_check(check: Path) -> tuple[SceneRecord, dict[str, Any]]:
    values = read_json(check)
    return SceneRecord.model_validate(values["record"]), values


# Beside the other scenes

# What is wrong with another scene is said by its own check.
OTHERS_FAULTS = (SceneError, RasterioError, OSError)


def other_scenes(
    scene: str, imagery: FilesImagery | SyntheticImagery, root: Path
) -> dict[str, Path]:
    """Images of all other scenes of a dataset below the data folder; drawn scenes have none."""
    if not isinstance(imagery, FilesImagery):
        return {}
    return {name: file for name, file in scene_files(imagery, root).items() if name != scene}


def _require_like_others(
    record: SceneRecord,
    others: Mapping[str, Path],
    imagery: FilesImagery | SyntheticImagery,
    output: Path,
) -> None:
    """Compare with the first other scene that can be read: every scene meets the first one."""
    for name, file in others.items():
        try:
            with gdal_options(), open_image(file) as source:
                other = _record(name, file, source, imagery, output, hashed=False)
        except OTHERS_FAULTS:
            continue
        _require_equal(other, record)
        return


def _require_tiles_elsewhere(
    record: SceneRecord,
    reason: str,
    others: Mapping[str, Path],
    imagery: FilesImagery | SyntheticImagery,
    tiles: TileSettings,
    output: Path,
) -> None:
    for name, file in others.items():
        try:
            with gdal_options(), open_image(file) as source:
                other = _record(name, file, source, imagery, output, hashed=False)
            with open_recorded(other, output, tiles.resolution) as reader:
                if count_tiles(reader, tiles)[0]:
                    return
        except OTHERS_FAULTS:
            continue
    raise NoTilesError(
        "no scene leaves a tile",
        where=", ".join([record.scene, *others]),
        found=f"{record.scene}: {reason}",
        fix=FIX_NO_TILES,
    )


# One record


def _record(
    scene: str,
    file: Path,
    source: Dataset,
    imagery: FilesImagery | SyntheticImagery,
    output: Path,
    hashed: bool = True,
) -> SceneRecord:
    settings = imagery if isinstance(imagery, FilesImagery) else None
    names, is_image = _band_names(file, source, settings)
    mask = _mask(file, source, names, settings.mask, output) if settings and settings.mask else None
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
        licence=settings.licence if settings else "CC0-1.0",
        provider=imagery.provider,
    )


def _band_names(
    file: Path, source: Dataset, settings: FilesImagery | None
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


def _mask(
    file: Path, source: Dataset, names: Sequence[str], mask: ValidityMask, output: Path
) -> MaskRecord:
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
    file: Path, indexes: list[int], settings: FilesImagery | None
) -> tuple[str | None, list[float] | None]:
    if settings is None or settings.metadata == "none":
        return None, None
    xml = metadata_file(file)
    metadata = read_metadata(xml)
    scale = None if is_surface_reflectance(file) else metadata.scale(indexes, xml)
    return metadata.acquired, scale


def _crs(file: Path, source: Dataset, settings: FilesImagery | None) -> str:
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
    file: Path, source: Dataset, indexes: Sequence[int], settings: FilesImagery | None
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


def _acquired(source: Dataset, settings: FilesImagery | None) -> str | None:
    if settings is not None and settings.acquired is not None:
        return settings.acquired.isoformat()
    return source.tags().get(ACQUIRED_TAG)  # type: ignore[no-any-return]


# Warnings and comparisons


def _file_warnings(source: Dataset, imagery: FilesImagery | SyntheticImagery) -> Iterator[str]:
    settings = imagery if isinstance(imagery, FilesImagery) else None
    masked = settings is not None and settings.mask is not None
    name = Path(source.name)
    if not masked and not all(_band_names(name, source, settings)[1]):
        yield (
            f"the alpha band of {name.name} is not used; set `imagery.mask.kind: alpha` to use it as mask, "
            "or give it another name in `imagery.bands` if it is an image"
        )


def _no_tiles(reader: SceneReader, tiles: TileSettings) -> str:
    grid = TileGrid.over(reader.geobox, tiles)
    rows, columns = reader.shape
    if len(grid) == 0:
        return f"{columns} x {rows} pixels hold no tile of {grid.size[0]} x {grid.size[1]}"
    return f"none of {len(grid)} tiles has {tiles.min_valid:.0%} usable pixels"


def _require_equal(first: SceneRecord, other: SceneRecord) -> None:
    problems = (
        ("the number of bands differs", len(first.bands), len(other.bands)),
        ("the bands differ", first.bands, other.bands),
        ("the pixel type differs", first.dtype, other.dtype),
    )
    for problem, expected, found in problems:
        if expected != found:
            raise SceneError(
                f"{problem} between scenes {first.scene!r} and {other.scene!r}",
                where=other.path,
                expected=f"{expected} as in {first.scene!r}",
                found=found,
                fix="choose common bands in `imagery.use_bands`, or make two datasets",
            )


def _year_warnings(records: Sequence[SceneRecord], year: int | None) -> Iterator[str]:
    for record in records:
        if year is None or record.acquired is None:
            continue
        apart = abs(int(record.acquired[:4]) - year)
        if apart > MAX_YEARS_APART:
            yield (
                f"scene {record.scene} is of {record.acquired[:4]}, {apart} years from land cover"
                f" of {year}; land that changed in between is labelled wrong"
            )


def _unit_warnings(
    records: Sequence[SceneRecord], minimum_ha: float, tiles: TileSettings
) -> Iterator[str]:
    areas = {round(_tile_hectares(record, tiles), 2) for record in records}
    if minimum_ha and areas and min(areas) < minimum_ha:
        yield (
            f"tiles of {min(areas):g} ha are smaller than the land cover's minimum unit of"
            f" {minimum_ha:g} ha; whatever is smaller than that unit is not in their labels"
        )


def _tile_hectares(record: SceneRecord, tiles: TileSettings) -> float:
    geobox = record_geobox(record)
    if tiles.resolution is not None:
        geobox = snapped(geobox, tiles.resolution)
    grid = TileGrid.over(geobox, tiles)
    across, down = (
        size * abs(step)
        for size, step in zip(grid.size, (geobox.affine.a, geobox.affine.e), strict=True)
    )
    crs = pyproj.CRS.from_user_input(record.crs)
    if crs.is_geographic:
        box = geobox.boundingbox
        x, y = (box.left + box.right) / 2, (box.bottom + box.top) / 2
        area, _ = (crs.get_geod() or pyproj.Geod(ellps="WGS84")).polygon_area_perimeter(
            [x, x + across, x + across, x], [y, y, y + down, y + down]
        )
        return float(abs(area)) / 1e4
    unit = float(crs.axis_info[0].unit_conversion_factor)
    return float(across * down * unit**2) / 1e4
