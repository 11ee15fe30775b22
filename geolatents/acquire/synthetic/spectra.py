"""Reflectances of classes, haze and clouds in units of 1e-4: blue, green, red, near infrared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geolatents.acquire.synthetic.noise import Field
from geolatents.acquire.synthetic.rules import CODES


@dataclass(frozen=True, slots=True)
class Material:
    """How a group of classes reflects.

    Attributes:
        base: Mean reflectance.
        texture: Change per unit of the texture.
        tone: Change per unit of a field's or stand's own tone.
    """

    base: tuple[float, float, float, float]
    texture: tuple[float, float, float, float]
    tone: tuple[float, float, float, float]


_FIELDS = Material((830, 1080, 1150, 2650), (110, 150, 230, -330), (95, 110, 300, -520))
_BUILT = Material((1180, 1270, 1330, 2000), (300, 300, 330, 260), (110, 100, 110, 200))
_WOODS = Material((420, 610, 480, 2700), (60, 100, 75, 560), (40, 75, 60, 380))
_OPEN = Material((760, 960, 1010, 2250), (110, 150, 190, 90), (90, 100, 170, 210))
_BARE = Material((1500, 1750, 1950, 2500), (250, 280, 310, 350), (190, 200, 230, 260))
_WATER = Material((760, 640, 430, 260), (62, 66, 52, 46), (80, 75, 40, 20))

MATERIALS = {
    "111": _BUILT, "112": _BUILT, "121": _BUILT, "122": _BUILT, "131": _BARE,
    "211": _FIELDS, "212": _FIELDS, "221": _FIELDS, "222": _FIELDS, "223": _FIELDS,
    "231": _FIELDS, "242": _FIELDS,
    "311": _WOODS, "312": _WOODS, "313": _WOODS, "324": _WOODS,
    "321": _OPEN, "323": _OPEN, "331": _BARE, "332": _BARE, "512": _WATER, "523": _WATER,
}  # fmt: skip

TINTS = {
    "111": (40, -10, 0, -420), "112": (-190, -70, -150, 620), "121": (420, 400, 370, 250),
    "122": (-400, -430, -450, -760),
    "131": (-60, 40, 210, 150), "331": (330, 320, 240, 350), "332": (-330, -380, -440, -500),
    "211": (130, 180, 330, -250), "212": (-230, -30, -480, 1250), "221": (60, 0, 260, -620),
    "222": (-190, -150, -300, 250), "223": (200, 230, 180, -500), "231": (-60, 290, -120, 1150),
    "242": (60, 140, 20, 130),
    "311": (10, 150, -10, 1150), "312": (-70, -140, -120, -850), "313": (20, 0, 40, 120),
    "324": (130, 190, 260, -350),
    "321": (60, 130, 210, 350), "323": (-130, -150, -170, -150),
    "512": (-90, 30, 40, 10), "523": (60, -20, -60, -10),
}  # fmt: skip
"""Shift of a class against its group's mean."""

STRENGTHS = {
    "331": 0.45,
    "231": 0.75,
    "321": 0.8,
    "512": 0.8,
    "242": 1.3,
    "112": 1.15,
    "212": 1.2,
    "323": 1.2,
}
"""Factor on the texture of a class, for the eye; 1 for the others."""

HAZE = (520.0, 360.0, 230.0, 90.0)
"""Path reflectance of a very hazy day."""
CLOUD = (5200.0, 5300.0, 5400.0, 5600.0)
ROAD = (1050.0, 1080.0, 1120.0, 1500.0)


def class_table(part: str) -> Field:
    """``(class, band)`` table of ``base``, ``texture`` or ``tone`` in the order of `CODES`."""
    rows = [getattr(MATERIALS[code], part) for code in CODES]
    table = np.asarray(rows, np.float32)
    if part == "base":
        table += np.asarray([TINTS.get(code, (0, 0, 0, 0)) for code in CODES], np.float32)
    if part == "texture":
        table *= np.asarray([STRENGTHS.get(code, 1.0) for code in CODES], np.float32)[:, None]
    return table
