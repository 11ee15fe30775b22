"""Image folders are packed as they are, with their labels."""

from __future__ import annotations

import io
import json
import logging
import shutil
import zipfile

import numpy as np
import pytest
import rasterio
from PIL import Image

from geolatents.acquire.images.bigearthnet import BANDS, bigearthnet19, label_indices
from geolatents.acquire.images.sets import read_label_table, resample
from geolatents.errors import GeolatentsError, LabelError, SceneError, StoreError
from geolatents.files import read_json
from geolatents.nomenclature import corine
from geolatents.settings.images import ImageFolder
from geolatents.stores import open_store, read_array, read_strings, verify_store
from geolatents.tiles.pack import check_images, pack_images

NAMES = ("water00", "water01", "field00", "field01", "field02")


@pytest.fixture
def root(tmp_path):
    """Five PNGs of 32 pixels in two folders, and their table."""
    rng = np.random.default_rng(0)
    for name in NAMES:
        folder = tmp_path / "images" / name[:-2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(
            folder / f"{name}.png"
        )
    lines = [
        "IMAGE\tfield\twater",
        *(f"{n}\t{int(n[0] == 'f')}\t{int(n[0] == 'w')}" for n in NAMES),
    ]
    (tmp_path / "labels.txt").write_text("\n".join(lines) + "\n")
    return tmp_path


def settings(**more):
    values = {"images": "images", "table": "labels.txt", "size": 16, "groups": "folder"} | more
    return ImageFolder(provider="images", **values)


def pack(root, **more):
    out = root / "out"
    check_images(settings(**more), root, out / "check.json")
    paths = [out / name for name in ("t.zarr", "t.json", "c.zarr", "c.json")]
    pack_images(settings(**more), root, out / "check.json", *paths)
    return paths


def test_images_labels_and_groups_arrive_in_order_of_names(root):
    store, manifest, cover_store, cover_manifest = pack(root)
    tiles, cover = open_store(store), open_store(cover_store)
    ids = read_strings(tiles, "ids").tolist()
    assert ids == sorted(NAMES) == read_strings(cover, "ids").tolist()
    assert read_strings(tiles, "group").tolist() == [name[:-2] for name in ids]
    images = read_array(tiles, "images")
    for image, name in zip(images, ids, strict=True):
        original = np.asarray(Image.open(root / "images" / name[:-2] / f"{name}.png"), dtype=float)
        mean = original.reshape(16, 2, 16, 2, 3).mean(axis=(1, 3))
        assert np.abs(image - mean).max() <= 0.501
    np.testing.assert_allclose(
        read_array(tiles, "mean"), images.mean(axis=(1, 2), dtype=np.float64), rtol=1e-6
    )
    assert read_array(cover, "cover").tolist() == [[1, 0]] * 3 + [[0, 1]] * 2
    assert [c["code"] for c in cover.attrs["classes"]] == ["field", "water"]
    assert tiles.attrs["crs"] is None
    assert verify_store(store, read_json(manifest)) == []
    assert verify_store(cover_store, read_json(cover_manifest)) == []


def test_a_zip_archive_gives_what_its_folder_gives(root):
    folder = [path.read_text() for path in pack(root)[1::2]]
    shutil.make_archive(str(root / "images"), "zip", root, "images")
    shutil.rmtree(root / "images")
    assert [path.read_text() for path in pack(root, images="images.zip")[1::2]] == folder


def test_bands_can_be_chosen_and_images_grouped_by_nothing(root):
    rgb = read_array(open_store(pack(root)[0]), "images")
    store = open_store(pack(root, bands=["blue", "red"], groups="none")[0])
    np.testing.assert_array_equal(read_array(store, "images"), rgb[..., [2, 0]])
    assert set(read_strings(store, "group")) == {""}


def test_rows_without_image_are_told_and_left_out(root, caplog):
    logging.getLogger("geolatents").propagate = True
    with (root / "labels.txt").open("a") as stream:
        stream.write("lost07\t1\t1\n")
    store = pack(root)[0]
    (warning,) = read_json(root / "out" / "check.json")["warnings"]
    assert "1 of 6 rows" in warning
    assert "lost07" in warning
    assert "1 of 6 rows" in caplog.text
    assert len(read_strings(open_store(store), "ids")) == 5


def damage(root, case):
    table, image = root / "labels.txt", root / "images" / "water" / "water00.png"
    text = table.read_text()
    match case:
        case "no row":
            table.write_text(text.replace("water01\t0\t1\n", ""))
        case "no overlap":
            table.write_text("image,a1\nother,1\n")
        case "not 0 or 1":
            table.write_text(text.replace("field00\t1", "field00\t0.4"))
        case "short row":
            table.write_text(text.replace("field00\t1\t0", "field00\t1"))
        case "row twice":
            table.write_text(text + "field00\t1\t0\n")
        case "label twice":
            table.write_text(text.replace("\twater\n", "\tfield\n"))
        case "no table":
            table.unlink()
        case "no columns":
            table.write_text("image\nwater00\n")
        case "truncated":
            image.write_bytes(image.read_bytes()[:1500])
        case "no image":
            image.write_bytes(b"hello")
        case "16 bits":
            Image.fromarray(np.zeros((32, 32), dtype=np.uint16)).save(image)
        case "same name":
            shutil.copy(image, root / "images" / "field" / "water00.png")
        case "no folder":
            shutil.rmtree(root / "images")
        case "empty folder":
            shutil.rmtree(root / "images")
            (root / "images").mkdir()
        case "no group":
            image.rename(root / "images" / image.name)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("no row", "1 images have no row.*\n.*labels.txt\n.*water01"),
        ("no overlap", "no image is in the label table"),
        ("not 0 or 1", "neither 0 nor 1\n.*line 4, column 'field'(.|\n)*'0.4'"),
        ("short row", "another length(.|\n)*line 4"),
        ("row twice", "the image 'field00' occurs 2 times"),
        ("label twice", "the label 'field' occurs 2 times"),
        ("no table", "label table cannot be read"),
        ("no columns", "no columns or no rows"),
        ("truncated", "cannot be decoded\n.*water00.png"),
        ("no image", "cannot be decoded\n.*water00.png"),
        ("16 bits", "more than 8 bits"),
        ("same name", "two images have the name 'water00'"),
        ("no folder", "folder or archive of images is missing"),
        ("empty folder", "there are no images"),
        ("no group", "lies in no folder"),
    ],
)
def test_bad_folders_and_tables_are_named(root, case, message):
    damage(root, case)
    with pytest.raises((SceneError, LabelError), match=message):
        check_images(settings(), root, root / "check.json")
    assert not (root / "check.json").exists()


