"""Cutting a scene into tiles: each block decoded once, memory bounded, one Zarr store per scene."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from geolatents.acquire.files import SceneRecord, read_record
from geolatents.acquire.reader import SceneReader, open_scene
from geolatents.files import write_json
from geolatents.logs import LOG, progress
from geolatents.settings.tiles import TileSettings
from geolatents.stores import content_manifest, new_store, use_fast_codecs, write_strings
from geolatents.tiles.grid import TileGrid, tile_id
from geolatents.tiles.writer import Pixels, Usable, tile_writer, write_moments, write_vector

READ_ROWS = 512
"""Most rows per read, and extra rows of the strip buffer."""

READ_COLUMNS = 4096
"""Columns per read are a multiple of this, so that reads end on block borders."""

READ_BYTES = 64 * 2**20
"""Decoded size of one read that is aimed at; a reader's temporary arrays are a few times that."""


def cut_tiles(
    record: Path, settings: TileSettings, store: Path, manifest: Path, workers: int = 1
) -> None:
    """Cut a scene into tiles and write their store and its manifest.

    Reads each block once and writes whole shards, so that memory stays bounded whatever the height
    of the scene: one strip (width x (tile height + 512) pixels) and ``workers + 1`` shards. The
    result depends neither on ``workers`` nor on the blocks of the file. A scene without tiles
    gives a store of none; the check of the dataset decides about that.

    Args:
        record: Scene record; any number of bands of any integer type or float32.
        settings: Tile size and stride, resolution, smallest valid share and what happens at edges.
        store: Zarr store to write: ``images (tile,y,x,band)``, ``ids``, ``column``, ``row``,
            ``bounds``, ``valid_share``, ``mean``, ``std``; tiles row by row from the north.
        manifest: Content manifest (JSON) to write beside it.
        workers: Threads: one reads, the others encode.

    Raises:
        SceneError: The scene cannot be read, or its transform or CRS does not suit the grid.
    """
    use_fast_codecs()
    with open_scene(record, settings.resolution) as reader:
        grid = TileGrid.over(reader.geobox, settings, str(record))
        attributes = _attributes(read_record(record), reader, grid)
        with new_store(store, attributes) as group:
            _write_store(group, str(attributes["scene"]), reader, grid, settings.min_valid, workers)
    write_json(manifest, content_manifest(store))


def count_tiles(reader: SceneReader, settings: TileSettings) -> tuple[int, float]:
    """Tiles that a scene will give, and its share of usable pixels; decodes every block of it.

    Args:
        reader: Opened with the resolution of ``settings``.
        settings: As for :func:`cut_tiles`.

    Raises:
        SceneError: A block cannot be decoded, or the scene does not suit the grid.
    """
    grid = TileGrid.over(reader.geobox, settings)
    height, width = reader.geobox.shape
    x, y = _starts(grid)
    counts = np.zeros(grid.shape, dtype=np.int64)
    total = 0
    for rows in _reads(0, height, reader.block_rows):
        usable = np.empty((rows.stop - rows.start, width), dtype=np.bool_)
        for columns in _sections(0, width, rows, reader):
            usable[:, columns] = reader.read(rows, columns)[1]
        total += int(np.count_nonzero(usable))
        for index in np.flatnonzero((y < rows.stop) & (y + grid.size[1] > rows.start)):
            inside = slice(max(0, y[index] - rows.start), y[index] + grid.size[1] - rows.start)
            counts[index] += _window_counts(usable[inside], x, grid.size[0])
    return int(np.count_nonzero(_kept(counts, grid, settings.min_valid))), total / (height * width)


def _attributes(record: SceneRecord, reader: SceneReader, grid: TileGrid) -> dict[str, Any]:
    transform = grid.geobox.affine
    return {
        "scene": record.scene,
        "crs": record.crs,
        "bands": list(reader.bands),
        "resolution": [transform.a, -transform.e],
        "nodata": reader.nodata,
        "acquired": record.acquired,
        "provider": record.provider,
    }


def _write_store(
    group: zarr.Group,
    scene: str,
    reader: SceneReader,
    grid: TileGrid,
    min_valid: float,
    workers: int,
) -> None:
    shape = (grid.size[1], grid.size[0], len(reader.bands))
    columns: list[int] = []
    rows: list[int] = []
    with tile_writer(group, len(grid), shape, reader.dtype, workers) as writer:
        for row, kept, tiles, usable in _tile_rows(reader, grid, min_valid, scene):
            writer.append(tiles, usable)
            columns += kept
            rows += [row] * len(kept)
        moments = writer.finish()
    LOG.info("%s: %d of %d tiles kept", scene, len(rows), len(grid))
    write_strings(
        group, "ids", [tile_id(scene, c, r) for c, r in zip(columns, rows, strict=True)], "tile"
    )
    write_vector(group, "column", np.asarray(columns, dtype=np.int32))
    write_vector(group, "row", np.asarray(rows, dtype=np.int32))
    write_vector(group, "bounds", grid.bounds(columns, rows))
    write_moments(group, moments)


