"""Files and Zarr stores that are whole or absent, and the content hashes that identify them.

Everything is written beside its final name and renamed when it is complete. The identity of a data artifact
is the sha256 of its decoded arrays, so that codecs, worker counts and platforms do not change it.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.codecs import BloscCodec, BloscShuffle

from geolatents.errors import StoreError
from geolatents.files import Json, atomic_path

# Strings in Zarr v3 await their final specification; xarray and zarr-python agree on the present form.
warnings.filterwarnings("ignore", message=".*does not have a Zarr V3 specification.*")
# Snakemake puts a timestamp file into directory outputs.
warnings.filterwarnings("ignore", message=".*not recognized as a component of a Zarr hierarchy.*")

SHARD_BYTES = 64 * 2**20
"""Upper bound of the decoded size of one shard; memory of a writer is a small multiple of it."""


def use_fast_codecs() -> None:
    """Let zarr-python encode and decode with zarrs (five times faster writes here)."""
    import zarrs  # noqa: F401

    zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline", "threading.max_workers": 1})


def create_array(
    group: zarr.Group,
    name: str,
    shape: tuple[int, ...],
    dtype: npt.DTypeLike,
    *,
    dimensions: tuple[str, ...],
    fill_value: Any = 0,
    attributes: Mapping[str, Json] | None = None,
) -> zarr.Array[Any]:
    """Create a sharded, compressed array whose first axis is the sample.

    One inner chunk is one sample for images (so that a random tile is one small read) and a few
    thousand for vectors; a shard holds at most :data:`SHARD_BYTES`.
    """
    sample_bytes = max(1, int(np.dtype(dtype).itemsize * np.prod(shape[1:], dtype=np.int64)))
    inner = max(1, min(shape[0] or 1, 16384 // sample_bytes))
    per_shard = shard_samples(shape, dtype)
    shuffle = BloscShuffle.bitshuffle if np.dtype(dtype).kind in "iu" else BloscShuffle.shuffle
    return group.create_array(
        name,
        shape=shape,
        dtype=dtype,
        chunks=(inner, *(max(1, n) for n in shape[1:])),
        shards=(per_shard, *(max(1, n) for n in shape[1:])),
        compressors=[BloscCodec(cname="lz4", clevel=5, shuffle=shuffle)],
        dimension_names=dimensions,
        fill_value=fill_value,
        attributes=dict(attributes or {}),
    )


def shard_samples(shape: tuple[int, ...], dtype: npt.DTypeLike) -> int:
    """Samples per shard of an array with this shape: a multiple of its inner chunk."""
    sample_bytes = max(1, int(np.dtype(dtype).itemsize * np.prod(shape[1:], dtype=np.int64)))
    inner = max(1, min(shape[0] or 1, 16384 // sample_bytes))
    wanted = min(max(1, shape[0]), max(1, SHARD_BYTES // sample_bytes))
    return max(1, -(-wanted // inner)) * inner


def write_array(
    group: zarr.Group, name: str, values: npt.NDArray[Any], dimensions: tuple[str, ...]
) -> None:
    """Write an array that is in memory, a shard at a time."""
    array = create_array(group, name, values.shape, values.dtype, dimensions=dimensions)
    step = shard_samples(values.shape, values.dtype)
    for start in range(0, len(values), step):
        array[start : start + step] = np.ascontiguousarray(values[start : start + step])


def write_strings(group: zarr.Group, name: str, values: npt.ArrayLike, dimension: str) -> None:
    """Write a one-dimensional array of strings."""
    data = np.asarray(values, dtype=np.dtypes.StringDType())
    array = group.create_array(
        name,
        shape=data.shape,
        dtype="string",
        chunks=(max(1, data.size),),
        dimension_names=(dimension,),
    )
    if data.size:
        array[:] = data


def read_strings(group: zarr.Group, name: str) -> npt.NDArray[np.str_]:
    """Read a one-dimensional array of strings as fixed-width unicode."""
    return np.asarray([str(value) for value in group[name][:]], dtype=np.str_)  # type: ignore[index, union-attr]


@contextmanager
def new_store(path: Path, attributes: Mapping[str, Json] | None = None) -> Iterator[zarr.Group]:
    """Open a new Zarr v3 group for writing; it takes its name when the block ends well."""
    with atomic_path(Path(path)) as part:
        group = zarr.open_group(part, mode="w", zarr_format=3)
        group.attrs.update(dict(attributes or {}))
        yield group
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*[Cc]onsolidated metadata.*")
            zarr.consolidate_metadata(group.store)


def open_store(path: Path) -> zarr.Group:
    """Open a Zarr v3 group for reading.

    Raises:
        StoreError: The store is missing or not readable.
    """
    try:
        return zarr.open_group(Path(path), mode="r", zarr_format=3)
    except (FileNotFoundError, KeyError, ValueError) as error:
        raise StoreError(
            "Zarr store is missing or damaged",
            where=path,
            found=error,
            fix="delete it with its manifest and rerun; `snakemake verify` lists every such store",
        ) from None


def read_array(group: zarr.Group, name: str) -> npt.NDArray[Any]:
    """Read an array whole.

    Raises:
        StoreError: The array is missing, or a shard is truncated.
    """
    try:
        return np.asarray(group[name][...])  # type: ignore[index]
    except Exception as error:
        raise StoreError(
            f"array {name!r} cannot be read",
            where=str(group.store_path),
            found=f"{type(error).__name__}: {error}",
            fix="delete the store with its manifest and rerun the rule that makes it",
        ) from None


def content_manifest(path: Path) -> dict[str, Json]:
    """Canonical content of a store: shape, dtype and sha256 of every decoded array, and its attributes.

    Reads one shard at a time. Equal content gives an equal manifest whatever wrote it.

    Returns:
        ``{"arrays": {name: {"shape", "dtype", "sha256"}}, "attributes": {...}}``

    Raises:
        StoreError: The store is missing or an array cannot be decoded.
    """
    group = open_store(path)
    arrays = {name: _array_entry(array, path) for name, array in sorted(group.arrays())}
    return {"arrays": arrays, "attributes": dict(sorted(group.attrs.items()))}


def store_of(manifest: Path) -> Path:
    """The Zarr store that a manifest stands beside."""
    return manifest.with_suffix(".zarr")


def verify_store(path: Path, manifest: Mapping[str, Json]) -> list[str]:
    """What differs between a store and its manifest; empty when nothing does."""
    try:
        found = content_manifest(path)
    except StoreError as error:
        return [str(error)]
    names = sorted({*found["arrays"], *manifest["arrays"]})
    return [
        f"{path}: array {name!r} is not what the manifest says"
        for name in names
        if found["arrays"].get(name) != manifest["arrays"].get(name)
    ]


def _array_entry(array: zarr.Array[Any], path: Path) -> dict[str, Json]:
    digest = hashlib.sha256()
    is_text = array.dtype.kind not in "biuf"
    step = (array.shards or array.chunks)[0]
    try:
        for start in range(0, array.shape[0], step):
            block = np.asarray(array[start : start + step])
            if is_text:
                digest.update("\x1f".join(map(str, block)).encode() + b"\x1e")
            else:
                digest.update(
                    np.ascontiguousarray(block.astype(block.dtype.newbyteorder("<"))).data
                )
    except Exception as error:
        raise StoreError(
            f"array {array.basename!r} cannot be decoded",
            where=path,
            found=f"{type(error).__name__}: {error}",
            fix="delete the store with its manifest and rerun the rule that makes it",
        ) from None
    return {
        "shape": list(array.shape),
        "dtype": "string" if is_text else array.dtype.name,
        "sha256": digest.hexdigest(),
    }
