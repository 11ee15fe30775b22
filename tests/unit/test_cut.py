import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from geolatents.acquire.files import SceneRecord
from geolatents.acquire.reader import open_scene
from geolatents.settings.tiles import TileSettings
from geolatents.stores import content_manifest, open_store, read_array, read_strings
from geolatents.tiles import cut
from geolatents.tiles.cut import count_tiles, cut_tiles
from geolatents.tiles.grid import TileGrid
from geolatents.tiles.writer import tile_moments, tile_writer

LEFT, TOP, PIXEL = 500_013.0, 4_000_002.0, 3.0


class FakeReader:
    """A scene in memory that counts how often each pixel is read."""

    def __init__(self, pixels, usable, block_rows=16):
        self.pixels, self.usable, self.block_rows = pixels, usable, block_rows
        self.geobox = GeoBox(usable.shape, Affine(PIXEL, 0, LEFT, 0, -PIXEL, TOP), "EPSG:32636")
        self.bands = [f"b{i}" for i in range(pixels.shape[2])]
        self.dtype, self.nodata = pixels.dtype, 0
        self.reads = np.zeros(usable.shape, dtype=int)

    def read(self, rows, columns):
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        pixels = np.zeros((*shape, self.pixels.shape[2]), dtype=self.dtype)
        usable = np.zeros(shape, dtype=bool)
        y = np.arange(rows.start, rows.stop)
        x = np.arange(columns.start, columns.stop)
        in_y = (y >= 0) & (y < self.usable.shape[0])
        in_x = (x >= 0) & (x < self.usable.shape[1])
        source, target = np.ix_(y[in_y], x[in_x]), np.ix_(in_y, in_x)
        pixels[target], usable[target] = self.pixels[source], self.usable[source]
        self.reads[source] += 1
        return pixels, usable


