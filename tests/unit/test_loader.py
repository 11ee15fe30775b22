import numpy as np
import pytest

from geolatents.batches.loader import TileImages, check_stores
from geolatents.errors import StoreError
from geolatents.stores import new_store, use_fast_codecs, write_strings
from geolatents.tiles.writer import tile_writer, write_moments


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    monkeypatch.setattr("geolatents.stores.SHARD_BYTES", 10 * 6 * 5 * 2 * 2 * 30)


def make_store(path, count, scene="A1", seed=0, bands=("red", "nir"), dtype="uint16", side=30):
    use_fast_codecs()
    rng = np.random.default_rng(seed)
    tiles = rng.integers(1, 250, (count, side, 20, len(bands))).astype(dtype)
    usable = rng.random((count, side, 20)) > 0.1
    with new_store(path, {"scene": scene, "bands": list(bands), "crs": None}) as group:
        with tile_writer(group, max(1, count), tiles.shape[1:], dtype) as writer:
            writer.append(tiles, usable)
            moments = writer.finish()
        write_strings(group, "ids", [f"{scene}-{i}" for i in range(count)], "tile")
        write_moments(group, moments)
    return tiles, usable


@pytest.fixture
def two(tmp_path):
    first, _ = make_store(tmp_path / "A1.zarr", 47)
    second, _ = make_store(tmp_path / "B2.zarr", 23, "B2", seed=1)
    return [tmp_path / "A1.zarr", tmp_path / "B2.zarr"], np.concatenate([first, second])


@pytest.mark.parametrize("limit", [None, 0])
def test_take(two, limit):
    stores, tiles = two
    images = TileImages.open(stores, memory_limit=limit)
    assert images.in_memory is (limit is None)
    assert (len(images), images.shape, images.dtype) == (70, (30, 20, 2), np.uint16)
    assert images.bands == ["red", "nir"]
    rng = np.random.default_rng(3)
    for positions in (rng.integers(0, 70, 50), [69, 0, 0, 47, 46], [], np.arange(70)):
        positions = np.asarray(positions, dtype=int)
        got = images.take(positions)
        np.testing.assert_array_equal(got, tiles[positions])
        assert got.dtype == np.uint16
    got = images.take([3])
    got[:] = 0
    np.testing.assert_array_equal(images.take([3]), tiles[[3]])


def test_vectors_follow_the_tiles(two):
    stores, tiles = two
    images = TileImages.open(stores[::-1])
    assert list(images.ids[[0, 23]]) == ["B2-0", "A1-0"]
    assert images.mean.shape == images.std.shape == (70, 2)
    assert images.valid_share.shape == (70,)
    expected = tiles[47:].mean(axis=(1, 2))
    assert np.abs(images.mean[:23] - expected).max() < 10
    assert 0.8 < images.valid_share.mean() < 0.99


def test_limit_is_the_size_of_the_tiles(two):
    stores, tiles = two
    assert TileImages.open(stores, memory_limit=tiles.nbytes).in_memory
    assert not TileImages.open(stores, memory_limit=tiles.nbytes - 1).in_memory


@pytest.mark.parametrize("limit", [None, 0])
def test_positions_outside(two, limit):
    images = TileImages.open(two[0], memory_limit=limit)
    for wrong in (70, -1):
        with pytest.raises(IndexError):
            images.take([0, wrong])


def test_ids(two):
    images = TileImages.open(two[0])
    np.testing.assert_array_equal(images.positions(["B2-0", "A1-5", "A1-5"]), [47, 5, 5])
    with pytest.raises(StoreError, match="'A1-99'") as error:
        images.positions(["A1-1", "A1-99", "C-0"])
    assert "2 of 3" in str(error.value)


@pytest.mark.parametrize(
    "other", [{"bands": ("red", "blue")}, {"dtype": "uint8"}, {"side": 31}], ids=str
)
def test_stores_must_be_alike(tmp_path, other):
    make_store(tmp_path / "a.zarr", 3)
    make_store(tmp_path / "b.zarr", 3, "B2", **other)
    with pytest.raises(StoreError, match="differ") as error:
        TileImages.open([tmp_path / "a.zarr", tmp_path / "b.zarr"])
    assert "b.zarr" in str(error.value)


def test_other_wrong_stores(tmp_path, two):
    with pytest.raises(StoreError, match="no tile store"):
        TileImages.open([])
    with pytest.raises(StoreError, match="missing"):
        TileImages.open([tmp_path / "none.zarr"])
    with pytest.raises(StoreError, match="twice"):
        TileImages.open([two[0][0], two[0][0]])


def test_empty_store(tmp_path, two):
    make_store(tmp_path / "none.zarr", 0, "C3")
    for limit in (None, 0):
        images = TileImages.open([tmp_path / "none.zarr", *two[0]], memory_limit=limit)
        np.testing.assert_array_equal(images.take([0, 69]), two[1][[0, 69]])
    check_stores([tmp_path / "none.zarr", *two[0]])


def shards(store, name="images"):
    return sorted(path for path in (store / name / "c").rglob("*") if path.is_file())


@pytest.mark.parametrize("number", [0, 1, -1])
@pytest.mark.parametrize("name", ["images", "mean"])
@pytest.mark.parametrize("left", [0.0, 0.5, 0.99])
def test_truncated_shards_are_found(two, number, name, left):
    store = two[0][0]
    check_stores(two[0])
    file = shards(store, name)[min(number, len(shards(store, name)) - 1)]
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * left)])
    with pytest.raises(StoreError, match=repr(name)) as error:
        check_stores(two[0])
    assert "A1.zarr" in str(error.value)
    with pytest.raises(StoreError, match=r"A1\.zarr"):
        TileImages.open(two[0])
    if name == "images":
        images = TileImages.open(two[0], memory_limit=0)
        with pytest.raises(StoreError, match="truncated"):
            images.take(np.arange(70))


def test_there_are_several_shards(two):
    assert len(shards(two[0][0])) == 3


def test_missing_shards_are_found(two):
    shards(two[0][0])[1].unlink()
    with pytest.raises(StoreError, match="shard"):
        check_stores(two[0])


def test_missing_ids_are_found(two):
    shards(two[0][1], "ids")[0].unlink()
    with pytest.raises(StoreError, match="ids"):
        check_stores(two[0])


def test_missing_array_is_found(two):
    import shutil

    shutil.rmtree(two[0][1] / "images")
    with pytest.raises(StoreError, match="images"):
        TileImages.open(two[0])
