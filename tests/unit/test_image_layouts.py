"""Layouts of published image sets, on generated copies and on damaged ones."""

from __future__ import annotations

import io
import pickle
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pydantic import ValidationError

from geolatents.acquire.archives.table import archive_files, archive_table
from geolatents.acquire.images.bigearthnet import bigearthnet19
from geolatents.acquire.images.cifar import load_plain_pickle
from geolatents.acquire.images.classes import (
    CIFAR10,
    EUROSAT,
    EUROSAT_BANDS,
    FROZEN,
    PARIS,
    TERRASSA,
    UCMERCED,
)
from geolatents.errors import FetchError, GeolatentsError, LabelError, SceneError
from geolatents.files import read_json
from geolatents.nomenclature import corine
from geolatents.settings.archives import ARCHIVE_LAYOUTS, ARCHIVES
from geolatents.settings.images import ImageFolder
from geolatents.stores import open_store, read_array, read_strings
from geolatents.tiles.pack import check_images, open_images, pack_images
from tests import archive_makers as make


def settings(**values):
    return ImageFolder(provider="images", **{"size": 16} | values)


def local(root, **values):
    """Images of the data folder."""
    return open_images(settings(**values), root, root / "downloads")


def downloaded(root, archive, **values):
    """Images of an archive in the downloads folder."""
    return open_images(settings(archive=archive, **values), root / "data", root)


def folder_of(root, archive):
    folder = root / ARCHIVES / ARCHIVE_LAYOUTS[archive].folder
    folder.mkdir(parents=True)
    return folder


def labels_of(images):
    """Codes of the classes of each image."""
    codes = np.asarray(images.nomenclature.codes)
    return {
        name: codes[row > 0].tolist() for name, row in zip(images.ids, images.labels, strict=True)
    }


def unzip(file, folder):
    with zipfile.ZipFile(file) as archive:
        archive.extractall(folder)
    file.unlink()


# Settings


def test_an_archive_says_its_layout_and_keeps_canonical_text_short():
    imagery = settings(archive="eurosat_rgb", size=64)
    assert imagery.reads == "folders"
    assert imagery.canonical() == '{"archive":"eurosat_rgb","provider":"images","schema":1}'
    assert ImageFolder.parse(imagery.canonical()) == imagery