def _tile_rows(
    reader: SceneReader, grid: TileGrid, min_valid: float, scene: str
) -> Iterator[tuple[int, list[int], Pixels, Usable]]:
    """Each row of the grid: its index, the columns that are kept, their tiles and usable pixels.

    Tiles are views into the strip where all are kept; the next row overwrites them.
    """
    if not len(grid):
        return
    (width, height), (step, _) = grid.size, grid.stride
    x, _ = _starts(grid)
    strips, all_columns = _Strips(reader, grid), grid.columns
    for row in progress(grid.rows, total=len(grid.rows), what=f"Cutting {scene}", unit="row"):
        pixels, usable = strips.rows(grid.y(row), grid.y(row) + height)
        counts = _window_counts(usable, x - x[0], width)
        keep = np.flatnonzero(_kept(counts, grid, min_valid))
        if len(keep):
            tiles = _windows(pixels, width, step)
            yield (
                row,
                [all_columns[int(index)] for index in keep],
                tiles if len(keep) == len(x) else tiles[keep],
                _windows(usable, width, step)[keep],
            )


class _Strips:
    """Rows of a scene below one row of tiles, each read once whatever the overlap of tiles.

    The buffer is as wide as the tiles reach, which may be beyond the scene where they are padded.
    """

    def __init__(self, reader: SceneReader, grid: TileGrid) -> None:
        x, y = _starts(grid)
        self._reader = reader
        self._left, self._right = int(x[0]), int(x[-1]) + grid.size[0]
        self._bottom = int(y[-1]) + grid.size[1]
        shape = (grid.size[1] + READ_ROWS, self._right - self._left)
        self._pixels = np.empty((*shape, len(reader.bands)), dtype=reader.dtype)
        self._usable = np.empty(shape, dtype=np.bool_)
        self._top = self._stop = int(y[0])

    def rows(self, start: int, stop: int) -> tuple[Pixels, Usable]:
        """Views of rows ``start`` to ``stop``; starts must not decrease."""
        if stop > self._stop:
            self._forget(start)
            for rows in _reads(self._stop, self._bottom, self._reader.block_rows):
                self._read(rows)
                if self._stop >= stop:
                    break
        window = slice(start - self._top, stop - self._top)
        return self._pixels[window], self._usable[window]

    def _forget(self, before: int) -> None:
        kept = slice(min(before, self._stop) - self._top, self._stop - self._top)
        count = kept.stop - kept.start
        self._pixels[:count] = self._pixels[kept]
        self._usable[:count] = self._usable[kept]
        self._top, self._stop = before, max(before, self._stop)

    def _read(self, rows: slice) -> None:
        target = slice(rows.start - self._top, rows.stop - self._top)
        for columns in _sections(self._left, self._right, rows, self._reader):
            inside = slice(columns.start - self._left, columns.stop - self._left)
            self._pixels[target, inside], self._usable[target, inside] = self._reader.read(
                rows, columns
            )
        self._stop = rows.stop


def _reads(start: int, stop: int, block_rows: int) -> Iterator[slice]:
    """Row ranges that end where blocks end, so that each block is decoded once."""
    unit = block_rows * max(1, READ_ROWS // 2 // block_rows)
    while start < stop:
        end = min(start + READ_ROWS, (start // unit + 1) * unit, stop)
        yield slice(start, end)
        start = end


def _sections(start: int, stop: int, rows: slice, reader: SceneReader) -> Iterator[slice]:
    """Column ranges of one read each."""
    row_bytes = (rows.stop - rows.start) * len(reader.bands) * reader.dtype.itemsize
    step = max(1, READ_BYTES // (row_bytes * READ_COLUMNS)) * READ_COLUMNS
    while start < stop:
        end = min((start // step + 1) * step, stop)
        yield slice(start, end)
        start = end


def _starts(grid: TileGrid) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """First pixel column of each grid column, first pixel row of each grid row."""
    x = np.array([grid.x(column) for column in grid.columns], dtype=np.int64)
    return x, np.array([grid.y(row) for row in grid.rows], dtype=np.int64)


def _window_counts(
    usable: Usable, starts: npt.NDArray[np.int64], width: int
) -> npt.NDArray[np.int64]:
    """Usable pixels in windows of all rows of a strip; windows are clipped to the strip."""
    length = usable.shape[1]
    sums = np.concatenate([[0], np.cumsum(usable.sum(axis=0, dtype=np.int64))])
    counts = sums[np.clip(starts + width, 0, length)] - sums[np.clip(starts, 0, length)]
    return np.asarray(counts, dtype=np.int64)


def _kept(counts: npt.NDArray[np.int64], grid: TileGrid, min_valid: float) -> npt.NDArray[np.bool_]:
    """Which tiles have enough usable pixels, allowing for the rounding of the product."""
    return np.asarray(counts >= min_valid * grid.size[0] * grid.size[1] - 1e-6)


def _windows(strip: npt.NDArray[Any], width: int, step: int) -> npt.NDArray[Any]:
    """Windows along a strip as a view: (y, x, ...) to (tile, y, x, ...)."""
    windows = np.lib.stride_tricks.sliding_window_view(strip, width, axis=1)[:, ::step]
    # (y, tile, ..., x) to (tile, y, x, ...)
    return np.moveaxis(np.moveaxis(windows, 1, 0), -1, 2)