@pytest.mark.parametrize("more", [{"table": None}, {"table": None, "layout": "plain"}])
def test_images_without_a_table_are_packed_without_labels(root, more):
    store, manifest, cover_store, cover_manifest = pack(root, **more)
    group = open_store(store)
    assert read_strings(group, "ids").tolist() == sorted(NAMES)
    assert read_strings(group, "group").tolist() == ["field"] * 3 + ["water"] * 2
    assert group["images"].shape == (5, 16, 16, 3)
    cover = open_store(cover_store)
    assert cover.attrs["classes"] == []
    assert cover["cover"].shape == (5, 0)
    for path, file in ((store, manifest), (cover_store, cover_manifest)):
        assert verify_store(path, read_json(file)) == []
    labelled = pack(root)[0]
    np.testing.assert_array_equal(
        read_array(open_store(labelled), "images"), read_array(group, "images")
    )


def test_images_without_labels_may_have_many_bands(root):
    shutil.rmtree(root / "images")
    (root / "images").mkdir()
    for number in range(3):
        profile = {"driver": "GTiff", "width": 24, "height": 24, "count": 5, "dtype": "uint16"}
        with rasterio.open(root / "images" / f"t{number}.tif", "w", **profile) as file:
            file.write(np.full((5, 24, 24), 100 * number, np.uint16))
    store = pack(root, table=None, groups="none", bands=["band-5", "band-1"])[0]
    images = open_store(store)["images"]
    assert images.shape == (3, 16, 16, 2)
    assert images.dtype == np.uint16