def test_configurations_written_before_archives_keep_their_canonical_text():
    imagery = settings(images="a.zip", table="t.txt", layout="table", size=64, groups="folder")
    assert imagery.canonical() == (
        '{"groups":"folder","images":"a.zip","provider":"images","schema":1,"table":"t.txt"}'
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "name the images in `images`, or an `archive`"),
        ({"archive": "eurosat_rgb", "layout": "cifar10"}, "has the layout 'folders'"),
        ({"archive": "celeba", "table": "mine.txt"}, "needs `images` of your own"),
        ({"archive": "cifar10", "groups": "folder"}, "has no folders"),
        ({"archive": "eurosat_ms", "groups": "part"}, "has no official parts"),
        ({"archive": "cifar10", "corrupt": "skip"}, "`corrupt: skip` is for"),
        ({"archive": "eurosat"}, "eurosat_rgb"),
        ({"archive": "celeba", "service": {"mirror": "ftp://x"}}, "pattern"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(values, message):
    with pytest.raises(ValidationError, match=message):
        settings(**values)


# Folders


def test_eurosat_folders_give_one_class_each(tmp_path):
    make.eurosat_rgb(tmp_path / "EuroSAT_RGB.zip")
    images = local(tmp_path, images="EuroSAT_RGB.zip", layout="folders", groups="folder", size=64)
    assert images.nomenclature.codes == list(EUROSAT)
    assert len(images.ids) == 20
    assert images.ids == sorted(images.ids)
    assert (images.labels.sum(axis=1) == 1).all()
    for name, group in zip(images.ids, images.groups, strict=True):
        assert labels_of(images)[name] == [group] == [name.split("_")[0]]
    with zipfile.ZipFile(tmp_path / "EuroSAT_RGB.zip") as archive:
        content = archive.read("EuroSAT_RGB/Forest/Forest_2.jpg")
    expected = np.asarray(Image.open(io.BytesIO(content)))
    np.testing.assert_array_equal(images.decode(images.ids.index("Forest_2")), expected)


@pytest.mark.parametrize("inner", ["2750", "EuroSAT/2750", "ds/images/remote_sensing/tif"])
def test_folders_around_the_classes_do_not_matter(tmp_path, inner):
    make.eurosat_rgb(tmp_path / "a.zip", inner)
    make.eurosat_rgb(tmp_path / "b.zip", "x")
    found = [local(tmp_path, images=name, layout="folders") for name in ("a.zip", "b.zip")]
    assert found[0].ids == found[1].ids
    np.testing.assert_array_equal(found[0].labels, found[1].labels)


def test_a_folder_gives_what_its_zip_gives(tmp_path):
    file = make.eurosat_rgb(tmp_path / "a.zip")
    packed = local(tmp_path, images="a.zip", layout="folders")
    unzip(file, tmp_path / "a")
    unpacked = local(tmp_path, images="a", layout="folders")
    assert packed.ids == unpacked.ids
    np.testing.assert_array_equal(packed.decode(7), unpacked.decode(7))
    (tmp_path / "a/EuroSAT_RGB/River/River_1.jpg").write_bytes(make.picture(77))
    assert local(tmp_path, images="a", layout="folders").sha256 != unpacked.sha256


def test_multiband_tiffs_keep_their_bands_by_name(tmp_path):
    make.eurosat_ms(tmp_path / "EuroSAT_MS.zip")
    images = local(tmp_path, images="EuroSAT_MS.zip", archive="eurosat_ms", size=32)
    assert images.bands == list(EUROSAT_BANDS)
    assert images.bands[-1] == "B8A"
    assert images.dtype == np.uint16
    river = images.decode(images.ids.index("River_1"))
    assert river.shape == (32, 32, 13)
    assert river[0, 0].tolist() == [8000 + i for i in range(13)]
    some = local(
        tmp_path, images="EuroSAT_MS.zip", archive="eurosat_ms", bands=["B8A", "B08", "B02"]
    )
    assert some.decode(some.ids.index("River_1"))[0, 0].tolist() == [8012, 8007, 8001]
    with pytest.raises(SceneError, match="no band 'B99'"):
        local(tmp_path, images="EuroSAT_MS.zip", archive="eurosat_ms", bands=["B99"])


def test_one_tiff_with_other_bands_is_named(tmp_path):
    file = make.eurosat_ms(tmp_path / "a.zip")
    unzip(file, tmp_path / "a")
    odd = tmp_path / "a/EuroSAT_MS/River/River_1.tif"
    odd.write_bytes(make.tiff(np.zeros((12, 64, 64), dtype=np.uint16)))
    images = local(tmp_path, images="a", layout="folders")
    with pytest.raises(SceneError, match=r"not like the others(.|\n)*River_1(.|\n)*12 bands"):
        images.decode(images.ids.index("River_1"))


def test_ucmerced_scene_classes_and_labels_come_from_one_archive(tmp_path):
    folder = folder_of(tmp_path, "ucmerced")
    make.ucmerced(folder / "UCMerced_LandUse.zip")
    make.ucmerced_labels(folder / "LandUse_Multilabeled.txt")
    scenes = downloaded(tmp_path, "ucmerced")
    assert scenes.nomenclature.codes == list(UCMERCED)
    assert labels_of(scenes)["harbor00"] == ["harbor"]
    labelled = downloaded(tmp_path, "ucmerced_multilabel", groups="folder")
    assert labelled.nomenclature.codes == ["airplane", "trees", "water"]
    assert labelled.ids == scenes.ids
    assert labelled.groups[scenes.ids.index("harbor00")] == "harbor"
    assert scenes.decode(0).shape == (16, 16, 3)


def test_paris_is_unpacked_once_and_known_broken_photos_are_left_out(tmp_path):
    folder = folder_of(tmp_path, "paris")
    make.paris(folder)
    images = downloaded(tmp_path, "paris")
    assert images.nomenclature.codes == list(PARIS)
    assert len(images.ids) == 24
    assert "paris_louvre_000136" in images.warnings[0]
    assert "paris_triomphe_000662" in images.warnings[0]
    assert images.decode(0).shape == (16, 16, 3)
    inside = folder / "unpacked/paris_1/paris/louvre"
    before = inside.stat().st_ino
    assert downloaded(tmp_path, "paris").sha256 == images.sha256
    assert inside.stat().st_ino == before
    make.paris(folder)  # downloaded anew
    downloaded(tmp_path, "paris")
    assert inside.stat().st_ino != before


def test_other_corrupt_photos_are_errors_or_left_out_by_choice(tmp_path):
    unzip(make.eurosat_rgb(tmp_path / "a.zip"), tmp_path / "a")
    for name in ("AnnualCrop/AnnualCrop_1", "Forest/Forest_2"):
        file = tmp_path / f"a/EuroSAT_RGB/{name}.jpg"
        file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(SceneError, match=r"cannot be decoded\n.*AnnualCrop_1"):
        check_images(settings(images="a", layout="folders"), tmp_path, tmp_path / "check.json")
    images = local(tmp_path, images="a", layout="folders", corrupt="skip")
    assert len(images.ids) == 18
    assert images.warnings == [
        "2 pictures cannot be decoded and are left out: AnnualCrop_1, Forest_2"
    ]
    (tmp_path / "a/EuroSAT_RGB/Forest/Forest_1.jpg").write_bytes(make.HTML)
    with pytest.raises(LabelError, match=r"no picture of a class(.|\n)*Forest"):
        local(tmp_path, images="a", layout="folders", corrupt="skip")


def test_pictures_with_one_name_in_two_classes_get_their_class_in_front(tmp_path):
    members = {f"{c}/{i}.jpg": make.picture(i) for c in ("cat", "dog") for i in range(2)}
    make.write_zip(tmp_path / "a.zip", members)
    images = local(tmp_path, images="a.zip", layout="folders")
    assert images.ids == ["cat_0", "cat_1", "dog_0", "dog_1"]


def damage_folders(root, case):
    inner = root / "a/EuroSAT_RGB"
    match case:
        case "case":
            shutil.copytree(inner / "River", inner / "river")
        case "empty class":
            (inner / "Lake").mkdir()
        case "only text":
            (inner / "Lake").mkdir()
            (inner / "Lake/readme.txt").write_text("later")
        case "no class":
            shutil.copy(inner / "River/River_1.jpg", root / "a/River_9.jpg")
        case "depth":
            shutil.move(inner / "River/River_1.jpg", inner / "River_1.jpg")
        case "twice":
            shutil.copytree(inner / "River", root / "a/copy/River")
        case "nothing":
            shutil.rmtree(inner)
            inner.mkdir()


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("case", r"differ in case only(.|\n)*River, river"),
        ("empty class", r"has no pictures(.|\n)*Lake"),
        ("only text", r"has no pictures(.|\n)*Lake"),
        ("no class", r"lies in no folder(.|\n)*River_9"),
        ("depth", r"different depth(.|\n)*River_1"),
        ("twice", r"two pictures of a class have one name(.|\n)*River_1"),
        ("nothing", "there are no pictures"),
    ],
)
def test_folders_that_are_no_clear_classes_are_refused(tmp_path, case, message):
    unzip(make.eurosat_rgb(tmp_path / "a.zip"), tmp_path / "a")
    damage_folders(tmp_path, case)
    with pytest.raises(GeolatentsError, match=message):
        local(tmp_path, images="a", layout="folders")


