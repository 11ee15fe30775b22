"""Land cover from any form that users have to one: GeoParquet polygons with the official code."""

from __future__ import annotations

import difflib
import glob
import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from geolatents.errors import LandCoverError
from geolatents.files import atomic_path, read_json, sha256_file, write_json
from geolatents.logs import LOG
from geolatents.nomenclature import Nomenclature
from geolatents.paths import recorded_path
from geolatents.settings.landcover import LandCover

if TYPE_CHECKING:
    from geolatents.acquire.landcover.area import Scenes
    from geolatents.acquire.landcover.polygons import Polygons

    Reader = Callable[[Path, LandCover, Nomenclature, Scenes], Polygons | LandCoverError]

# Libraries of geometry are imported where they are used: `landcover_files` is called whenever the
# workflow's graph is built.

MARGIN_PIXELS = 1024


def landcover_files(settings: LandCover, root: Path) -> list[Path]:
    """Files of a land-cover layer, sorted; none where the workflow makes it. Opens no file.

    Args:
        settings: `path` is used: a file, a file geodatabase or a glob pattern.
        root: Data folder that `path` is relative to.

    Raises:
        LandCoverError: There is no such file.
    """
    if settings.path is None:
        return []
    literal = Path(root) / settings.path
    if literal.exists() and (literal.is_file() or literal.suffix.lower() == ".gdb"):
        return [literal]
    start = Path(literal.anchor)  # an absolute `path` leaves the data folder
    found = sorted(start.glob(literal.relative_to(start).as_posix()))
    files = [path for path in found if path.is_file() or path.suffix.lower() == ".gdb"]
    if files:
        return files
    raise LandCoverError(
        "the land-cover file is missing",
        where="landcover.path",
        expected=literal,
        found=_neighbours(literal),
        fix="correct `landcover.path`, or put the file there",
    )


def check_landcover(
    settings: LandCover,
    files: Sequence[Path],
    nomenclature: Nomenclature,
    scenes: Sequence[Path],
    output: Path,
    margin_pixels: float = MARGIN_PIXELS,
) -> None:
    """Read everything that is needed of a land-cover layer and say what was found.

    Args:
        settings: Form of the layer.
        files: Its files, from :func:`landcover_files`.
        nomenclature: Whose codes are meant.
        scenes: Scene records (or checks, which hold them): the area of interest.
        output: JSON with `crs`, `field`, `layer`, `values` (what they were read as), `codes`
            (polygons of each code), `n_polygons`, `repaired` and `files` (sha256 by recorded name).
        margin_pixels: Land cover is kept this far beyond each scene, in its pixels; at least a tile
            where tiles are padded.

    Raises:
        LandCoverError: The layer is missing, unreadable, has no or several code fields, unknown
            codes, invalid polygons, no CRS, or does not overlap the scenes.
    """
    polygons = load_landcover(settings, files, nomenclature, scenes, margin_pixels)
    write_json(
        output,
        {
            **_summary(polygons),
            **polygons.details,
            "files": {recorded_path(file, output): _content_hash(file) for file in files},
        },
    )


def read_landcover(
    settings: LandCover,
    files: Sequence[Path],
    nomenclature: Nomenclature,
    scenes: Sequence[Path],
    check: Path,
    output: Path,
    margin_pixels: float = MARGIN_PIXELS,
) -> None:
    """Write a checked land-cover layer as GeoParquet: `code` and polygons, in the layer's CRS.

    Rows are ordered by code and place, so that the same land gives the same table whatever order
    the file has.

    Args:
        settings: Form of the layer.
        files: Its files.
        nomenclature: Whose codes are meant.
        scenes: Scene records: the area of interest.
        check: Output of :func:`check_landcover`.
        output: GeoParquet file.
        margin_pixels: As in the check.

    Raises:
        LandCoverError: As in the check, or the layer has changed since.
    """
    import geopandas

    polygons = load_landcover(settings, files, nomenclature, scenes, margin_pixels)
    checked = read_json(check)
    found = _summary(polygons)
    if any(checked.get(key) != value for key, value in found.items()):
        raise LandCoverError(
            "the land cover has changed since it was checked",
            where=", ".join(map(str, files)),
            expected=f"{checked.get('n_polygons')} polygons",
            found=f"{found['n_polygons']} polygons",
            fix=f"delete {check} and run again",
        )
    frame = geopandas.GeoDataFrame(
        {"code": polygons.codes.astype(object)}, geometry=polygons.geometries, crs=polygons.crs
    )
    with atomic_path(output) as part:
        frame.to_parquet(part, index=False)
    LOG.info("%s: %d polygons of %d classes", output, len(frame), len(set(polygons.codes)))


