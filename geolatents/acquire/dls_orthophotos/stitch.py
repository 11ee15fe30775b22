"""Stitching pieces to a sheet, strip by strip: memory is bounded by a row of pieces and a strip."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj
import rasterio
from affine import Affine
from PIL import Image
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.warp import reproject
from rasterio.windows import Window

from geolatents.acquire.assembled import BLOCK, scene_profile
from geolatents.acquire.dls_orthophotos.answers import is_absent
from geolatents.acquire.dls_orthophotos.requests import Piece, pieces
from geolatents.acquire.dls_orthophotos.sheets import Sheet, Tiles
from geolatents.files import atomic_path
from geolatents.settings.dls_orthophotos import Resampling as Method

OPAQUE = 128
"""Smallest alpha of a usable pixel: at least half of it is covered."""

Rgba = npt.NDArray[np.uint8]
"""``(y, x, 4)``: red, green, blue, alpha."""


def stitch(sheet: Sheet, files: Mapping[str, Path], method: Method, tags: Mapping[str, str], output: Path) -> float:  # fmt: skip
    """Stitch pieces to a GeoTIFF: bands ``red``, ``green``, ``blue`` (uint8) and an internal mask.

    A pixel is masked, and 0, where its piece is absent, transparent, or of one single colour: that
    is how services draw land of which they have no image.

    Args:
        sheet: The sheet.
        files: Pieces by name; they are decoded again here.
        method: Resampling, where the pixels of tiles are not those of the sheet.
        tags: Tags of the file.
        output: The file.

    Returns:
        Share of usable pixels.
    """
    mosaic = Mosaic([(piece, files[piece.name]) for piece in pieces(sheet)])
    usable = 0
    with (
        atomic_path(output) as part,
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        _created(part, sheet) as target,
    ):
        target.descriptions = ("red", "green", "blue")
        target.update_tags(**tags)
        for rows, strip in _strips(sheet, mosaic, method):
            window = Window(0, rows.start, sheet.size, rows.stop - rows.start)
            mask = strip[..., 3] >= OPAQUE
            strip[~mask] = 0
            target.write(np.moveaxis(strip[..., :3], -1, 0), window=window)
            target.write_mask(mask, window=window)
            usable += int(mask.sum())
    return usable / sheet.size**2


def _created(file: Path, sheet: Sheet) -> Any:
    return rasterio.open(
        file,
        "w",
        **scene_profile(
            width=sheet.size,
            height=sheet.size,
            count=3,
            dtype="uint8",
            crs=CRS.from_user_input(sheet.crs),
            transform=_transform(sheet),
            photometric="RGB",
        ),
    )


def _transform(sheet: Sheet) -> Affine:
    return Affine(sheet.resolution, 0, sheet.bbox[0], 0, -sheet.resolution, sheet.bbox[3])


# ---- pieces side by side


@dataclass(frozen=True)
class _Placed:
    piece: Piece
    file: Path


class Mosaic:
    """Pieces in one grid of pixels, each decoded once when strips are read from above.

    Args:
        placed: Pieces and their files.
    """

    def __init__(self, placed: Sequence[tuple[Piece, Path]]) -> None:
        self._placed = [_Placed(piece, file) for piece, file in placed]
        self._decoded: dict[str, Rgba | None] = {}

    def read(self, rows: slice, columns: slice) -> Rgba:
        """A window; transparent where no piece lies."""
        result = np.zeros((rows.stop - rows.start, columns.stop - columns.start, 4), dtype=np.uint8)
        for placed in self._placed:
            piece = placed.piece
            down = _overlap(rows, piece.row, piece.height)
            across = _overlap(columns, piece.column, piece.width)
            if down is None:
                self._decoded.pop(piece.name, None)
            elif across is not None:
                pixels = self._pixels(placed)
                if pixels is not None:
                    result[down[0], across[0]] = pixels[down[1], across[1]]
        return result

    def _pixels(self, placed: _Placed) -> Rgba | None:
        name = placed.piece.name
        if name not in self._decoded:
            self._decoded[name] = decoded(placed.file)
        return self._decoded[name]


def decoded(file: Path) -> Rgba | None:
    """Pixels of a piece; None where it is absent or blank."""
    if is_absent(file):
        return None
    with Image.open(file) as image:
        pixels = np.array(image.convert("RGBA"))
    return None if (pixels[..., :3] == pixels[0, 0, :3]).all() else pixels


def _overlap(window: slice, start: int, length: int) -> tuple[slice, slice] | None:
    """Where a piece lies in a window, and the window in the piece."""
    low, high = max(window.start, start), min(window.stop, start + length)
    if low >= high:
        return None
    return slice(low - window.start, high - window.start), slice(low - start, high - start)


# ---- strips of the sheet


def _strips(sheet: Sheet, mosaic: Mosaic, method: Method) -> Iterator[tuple[slice, Rgba]]:
    tiles = sheet.requests if isinstance(sheet.requests, Tiles) else None
    offset = (0, 0) if tiles is None else _same_pixels(sheet, tiles)
    for top in range(0, sheet.size, BLOCK):
        rows = slice(top, min(top + BLOCK, sheet.size))
        if offset is not None:
            shifted = slice(rows.start + offset[1], rows.stop + offset[1])
            yield rows, mosaic.read(shifted, slice(offset[0], offset[0] + sheet.size))
        elif tiles is not None:
            yield rows, _warped(sheet, tiles, mosaic, rows, method)


def _same_pixels(sheet: Sheet, tiles: Tiles) -> tuple[int, int] | None:
    """Column and row of the sheet's first pixel in the matrix, where its pixels are those of the tiles."""
    left, top = sheet.bbox[0], sheet.bbox[3]
    across, down = (left - tiles.left) / tiles.resolution, (tiles.top - top) / tiles.resolution
    column, row = round(across), round(down)
    drift = abs(sheet.resolution / tiles.resolution - 1) * sheet.size
    same = tiles.crs == sheet.crs and max(drift, abs(across - column), abs(down - row)) < 0.01
    return (column, row) if same else None


