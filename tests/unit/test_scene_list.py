"""Lists that searches leave: what is kept, what is refused, and what the graph reads of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyogrio
import pytest
from pydantic import ValidationError

from geolatents.acquire.landcover.margin import widened
from geolatents.acquire.scene_list import (
    SceneItem,
    read_cells,
    read_scene_list,
    refuse_list,
    search_values,
    write_scene_list,
)
from geolatents.acquire.scenes import search_scenes
from geolatents.acquire.searches import Searches
from geolatents.errors import FetchError
from geolatents.files import write_json
from geolatents.settings.config import validate_config
from geolatents.settings.sentinel2 import Sentinel2Imagery

BOX = {"type": "Polygon", "coordinates": [[[33.0, 35.0], [33.1, 35.0], [33.1, 35.1], [33.0, 35.0]]]}
SEARCH = {"area": [33.0, 35.0, 33.2, 35.2], "dates": ["2023-06-01", "2023-06-30"]}


def imagery(**changes: Any) -> Sentinel2Imagery:
    return Sentinel2Imagery.model_validate({"provider": "sentinel2", "search": SEARCH} | changes)


def item(scene: str, **changes: Any) -> SceneItem:
    values = {"geometry": BOX, "acquired": "2023-06-01T08:00:00Z", "properties": {"id": scene}}
    return SceneItem.model_validate({"scene": scene} | values | changes)


@pytest.fixture
def listing(tmp_path: Path) -> Path:
    file = tmp_path / "cyprus.geojson"
    write_scene_list([item("scene-b"), item("scene-a")], search_values(imagery()), file)
    return file


def test_a_list_comes_back_sorted_and_whole(listing: Path) -> None:
    found = read_scene_list(listing, search_values(imagery()))
    assert list(found.scenes) == ["scene-a", "scene-b"]
    assert found.scenes["scene-b"] == item("scene-b")


def test_a_list_opens_in_gis(listing: Path) -> None:
    frame = pyogrio.read_dataframe(listing)
    assert len(frame) == 2
    assert frame.crs == "EPSG:4326"


def test_two_scenes_of_one_name_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="one name"):
        write_scene_list([item("scene-a")] * 2, {}, tmp_path / "list.geojson")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "acquired",
    [
        "2023-06-01T08:00:00Z",
        "2023-06-01T08:00:00.024567Z",
        "2023-06-01T08:00:00.024000Z",
        "2023-06-01T10:00:00.5+02:00",
    ],
)
def test_a_list_saved_by_gdal_is_the_same_list(acquired: str, tmp_path: Path) -> None:
    """QGIS rewrites times when a feature is deleted; the others must not be downloaded again."""
    ours, saved = tmp_path / "ours.geojson", tmp_path / "saved.geojson"
    write_scene_list([item("scene-a", acquired=acquired)], {}, ours)
    frame = pyogrio.read_dataframe(ours)
    pyogrio.write_dataframe(frame, saved, driver="GeoJSON")
    through_gdal = json.loads(saved.read_text())["features"][0]["properties"]["acquired"]
    assert item("scene-a", acquired=through_gdal).acquired == item("scene-a", acquired=acquired).acquired  # fmt: skip


def features(change: Callable[[list[dict[str, Any]]], object]) -> Callable[[dict[str, Any]], Any]:
    def damage(values: dict[str, Any]) -> Any:
        change(values["features"])
        return values

    return damage


DAMAGES = {
    "no JSON": lambda values: "{",
    "no object": lambda values: [],
    "no features": lambda values: {key: values[key] for key in ("search", "searched")},
    "no scene": features(lambda found: found.clear()),
    "a scene twice": features(lambda found: found.append(found[0])),
    "a bad name": features(lambda found: found[0].update(id="a/b")),
    "no geometry": features(lambda found: found[0].update(geometry=None)),
    "a point": features(lambda found: found[0].update(geometry={"type": "Point", "coordinates": [1, 2]})),
    "no entry": features(lambda found: found[0].update(properties=None)),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_list_is_refused_by_every_reader(
    name: str, listing: Path, tmp_path: Path
) -> None:
    damaged = DAMAGES[name](json.loads(listing.read_text()))
    listing.write_text(damaged if isinstance(damaged, str) else json.dumps(damaged))
    with pytest.raises(FetchError, match="delete the file and run `snakemake search`"):
        read_scene_list(listing)
    with pytest.raises(FetchError):
        refuse_list(listing, json.dumps(search_values(imagery())))
    config = validate_config(
        {
            "searches": str(tmp_path),
            "datasets": {"cyprus": {"imagery": {"provider": "sentinel2", "search": SEARCH}, "labels": {}}},
        }
    )  # fmt: skip
    assert Searches(config).missing == ["cyprus"]


@pytest.mark.parametrize(
    "other",
    [
        {"search": SEARCH | {"cloud_cover": 0.5}},
        {"service": {"catalogue": "planetary_computer"}},
    ],
)
def test_a_list_of_another_search_is_refused(other: dict[str, Any], listing: Path) -> None:
    with pytest.raises(FetchError, match="not of the search"):
        read_scene_list(listing, search_values(imagery(**other)))


def test_a_list_of_another_provider_is_refused(listing: Path) -> None:
    with pytest.raises(FetchError, match="not of the search"):
        read_scene_list(listing, search_values(imagery()) | {"provider": "planetscope"})


def test_the_check_never_succeeds_so_that_its_output_is_never_up_to_date(listing: Path) -> None:
    with pytest.raises(FetchError, match="run again"):
        refuse_list(listing, json.dumps(search_values(imagery())))


def test_patience_is_no_other_search() -> None:
    patient = {"timeout": 600, "workers": 1, "url": "http://127.0.0.1:1"}
    assert search_values(imagery(service=patient)) == search_values(imagery())


def test_an_area_file_counts_by_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEOLATENTS_DATA", str(tmp_path))
    (tmp_path / "area.geojson").write_text("one")
    before = search_values(imagery(search=SEARCH | {"area": "area.geojson"}))
    (tmp_path / "area.geojson").write_text("two")
    assert search_values(imagery(search=SEARCH | {"area": "area.geojson"})) != before


def test_a_new_list_keeps_the_old_one_beside(
    listing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Provider:
        @staticmethod
        def search(*_arguments: object) -> list[SceneItem]:
            return [item("scene-c")]

    monkeypatch.setattr("geolatents.acquire.scenes.provider_module", lambda _name: Provider)
    old = listing.read_text()
    search_scenes(imagery(), tmp_path, tmp_path, listing)
    assert list(read_scene_list(listing).scenes) == ["scene-c"]
    assert (tmp_path / "cyprus.previous.geojson").read_text() == old


def cells(folder: Path, **changes: Any) -> Path:
    file = folder / "views.json"
    values = {"search": {}, "searched": "2026-01-01", "cells": {"n3515e03287": "abc"}} | changes
    write_json(file, {key: value for key, value in values.items() if value is not None})
    return file


def test_cells_need_their_table(tmp_path: Path) -> None:
    file = cells(tmp_path)
    with pytest.raises(FetchError, match="table of photos beside the list is missing"):
        read_cells(file)
    (tmp_path / "views.parquet").touch()
    assert read_cells(file, {}) == {"n3515e03287": "abc"}


@pytest.mark.parametrize("wrong", [None, [], {"../../etc": "abc"}, {"n3515e03287": 3}])
def test_wrong_cells_are_refused(wrong: object, tmp_path: Path) -> None:
    (tmp_path / "views.parquet").touch()
    with pytest.raises(FetchError, match="no list as"):
        read_cells(cells(tmp_path, cells=wrong))


def test_a_scene_needs_a_polygon() -> None:
    with pytest.raises(ValidationError, match="polygon"):
        item("scene-a", geometry={"type": "Polygon", "coordinates": []})


def test_the_area_of_land_cover_holds_the_scenes_with_a_margin() -> None:
    west, south, east, north = widened(33.004, 35.004, 33.096, 35.096)
    assert (west, south, east, north) == (32.9, 34.9, 33.2, 35.2)
    assert widened(33.004, 35.004, 33.0961, 35.096) == [west, south, east, north]
