"""The core of photo providers: grid, names, lists, joined table; and what VK's objects become."""

from __future__ import annotations

import json
import os
import re
import stat
from dataclasses import replace
from datetime import date
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from geolatents.acquire.photos.grid import METRES_PER_DEGREE, WorldGrid, cell_of
from geolatents.acquire.photos.join import join_photos
from geolatents.acquire.photos.journal import open_journal
from geolatents.acquire.photos.privacy import Pseudonyms, pseudonyms, read_exclusions
from geolatents.acquire.photos.table import (
    Photo,
    limited_per_owner,
    read_cell,
    utc_text,
    write_photo_list,
)
from geolatents.acquire.vk_photos.items import chosen_size, spans_of
from geolatents.acquire.vk_photos.provider import REACH, circles_over, fitting_radius
from geolatents.errors import ConfigError, FetchError
from geolatents.files import sha256_file, write_json
from geolatents.settings.vk_photos import VkPhotos
from tests.services.vk import distance

LONGITUDES = st.floats(-180, 180)
LATITUDES = st.floats(-90, 90)


def some_photo(name: str = "a1", longitude: float = 37.1, latitude: float = 55.1, **fields: object) -> Photo:  # fmt: skip
    values: dict[str, object] = {
        "provider": "vk_photos", "url": f"https://i.example/{name}.jpg?sign=1", "licence": "none",
        "taken": "2021-07-01T12:00:00Z", "owner": "0123456789abcdef01234567",
    }  # fmt: skip
    return Photo(id=name, longitude=longitude, latitude=latitude, **(values | fields))  # type: ignore[arg-type]


# ---- grid


def test_a_cell_is_named_by_its_corner() -> None:
    assert cell_of(37.25, 55.81, 20) == "n5565e03695"
    assert cell_of(-0.001, -0.001, 20) == "s0009w00018"
    assert cell_of(180, 90, 20) == cell_of(-180, 90, 20)


@given(LONGITUDES, LATITUDES, st.sampled_from([2.0, 5.0, 20.0, 150.0]))
def test_cells_hold_their_positions_and_have_names_of_their_own(
    longitude: float, latitude: float, cell_km: float
) -> None:
    grid = WorldGrid(cell_km * 1000)
    west, south, east, north = grid.box_of(longitude, latitude)
    assert west - 1e-9 <= (longitude if longitude + 180.0 < 360.0 else -180) <= east + 1e-9
    assert south - 1e-9 <= latitude <= north + 1e-9
    name = cell_of(longitude, latitude, cell_km)
    assert re.fullmatch(r"[ns]\d{4}[ew]\d{5}", name)
    assert cell_of((west + east) / 2, (south + north) / 2, cell_km) == name
    for x, y in ((east + (east - west) / 2, south), (west, north + (north - south) / 2)):
        if x < 180 and y < 90:
            assert cell_of(x, y, cell_km) != name


@given(LATITUDES, st.sampled_from([500.0, 7000.0, 100_000.0]))
def test_no_side_of_a_cell_is_longer_than_asked_for(latitude: float, side: float) -> None:
    west, south, east, north = WorldGrid(side).box_of(10.0, latitude)
    assert (north - south) * METRES_PER_DEGREE <= side * (1 + 1e-9)
    widest = max(np.cos(np.radians([south, north])))
    if south < 0 < north:
        widest = 1.0
    assert (east - west) * METRES_PER_DEGREE * widest <= side * (1 + 1e-9)


def test_boxes_over_an_area_tile_it() -> None:
    area = shapely.Point(37.3, 55.2).buffer(0.8)
    boxes = [shapely.box(*box) for box in WorldGrid(9000).boxes_over(area)]
    union = shapely.union_all(boxes)
    assert union.buffer(1e-9).covers(area)
    assert union.area == pytest.approx(sum(box.area for box in boxes))
    assert all(box.intersects(area) for box in boxes)


