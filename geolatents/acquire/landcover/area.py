"""The area of interest: where land cover is needed, from the footprints of the scenes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import shapely

from geolatents.errors import LandCoverError
from geolatents.files import read_json
from geolatents.geometry import Box, Geometries, reproject

MARGIN_PIXELS = 1024
"""Land cover is kept this far beyond scenes, so that padded tiles at their edges have it, too."""


@dataclass(frozen=True)
class Footprint:
    """Outline of a scene.

    Attributes:
        scene: Name of the scene.
        polygon: Outline in the scene's CRS.
        crs: CRS of the scene.
        pixel: Longer side of a pixel in CRS units.
    """

    scene: str
    polygon: Any
    crs: pyproj.CRS
    pixel: float


@dataclass(frozen=True)
class Area:
    """Scene footprints in the CRS of a land-cover layer.

    Attributes:
        crs: CRS of the layer.
        scenes: Names of the scenes.
        footprints: (scene,) outlines without a margin.
        wanted: Union of the outlines with their margin.
    """

    crs: pyproj.CRS
    scenes: tuple[str, ...]
    footprints: Geometries
    wanted: Any

    @property
    def bounds(self) -> Box:
        """Bounds of the wanted area."""
        left, bottom, right, top = (float(value) for value in self.wanted.bounds)
        return left, bottom, right, top


def footprint(record: Path) -> Footprint:
    """Outline of the scene of a record, or of the check that comes before it.

    Raises:
        LandCoverError: The scene has no CRS.
    """
    content = read_json(record)
    content = content.get("record", content)
    if not content.get("crs"):
        raise LandCoverError(
            "land cover needs scenes with a position on Earth",
            where=record,
            expected="a scene record with `crs`",
            fix="name the CRS in `imagery.crs`",
        )
    a, b, c, d, e, f = content["transform"][:6]
    width, height = content["width"], content["height"]
    corners = [
        (a * column + b * row + c, d * column + e * row + f)
        for column, row in ((0, 0), (width, 0), (width, height), (0, height))
    ]
    pixel = max(np.hypot(a, d), np.hypot(b, e))
    crs = pyproj.CRS.from_user_input(content["crs"])
    return Footprint(
        str(content.get("scene", record.stem)), shapely.Polygon(corners), crs, float(pixel)
    )


class Scenes:
    """The scenes that land cover is wanted for.

    Args:
        records: Scene records, or the checks that hold them.
        margin_pixels: Margin around each scene in its pixels.

    Raises:
        LandCoverError: A scene has no CRS.
    """

    def __init__(self, records: Sequence[Path], margin_pixels: float = MARGIN_PIXELS) -> None:
        self._footprints = [footprint(record) for record in records]
        self._margin_pixels = margin_pixels
        self._areas: dict[str, Area | None] = {}

    def area(self, crs: pyproj.CRS) -> Area | None:
        """Outlines in a layer's CRS, edges densified; None where the CRS can express no scene."""
        key = crs.to_wkt()
        if key not in self._areas:
            self._areas[key] = self._area(crs)
        return self._areas[key]

    def _area(self, crs: pyproj.CRS) -> Area | None:
        outlines = self._outlines(crs, 0.0)
        widened = self._outlines(crs, self._margin_pixels)
        finite = np.atleast_1d(np.isfinite(shapely.bounds(outlines)).all(axis=1))
        # A margin can leave the domain of the CRS where the scene itself does not.
        usable = np.isfinite(shapely.bounds(widened)).all(axis=1)
        if not finite.any():
            return None
        wanted = shapely.union_all(np.where(usable, widened, outlines)[finite])
        names = tuple(item.scene for item, ok in zip(self._footprints, finite, strict=True) if ok)
        return Area(crs, names, outlines[finite], wanted)

    def _outlines(self, crs: pyproj.CRS, margin_pixels: float) -> Geometries:
        return np.array(
            [_outline(item, crs, margin_pixels) for item in self._footprints], dtype=object
        )


def _outline(item: Footprint, crs: pyproj.CRS, margin_pixels: float) -> Any:
    polygon = item.polygon
    if margin_pixels:
        polygon = polygon.buffer(margin_pixels * item.pixel, join_style="mitre")
    polygon = shapely.segmentize(polygon, polygon.length / 64)
    return reproject(np.array([polygon], dtype=object), item.crs, crs, _tolerance(item, crs))[0]


def _tolerance(item: Footprint, crs: pyproj.CRS) -> float:
    """A tenth of the scene's pixel in units of another CRS, near enough."""
    metres = item.pixel * item.crs.axis_info[0].unit_conversion_factor
    if item.crs.is_geographic:
        metres *= 6_371_000.0
    unit = crs.axis_info[0].unit_conversion_factor
    return 0.1 * metres / (unit * 6_371_000.0 if crs.is_geographic else unit)