def _warped(sheet: Sheet, tiles: Tiles, mosaic: Mosaic, rows: slice, method: Method) -> Rgba:
    """A strip resampled from tiles."""
    target = _transform(sheet) @ Affine.translation(0, rows.start)
    height = rows.stop - rows.start
    down, across = _source_window(sheet, tiles, target, height)
    pixels = np.ascontiguousarray(np.moveaxis(mosaic.read(down, across), -1, 0))
    step = tiles.resolution
    source = Affine(step, 0, tiles.left + across.start * step, 0, -step, tiles.top - down.start * step)  # fmt: skip
    result = np.zeros((4, height, sheet.size), dtype=np.uint8)
    reproject(
        pixels, result, src_transform=source, src_crs=CRS.from_user_input(tiles.crs),
        dst_transform=target, dst_crs=CRS.from_user_input(sheet.crs), src_alpha=4, dst_alpha=4,
        resampling=Resampling[method], num_threads=1, tolerance=0.01,
    )  # fmt: skip
    return np.ascontiguousarray(np.moveaxis(result, 0, -1))


def _source_window(sheet: Sheet, tiles: Tiles, target: Affine, height: int) -> tuple[slice, slice]:
    """Rows and columns of the matrix below a strip, with a margin for the kernel."""
    left, top = target.c, target.f
    right, bottom = target @ (sheet.size, height)
    transformer = pyproj.Transformer.from_crs(sheet.crs, tiles.crs, always_xy=True)
    west, south, east, north = transformer.transform_bounds(left, bottom, right, top, densify_pts=21)  # fmt: skip
    margin = 8
    return (
        slice(
            math.floor((tiles.top - north) / tiles.resolution) - margin,
            math.ceil((tiles.top - south) / tiles.resolution) + margin,
        ),
        slice(
            math.floor((west - tiles.left) / tiles.resolution) - margin,
            math.ceil((east - tiles.left) / tiles.resolution) + margin,
        ),
    )