@pytest.mark.parametrize("radius", [800, 6000, 50000])
@pytest.mark.parametrize("center", [(33.2, 35.0), (37.3, 56.0), (18.0, 69.6), (-70.0, -0.1)])
def test_circles_reach_every_place_of_an_area(radius: int, center: tuple[float, float]) -> None:
    size = 6 * radius / METRES_PER_DEGREE
    area = shapely.box(center[0] - size, center[1] - size / 2, center[0] + size, center[1] + size / 2)  # fmt: skip
    circles = circles_over(area, radius)
    draw = np.random.default_rng(1)
    west, south, east, north = area.bounds
    for x, y in zip(draw.uniform(west, east, 300), draw.uniform(south, north, 300), strict=True):
        nearest = min(distance(x, y, c.longitude, c.latitude) for c in circles)
        assert nearest <= REACH * radius * 1.001


def test_the_radius_fits_the_area() -> None:
    assert fitting_radius(shapely.box(32.2, 34.5, 34.7, 35.8)) == 50000  # Cyprus
    assert fitting_radius(shapely.box(37.0, 55.0, 37.4, 55.2)) == 6000
    assert fitting_radius(shapely.box(37.0, 55.0, 37.05, 55.03)) == 800
    assert fitting_radius(shapely.box(37.0, 55.0, 37.0001, 55.0001)) == 10


def test_an_area_beyond_all_patience_is_refused() -> None:
    with pytest.raises(ConfigError, match="larger `radius`"):
        circles_over(shapely.box(36, 54, 40, 58), 10)


# ---- names


def test_names_need_the_salt_and_tell_kinds_and_providers_apart() -> None:
    names = Pseudonyms("a salt that nobody knows")
    assert re.fullmatch("[0-9a-f]{24}", names.owner("vk_photos", 5))
    assert names.owner("vk_photos", 5) == names.owner("vk_photos", "5")
    others = {
        names.owner("vk_photos", -5), names.owner("commons_photos", 5), names.photo("vk_photos", 5, 5),
        names.photo("vk_photos", 55, 5), names.photo("vk_photos", 5, 55), Pseudonyms("b" * 20).owner("vk_photos", 5),
    }  # fmt: skip
    assert len(others) == 6
    assert names.owner("vk_photos", 5) not in others


def test_the_salt_is_made_once_and_readable_by_its_user_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.delenv("GEOLATENTS_SALT", raising=False)
    first = pseudonyms(tmp_path / "downloads")
    file = tmp_path / "downloads/photos.salt"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert pseudonyms(tmp_path / "downloads").owner("x", 1) == first.owner("x", 1)
    assert pseudonyms(tmp_path / "other").owner("x", 1) != first.owner("x", 1)
    monkeypatch.setenv("GEOLATENTS_SALT", file.read_text().strip())
    assert pseudonyms(tmp_path / "third").owner("x", 1) == first.owner("x", 1)
    assert not (tmp_path / "third").exists()


@pytest.mark.parametrize("where", ["variable", "file"])
def test_a_short_salt_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:  # fmt: skip
    monkeypatch.delenv("GEOLATENTS_SALT", raising=False)
    if where == "variable":
        monkeypatch.setenv("GEOLATENTS_SALT", "pepper")
    else:
        (tmp_path / "photos.salt").write_text("")
    with pytest.raises(ConfigError, match="too short"):
        pseudonyms(tmp_path)


def test_exclusions_are_names_and_never_account_numbers(tmp_path: Path) -> None:
    name = "0123456789abcdef01234567"
    file = tmp_path / "left-out.txt"
    file.write_text(f"# why\n\n {name} # by mail\n")
    assert read_exclusions(file) == {name}
    assert read_exclusions(None) == frozenset()
    file.write_text(f"{name}\n123456789\n")
    with pytest.raises(ConfigError, match="line 2"):
        read_exclusions(file)
    with pytest.raises(ConfigError, match="exclude"):
        read_exclusions(tmp_path / "absent.txt")


