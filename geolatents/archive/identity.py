"""Identity of an artifact: equal for equal content, whatever wrote it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from geolatents.errors import ArchiveError, GeolatentsError
from geolatents.files import canonical_json, read_json
from geolatents.hashes import sha256_of

ROWS = 65536
"""Rows of a table that are in memory at a time."""


def identity(path: Path) -> str:
    """Sha256 of what an artifact says.

    Of a Zarr store its decoded arrays and attributes, of a Parquet file its columns, of JSON its values;
    of anything else its bytes.

    Raises:
        ArchiveError: It is missing or damaged.
    """
    if not path.exists():
        raise ArchiveError("artifact is missing", where=path, fix="rerun the rule that makes it")
    try:
        if path.is_dir() and path.suffix == ".zarr":
            return _of_store(path)
        if path.suffix == ".parquet":
            return _of_table(path)
        return (
            _of_text(canonical_json(read_json(path))) if path.suffix == ".json" else sha256_of(path)
        )
    except GeolatentsError as error:
        raise ArchiveError(str(error), where=path) from None


def _of_store(path: Path) -> str:
    from geolatents.stores import content_manifest  # zarr is not needed to check hashes

    return _of_text(canonical_json(content_manifest(path)))


def _of_table(path: Path) -> str:
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as table:
            digests = {name: hashlib.sha256() for name in table.schema_arrow.names}
            for batch in table.iter_batches(batch_size=ROWS):
                for name, column in zip(batch.schema.names, batch.columns, strict=True):
                    for text in _values(column):
                        digests[name].update(text)
    except (OSError, pyarrow.ArrowException) as error:
        raise ArchiveError("table cannot be read", where=path, found=error) from None
    return _of_text(canonical_json({name: found.hexdigest() for name, found in digests.items()}))


def _values(column: Any) -> Iterator[bytes]:
    for value in column.to_pylist():
        text = (
            value
            if isinstance(value, bytes)
            else json.dumps(value, default=str, sort_keys=True).encode()
        )
        yield len(text).to_bytes(8, "little") + text


def _of_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
