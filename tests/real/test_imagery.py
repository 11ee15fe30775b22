"""Real images: Landsat, Sentinel-2, PlanetScope, UC Merced and BigEarthNet."""

from __future__ import annotations

import csv
import json
import zipfile

import numpy as np
import pytest
import rasterio

from geolatents.acquire.files import scene_files
from geolatents.acquire.reader import open_scene
from geolatents.files import read_json
from geolatents.settings.files import FilesImagery, ValidityMask
from geolatents.settings.images import ImageFolder
from geolatents.settings.tiles import TileSettings
from geolatents.stores import open_store, read_array, read_strings
from geolatents.tiles.check import check_scene, record_scene
from geolatents.tiles.pack import check_images, pack_images

pytestmark = pytest.mark.real_data


def read(folder, tmp_path, resolution=None, **settings):
    imagery = FilesImagery(provider="files", **settings)
    ((scene, file),) = scene_files(imagery, folder).items()
    check, record = tmp_path / "check.json", tmp_path / f"{scene}.json"
    check_scene(scene, file, imagery, TileSettings(size=32), check)
    record_scene(check, record)
    with open_scene(record, resolution) as reader:
        rows, columns = reader.shape
        return *reader.read(slice(0, rows), slice(0, columns)), read_json(check)


def test_landsat_floats_with_nan(data_folder, tmp_path):
    pixels, usable, check = read(data_folder, tmp_path, files=["lanjaron/landsat8_60m.tif"])
    with rasterio.open(data_folder / "lanjaron/landsat8_60m.tif") as source:
        original = source.read()
    np.testing.assert_array_equal(usable, ~np.isnan(original).any(axis=0))
    np.testing.assert_array_equal(pixels[usable], np.moveaxis(original, 0, -1)[usable])
    assert 0.99 < usable.mean() < 1
    assert np.isfinite(pixels).all()
    assert check["record"]["crs"] == "EPSG:32630"
    assert check["record"]["bands"] == ["B2", "B3", "B4", "B5", "B6", "B7"]


def test_sentinel2_with_scene_classification(data_folder, tmp_path):
    names = ["B02", "B03", "B04", "B08", "SCL"]
    mask = ValidityMask(kind="scl", band="SCL", usable=[4, 5])
    pixels, usable, check = read(
        data_folder, tmp_path, files=["bolzano/*.tif"], bands=names, mask=mask
    )
    with rasterio.open(data_folder / "bolzano/S2_L2A_sample.tif") as source:
        scl = source.read(5)
    assert pixels.shape == (705, 935, 4)
    assert not (usable & ~np.isin(scl, [4, 5])).any()
    assert 0.5 < usable.mean() < 1
    assert check["n_tiles"] > 100


def test_planetscope_becomes_reflectance(data_folder, tmp_path):
    pixels, usable, check = read(
        data_folder, tmp_path,
        files=["planetscope/*"], bands=["blue", "green", "red", "nir"], metadata="planetscope",
    )  # fmt: skip
    assert check["record"]["acquired"] == "2017-09-15T02:07:28+00:00"
    assert 0.25 < usable.mean() < 0.35
    with rasterio.open(next((data_folder / "planetscope").glob("*.tif"))) as source:
        nir = source.read(4)
    expected = np.rint(nir * 3.53158793892e-05 * 10000)
    np.testing.assert_array_equal(pixels[..., 3][usable], expected[usable])
    blue, _, red, near = np.median(pixels[usable], axis=0)
    assert red < blue < near < 5000  # forest in Borneo, and the plausible range of reflectance


def pack(folder, tmp_path, **settings):
    imagery = ImageFolder(provider="images", **settings)
    check_images(imagery, folder, tmp_path / "check.json")
    names = ("t.zarr", "t.json", "c.zarr", "c.json")
    paths = [tmp_path / name for name in names]
    pack_images(imagery, folder, tmp_path / "check.json", *paths)
    return open_store(paths[0]), open_store(paths[2]), read_json(tmp_path / "check.json")


def test_uc_merced_is_packed_with_its_17_labels(data_folder, tmp_path):
    folder = data_folder / "ucm_multilabel"
    tiles, cover, check = pack(
        folder, tmp_path, images="images.zip", table="LandUse_Multilabeled.txt", groups="folder"
    )
    labels = read_array(cover, "cover")
    assert labels.shape == (1680, 17)
    assert labels.sum(axis=1).mean() == pytest.approx(3.3, abs=0.1)
    ids, groups = read_strings(tiles, "ids"), read_strings(tiles, "group")
    with (folder / "ucm_split.csv").open() as stream:
        expected = {row["image"]: row["scene_class"] for row in csv.DictReader(stream)}
    assert dict(zip(ids.tolist(), groups.tolist(), strict=True)) == expected
    classes = [c["code"] for c in cover.attrs["classes"]]
    water = labels[:, classes.index("water")].astype(bool)
    airplane = labels[groups == "airplane", classes.index("airplane")]
    assert airplane.mean() > 0.95
    assert 0.05 < water.mean() < 0.2
    assert read_array(tiles, "images").shape == (1680, 64, 64, 3)
    assert check["n_images"] == 1680


@pytest.mark.parametrize(("key", "n", "classes"), [("labels_19", 98, 19), ("labels_43", 70, 44)])
def test_bigearthnet_labels_match_their_json(data_folder, tmp_path, key, n, classes):
    tiles, cover, check = pack(
        data_folder, tmp_path, images="bigearthnet/patches.zip", layout="bigearthnet",
        labels_key=key, size=120, bands=["B02", "B05", "B01"],
    )  # fmt: skip
    labels, ids = read_array(cover, "cover"), read_strings(tiles, "ids").tolist()
    assert labels.shape == (n, classes)
    assert check["n_images"] == n
    archive = zipfile.ZipFile(data_folder / "bigearthnet/patches.zip")
    named = [name for name in archive.namelist() if name.endswith(".json")]
    for name in named:
        values = json.loads(archive.read(name))
        if values[key]:
            assert labels[ids.index(name.split("/")[-2])].sum() == len(set(values[key]))
    images = read_array(tiles, "images")
    first = next(name for name in archive.namelist() if name.endswith(f"{ids[0]}_B02.tif"))
    with rasterio.MemoryFile(archive.read(first)) as memory, memory.open() as source:
        np.testing.assert_array_equal(images[0, ..., 0], source.read(1))
    # Bands of 20 m and 60 m show the same place: they vary with the 10 m band, patch by patch.
    flat = images.reshape(n, -1, 3).astype(float)
    for band, least in ((1, 0.6), (2, 0.4)):
        related = [np.corrcoef(p[:, 0], p[:, band])[0, 1] for p in flat if p.std(axis=0).all()]
        assert np.median(related) > least
