"""Ordered class lists with official codes, names and colours.

Class order is frozen by official code, never by name: sorting by name once turned the public 43 to 19
class mapping of BigEarthNet silently wrong.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources

from geolatents.errors import LabelError

"""Mask value of pixels without land cover; class ``i`` of a nomenclature is stored as ``i + 1``."""


@dataclass(frozen=True, slots=True)
class LandClass:
    """One class of a nomenclature.

    Attributes:
        code: Official code, such as ``"211"``; unique, and what files and labels refer to.
        name: Official name.
        colour: ``#rrggbb``.
        grid_code: Value in official rasters, or None where the nomenclature has no raster form.
        level1: Name of the level-1 group, empty where there is none.
        level2: Name of the level-2 group, empty where there is none.
        bigearthnet19: Name of the class in the 19-class nomenclature of BigEarthNet (Sumbul et al. 2021), empty where dropped.
    """

    code: str
    name: str
    colour: str
    grid_code: int | None = None
    level1: str = ""
    level2: str = ""
    bigearthnet19: str = ""


@dataclass(frozen=True, slots=True)
class Nomenclature:
    """An ordered, immutable class list.

    Attributes:
        name: Short name, such as ``"corine"``.
        classes: Classes in their frozen order.
    """

    name: str
    classes: tuple[LandClass, ...]
    _index: dict[str, int] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        for position, item in enumerate(self.classes):
            if self._index.setdefault(item.code, position) != position:
                raise LabelError(
                    f"class code {item.code!r} occurs twice in nomenclature {self.name!r}"
                )
        if len(self.classes) > 254:
            raise LabelError(
                f"nomenclature {self.name!r} has {len(self.classes)} classes",
                expected="at most 254, since masks are uint8 with 0 for no data",
            )

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def codes(self) -> list[str]:
        """Codes in class order."""
        return [item.code for item in self.classes]

    @property
    def names(self) -> list[str]:
        """Names in class order."""
        return [item.name for item in self.classes]

    def index(self, code: str) -> int:
        """Position of a code.

        Raises:
            LabelError: The code is not of this nomenclature.
        """
        try:
            return self._index[code]
        except KeyError:
            raise LabelError(
                f"{code!r} is not a class of nomenclature {self.name!r}",
                expected=", ".join(self.codes),
            ) from None

    def __contains__(self, code: object) -> bool:
        return code in self._index

    def by_grid_code(self) -> dict[int, int]:
        """Position of each official raster value."""
        return {
            item.grid_code: position
            for position, item in enumerate(self.classes)
            if item.grid_code is not None
        }

    def subset(self, codes: Iterable[str]) -> tuple[LandClass, ...]:
        """Classes of the given codes, in the order of this nomenclature."""
        wanted = {self.classes[self.index(code)].code for code in codes}
        return tuple(item for item in self.classes if item.code in wanted)


@cache
def corine() -> Nomenclature:
    """CORINE Land Cover level 3: 44 classes, 111 to 523, ordered by code (EEA, CLC nomenclature)."""
    text = resources.files("geolatents").joinpath("data/corine.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    return Nomenclature(
        "corine",
        tuple(
            LandClass(
                code=row["code"],
                name=row["name"],
                colour=row["colour"],
                grid_code=int(row["grid_code"]),
                level1=row["level1"],
                level2=row["level2"],
                bigearthnet19=row["bigearthnet19"],
            )
            for row in rows
        ),
    )


def listed_nomenclature(name: str, codes: Sequence[str]) -> Nomenclature:
    """Nomenclature of a table's own columns, in the table's order, with evenly spread colours."""
    import colorsys

    def colour(position: int) -> str:
        rgb = colorsys.hls_to_rgb((position * 0.618034) % 1.0, 0.45 + 0.1 * (position % 3), 0.65)
        return "#" + "".join(f"{round(255 * part):02x}" for part in rgb)

    return Nomenclature(
        name,
        tuple(LandClass(code, code.replace("-", " "), colour(i)) for i, code in enumerate(codes)),
    )
