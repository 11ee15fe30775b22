from __future__ import annotations

import csv

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from geolatents.errors import LabelError
from geolatents.files import read_json
from geolatents.labels.mappings import (
    SHIPPED_MAPPINGS,
    find_mapping,
    read_mapping,
    shipped_mapping,
)
from geolatents.labels.sets import (
    check_label_set,
    labels_like,
    make_label_set,
    read_labels,
)
from geolatents.nomenclature import corine, listed_nomenclature
from geolatents.settings.labels import CombinedLabels, PrunedLabels, StandardLabels
from geolatents.stores import verify_store
from tests.unit.label_makers import write_cover

CORINE = corine()


def cover_of(*tiles: dict[str, float]) -> np.ndarray:
    cover = np.zeros((len(tiles), len(CORINE)), dtype=np.float32)
    for row, tile in enumerate(tiles):
        for code, share in tile.items():
            cover[row, CORINE.index(code)] = share
    return cover


def make(tmp_path, config, cover, mapping=None, ids=None, classes=CORINE.classes):
    ids = ids or [f"t-{i}" for i in range(len(cover))]
    stores = [write_cover(tmp_path / "cover.zarr", ids, cover, classes)]
    make_label_set(config, stores, mapping, tmp_path / "l.zarr", tmp_path / "l.json")
    return read_labels(tmp_path / "l.zarr")


def write_mapping(tmp_path, text):
    file = tmp_path / "groups.csv"
    file.write_text("code,group\n" + text)
    return file


def test_standard_keeps_classes_that_occur_in_official_order(tmp_path):
    cover = cover_of({"523": 0.5, "112": 0.01}, {"311": 0.009}, {"211": 1.0})
    result = make(tmp_path, StandardLabels(kind="standard"), cover)
    assert result.codes == ["112", "211", "523"]
    assert result.labels.tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]
    assert result.ids.tolist() == ["t-0", "t-1", "t-2"]
    assert result.classes[2] == {
        "code": "523", "name": "Sea and ocean", "colour": "#e6f2ff", "members": ["523"],
    }  # fmt: skip
    assert verify_store(tmp_path / "l.zarr", read_json(tmp_path / "l.json")) == []


def test_min_cover_zero_means_any_cover_and_one_survives_rounding(tmp_path):
    cover = cover_of({"211": 1e-6}, {"311": np.float32(0.9999999)})
    assert make(tmp_path, StandardLabels(kind="standard", min_cover=0), cover).codes == [
        "211",
        "311",
    ]
    assert make(tmp_path, StandardLabels(kind="standard", min_cover=1), cover).codes == ["311"]


def test_pruned_counts_tiles_after_selection_by_min_labels(tmp_path):
    cover = cover_of({"211": 0.5, "311": 0.5}, {"211": 0.5, "112": 0.5}, {"112": 1.0})
    config = PrunedLabels(kind="pruned", min_count=2, min_labels=2)
    result = make(tmp_path, config, cover)
    assert (result.codes, result.ids.tolist()) == (["211"], ["t-0", "t-1"])
    assert make(tmp_path, PrunedLabels(kind="pruned", min_count=2), cover).codes == ["112", "211"]


def test_min_labels_counts_classes_before_combining(tmp_path):
    cover = cover_of({"211": 0.3, "311": 0.3, "312": 0.3}, {"211": 0.5, "311": 0.5})
    config = CombinedLabels(kind="combined", mapping="corine-level1", min_labels=3)
    result = make(tmp_path, config, cover)
    assert result.ids.tolist() == ["t-0"]
    assert result.codes == ["Agricultural areas", "Forest and semi-natural areas"]


def test_groups_add_up_cover_and_take_order_and_colour_of_their_first_member(tmp_path):
    cover = cover_of({"311": 0.06, "312": 0.06}, {"523": 1.0}, {"312": 0.09})
    mapping = write_mapping(tmp_path, "523,Water\n312,Forest\n311,Forest\n")
    config = CombinedLabels(kind="combined", mapping="groups.csv", min_cover=0.1)
    result = make(tmp_path, config, cover, mapping)
    assert result.codes == ["Forest", "Water"]
    assert result.labels.tolist() == [[1, 0], [0, 1], [0, 0]]
    assert result.classes[0]["members"] == ["311", "312"]
    assert result.classes[0]["colour"] == CORINE.classes[CORINE.index("311")].colour


