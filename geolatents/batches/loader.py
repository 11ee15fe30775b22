"""Random batches of tiles out of several stores, from memory where they fit, else from disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
import tensorstore as ts
import zarr

from geolatents.errors import StoreError
from geolatents.stores import open_store, read_array, read_strings

Pixels = npt.NDArray[Any]
Positions = npt.NDArray[np.integer[Any]]

RERUN = "delete the store with its manifest and rerun the rule that makes it"


def default_memory_limit() -> int:
    """Bytes of tiles that are held in memory by default: a quarter of what is available now."""
    return int(psutil.virtual_memory().available // 4)


@dataclass(frozen=True, eq=False)
class TileImages:
    """The tiles of one or several stores behind one running position.

    Positions count through the stores in the order given, so that they equal the row numbers of
    ``tiles.parquet`` made of the same stores. Pixels come back as they are stored (unusable ones
    are 0 in tiles that were cut here); a float store's own NaN are left as they are.

    Attributes:
        stores: Where the tiles lie.
        ids: Tile ids, (tile,).
        bands: Band names.
        shape: (y, x, band) of one tile.
        dtype: Type of the pixels.
        mean: Mean per tile and band over usable pixels, float32 (tile, band).
        std: Standard deviation likewise, float32 (tile, band).
        valid_share: Share of usable pixels, float32 (tile,).
        in_memory: Whether all tiles are held in memory.
    """

    stores: tuple[Path, ...]
    ids: npt.NDArray[np.str_]
    bands: list[str]
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    mean: npt.NDArray[np.float32]
    std: npt.NDArray[np.float32]
    valid_share: npt.NDArray[np.float32]
    _starts: npt.NDArray[np.int64] = field(repr=False)
    _arrays: list[Any] = field(repr=False)
    _pixels: Pixels | None = field(repr=False)

    @classmethod
    def open(cls, stores: Sequence[Path], memory_limit: int | None = None) -> TileImages:
        """Open stores whose tiles are alike.

        Args:
            stores: Tile stores.
            memory_limit: Bytes; where all tiles together take no more, they are read once into
                memory, else each batch is read from disk. Default: a quarter of the memory that is
                available. 0 always reads from disk.

        Raises:
            StoreError: No store is given, one is missing or truncated, stores differ in bands, type
                or tile size, or an id occurs twice.
        """
        if not stores:
            raise StoreError("no tile store is given", expected="one store or more")
        paths = tuple(map(Path, stores))
        groups = [open_store(path) for path in paths]
        arrays = [_open_images(path) for path in paths]
        _require_alike(paths, groups, arrays)
        ids = np.concatenate([read_strings(group, "ids") for group in groups])
        _require_unique(ids)
        starts = np.cumsum([0, *(array.shape[0] for array in arrays)])
        limit = default_memory_limit() if memory_limit is None else memory_limit
        dtype = np.dtype(arrays[0].dtype.numpy_dtype)
        size = int(starts[-1]) * int(np.prod(arrays[0].shape[1:])) * dtype.itemsize
        vectors = {
            name: np.concatenate([read_array(group, name) for group in groups])
            for name in ("mean", "std", "valid_share")
        }
        return cls(
            stores=paths,
            ids=ids,
            bands=[str(band) for band in groups[0].attrs["bands"]],  # type: ignore[union-attr]
            shape=tuple(arrays[0].shape[1:]),
            dtype=dtype,
            **vectors,
            _starts=starts,
            _arrays=arrays,
            _pixels=_read_all(paths, arrays) if size <= limit else None,
        )

    def __len__(self) -> int:
        """Number of tiles."""
        return len(self.ids)

    @property
    def in_memory(self) -> bool:
        """Whether all tiles are held in memory."""
        return self._pixels is not None

    def take(self, positions: npt.ArrayLike) -> Pixels:
        """Tiles at positions, in their order; a position may occur several times.

        Args:
            positions: Integers below ``len(self)``, (item,).

        Returns:
            (item, y, x, band) of :attr:`dtype`; a copy.

        Raises:
            StoreError: A shard is truncated.
            IndexError: A position is outside.
        """
        wanted = np.asarray(positions, dtype=np.int64)
        if wanted.size and (wanted.min() < 0 or wanted.max() >= len(self)):
            raise IndexError(f"positions must lie in 0..{len(self) - 1}")
        if self._pixels is not None:
            return np.asarray(self._pixels[wanted])
        return self._take_stored(wanted)

    def positions(self, ids: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Positions of tile ids.

        Args:
            ids: Tile ids, (item,).

        Raises:
            StoreError: An id is in no store.
        """
        wanted = [str(name) for name in np.asarray(ids).ravel()]
        found = [self._index.get(name, -1) for name in wanted]
        if -1 in found:
            raise StoreError(
                f"tile {wanted[found.index(-1)]!r} is in none of the stores",
                where=", ".join(map(str, self.stores)),
                found=f"{found.count(-1)} of {len(found)} ids are unknown",
                fix="rerun the rules of labels, splits and batches, which name tiles that are gone",
            )
        return np.asarray(found, dtype=np.int64)

    @cached_property
    def _index(self) -> dict[str, int]:
        return {str(name): position for position, name in enumerate(self.ids)}

    def _take_stored(self, wanted: npt.NDArray[np.int64]) -> Pixels:
        result = np.empty((len(wanted), *self.shape), dtype=self.dtype)
        store = np.searchsorted(self._starts, wanted, side="right") - 1
        reads = []
        for number in np.unique(store):
            # Sorted and single: each shard's index is looked up in order, each tile decoded once.
            rows, where = np.unique(wanted[store == number], return_inverse=True)
            future = self._arrays[number][rows - self._starts[number]].read()
            reads.append((number, where, future))
        for number, where, future in reads:
            result[store == number] = _result(future, self.stores[number])[where]
        return result


