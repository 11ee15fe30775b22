"""Streams behind gzip and zstd, told by their first bytes."""

from __future__ import annotations

import gzip
from typing import IO, cast

import pyarrow as pa

GZIP = (b"\x1f\x8b",)
ZSTD = (b"\x28\xb5\x2f\xfd", *(bytes([0x50 + i]) + b"\x2a\x4d\x18" for i in range(16)))
"""A frame, or one to be skipped that comes before it (RFC 8878, 3.1)."""


def unpacked(stream: IO[bytes]) -> IO[bytes]:
    """What a stream holds: unpacked, if it is gzip or zstd, else as it is.

    Reading raises what gzip and pyarrow raise: OSError, EOFError, zlib.error, pyarrow.ArrowException.
    """
    start = stream.read(4)
    stream.seek(0)
    if start.startswith(GZIP):
        return cast(IO[bytes], gzip.GzipFile(fileobj=stream))
    if start.startswith(ZSTD):
        return cast(IO[bytes], pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), "zstd"))
    return stream
