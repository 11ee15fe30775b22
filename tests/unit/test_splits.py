from __future__ import annotations

import csv

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geolatents.batches.splits import assign_parts, check_split, make_split
from geolatents.errors import SplitError
from geolatents.files import read_json
from geolatents.labels.parts import parts_of, read_split
from geolatents.settings.splits import GroupedSplit, ListedSplit, RandomSplit, SpatialSplit
from tests.unit.label_makers import scene_tiles, write_cover, write_tiles

SIDE = 100.0
CORNER = (500_000.0, 3_900_000.0)
RANK = {"train": 0, "validation": 1, "test": 2}


def gaps(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Distances between boxes (n, 4) and (m, 4)."""
    apart = np.maximum(one[:, None, :2] - other[None, :, 2:], other[None, :, :2] - one[:, None, 2:])
    return np.hypot(*np.moveaxis(np.maximum(apart, 0), -1, 0))


def by_id(split) -> dict[str, str]:
    return dict(zip(split.ids.tolist(), split.parts.tolist(), strict=True))


def boxes(tiles: pd.DataFrame) -> np.ndarray:
    return tiles[["left", "bottom", "right", "top"]].to_numpy()


spatial_settings = st.builds(
    SpatialSplit,
    kind=st.just("spatial"),
    block=st.floats(400, 1500),
    buffer=st.one_of(st.none(), st.floats(142, 350)),
    seed=st.integers(0, 1000),
    validation=st.just(0.3),
    test=st.just(0.3),
)


def split_or_none(config, table, tmp_path):
    try:
        return assign_parts(config, table, tmp_path)
    except SplitError as error:
        assert "empty" in str(error)  # noqa: PT017  (any other error is a failure)
        return None


@settings(max_examples=30, deadline=None)
@given(spatial_settings, st.floats(-300, 300), st.floats(0.3, 1))
def test_parts_lie_at_least_the_buffer_apart(tmp_path_factory, config, shift, stride):
    tmp_path = tmp_path_factory.mktemp("spatial")
    one = scene_tiles("one", CORNER, SIDE, (24, 20))
    two = scene_tiles("two", (CORNER[0] + 900 + shift, CORNER[1] + shift * stride), SIDE, (9, 9))
    table = write_tiles(tmp_path / "tiles.parquet", one, two)
    split = split_or_none(config, table, tmp_path)
    if split is None:
        return
    bounds = boxes(pd.concat([one, two]))
    buffer = split.details["buffer_m"]
    assert buffer >= np.hypot(SIDE, SIDE) - 1e-6
    for low, high in (("train", "test"), ("train", "validation"), ("validation", "test")):
        apart = gaps(bounds[split.parts == low], bounds[split.parts == high])
        assert apart.min() >= buffer - 1e-5


@settings(max_examples=20, deadline=None)
@given(spatial_settings, st.booleans(), st.floats(-2000, 2000))
def test_adding_a_scene_moves_no_tile(tmp_path_factory, config, other_zone, shift):
    tmp_path = tmp_path_factory.mktemp("adding")
    one = scene_tiles("one", CORNER, SIDE, (20, 20))
    corner = (CORNER[0] + shift, CORNER[1] - shift)
    crs = "EPSG:32636"
    if other_zone:
        corner, crs = (-45_000.0 + shift, 3_905_000.0), "EPSG:32637"
    two = scene_tiles("two", corner, SIDE, (12, 12), crs)
    before = split_or_none(config, write_tiles(tmp_path / "one.parquet", one), tmp_path)
    after = split_or_none(config, write_tiles(tmp_path / "two.parquet", one, two), tmp_path)
    if before is None or after is None:
        return
    assert by_id(before).items() <= by_id(after).items()
    assert before.details == after.details


def test_scenes_in_two_zones_share_one_grid(tmp_path):
    """The same ground, seen by scenes in two UTM zones, is never in two parts."""
    import geopandas
    from shapely.geometry import box

    here = scene_tiles("here", (770_000.0, 3_900_000.0), SIDE, (25, 25))
    corner = geopandas.GeoSeries.from_xy([770_000.0], [3_900_000.0], crs="EPSG:32636")
    x, y = corner.to_crs("EPSG:32637").iloc[0].coords[0]
    there = scene_tiles("there", (x, y), SIDE, (25, 25), "EPSG:32637")
    table = write_tiles(tmp_path / "tiles.parquet", here, there)
    config = SpatialSplit(kind="spatial", block=600, validation=0.3, test=0.3)
    split = assign_parts(config, table, tmp_path)
    frames = [
        geopandas.GeoDataFrame(t, geometry=[box(*b) for b in boxes(t)], crs=t["proj_code"][0])
        for t in (here, there)
    ]
    ground = pd.concat([frames[0].to_crs("EPSG:32636"), frames[1].to_crs("EPSG:32636")])
    test = ground.geometry[split.parts == "test"].union_all()
    train = ground.geometry[split.parts == "train"]
    assert {"here", "there"} <= set(ground["scene"].to_numpy()[split.parts == "test"])
    assert train.distance(test).min() >= 141


def test_most_tiles_of_large_blocks_are_kept_and_shares_are_met(tmp_path):
    tiles = scene_tiles("one", CORNER, SIDE, (200, 200))
    config = SpatialSplit(kind="spatial", block=1200, seed=3)
    split = assign_parts(config, write_tiles(tmp_path / "t.parquet", tiles), tmp_path)
    count = split.counts()
    assert count["buffer"] < 0.4 * len(tiles)
    kept = len(tiles) - count["buffer"]
    assert count["test"] / kept == pytest.approx(0.25, abs=0.12)
    assert set(split.blocks.tolist()) >= {f"{x}_{y}" for x in range(418, 432) for y in (3240, 3249)}


def test_spatial_split_needs_positions_a_metric_crs_and_room(tmp_path):
    tiles = scene_tiles("one", CORNER, SIDE, (12, 12))
    packed = tiles.assign(left=np.nan, right=np.nan, top=np.nan, bottom=np.nan, proj_code=None)
    degrees = scene_tiles("one", (33.0, 35.2), 0.01, (12, 12), "EPSG:4326")
    cases = [
        (packed, {}, "needs tiles with positions"),
        (degrees, {}, "EPSG:32636"),
        (tiles, {"buffer": 100.0}, "at least 141.421 m"),
        (tiles, {"block": 120.0}, "several times the buffer"),
        (tiles, {"block": 50_000.0}, "smaller blocks"),
        (tiles, {"crs": "EPSG:0"}, "`crs` is not known"),
    ]
    for table, changes, words in cases:
        file = write_tiles(tmp_path / "t.parquet", table)
        config = SpatialSplit(**{"kind": "spatial", "block": 500.0, **changes})
        with pytest.raises(SplitError, match=words):
            check_split(config, file, tmp_path, tmp_path / "check.json")
        assert not (tmp_path / "check.json").exists()
    file = write_tiles(tmp_path / "t.parquet", degrees)
    metric = SpatialSplit(kind="spatial", block=5000.0, crs="EPSG:32636", validation=0.3, test=0.3)
    assert assign_parts(metric, file, tmp_path).details["buffer_m"] > 1400


def test_the_advice_for_an_empty_part_helps(tmp_path):
    file = write_tiles(tmp_path / "t.parquet", scene_tiles("one", CORNER, SIDE, (30, 30)))
    failures = 0
    for seed in range(20):
        config = SpatialSplit(kind="spatial", block=1000, seed=seed)
        try:
            assign_parts(config, file, tmp_path)
        except SplitError as error:
            failures += 1
            advised = int(str(error).split("`seed: ")[1].split("`")[0])
            assign_parts(config.model_copy(update={"seed": advised}), file, tmp_path)
    assert failures


def test_split_file_and_summary(tmp_path):
    tiles = scene_tiles("one", CORNER, SIDE, (30, 30))
    table = write_tiles(tmp_path / "t.parquet", tiles)
    cover = np.zeros((len(tiles), 44))
    cover[:, 11] = 1
    cover[::2, 0] = 0.02
    cover[:, 1] = 0.005
    store = write_cover(tmp_path / "c.zarr", tiles["id"].tolist(), cover)
    config = SpatialSplit(kind="spatial", block=600, validation=0.3, test=0.3)
    outputs = tmp_path / "s.parquet", tmp_path / "s.json"
    make_split(config, table, tmp_path, *outputs, covers=[store])
    split, summary = read_split(outputs[0]), read_json(outputs[1])
    assert split["id"].tolist() == tiles["id"].tolist()
    counts = split["part"].value_counts().to_dict()
    assert summary["counts"] == {"buffer": 0, **counts}
    assert summary["support"]["211"] == summary["counts"]
    assert set(summary["support"]) == {"111", "211"}
    assert sum(summary["support"]["111"].values()) == 450
    assert (summary["buffer_m"], summary["crs"]) == (141.421356, "EPSG:32636")
    first = outputs[0].read_bytes(), outputs[1].read_bytes()
    make_split(config, table, tmp_path, *outputs, covers=[store])
    assert first == (outputs[0].read_bytes(), outputs[1].read_bytes())
    check_split(config, table, tmp_path, tmp_path / "check.json")
    assert read_json(tmp_path / "check.json")["sha256"] == summary["sha256"]


@pytest.mark.parametrize(
    "config",
    [
        SpatialSplit(kind="spatial", block=600, validation=0.3, test=0.3),
        GroupedSplit(kind="grouped", by="scene"),
        RandomSplit(kind="random"),
    ],
    ids=lambda config: config.kind,
)
def test_parts_do_not_depend_on_the_order_of_rows(tmp_path, config):
    scenes = [
        scene_tiles(f"s{i}", (CORNER[0] + 4000 * i, CORNER[1]), SIDE, (12, 12)) for i in range(5)
    ]
    forward = assign_parts(config, write_tiles(tmp_path / "f.parquet", *scenes), tmp_path)
    mixed = pd.concat(scenes).sample(frac=1, random_state=0)
    other = assign_parts(config, write_tiles(tmp_path / "m.parquet", mixed), tmp_path)
    assert by_id(forward) == by_id(other)
    assert len(by_id(forward)) == len(forward.ids)
    again = config.model_copy(update={"seed": 8})
    assert by_id(assign_parts(again, tmp_path / "f.parquet", tmp_path)) != by_id(forward)


@settings(max_examples=25, deadline=None)
@given(st.integers(3, 40), st.integers(0, 99), st.floats(0.05, 0.6), st.floats(0.05, 0.39))
def test_groups_stay_whole_and_shares_are_met(tmp_path_factory, n, seed, test, validation):
    tmp_path = tmp_path_factory.mktemp("grouped")
    tiles = pd.DataFrame({"id": [f"i{i:03}" for i in range(3 * n)], "scene": "images"})
    tiles["group"] = [f"g{i % n}" for i in range(3 * n)]
    config = GroupedSplit(kind="grouped", seed=seed, test=test, validation=validation)
    split = assign_parts(config, write_tiles(tmp_path / "t.parquet", tiles), tmp_path)
    parts = pd.DataFrame({"part": split.parts, "group": split.blocks}).drop_duplicates()
    assert len(parts) == n
    count = parts["part"].value_counts()
    assert count.min() >= 1
    if n >= 20:
        assert count["test"] == pytest.approx(test * n, abs=1)


def test_official_parts_stay_what_they_are(tmp_path):
    parts = ["train"] * 6 + ["validation"] * 2 + ["test"] * 4
    tiles = pd.DataFrame({"id": [f"i{i:02}" for i in range(12)], "scene": "images", "group": parts})
    table = write_tiles(tmp_path / "tiles.parquet", tiles)
    for seed in range(6):
        split = assign_parts(GroupedSplit(kind="grouped", seed=seed), table, tmp_path)
        assert split.parts.tolist() == parts


def test_grouped_split_needs_groups(tmp_path):
    tiles = scene_tiles("one", CORNER, SIDE, (3, 3))
    table = write_tiles(tmp_path / "t.parquet", tiles)
    with pytest.raises(SplitError, match="by: scene"):
        assign_parts(GroupedSplit(kind="grouped"), table, tmp_path)
    with pytest.raises(SplitError, match="at least 3 groups"):
        assign_parts(GroupedSplit(kind="grouped", by="scene"), table, tmp_path)


def test_random_split_meets_its_shares(tmp_path):
    tiles = scene_tiles("one", CORNER, SIDE, (60, 60))
    config = RandomSplit(kind="random", validation=0.2, test=0.3)
    split = assign_parts(config, write_tiles(tmp_path / "t.parquet", tiles), tmp_path)
    assert split.counts()["test"] / 3600 == pytest.approx(0.3, abs=0.03)
    assert split.counts()["validation"] / 3600 == pytest.approx(0.2, abs=0.03)


def test_stratified_split_has_exact_shares_of_every_group(tmp_path):
    groups = np.repeat(["harbor", "forest", "river"], [80, 80, 40])
    ids = [f"{g}{i:02d}" for i, g in enumerate(groups)]
    tiles = pd.DataFrame({"id": ids, "scene": "images", "group": groups})
    table = write_tiles(tmp_path / "t.parquet", tiles)
    config = RandomSplit(kind="random", stratify="group", validation=0.1, test=0.2, seed=3)
    split = assign_parts(config, table, tmp_path)
    for group, count in (("harbor", 80), ("forest", 80), ("river", 40)):
        parts = split.parts[groups == group]
        assert (parts == "test").sum() == 0.2 * count
        assert (parts == "validation").sum() == 0.1 * count
    shuffled = write_tiles(tmp_path / "s.parquet", tiles.sample(frac=1, random_state=0))
    assert by_id(assign_parts(config, shuffled, tmp_path)) == by_id(split)
    other = assign_parts(config.model_copy(update={"seed": 4}), table, tmp_path)
    assert by_id(other) != by_id(split)


def test_stratified_split_needs_groups(tmp_path):
    table = write_tiles(tmp_path / "t.parquet", scene_tiles("one", CORNER, SIDE, (3, 3)))
    with pytest.raises(SplitError, match="stratify"):
        assign_parts(RandomSplit(kind="random", stratify="group"), table, tmp_path)


def listed(tmp_path, rows, header="image,part"):
    (tmp_path / "list.csv").write_text("\n".join([header, *rows]) + "\n")
    tiles = pd.DataFrame({"id": ["a", "b", "c", "d"], "scene": "images", "group": "g"})
    table = write_tiles(tmp_path / "t.parquet", tiles)
    return assign_parts(ListedSplit(kind="listed", file="list.csv"), table, tmp_path)


def test_listed_split_takes_parts_from_the_file(tmp_path):
    split = listed(tmp_path, ["d,train", "b,val", "c,validation", "a,test"])
    assert split.parts.tolist() == ["test", "validation", "validation", "train"]
    assert set(split.blocks.tolist()) == {""}


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (["a,train", "b,val", "c,test"], r"1 tiles of the dataset are not in the list(.|\n)*d"),
        (
            ["a,train", "b,val", "c,test", "d,test", "e.jpg,test"],
            r"1 tiles of the list(.|\n)*e.jpg",
        ),
        (["a,train", "b,dev", "c,test", "d,test"], r"list.csv, row 3(.|\n)*'dev'"),
        (["a,train", "a,val", "c,test", "d,test"], r"listed twice(.|\n)*row 3"),
        (["a,train", "b,train", "c,test", "d,test"], "'validation' would be empty"),
    ],
)
def test_listed_split_that_does_not_fit_is_an_error(tmp_path, rows, words):
    with pytest.raises(SplitError, match=words):
        listed(tmp_path, rows)


def test_list_without_its_columns_is_an_error(tmp_path):
    with pytest.raises(SplitError, match="lacks the column 'image'"):
        listed(tmp_path, ["a,train"], header="name,part")


@pytest.mark.real_data
def test_the_listed_split_of_uc_merced(tmp_path, data_folder):
    file = data_folder / "ucm_multilabel" / "ucm_split.csv"
    if not file.exists():
        pytest.skip(f"no {file}")
    with file.open() as stream:
        names = [row["image"] for row in csv.DictReader(stream)]
    tiles = pd.DataFrame({"id": names, "scene": "images", "group": "g"})
    table = write_tiles(tmp_path / "t.parquet", tiles)
    config = ListedSplit(kind="listed", file="ucm_multilabel/ucm_split.csv")
    assert assign_parts(config, table, data_folder).counts() == {
        "train": 1176, "validation": 168, "test": 336, "buffer": 0,
    }  # fmt: skip


def test_parts_of_names_tiles_that_the_split_lacks(tmp_path):
    tiles = scene_tiles("one", CORNER, SIDE, (9, 9))
    table = write_tiles(tmp_path / "t.parquet", tiles)
    make_split(RandomSplit(kind="random"), table, tmp_path, tmp_path / "s", tmp_path / "j")
    parts, blocks = parts_of(["one-3-3", "one-0-0"], tmp_path / "s")
    expected = by_id(assign_parts(RandomSplit(kind="random"), table, tmp_path))
    assert parts.tolist() == [expected["one-3-3"], expected["one-0-0"]]
    assert blocks.tolist() == ["", ""]
    with pytest.raises(SplitError, match="two-0-0"):
        parts_of(["two-0-0"], tmp_path / "s")
