"""What every form of land cover becomes: valid polygons with a code, in the layer's own CRS."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj
import shapely

from geolatents.acquire.landcover.area import Area
from geolatents.errors import LandCoverError
from geolatents.geometry import Box, Geometries, clip_polygons, polygon_parts, reprojected_bounds
from geolatents.logs import LOG
from geolatents.settings.landcover import LandCover

LONGITUDE_LATITUDE = pyproj.CRS.from_epsg(4326)


@dataclass(frozen=True)
class Polygons:
    """Polygons of one file or of several.

    Attributes:
        crs: Their CRS; coordinates are x before y.
        geometries: (n,) polygons.
        codes: (n,) code of each.
        details: What the check reports: field, layer, reading of the values, repaired polygons.
        disjoint: Whether polygons cannot overlap by construction.
    """

    crs: pyproj.CRS
    geometries: Geometries
    codes: npt.NDArray[np.str_]
    details: dict[str, Any] = field(default_factory=dict)
    disjoint: bool = False

    def take(self, positions: npt.NDArray[np.intp], geometries: Geometries) -> Polygons:
        """New geometries with the codes at given positions."""
        return replace(self, geometries=geometries, codes=self.codes[positions])


def chosen_crs(found: pyproj.CRS | None, settings: LandCover, where: Path) -> pyproj.CRS:
    """The file's own CRS, or the configured one where it carries none.

    Raises:
        LandCoverError: There is neither, or the configured one is no CRS.
    """
    if found is None and settings.crs is None:
        raise LandCoverError(
            "the land cover has no CRS",
            where=where,
            expected="a file with a CRS, or `landcover.crs`",
            found="neither",
            fix="set `landcover.crs`, such as EPSG:3035",
        )
    try:
        named = pyproj.CRS.from_user_input(settings.crs) if settings.crs else None
    except pyproj.exceptions.CRSError:
        raise LandCoverError(
            "`landcover.crs` is no coordinate reference system",
            where=where,
            expected="an authority code such as EPSG:3035",
            found=settings.crs,
            fix="correct `landcover.crs`",
        ) from None
    if found is not None and named is not None and found != named:
        LOG.warning(
            "%s: `landcover.crs` %s is not used, the file has %s", where, named.name, found.name
        )
    crs = found if found is not None else named
    assert crs is not None
    return crs


def no_overlap(
    where: object, bounds: Box | None, crs: pyproj.CRS, area: Area | None
) -> LandCoverError:
    """The error for land cover that lies elsewhere than the scenes."""
    scenes = _degrees(area.bounds, crs) if area else f"outside the domain of {crs.name}"
    return LandCoverError(
        "the land cover does not overlap the scenes",
        where=str(where),
        expected=f"land cover at {scenes} (with margin)",
        found=_degrees(bounds, crs) if bounds else "no polygons",
        fix="check `landcover.path` and the CRS of both",
    )


def valid_polygons(
    geometries: Geometries, labels: npt.NDArray[np.str_], settings: LandCover, where: Path
) -> tuple[Geometries, int]:
    """Two-dimensional, valid polygons, repaired where that is allowed.

    Args:
        geometries: (n,) geometries as read.
        labels: (n,) how messages name each.
        settings: `repair` is used.
        where: File, for messages.

    Returns:
        (n,) polygons or multipolygons, and how many were repaired.

    Raises:
        LandCoverError: A geometry is no polygon, or invalid and `repair` is off.
    """
    kinds = shapely.get_type_id(geometries)
    strange = np.flatnonzero(~np.isin(kinds, (-1, 3, 6)) & ~shapely.is_empty(geometries))
    if strange.size:
        raise LandCoverError(
            "the land cover has geometries that are no polygons",
            where=where,
            expected="polygons",
            found=f"{strange.size}, the first is {labels[strange[0]]}: "
            f"{geometries[strange[0]].geom_type}",
            fix="choose the polygon layer with `landcover.layer`, or remove them",
        )
    flat = shapely.force_2d(geometries)
    invalid = np.flatnonzero(~shapely.is_valid(flat) & (kinds >= 0))
    if not invalid.size:
        return flat, 0
    first = invalid[0]
    if not settings.repair:
        raise LandCoverError(
            "the land cover has invalid polygons",
            where=where,
            expected="valid polygons",
            found=f"{invalid.size}, the first is {labels[first]}: "
            f"{shapely.is_valid_reason(flat[first])}",
            fix="repair them in a GIS, or set `landcover.repair: true`",
        )
    flat[invalid] = shapely.make_valid(flat[invalid], method="structure", keep_collapsed=False)
    LOG.warning("%s: %d invalid polygons repaired", where, invalid.size)
    return flat, int(invalid.size)


def within(polygons: Polygons, area: Area, *, exact: bool = True) -> Polygons:
    """Polygons in the wanted area, as single polygons."""
    single, origin = polygon_parts(polygons.geometries)
    clipped, position = clip_polygons(single, area.wanted, exact=exact)
    return polygons.take(origin[position], clipped)


def without_overlaps(polygons: Polygons, where: object) -> Polygons:
    """Unite polygons of one class that overlap, and warn of classes that overlap each other.

    Covers can then be summed over polygons. Overlaps below a millionth of the smaller polygon are
    rounding.
    """
    one, other = _overlapping_pairs(polygons)
    alike = polygons.codes[one] == polygons.codes[other]
    if (~alike).any():
        first = int(np.flatnonzero(~alike)[0])
        LOG.warning(
            "%s: %d pairs of polygons of different classes overlap, the first are %s and %s near "
            "%s; shares of such tiles sum to more than 1",
            where, int((~alike).sum()), polygons.codes[one[first]], polygons.codes[other[first]],
            shapely.intersection(
                polygons.geometries[one[first]], polygons.geometries[other[first]]
            ).representative_point().wkt,
        )  # fmt: skip
    if not alike.any():
        return polygons
    LOG.warning("%s: %d overlaps within a class united", where, int(alike.sum()))
    return _united(polygons, one[alike], other[alike])


def _overlapping_pairs(polygons: Polygons) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    geometries = polygons.geometries
    # Polygons that share touching edges vertex by vertex cannot overlap: few are left to look at.
    suspects = np.flatnonzero(~shapely.is_empty(_unmatched_edges(geometries)))
    tree = shapely.STRtree(geometries)
    one, other = tree.query(geometries[suspects], predicate="intersects")
    one = suspects[one]
    # A pair is found from both sides, or from one where one polygon holds the other.
    pairs = np.unique(np.sort(np.stack([one, other]), axis=0)[:, one != other], axis=1)
    one, other = pairs
    shared = shapely.area(shapely.intersection(geometries[one], geometries[other]))
    smaller = np.minimum(shapely.area(geometries[one]), shapely.area(geometries[other]))
    real = shared > 1e-6 * smaller
    return one[real], other[real]


def _unmatched_edges(geometries: Geometries) -> Geometries:
    return np.atleast_1d(np.asarray(shapely.coverage_invalid_edges(geometries)))


def _united(polygons: Polygons, one: npt.NDArray[np.intp], other: npt.NDArray[np.intp]) -> Polygons:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(polygons.codes)
    links = coo_array((np.ones(one.size, dtype=np.int8), (one, other)), shape=(n, n))
    _, group = connected_components(links, directed=False)
    involved = np.zeros(n, dtype=bool)
    involved[np.concatenate([one, other])] = True
    kept = np.flatnonzero(~involved)
    parts, origins = [polygons.geometries[kept]], [kept]
    for number in np.unique(group[involved]):
        members = np.flatnonzero(group == number)
        union = np.array([shapely.union_all(polygons.geometries[members])], dtype=object)
        single, _ = polygon_parts(union)
        parts.append(single)
        origins.append(np.full(len(single), members[0]))
    return polygons.take(np.concatenate(origins), np.concatenate(parts))


def _degrees(bounds: Box, crs: pyproj.CRS) -> str:
    west, south, east, north = reprojected_bounds(bounds, crs, LONGITUDE_LATITUDE)
    return f"{west:.3f} to {east:.3f} °E, {south:.3f} to {north:.3f} °N"