def test_an_empty_class_in_a_zip_is_seen_where_the_zip_has_an_entry_for_it(tmp_path):
    file = make.eurosat_rgb(tmp_path / "a.zip")
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("EuroSAT_RGB/Lake/", b"")
    with pytest.raises(LabelError, match=r"has no pictures(.|\n)*Lake"):
        local(tmp_path, images="a.zip", layout="folders")


def test_an_archive_with_other_classes_than_its_own_is_refused(tmp_path):
    folder = folder_of(tmp_path, "eurosat_rgb")
    unzip(make.eurosat_rgb(tmp_path / "a.zip"), tmp_path / "a")
    shutil.move(tmp_path / "a/EuroSAT_RGB/River", tmp_path / "a/EuroSAT_RGB/Rivers")
    shutil.make_archive(str(folder / "EuroSAT_RGB"), "zip", tmp_path / "a")
    with pytest.raises(
        LabelError, match=r"not the classes(.|\n)*missing: River; not expected: Rivers"
    ):
        downloaded(tmp_path, "eurosat_rgb")


def test_a_truncated_zip_is_named(tmp_path):
    file = make.eurosat_rgb(tmp_path / "a.zip")
    file.write_bytes(file.read_bytes()[:-400])
    with pytest.raises(SceneError, match=r"no zip file(.|\n)*a.zip"):
        local(tmp_path, images="a.zip", layout="folders")