def a_scene(height=150, width=170, bands=3, dtype="uint16", seed=0):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(1, 250, (height, width, bands)).astype(dtype)
    usable = np.ones((height, width), dtype=bool)
    usable[: height // 3, : width // 4] = False
    usable &= rng.random((height, width)) > 0.02
    return np.where(usable[..., None], pixels, 0).astype(dtype), usable


def write_scene(folder, pixels, usable, name="scene", acquired="2018-07-01", **profile):
    folder.mkdir(exist_ok=True, parents=True)
    file = folder / f"{name}.tif"
    height, width, bands = pixels.shape
    options = {"tiled": True, "blockxsize": 64, "blockysize": 32, "compress": "deflate"} | profile
    transform = Affine(PIXEL, 0, LEFT, 0, -PIXEL, TOP)
    with rasterio.open(
        file, "w", driver="GTiff", width=width, height=height, count=bands, dtype=pixels.dtype,
        crs="EPSG:32636", transform=transform, nodata=0, **options,
    ) as target:  # fmt: skip
        target.write(np.moveaxis(pixels, -1, 0))
    record = SceneRecord(
        scene=name, path=str(file), sha256="0" * 64, crs="EPSG:32636",
        transform=tuple(transform)[:6], width=width, height=height, dtype=str(pixels.dtype),
        nodata=0.0, bands=[f"b{i}" for i in range(bands)],
        band_indexes=list(range(1, bands + 1)), acquired=acquired, licence="none",
        provider="files",
    )  # fmt: skip
    path = folder / f"{name}.json"
    path.write_text(record.model_dump_json())
    return path


def plain_cut(pixels, usable, geobox, tiles):
    """The straightforward cut that the fast one must equal."""
    grid = TileGrid.over(geobox, tiles)
    width, height = grid.size
    found = []
    padded = np.pad(pixels, [(height, height), (width, width), (0, 0)])
    mask = np.pad(usable, [(height, height), (width, width)])
    for window in grid.windows():
        place = np.s_[
            window.y + height : window.y + 2 * height, window.x + width : window.x + 2 * width
        ]
        if mask[place].mean() >= tiles.min_valid:
            found.append((window.column, window.row, padded[place], mask[place]))
    return found


TILES = [
    TileSettings(size=16, min_valid=0.9),
    TileSettings(size=(33, 13), min_valid=0.5),
    TileSettings(size=20, stride=7, min_valid=0.95),
    TileSettings(size=10, stride=(25, 31), min_valid=0.0),
    TileSettings(size=40, min_valid=0.4, edges="pad"),
    TileSettings(size=40, stride=(11, 60), min_valid=0.0, edges="pad"),
    TileSettings(size=100, min_valid=0.1),
]


@pytest.mark.parametrize("tiles", TILES, ids=lambda t: f"{t.size}-{t.stride}-{t.edges}")
@pytest.mark.parametrize("workers", [1, 3])
def test_equals_the_plain_cut(tmp_path, tiles, workers, monkeypatch):
    monkeypatch.setattr("geolatents.stores.SHARD_BYTES", 20_000)  # several shards
    monkeypatch.setattr(cut, "READ_ROWS", 24)
    pixels, usable = a_scene()
    record = write_scene(tmp_path, pixels, usable)
    store, manifest = tmp_path / "out" / "scene.zarr", tmp_path / "out" / "scene.json"
    cut_tiles(record, tiles, store, manifest, workers=workers)
    with open_scene(record) as reader:
        expected = plain_cut(pixels, usable, reader.geobox, tiles)
        assert count_tiles(reader, tiles) == (len(expected), pytest.approx(usable.mean()))
    assert expected
    group = open_store(store)
    np.testing.assert_array_equal(read_array(group, "images"), [item[2] for item in expected])
    np.testing.assert_array_equal(read_array(group, "column"), [item[0] for item in expected])
    np.testing.assert_array_equal(read_array(group, "row"), [item[1] for item in expected])
    share = read_array(group, "valid_share")
    np.testing.assert_allclose(share, [item[3].mean() for item in expected], rtol=1e-6)
    for number in (0, len(expected) - 1):
        used = expected[number][2][expected[number][3]].astype(float)
        if len(used):
            np.testing.assert_allclose(group["mean"][number], used.mean(axis=0), rtol=1e-6)
            np.testing.assert_allclose(group["std"][number], used.std(axis=0), rtol=1e-6)
    bounds = read_array(group, "bounds")
    size = tiles.size if isinstance(tiles.size, tuple) else (tiles.size, tiles.size)
    np.testing.assert_allclose(bounds[:, 2] - bounds[:, 0], size[0] * PIXEL)
    np.testing.assert_allclose(bounds[:, 3] - bounds[:, 1], size[1] * PIXEL)
    assert json.loads(manifest.read_text()) == json.loads(json.dumps(content_manifest(store)))


def test_store_says_what_it_holds(tmp_path):
    record = write_scene(tmp_path, *a_scene(dtype="uint8"), name="A-1")
    store = tmp_path / "A-1.zarr"
    cut_tiles(record, TileSettings(size=32), store, tmp_path / "m.json")
    group = open_store(store)
    assert group["images"].dtype == np.uint8
    assert group["images"].shards is not None
    assert dict(group.attrs) == {
        "scene": "A-1", "crs": "EPSG:32636", "bands": ["b0", "b1", "b2"],
        "resolution": [3.0, 3.0], "nodata": 0, "acquired": "2018-07-01", "provider": "files",
    }  # fmt: skip
    ids = read_strings(group, "ids")
    column, row = group["column"][0], group["row"][0]
    assert ids[0] == f"A-1-{column}-m{-row}"


def test_workers_and_blocks_change_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("geolatents.stores.SHARD_BYTES", 20_000)
    pixels, usable = a_scene()
    layouts = [{}, {"tiled": False, "blockysize": 7}, {"blockxsize": 16, "blockysize": 128}]
    tiles = TileSettings(size=24, stride=10, min_valid=0.5)
    found = []
    for number, layout in enumerate(layouts):
        if not layout.get("tiled", True):
            layout = {"tiled": False, "blockysize": 7, "blockxsize": None}
        record = write_scene(tmp_path / str(number), pixels, usable, **layout)
        for workers in (1, 2, 4):
            store = tmp_path / f"{number}-{workers}.zarr"
            cut_tiles(record, tiles, store, tmp_path / "m.json", workers=workers)
            files = {
                path.relative_to(store).as_posix(): path.read_bytes()
                for path in sorted(store.rglob("*"))
                if path.is_file()
            }
            found.append(((tmp_path / "m.json").read_text(), files))
    assert len(found[0][1]) > 10
    assert all(item == found[0] for item in found[1:])


@settings(max_examples=30, deadline=None)
@given(
    size=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    stride=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    edges=st.sampled_from(["drop", "pad"]),
    block_rows=st.integers(1, 80),
    most=st.sampled_from([8, 512]),
)
def test_each_pixel_is_read_once(size, stride, edges, block_rows, most):
    reader = FakeReader(*a_scene(110, 90, 2), block_rows=block_rows)
    tiles = TileSettings(size=size, stride=stride, edges=edges, min_valid=0.6)
    grid = TileGrid.over(reader.geobox, tiles)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cut, "READ_ROWS", most)
        patch.setattr(cut, "READ_COLUMNS", 32)
        patch.setattr(cut, "READ_BYTES", 1)
        got = [
            (column, row, tile.copy(), mask.copy())
            for row, columns, rows, masks in cut._tile_rows(reader, grid, 0.6, "s")
            for column, tile, mask in zip(columns, rows, masks, strict=True)
        ]
        assert reader.reads.max() <= 1
        expected = plain_cut(reader.pixels, reader.usable, reader.geobox, tiles)
        assert len(got) == len(expected)
        for one, other in zip(got, expected, strict=True):
            assert one[:2] == other[:2]
            np.testing.assert_array_equal(one[2], other[2])
            np.testing.assert_array_equal(one[3], other[3])
        reader.reads[:] = 0
        assert count_tiles(reader, tiles) == (len(expected), reader.usable.mean())
        assert (reader.reads == 1).all()


