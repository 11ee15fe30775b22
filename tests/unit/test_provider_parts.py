"""What the providers share: tags and pixels of assembled scenes, refusals of ArcGIS, work on many items, clients."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine

from geolatents.acquire.arcgis import arcgis_refusal
from geolatents.acquire.assembled import scene_profile, scene_tags, strips
from geolatents.acquire.fetch.pool import in_pool
from geolatents.acquire.fetch.service import client_of
from geolatents.acquire.scene_list import SceneItem
from geolatents.files import content_key
from geolatents.geometry import degrees_geojson, only_polygons
from geolatents.settings.archives import ArchiveService
from geolatents.settings.services import Service
from tests.services.base import Answer, LocalService

SQUARE = shapely.geometry.mapping(shapely.box(33, 35, 34, 36))


@pytest.mark.parametrize(
    ("acquired", "tag"),
    [
        ("2022-01-25T07:55:09.676Z", "2022-01-25T07:55:09+00:00"),
        ("2014-06-01", "2014-06-01"),
        (None, None),
    ],
)
def test_an_assembled_scene_says_its_time_as_far_as_it_is_known(
    acquired: str | None, tag: str | None
) -> None:
    item = SceneItem(scene="scene", geometry=SQUARE, acquired=acquired, licence="mine")
    tags = scene_tags(item, OFFSET="0")
    assert (tags.get("ACQUIRED"), tags["LICENCE"], tags["OFFSET"]) == (tag, "mine", "0")


def test_strips_cover_every_row_once_and_read_back(tmp_path: Path) -> None:
    pixels = np.arange(2 * 1030 * 20, dtype=np.uint16).reshape(2, 1030, 20)
    profile = scene_profile(
        width=20, height=1030, count=2, dtype="uint16", crs="EPSG:32636", nodata=0,
        transform=Affine(10, 0, 500_000, 0, -10, 4_000_000),
    )  # fmt: skip
    windows = list(strips(20, 1030))
    assert [(window.row_off, window.height) for window in windows] == [(0, 512), (512, 512), (1024, 6)]  # fmt: skip
    with rasterio.open(tmp_path / "a.tif", "w", **profile) as target:
        for window in windows:
            target.write(pixels[:, window.row_off : window.row_off + window.height], window=window)
    with rasterio.open(tmp_path / "a.tif") as source:
        np.testing.assert_array_equal(source.read(), pixels)
        assert source.interleaving.value.lower() == "band"
        assert source.block_shapes == [(512, 512)] * 2


@pytest.mark.parametrize(
    ("error", "lasting", "access"),
    [
        ({"code": 400, "message": "no"}, True, False),
        ({"code": 429, "message": "slow down"}, False, False),
        ({"code": 500, "message": "no"}, False, False),
        ({"code": 499, "message": "Token Required"}, True, True),
        ({"message": "no", "details": ["no", "why"]}, False, False),
        ("no", False, False),
    ],
)
def test_refusals_of_arcgis_last_where_the_request_is_wrong(
    error: object, lasting: bool, access: bool
) -> None:
    refused = arcgis_refusal({"error": error})
    assert refused is not None
    assert (refused.lasting, refused.access) == (lasting, access)
    assert arcgis_refusal({"features": []}) is None
    assert arcgis_refusal([error]) is None


def test_a_refusal_says_each_thing_once() -> None:
    refused = arcgis_refusal({"error": {"code": 400, "message": "no", "details": ["no", "why"]}})
    assert refused is not None
    assert refused.text == "error 400: no; why"


def test_results_keep_the_order_of_items() -> None:
    second = threading.Event()

    def work(number: int) -> int:
        if number == 0:
            assert second.wait(10)  # the first one ends last
        second.set()
        return 10 * number

    assert in_pool(work, [0, 1, 2], 2, "numbers", "number") == [0, 10, 20]


def test_after_an_error_no_new_work_begins() -> None:
    begun: list[int] = []
    release = threading.Event()

    def work(number: int) -> None:
        begun.append(number)
        if number == 0:
            raise ValueError("no")
        release.wait(0.2)

    with pytest.raises(ValueError, match="no"):
        in_pool(work, list(range(200)), 2, "numbers", "number")
    assert len(begun) < 100


@pytest.mark.parametrize("named", [True, False])
def test_every_client_names_the_contact(tmp_path: Path, named: bool) -> None:
    local = LocalService()
    local.route("/a", lambda _call: Answer.json({}))
    contact = "you@example.org" if named else None
    with local.running() as echo:
        for service in (
            Service(url=echo.url, rate=1000, contact=contact),
            ArchiveService(rate=1000, contact=contact),
        ):
            client_of(service, "a service", tmp_path).json(f"{echo.url}/a")
    agents = [call.headers["user-agent"] for call in echo.calls]
    assert len(agents) == 2
    assert all(("you@example.org" in agent) == named for agent in agents)


def test_keys_of_equal_contents_are_equal() -> None:
    assert content_key({"a": 1, "b": [2]}) == content_key({"b": [2], "a": 1})
    assert content_key({"a": 1}) != content_key({"a": 2})
    assert len(content_key("x")) == 16


def test_only_polygons_stay_of_a_shape() -> None:
    one, two = shapely.box(0, 0, 1, 1), shapely.box(2, 0, 3, 1)
    line, inner = shapely.LineString([(5, 5), (6, 6)]), shapely.MultiPolygon([one, two])
    found = only_polygons(shapely.GeometryCollection([inner, line]))
    assert found is not None
    assert shapely.equals(found, inner)
    assert only_polygons(line) is None
    assert only_polygons(shapely.Polygon()) is None


def test_degrees_have_seven_decimals() -> None:
    point = degrees_geojson(shapely.Point(33.123456789, 35.0))
    assert point == {"type": "Point", "coordinates": [33.1234568, 35.0]}