def test_a_broken_archive(root):
    (root / "images.zip").write_bytes(b"PK not a zip")
    with pytest.raises(SceneError, match="no zip file"):
        check_images(settings(images="images.zip"), root, root / "check.json")
    with pytest.raises(SceneError, match="no band 'nir'"):
        check_images(settings(bands=["nir"]), root, root / "check.json")


def test_images_that_change_after_the_check_are_refused(root):
    paths = pack(root)
    Image.fromarray(np.zeros((32, 32, 3), dtype=np.uint8)).save(root / "images/water/water00.png")
    with pytest.raises(StoreError, match="changed since they were checked"):
        pack_images(settings(), root, root / "out" / "check.json", *paths)


@pytest.mark.parametrize("separator", ["\t", ",", ";"])
def test_tables_with_any_separator_endings_and_marks(tmp_path, separator):
    file = tmp_path / "t.csv"
    file.write_text(f"\ufeffimage{separator}a1\nx.v2.jpg{separator}1\n\ny.v2{separator} 0\n")
    table = read_label_table(file)
    assert table.images == ["x.v2", "y.v2"]
    assert table.labels.tolist() == [[1], [0]]


# BigEarthNet


def make_patch(root, name, labels, bands=BANDS):
    folder = root / "ben" / name
    folder.mkdir(parents=True)
    for number, band in enumerate(bands):
        side = 20 if band in ("B01", "B09") else 120 if band in ("B02", "B03", "B04", "B08") else 60
        data = np.full((1, side, side), 100 * (number + 1), dtype=np.uint16)
        data[0, :, side // 2 :] += 50
        with rasterio.MemoryFile() as memory:
            shape = {"count": 1, "height": side, "width": side, "dtype": "uint16"}
            place = {"crs": "EPSG:32633", "transform": rasterio.Affine(10, 0, 0, 0, -10, 0)}
            with memory.open(driver="GTiff", **shape, **place) as target:
                target.write(data)
            (folder / f"{name}_{band}.tif").write_bytes(memory.read())
    (folder / f"{name}_labels_metadata.json").write_text(json.dumps(labels))
    return folder


FIRST, SECOND = "S2A_MSIL2A_20170613T101031_26_57", "S2B_MSIL2A_20180525T94031_23_83"


@pytest.fixture
def ben(tmp_path):
    make_patch(tmp_path, SECOND, {"labels_19": ["Marine waters"], "labels_43": None})
    labels = {
        "labels_19": ["Arable land", "Inland wetlands"],
        "labels_43": ["Peatbogs", "Airports"],
    }
    make_patch(tmp_path, FIRST, labels)
    return tmp_path


def ben_settings(**more):
    return {"images": "ben", "table": None, "layout": "bigearthnet", "size": 60} | more


def test_bands_of_all_resolutions_come_on_one_grid(ben):
    store, _, cover_store, _ = pack(ben, **ben_settings())
    tiles, cover = open_store(store), open_store(cover_store)
    assert read_strings(tiles, "ids").tolist() == [FIRST, SECOND]
    assert read_strings(tiles, "group").tolist() == [FIRST[:-6], SECOND[:-6]]
    images = read_array(tiles, "images")
    assert images.shape == (2, 60, 60, 12)
    assert tiles.attrs["bands"] == list(BANDS)
    base = 100 * np.arange(1, 13)
    np.testing.assert_array_equal(images[0, :, 0], np.broadcast_to(base, (60, 12)))
    np.testing.assert_array_equal(images[0, :, -1], np.broadcast_to(base + 50, (60, 12)))
    assert len(np.unique(images[0, 0, :, 0])) > 2  # coarse bands are interpolated, not repeated
    codes = [c["code"] for c in cover.attrs["classes"]]
    labels = read_array(cover, "cover").astype(bool)
    assert [codes[i] for i in np.flatnonzero(labels[0])] == ["Arable land", "Inland wetlands"]
    assert [codes[i] for i in np.flatnonzero(labels[1])] == ["Marine waters"]


def test_level_three_labels_are_corine_codes(ben):
    _, _, cover_store, _ = pack(ben, **ben_settings(labels_key="labels_43", bands=["B04", "B02"]))
    cover = open_store(cover_store)
    assert read_json(ben / "out/check.json")["warnings"] == [
        "1 of 2 patches have no labels_43 and are left out"
    ]
    codes = np.array([c["code"] for c in cover.attrs["classes"]])
    assert codes.tolist() == corine().codes
    assert codes[read_array(cover, "cover")[0] > 0].tolist() == ["124", "412"]


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("band", "no band 'B03'"),
        ("labels", "1 patches have no labels"),
        ("bands", "1 patches have no bands"),
        ("truncated", "cannot be decoded"),
        ("json", "are no JSON"),
        ("key", "no patch has labels under 'labels_19'"),
        ("unknown", "'Moon' is no class"),
        ("empty", "no BigEarthNet patches"),
    ],
)
def test_bad_patches_are_named(ben, case, message):
    folder = ben / "ben" / SECOND
    band, labels = folder / f"{SECOND}_B03.tif", folder / f"{SECOND}_labels_metadata.json"
    match case:
        case "band":
            band.unlink()
        case "labels":
            labels.unlink()
        case "bands":
            for file in folder.glob("*.tif"):
                file.unlink()
        case "truncated":
            band.write_bytes(band.read_bytes()[:2000])
        case "json":
            labels.write_text("{")
        case "key":
            for file in (ben / "ben").glob("*/*.json"):
                file.write_text('{"labels": ["Arable land"]}')
        case "unknown":
            labels.write_text('{"labels_19": ["Moon"]}')
        case "empty":
            shutil.rmtree(ben / "ben")
            (ben / "ben").mkdir()
    with pytest.raises(GeolatentsError, match=message):
        check_images(settings(**ben_settings()), ben, ben / "check.json")