def test_an_empty_group_drops_a_class_on_purpose(tmp_path):
    cover = cover_of({"211": 0.5, "122": 0.5})
    result = make(tmp_path, CombinedLabels(kind="combined", mapping="bigearthnet-19"), cover)
    assert result.codes == ["Arable land"]


def test_groups_of_packed_images_with_full_cover_of_several_members(tmp_path):
    classes = listed_nomenclature("ucm", ["cars", "field", "ship"]).classes
    cover = np.array([[1, 1, 0], [0, 0, 1]])
    mapping = write_mapping(tmp_path, "cars,things\nship,things\nfield,land\n")
    config = CombinedLabels(kind="combined", mapping="groups.csv", min_cover=1)
    result = make(tmp_path, config, cover, mapping, classes=classes)
    assert (result.codes, result.labels.tolist()) == (["things", "land"], [[1, 1], [1, 0]])


@settings(max_examples=25, deadline=None)
@given(arrays(np.float32, (6, 44), elements=st.sampled_from([0, 0, 0, 1e-5, 0.02, 0.4])))
def test_combined_without_min_cover_is_any_of_its_members(tmp_path_factory, cover):
    tmp_path = tmp_path_factory.mktemp("any")
    cover[0, 0] = 0.5
    config = CombinedLabels(kind="combined", mapping="corine-level2", min_cover=0)
    result = make(tmp_path, config, cover)
    groups = {}
    for column, item in enumerate(CORINE.classes):
        groups.setdefault(item.level2, []).append(column)
    expected = {name: (cover[:, columns] > 0).any(axis=1) for name, columns in groups.items()}
    expected = {name: present for name, present in expected.items() if present.any()}
    assert result.codes == list(expected)
    assert np.array_equal(result.labels, np.column_stack(list(expected.values())))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("211,Fields\n311,Forest\n211,Land\n", ["'211' is mapped twice", "row 2", "row 4", ".csv"]),
        ("211,Fields\n999,Forest\n", ["'999'", "groups.csv, row 3"]),
        ("311,Forest\n", ["not mapped", "211 (Non-irrigated arable land)", "groups.csv"]),
    ],
)  # fmt: skip
def test_wrong_mappings_are_errors_that_name_class_file_and_row(tmp_path, text, words):
    config = CombinedLabels(kind="combined", mapping="groups.csv")
    with pytest.raises(LabelError) as error:
        make(tmp_path, config, cover_of({"211": 0.001}), write_mapping(tmp_path, text))
    assert all(word in str(error.value) for word in words), error.value
    assert not (tmp_path / "l.zarr").exists()


def test_a_mapping_without_its_columns_or_file_is_an_error(tmp_path):
    file = tmp_path / "groups.csv"
    file.write_text("clc;group\n211;Fields\n")
    with pytest.raises(LabelError, match="lacks the column 'code'"):
        read_mapping(file, CORINE.codes)
    with pytest.raises(LabelError, match="cannot be read"):
        read_mapping(tmp_path / "none.csv", CORINE.codes)
    assert find_mapping("groups.csv", tmp_path) == file
    with pytest.raises(LabelError, match="corine-level1"):
        find_mapping("corine-levle1", tmp_path)


@pytest.mark.parametrize(
    ("name", "n_groups"),
    list(zip(SHIPPED_MAPPINGS, (7, 5, 5, 15, 19), strict=True)),
)
def test_shipped_mappings_name_every_class_once(name, n_groups):
    groups = read_mapping(shipped_mapping(name), CORINE.codes)
    assert sorted(groups) == CORINE.codes
    assert len(set(groups.values()) - {""}) == n_groups


def test_shipped_corine_mappings_agree_with_the_nomenclature():
    level1 = read_mapping(shipped_mapping("corine-level1"), CORINE.codes)
    nineteen = read_mapping(shipped_mapping("bigearthnet-19"), CORINE.codes)
    for item in CORINE.classes:
        assert (level1[item.code], nineteen[item.code]) == (item.level1, item.bigearthnet19)
    assert shipped_mapping("other") is None