def load_landcover(
    settings: LandCover,
    files: Sequence[Path],
    nomenclature: Nomenclature,
    scenes: Sequence[Path],
    margin_pixels: float = MARGIN_PIXELS,
) -> Polygons:
    """Polygons of all files around the scenes; those of one class do not overlap.

    Raises:
        LandCoverError: See :func:`check_landcover`.
    """
    import numpy as np

    from geolatents.acquire.landcover.area import Scenes
    from geolatents.acquire.landcover.polygons import Polygons, without_overlaps

    if settings.source in {"synthetic", "corine"}:  # a layer in our own form
        settings = settings.model_copy(update={"source": "vector", "code_field": "code"})
    read, wanted = _reader(settings), Scenes(scenes, margin_pixels)
    results = [read(file, settings, nomenclature, wanted) for file in _existing(files)]
    parts = [part for part in results if isinstance(part, Polygons)]
    if not parts:
        raise next(part for part in results if isinstance(part, LandCoverError))
    _check_one_crs(files, parts)
    together = Polygons(
        parts[0].crs,
        np.concatenate([part.geometries for part in parts]),
        np.concatenate([part.codes for part in parts]),
        _joined_details(parts),
    )
    where = ", ".join(map(str, files[:3])) + (" ..." if len(files) > 3 else "")
    if len(parts) > 1 or not parts[0].disjoint:
        together = without_overlaps(together, where)
    _check_overlap(together, wanted, where)
    return _ordered(together)


def _reader(settings: LandCover) -> Reader:
    if settings.source == "vector":
        from geolatents.acquire.landcover.vector import read_vector

        return read_vector
    if settings.source == "boxes":
        from geolatents.acquire.landcover.boxes import read_boxes

        return read_boxes
    from geolatents.acquire.landcover.raster import read_raster

    return read_raster


def _existing(files: Sequence[Path]) -> list[Path]:
    for file in files:
        if not Path(file).exists():
            raise LandCoverError(
                "the land-cover file is missing",
                where=file,
                expected="a file",
                found=_neighbours(Path(file)),
                fix="correct `landcover.path`, or put the file there",
            )
    return [Path(file) for file in files]


def _check_one_crs(files: Sequence[Path], parts: Sequence[Polygons]) -> None:
    names = sorted({part.crs.to_string() for part in parts})
    if len(names) > 1:
        raise LandCoverError(
            "the land-cover files have different CRS",
            where=f"{files[0]} and {len(files) - 1} more",
            expected="one CRS",
            found=", ".join(names),
            fix="reproject them to one, or make one dataset per CRS",
        )


def _joined_details(parts: Sequence[Polygons]) -> dict[str, object]:
    details = dict(parts[0].details)
    if "repaired" in details:
        details["repaired"] = sum(int(str(part.details["repaired"])) for part in parts)
    return details


def _check_overlap(polygons: Polygons, scenes: Scenes, where: str) -> None:
    """Every scene needs land cover inside itself, not only in its margin."""
    import shapely

    from geolatents.acquire.landcover.polygons import no_overlap

    area = scenes.area(polygons.crs)
    tree = shapely.STRtree(polygons.geometries)
    touched = set() if area is None else set(tree.query(area.footprints, predicate="intersects")[0])
    if area is None or not touched:
        left, bottom, right, top = (float(v) for v in shapely.total_bounds(polygons.geometries))
        bounds = (left, bottom, right, top) if len(polygons.codes) else None
        raise no_overlap(where, bounds, polygons.crs, area)
    bare = [scene for i, scene in enumerate(area.scenes) if i not in touched]
    if bare:
        LOG.warning("%s: no land cover in scenes %s", where, ", ".join(bare))


def _ordered(polygons: Polygons) -> Polygons:
    import numpy as np
    import shapely

    bounds = shapely.bounds(polygons.geometries)
    keys = (shapely.area(polygons.geometries), *bounds.T[::-1], polygons.codes)
    order = np.lexsort(keys)
    return polygons.take(order, polygons.geometries[order])


def _summary(polygons: Polygons) -> dict[str, object]:
    return {
        "crs": polygons.crs.to_string(),
        "codes": dict(sorted(Counter(polygons.codes.tolist()).items())),
        "n_polygons": len(polygons.codes),
    }


def _content_hash(file: Path) -> str:
    """Hash of a file with what belongs to it: parts of a geodatabase or shapefile, world files."""
    digest = hashlib.sha256()
    for part in _members(Path(file)):
        digest.update(f"{part.name}\x1f{sha256_file(part)}\x1e".encode())
    return digest.hexdigest()


def _members(file: Path) -> list[Path]:
    if file.is_dir():
        return sorted(p for p in file.rglob("*") if p.is_file() and not p.name.endswith(".lock"))
    if file.suffix.lower() == ".shp":
        endings = {".shp", ".dbf", ".prj", ".cpg"}
    else:
        endings = {file.suffix.lower(), ".pgw", ".pngw", ".wld", ".tfw"}
    beside = file.parent.glob(f"{glob.escape(file.stem)}.*")
    return sorted(path for path in beside if path.suffix.lower() in endings)


def _neighbours(file: Path) -> str:
    """What lies where a file was expected."""
    folder = file.parent
    if not folder.is_dir():
        return f"no folder {folder}"
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    near = difflib.get_close_matches(file.name, names, n=3)
    return f"{folder} with " + (", ".join(near or names[:5]) or "nothing in it")
