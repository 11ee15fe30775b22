"""PlanetScope against an imitation of Planet's APIs, over real sockets."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from pydantic import ValidationError
from rasterio.io import MemoryFile
from rasterio.warp import transform_bounds

from geolatents.acquire.fetch.fetcher import preview
from geolatents.acquire.planetscope.provider import assemble, download, planned, search
from geolatents.acquire.reader import open_scene
from geolatents.acquire.record import build_record
from geolatents.acquire.scene_list import SceneItem
from geolatents.errors import AccessError, ConfigError, FetchError, SceneError
from geolatents.files import write_json
from geolatents.settings.planetscope import (
    PlanetScopeImagery,
    PlanetScopeProduct,
    PlanetScopeService,
)
from tests.services.base import CLOSED, HTML_PAGE, Answer, LocalService, cut_after
from tests.services.planet import QUOTA, TOO_MANY, PlanetService, Storage, scene

ROOT = Path(__file__).resolve().parents[2]
CRS = "EPSG:32636"
WEST, NORTH = 500_000.0, 3_870_000.0
SIZE = (30, 40)
"""Rows and columns of 3 m."""

FIRST, SECOND, THIRD, EIGHT = "20220125_075509_67_1061", "20220126_075511_17_1061", "20220301_080000_1_2450", "20220127_080101_22_2450"  # fmt: skip
WHOLE = PlanetScopeProduct(clip=False)
ASSETS = PlanetScopeProduct(delivery="assets", clip=False)
ORDERS = r"/compute/ops/orders/v2"
ORDER = rf"{ORDERS}/[\w-]+"


def geotiff(pixels, east=0.0, north=0.0, names=None, **profile):
    """A GeoTIFF of (band, y, x) in memory, shifted by metres."""
    count, height, width = pixels.shape
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff", crs=CRS, count=count, height=height, width=width, dtype=pixels.dtype,
            transform=Affine(3.0, 0.0, WEST + east, 0.0, -3.0, NORTH + north), **profile,
        ) as target:  # fmt: skip
            target.write(pixels)
            if names:
                target.descriptions = names
        return bytes(memory.read())


def made(acquired, bands=4, seed=0, east=0.0, **properties):
    random = np.random.default_rng(seed)
    reflectance = random.integers(1, 6000, (bands, *SIZE)).astype(np.uint16)
    udm2 = np.zeros((8, *SIZE), np.uint8)
    udm2[0] = random.integers(0, 2, SIZE)
    return scene(geotiff(reflectance, east, nodata=0), geotiff(udm2, east), acquired, **properties)


def scenes():
    """Two scenes of January side by side, one of March, one with 8 bands."""
    return {
        FIRST: made("2022-01-25T07:55:09.676173Z", seed=1),
        SECOND: made("2022-01-26T07:55:11.17Z", seed=2, east=60.0, cloud_cover=0.3, instrument="PS2"),
        THIRD: made("2022-03-01T08:00:00Z", seed=3, quality_category="test"),
        EIGHT: made("2022-01-27T08:01:01Z", bands=8, seed=4, instrument="PSB.SD"),
    }  # fmt: skip


def area_of(east, north, width, height):
    """Degrees of a box in metres from the north-west corner."""
    left, top = WEST + east, NORTH - north
    return transform_bounds(CRS, "EPSG:4326", left, top - height, left + width, top)


EVERYWHERE = area_of(-600, -600, 2000, 2000)
INSIDE = area_of(30, 30, 45, 30)


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setattr("geolatents.acquire.fetch.http.BACKOFF", 0.01)
    monkeypatch.setenv("PL_API_KEY", "PLAK0123456789abcdef")
    monkeypatch.setenv("NETRC", "/nowhere")


@pytest.fixture
def planet():
    with PlanetService(scenes()).running() as service:
        yield service


def service_of(planet, **settings):
    quick = {"rate": 1000, "poll_interval": 0.01, "time_limit": 5, "attempts": 4, "timeout": 5}
    return PlanetScopeService(url=planet.url, **(quick | settings))


def imagery_of(planet, product=WHOLE, area=EVERYWHERE, **searched):
    wanted = {"area": area, "dates": ["2022-01-01", "2022-12-31"], "cloud_cover": 1.0}
    return PlanetScopeImagery(
        provider="planetscope",
        search=wanted | searched,
        product=product,
        service=service_of(planet),
    )


def found(planet, tmp_path, **settings):
    return search(imagery_of(planet, **settings), tmp_path, tmp_path / "downloads")


def first_item(planet, tmp_path, **settings):
    items = found(planet, tmp_path, **settings)
    planet.calls.clear()
    return next(item for item in items if item.scene == FIRST)


def fetched(planet, item, tmp_path, product=WHOLE, **settings):
    return download(item, product, service_of(planet, **settings), tmp_path / "downloads")


def names(items):
    return [item.scene for item in items]


def creations(planet):
    return [call for call in planet.calls_to(ORDERS) if call.method == "POST"]


# ---- search


def test_search_evaluates_every_filter(planet, tmp_path):
    standard = ["standard"]
    assert names(found(planet, tmp_path)) == [FIRST, SECOND]
    assert names(found(planet, tmp_path, quality=["standard", "test"])) == [FIRST, SECOND, THIRD]
    assert (
        names(found(planet, tmp_path, quality=["test"], dates=["2022-01-01", "2022-02-28"])) == []
    )
    assert names(found(planet, tmp_path, cloud_cover=0.29, quality=standard)) == [FIRST]
    assert names(found(planet, tmp_path, instruments=["PS2"])) == [SECOND]
    assert names(found(planet, tmp_path, product=PlanetScopeProduct(bands=8))) == [EIGHT]
    assert names(found(planet, tmp_path, area=area_of(130, 0, 30, 30))) == [SECOND]
    reflectance, _, properties, footprint = planet.scenes[FIRST]
    planet.scenes[FIRST] = (reflectance, b"", properties, footprint)  # older scenes have no UDM2
    assert names(found(planet, tmp_path)) == [SECOND]


def test_the_last_day_belongs_to_the_search(planet, tmp_path):
    assert names(found(planet, tmp_path, dates=["2022-01-26", "2022-01-26"])) == [SECOND]
    assert names(found(planet, tmp_path, dates=["2022-01-25", "2022-01-25"])) == [FIRST]


def test_an_area_beside_a_footprint_finds_nothing(planet, tmp_path):
    assert names(found(planet, tmp_path, area=area_of(-300, 0, 200, 200))) == []


@pytest.mark.parametrize("empty", [False, True])
def test_search_follows_all_pages_also_empty_ones(tmp_path, empty):
    many = {f"20220125_0755{n:02}_00_1061": made("2022-01-25T07:55:09Z") for n in range(7)}
    with PlanetService(many, page_size=2, empty_pages=empty).running() as planet:
        assert names(found(planet, tmp_path)) == sorted(many)
        assert len(planet.calls_to(r"/data/v1/searches/.*")) == (6 if empty else 3)


def test_a_last_page_whose_next_link_is_null_ends_the_search(planet, tmp_path):
    def null_next(_call, true):
        page = json.loads(true.body)
        page["_links"]["_next"] = None
        return Answer.json(page)

    planet.fault(r"/data/v1/quick-search", null_next)
    assert names(found(planet, tmp_path)) == [FIRST, SECOND]


def test_pages_in_a_circle_are_an_error(planet, tmp_path):
    page = {"_links": {"_next": f"{planet.url}/circle"}, "features": []}
    planet.route("/circle", lambda _call: Answer.json(page))
    planet.fault(r"/data/v1/quick-search", Answer.json(page))
    with pytest.raises(FetchError, match="circle"):
        found(planet, tmp_path)
    assert len(planet.calls) == 2


def test_an_item_holds_what_download_and_assemble_need(planet, tmp_path):
    item = first_item(planet, tmp_path, area=INSIDE)
    assert SceneItem.parse(item.canonical()) == item
    assert item.acquired == "2022-01-25T07:55:09.676Z"
    assert item.properties["instrument"] == "PS2.SD"
    clip = shapely.geometry.shape(item.properties["clip"])
    assert clip.symmetric_difference(shapely.box(*INSIDE)).area < 1e-10
    assert clip.exterior.is_ccw  # RFC 7946


def test_a_wider_search_changes_no_item_that_was_within_it(planet, tmp_path):
    narrow = found(planet, tmp_path, dates=["2022-01-25", "2022-01-25"])
    wider = area_of(-5000, -5000, 12000, 12000)
    wide = found(planet, tmp_path, area=wider, quality=["standard", "test"])
    assert {item.scene: item for item in wide}[FIRST] == narrow[0]


def test_scenes_that_may_not_be_downloaded_are_left_out_unless_wanted(planet, tmp_path):
    planet.forbidden = {SECOND}
    assert names(found(planet, tmp_path)) == [FIRST]
    assert names(found(planet, tmp_path, downloadable=False)) == [FIRST, SECOND]


def circle_file(tmp_path, bounds):
    """An area file with more vertices than Planet takes."""
    west, south, east, north = bounds
    middle = shapely.Point((west + east) / 2, (south + north) / 2)
    circle = middle.buffer((east - west) / 2, quad_segs=1000)
    feature = {"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(circle)}
    write_json(tmp_path / "area.geojson", {"type": "FeatureCollection", "features": [feature]})
    return "area.geojson"


def test_an_area_with_very_many_vertices_is_searched_by_its_box(planet, tmp_path):
    assert names(found(planet, tmp_path, area=circle_file(tmp_path, EVERYWHERE))) == [FIRST, SECOND]
    filters = planet.calls[0].json["filter"]["config"]
    (sent,) = [f["config"] for f in filters if f["type"] == "GeometryFilter"]
    assert len(sent["coordinates"][0]) == 5


def test_an_area_with_very_many_vertices_cannot_be_clipped_to(planet, tmp_path):
    area = circle_file(tmp_path, INSIDE)
    with pytest.raises(ConfigError, match="too many vertices"):
        found(planet, tmp_path, area=area, product=PlanetScopeProduct())
    assert names(found(planet, tmp_path, area=area)) == [FIRST, SECOND]


# ---- access


def test_without_a_key_nothing_is_asked(planet, tmp_path, monkeypatch):
    monkeypatch.delenv("PL_API_KEY")
    with pytest.raises(AccessError, match="PL_API_KEY"):
        found(planet, tmp_path)
    assert planet.calls == []


def test_a_refused_key_fails_at_once_and_says_what_to_do(planet, tmp_path, monkeypatch):
    monkeypatch.setenv("PL_API_KEY", "PLAKwrongwrongwrong")
    with pytest.raises(
        AccessError, match=r"Please enter your API key[\s\S]*set PL_API_KEY"
    ) as error:
        found(planet, tmp_path)
    assert len(planet.calls) == 1
    assert "PLAKwrongwrongwrong" not in str(error.value)


def test_the_key_may_come_from_a_netrc_file(planet, tmp_path, monkeypatch):
    monkeypatch.delenv("PL_API_KEY")
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login planet password {planet.key}\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    assert names(found(planet, tmp_path)) == [FIRST, SECOND]


def test_no_request_leaves_to_another_host(planet, tmp_path, monkeypatch):
    """Also not by the SDK, which would ask a fixed address for the bundle specification."""
    connect, asked = socket.socket.connect, set()

    def watched(self, address):
        asked.add(address[0])
        assert address[0] == "127.0.0.1", address
        return connect(self, address)

    def refuse(host, *_arguments, **_options):
        asked.add(host)
        raise socket.gaierror(f"no look-up of {host}")

    real = socket.getaddrinfo
    monkeypatch.setattr(socket.socket, "connect", watched)
    monkeypatch.setattr(
        socket, "getaddrinfo",
        lambda host, *a, **k: real(host, *a, **k) if host == "127.0.0.1" else refuse(host),
    )  # fmt: skip
    item = first_item(planet, tmp_path, product=PlanetScopeProduct(harmonize=True))
    fetched(planet, item, tmp_path, PlanetScopeProduct(harmonize=True))
    fetched(planet, item, tmp_path, ASSETS)
    assert asked == {"127.0.0.1"}


def test_a_link_to_another_host_does_not_get_the_key(planet, tmp_path):
    with LocalService().running() as other:

        def elsewhere(_call, true):
            return Answer.json(
                json.loads(true.body.replace(planet.url.encode(), other.url.encode()))
            )

        planet.page_size = 1
        planet.fault(r"/data/v1/quick-search", elsewhere)
        with pytest.raises(FetchError, match="another host"):
            found(planet, tmp_path)
        planet.fault(r".*/assets", elsewhere)
        item = first_item(planet, tmp_path)
        with pytest.raises(FetchError, match="another host"):
            fetched(planet, item, tmp_path, ASSETS)
        assert other.calls == []


# ---- orders


def test_an_order_delivers_checked_files_under_planets_names(planet, tmp_path):
    item = first_item(planet, tmp_path)
    files = fetched(planet, item, tmp_path)
    assert {role: file.name for role, file in files.items()} == {
        "reflectance": f"{FIRST}_3B_AnalyticMS_SR.tif",
        "udm2": f"{FIRST}_3B_udm2.tif",
        "metadata": f"{FIRST}_3B_AnalyticMS_metadata.xml",
    }
    assert files["reflectance"].read_bytes() == scenes()[FIRST][0]
    assert files["udm2"].read_bytes() == scenes()[FIRST][1]
    (created,) = creations(planet)
    assert created.json["products"] == [
        {"item_ids": [FIRST], "item_type": "PSScene", "product_bundle": "analytic_sr_udm2"}
    ]
    assert created.json["source_type"] == "scenes"
    assert "tools" not in created.json
    assert created.headers["authorization"] == f"api-key {planet.key}"


def test_a_second_download_makes_no_request_and_needs_no_key(planet, tmp_path, monkeypatch):
    item = first_item(planet, tmp_path)
    before = fetched(planet, item, tmp_path)
    planet.calls.clear()
    monkeypatch.delenv("PL_API_KEY")
    assert fetched(planet, item, tmp_path) == before
    assert planet.calls == []


def test_another_address_of_the_service_orders_nothing_again(planet, tmp_path):
    item = first_item(planet, tmp_path)
    fetched(planet, item, tmp_path)
    with PlanetService(scenes()).running() as mirror:
        fetched(mirror, item, tmp_path)
        assert mirror.calls == []


def test_clip_and_harmonize_are_ordered_in_this_order(planet, tmp_path):
    product = PlanetScopeProduct(harmonize=True)
    item = first_item(planet, tmp_path, product=product, area=INSIDE)
    files = fetched(planet, item, tmp_path, product)
    tools = creations(planet)[0].json["tools"]
    assert tools == [
        {"harmonize": {"target_sensor": "Sentinel-2"}},
        {"clip": {"aoi": item.properties["clip"]}},
    ]
    assert files["reflectance"].name == f"{FIRST}_3B_AnalyticMS_SR_harmonized_clip.tif"
    with rasterio.open(files["reflectance"]) as image:
        assert image.width < SIZE[1]
        assert image.height < SIZE[0]


def test_eight_bands_have_a_bundle_of_their_own(planet, tmp_path):
    product = PlanetScopeProduct(bands=8, clip=False)
    (item,) = found(planet, tmp_path, product=product)
    files = fetched(planet, item, tmp_path, product)
    assert creations(planet)[0].json["products"][0]["product_bundle"] == "analytic_8b_sr_udm2"
    assert files["reflectance"].name == f"{EIGHT}_3B_AnalyticMS_SR_8b.tif"
    assert files["metadata"].name == f"{EIGHT}_3B_AnalyticMS_8b_metadata.xml"


@pytest.mark.parametrize("clip", [True, False])
def test_files_are_found_by_name_where_the_manifest_has_no_annotations(planet, tmp_path, clip):
    planet.annotated = False
    product = PlanetScopeProduct(clip=clip)
    item = first_item(planet, tmp_path, product=product)
    assert set(fetched(planet, item, tmp_path, product)) == {"reflectance", "udm2", "metadata"}


def test_results_that_grow_while_the_order_runs_are_not_taken_for_all(planet, tmp_path):
    planet.polls = 6
    item = first_item(planet, tmp_path)
    fetched(planet, item, tmp_path)
    (order,) = planet.orders.values()
    assert order.polls >= 6
    assert len(planet.calls_to(r"/storage/.*")) == 4  # three files and the manifest, each once


def test_storage_on_another_host_is_not_given_the_key(tmp_path):
    with (
        Storage().running() as storage,
        PlanetService(scenes(), storage=storage).running() as planet,
    ):
        storage.planet = planet
        item = first_item(planet, tmp_path)
        fetched(planet, item, tmp_path)
        fetched(planet, item, tmp_path / "b", ASSETS)
        assert len(storage.calls) == 7
        calls = [*storage.calls, *planet.calls_to(r".*/download/?")]
        assert not any("authorization" in call.headers for call in calls)


def test_an_order_that_takes_too_long_goes_on_at_the_next_run(planet, tmp_path):
    planet.polls = None
    item = first_item(planet, tmp_path)
    with pytest.raises(FetchError, match=r"in time[\s\S]*same order"):
        fetched(planet, item, tmp_path, time_limit=0.05)
    planet.polls = 3
    fetched(planet, item, tmp_path)
    (created,) = creations(planet)
    assert planet.calls_to(ORDERS)[-1] == created  # its kept id was enough, no order was looked for


def test_a_killed_run_goes_on_with_its_order(planet, tmp_path):
    planet.polls = None
    item = first_item(planet, tmp_path)
    program = (
        "import sys; from pathlib import Path\n"
        "from geolatents.acquire.planetscope.provider import download\n"
        "from geolatents.acquire.scene_list import SceneItem\n"
        "from geolatents.settings.planetscope import PlanetScopeProduct, PlanetScopeService\n"
        "download(SceneItem.parse(sys.argv[1]), PlanetScopeProduct(clip=False),"
        " PlanetScopeService.parse(sys.argv[2]), Path(sys.argv[3]))\n"
    )
    arguments = [item.canonical(), service_of(planet, time_limit=60).canonical(), str(tmp_path / "downloads")]  # fmt: skip
    run = subprocess.Popen([sys.executable, "-c", program, *arguments], cwd=ROOT)
    try:
        _until(lambda: len(planet.calls_to(ORDER)) > 3)
    finally:
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
    planet.polls = 0
    files = fetched(planet, item, tmp_path)
    assert files["udm2"].read_bytes() == scenes()[FIRST][1]
    assert len(creations(planet)) == 1


def test_an_order_whose_answer_was_lost_is_found_by_its_name(planet, tmp_path):
    item = first_item(planet, tmp_path)
    lost = [True]

    def lose(call, true):
        return lost.pop() and None if call.method == "POST" and lost else true

    planet.fault(ORDERS, lose, times=10)
    fetched(planet, item, tmp_path)
    assert len(creations(planet)) == 1
    assert len(planet.orders) == 1


def test_an_order_is_found_by_its_name_where_its_file_was_lost(planet, tmp_path):
    item = first_item(planet, tmp_path)
    files = fetched(planet, item, tmp_path)
    (kept,) = files["udm2"].parent.glob("order.json")
    for damage in (kept.unlink, lambda: kept.write_text("{")):
        damage()
        files["udm2"].unlink()
        fetched(planet, item, tmp_path)
        assert json.loads(kept.read_text())["id"] in planet.orders
    assert len(creations(planet)) == 1


def test_two_runs_at_once_place_one_order(planet, tmp_path):
    item = first_item(planet, tmp_path)
    errors = []

    def run():
        try:
            fetched(planet, item, tmp_path)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(creations(planet)) == 1


def test_a_lost_file_is_downloaded_again_from_its_order(planet, tmp_path):
    item = first_item(planet, tmp_path)
    files = fetched(planet, item, tmp_path)
    files["reflectance"].unlink()
    planet.calls.clear()
    fetched(planet, item, tmp_path)
    assert creations(planet) == []
    assert len(planet.calls_to(r"/storage/.*")) == 1


def test_an_order_whose_files_are_gone_is_placed_anew(planet, tmp_path):
    item = first_item(planet, tmp_path)
    files = fetched(planet, item, tmp_path)
    files["reflectance"].unlink()
    planet.gone = set(planet.orders)
    fetched(planet, item, tmp_path)
    assert len(creations(planet)) == 2


def test_an_order_that_planet_does_not_know_is_placed_anew(planet, tmp_path):
    planet.polls = None
    item = first_item(planet, tmp_path)
    with pytest.raises(FetchError, match="in time"):
        fetched(planet, item, tmp_path, time_limit=0.02)
    planet.orders.clear()
    planet.polls = 1
    fetched(planet, item, tmp_path)
    assert len(creations(planet)) == 2


def test_a_failed_order_says_why_and_is_placed_anew_by_the_next_run(planet, tmp_path):
    item = first_item(planet, tmp_path)
    planet.failing = {FIRST: ["clip: AOI does not intersect the item", "nothing was delivered"]}
    with pytest.raises(FetchError, match=r"failed[\s\S]*does not intersect the item; nothing"):
        fetched(planet, item, tmp_path)
    planet.failing = {}
    fetched(planet, item, tmp_path)
    assert len(creations(planet)) == 2


@pytest.mark.parametrize("state", ["partial", "cancelled"])
def test_a_partial_or_cancelled_order_is_an_error_with_its_hints(planet, tmp_path, state):
    planet.polls = 0

    def change(_call, true):
        order = json.loads(true.body)
        return Answer.json(order | {"state": state, "error_hints": ["no access to ortho_udm2"]})

    item = first_item(planet, tmp_path)
    planet.fault(ORDER, change, times=2)
    with pytest.raises(FetchError, match=rf"{state}[\s\S]*no access to ortho_udm2"):
        fetched(planet, item, tmp_path)


def test_a_refused_order_shows_what_planet_says(planet, tmp_path):
    item = first_item(planet, tmp_path).model_copy(update={"scene": "20990101_000000_00_0000"})
    with pytest.raises(FetchError, match=r"400[\s\S]*Item ID 20990101_000000_00_0000"):
        fetched(planet, item, tmp_path)
    assert len(creations(planet)) == 1


def test_an_order_without_one_of_the_files_names_it(planet, tmp_path):
    item = first_item(planet, tmp_path)
    planet.polls = 0
    real = planet._manifest
    planet._manifest = lambda files: real({k: v for k, v in files.items() if "udm2" not in k})
    with pytest.raises(FetchError, match=r"lacks a file[\s\S]*ortho_udm2"):
        fetched(planet, item, tmp_path)


# ---- rates and faults


def test_errors_of_the_service_are_repeated(planet, tmp_path):
    item = first_item(planet, tmp_path)
    for status in (500, 503, 504):
        planet.fault(ORDER, Answer.text("busy", status))
    planet.fault(ORDERS, lambda call, true: Answer.text("busy", 503) if call.method == "POST" else true, times=2)  # fmt: skip
    fetched(planet, item, tmp_path)
    # The order of the answer 503 did arrive: it was looked for before the next attempt.
    assert len(planet.orders) == 1


def test_retry_after_is_respected(planet, tmp_path):
    later = Answer(429, TOO_MANY.body, TOO_MANY.headers | {"Retry-After": "1"})
    planet.fault(r"/data/v1/quick-search", later)
    start = time.monotonic()
    assert names(found(planet, tmp_path)) == [FIRST, SECOND]
    assert time.monotonic() - start >= 1
    item = first_item(planet, tmp_path)
    planet.fault(ORDER, Answer(429, TOO_MANY.body, TOO_MANY.headers | {"Retry-After": "0"}), 2)
    planet.fault(ORDERS, Answer(429, TOO_MANY.body, dict(TOO_MANY.headers)))
    fetched(planet, item, tmp_path)


@pytest.mark.parametrize(
    ("product", "where"),
    [(WHOLE, ORDERS), (ASSETS, r".*/activate"), (ASSETS, r"/data/v1/download"), (WHOLE, r"/storage/.*")],
)  # fmt: skip
def test_an_exhausted_quota_is_not_asked_again(planet, tmp_path, product, where):
    item = first_item(planet, tmp_path)

    def exhausted(call, true):
        listing = where == ORDERS and call.method == "GET"
        return true if listing else Answer(429, QUOTA.body, dict(QUOTA.headers))

    planet.fault(where, exhausted, times=100)
    with pytest.raises(AccessError, match=r"quota is exhausted[\s\S]*has been exceeded"):
        fetched(planet, item, tmp_path, product)
    if where == ORDERS:
        assert len(creations(planet)) == 1
    else:
        assert len(planet.calls_to(where)) <= 3  # at most once for each file


def test_an_expired_address_is_renewed(planet, tmp_path):
    item = first_item(planet, tmp_path)
    expired = Answer.json({"message": "token is expired", "errors": []}, 401)
    for number, product in enumerate((WHOLE, ASSETS)):
        planet.calls.clear()
        planet.fault(r".*/download/?", expired)
        fetched(planet, item, tmp_path / str(number), product)
        used = [call.query["token"] for call in planet.calls_to(r".*/download/?")]
        assert len(set(used)) == len(used)  # the refused address was not asked again


def test_addresses_that_expire_between_order_and_download_are_renewed(planet, tmp_path):
    item = first_item(planet, tmp_path)

    def expire(_call, true):
        for token, (_, file, name) in list(planet.tokens.items()):
            planet.tokens[token] = (0.0, file, name)
        return true

    planet.fault(r"/storage/.*", expire, times=1)  # after the manifest, all other addresses are old
    assert fetched(planet, item, tmp_path)["udm2"].read_bytes() == scenes()[FIRST][1]


def test_a_cut_download_goes_on_where_it_was(planet, tmp_path):
    planet.scenes = dict(planet.scenes)
    item = first_item(planet, tmp_path)
    planet.fault(r"/storage/.*", lambda call, true: true)
    planet.fault(r"/storage/.*", cut_after(1000), times=1)
    fetched(planet, item, tmp_path, workers=1)
    ranges = [call.headers.get("range") for call in planet.calls_to(r"/storage/.*")]
    assert "bytes=1000-" in ranges


def test_a_wrong_checksum_leaves_no_file(planet, tmp_path):
    item = first_item(planet, tmp_path)

    def changed(_call, true):
        true.body = true.body[:-1] + bytes([true.body[-1] ^ 1])
        return true

    for product in (WHOLE, ASSETS):
        root = tmp_path / product.delivery
        planet.fault(r"/storage/.*", lambda call, true: true)  # the manifest, or the first asset
        planet.fault(r"/storage/.*", changed, times=10)
        with pytest.raises(FetchError, match="checksum"):
            fetched(planet, item, root, product, workers=1)
        assert not list(root.rglob("*udm2.tif"))
        planet.faults.clear()


def test_a_page_of_html_is_no_file(planet, tmp_path):
    item = first_item(planet, tmp_path)
    planet.fault(r"/storage/.*", Answer(200, HTML_PAGE.body, dict(HTML_PAGE.headers)))
    files = fetched(planet, item, tmp_path, workers=1)
    assert json.loads(next(files["udm2"].parent.glob("*_manifest.json")).read_text())["files"]


def test_a_closed_connection_is_asked_again(planet, tmp_path):
    planet.fault(r"/data/v1/quick-search", CLOSED)
    assert names(found(planet, tmp_path)) == [FIRST, SECOND]


# ---- assets


def test_assets_are_activated_followed_and_checked(planet, tmp_path):
    item = first_item(planet, tmp_path)
    files = fetched(planet, item, tmp_path, ASSETS)
    assert files["reflectance"].read_bytes() == scenes()[FIRST][0]
    assert len(planet.calls_to(r".*/activate")) == 3
    rows = [json.loads(line) for line in (tmp_path / "downloads/planetscope/manifest.jsonl").open()]
    assert {row["md5"] for row in rows} == {
        hashlib.md5(file.read_bytes()).hexdigest() for file in files.values()
    }
    planet.calls.clear()
    fetched(planet, item, tmp_path, ASSETS)
    assert planet.calls == []


def test_a_scene_without_permission_says_so(planet, tmp_path):
    item = first_item(planet, tmp_path)
    planet.forbidden = {FIRST}
    with pytest.raises(AccessError, match="may not download"):
        fetched(planet, item, tmp_path, ASSETS)
    with pytest.raises(FetchError, match="no access to assets"):
        fetched(planet, item, tmp_path, WHOLE)


def test_an_asset_without_permission_says_so(planet, tmp_path):
    def bare(_call, true):
        assets = json.loads(true.body)
        assets["ortho_udm2"]["_permissions"] = []
        return Answer.json(assets)

    item = first_item(planet, tmp_path)
    planet.fault(r".*/assets", bare)
    with pytest.raises(AccessError, match="ortho_udm2"):
        fetched(planet, item, tmp_path, ASSETS)


def test_a_missing_asset_names_those_that_there_are(planet, tmp_path):
    item = first_item(planet, tmp_path)
    with pytest.raises(FetchError, match=r"ortho_analytic_8b_sr[\s\S]*ortho_analytic_4b_sr"):
        fetched(planet, item, tmp_path, ASSETS.model_copy(update={"bands": 8}))


def test_an_activation_that_never_ends_says_that_it_goes_on(planet, tmp_path):
    item = first_item(planet, tmp_path)
    planet.polls = None
    with pytest.raises(FetchError, match=r"in time[\s\S]*goes on"):
        fetched(planet, item, tmp_path, ASSETS, time_limit=0.05)
    planet.polls = 1
    planet.calls.clear()
    fetched(planet, item, tmp_path, ASSETS)
    assert planet.calls_to(r".*/activate") == []


def test_an_unknown_item_is_an_error_of_ours(planet, tmp_path):
    item = first_item(planet, tmp_path).model_copy(update={"scene": "20990101_000000_00_0000"})
    with pytest.raises(FetchError, match="does not know"):
        fetched(planet, item, tmp_path, ASSETS)


# ---- secrets, preview


def test_key_and_tokens_are_written_nowhere(planet, tmp_path, caplog):
    for name in ("geolatents", "planet", "httpx", "asyncio"):
        caplog.set_level(logging.DEBUG, name)
    item = first_item(planet, tmp_path)
    planet.fault(ORDER, Answer.text("busy", 503))
    planet.fault(r".*/download/?", Answer.text("busy", 503))
    fetched(planet, item, tmp_path)
    fetched(planet, item, tmp_path, ASSETS)
    planet.fault(r".*/download/?", Answer.text("gone for good", 400), times=100)
    with pytest.raises(FetchError) as error:
        fetched(planet, item, tmp_path / "c", WHOLE)
    texts = [file.read_bytes().decode("latin-1") for file in tmp_path.rglob("*") if file.is_file()]
    assert len(planet.tokens) > 6
    for text in [*texts, caplog.text, str(error.value), item.canonical()]:
        assert planet.key not in text
        assert not any(token in text for token in planet.tokens)
        assert "signature=" not in text


def test_what_would_be_fetched_is_known_without_a_request(planet, tmp_path):
    item = first_item(planet, tmp_path)
    items = planned(item, WHOLE, service_of(planet))
    shown = preview(tmp_path / "downloads", items)
    assert (shown.items, shown.there, shown.unknown) == (3, 0, 0)
    pixels = SIZE[0] * SIZE[1]
    assert items[0].estimate == pytest.approx(pixels * 4 * 2, rel=0.01)
    clipped = first_item(planet, tmp_path, area=INSIDE)
    part = planned(clipped, PlanetScopeProduct(), service_of(planet))[0].estimate
    assert part == pytest.approx(45 * 30 / 9 * 4 * 2, rel=0.05)
    planet.calls.clear()
    fetched(planet, item, tmp_path)
    assert preview(tmp_path / "downloads", items).there == 3


# ---- assemble


def assembled(planet, tmp_path, product=WHOLE, name="scene.tif", **settings):
    items = found(planet, tmp_path, product=product, **settings)
    item = items[0]
    files = fetched(planet, item, tmp_path, product)
    assemble(item, files, product, tmp_path / name)
    return item, files, tmp_path / name


def test_an_assembled_scene_has_named_bands_and_its_mask(planet, tmp_path):
    _, files, output = assembled(planet, tmp_path)
    with rasterio.open(output) as image, rasterio.open(files["reflectance"]) as source:
        assert image.descriptions == ("blue", "green", "red", "nir", "clear")
        assert set(image.dtypes) == {"uint16"}
        assert image.nodata == 0
        assert image.tags()["ACQUIRED"] == "2022-01-25T07:55:09+00:00"
        assert (image.crs, image.transform) == (source.crs, source.transform)
        assert image.block_shapes[0] == (512, 512)
        np.testing.assert_array_equal(image.read([1, 2, 3, 4]), source.read())
        with rasterio.open(files["udm2"]) as udm2:
            np.testing.assert_array_equal(image.read(5), udm2.read(1))


def test_eight_bands_are_named(planet, tmp_path):
    product = PlanetScopeProduct(bands=8)
    _, _, output = assembled(planet, tmp_path, product)
    with rasterio.open(output) as image:
        assert image.descriptions == (
            "coastal_blue", "blue", "green_i", "green", "yellow", "red", "rededge", "nir", "clear",
        )  # fmt: skip


def test_an_assembled_scene_is_read_with_its_mask(planet, tmp_path):
    product = PlanetScopeProduct()
    _, files, output = assembled(planet, tmp_path, product, area=INSIDE)
    settings = imagery_of(planet).assembled()
    with rasterio.open(output) as source:
        record = build_record("scene", output, source, settings, tmp_path / "record.json")
    write_json(tmp_path / "record.json", record.model_dump(mode="json"))
    assert record.bands == ["blue", "green", "red", "nir"]
    assert record.acquired == "2022-01-25T07:55:09+00:00"
    assert "Planet" in record.licence
    with open_scene(tmp_path / "record.json") as reader, rasterio.open(files["udm2"]) as udm2:
        _, usable = reader.read(slice(0, udm2.height), slice(0, udm2.width))
        np.testing.assert_array_equal(usable, udm2.read(1) == 1)


def test_the_same_files_give_the_same_bytes(planet, tmp_path):
    item, files, output = assembled(planet, tmp_path)
    assemble(item, files, WHOLE, tmp_path / "again.tif")
    assert output.read_bytes() == (tmp_path / "again.tif").read_bytes()


@pytest.mark.parametrize(
    ("role", "body", "message"),
    [
        ("udm2", geotiff(np.ones((8, 29, 40), np.uint8)), "40 x 29 pixels"),
        ("udm2", geotiff(np.ones((8, 30, 40), np.uint8), east=3.0), "500003.00"),
        ("reflectance", geotiff(np.ones((8, 30, 40), np.uint16)), "8 bands of uint16"),
        ("reflectance", geotiff(np.ones((4, 30, 40), np.float32)), "4 bands of float32"),
        ("reflectance", geotiff(np.ones((4, 30, 40), np.uint16), nodata=7), "no-data"),
        ("reflectance", b"no image", "decoded"),
    ],
)
def test_files_that_do_not_fit_are_refused(planet, tmp_path, role, body, message):
    item, files, output = assembled(planet, tmp_path)
    other = tmp_path / "other.tif"
    other.write_bytes(body)
    output.unlink()
    with pytest.raises(SceneError, match=message) as error:
        assemble(item, files | {role: other}, WHOLE, output)
    assert str(other) in str(error.value)
    assert not output.exists()


def test_a_mask_of_another_shape_names_both_files(planet, tmp_path):
    item, files, output = assembled(planet, tmp_path)
    other = tmp_path / "other_udm2.tif"
    other.write_bytes(geotiff(np.ones((8, 10, 10), np.uint8)))
    with pytest.raises(SceneError) as error:
        assemble(item, files | {"udm2": other}, WHOLE, output)
    for part in (str(other), files["reflectance"].name, "10 x 10 pixels", "40 x 30 pixels"):
        assert part in str(error.value)


# ---- settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"product": {"delivery": "assets"}}, "`clip` can only be ordered"),
        ({"product": {"delivery": "assets", "harmonize": True}}, "`clip` and `harmonize`"),
        ({"product": {"bands": 8}, "search": {"instruments": ["PS2"]}}, "needs `PSB.SD`"),
        ({"search": {"dates": ["2022-01-01", "2021-12-31"]}}, "before they begin"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, message):
    searched = {"area": [33, 34, 34, 35], "dates": ["2022-01-01", "2022-02-01"]}
    values = {"provider": "planetscope"} | settings
    values["search"] = searched | settings.get("search", {})
    with pytest.raises(ValidationError, match=message):
        PlanetScopeImagery.model_validate(values)


def _until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)
