"""A fixed worldwide grid of nearly square cells: jobs of photo downloads, and places to ask a search for.

The grid depends on the side of its cells alone, so a wider search keeps the cells that were there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

METRES_PER_DEGREE = 111_195.0
"""Along a meridian of the mean sphere (radius 6 371 008.8 m)."""


@dataclass(frozen=True)
class WorldGrid:
    """Rows of equal height; in each row as many equal columns as keep the sides at most this long.

    Attributes:
        side: Longest side of a cell in metres.
    """

    side: float

    @property
    def height(self) -> float:
        """Height of a row in degrees."""
        return 180.0 / math.ceil(180.0 * METRES_PER_DEGREE / self.side)

    def _row(self, latitude: float) -> int:
        return min(int((latitude + 90.0) / self.height), round(180.0 / self.height) - 1)

    def _width(self, row: int) -> float:
        """Width of the cells of a row in degrees, by its edge that is nearest to the equator."""
        south = -90.0 + row * self.height
        widest = 0.0 if south <= 0.0 <= south + self.height else min(abs(south), abs(south + self.height))  # fmt: skip
        around = 360.0 * METRES_PER_DEGREE * math.cos(math.radians(widest))
        return 360.0 / max(1, math.ceil(around / self.side))

    def box_of(self, longitude: float, latitude: float) -> tuple[float, float, float, float]:
        """``(west, south, east, north)`` in degrees of the cell that holds a position.

        Args:
            longitude: -180 to 180; 180 is taken as -180.
            latitude: -90 to 90.
        """
        row = self._row(latitude)
        width = self._width(row)
        column = int(((longitude + 180.0) % 360.0) / width)
        west, south = -180.0 + column * width, -90.0 + row * self.height
        return west, south, west + width, south + self.height

    def boxes_over(self, area: BaseGeometry) -> Iterator[tuple[float, float, float, float]]:
        """Boxes of all cells that an area touches, from south to north and west to east.

        Args:
            area: Geometry in longitude and latitude.
        """
        west, south, east, north = area.bounds
        shapely.prepare(area)
        for row in range(self._row(south), self._row(north) + 1):
            width, bottom = self._width(row), -90.0 + row * self.height
            first, behind = int((west + 180.0) / width), math.ceil((east + 180.0) / width)
            left = -180.0 + np.arange(first, max(behind, first + 1)) * width
            across = np.full(len(left), bottom)
            cells = shapely.box(left, across, left + width, across + self.height)
            for west_edge in left[shapely.intersects(area, cells)].tolist():
                yield west_edge, bottom, west_edge + width, bottom + self.height


def cell_of(longitude: float, latitude: float, cell_km: float) -> str:
    """Name of the cell that holds a position: its south-west corner in hundredths of a degree.

    Args:
        longitude: Degrees.
        latitude: Degrees.
        cell_km: Side of the cells in kilometres, at least 2: hundredths of a degree tell no smaller ones apart.

    Returns:
        A name such as ``n5580e03720``.
    """
    west, south, _, _ = WorldGrid(cell_km * 1000.0).box_of(longitude, latitude)
    row, column = math.floor(south * 100 + 1e-6), math.floor(west * 100 + 1e-6)
    return f"{'s' if row < 0 else 'n'}{abs(row):04d}{'w' if column < 0 else 'e'}{abs(column):05d}"
