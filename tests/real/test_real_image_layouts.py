"""Real image sets through the layouts of their archives: EuroSAT, UC Merced, BigEarthNet."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from geolatents.acquire.images.classes import EUROSAT, UCMERCED
from geolatents.settings.images import ImageFolder
from geolatents.tiles.pack import open_images

pytestmark = pytest.mark.real_data


def test_eurosat_is_read_with_its_ten_classes(data_folder):
    imagery = ImageFolder(
        provider="images", archive="eurosat_rgb", images="eurosat/EuroSAT_RGB.zip", groups="folder"
    )
    images = open_images(imagery, data_folder)
    assert images.nomenclature.codes == list(EUROSAT)
    assert len(images.ids) == 21600
    assert (images.labels.sum(axis=1) == 1).all()
    classes = images.labels.argmax(axis=1)
    assert [name.split("_")[0] for name in images.ids] == [EUROSAT[i] for i in classes]
    assert images.groups == [EUROSAT[i] for i in classes]
    with zipfile.ZipFile(data_folder / "eurosat/EuroSAT_RGB.zip") as archive:
        for position in (0, 9999, 21599):
            name = images.ids[position]
            content = archive.read(f"EuroSAT_RGB/{name.split('_')[0]}/{name}.jpg")
            expected = np.asarray(Image.open(io.BytesIO(content)))
            np.testing.assert_array_equal(images.decode(position), expected)
    some = range(0, len(images.ids), 40)
    pixels, labels = np.stack([images.decode(i) for i in some]), classes[::40]
    mean = {code: pixels[labels == i].mean(axis=(0, 1, 2)) for i, code in enumerate(EUROSAT)}
    assert mean["SeaLake"][2] > 1.2 * mean["SeaLake"][0]  # water is bluer than it is red
    assert mean["AnnualCrop"].sum() > mean["Forest"].sum()


def test_ucmerced_scene_classes_and_labels_are_of_the_same_images(data_folder):
    folder = "ucm_multilabel/images.zip"
    scenes = open_images(
        ImageFolder(provider="images", archive="ucmerced", images=folder), data_folder
    )
    labelled = open_images(
        ImageFolder(provider="images", archive="ucmerced_multilabel", images=folder), data_folder
    )
    assert scenes.nomenclature.codes == list(UCMERCED)
    assert scenes.ids == labelled.ids
    assert labelled.labels.shape == (1680, 17)
    codes = [UCMERCED[i] for i in scenes.labels.argmax(axis=1)]
    assert Counter(codes) == dict.fromkeys(UCMERCED, 80)
    with (data_folder / "ucm_multilabel/ucm_split.csv").open() as stream:
        expected = {row["image"]: row["scene_class"] for row in csv.DictReader(stream)}
    assert dict(zip(scenes.ids, codes, strict=True)) == expected
    court = labelled.labels[[code == "tenniscourt" for code in codes]]
    assert court[:, labelled.nomenclature.index("court")].mean() > 0.95


def test_bigearthnet_v2_metadata_agree_with_the_patches_json(data_folder):
    values = {"provider": "images", "layout": "bigearthnet", "images": "bigearthnet/patches.zip"}
    table = ImageFolder(**values, table="bigearthnet/metadata.parquet", groups="part")
    by_table = open_images(table, data_folder)
    by_json = open_images(ImageFolder(**values), data_folder)
    assert len(by_table.ids) == 23
    rows = [by_json.ids.index(name) for name in by_table.ids]
    np.testing.assert_array_equal(by_table.labels, by_json.labels[rows])
    with zipfile.ZipFile(data_folder / "bigearthnet/patches.zip") as archive:
        for name, part in zip(by_table.ids, by_table.groups, strict=True):
            file = next(
                n for n in archive.namelist() if n.endswith(f"/{name}_labels_metadata.json")
            )
            assert json.loads(archive.read(file))["split"] == part


def test_the_19_classes_follow_from_the_43_names_as_published(data_folder, tmp_path):
    """Patches of version 1 as Zenodo has them, with the 43 names alone."""
    with zipfile.ZipFile(data_folder / "bigearthnet/patches.zip") as archive:
        names = [n for n in archive.namelist() if n.endswith(".json")]
        values = {n: json.loads(archive.read(n)) for n in names}
        first = {n: v for n, v in values.items() if v["labels_43"]}
        with zipfile.ZipFile(tmp_path / "v1.zip", "w") as target:
            for name, value in first.items():
                target.writestr(name, json.dumps({"labels": value["labels_43"], "tile_source": ""}))
                image = name.replace("_labels_metadata.json", "_B02.tif")
                target.writestr(image, archive.read(image))
    imagery = ImageFolder(provider="images", layout="bigearthnet", images="v1.zip")
    images = open_images(imagery, tmp_path)
    codes = np.asarray(images.nomenclature.codes)
    found = dict(zip(images.ids, images.labels, strict=True))
    assert len(found) == len(first) == 70
    for value in first.values():
        assert set(codes[found[value["patch"]] > 0]) == set(value["labels_19"] or [])
