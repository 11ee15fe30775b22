"""Names, sheets and footprints of the demo country's scenes; cheap to import."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from geolatents.errors import SceneError
from geolatents.settings.synthetic import DRAWN_PIXEL, SyntheticImagery

BANDS = ("blue", "green", "red", "nir")
PIXEL = DRAWN_PIXEL
"""Ground size in metres of the pixels in which sizes of fields, textures and sheets are given."""
SCENE_CRS = "EPSG:32633"
SCENES_PER_SHEET = 4
"""Scenes lie two by two on a map sheet of their own, so that another scene changes no other."""
OVERLAP = 0.15
"""Share of a scene's side that its neighbour also covers."""


@dataclass(frozen=True, slots=True)
class ScenePlace:
    """Where and when a scene is taken.

    Attributes:
        index: Position among the region's scenes.
        sheet: Map sheet that it lies on.
        column: 0 (west) or 1 (east) on the sheet.
        row: 0 (north) or 1 (south) on the sheet.
        acquired: Day of acquisition.
    """

    index: int
    sheet: int
    column: int
    row: int
    acquired: date


def scene_names(imagery: SyntheticImagery) -> list[str]:
    """Names such as ``a-01``; more scenes append names and change none."""
    return [f"{imagery.region.lower()}-{number + 1:02d}" for number in range(imagery.scenes)]


def scene_place(imagery: SyntheticImagery, scene: str) -> ScenePlace:
    """Sheet, position and day of a scene.

    Raises:
        SceneError: The imagery has no scene of that name.
    """
    names = scene_names(imagery)
    if scene not in names:
        raise SceneError(
            f"the demo country has no scene {scene!r}", expected=", ".join(names), found=scene
        )
    index = names.index(scene)
    sheet, position = divmod(index, SCENES_PER_SHEET)
    first = date(2018, 5, 12) if imagery.region == "A" else date(2018, 6, 3)
    return ScenePlace(index, sheet, position % 2, position // 2, first + timedelta(days=9 * index))


def sheet_count(imagery: SyntheticImagery) -> int:
    """Number of map sheets that the scenes need."""
    return -(-imagery.scenes // SCENES_PER_SHEET)
