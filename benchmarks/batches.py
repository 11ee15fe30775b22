"""Random batches of tiles: geolatents against zarr-python.

Every competitor reads the same random batches from the same sharded store, in a process of its own
with a warm page cache. Opening (and, in memory, reading the whole store once) is not in the time
per batch; the column "ready after" gives it.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import Result, alternate, parser, peak_mb, report

REFERENCE = "geolatents, from disk"
Take = Callable[[npt.NDArray[np.int64]], npt.NDArray[Any]]


def main() -> None:
    """Make a store, run the competitors in turn, print their table."""
    options = parser(__doc__)
    options.add_argument("--tiles", type=int, default=4000, help="tiles in the store")
    options.add_argument("--side", type=int, default=128, help="side of a tile in pixels")
    options.add_argument("--batch", type=int, default=100, help="tiles per batch")
    options.add_argument("--batches", type=int, default=10, help="batches per run")
    args = options.parse_args()
    if args.competitor:
        compete(args.competitor, args.folder, args.tiles, args.batch, args.batches)
        return
    with tempfile.TemporaryDirectory(prefix="geolatents-benchmark-") as name:
        write_store(Path(name) / "S1.zarr", args.tiles, args.side)
        passed = [
            "--folder", name, "--tiles", str(args.tiles),
            "--batch", str(args.batch), "--batches", str(args.batches),
        ]  # fmt: skip
        results = alternate(Path(__file__), list(COMPETITORS), passed, args.repeats)
    megabytes = args.batch * args.side**2 * 8 / 1e6
    head = (
        f"{args.tiles} tiles of {args.side} x {args.side} x 4 uint16 "
        f"({args.tiles * args.side**2 * 8 / 1e6:.0f} MB), random batches of {args.batch} "
        f"({megabytes:.1f} MB); {args.repeats} runs of {args.batches} batches, alternating.\n\n"
    )
    report(head + batch_table(results, megabytes), args.output)


def batch_table(results: dict[str, list[Result]], megabytes: float) -> str:
    """Milliseconds per batch, and ratios to reading from disk with geolatents."""
    base = median(run["seconds"] for run in results[REFERENCE])
    lines = [
        f"| competitor | ms per batch | MB/s | time / {REFERENCE} | ready after s | peak MB |",
        "|---|---|---|---|---|---|",
    ]
    for name, runs in results.items():
        middle = median(run["seconds"] for run in runs)
        lines.append(
            f"| {name} | {1000 * middle:.1f} | {megabytes / middle:.0f} | {middle / base:.2f} "
            f"| {median(run['ready'] for run in runs):.2f} "
            f"| {median(run['peak_mb'] for run in runs):.0f} |"
        )
    return "\n".join(lines)


def write_store(path: Path, count: int, side: int) -> None:
    """A tile store of smooth fields with noise."""
    from geolatents.stores import new_store, write_strings
    from geolatents.tiles.writer import tile_writer, write_moments

    rng = np.random.default_rng(0)
    shape = (side, side, 4)
    with new_store(path, {"scene": "S1", "bands": ["blue", "green", "red", "nir"]}) as group:
        with tile_writer(group, count, shape, "uint16", workers=2) as writer:
            for _ in range(count):
                level = rng.integers(500, 3000, (1, 1, 4))
                tile = (level + rng.normal(0, 30, shape)).astype(np.uint16)
                writer.append(tile[None], np.ones((1, side, side), dtype=np.bool_))
            moments = writer.finish()
        write_strings(group, "ids", [f"S1-{i}-0" for i in range(count)], "tile")
        write_moments(group, moments)


def compete(name: str, folder: Path, count: int, batch: int, batches: int) -> None:
    """Run one competitor and print its time per batch."""
    store = folder / "S1.zarr"
    for file in (store / "images").rglob("*"):
        if file.is_file():
            file.read_bytes()  # warm page cache for all
    start = time.perf_counter()
    take = COMPETITORS[name](store)
    ready = time.perf_counter() - start
    rng = np.random.default_rng(1)
    take(rng.integers(0, count, 2))
    digest, seconds = hashlib.sha256(), []
    for _ in range(batches):
        positions = rng.permutation(count)[:batch]
        start = time.perf_counter()
        tiles = take(positions)
        seconds.append(time.perf_counter() - start)
        digest.update(np.ascontiguousarray(tiles).data)
    result = {"seconds": median(seconds), "ready": ready, "peak_mb": peak_mb()}
    print(json.dumps({**result, "check": digest.hexdigest()}))


def from_disk(store: Path) -> Take:
    """Our loader above its memory limit."""
    from geolatents.batches.loader import TileImages

    return TileImages.open([store], memory_limit=0).take


def from_memory(store: Path) -> Take:
    """Our loader below its memory limit."""
    from geolatents.batches.loader import TileImages

    return TileImages.open([store], memory_limit=2**40).take


def zarr_oindex(store: Path) -> Take:
    """zarr-python, all tiles of a batch in one orthogonal selection."""
    array: Any = zarr.open_array(store / "images", mode="r")
    return lambda positions: array.oindex[positions]


def zarr_each(store: Path) -> Take:
    """zarr-python, one read per tile."""
    array: Any = zarr.open_array(store / "images", mode="r")
    return lambda positions: np.stack([array[int(p)] for p in positions])


def zarrs_each(store: Path) -> Take:
    """zarr-python with the zarrs pipeline, one read per tile."""
    from geolatents.stores import use_fast_codecs

    use_fast_codecs()
    return zarr_each(store)


COMPETITORS: dict[str, Callable[[Path], Take]] = {
    REFERENCE: from_disk,
    "geolatents, in memory": from_memory,
    "zarr-python, oindex": zarr_oindex,
    "zarr-python, one read per tile": zarr_each,
    "zarr-python + zarrs, one read per tile": zarrs_each,
}


if __name__ == "__main__":
    main()
