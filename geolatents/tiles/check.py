"""What scenes must pass before anything is cut: a complete record, every block decoded, tiles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyproj
from rasterio.errors import RasterioError

from geolatents.acquire.files import SceneRecord, scene_files
from geolatents.acquire.reader import (
    SceneReader,
    gdal_options,
    open_image,
    open_recorded,
    record_geobox,
    snapped,
)
from geolatents.acquire.record import build_record, file_warnings
from geolatents.errors import NoTilesError, SceneError
from geolatents.files import read_json, write_json
from geolatents.logs import LOG
from geolatents.paths import recorded_file, recorded_path
from geolatents.settings.files import FilesImagery
from geolatents.settings.landcover import LandCover
from geolatents.settings.scenes import SceneImagery
from geolatents.settings.tiles import TileSettings
from geolatents.tiles.cut import count_tiles
from geolatents.tiles.grid import TileGrid

MAX_YEARS_APART = 3
"""Images and land cover further apart than this get a warning."""

FIX_NO_TILES = "use a smaller `tiles.size`, a lower `tiles.min_valid`, or `tiles.edges: pad`"


def check_scene(
    scene: str,
    file: Path,
    imagery: SceneImagery,
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
            They are only looked at: a dependency on their checks would run every scene again when
            one is added.

    Raises:
        SceneError: The image cannot be read or has no CRS or position, a band, mask or metadata
            file is missing, it is rotated, or its bands are not those of the other scenes.
        NoTilesError: Neither this scene nor another one leaves a tile.
    """
    with gdal_options(), open_image(file) as source:
        record = build_record(scene, file, source, imagery, output)
        warnings = list(file_warnings(source, imagery))
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
        found += _year_warnings(records, landcover.reference_year)
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


def other_scenes(scene: str, imagery: SceneImagery, root: Path) -> dict[str, Path]:
    """Images of all other scenes of a dataset below the data folder; drawn and assembled scenes have none."""
    if not isinstance(imagery, FilesImagery):
        return {}
    return {name: file for name, file in scene_files(imagery, root).items() if name != scene}


def _require_like_others(
    record: SceneRecord,
    others: Mapping[str, Path],
    imagery: SceneImagery,
    output: Path,
) -> None:
    """Compare with the first other scene that can be read: every scene meets the first one."""
    for name, file in others.items():
        try:
            with gdal_options(), open_image(file) as source:
                other = build_record(name, file, source, imagery, output, hashed=False)
        except OTHERS_FAULTS:
            continue
        _require_equal(other, record)
        return


def _require_tiles_elsewhere(
    record: SceneRecord,
    reason: str,
    others: Mapping[str, Path],
    imagery: SceneImagery,
    tiles: TileSettings,
    output: Path,
) -> None:
    for name, file in others.items():
        try:
            with gdal_options(), open_image(file) as source:
                other = build_record(name, file, source, imagery, output, hashed=False)
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


# Warnings and comparisons


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