def test_the_limit_per_owner_keeps_the_same_photos_whatever_their_order() -> None:
    photos = [some_photo(f"{i:02d}", owner=f"owner{i % 2}") for i in range(10)]
    photos += [some_photo("zz", owner=None), some_photo("zy", owner=None)]
    kept = limited_per_owner(photos, 2)
    assert [photo.id for photo in kept] == ["00", "01", "02", "03", "zy", "zz"]
    assert limited_per_owner(reversed(photos), 2) == kept
    assert len(limited_per_owner(photos, None)) == 12


# ---- lists


def written(folder: Path, photos: list[Photo]) -> tuple[Path, dict[str, object]]:
    table, listing = folder / "photos.parquet", folder / "photos.json"
    write_photo_list(photos, "vk_photos", 10.0, {"radius": 800}, table, listing)
    return table, json.loads(listing.read_text())


def test_a_list_gives_back_the_photos_of_a_cell(tmp_path: Path) -> None:
    photos = [
        some_photo("b", width=640, height=480, digests={"sha1": "ff"}, author="Ada", page="https://x/1"),
        some_photo("a", owner=None, taken=None, variant="x"),
        some_photo("c", longitude=38.0),
    ]  # fmt: skip
    table, listing = written(tmp_path, photos)
    cell = cell_of(37.1, 55.1, 10)
    assert read_cell(table, cell) == [photos[1], photos[0]]
    assert read_cell(table, "n0000e00000") == []
    assert listing["photos"] == {cell: 2, cell_of(38.0, 55.1, 10): 1}
    assert listing["search"] == {"radius": 800}
    assert listing["table_sha256"] == sha256_file(table)
    frame = gpd.read_parquet(table)
    assert list(frame["id"]) == ["a", "b", "c"]
    assert frame.crs == "EPSG:4326"


def test_the_order_of_photos_does_not_matter_and_links_are_no_content(tmp_path: Path) -> None:
    photos = [some_photo(name, longitude=37 + i) for i, name in enumerate("abc")]
    table, first = written(tmp_path / "1", photos)
    again, second = written(tmp_path / "2", [photos[2], photos[0], photos[1], photos[2]])
    assert table.read_bytes() == again.read_bytes()
    assert first["cells"] == second["cells"]
    _, third = written(tmp_path / "3", [replace(photo, url="https://new") for photo in photos])
    assert third["cells"] == first["cells"]
    _, fourth = written(tmp_path / "4", [replace(photos[0], variant="y"), *photos[1:]])
    assert sum(fourth["cells"][cell] != first["cells"][cell] for cell in first["cells"]) == 1


def test_an_empty_list_and_a_damaged_table_are_errors(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="no photo"):
        written(tmp_path, [])
    table, _ = written(tmp_path, [some_photo()])
    table.write_bytes(b"nothing")
    with pytest.raises(FetchError, match="table of photos"):
        read_cell(table, "n0000e00000")


# ---- joined table


class Downloads:
    """Photos and maps as their downloads leave them."""

    def __init__(self, folder: Path, photos: list[Photo]) -> None:
        self.folder, self.photos = folder, photos
        self.table, _ = written(folder / "searches", photos)

    def file(self, path: str, grey: int) -> dict[str, object]:
        file = self.folder / "downloads" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (60, 40), grey).save(file)
        return {"path": f"downloads:{path}", "sha256": sha256_file(file), "bytes": file.stat().st_size, "width": 60, "height": 40}  # fmt: skip

    def photo_record(self, ids: list[str]) -> Path:
        entries = [{"id": name} | self.file(f"vk/{name}.jpg", i) for i, name in enumerate(ids)]
        return self.record("photos", {"photos": entries, "missing": []})

    def map_record(self, ids: list[str]) -> Path:
        geo = {"metres_per_pixel": 1.25, "layer": "sat", "zoom": 16, "crs": "EPSG:3395", "bounds": [1.0, 2.0, 3.0, 4.0]}  # fmt: skip
        entries = [{"id": name} | self.file(f"maps/{i}.png", i) | geo for i, name in enumerate(ids)]
        return self.record("maps", {"maps": entries, "missing": []})

    def record(self, name: str, values: dict[str, object]) -> Path:
        file = self.folder / f"{name}.json"
        write_json(file, {"cell": "n0000e00000", "provider": "x", **values})
        return file

    def join(self, photos: list[Path], maps: list[Path]) -> gpd.GeoDataFrame:
        out = self.folder / "results"
        join_photos(self.table, photos, maps, out / "photos", out / "maps", out / "all.parquet")
        return gpd.read_parquet(out / "all.parquet")


