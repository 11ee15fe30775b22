"""Out to the predecessor's layout and back in through `check_images` and `pack_images`."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from pydantic import ValidationError

from geolatents.batches.legacy import export_legacy
from geolatents.errors import GeolatentsError
from geolatents.settings.images import ImageFolder
from geolatents.stores import (
    content_manifest,
    create_array,
    new_store,
    open_store,
    read_array,
    read_strings,
    write_strings,
)
from geolatents.tiles.pack import check_images, pack_images
from geolatents.tiles.writer import tile_writer, write_moments

CODES = ["111", "211", "512"]


def write_legacy(folder, counts=(10, 10, 7), dtype="uint8", names=True):
    folder.mkdir()
    rng = np.random.default_rng(0)
    images, labels = [], []
    for number, count in enumerate(counts):
        images.append(rng.integers(0, 255, (count, 6, 5, 4)).astype(dtype))
        labels.append(rng.integers(0, 2, (count, 3)).astype("uint8"))
        np.save(folder / f"{number}.npy", images[-1])
        np.save(folder / f"labels{number}.npy", labels[-1])
    if names:
        (folder / "labels.txt").write_text("111\n211\n512\n")
    return np.concatenate(images), np.concatenate(labels)


def settings(folder, **options):
    return ImageFolder(provider="images", images=folder.name, layout="legacy", **options)


def run_import(folder, out, **options):
    imagery, check = settings(folder, **options), out / "check.json"
    check_images(imagery, folder.parent, check)
    stores = [out / name for name in ("t.zarr", "t.json", "c.zarr", "c.json")]
    pack_images(imagery, folder.parent, check, *stores)
    return open_store(out / "t.zarr"), open_store(out / "c.zarr")


def label_set(path, ids, labels):
    classes = [{"code": c, "name": c, "colour": "#000000", "members": [c]} for c in CODES]
    with new_store(path, {"classes": classes, "kind": "standard", "min_cover": 0.01}) as group:
        array = create_array(group, "labels", labels.shape, "uint8", dimensions=("tile", "class"))
        array[:] = labels
        write_strings(group, "ids", ids, "tile")


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_import(tmp_path, dtype):
    images, labels = write_legacy(tmp_path / "in", dtype=dtype)
    tiles, cover = run_import(tmp_path / "in", tmp_path)
    np.testing.assert_array_equal(read_array(tiles, "images"), images)
    assert tiles["images"].dtype == dtype
    np.testing.assert_array_equal(read_array(cover, "cover"), labels)
    assert list(read_strings(tiles, "ids")[[0, 9, 10, 26]]) == ["0-0", "0-9", "1-0", "2-6"]
    assert list(read_strings(tiles, "ids")) == list(read_strings(cover, "ids"))
    assert tiles.attrs["scene"] == "images"
    assert tiles.attrs["bands"] == ["band-1", "band-2", "band-3", "band-4"]
    assert [item["code"] for item in cover.attrs["classes"]] == CODES
    np.testing.assert_allclose(read_array(tiles, "mean"), images.mean(axis=(1, 2)), rtol=1e-5)
    for name in "tc":
        manifest = json.loads((tmp_path / f"{name}.json").read_text())
        assert manifest == json.loads(json.dumps(content_manifest(tmp_path / f"{name}.zarr")))


def test_files_are_numbered_not_sorted_by_name(tmp_path):
    images, _ = write_legacy(tmp_path / "in", counts=(2,) * 12)
    tiles, _ = run_import(tmp_path / "in", tmp_path)
    np.testing.assert_array_equal(read_array(tiles, "images"), images)


def test_round_trip_from_the_predecessor(tmp_path):
    _, labels = write_legacy(tmp_path / "in")
    tiles, _ = run_import(tmp_path / "in", tmp_path)
    label_set(tmp_path / "l.zarr", read_strings(tiles, "ids"), labels)
    assert export_legacy([tmp_path / "t.zarr"], tmp_path / "l.zarr", None, tmp_path / "o", 10) == 3
    for path in (tmp_path / "in").iterdir():
        assert path.read_bytes() == (tmp_path / "o" / path.name).read_bytes(), path.name
    (tmp_path / "again").mkdir()
    run_import(tmp_path / "o", tmp_path / "again")
    for name in ("t.json", "c.json"):
        assert (tmp_path / name).read_text() == (tmp_path / "again" / name).read_text()


def make_scene(path, scene, count):
    rng = np.random.default_rng(len(scene) + count)
    pixels = rng.integers(0, 9999, (count, 4, 4, 2)).astype("uint16")
    with new_store(path, {"scene": scene, "bands": ["a", "b"], "crs": "EPSG:32636"}) as group:
        with tile_writer(group, count, (4, 4, 2), "uint16") as writer:
            writer.append(pixels, np.ones(pixels.shape[:3], dtype=bool))
            moments = writer.finish()
        write_strings(group, "ids", [f"{scene}-{i}-m1" for i in range(count)], "tile")
        write_moments(group, moments)
    return pixels


def test_export_follows_the_order_and_the_label_set(tmp_path):
    pixels = np.concatenate(
        [make_scene(tmp_path / f"{name}.zarr", name, 8) for name in ("S1", "S2")]
    )
    ids = np.array([f"{name}-{i}-m1" for name in ("S1", "S2") for i in range(8)])
    labels = np.random.default_rng(1).integers(0, 2, (16, 3)).astype("uint8")
    known = np.arange(16) != 5
    label_set(tmp_path / "l.zarr", ids[known][::-1], labels[known][::-1])
    index = np.array([[[5, 12, 1], [15, 0, 7]], [[1, 2, 3], [4, 5, 6]]], dtype="int32")
    with new_store(tmp_path / "b.zarr") as group:
        array = create_array(group, "index", index.shape, "int32", dimensions=("e", "s", "i"))
        array[:] = index
        write_strings(group, "ids", ids, "tile")
    stores = [tmp_path / "S1.zarr", tmp_path / "S2.zarr"]
    export_legacy(stores, tmp_path / "l.zarr", tmp_path / "b.zarr", tmp_path / "o", per_file=2)
    names = sorted(path.name for path in (tmp_path / "o").iterdir())
    assert names == [
        "0.npy", "1.npy", "2.npy", "ids.txt",
        "labels.txt", "labels0.npy", "labels1.npy", "labels2.npy",
    ]  # fmt: skip
    expected = [12, 1, 15, 0, 7]
    got = [np.load(tmp_path / "o" / f"{i}.npy") for i in range(3)]
    assert [len(item) for item in got] == [2, 2, 1]
    np.testing.assert_array_equal(np.concatenate(got), pixels[expected])
    got = [np.load(tmp_path / "o" / f"labels{i}.npy") for i in range(3)]
    np.testing.assert_array_equal(np.concatenate(got), labels[expected])
    (tmp_path / "back").mkdir()
    tiles, _ = run_import(tmp_path / "o", tmp_path / "back", bands=["a", "b"])
    assert list(read_strings(tiles, "ids")) == list(ids[expected])
    assert tiles.attrs["bands"] == ["a", "b"]


def test_a_zip_archive_gives_what_its_folder_gives(tmp_path):
    write_legacy(tmp_path / "in")
    run_import(tmp_path / "in", tmp_path)
    expected = [(tmp_path / name).read_text() for name in ("t.json", "c.json")]
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path, "in")
    shutil.rmtree(tmp_path / "in")
    run_import(tmp_path / "packed.zip", tmp_path)
    assert archive.endswith("packed.zip")
    assert [(tmp_path / name).read_text() for name in ("t.json", "c.json")] == expected


def test_class_codes_may_come_from_the_table_of_the_settings(tmp_path):
    write_legacy(tmp_path / "in", names=False)
    (tmp_path / "codes.txt").write_text("sea\nland\ncloud\n")
    _, cover = run_import(tmp_path / "in", tmp_path, table="codes.txt")
    assert [item["code"] for item in cover.attrs["classes"]] == ["sea", "land", "cloud"]


def test_floats_become_float32_and_foreign_byte_orders_the_own(tmp_path):
    for dtype, expected in ((">u2", "uint16"), ("float64", "float32")):
        images, _ = write_legacy(tmp_path / expected, dtype=dtype)
        tiles, _ = run_import(tmp_path / expected, tmp_path)
        assert tiles["images"].dtype == expected
        np.testing.assert_array_equal(read_array(tiles, "images"), images)


def test_changed_labels_are_refused_after_the_check(tmp_path):
    folder = tmp_path / "in"
    _, labels = write_legacy(folder)
    run_import(folder, tmp_path)
    np.save(folder / "labels2.npy", 1 - labels[-7:])
    stores = [tmp_path / name for name in ("t.zarr", "t.json", "c.zarr", "c.json")]
    with pytest.raises(GeolatentsError, match="changed since they were checked"):
        pack_images(settings(folder), tmp_path, tmp_path / "check.json", *stores)


def spoil(folder, case):
    match case:
        case "no codes":
            (folder / "labels.txt").unlink()
        case "codes twice":
            (folder / "labels.txt").write_text("111\n211\n111\n")
        case "class count":
            (folder / "labels.txt").write_text("111\n211\n")
        case "image count":
            np.save(folder / "labels1.npy", np.zeros((9, 3), "uint8"))
        case "not 0 or 1":
            np.save(folder / "labels2.npy", np.full((7, 3), 2))
        case "no labels":
            (folder / "labels2.npy").unlink()
        case "not alike":
            np.save(folder / "2.npy", np.zeros((7, 6, 5, 3), "uint8"))
        case "gap":
            (folder / "1.npy").unlink()
        case "no npy":
            for file in folder.glob("*.npy"):
                file.unlink()
        case "no folder":
            shutil.rmtree(folder)
        case "truncated":
            (folder / "1.npy").write_bytes((folder / "1.npy").read_bytes()[:500])
        case "no array":
            (folder / "1.npy").write_bytes(b"hello")
        case "flat":
            np.save(folder / "0.npy", np.zeros((10, 6), "uint8"))
        case "ids":
            (folder / "ids.txt").write_text("one\ntwo\n")
        case "number twice":
            shutil.copytree(folder, folder / "copy")
        case "NaN":
            for number, count in enumerate((10, 10, 7)):
                np.save(folder / f"{number}.npy", np.full((count, 6, 5, 4), np.nan, "float32"))


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("no codes", "classes of the labels are not named(.|\n)*labels.txt"),
        ("codes twice", "occur twice"),
        ("class count", "do not fit(.|\n)*labels0.npy(.|\n)*10 images x 2 classes"),
        ("image count", "do not fit(.|\n)*labels1.npy(.|\n)*10 images x 3 classes"),
        ("not 0 or 1", "neither 0 nor 1(.|\n)*labels2.npy, row 0"),
        ("no labels", "labels of images are missing(.|\n)*labels2.npy"),
        ("not alike", "not alike(.|\n)*2.npy"),
        ("gap", "files of images are missing(.|\n)*1.npy(.|\n)*without a gap"),
        ("no npy", "files of images are missing(.|\n)*0.npy"),
        ("no folder", "folder or archive of images is missing"),
        ("truncated", "cannot be decoded(.|\n)*1.npy"),
        ("no array", "cannot be decoded(.|\n)*1.npy"),
        ("flat", "holds no images(.|\n)*0.npy"),
        ("ids", "ids do not fit(.|\n)*27 lines"),
        ("number twice", "two files have the number 0"),
        ("NaN", "NaN(.|\n)*0.npy, image 0"),
    ],
)
def test_bad_folders_stop_in_the_check(tmp_path, case, message):
    folder = tmp_path / "in"
    write_legacy(folder)
    spoil(folder, case)
    with pytest.raises(GeolatentsError, match=message):
        check_images(settings(folder), tmp_path, tmp_path / "check.json")
    assert not (tmp_path / "check.json").exists()


def test_wrong_bands_and_groups(tmp_path):
    write_legacy(tmp_path / "in")
    with pytest.raises(GeolatentsError, match=r"imagery\.bands"):
        check_images(settings(tmp_path / "in", bands=["red"]), tmp_path, tmp_path / "check.json")
    with pytest.raises(ValidationError, match="remove `groups`"):
        settings(tmp_path / "in", groups="folder")