def test_an_archive_that_is_not_there_says_so(tmp_path):
    for archive in ("eurosat_rgb", "cifar10", "terrassa"):
        with pytest.raises(
            FetchError, match=r"is not there(.|\n)*(zip|gz)(.|\n)*download it first"
        ):
            downloaded(tmp_path, archive)


# Annotations


def test_terrassa_annotations_give_class_and_part(tmp_path):
    make.terrassa(folder_of(tmp_path, "terrassa") / "TerrassaBuildings900.zip")
    images = downloaded(tmp_path, "terrassa", groups="part")
    assert images.nomenclature.codes == list(TERRASSA)
    assert len(images.ids) == 26
    assert images.groups[images.ids.index("1-8-0")] == "train"
    assert images.groups[images.ids.index("51-8-50")] == "validation"
    assert labels_of(images)["1-8-0"] == labels_of(images)["51-8-50"] == ["mercat_independencia"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("1-8-0\tmercat_independencia", "1-8-0 mercat_independencia", "line 3"),
        ("1-8-0\tmercat_independencia", "1-8-0\tmercat", "classes(.|\n)*found: mercat"),
        ("1-8-0\tmercat_independencia", "0-1-0\tmnactec", "annotation is wrong(.|\n)*line 3"),
    ],
)
def test_wrong_annotations_are_named(tmp_path, old, new, message):
    unzip(make.terrassa(tmp_path / "a.zip"), tmp_path / "a")
    table = tmp_path / "a/TerrassaBuildings900/train/annotation.txt"
    table.write_text(table.read_text().replace(old, new))
    with pytest.raises(LabelError, match=message):
        local(tmp_path, images="a", archive="terrassa")


def test_pictures_without_annotation_and_the_reverse_are_told(tmp_path):
    unzip(make.terrassa(tmp_path / "a.zip"), tmp_path / "a")
    inner = tmp_path / "a/TerrassaBuildings900/train"
    (inner / "images/1-8-0.jpg").rename(inner / "images/new.jpg")
    images = local(tmp_path, images="a", layout="annotated")
    assert images.warnings == [
        "1 annotations have no picture: 1-8-0",
        "1 pictures have no annotation and are left out: new",
    ]
    (inner / "annotation.txt").unlink()
    (inner.parent / "val/annotation.txt").unlink()
    with pytest.raises(LabelError, match=r"no annotation\.txt"):
        local(tmp_path, images="a", layout="annotated")


# CIFAR-10


def test_cifar_batches_come_in_their_official_order(tmp_path):
    make.cifar10(folder_of(tmp_path, "cifar10") / "cifar-10-python.tar.gz")
    images = downloaded(tmp_path, "cifar10", size=32, groups="part")
    assert images.nomenclature.codes == list(CIFAR10)
    assert images.ids[0] == "train-00000"
    assert images.ids[14:16] == ["train-00014", "test-00000"]
    assert images.groups == ["train"] * 15 + ["test"] * 3
    for position, (seed, row) in {0: (1, 0), 4: (2, 1), 17: (6, 2)}.items():
        _, pixels, labels = make.cifar_batch(3, seed)
        expected = np.moveaxis(pixels[row].reshape(3, 32, 32), 0, -1)
        np.testing.assert_array_equal(images.decode(position), expected)
        assert images.labels[position].argmax() == labels[row]
    blue = downloaded(tmp_path, "cifar10", size=32, bands=["blue"])
    np.testing.assert_array_equal(blue.decode(0)[..., 0], images.decode(0)[..., 2])


def test_what_was_unpacked_is_enough_where_the_archive_was_removed(tmp_path):
    file = make.cifar10(folder_of(tmp_path, "cifar10") / "cifar-10-python.tar.gz")
    before = downloaded(tmp_path, "cifar10")
    file.unlink()
    assert downloaded(tmp_path, "cifar10").sha256 == before.sha256


class Evil:
    def __reduce__(self):
        return (Path.touch, (Path("evil-was-here"),))


def test_a_pickle_that_runs_something_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make.cifar10(folder_of(tmp_path, "cifar10") / "cifar-10-python.tar.gz")
    downloaded(tmp_path, "cifar10")
    batch = next((tmp_path / ARCHIVES).rglob("data_batch_3"))
    batch.write_bytes(pickle.dumps({"data": Evil(), "labels": []}, protocol=2))
    with pytest.raises(SceneError, match=r"not plain data(.|\n)*data_batch_3(.|\n)*__builtin__"):
        downloaded(tmp_path, "cifar10")
    assert not (tmp_path / "evil-was-here").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"cbuiltins\neval\n(S'1+1'\ntR.",
        b"cnumpy\nload\n(S'x'\ntR.",
        b"cnumpy\nndarray\n((L100000000000L\ntS'u1'\ntR.",
        pickle.dumps(np.zeros(3).view(np.recarray), protocol=2),
    ],
)
def test_only_plain_data_come_out_of_a_pickle(content):
    with pytest.raises(SceneError, match="pickle"):
        load_plain_pickle(content, Path("batch"))