@pytest.fixture
def downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Downloads:
    monkeypatch.setenv("GEOLATENTS_DOWNLOADS", str(tmp_path / "downloads"))
    photos = [some_photo(name, author="Ada" if name == "b" else None) for name in "abcd"]
    return Downloads(tmp_path, photos)


def test_photos_and_maps_are_joined_by_id(downloads: Downloads) -> None:
    joined = downloads.join([downloads.photo_record(["c", "a", "b"])], [downloads.map_record(["b", "a"])])  # fmt: skip
    assert list(joined["id"]) == ["a", "b"], "c has no map, d no photo"
    row = joined.iloc[0]
    assert (row["map_width_m"], row["map_height_m"]) == (75.0, 50.0)
    assert (row["photo"], row["map"]) == ("a.jpg", "a.png")
    assert (row["width"], row["map_zoom"], row["map_layer"]) == (60, 16, "sat")
    assert row.geometry.equals(shapely.Point(37.1, 55.1))
    assert not {"url", "variant"} & set(joined)
    results = downloads.folder / "results"
    for column, folder in (("photo", "photos"), ("map", "maps")):
        files = {file.name for file in (results / folder).iterdir()}
        assert files == set(joined[column])
        for name, digest in zip(joined[column], joined[f"{column}_sha256"], strict=True):
            assert sha256_file(results / folder / name) == digest
    assert (results / "photos/a.jpg").stat().st_nlink == 2, "no second copy of the image"


def test_without_maps_photos_are_kept_and_the_folder_of_maps_is_empty(downloads: Downloads) -> None:
    joined = downloads.join([downloads.photo_record(["a", "b", "d"])], [])
    assert list(joined["id"]) == ["a", "b", "d"]
    assert not [name for name in joined if name.startswith("map")]
    assert not list((downloads.folder / "results/maps").iterdir())


def test_a_second_join_gives_the_same_bytes_and_drops_what_is_no_longer_listed(downloads: Downloads) -> None:  # fmt: skip
    downloads.join([downloads.photo_record(["a", "b"])], [])
    table = downloads.folder / "results/all.parquet"
    first = table.read_bytes()
    downloads.join([downloads.photo_record(["a", "b"])], [])
    assert table.read_bytes() == first
    downloads.join([downloads.photo_record(["a"])], [])
    assert [file.name for file in (downloads.folder / "results/photos").iterdir()] == ["a.jpg"]


def test_files_that_are_gone_and_empty_joins_are_errors(downloads: Downloads) -> None:
    record = downloads.photo_record(["a"])
    with pytest.raises(FetchError, match="no photo is left"):
        downloads.join([record], [downloads.map_record(["b"])])
    (downloads.folder / "downloads/vk/a.jpg").unlink()
    with pytest.raises(FetchError, match="gone"):
        downloads.join([record], [])
    with pytest.raises(FetchError, match="search does not"):
        downloads.join([downloads.photo_record(["a", "stranger"])], [])


# ---- VK


