"""The requests that a sheet of orthophotos is made of: windows of a picture, or tiles."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import parse_qsl

import pyproj

from geolatents.acquire.dls_orthophotos.sheets import Sheet, Tiles, Windows
from geolatents.errors import ConfigError
from geolatents.geometry import Box


@dataclass(frozen=True)
class Piece:
    """One request.

    Attributes:
        name: Unique within the folder of the sheet, or of the matrix.
        column: Left edge in pixels, from the left edge of the sheet or matrix.
        row: Upper edge in pixels.
        width: Pixels.
        height: Pixels.
        address: Address, below the service's root unless it is whole.
        params: Query.
    """

    name: str
    column: int
    row: int
    width: int
    height: int
    address: str
    params: dict[str, str]


@dataclass(frozen=True)
class Matrix:
    """A tile matrix as a service describes it.

    Attributes:
        name: Identifier, or level.
        crs: CRS such as ``EPSG:3857``.
        resolution: Pixel size in units of the CRS.
        left: Left edge of column 0.
        top: Upper edge of row 0.
        tile_width: Pixels.
        tile_height: Pixels.
        columns: First and last column that has tiles.
        rows: First and last row that has tiles.
    """

    name: str
    crs: str
    resolution: float
    left: float
    top: float
    tile_width: int
    tile_height: int
    columns: tuple[int, int]
    rows: tuple[int, int]

    @property
    def bounds(self) -> Box:
        """Left, bottom, right, top of all tiles."""
        width, height = self.tile_width * self.resolution, self.tile_height * self.resolution
        return (
            self.left + self.columns[0] * width,
            self.top - (self.rows[1] + 1) * height,
            self.left + (self.columns[1] + 1) * width,
            self.top - self.rows[0] * height,
        )


def pieces(sheet: Sheet) -> list[Piece]:
    """The requests of a sheet, in order of rows."""
    if isinstance(sheet.requests, Windows):
        return list(_windows(sheet, sheet.requests))
    return list(_tiles(sheet.requests))


def _windows(sheet: Sheet, requests: Windows) -> Iterator[Piece]:
    """Pieces of nearly equal size: a remainder of a few pixels would cost a request of its own."""
    for row, height in _shares(sheet.size, requests.max_height):
        for column, width in _shares(sheet.size, requests.max_width):
            left, _, _, top = sheet.bbox
            box = (
                left + column * sheet.resolution,
                top - (row + height) * sheet.resolution,
                left + (column + width) * sheet.resolution,
                top - row * sheet.resolution,
            )
            yield Piece(
                f"x{column}-y{row}-{width}x{height}", column, row, width, height,
                requests.address, requests.params | _box_params(requests, box, width, height),
            )  # fmt: skip


def _shares(size: int, limit: int) -> list[tuple[int, int]]:
    """Start and length of the fewest parts of ``size`` that respect a limit."""
    count = -(-size // limit)
    edges = [size * index // count for index in range(count + 1)]
    return [(low, high - low) for low, high in itertools.pairwise(edges)]


def _box_params(requests: Windows, box: Box, width: int, height: int) -> dict[str, str]:
    left, bottom, right, top = (decimal(value) for value in box)
    if requests.dialect == "arcgis":
        return {"bbox": f"{left},{bottom},{right},{top}", "size": f"{width},{height}"}
    corners = (bottom, left, top, right) if requests.north_first else (left, bottom, right, top)
    return {"BBOX": ",".join(corners), "WIDTH": str(width), "HEIGHT": str(height)}


def decimal(value: float) -> str:
    """A coordinate without exponent and without the noise of binary fractions."""
    text = f"{value:.10f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _tiles(requests: Tiles) -> Iterator[Piece]:
    width, height = requests.tile_width, requests.tile_height
    for row in range(requests.rows[0], requests.rows[1] + 1):
        for column in range(requests.columns[0], requests.columns[1] + 1):
            place = {"TileRow": str(row), "TileCol": str(column)}
            address, params = requests.address, dict(requests.params)
            if "{TileRow}" in address:
                for name, value in place.items():
                    address = address.replace(f"{{{name}}}", value)
            else:
                params |= {name.upper(): value for name, value in place.items()}
            yield Piece(
                f"{row}/{column}", column * width, row * height, width, height, address, params
            )


def tiles_of_sheet(
    bbox: Box, crs: str, resolution: float, matrices: list[Matrix], address: str, params: dict[str, str]
) -> Tiles | None:  # fmt: skip
    """Tiles of the coarsest matrix that is not coarser than a sheet; None where it has no tile.

    Args:
        bbox: Sheet.
        crs: Its CRS.
        resolution: Its pixel size.
        matrices: What the service has, in one CRS.
        address: Address with ``{TileMatrix}``, or else ``params`` take ``TILEMATRIX``.
        params: Query.

    Raises:
        ConfigError: All matrices are coarser.
    """
    matrix = _nearest(bbox, crs, resolution, matrices)
    transformer = pyproj.Transformer.from_crs(crs, matrix.crs, always_xy=True)
    left, bottom, right, top = transformer.transform_bounds(*bbox, densify_pts=21)
    # For the kernel of cubic resampling: two pixels of the sheet, which are up to four of the tiles.
    spare = 4 * matrix.resolution
    width, height = matrix.tile_width * matrix.resolution, matrix.tile_height * matrix.resolution
    columns = _within(matrix.columns, (left - spare - matrix.left) / width, (right + spare - matrix.left) / width)  # fmt: skip
    rows = _within(matrix.rows, (matrix.top - top - spare) / height, (matrix.top - bottom + spare) / height)  # fmt: skip
    if columns is None or rows is None:
        return None
    if "{TileMatrix}" in address:
        address = address.replace("{TileMatrix}", matrix.name)
    else:
        params = params | {"TILEMATRIX": matrix.name}
    return Tiles(
        address=address, params=params, crs=matrix.crs, matrix=matrix.name, resolution=matrix.resolution,
        left=matrix.left, top=matrix.top, tile_width=matrix.tile_width, tile_height=matrix.tile_height,
        columns=columns, rows=rows,
    )  # fmt: skip


def _nearest(bbox: Box, crs: str, resolution: float, matrices: list[Matrix]) -> Matrix:
    """The coarsest matrix that is at most 1 % coarser than a sheet, compared on the ground at its centre."""
    transformer = pyproj.Transformer.from_crs(crs, matrices[0].crs, always_xy=True)
    x, y = (bbox[0] + bbox[2]) / 2, (bbox[1] + bbox[3]) / 2
    u, v = transformer.transform([x, x + resolution, x], [y, y, y + resolution])
    pixel = min(math.hypot(u[1] - u[0], v[1] - v[0]), math.hypot(u[2] - u[0], v[2] - v[0]))
    fine = [matrix for matrix in matrices if matrix.resolution <= 1.01 * pixel]
    if not fine:
        best = min(matrix.resolution for matrix in matrices)
        raise ConfigError(
            "the service has no tiles of this resolution",
            where="search.resolution",
            expected=f"at least {resolution * best / pixel:.4g}, the finest tiles of the service",
            found=resolution,
            fix="raise `search.resolution`",
        )
    return max(fine, key=lambda matrix: matrix.resolution)


def _within(limits: tuple[int, int], low: float, high: float) -> tuple[int, int] | None:
    first = max(limits[0], math.floor(low))
    last = min(limits[1], math.ceil(high) - 1)
    return (first, last) if first <= last else None


# ---- addresses


def split_source(source: str) -> tuple[str, dict[str, str]]:
    """Path of a service, and the query that goes with every request."""
    path, _, query = source.partition("?")
    return path, dict(parse_qsl(query, keep_blank_values=True))


def below(address: str, root: str) -> str | None:
    """The part of a whole address below a root; None where it is elsewhere."""
    start = root.rstrip("/") + "/"
    return address.removeprefix(start) if address.startswith(start) else None


def whole(address: str, root: str) -> str:
    """The inverse of :func:`below`; whole addresses stay as they are."""
    if address.startswith(("http://", "https://")):
        return address
    return f"{root.rstrip('/')}/{address}"