def test_arrays_pickled_by_python_three_are_read_too():
    values = {"data": np.arange(6, dtype=np.uint8).reshape(2, 3), "labels": [1, 2]}
    for protocol in (2, 4):
        found = load_plain_pickle(pickle.dumps(values, protocol=protocol), Path("batch"))
        np.testing.assert_array_equal(found["data"], values["data"])


def test_damaged_batches_are_named(tmp_path):
    make.cifar10(folder_of(tmp_path, "cifar10") / "cifar-10-python.tar.gz")
    downloaded(tmp_path, "cifar10")
    batch = next((tmp_path / ARCHIVES).rglob("data_batch_3"))
    whole = batch.read_bytes()
    for content, message in (
        (whole[:-3000], "cannot be read"),
        (pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": [1, 10]}), "no class"),
        (pickle.dumps({"data": np.zeros((2, 3), np.uint8), "labels": [1, 1]}), "does not hold"),
    ):
        batch.write_bytes(content)
        with pytest.raises(GeolatentsError, match=rf"{message}(.|\n)*data_batch_3"):
            downloaded(tmp_path, "cifar10")
    batch.unlink()
    with pytest.raises(SceneError, match="no data_batch_3"):
        downloaded(tmp_path, "cifar10")


# CelebA


def test_celeba_attributes_parts_and_a_centred_square(tmp_path):
    folder = folder_of(tmp_path, "celeba")
    make.celeba(folder)
    images = downloaded(tmp_path, "celeba", groups="part", size=89)
    assert images.ids == ["000001", "000002", "000003", "000004"]
    assert images.groups == ["train", "validation", "test", "test"]
    assert len(images.nomenclature) == 40
    assert images.labels[1].tolist() == [int((1 + j) % 3 == 0) for j in range(40)]
    tall = np.zeros((218, 178, 3), dtype=np.uint8)
    tall[20:198] = 255  # the centred square
    stream = io.BytesIO()
    Image.fromarray(tall).save(stream, "PNG")
    unzip(folder / "img_align_celeba.zip", folder)
    (folder / "img_align_celeba/000001.jpg").write_bytes(stream.getvalue())
    shutil.make_archive(str(folder / "img_align_celeba"), "zip", folder, "img_align_celeba")
    assert (downloaded(tmp_path, "celeba", size=89).decode(0) == 255).all()


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("list_attr_celeba.txt", "4\n", "5\n", "not whole"),
        ("list_attr_celeba.txt", "000002.jpg -1", "000002.jpg  0", "line 4"),
        ("list_attr_celeba.txt", "000002.jpg", "000009.jpg", "no row(.|\n)*000002"),
        ("list_eval_partition.txt", "000002.jpg 1", "000002.jpg 7", "line 2"),
        ("list_eval_partition.txt", "000002.jpg 1\n", "", "have no part"),
    ],
)
def test_wrong_tables_of_celeba_are_named(tmp_path, file, old, new, message):
    folder = folder_of(tmp_path, "celeba")
    make.celeba(folder)
    (folder / file).write_text((folder / file).read_text().replace(old, new, 1))
    with pytest.raises(LabelError, match=message):
        downloaded(tmp_path, "celeba", groups="part")


def test_a_missing_table_of_celeba_is_named(tmp_path):
    make.celeba(tmp_path)
    (tmp_path / "list_attr_celeba.txt").unlink()
    with pytest.raises(LabelError, match=r"cannot be read(.|\n)*list_attr_celeba\.txt"):
        local(tmp_path, archive="celeba", images="img_align_celeba.zip")


# DFC2019