def bytes_read():
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("rchar")).split()[1])


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="counts reads with Linux's /proc")
@pytest.mark.parametrize(("size", "stride"), [(64, 64), (100, 37), (700, 350)])
@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_each_block_comes_from_disk_once(tmp_path, monkeypatch, size, stride, interleave):
    monkeypatch.setattr("geolatents.acquire.reader.CACHE_FLOOR", 2**20)
    rng = np.random.default_rng(0)
    pixels = rng.integers(1, 60_000, (1500, 1500, 2)).astype(np.uint16)
    usable = np.ones(pixels.shape[:2], dtype=bool)
    record = write_scene(
        tmp_path, pixels, usable, blockxsize=256, blockysize=256, interleave=interleave
    )
    tiles = TileSettings(size=size, stride=stride)
    with open_scene(record) as reader:
        grid = TileGrid.over(reader.geobox, tiles)
        before = bytes_read()
        count = sum(len(columns) for _, columns, _, _ in cut._tile_rows(reader, grid, 0.9, "s"))
        read = bytes_read() - before
    assert count == len(grid)
    assert read < 1.02 * (tmp_path / "scene.tif").stat().st_size


def test_reads_end_at_blocks():
    ends = [rows.stop for rows in cut._reads(100, 2000, 500)]
    assert ends == [500, 1000, 1500, 2000]
    ends = [rows.stop for rows in cut._reads(0, 3000, 1024)]
    assert ends == [512, 1024, 1536, 2048, 2560, 3000]
    assert all(rows.stop - rows.start >= 200 for rows in cut._reads(0, 768, 1))
    ends = [rows.stop for rows in cut._reads(-5, 20, 8)]
    assert ends[0] == 0
    assert ends[-1] == 20


def test_a_scene_without_tiles_gives_an_empty_store(tmp_path):
    pixels, usable = a_scene()
    usable[:] = False
    record = write_scene(tmp_path, np.zeros_like(pixels), usable)
    for tiles in (TileSettings(size=16), TileSettings(size=500)):
        store = tmp_path / "scene.zarr"
        cut_tiles(record, tiles, store, tmp_path / "m.json", workers=2)
        group = open_store(store)
        assert group["images"].shape == (0, tiles.size, tiles.size, 3)
        assert group["mean"].shape == (0, 3)
        assert read_strings(group, "ids").size == 0
        with open_scene(record) as reader:
            assert count_tiles(reader, tiles) == (0, 0.0)


def test_a_failure_leaves_nothing(tmp_path, monkeypatch):
    record = write_scene(tmp_path / "in", *a_scene())
    monkeypatch.setattr("geolatents.stores.SHARD_BYTES", 20_000)

    def broken(*_):
        raise RuntimeError("disk is full")

    monkeypatch.setattr("geolatents.tiles.writer.tile_moments", broken)
    out = tmp_path / "out"
    with pytest.raises(RuntimeError, match="disk is full"):
        cut_tiles(record, TileSettings(size=16), out / "s.zarr", out / "s.json", workers=2)
    assert list(out.iterdir()) == []