def test_the_19_classes_are_frozen_by_code_not_by_name():
    names = bigearthnet19().names
    assert len(names) == 19
    assert names[:4] == [
        "Urban fabric", "Industrial or commercial units", "Arable land", "Permanent crops",
    ]  # fmt: skip
    assert names[-1] == "Marine waters"
    assert names != sorted(names)


def test_spellings_of_label_names():
    names = ["Peatbogs", "Transitional woodland/shrub", "Bare rock", "natural grassland"]
    found = label_indices(names, corine(), "here")
    assert [corine().codes[i] for i in found] == ["412", "324", "332", "321"]
    spellings = {c.name.lower().replace(" ", "").rstrip("s") for c in corine().classes}
    assert len(spellings) == len(corine())  # so that no two classes can be confused


def test_finer_bands_are_averaged_by_area():
    band = np.random.default_rng(0).integers(0, 60000, (120, 120), dtype=np.uint16)
    expected = band.reshape(40, 3, 40, 3).mean(axis=(1, 3))
    assert np.abs(resample(band, 40) - expected).max() <= 0.51
    assert resample(band, 120) is band


def test_a_damaged_member_of_an_archive_is_named(root):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted((root / "images").rglob("*.png")):
            archive.write(file, file.relative_to(root).as_posix())
    content = bytearray(stream.getvalue())
    content[600:700] = bytes(100)
    (root / "images.zip").write_bytes(content)
    with pytest.raises(SceneError, match=r"cannot be decoded\n.*field00\.png"):
        check_images(settings(images="images.zip"), root, root / "check.json")