def test_months_become_intervals_without_overlap() -> None:
    warm = spans_of(date(2020, 4, 10), date(2021, 6, 15), [5, 6, 7])
    assert [(utc_text(start), utc_text(end)) for start, end in warm] == [
        ("2020-05-01T00:00:00Z", "2020-07-31T23:59:59Z"),
        ("2021-05-01T00:00:00Z", "2021-06-15T23:59:59Z"),
    ]
    whole = spans_of(date(2020, 1, 31), date(2021, 3, 1), list(range(1, 13)))
    assert [(utc_text(start), utc_text(end)) for start, end in whole] == [
        ("2020-01-31T00:00:00Z", "2021-03-01T23:59:59Z")
    ]
    with pytest.raises(ConfigError, match="month"):
        spans_of(date(2020, 1, 1), date(2020, 2, 1), [7])


def test_a_journal_is_for_one_process_and_goes_when_its_search_ends(tmp_path: Path) -> None:
    old = tmp_path / "0123.jsonl"
    old.write_text("")
    os.utime(old, (0, 0))
    with pytest.raises(KeyboardInterrupt), open_journal(tmp_path, "key") as journal:  # noqa: PT012
        journal.write("one", [some_photo("a")])
        journal.write("two", None)
        with pytest.raises(FetchError, match="another process"), open_journal(tmp_path, "key"):
            pass
        raise KeyboardInterrupt
    assert not old.exists(), "a search that nobody went on with is deleted after a week"
    file = tmp_path / "key.jsonl"
    whole = file.read_text()
    file.write_text(whole + '{"question": "three", "photos": [{"name": "of another version"}]}\n')
    with open_journal(tmp_path, "key") as journal:
        assert journal.photos == {"a": some_photo("a")}
        assert [journal.split(name) for name in ("one", "two", "three")] == [False, True, None]
        assert file.read_text() == whole
    assert not file.exists()


def sized(letter: str, width: int, height: int, **link: str) -> dict[str, object]:
    return {"type": letter, "width": width, "height": height} | (link or {"url": f"https://i/{letter}"})  # fmt: skip


@pytest.mark.parametrize(
    ("sizes", "letter"),
    [
        ([sized("z", 1080, 720), sized("m", 130, 87), sized("x", 604, 403)], "x"),
        ([sized("m", 130, 87), sized("x", 604, 403), sized("z", 300, 1080)], "x"),
        ([sized("m", 130, 87), sized("s", 75, 50)], "m"),
        ([sized("x", 0, 0), sized("y", 0, 0), sized("s", 0, 0)], "x"),
        ([sized("w", 0, 0), sized("m", 0, 0)], "w"),
        ([sized("r", 510, 510), sized("m", 130, 87)], "m"),
        ([sized("r", 510, 510), sized("q", 320, 213)], "r"),
        ([sized("y", 807, 538, src="https://old")], "y"),
        ([sized("x", 604, 403, url=""), sized("m", 130, 87)], "m"),
        ([], None),
    ],
)
def test_the_image_file_is_chosen_by_its_shorter_side(sizes: list[dict[str, object]], letter: str | None) -> None:  # fmt: skip
    found = chosen_size(sizes, 400)
    assert (found["type"] if found else None) == letter
    assert found == chosen_size(sizes[::-1], 400)


VALID = {"area": [37.0, 55.0, 37.4, 55.2], "dates": ["2021-01-01", "2021-03-31"]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"radius": 3019}, "10, 100, 800, 6000 or 50000"),
        ({"dates": ["2021-03-31", "2021-01-01"]}, "before they begin"),
        ({"months": [5, 5]}, "twice"),
        ({"months": [13]}, "12"),
        ({"months": []}, "at least 1"),
        ({"cell_km": 1}, "2"),
        ({"token": "x"}, "Extra"),
    ],
)
def test_wrong_settings_are_refused(change: dict[str, object], message: str) -> None:
    VkPhotos.model_validate({"provider": "vk_photos", "search": VALID})
    with pytest.raises(ValidationError, match=message):
        VkPhotos.model_validate({"provider": "vk_photos", "search": VALID | change})