def test_dfc2019_shares_heights_and_places(tmp_path):
    make.dfc2019(folder_of(tmp_path, "dfc2019"))
    images = downloaded(tmp_path, "dfc2019", groups="folder")
    assert images.nomenclature.codes == ["2", "5", "6", "9", "17"]
    assert images.ids == ["JAX_004_006", "JAX_004_007", "OMA_132_002"]
    assert images.groups == ["JAX_004", "JAX_004", "OMA_132"]
    # A quarter is of another class, an eighth of the rows has no label and counts for none.
    assert images.labels.tolist() == [
        [0.625, 0.25, 0, 0, 0], [0.625, 0, 0.25, 0, 0], [0.625, 0, 0, 0.25, 0],
    ]  # fmt: skip
    assert images.attributes["height"].tolist() == [0.5, 1.5, 2.5]
    assert images.decode(2)[0, 0].tolist() == [20, 20, 20]
    assert images.decode(2)[0, -1].tolist() == [200, 20, 20]
    assert "JAX_163_010" in images.warnings[0]


def test_dfc2019_is_packed_with_its_heights(tmp_path):
    make.dfc2019(tmp_path / "d")
    imagery = settings(images="d", archive="dfc2019", groups="folder")
    check_images(imagery, tmp_path, tmp_path / "check.json")
    paths = [tmp_path / name for name in ("t.zarr", "t.json", "c.zarr", "c.json")]
    pack_images(imagery, tmp_path, tmp_path / "check.json", *paths)
    cover = open_store(paths[2])
    assert read_array(cover, "cover")[0].tolist() == [0.625, 0.25, 0, 0, 0]
    assert read_array(cover, "height").tolist() == [0.5, 1.5, 2.5]
    assert read_strings(open_store(paths[0]), "group").tolist() == ["JAX_004", "JAX_004", "OMA_132"]
    assert "height" in read_json(paths[3])["arrays"]


def test_dfc2019_unpacked_or_without_truth_or_with_other_codes(tmp_path):
    make.dfc2019(tmp_path / "d")
    packed = local(tmp_path, images="d", layout="dfc2019")
    for file in (tmp_path / "d").glob("*.zip"):
        unzip(file, tmp_path / "d")
    unpacked = local(tmp_path, images="d", layout="dfc2019")
    np.testing.assert_array_equal(packed.labels, unpacked.labels)
    truth = tmp_path / "d/Track1-Truth"
    (truth / "JAX_004_006_AGL.tif").unlink()
    assert np.isnan(local(tmp_path, images="d", layout="dfc2019").attributes["height"][0])
    file = truth / "JAX_004_006_CLS.tif"
    file.write_bytes(make.tiff(np.full((1, 64, 64), 7, dtype=np.uint8)))
    with pytest.raises(LabelError, match=r"other codes(.|\n)*JAX_004_006_CLS(.|\n)*\[7\]"):
        local(tmp_path, images="d", layout="dfc2019")
    shutil.rmtree(truth)
    with pytest.raises(SceneError, match="4 images and 0 images of classes"):
        local(tmp_path, images="d", layout="dfc2019")


# BigEarthNet


def test_bigearthnet_v1_labels_are_read_in_both_nomenclatures(tmp_path):
    make.bigearthnet_v1(folder_of(tmp_path, "bigearthnet_v1") / "BigEarthNet-S2-v1.0.tar.gz")
    images = downloaded(tmp_path, "bigearthnet_v1", bands=["B04", "B01"], groups="folder")
    assert images.nomenclature == bigearthnet19()
    # Airports are of no class of the 19.
    assert list(labels_of(images).values()) == [
        ["Arable land", "Inland wetlands"],
        ["Marine waters"],
    ]
    assert images.groups == ["S2A_MSIL2A_20170613T101031", "S2B_MSIL2A_20180525T94031"]
    assert images.decode(0)[0, 0].tolist() == [400, 100]
    fine = downloaded(tmp_path, "bigearthnet_v1", labels_key="labels_43")
    assert list(labels_of(fine).values()) == [["211", "412"], ["124", "523"]]
    with pytest.raises(LabelError, match="no official part"):
        downloaded(tmp_path, "bigearthnet_v1", groups="part")


@pytest.mark.parametrize("archive", ["bigearthnet_v2", "bigearthnet_v2_parts"])
def test_bigearthnet_v2_takes_labels_and_parts_from_its_table(tmp_path, archive):
    make.bigearthnet_v2(folder_of(tmp_path, archive), parts=archive.endswith("parts"))
    images = downloaded(tmp_path, archive, groups="part", size=120)
    assert images.ids == sorted(make.V2)
    assert labels_of(images) == {
        make.V2[0]: ["Arable land", "Inland wetlands"], make.V2[1]: ["Marine waters"],
    }  # fmt: skip
    assert images.groups == ["train", "test"]
    assert images.decode(1).shape == (120, 120, 12)
    assert images.warnings == ["1 of 3 patches have no labels_19 and are left out"]  # under clouds


