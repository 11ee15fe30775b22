"""Sheets of orthophotos on one fixed grid."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import numpy as np
import shapely
from pydantic import Field
from shapely.geometry.base import BaseGeometry

from geolatents.errors import ConfigError
from geolatents.geometry import Box
from geolatents.settings.base import Section
from geolatents.settings.dls_orthophotos import Format

MOST_SHEETS = 200_000
"""Sheets of one search; more than that is a mistyped resolution or area."""


LEAST_SHARE = 1e-6
"""Of a sheet within the area; edges of an area that lie on the grid are a little off it after reprojection."""


class Windows(Section):
    """Requests of a service that draws any window (WMS ``GetMap``, ArcGIS ``export``, ``exportImage``)."""

    kind: Literal["windows"] = "windows"
    dialect: Literal["wms", "arcgis"] = Field(description="How box and size are written.")
    address: str = Field(description="Address below the service's root.")
    params: dict[str, str] = Field(description="Query of every request, beside box and size.")
    north_first: bool = Field(False, description="Whether the box is written south, west, ...")
    max_width: int = Field(description="Widest request in pixels.")
    max_height: int = Field(description="Highest request in pixels.")


class Tiles(Section):
    """Requests of a service that has tiles (WMTS ``GetTile``, ArcGIS ``tile``)."""

    kind: Literal["tiles"] = "tiles"
    address: str = Field(
        description="Address, below the service's root where it can be; may hold {TileRow} and {TileCol}."
    )
    params: dict[str, str] = Field(description="Query of every request, beside row and column.")
    crs: str = Field(description="CRS of the tiles.")
    matrix: str = Field(description="Tile matrix, or level.")
    resolution: float = Field(description="Pixel size in units of that CRS.")
    left: float = Field(description="Left edge of column 0 in that CRS.")
    top: float = Field(description="Upper edge of row 0.")
    tile_width: int = Field(description="Pixels.")
    tile_height: int = Field(description="Pixels.")
    columns: tuple[int, int] = Field(description="First and last column that the sheet needs.")
    rows: tuple[int, int] = Field(description="First and last row.")


class Sheet(Section):
    """One sheet with all that its requests need: the properties of its entry in the list of scenes."""

    name: str = Field(description="Name of the orthophotos.")
    source: str = Field(description="Path of the service below its root.")
    crs: str = Field(description="CRS of the sheet.")
    resolution: float = Field(description="Pixel size in units of the CRS.")
    bbox: Box = Field(description="Left, bottom, right, top in the CRS.")
    size: int = Field(description="Width and height in pixels.")
    format: Format = Field(description="Format of the requests.")
    requests: Annotated[Windows | Tiles, Field(discriminator="kind")] = Field(
        description="How pieces of the sheet are asked for."
    )

    def identity(self) -> dict[str, Any]:
        """What determines the content of a piece, besides its place; the address is none of it."""
        requests = self.requests
        common = {
            "name": self.name,
            "source": self.source,
            "params": requests.params,
            "format": self.format,
        }
        if isinstance(requests, Windows):
            # The folder of a sheet; its pieces are named by their windows.
            return common | {"crs": self.crs, "bbox": self.bbox, "size": self.size}
        # Neighbours share tiles, so all sheets share a folder.
        return common | {
            "template": requests.address,
            "crs": requests.crs,
            "matrix": requests.matrix,
        }


def sheet_places(wanted: BaseGeometry, side: float) -> list[tuple[int, int]]:
    """Columns and rows of the sheets that share land with an area.

    Sheets lie at multiples of their side from the origin of the CRS, so that every area finds the
    same ones.

    Args:
        wanted: Area in the CRS of the sheets.
        side: Side of a sheet in units of the CRS.

    Raises:
        ConfigError: There are absurdly many.
    """
    left, bottom, right, top = (value / side for value in wanted.bounds)
    columns = range(math.floor(left), math.ceil(right))
    rows = range(math.floor(bottom), math.ceil(top))
    if len(columns) * len(rows) > MOST_SHEETS:
        raise ConfigError(
            "the area has too many sheets",
            where="search",
            expected=f"at most {MOST_SHEETS}",
            found=f"{len(columns)} x {len(rows)}",
            fix="check `resolution`, which is in units of `crs`; raise `sheet`, or narrow `area`",
        )
    column, row = (index.ravel() for index in np.meshgrid(columns, rows))
    boxes = shapely.box(column * side, row * side, (column + 1) * side, (row + 1) * side)
    shapely.prepare(wanted)
    near = np.flatnonzero(shapely.intersects(wanted, boxes))
    shares = shapely.area(shapely.intersection(wanted, boxes[near])) / side**2
    kept = near[shares > LEAST_SHARE]
    return [(int(c), int(r)) for c, r in zip(column[kept], row[kept], strict=True)]


def sheet_name(prefix: str, column: int, row: int) -> str:
    """Name of a sheet by its place: ``prefix-e78-n74``."""
    east = f"e{column}" if column >= 0 else f"w{-column}"
    north = f"n{row}" if row >= 0 else f"s{-row}"
    return f"{prefix}-{east}-{north}"
