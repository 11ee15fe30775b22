"""Writing tiles to a store shard by shard, while the next tiles are read."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from geolatents.stores import create_array, use_fast_codecs

Pixels = npt.NDArray[Any]
Usable = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Moments:
    """Statistics of tiles over their usable pixels.

    Attributes:
        valid_share: Share of usable pixels of the full tile, float32 (tile,).
        mean: Mean per band, float32 (tile, band); 0 where no pixel is usable.
        std: Standard deviation per band (of the population), float32 (tile, band).
    """

    valid_share: npt.NDArray[np.float32]
    mean: npt.NDArray[np.float32]
    std: npt.NDArray[np.float32]


class TileWriter:
    """Appends tiles to the array ``images`` of a store; made by :func:`tile_writer`.

    Memory is bounded by ``workers + 1`` shards, however many tiles there are, and however many
    there will be: the array takes its length at the end. What is written depends neither on
    ``workers`` nor on how tiles are handed over: each shard is encoded by one thread, and
    multi-threaded codecs are never used, since they write other bytes each time.
    """

    def __init__(
        self,
        group: zarr.Group,
        capacity: int,
        shape: Sequence[int],
        dtype: npt.DTypeLike,
        workers: int,
    ) -> None:
        """Create the array; arguments as of :func:`tile_writer`."""
        use_fast_codecs()
        self._group = group
        self._array = create_array(
            group, "images", (capacity, *shape), dtype, dimensions=("tile", "y", "x", "band")
        )
        # Not more than the capacity: the shard of a small store is filled in one go.
        self._step = int((self._array.shards or self._array.chunks)[0])
        self._pool = ThreadPoolExecutor(workers - 1) if workers > 1 else None
        self._workers = workers
        self._pending: deque[Future[Moments]] = deque()
        self._moments: list[Moments] = []
        self._written = 0
        self._filled = 0
        self._new_shard()

    def append(self, tiles: Pixels, usable: Usable) -> None:
        """Add tiles after those that are there.

        Args:
            tiles: (tile, y, x, band) in the store's type; copied.
            usable: (tile, y, x); copied.
        """
        start = 0
        while start < len(tiles):
            count = min(len(tiles) - start, self._step - self._filled)
            target = slice(self._filled, self._filled + count)
            self._pixels[target] = tiles[start : start + count]
            self._usable[target] = usable[start : start + count]
            self._filled += count
            start += count
            if self._filled == self._step:
                self._flush()

    def finish(self) -> Moments:
        """Write the last shard, give the array its length, and return the moments of all tiles."""
        total = self._written + self._filled
        while self._pending:
            self._moments.append(self._pending.popleft().result())
        # Resized before the last shard is written, so that this one is whole, too.
        if total != self._array.shape[0]:
            self._array.resize((total, *self._array.shape[1:]))
        if self._filled:
            self._moments.append(self._write_here())
        bands = self._array.shape[-1]
        empty = Moments(*(np.zeros(n, dtype=np.float32) for n in ((0,), (0, bands), (0, bands))))
        parts = [empty, *self._moments]
        return Moments(
            *(
                np.concatenate([getattr(part, name) for part in parts])
                for name in ("valid_share", "mean", "std")
            )
        )

    def close(self) -> None:
        """Wait for writing threads; shards that are not begun are given up."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def _flush(self) -> None:
        if self._pool is None:
            self._moments.append(self._write_here())
        else:
            if len(self._pending) >= self._workers - 1:
                self._moments.append(self._pending.popleft().result())
            self._pending.append(
                self._pool.submit(self._write_there, self._written, self._pixels, self._usable)
            )
        self._written += self._filled
        self._new_shard()

    def _new_shard(self) -> None:
        self._filled = 0
        self._pixels = np.empty((self._step, *self._array.shape[1:]), dtype=self._array.dtype)
        self._usable = np.empty(self._pixels.shape[:-1], dtype=np.bool_)

    def _write_here(self) -> Moments:
        pixels, usable = self._pixels[: self._filled], self._usable[: self._filled]
        self._array[self._written : self._written + self._filled] = pixels
        return tile_moments(pixels, usable)

    def _write_there(self, start: int, pixels: Pixels, usable: Usable) -> Moments:
        # A loop of this thread's own: zarr-python's has one thread, on which shards would queue.
        asyncio.run(self._array.async_array.setitem(slice(start, start + len(pixels)), pixels))
        return tile_moments(pixels, usable)


@contextmanager
def tile_writer(
    group: zarr.Group,
    capacity: int,
    shape: Sequence[int],
    dtype: npt.DTypeLike,
    workers: int = 1,
) -> Iterator[TileWriter]:
    """Open a writer of the array ``images``.

    Args:
        group: New store.
        capacity: Most tiles that can come; decides the shard size.
        shape: (y, x, band) of a tile.
        dtype: Type of the pixels.
        workers: Threads: one that reads (the caller's) and ``workers - 1`` that encode.
    """
    writer = TileWriter(group, capacity, shape, dtype, workers)
    try:
        yield writer
    finally:
        writer.close()


def write_moments(group: zarr.Group, moments: Moments) -> None:
    """Write ``valid_share (tile,)``, ``mean`` and ``std (tile, band)``."""
    for name in ("valid_share", "mean", "std"):
        write_vector(group, name, getattr(moments, name), "band")


def write_vector(
    group: zarr.Group, name: str, values: npt.NDArray[Any], second: str = "side"
) -> None:
    """Write an array of one number or of one short vector per tile.

    Args:
        group: Store.
        name: Name of the array.
        values: (tile,) or (tile, n).
        second: Name of the second dimension.
    """
    dimensions = ("tile", second)[: values.ndim]
    array = create_array(group, name, values.shape, values.dtype, dimensions=dimensions)
    if len(values):
        array[:] = values


def tile_moments(tiles: Pixels, usable: Usable) -> Moments:
    """Valid share, mean and standard deviation of each tile, accumulated in float64.

    Sums run in a fixed order, two passes per tile, so that equal tiles give equal moments.

    Args:
        tiles: (tile, y, x, band).
        usable: (tile, y, x).
    """
    count, height, width, bands = tiles.shape
    used = np.count_nonzero(usable, axis=(1, 2))
    mean = np.zeros((count, bands), dtype=np.float64)
    std = np.zeros((count, bands), dtype=np.float64)
    for index in np.flatnonzero(used):
        values = tiles[index].astype(np.float64)
        outside = None if used[index] == height * width else ~usable[index]
        if outside is not None:
            values[outside] = 0
        mean[index] = _sum_pixels(values) / used[index]
        values -= mean[index]
        if outside is not None:
            values[outside] = 0
        std[index] = np.sqrt(_sum_pixels(np.square(values, out=values)) / used[index])
    return Moments(
        (used / (height * width)).astype(np.float32),
        mean.astype(np.float32),
        std.astype(np.float32),
    )


def _sum_pixels(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Sum per band of (y, x, band): over rows first, which is one long vector addition per row."""
    height, width, bands = values.shape
    rows = values.reshape(height, width * bands).sum(axis=0)
    return np.asarray(rows.reshape(width, bands).sum(axis=0), dtype=np.float64)
