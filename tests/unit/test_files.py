"""Which file is which scene, and where its mask lies."""

from __future__ import annotations

import subprocess
import sys

import pytest

from geolatents.acquire.files import mask_file, scene_files, sidecars
from geolatents.errors import SceneError
from geolatents.settings.files import FilesImagery, ValidityMask


def imagery(*files, **more):
    return FilesImagery(provider="files", files=list(files), **more)


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


def test_scenes_come_in_name_order_without_masks_and_sidecars(tmp_path):
    images = {"a1": "a1.tif", "b1": "b1.tif", "c1": "c1.png"}
    others = ["a1.tif.aux.xml", "b1_udm2.tif", "c1.pgw", "c1.pngw", "x_metadata.xml", "README.md"]
    touch(tmp_path, *reversed(images.values()), *others, "d1_udm2_clip.tif")
    found = scene_files(imagery("*", mask=ValidityMask(kind="udm2")), tmp_path)
    assert found == {name: tmp_path / file for name, file in images.items()}
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


def test_sidecars_are_what_a_record_depends_on(tmp_path):
    beside = [
        "x_AnalyticMS_metadata.xml",
        "x_AnalyticMS.tfw",
        "x_AnalyticMS.tif.aux.xml",
        "x_udm2.tif",
    ]
    touch(tmp_path, "x_AnalyticMS.tif", *beside, "y_udm2.tif", "x_AnalyticMS.txt")
    full = imagery("*.tif", mask=ValidityMask(kind="udm2"), metadata="planetscope")
    image = tmp_path / "x_AnalyticMS.tif"
    assert [path.name for path in sidecars(image, full)] == sorted(beside)
    assert [path.name for path in sidecars(image, imagery("*.tif"))] == sorted(beside[1:3])
    for name in beside:
        (tmp_path / name).unlink()
    assert sidecars(image, full) == []