def test_thesis_groups_stand_in_the_order_of_the_thesis(tmp_path):
    cover = np.full((2, 44), 1 / 44)
    config = CombinedLabels(kind="combined", mapping="thesis-planetscope-7")
    assert make(tmp_path, config, cover).codes == [
        "Urban", "Special sites", "Non-irrigated arable land", "Agriculture", "Forests",
        "Rocky or mountainous", "Bodies of water",
    ]  # fmt: skip


@pytest.mark.real_data
def test_bigearthnet_mapping_agrees_with_the_official_table(data_folder):
    file = data_folder / "clc_nomenclature" / "clc_metadata.json"
    if not file.exists():
        pytest.skip(f"no {file}")
    text = file.read_text()
    with shipped_mapping("bigearthnet-19").open() as stream:
        groups = {row["group"] for row in csv.DictReader(stream)} - {""}
    assert all(group in text for group in groups)


@pytest.mark.parametrize(
    ("config", "word"),
    [
        (StandardLabels(kind="standard", min_cover=0.9), "min_cover"),
        (PrunedLabels(kind="pruned", min_count=2), "min_count"),
        (StandardLabels(kind="standard", min_labels=3), "min_labels"),
    ],
)
def test_an_empty_label_set_is_an_error(tmp_path, config, word):
    with pytest.raises(LabelError, match=word):
        make(tmp_path, config, cover_of({"211": 0.5, "311": 0.5}))


def test_tiles_keep_the_order_of_the_stores_and_no_id_twice(tmp_path):
    stores = [
        write_cover(tmp_path / f"{s}.zarr", [f"{s}-1", f"{s}-0"], cover_of({"211": 1}, {"211": 1}))
        for s in ("b", "a")
    ]
    config = StandardLabels(kind="standard")
    make_label_set(config, stores, None, tmp_path / "l.zarr", tmp_path / "l.json")
    assert read_labels(tmp_path / "l.zarr").ids.tolist() == ["b-1", "b-0", "a-1", "a-0"]
    with pytest.raises(LabelError, match="b-1"):
        make_label_set(config, [stores[0]] * 2, None, tmp_path / "l.zarr", tmp_path / "l.json")


def test_a_check_writes_support_or_raises_what_the_builder_would(tmp_path):
    covers = [write_cover(tmp_path / "c.zarr", ["a", "b"], cover_of({"211": 1}, {"211": 1}))]
    output = tmp_path / "check.json"
    check_label_set(StandardLabels(kind="standard"), covers, None, output)
    assert read_json(output) == {"kind": "standard", "n_tiles": 2, "support": {"211": 2}}
    config = PrunedLabels(kind="pruned", min_count=3)
    with pytest.raises(LabelError, match="at most 2, of class 211"):
        check_label_set(config, covers, None, tmp_path / "other.json")
    assert not (tmp_path / "other.json").exists()


def test_labels_of_another_dataset_have_the_same_columns_and_threshold(tmp_path):
    config = CombinedLabels(kind="combined", mapping="corine-level1", min_cover=0.2, min_labels=2)
    make(tmp_path, config, cover_of({"211": 0.5, "311": 0.5}))
    other = write_cover(
        tmp_path / "other.zarr", ["o-0", "o-1"], cover_of({"242": 0.1, "243": 0.1}, {"523": 1.0})
    )
    ids, labels = labels_like(tmp_path / "l.zarr", [other])
    assert ids.tolist() == ["o-0", "o-1"]
    assert labels.tolist() == [[1, 0], [0, 0]]
    strange = listed_nomenclature("ucm", ["cars"]).classes
    packed = write_cover(tmp_path / "ucm.zarr", ["u-0"], np.ones((1, 1)), strange)
    with pytest.raises(LabelError, match="cars"):
        labels_like(tmp_path / "l.zarr", [packed])


def test_different_nomenclatures_in_one_dataset_are_an_error(tmp_path):
    one = write_cover(tmp_path / "one.zarr", ["a-0"], cover_of({"211": 1}))
    strange = listed_nomenclature("ucm", ["cars"]).classes
    two = write_cover(tmp_path / "two.zarr", ["b-0"], np.ones((1, 1)), strange)
    with pytest.raises(LabelError, match="different classes"):
        make_label_set(
            StandardLabels(kind="standard"), [one, two], None, tmp_path / "l", tmp_path / "m"
        )
