"""What grows and is built where: the placement rules of regions A and B.

Both regions have the same classes, spectra and textures; they differ in which are neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

ANY = (0.0, 1.01)


@dataclass(frozen=True, slots=True)
class Zone:
    """Parcels that meet all bounds draw their class from one mixture.

    Attributes:
        name: What the zone is.
        classes: CORINE level-3 code and its weight.
        height: Bounds of the rank of the elevation on land, 0 (lowest) to 1.
        soil: Bounds of the rank of a second field (moist to dry), 0 to 1.
        coast: Largest distance to the sea in metres.
        town: Largest distance to a town centre in units of the town's radius.
    """

    name: str
    classes: dict[str, float]
    height: tuple[float, float] = ANY
    soil: tuple[float, float] = ANY
    coast: float = float("inf")
    town: float = float("inf")


@dataclass(frozen=True, slots=True)
class RegionRules:
    """Rules of a region.

    Attributes:
        zones: The first zone that fits a parcel decides.
        centre: Longitude and latitude (degrees) of its first map sheet, in the open Ionian Sea.
        tilt: Weight of the slope towards the sea against the hills.
        seaward: Direction of the sea, as a vector (east, north).
        sea: Share of the sheet that is sea.
        towns: Towns per 100 square kilometres.
        town_height: Rank of the elevation that towns prefer.
        core: Radius of the continuous town, in units of the town's radius.
        corridor: Distances to a town, in units of its radius, at which roads are a class.
        beach_width: Metres of beach where the soil is in `beach_soil`.
        beach_soil: Ranks of the soil field at which coasts have beaches.
    """

    zones: tuple[Zone, ...]
    centre: tuple[float, float]
    tilt: float
    seaward: tuple[float, float]
    sea: float
    towns: float
    town_height: float
    core: float
    corridor: tuple[float, float]
    beach_width: float
    beach_soil: tuple[float, float]


REGION_A = RegionRules(
    centre=(16.1, 37.2),
    tilt=0.9,
    seaward=(-0.6, -0.8),
    sea=0.17,
    towns=16,
    town_height=0.2,
    core=0.52,
    corridor=(0.4, 2.2),
    beach_width=100,
    beach_soil=(0.0, 0.75),
    zones=(
        Zone("town", {"112": 0.58, "121": 0.42}, town=1.15),
        Zone("coast", {"323": 1.0}, coast=260),
        Zone("plain", {"211": 0.5, "212": 0.5}, height=(0, 0.34), soil=(0, 0.5)),
        Zone("marsh", {"231": 0.5, "512": 0.5}, height=(0, 0.34)),
        Zone("gardens", {"222": 0.5, "242": 0.5}, height=(0, 0.68), soil=(0, 0.36)),
        Zone("terraces", {"221": 0.5, "223": 0.5}, height=(0, 0.68), soil=(0, 0.66)),
        Zone("woods", {"311": 0.5, "313": 0.5}, height=(0, 0.68)),
        Zone("crags", {"332": 0.5, "131": 0.5}, soil=(0, 0.38)),
        Zone("maquis", {"324": 0.62, "323": 0.38}, soil=(0, 0.68)),
        Zone("mountain", {"312": 0.55, "321": 0.45}),
    ),
)  # fmt: skip

REGION_B = RegionRules(
    centre=(16.9, 37.2),
    tilt=0.9,
    seaward=(0.85, 0.5),
    sea=0.17,
    towns=16,
    town_height=0.45,
    core=0.44,
    corridor=(1.3, 3.6),
    beach_width=110,
    beach_soil=(0.0, 0.55),
    zones=(
        Zone("garden town", {"112": 0.50, "222": 0.28, "231": 0.22}, town=1.15),
        Zone("dunes", {"312": 0.85, "321": 0.15}, coast=320, soil=(0, 0.55)),
        Zone("harbour and cliffs", {"121": 0.50, "332": 0.50}, coast=320),
        Zone("lake forest", {"311": 0.50, "512": 0.50}, height=(0, 0.36), soil=(0, 0.45)),
        Zone("wine and grain", {"211": 0.5, "221": 0.5}, height=(0, 0.36)),
        Zone("works", {"121": 0.45, "131": 0.55}, height=(0, 0.68), soil=(0, 0.30)),
        Zone("pasture", {"212": 0.5, "313": 0.5}, height=(0, 0.68), soil=(0, 0.62)),
        Zone("olive scrub", {"223": 0.5, "323": 0.5}, height=(0, 0.68)),
        Zone("smallholders", {"242": 0.5, "324": 0.5}, soil=(0, 0.50)),
        Zone("high pasture", {"321": 0.62, "231": 0.38}),
    ),
)  # fmt: skip

RULES = {"A": REGION_A, "B": REGION_B}
CODES = tuple(
    sorted(
        {code for rules in RULES.values() for zone in rules.zones for code in zone.classes}
        | {"111", "122", "331", "523"}
    )
)
"""Codes of all classes, in order; rasters of the generator hold positions in it."""
