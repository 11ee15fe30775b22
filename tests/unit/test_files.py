"""Which file is which scene, and where its mask lies."""

from __future__ import annotations

import subprocess
import sys

import pytest

from geolatents.acquire.files import mask_file, scene_files
from geolatents.errors import SceneError
from geolatents.settings.imagery import FilesImagery, ValidityMask


def imagery(*files, **more):
    return FilesImagery(provider="files", files=list(files), **more)


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


def test_scenes_come_in_name_order_without_masks_and_sidecars(tmp_path):
    touch(
        tmp_path,
        "b.tif", "a.tif", "a.tif.aux.xml", "b_udm2.tif", "c.png", "c.pgw", "c.pngw", "x_metadata.xml", "README.md",
        "d_udm2_clip.tif",
    )  # fmt: skip
    mask = ValidityMask(kind="udm2")
    found = scene_files(imagery("*", mask=mask), tmp_path)
    assert found == {name[0]: tmp_path / name for name in ("a.tif", "b.tif", "c.png")}
    assert list(found) == sorted(found)


def test_patterns_go_into_folders_and_a_file_named_twice_is_one_scene(tmp_path):
    touch(tmp_path, "one/aa.tif", "two/deep/bb.jp2")
    found = scene_files(imagery("**/*.tif", "**/*.jp2", "one/aa.tif"), tmp_path)
    assert list(found) == ["aa", "bb"]


def test_odd_characters_do_not_enter_a_path(tmp_path):
    touch(tmp_path, "my scene (1).tif")
    assert list(scene_files(imagery("*.tif"), tmp_path)) == ["my-scene-1"]


@pytest.mark.parametrize(
    ("names", "pattern", "message"),
    [
        (["a1.tif"], "*.jp2", "no image matches '\\*.jp2'"),
        (["one/a1.tif", "two/a1.tif"], "*/a1.tif", "two files give the scene name 'a1'"),
        (["tiles.tif"], "*.tif", "'tiles' cannot be the name of a scene"),
        (["a b.tif", "a-b.tif"], "*.tif", "two files give the scene name 'a-b'"),
    ],
)
def test_bad_patterns_are_named(tmp_path, names, pattern, message):
    touch(tmp_path, *names)
    with pytest.raises(SceneError, match=message):
        scene_files(imagery(pattern), tmp_path)


@pytest.mark.parametrize(
    ("image", "kind", "mask"),
    [
        ("x_3B_AnalyticMS.tif", "udm", "x_3B_AnalyticMS_DN_udm.tif"),
        ("x_3B_AnalyticMS.tif", "udm2", "x_3B_udm2.tif"),
        ("x_3B_AnalyticMS_SR_8b_clip.tif", "udm2", "x_3B_udm2_clip.tif"),
        ("x_3B_AnalyticMS_clip.tif", "udm", "x_3B_AnalyticMS_DN_udm_clip.tif"),
        ("plain.tif", "udm2", "plain_udm2.tif"),
    ],
)
def test_masks_are_found_by_planet_names(tmp_path, image, kind, mask):
    touch(tmp_path, image, mask)
    settings = ValidityMask(kind=kind)
    assert mask_file(tmp_path / image, settings) == tmp_path / mask
    (tmp_path / mask).unlink()
    with pytest.raises(SceneError, match="mask file is missing"):
        mask_file(tmp_path / image, settings)


def test_a_mask_needs_a_band_or_a_file(tmp_path):
    with pytest.raises(SceneError, match="neither a band nor a file"):
        mask_file(tmp_path / "a.tif", ValidityMask(kind="scl"))
    assert mask_file(tmp_path / "a.tif", ValidityMask(kind="scl", band="SCL")) is None


def test_listing_scenes_does_not_load_gdal():
    code = "import sys, geolatents.acquire.files; sys.exit('rasterio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
