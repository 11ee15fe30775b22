"""Cutting a scene into tiles: geolatents against rasterio windows with zarr-python or zarrs.

All competitors read the same tiled GeoTIFF, keep the tiles with enough usable pixels and write
them to the same shards with the same codec. Only geolatents also writes moments, bounds and a
manifest of hashes, for which it reads the store back; the row "images only" leaves that out.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import rasterio
import zarr
from affine import Affine
from rasterio.windows import Window

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import alternate, parser, peak_mb, report, table

MIN_VALID = 0.95
LEFT, TOP, PIXEL = 0.0, 0.0, 3.0  # on a grid line, so that plain windows are the same tiles


def main() -> None:
    """Make a scene, run the competitors in turn, print their table."""
    options = parser(__doc__)
    options.add_argument("--side", type=int, default=6144, help="side of the scene in pixels")
    options.add_argument("--tile", type=int, default=64, help="side of a tile in pixels")
    options.add_argument("--block", type=int, default=256, help="side of the file's blocks")
    options.add_argument("--compress", default="deflate", help="codec of the file")
    args = options.parse_args()
    if args.competitor:
        compete(args.competitor, args.folder, args.tile)
        return
    with tempfile.TemporaryDirectory(prefix="geolatents-benchmark-") as name:
        folder = Path(name)
        write_scene(folder, args.side, args.block, args.compress)
        results = alternate(
            Path(__file__),
            list(COMPETITORS),
            ["--folder", str(folder), "--tile", str(args.tile)],
            args.repeats,
        )
    megabytes = args.side**2 * 4 * 2 / 1e6
    head = (
        f"Scene {args.side} x {args.side} x 4 uint16 ({megabytes:.0f} MB), {args.compress}, blocks "
        f"of {args.block}; tiles of {args.tile}; {args.repeats} runs each, alternating.\n\n"
    )
    report(head + table(results, "geolatents, 2 threads", megabytes), args.output)


def write_scene(folder: Path, side: int, block: int, compress: str) -> None:
    """A scene of smooth fields with noise and a wedge without data, and its record."""
    from geolatents.acquire.files import SceneRecord

    file = folder / "scene.tif"
    rng = np.random.default_rng(0)
    x = np.arange(side)
    with rasterio.open(
        file, "w", driver="GTiff", width=side, height=side, count=4, dtype="uint16", nodata=0,
        crs="EPSG:32636", transform=Affine(PIXEL, 0, LEFT, 0, -PIXEL, TOP), tiled=True,
        blockxsize=block, blockysize=block, compress=compress, bigtiff="if_safer",
    ) as target:  # fmt: skip
        for top in range(0, side, block):
            y = np.arange(top, min(top + block, side))[:, None]
            field = 1500 + 800 * np.sin(x / 300) * np.cos(y / 200)
            bands = np.stack([field * (1 + band / 4) for band in range(4)])
            bands += rng.normal(0, 30, bands.shape)
            bands[:, x[None] < (side - y) / 8] = 0
            target.write(
                np.clip(bands, 0, 65535).astype(np.uint16), window=Window(0, top, side, len(y))
            )
    record = SceneRecord(
        scene="scene", path=str(file), sha256="0" * 64, crs="EPSG:32636",
        transform=(PIXEL, 0, LEFT, 0, -PIXEL, TOP), width=side, height=side, dtype="uint16",
        nodata=0.0, bands=["blue", "green", "red", "nir"], band_indexes=[1, 2, 3, 4],
        licence="none", provider="files",
    )  # fmt: skip
    (folder / "scene.json").write_text(record.model_dump_json())


def compete(name: str, folder: Path, tile: int) -> None:
    """Run one competitor and print its time, peak memory and the hash of the images."""
    store = folder / "out.zarr"
    if store.exists():
        shutil.rmtree(store)
    run = COMPETITORS[name](folder, tile, store)
    (folder / "scene.tif").read_bytes()  # warm page cache for all
    start, start_cpu = time.perf_counter(), time.process_time()
    run()
    seconds, cpu = time.perf_counter() - start, time.process_time() - start_cpu
    peak = peak_mb()
    images = zarr.open_array(store / "images", mode="r")
    digest = hashlib.sha256()
    for first in range(0, images.shape[0], 1024):
        digest.update(np.ascontiguousarray(np.asarray(images[first : first + 1024])).data)
    check = f"{images.shape[0]} tiles {digest.hexdigest()[:12]}"
    print(json.dumps({"seconds": seconds, "cpu": cpu, "peak_mb": peak, "check": check}))


def geolatents_cut(workers: int, manifest: bool = True) -> Callable[..., Callable[[], None]]:
    """The library's own cut."""

    def prepare(folder: Path, tile: int, store: Path) -> Callable[[], None]:
        from geolatents.settings.tiles import TileSettings
        from geolatents.tiles import cut

        settings = TileSettings.model_validate({"size": tile, "min_valid": MIN_VALID})
        if not manifest:
            vars(cut)["content_manifest"] = lambda _: {}
        record = folder / "scene.json"
        return lambda: cut.cut_tiles(record, settings, store, folder / "out.json", workers)

    return prepare


def rasterio_windows(use_zarrs: bool) -> Callable[..., Callable[[], None]]:
    """One rasterio read per tile, whole shards written with zarr."""

    def prepare(folder: Path, tile: int, store: Path) -> Callable[[], None]:
        from geolatents.stores import create_array, use_fast_codecs

        if use_zarrs:
            use_fast_codecs()

        def run() -> None:
            with rasterio.open(folder / "scene.tif") as source:
                starts = range(0, source.height - tile + 1, tile)
                capacity = len(starts) * len(range(0, source.width - tile + 1, tile))
                group = zarr.open_group(store, mode="w", zarr_format=3)
                shape = (capacity, tile, tile, source.count)
                dimensions = ("tile", "y", "x", "band")
                array = create_array(group, "images", shape, "uint16", dimensions=dimensions)
                shards = array.shards or array.chunks
                buffer: list[np.ndarray] = []
                written = 0
                for y in starts:
                    for x in range(0, source.width - tile + 1, tile):
                        pixels = source.read(window=Window(x, y, tile, tile))
                        if (pixels != source.nodata).all(axis=0).mean() < MIN_VALID:
                            continue
                        buffer.append(np.moveaxis(pixels, 0, -1))
                        if len(buffer) == shards[0]:
                            array[written : written + len(buffer)] = np.stack(buffer)
                            written += len(buffer)
                            buffer.clear()
                array.resize((written + len(buffer), *shape[1:]))
                if buffer:
                    array[written:] = np.stack(buffer)

        return run

    return prepare


COMPETITORS: dict[str, Callable[..., Callable[[], None]]] = {
    "geolatents, 2 threads": geolatents_cut(2),
    "geolatents, 1 thread": geolatents_cut(1),
    "geolatents, 2 threads, images only": geolatents_cut(2, manifest=False),
    "rasterio windows + zarr-python": rasterio_windows(False),
    "rasterio windows + zarrs": rasterio_windows(True),
}


if __name__ == "__main__":
    main()