def test_resolution(tmp_path):
    pixels, usable = a_scene(120, 120)
    record = write_scene(tmp_path, pixels, usable)
    store = tmp_path / "s.zarr"
    tiles = TileSettings(size=60, unit="metres", resolution=6.0, min_valid=0.5)
    cut_tiles(record, tiles, store, tmp_path / "m.json")
    group = open_store(store)
    assert group["images"].shape[1:] == (10, 10, 3)
    assert group.attrs["resolution"] == [6.0, 6.0]
    assert group["images"].shape[0] > 5


def test_moments_ignore_what_is_unusable():
    rng = np.random.default_rng(0)
    tiles = rng.integers(60_000, 65_535, (5, 9, 11, 2)).astype(np.uint16)
    usable = rng.random((5, 9, 11)) > 0.4
    usable[4] = False
    moments = tile_moments(tiles, usable)
    for tile, mask, mean, std, share in zip(
        tiles, usable, moments.mean, moments.std, moments.valid_share, strict=True
    ):
        if mask.any():
            np.testing.assert_allclose(mean, tile[mask].mean(axis=0), rtol=1e-6)
            np.testing.assert_allclose(std, tile[mask].std(axis=0), rtol=1e-6)
        assert share == pytest.approx(mask.mean())
    assert not moments.mean[4].any()
    assert not moments.std[4].any()


def test_the_writer_takes_any_pieces(tmp_path, monkeypatch):
    import zarr

    monkeypatch.setattr("geolatents.stores.SHARD_BYTES", 7 * 32)
    tiles = np.arange(40 * 16, dtype=np.uint16).reshape(40, 4, 4, 1)
    usable = np.ones(tiles.shape[:3], dtype=bool)
    for pieces in ([40], [1] * 40, [3, 20, 0, 17]):
        group = zarr.open_group(tmp_path / "x.zarr", mode="w", zarr_format=3)
        with tile_writer(group, 100, tiles.shape[1:], "uint16", workers=3) as writer:
            for part in np.split(np.arange(40), np.cumsum(pieces)[:-1]):
                writer.append(tiles[part], usable[part])
            moments = writer.finish()
        np.testing.assert_array_equal(group["images"][:], tiles)
        np.testing.assert_allclose(moments.mean[:, 0], tiles.mean(axis=(1, 2, 3)), rtol=1e-6)


BIG = """
import sys
from pathlib import Path
from geolatents.settings.tiles import TileSettings
from geolatents.tiles.cut import cut_tiles
record, size, folder = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
cut_tiles(record, TileSettings(size=size), folder / "s.zarr", folder / "s.json", workers=2)
# not ru_maxrss, which starts at the parent's
print(int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize("size", [64, 1000])
def test_memory_for_a_scene_of_20000_pixels_squared(tmp_path, size):
    side, bands = 20_000, 4
    file = tmp_path / "big.tif"
    row = (np.arange(side) % 4000 + 1).astype(np.uint16)
    with rasterio.open(
        file, "w", driver="GTiff", width=side, height=side, count=bands, dtype="uint16",
        crs="EPSG:32636", transform=Affine(PIXEL, 0, LEFT, 0, -PIXEL, TOP), nodata=0,
        tiled=True, blockxsize=512, blockysize=512, compress="zstd", zstd_level=1,
    ) as target:  # fmt: skip
        for top in range(0, side, 512):
            height = min(512, side - top)
            strip = np.broadcast_to(row, (bands, height, side))
            target.write(strip, window=rasterio.windows.Window(0, top, side, height))
    record = tmp_path / "big.json"
    record.write_text(
        SceneRecord(
            scene="big", path=str(file), sha256="0" * 64, crs="EPSG:32636",
            transform=(PIXEL, 0, LEFT, 0, -PIXEL, TOP), width=side, height=side, dtype="uint16",
            nodata=0.0, bands=list("abcd"), band_indexes=[1, 2, 3, 4], licence="none",
            provider="files",
        ).model_dump_json()
    )  # fmt: skip
    result = subprocess.run(
        [sys.executable, "-c", BIG, record, str(size), tmp_path],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    peak_mb = float(result.stdout)
    print(f"peak memory with tiles of {size}: {peak_mb:.0f} MB")
    assert peak_mb < 2000
    manifest = json.loads((tmp_path / "s.json").read_text())
    tiles = manifest["arrays"]["images"]["shape"][0]
    assert tiles >= (side // size - 1) ** 2
