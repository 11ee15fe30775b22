"""The area of interest: where land cover is needed, from the footprints of the scenes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import shapely
from affine import Affine

from geolatents.errors import LandCoverError
from geolatents.geometry import Box, Geometries, reproject
from geolatents.stores import read_json

MARGIN_PIXELS = 512
"""Land cover is kept this far beyond scenes, so that padded tiles at their edges are covered, too."""


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
    transform = Affine(*content["transform"][:6])
    width, height = content["width"], content["height"]
    corners = [transform @ corner for corner in ((0, 0), (width, 0), (width, height), (0, height))]
    pixel = max(np.hypot(transform.a, transform.d), np.hypot(transform.b, transform.e))
    crs = pyproj.CRS.from_user_input(content["crs"])
    return Footprint(str(content.get("scene", record.stem)), shapely.Polygon(corners), crs, float(pixel))


def area_of_interest(
    scenes: Sequence[Path], crs: pyproj.CRS, margin_pixels: float = MARGIN_PIXELS
) -> Area | None:
    """Footprints of scenes in a layer's CRS, their edges densified.

    Args:
        scenes: Scene records.
        crs: CRS of the layer.
        margin_pixels: Margin in pixels of each scene.

    Returns:
        The area; None where the layer's CRS cannot express any of the scenes.
    """
    found = [footprint(record) for record in scenes]
    outlines = np.array([_outline(item, crs, 0.0) for item in found], dtype=object)
    widened = np.array([_outline(item, crs, margin_pixels) for item in found], dtype=object)
    finite = np.isfinite(shapely.bounds(outlines)).all(axis=1)
    # A margin can leave the domain of the CRS where the scene itself does not.
    usable = np.isfinite(shapely.bounds(widened)).all(axis=1)
    if not finite.any():
        return None
    wanted = shapely.union_all(np.where(usable, widened, outlines)[finite])
    names = tuple(item.scene for item, ok in zip(found, finite, strict=True) if ok)
    return Area(crs, names, outlines[finite], wanted)


def _outline(item: Footprint, crs: pyproj.CRS, margin_pixels: float) -> Any:  # noqa: ANN401
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
