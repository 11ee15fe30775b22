"""The tile grid: which windows of a scene are tiles, on lines that all scenes of a CRS share."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from odc.geo.geobox import GeoBox

from geolatents.errors import SceneError
from geolatents.logs import LOG
from geolatents.settings.tiles import TileSettings

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class TileWindow:
    """One tile of a grid.

    Attributes:
        column: Column of the grid, counted eastwards from the CRS origin; may be negative.
        row: Row of the grid, counted southwards from the CRS origin; negative north of it.
        x: First pixel column in the scene; negative where the tile is padded.
        y: First pixel row in the scene; negative where the tile is padded.
    """

    column: int
    row: int
    x: int
    y: int


@dataclass(frozen=True)
class TileGrid:
    """Windows of one size at one step over a scene, on lines that all scenes of a CRS share.

    A grid line lies at each multiple of the stride (in CRS units) from the CRS origin, moved to the
    nearest whole pixel of the scene. Two scenes with the same pixel size whose origins differ by
    whole pixels have the same lines; otherwise theirs differ by less than a pixel.

    Attributes:
        geobox: Shape, transform and CRS of the scene; north up.
        size: Width and height of a tile in pixels.
        stride: Step between tiles in x and y, in pixels.
        origin: Pixels from the CRS origin to the scene's upper-left corner, east- and southwards.
        edges: Whether tiles that reach over the scene's edge are left out or padded.
    """

    geobox: GeoBox
    size: Pair
    stride: Pair
    origin: Pair
    edges: Literal["drop", "pad"] = "drop"

    @classmethod
    def over(cls, geobox: GeoBox, settings: TileSettings, where: str | None = None) -> TileGrid:
        """The grid of a scene.

        Args:
            geobox: Shape, transform and CRS of the scene (after resampling).
            settings: Tile size and stride in pixels or metres. Metres are rounded to whole pixels,
                and the log says to how many.
            where: What errors name as the place, such as the scene's record.

        Raises:
            SceneError: The scene is rotated or not north up, or sizes are in metres while its CRS
                is geographic or missing.
        """
        _require_north_up(geobox, where)
        scale = (1.0, 1.0) if settings.unit == "pixels" else _pixels_per_metre(geobox, where)
        size = _whole_pixels("size", settings.size, settings.unit, scale)
        wanted = settings.size if settings.stride is None else settings.stride
        stride = _whole_pixels("stride", wanted, settings.unit, scale)
        transform = geobox.affine
        origin = (
            _nearest(transform.c / transform.a),
            _nearest(transform.f / transform.e),
        )
        return cls(geobox, size, stride, origin, settings.edges)

    @property
    def columns(self) -> range:
        """Columns of the grid that have tiles in the scene, west to east."""
        return self._lines(0)

    @property
    def rows(self) -> range:
        """Rows of the grid that have tiles in the scene, north to south."""
        return self._lines(1)

    @property
    def shape(self) -> Pair:
        """Rows and columns that have tiles."""
        return len(self.rows), len(self.columns)

    def __len__(self) -> int:
        """Number of windows."""
        return len(self.rows) * len(self.columns)

    def x(self, column: int) -> int:
        """First pixel column of a grid column."""
        return column * self.stride[0] - self.origin[0]

    def y(self, row: int) -> int:
        """First pixel row of a grid row."""
        return row * self.stride[1] - self.origin[1]

    def windows(self) -> Iterator[TileWindow]:
        """All windows, row by row from the north, each from west to east."""
        for row in self.rows:
            for column in self.columns:
                yield TileWindow(column, row, self.x(column), self.y(row))

    def bounds(self, columns: npt.ArrayLike, rows: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Bounds of tiles in CRS units.

        Args:
            columns: Grid columns, (tile,) integers.
            rows: Grid rows, (tile,) integers.

        Returns:
            float64 (tile, 4): left, bottom, right, top.
        """
        transform = self.geobox.affine
        x = np.asarray(columns, dtype=np.int64) * self.stride[0] - self.origin[0]
        y = np.asarray(rows, dtype=np.int64) * self.stride[1] - self.origin[1]
        left, top = transform.c + transform.a * x, transform.f + transform.e * y
        right = transform.c + transform.a * (x + self.size[0])
        bottom = transform.f + transform.e * (y + self.size[1])
        return np.stack([left, bottom, right, top], axis=-1).astype(np.float64)

    def _lines(self, axis: Literal[0, 1]) -> range:
        height, width = self.geobox.shape
        length = (width, height)[axis]
        size, stride, origin = self.size[axis], self.stride[axis], self.origin[axis]
        if self.edges == "drop":  # 0 <= start and start + size <= length
            return range(-(-origin // stride), (length - size + origin) // stride + 1)
        # start + size > 0 and start < length
        return range((origin - size) // stride + 1, (length - 1 + origin) // stride + 1)


def tile_id(scene: str, column: int, row: int) -> str:
    """Stable name of a tile: ``{scene}-{column}-{row}``, a negative index written like ``m3``."""
    return f"{scene}-{_index_text(column)}-{_index_text(row)}"


def _index_text(index: int) -> str:
    return f"m{-index}" if index < 0 else str(index)


def _require_north_up(geobox: GeoBox, where: str | None) -> None:
    transform = geobox.affine
    tolerance = 1e-9 * max(abs(transform.a), abs(transform.e))
    rotated = abs(transform.b) > tolerance or abs(transform.d) > tolerance
    if rotated or transform.a <= 0 or transform.e >= 0:
        raise SceneError(
            "the scene is rotated" if rotated else "the scene is not north up",
            where=where,
            expected="pixel columns to the east and pixel rows to the south",
            found=f"transform {tuple(transform)[:6]}",
            fix="warp the file, for example with `gdalwarp in.tif out.tif`",
        )


def _pixels_per_metre(geobox: GeoBox, where: str | None) -> tuple[float, float]:
    crs = geobox.crs
    if crs is None or crs.geographic:
        raise SceneError(
            "tile sizes in metres need a projected CRS",
            where=where,
            found="no CRS" if crs is None else str(crs),
            fix="set tiles.unit to pixels, or reproject the scene, for example to its UTM zone",
        )
    metres = float(crs.proj.axis_info[0].unit_conversion_factor)
    return 1 / (geobox.affine.a * metres), 1 / (-geobox.affine.e * metres)


def _whole_pixels(
    name: str,
    value: float | tuple[float, float],
    unit: str,
    scale: tuple[float, float],
) -> Pair:
    pair = tuple(value) if isinstance(value, tuple) else (value, value)
    exact = (pair[0] * scale[0], pair[1] * scale[1])
    whole = max(1, round(exact[0])), max(1, round(exact[1]))
    if any(abs(a - b) > 1e-6 * b for a, b in zip(exact, whole, strict=True)):
        LOG.info(
            "tiles.%s %s %s is %.3f x %.3f pixels; rounded to %d x %d pixels",
            name, value, unit, *exact, *whole,
        )  # fmt: skip
    return whole


def _nearest(pixels: float) -> int:
    # Origins often lie on half pixels (pixel centres on round coordinates); rounding first keeps
    # noise in the last digits from moving the lines of one scene against those of its neighbour.
    return math.floor(round(pixels, 4) + 0.5)