def check_stores(stores: Sequence[Path]) -> None:
    """Find missing and truncated stores without reading them whole.

    Decodes the last sample of every shard of every array. A shard's index lies at its end and has a
    checksum, so that a file that lost its tail fails whatever its length. A shard that is missing
    altogether reads as zeros; it is found where another array says that there is more.

    Args:
        stores: Stores of any kind.

    Raises:
        StoreError: A store is missing, or an array in it cannot be decoded.
    """
    for path in map(Path, stores):
        group = open_store(path)
        for name, array in sorted(group.arrays()):
            for last in _last_samples(array):
                _decode_one(path, name, array, last)
        _require_content(path, group)


def _last_samples(array: zarr.Array[Any]) -> range:
    if 0 in array.shape or not array.shape:
        return range(0)
    step = (array.shards or array.chunks)[0]
    ends = range(step - 1, array.shape[0], step)
    return range(ends.start, ends.stop + step, step) if array.shape[0] % step else ends


def _decode_one(path: Path, name: str, array: zarr.Array[Any], last: int) -> None:
    last = min(last, array.shape[0] - 1)
    try:
        array[last : last + 1]
    except Exception as error:
        raise StoreError(
            f"array {name!r} cannot be decoded",
            where=path,
            found=f"sample {last}: {type(error).__name__}: {error}",
            fix=RERUN,
        ) from None


def _require_content(path: Path, group: zarr.Group) -> None:
    if "ids" in group and not all(read_strings(group, "ids")):
        raise StoreError("array 'ids' has lost a chunk", where=path, fix=RERUN)
    if "images" not in group or "mean" not in group:
        return
    images: Any = group["images"]
    mean = read_array(group, "mean")
    for number, last in enumerate(_last_samples(images)):
        step = images.shards[0]
        key = images.metadata.encode_chunk_key((number, *[0] * (images.ndim - 1)))
        if mean[last + 1 - step : last + 1].any() and not (path / "images" / key).exists():
            raise StoreError(
                "a shard of array 'images' is missing", where=path / "images" / key, fix=RERUN
            )


def _open_images(path: Path) -> Any:
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(path / "images")}}
    try:
        return ts.open(spec, read=True, open=True).result()
    except ValueError as error:
        raise StoreError(
            "array 'images' is missing or damaged", where=path, found=error, fix=RERUN
        ) from None


def _read_all(paths: Sequence[Path], arrays: Sequence[Any]) -> Pixels:
    """All tiles, read shard by shard so that no second copy is ever held."""
    count = sum(array.shape[0] for array in arrays)
    result = np.empty((count, *arrays[0].shape[1:]), dtype=arrays[0].dtype.numpy_dtype)
    start = 0
    for path, array in zip(paths, arrays, strict=True):
        step = array.chunk_layout.write_chunk.shape[0]
        for first in range(0, array.shape[0], step):
            block = array[first : min(first + step, array.shape[0])]
            count = block.shape[0]
            result[start : start + count] = _result(block.read(), path)
            start += count
    return result


def _result(future: Any, path: Path) -> Pixels:
    try:
        return np.asarray(future.result())
    except Exception as error:
        raise StoreError(
            "array 'images' cannot be decoded; a file is truncated or damaged",
            where=path,
            found=error,
            fix=RERUN,
        ) from None


def _require_alike(
    paths: Sequence[Path], groups: Sequence[zarr.Group], arrays: Sequence[Any]
) -> None:
    def kind(position: int) -> tuple[Any, ...]:
        array = arrays[position]
        return groups[position].attrs["bands"], str(array.dtype), tuple(array.shape[1:])

    for position in range(1, len(paths)):
        if kind(position) != kind(0):
            raise StoreError(
                "stores differ in bands, type or tile shape",
                where=paths[position],
                expected=f"{kind(0)} as in {paths[0]}",
                found=kind(position),
            )


def _require_unique(ids: npt.NDArray[np.str_]) -> None:
    names, counts = np.unique(ids, return_counts=True)
    if len(names) != len(ids):
        raise StoreError(
            f"tile id {str(names[counts > 1][0])!r} occurs twice in the stores",
            expected="each store given once, and scenes with names of their own",
        )
