"""Readers give the pixels of every format and mask, once per block."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.warp import Resampling, reproject
from scene_data import TRANSFORM, pixels, record, write

import geolatents.acquire.reader as reader_module
from geolatents.acquire.reader import _overlaps, open_scene
from geolatents.errors import SceneError
from geolatents.settings.files import ValidityMask


def whole(path, resolution=None):
    with open_scene(path, resolution) as reader:
        rows, columns = reader.shape
        return reader.read(slice(0, rows), slice(0, columns))


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32", "float64"])
@pytest.mark.parametrize("tiled", [True, False])
def test_geotiffs_of_every_type(tmp_path, dtype, tiled):
    data = pixels(dtype=dtype)
    more = {} if tiled else {"tiled": False, "blockxsize": None, "blockysize": 7}
    scene = record(write(tmp_path / "scene.tif", data, nodata=0, **more))
    found, usable = whole(scene)
    assert found.dtype == ("float32" if dtype == "float64" else dtype)
    np.testing.assert_array_equal(found, np.moveaxis(data, 0, -1))
    assert usable.all()


def test_jpeg2000_without_loss(tmp_path):
    data = pixels((128, 128))
    options = {"driver": "JP2OpenJPEG", "QUALITY": "100", "REVERSIBLE": "YES"}
    path = write(tmp_path / "scene.jp2", data, tiled=None, blockxsize=64, blockysize=64, **options)
    found, _ = whole(record(path))
    np.testing.assert_array_equal(found, np.moveaxis(data, 0, -1))


@pytest.mark.parametrize(
    ("ending", "driver", "world", "tolerance"),
    [("png", "PNG", "pgw", 0), ("jpg", "JPEG", "jgw", 12)],
)
def test_pictures_with_world_file_are_converted_once(
    tmp_path, monkeypatch, ending, driver, world, tolerance
):
    smooth = np.broadcast_to(np.arange(20, 90, dtype=np.uint8), (3, 50, 70)).copy()
    path = tmp_path / f"scene.{ending}"
    with rasterio.open(
        path, "w", driver=driver, count=3, height=50, width=70, dtype="uint8"
    ) as target:
        target.write(smooth)
    Path(f"{path}.aux.xml").unlink(missing_ok=True)
    t = TRANSFORM
    corner = (t.c + t.a / 2, t.f + t.e / 2)
    (tmp_path / f"scene.{world}").write_text("\n".join(map(str, (t.a, 0, 0, t.e, *corner))))
    scene = record(path, crs="EPSG:32636")
    copies = []
    copy = reader_module.rasterio.shutil.copy
    monkeypatch.setattr(
        reader_module.rasterio.shutil, "copy", lambda *a, **k: (copies.append(a[1]), copy(*a, **k))
    )
    with open_scene(scene) as reader:
        assert reader.geobox.affine.almost_equals(TRANSFORM)
        assert reader.bands == ["red", "green", "blue"]
        strips = [reader.read(slice(y, y + 10), slice(0, 70))[0] for y in (0, 20, 10, 30, 40)]
    assert len(copies) == 1
    assert not Path(copies[0]).exists()
    found = np.concatenate([strips[i] for i in (0, 2, 1, 3, 4)]).astype(int)
    assert np.abs(found - np.moveaxis(smooth, 0, -1)).max() <= tolerance


def test_no_data_in_one_band_makes_a_pixel_unusable_in_all(tmp_path):
    data = pixels()
    data[1, 5, 6] = 7777
    found, usable = whole(record(write(tmp_path / "scene.tif", data, nodata=7777)))
    assert not usable[5, 6]
    assert usable.sum() == usable.size - 1
    assert (found[5, 6] == 0).all()


@pytest.mark.parametrize("nodata", [None, np.nan, -9999.0])
def test_float_scenes_give_finite_pixels(tmp_path, nodata):
    data = pixels(dtype="float32")
    data[0, 3, 4], data[2, 8, 9], data[1, 1, 1] = np.nan, np.inf, -9999
    found, usable = whole(record(write(tmp_path / "scene.tif", data, nodata=nodata)))
    assert np.isfinite(found).all()
    assert (~usable).sum() == (3 if nodata == -9999.0 else 2)


def test_no_data_value_of_the_configuration_and_one_that_cannot_occur(tmp_path):
    data = pixels(dtype="uint8")
    path = write(tmp_path / "scene.tif", data)
    _, usable = whole(record(path, nodata=17))
    np.testing.assert_array_equal(usable, (data != 17).all(axis=0))
    _, usable = whole(record(path, nodata=-1))
    assert usable.all()


def test_bands_are_chosen_by_name_in_the_wanted_order(tmp_path):
    data = pixels(bands=4)
    path = write(tmp_path / "scene.tif", data)
    scene = record(path, bands=["blue", "green", "red", "nir"], use_bands=["nir", "blue"])
    found, _ = whole(scene)
    np.testing.assert_array_equal(found, np.moveaxis(data[[3, 0]], 0, -1))


def test_scene_classification_in_the_file(tmp_path):
    data = pixels(bands=3)
    data[2] = np.arange(data[2].size).reshape(data[2].shape) % 12
    path = write(tmp_path / "scene.tif", data, names=("B02", "B03", "SCL"))
    found, usable = whole(record(path, mask=ValidityMask(kind="scl", band="SCL")))
    np.testing.assert_array_equal(usable, np.isin(data[2], [2, 4, 5, 6, 7, 11]))
    assert found.shape[-1] == 2
    assert (found[~usable] == 0).all()
    _, usable = whole(record(path, mask=ValidityMask(kind="scl", band="SCL", usable=[4])))
    np.testing.assert_array_equal(usable, data[2] == 4)


@pytest.mark.parametrize(("kind", "good"), [("udm", 0), ("udm2", 1)])
def test_mask_files_of_planet(tmp_path, kind, good):
    mask = np.random.default_rng(1).integers(0, 3, (1, 50, 70), dtype=np.uint8)
    path = write(tmp_path / "s_3B_AnalyticMS.tif", pixels())
    name = "s_3B_udm2.tif" if kind == "udm2" else "s_3B_AnalyticMS_DN_udm.tif"
    # Zero as no-data must not make UDM's usable pixels vanish.
    write(tmp_path / name, mask, nodata=0)
    _, usable = whole(record(path, mask=ValidityMask(kind=kind)))
    np.testing.assert_array_equal(usable, mask[0] == good)


def test_coarser_and_smaller_mask_file(tmp_path):
    path = write(tmp_path / "scene.tif", pixels((48, 72)))
    mask = np.random.default_rng(1).integers(0, 2, (1, 24, 24), dtype=np.uint8)
    coarse = TRANSFORM @ Affine.translation(12, 0) @ Affine.scale(2)
    write(tmp_path / "scene_udm.tif", mask, transform=coarse)
    _, usable = whole(record(path, mask=ValidityMask(kind="udm", suffix="_udm.tif")))
    expected = np.zeros((48, 72), dtype=bool)
    expected[:, 12:60] = np.kron(mask[0] == 0, np.ones((2, 2), dtype=bool))
    np.testing.assert_array_equal(usable, expected)


def test_alpha_band_and_internal_mask(tmp_path):
    data = pixels(bands=4, dtype="uint8")
    data[3] = np.where(np.arange(70) < 20, 0, 255)
    path = write(tmp_path / "alpha.tif", data, photometric="RGB", alpha="YES")
    found, usable = whole(record(path, mask=ValidityMask(kind="alpha")))
    assert found.shape[-1] == 3
    np.testing.assert_array_equal(usable, data[3] > 0)

    path = write(tmp_path / "masked.tif", pixels())
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as target:
        target.write_mask(data[3] > 0)
    _, usable = whole(record(path, mask=ValidityMask(kind="alpha")))
    np.testing.assert_array_equal(usable, data[3] > 0)


def test_parts_outside_the_scene_are_unusable(tmp_path):
    data = pixels()
    with open_scene(record(write(tmp_path / "scene.tif", data))) as reader:
        found, usable = reader.read(slice(-4, 60), slice(-2, 90))
        nothing, none = reader.read(slice(-9, -1), slice(0, 5))
    np.testing.assert_array_equal(found[4:54, 2:72], np.moveaxis(data, 0, -1))
    assert usable.sum() == 50 * 70
    assert found.shape == (64, 92, 3)
    assert not found[~usable].any()
    assert nothing.shape == (8, 5, 3)
    assert not none.any()


def test_resampling_is_the_area_mean_of_gdal(tmp_path):
    data = pixels((60, 80), dtype="float32")
    scene = record(write(tmp_path / "scene.tif", data))
    with open_scene(scene, 10.0) as reader:
        rows, columns = reader.shape
        target = reader.geobox.affine
        found, usable = reader.read(slice(0, rows), slice(0, columns))
        parts = [
            reader.read(slice(y, min(y + 4, rows)), slice(0, columns))[0] for y in range(0, rows, 4)
        ]
    assert target.c % 10 == 0
    assert target.f % 10 == 0
    assert usable.all()
    expected = np.zeros((3, rows, columns), dtype="float32")
    reproject(
        data, expected, src_transform=TRANSFORM, dst_transform=target,
        src_crs="EPSG:32636", dst_crs="EPSG:32636", resampling=Resampling.average,
    )  # fmt: skip
    np.testing.assert_allclose(found, np.moveaxis(expected, 0, -1), rtol=1e-4)
    np.testing.assert_array_equal(np.concatenate(parts), found)


def test_resampling_leaves_unusable_pixels_out_of_the_mean(tmp_path):
    data = np.full((1, 40, 40), 100, dtype=np.uint16)
    data[0, :2, 0] = 0  # half of the first coarse pixel
    data[0, :2, 2:4] = 0  # all of the second
    transform = Affine(3, 0, 500_100, 0, -3, 3_900_300)
    found, usable = whole(record(write(tmp_path / "s1.tif", data, transform, nodata=0)), 6.0)
    assert found.shape == (20, 20, 1)
    assert found[0, 0, 0] == 100
    assert usable[0, 0]
    assert not usable[0, 1]
    assert found[0, 1, 0] == 0
    assert (~usable).sum() == 1


@settings(deadline=None, max_examples=50)
@given(
    offset=st.floats(0, 20),
    step=st.floats(0.2, 7),
    start=st.integers(0, 5),
    count=st.integers(1, 12),
)
def test_weights_of_area_averaging_keep_constants_and_means(offset, step, start, count):
    part = _overlaps(slice(start, start + count), offset, step)
    dense = part.weights.toarray()
    np.testing.assert_allclose(dense.sum(axis=1), 1, atol=1e-5)
    centres = np.arange(part.source.start, part.source.stop) + 0.5
    # The mean position of a constant density is the centre of the target, up to one source pixel.
    expected = offset + step * (np.arange(start, start + count) + 0.5)
    assert np.abs(dense @ centres - expected).max() <= 0.5 + 1e-5


def test_resolution_larger_than_the_scene(tmp_path):
    scene = record(write(tmp_path / "scene.tif", pixels()))
    with pytest.raises(SceneError, match="smaller than one pixel"), open_scene(scene, 1000.0):
        pass


def bytes_read():
    return int(Path("/proc/self/io").read_text().split("rchar: ")[1].split()[0])


def read_strips(scene, height):
    before = bytes_read()
    with open_scene(scene) as reader:
        rows, columns = reader.shape
        for row in range(0, rows, height):
            reader.read(slice(row, min(rows, row + height)), slice(0, columns))
    return bytes_read() - before


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="counts bytes through Linux' /proc")
def test_each_block_is_read_once_whatever_the_strips(tmp_path, monkeypatch):
    data = np.random.default_rng(0).integers(0, 60000, (4, 1536, 1024), dtype=np.uint16)
    path = write(
        tmp_path / "scene.tif", data, blockxsize=512, blockysize=512, compress="deflate", zlevel=1
    )
    scene, size = record(path), path.stat().st_size
    assert size < read_strips(scene, 60) < 1.1 * size
    assert read_strips(scene, 700) < 1.1 * size
    # The count can tell: without room for a row of blocks they are read again and again.
    monkeypatch.setattr(reader_module, "CACHE_FLOOR", 2**20)
    monkeypatch.setattr(reader_module, "CACHE_CEILING", 2**20)
    assert read_strips(scene, 60) > 3 * size


def test_truncated_and_missing_and_changed_files(tmp_path):
    path = write(tmp_path / "scene.tif", pixels((300, 300)), compress="deflate")
    scene = record(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(SceneError, match="cannot be decoded"):
        whole(scene)
    write(path, pixels((30, 30)))
    with pytest.raises(SceneError, match="not the one that was recorded"):
        whole(scene)
    path.unlink()
    with pytest.raises(SceneError, match="image file is missing"):
        whole(scene)
