import numpy as np
import pytest
import rasterio
from olr_data import classes, write_tiles, write_vectors

from geolatents.errors import StoreError
from geolatents.olr import predict
from geolatents.olr.maps import map_scene, tile_raster, write_map
from geolatents.stores import new_store, write_strings


def read_map(file):
    with rasterio.open(file) as raster:
        return raster.read(), raster.tags()


def scene(path, columns, rows, **arguments):
    ids = [f"north-{c}-{r}" for c, r in zip(columns, rows, strict=True)]
    write_tiles(
        path, ids, np.full((len(ids), 2), 500.0), np.array(columns), np.array(rows), **arguments
    )
    return path


def test_pixels_are_tiles(tmp_path):
    store = scene(tmp_path / "north.zarr", [2, 3, 5, 2], [-1, -1, -1, 1])
    raster = tile_raster(store)
    assert raster.shape == (3, 4)
    scores = np.array([[0.9, 0.1, 0.2], [0.1, 0.8, 0.2], [0.3, 0.2, 0.7], [0.6, 0.5, 0.1]])
    output, probabilities = tmp_path / "map.tif", tmp_path / "map-probabilities.tif"
    write_map(scores, raster, classes(3), output, probabilities)
    expected = np.zeros((3, 4), np.uint8)
    expected[0, 0], expected[0, 1], expected[0, 3], expected[2, 0] = 1, 2, 3, 1
    data, tags = read_map(output)
    np.testing.assert_array_equal(data, expected[None])
    assert tags["CLASS_3"] == "211 Class with a rather long name 2"
    percent, _ = read_map(probabilities)
    assert percent[:, 0, 0].tolist() == [90, 10, 20]
    assert percent[:, 1, 1].tolist() == [255] * 3
    with rasterio.open(output) as opened:
        assert opened.crs.to_epsg() == 3035
        assert opened.res == (640, 640)
        assert opened.bounds.left == 4_000_000 + 2 * 640
        assert opened.bounds.top == 3_000_000 + 640
        assert opened.colormap(1)[1] == (0xE6, 0x00, 0x4D, 255)
        assert opened.nodata == 0
        assert opened.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    with rasterio.open(probabilities) as opened:
        assert opened.descriptions == ("111", "112", "211")
        assert opened.nodata == 255
        assert opened.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"


def test_overlapping_tiles_keep_their_centres(tmp_path):
    raster = tile_raster(scene(tmp_path / "north.zarr", [0, 1, 0, 1], [0, 0, 1, 1], step=320.0))
    assert (raster.transform.a, raster.transform.e) == (320, -320)
    centre = raster.transform @ (0.5, 0.5) if hasattr(raster.transform, "__matmul__") else (
        raster.transform * (0.5, 0.5)
    )  # fmt: skip
    assert tuple(centre) == (4_000_320, 2_999_680)


def test_one_column_takes_the_size_of_its_tiles(tmp_path):
    raster = tile_raster(scene(tmp_path / "north.zarr", [4, 4], [0, 1]))
    assert raster.shape == (2, 1)
    assert raster.transform.a == 640


def test_large_maps_are_tiled_with_overviews(tmp_path):
    columns, rows = (axis.ravel() for axis in np.meshgrid(np.arange(600), np.arange(3)))
    raster = tile_raster(scene(tmp_path / "north.zarr", columns.tolist(), rows.tolist()))
    scores = np.random.default_rng(0).random((1800, 2))
    write_map(scores, raster, classes(2), tmp_path / "m.tif", tmp_path / "p.tif")
    with rasterio.open(tmp_path / "m.tif") as opened:
        assert opened.profile["tiled"]
        assert opened.overviews(1)
        small = opened.read(1, out_shape=(1, 300))
        assert set(np.unique(small)) <= {0, 1, 2}  # classes are never averaged


def test_packed_images_cannot_be_mapped(tmp_path):
    with new_store(tmp_path / "images.zarr", {"crs": None}) as group:
        write_strings(group, "ids", ["a", "b"], "tile")
    with pytest.raises(StoreError, match="without position"):
        tile_raster(tmp_path / "images.zarr")


def test_a_scene_is_mapped_with_the_names_of_its_label_set(tmp_path, monkeypatch):
    store = scene(tmp_path / "north.zarr", [0, 1], [0, 0])
    with new_store(tmp_path / "labels.zarr", {"classes": classes(2)}) as group:
        write_strings(group, "ids", ["north-0-0"], "tile")
        write_vectors(group, "labels", np.ones((1, 2), np.uint8), ("tile", "class"))

    def apply_model(model, stores, ids, flips=False):
        assert (model.name, list(stores), flips) == ("model.keras", [store], True)
        assert list(ids) == ["north-0-0", "north-1-0"]
        return np.array([[0.2, 0.7], [0.9, 0.7]], np.float32)

    monkeypatch.setattr(predict, "apply_model", apply_model)
    map_scene(
        model=tmp_path / "model.keras", store=store, labels=tmp_path / "labels.zarr",
        output=tmp_path / "map.tif", probabilities=tmp_path / "p.tif", flips=True,
    )  # fmt: skip
    data, tags = read_map(tmp_path / "map.tif")
    assert data.tolist() == [[[2, 1]]]
    assert tags["CLASS_1"].startswith("111 ")