def test_bigearthnet_v2_reference_maps_give_shares_of_corine_classes(tmp_path):
    folder = folder_of(tmp_path, "bigearthnet_v2")
    make.bigearthnet_v2(folder)
    images = downloaded(tmp_path, "bigearthnet_v2", labels_key="reference_map", bands=["B02"])
    assert images.nomenclature == corine()
    assert labels_of(images)[make.V2[0]] == ["211", "523"]
    assert images.labels[:, corine().index("523")].tolist() == [0.25, 0.25]
    file = next((folder / "unpacked").rglob(f"{make.V2[0]}_reference_map.tif"))
    file.write_bytes(make.tiff(np.full((1, 120, 120), 77, dtype=np.uint16)))
    with pytest.raises(LabelError, match=r"no CORINE classes(.|\n)*\[77\]"):
        downloaded(tmp_path, "bigearthnet_v2", labels_key="reference_map")
    file.unlink()
    with pytest.raises(LabelError, match="1 patches have no reference map"):
        downloaded(tmp_path, "bigearthnet_v2", labels_key="reference_map")
    with pytest.raises(LabelError, match="has no 'labels_43'"):
        downloaded(tmp_path, "bigearthnet_v2", labels_key="labels_43")


def test_bigearthnet_v2_with_another_table_or_fewer_bands(tmp_path):
    folder = folder_of(tmp_path, "bigearthnet_v2")
    make.bigearthnet_v2(folder)
    file = folder / "metadata.parquet"
    table = pq.read_table(file)
    for changed, message in (
        (table.drop_columns("labels"), "cannot be read"),
        (table.set_column(0, "patch_id", pa.array(make.V1)), "no patch is in the metadata"),
    ):
        pq.write_table(changed, file)
        with pytest.raises(LabelError, match=message):
            downloaded(tmp_path, "bigearthnet_v2")
    file.write_bytes(b"PAR1 is not enough")
    with pytest.raises(LabelError, match="cannot be read"):
        downloaded(tmp_path, "bigearthnet_v2")
    pq.write_table(table, file)
    next((folder / "unpacked").rglob(f"{make.V2[1]}_B03.tif")).unlink()
    with pytest.raises(SceneError, match=r"no band 'B03'(.|\n)*T35VPK_23_83_B03\.tif"):
        downloaded(tmp_path, "bigearthnet_v2")


# The registry


def test_every_archive_has_a_layout_files_terms_and_a_citation():
    table = archive_table()
    assert list(table) == list(ARCHIVE_LAYOUTS)
    for name, archive in table.items():
        layout = ARCHIVE_LAYOUTS[name]
        assert archive.title
        assert archive.licence
        assert archive.citation
        assert archive.page.startswith("http")
        names = {file.name for file in archive.files}
        needed = {part for parts in layout.tars for part in parts} | {layout.table or ""}
        if layout.images.endswith(".zip"):
            needed.add(layout.images)
        assert needed - {""} <= names
        for file in archive.files:
            assert file.addresses or archive.by_hand
            assert all(len(v) == {"md5": 32, "sha256": 64}[k] for k, v in file.digests.items())
            assert file.size is None or file.estimate is None
            assert "size" not in file.unverified


def test_archives_of_one_folder_agree_on_the_files_that_they_share():
    shared: dict[tuple[str, str], object] = {}
    for archive in archive_table().values():
        for file in archive.files:
            known = shared.setdefault((archive.folder, file.name), file.digests)
            assert known == file.digests


def test_places_of_files_are_known_without_asking(tmp_path):
    assert archive_files("celeba", tmp_path) == {
        name: tmp_path / "archives/celeba" / name
        for name in ("img_align_celeba.zip", "list_attr_celeba.txt", "list_eval_partition.txt")
    }


def test_class_lists_are_frozen():
    assert [len(codes) for _, codes in FROZEN.values()] == [10, 10, 10, 10, 21, 12, 13]
    assert EUROSAT[:3] == ("AnnualCrop", "Forest", "HerbaceousVegetation")
    assert CIFAR10[:3] == ("airplane", "automobile", "bird")
    assert TERRASSA[-1] == "desconegut"
