"""Sentinel-2 from catalogues that answer as Earth Search and the Planetary Computer do, over real sockets."""

from __future__ import annotations

import json
import logging
import resource
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
import pytest
import rasterio
import shapely
import yaml

from geolatents.acquire.fetch.fetcher import preview
from geolatents.acquire.files import SceneRecord
from geolatents.acquire.reader import open_image
from geolatents.acquire.record import build_record
from geolatents.acquire.scene_list import SceneItem
from geolatents.acquire.sentinel2 import read as sentinel2_read
from geolatents.acquire.sentinel2.offset import decide_offset
from geolatents.acquire.sentinel2.provider import assemble, download, planned, search
from geolatents.errors import AccessError, ConfigError, FetchError, SceneError
from geolatents.files import sha256_file
from geolatents.settings.base import section_values
from geolatents.settings.dataset import Dataset
from geolatents.settings.sentinel2 import Sentinel2Imagery
from tests.services.base import CLOSED, HTML_PAGE, Answer, Call, cut_after
from tests.services.stac import (
    BANDS,
    BARE,
    COLLECTION,
    VEGETATION,
    WATER,
    Granule,
    StacService,
    earth_search_item,
    planetary_computer_item,
)

DAY = "2023-07-01"
SQUARE = shapely.geometry.mapping(shapely.box(11.3, 46.4, 11.4, 46.5))
AREA_METRES = (3010.0, 4010.0, 5480.0, 5990.0)
"""Within the granule, from its lower left corner; on no grid."""

WINDOW = (483000.0, 3892000.0 - 40, 485520.0, 3894000.0)
"""The same, outward to 60 m from the upper left corner (480000, 3900000)."""


# ---- the places


@pytest.fixture(scope="module")
def granule() -> Granule:
    return Granule()


@pytest.fixture(scope="module")
def shifted(granule) -> dict[str, bytes]:
    """Files whose values are reflectance x 10000."""
    return granule.files(shifted=True)


@pytest.fixture(scope="module")
def unshifted(granule) -> dict[str, bytes]:
    """Files as ESA gives them since baseline 04.00: 1000 more."""
    return granule.files(shifted=False)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch) -> None:
    monkeypatch.setattr(sentinel2_read, "RETRY_DELAY", 0.02)


@pytest.fixture
def service() -> Iterator[StacService]:
    with StacService().running() as running:
        yield running


def imagery(catalogue: StacService, area: Any, **sections: Any) -> Sentinel2Imagery:
    """Settings; `search`, `product` and `service` are added to what tests need."""
    return Sentinel2Imagery.model_validate(
        {
            "provider": "sentinel2",
            "search": {"area": area, "dates": [DAY, DAY], **sections.pop("search", {})},
            "service": {
                "url": catalogue.root, "rate": 10000, "timeout": 5, "attempts": 3,
                **sections.pop("service", {}),
            },
            **sections,
        }
    )  # fmt: skip


class Place:
    """A dataset of one or more scenes in a folder of its own."""

    def __init__(self, settings: Sentinel2Imagery, folder: Path) -> None:
        self.settings, self.folder = settings, folder
        self.downloads = folder / "downloads"

    def search(self) -> list[SceneItem]:
        return search(self.settings, self.folder, self.downloads)

    def download(self, item: SceneItem | None = None) -> dict[str, Path]:
        item = item or self.search()[0]
        return download(item, self.settings.product, self.settings.service, self.downloads)

    def assemble(self, item: SceneItem | None = None) -> Path:
        item = item or self.search()[0]
        output = self.folder / f"{item.scene}.tif"
        assemble(item, self.download(item), self.settings.product, output)
        return output

    def manifest(self) -> list[dict[str, Any]]:
        text = (self.downloads / "sentinel2" / "manifest.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def one(service, granule, shifted, tmp_path) -> Callable[..., Place]:
    """A catalogue with one scene, and settings that find it."""

    def make(files: dict[str, bytes] = shifted, of: Granule = granule, item: Any = None, **sections: Any) -> Place:  # fmt: skip
        item = item or {}
        service.publish(earth_search_item(of, DAY, f"{service.url}/files/one", **item), files)
        return Place(imagery(service, of.degrees(*AREA_METRES), **sections), tmp_path)

    return make


@pytest.fixture
def signed(granule, unshifted, tmp_path) -> Callable[..., Any]:
    """The same of the Planetary Computer."""

    @contextmanager
    def make(token_seconds: float = 2700.0, **sections: Any) -> Iterator[tuple[StacService, Place]]:
        with StacService(tokens=True, token_seconds=token_seconds).running() as running:
            item = planetary_computer_item(granule, DAY, f"{running.url}/files/pc")
            running.publish(item, unshifted)
            sections["service"] = {
                "catalogue": "planetary_computer", "token_url": f"{running.url}/token",
                **sections.get("service", {}),
            }  # fmt: skip
            yield running, Place(imagery(running, granule.degrees(*AREA_METRES), **sections), tmp_path)  # fmt: skip

    return make


def truth(granule: Granule, name: str, size: int = 10) -> np.ndarray:
    """Pixels of a band under the window."""
    left, bottom, right, top = WINDOW
    rows = slice(round((granule.top - top) / size), round((granule.top - bottom) / size))
    columns = slice(round((left - granule.left) / size), round((right - granule.left) / size))
    return granule.truth[name][rows, columns]


def read(file: Path) -> np.ndarray:
    with rasterio.open(file) as source:
        return source.read()


def later(change: Callable[[Call, Answer], Answer | None], at: int, times: int = 1) -> Any:
    """A fault of the requests from number ``at`` on; to be given with many ``times``."""
    count = 0

    def faulty(call: Call, true: Answer) -> Answer | None:
        nonlocal count
        count += 1
        return change(call, true) if at <= count < at + times else true

    return faulty


# ---- search


@pytest.mark.parametrize("paging", ["whole", "merged", "get"])
def test_all_pages_are_followed_and_each_scene_is_found_once(paging, granule, tmp_path):
    with StacService(paging).running() as service:
        for sequence in range(230):
            service.publish(
                earth_search_item(granule, DAY, f"{service.url}/files/x", sequence=sequence)
            )
        settings = imagery(service, granule.degrees(*AREA_METRES), search={"limit": 230})
        found = Place(settings, tmp_path).search()
    assert len({item.scene for item in found}) == len(found) == 230
    assert [item.scene for item in found] == sorted(item.scene for item in found)
    pages = service.calls_to("/v1/search")
    assert len(pages) == 4  # 100, 100, 30 and the empty one
    assert [call.method for call in pages[1:]] == ["GET" if paging == "get" else "POST"] * 3


def test_the_service_filters_by_days_clouds_and_area(service, granule, tmp_path):
    def add(day: str, **values: Any) -> None:
        service.publish(earth_search_item(granule, day, f"{service.url}/files/x", **values))

    for day in ("2023-06-30", "2023-07-01", "2023-07-31", "2023-08-01"):
        add(day)
    add("2023-07-02", cloud_cover=20.0)
    add("2023-07-03", cloud_cover=20.1)
    far = shapely.affinity.translate(granule.outline, 3)
    add("2023-07-04", footprint=far)
    settings = imagery(
        service,
        granule.degrees(*AREA_METRES),
        search={"dates": [DAY, "2023-07-31"], "cloud_cover": 0.2},
    )
    found = Place(settings, tmp_path).search()
    assert [str(item.acquired)[:10] for item in found] == ["2023-07-01", "2023-07-02", "2023-07-31"]
    body = service.calls_to("/v1/search")[0].json
    assert body["collections"] == [COLLECTION]
    assert body["query"] == {"eo:cloud_cover": {"lte": 20.0}}
    assert service.calls_to("/v1/search")[-1].json["next"]


def test_a_catalogue_that_ignores_the_query_gives_no_cloudier_scenes(service, granule, tmp_path):
    for sequence, clouds in enumerate((10.0, 90.0)):
        files = f"{service.url}/files/x"
        service.publish(
            earth_search_item(granule, DAY, files, sequence=sequence, cloud_cover=clouds)
        )
    asked: list[Any] = []

    def unfiltered(call: Call, _true: Answer) -> Answer:
        asked.append(call.json.get("query"))
        return service.page({key: value for key, value in call.json.items() if key != "query"})

    service.fault("/v1/search", unfiltered, times=99)
    found = Place(imagery(service, granule.degrees(*AREA_METRES)), tmp_path).search()
    assert [item.properties["eo:cloud_cover"] for item in found] == [10.0]
    assert asked[0] == {"eo:cloud_cover": {"lte": 20.0}}


@pytest.mark.parametrize("code", [False, True])
def test_the_window_is_snapped_outward_to_60_m_whatever_the_version_of_the_item(one, code):
    (item,) = one(item={"code": code}).search()
    left, bottom, right, top = WINDOW
    assert item.properties["extent"] == [left, 3891960.0, right, top]
    assert bottom == 3891960.0
    assert item.properties["crs"] == "EPSG:32636"
    assert item.licence.endswith("contains modified Copernicus Sentinel data 2023")
    assert item.scene == "S2A_36SVD_20230701_0_L2A"
    outline = shapely.geometry.shape(item.geometry)
    assert outline.covers(shapely.box(*one().settings.search.area))
    assert item == SceneItem.parse(item.canonical())


def test_the_window_ends_where_the_granule_ends(service, granule, tmp_path):
    service.publish(earth_search_item(granule, DAY, f"{service.url}/files/x"))
    area = granule.degrees(-5000, 11000, 1000, 15000)
    (item,) = Place(imagery(service, area), tmp_path).search()
    left, bottom, right, top = item.properties["extent"]
    assert (left, top) == (granule.left, granule.top)
    assert (right, bottom) == (481020.0, 3898980.0)


def test_an_area_around_a_granule_takes_all_of_it_and_no_more(service, granule, tmp_path):
    service.publish(earth_search_item(granule, DAY, f"{service.url}/files/x"))
    (item,) = Place(imagery(service, [32, 34, 34, 36]), tmp_path).search()
    assert item.properties["extent"] == list(granule.bounds)
    assert item.properties["cover"] == 1.0


def test_several_polygons_give_the_window_of_their_bounds(service, granule, tmp_path):
    service.publish(earth_search_item(granule, DAY, f"{service.url}/files/x"))
    one, other = granule.degrees(600, 600, 1200, 1200), granule.degrees(6000, 6600, 6600, 7800)
    collection = {
        "type": "FeatureCollection",
        "features": [
            {"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(shapely.box(*box))}
            for box in (one, other)
        ],
    }  # fmt: skip
    (tmp_path / "area.geojson").write_text(json.dumps(collection))
    (item,) = Place(imagery(service, "area.geojson"), tmp_path).search()
    assert service.calls_to("/v1/search")[0].json["intersects"]["type"] == "MultiPolygon"
    left, bottom, right, top = item.properties["extent"]
    assert 480540 <= left <= 480600
    assert 486600 <= right <= 486660
    assert 3888540 <= bottom <= 3888600
    assert 3895800 <= top <= 3895860


def test_of_a_polygon_with_many_vertices_the_hull_is_sent_and_the_answers_are_filtered(
    service, granule, tmp_path
):
    around = shapely.box(*granule.degrees(0, 0, 12000, 12000))
    hole = around.centroid.buffer(0.02, quad_segs=400)
    inside = around.centroid.buffer(0.005)
    (tmp_path / "area.geojson").write_text(shapely.to_geojson(around - hole))
    service.publish(earth_search_item(granule, DAY, f"{service.url}/files/x", footprint=inside))
    service.publish(earth_search_item(granule, DAY, f"{service.url}/files/x", sequence=1))
    found = Place(imagery(service, "area.geojson"), tmp_path).search()
    sent = shapely.geometry.shape(service.calls_to("/v1/search")[0].json["intersects"])
    assert shapely.get_num_coordinates(sent) < 500
    assert sent.intersects(inside)
    assert [item.properties["id"] for item in found] == ["S2A_36SVD_20230701_1_L2A"]


def test_more_scenes_than_the_limit_are_an_error(service, granule, tmp_path):
    for sequence in range(3):
        service.publish(
            earth_search_item(granule, DAY, f"{service.url}/files/x", sequence=sequence)
        )
    settings = imagery(service, granule.degrees(*AREA_METRES), search={"limit": 2})
    with pytest.raises(FetchError, match="at most 2"):
        Place(settings, tmp_path).search()


def test_least_cloudy_picks_the_most_clear_ground_of_each_tile(service, granule, tmp_path):
    west, south, east, north = granule.degrees(*AREA_METRES)
    sliver = shapely.box(west - 0.1, south - 0.1, west + 0.1 * (east - west), north + 0.1)
    other = Granule(tile="36SWD")

    def add(of: Granule, sequence: int, clouds: float, **values: Any) -> None:
        service.publish(
            earth_search_item(
                of, DAY, f"{service.url}/files/x", sequence=sequence, cloud_cover=clouds, **values
            )
        )

    add(granule, 0, 15.0)
    add(granule, 1, 4.0)
    add(granule, 2, 0.0, footprint=sliver)
    add(other, 3, 18.0)
    area = [west, south, east, north]
    picked = Place(imagery(service, area, search={"pick": "least_cloudy", "limit": 2}), tmp_path)
    names = [item.properties["id"] for item in picked.search()]
    assert names == ["S2A_36SVD_20230701_1_L2A", "S2A_36SWD_20230701_3_L2A"]
    covered = Place(imagery(service, area, search={"min_cover": 0.5}), tmp_path).search()
    assert [item.properties["id"][-5] for item in covered] == ["0", "1", "3"]
    assert all(item.properties["cover"] == 1.0 for item in covered)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Answer.json({"code": "InternalServerError"}, 500), id="500"),
        pytest.param(Answer.json({}, 429, **{"Retry-After": "0"}), id="429"),
        pytest.param(HTML_PAGE, id="html"),
        pytest.param(Answer.json({"message": "busy"}), id="error-with-status-200"),
        pytest.param(cut_after(100), id="cut"),
        pytest.param(CLOSED, id="closed"),
    ],
)
def test_a_search_is_repeated_after_passing_faults(fault, one, service):
    place = one()
    service.fault("/v1/search", fault, times=2)
    assert len(place.search()) == 1


def test_what_the_catalogue_says_of_a_bad_request_is_told(one, service):
    place = one()
    told = Answer.json({"code": "BadRequest", "description": "Invalid bbox"}, 400)
    service.fault("/v1/search", told, times=99)
    with pytest.raises(FetchError, match="Invalid bbox"):
        place.search()
    assert len(service.calls_to("/v1/search")) == 1


@pytest.mark.parametrize("answer", [Answer.json({"hello": "world"}), Answer.json([1, 2])])
def test_an_address_that_is_no_stac_api_is_told(one, service, answer):
    place = one()
    service.fault("/v1/?", answer, times=99)
    with pytest.raises(FetchError, match=r"service\.url"):
        place.search()


def test_items_without_grid_or_files_by_http_are_left_out_with_a_warning(
    service, granule, tmp_path, caplog
):
    no_grid = earth_search_item(granule, DAY, f"{service.url}/files/x", sequence=1)
    for asset in no_grid["assets"].values():
        asset.pop("proj:transform", None)
    no_http = earth_search_item(granule, DAY, "s3://requester-pays", sequence=2)
    for item in (no_grid, no_http, earth_search_item(granule, DAY, f"{service.url}/files/x")):
        service.publish(item)
    with caplog.at_level(logging.WARNING, "geolatents"):
        found = Place(imagery(service, granule.degrees(*AREA_METRES)), tmp_path).search()
    assert [item.properties["id"] for item in found] == ["S2A_36SVD_20230701_0_L2A"]
    assert "S2A_36SVD_20230701_1_L2A is left out" in caplog.text
    assert "S2A_36SVD_20230701_2_L2A is left out" in caplog.text


# ---- download


def test_windows_are_the_truth_pixel_for_pixel_and_only_a_part_is_transferred(
    one, service, granule, shifted
):
    place = one()
    files = place.download()
    assert list(files) == ["blue", "green", "red", "nir", "scl"]
    for name, file in files.items():
        size = 20 if name == "scl" else 10
        np.testing.assert_array_equal(read(file)[0], truth(granule, name, size))
        with rasterio.open(file) as window:
            assert (window.bounds.left, window.bounds.top) == (WINDOW[0], WINDOW[3])
            assert window.crs.to_string() == "EPSG:32636"
            assert window.nodata == 0
    assert all(status == 206 for _, status, _ in service.sent)
    for path in {path for path, _, _ in service.sent}:
        transferred = sum(length for sent, _, length in service.sent if sent == path)
        if not path.endswith("SCL.tif"):  # which is smaller than one request
            assert transferred < len(service.files[path]) / 4
    asked = {call.path for call in service.calls}
    assert asked == {"/v1", "/v1/search", *service.files}, (
        "no folder and no file beside is asked for"
    )


def test_a_second_run_makes_no_request(one, service):
    place = one()
    (item,) = place.search()
    first = place.download(item)
    count = len(service.calls)
    assert place.download(item) == first
    assert len(service.calls) == count
    first["red"].unlink()
    place.download(item)
    assert {call.path for call in service.calls[count:]} == {"/files/one/B04.tif"}


def test_another_band_fetches_only_itself(one, service, tmp_path):
    place = one(product={"bands": ["red"]})
    (item,) = place.search()
    place.download(item)
    count = len(service.calls)
    more = place.settings.product.model_copy(update={"bands": ["nir", "red"]})
    files = download(item, more, place.settings.service, place.downloads)
    assert list(files) == ["nir", "red", "scl"]
    assert {call.path for call in service.calls[count:]} == {"/files/one/B08.tif"}


def test_the_manifest_says_what_was_fetched_from_where(one, service):
    place = one()
    files = place.download()
    rows = {row["band"]: row for row in place.manifest()}
    assert set(rows) == set(files)
    for name, row in rows.items():
        assert row["request"]["url"] == f"{service.url}/files/one/{BANDS[name][0]}.tif"
        assert row["sha256"] == sha256_file(files[name])
        assert row["bytes"] == files[name].stat().st_size
        assert row["extent"] == list(WINDOW)
        assert row["offset_applied"] is True
        assert row["licence"].endswith("contains modified Copernicus Sentinel data 2023")


def test_every_request_names_the_contact_those_of_gdal_too(one, service):
    one(service={"contact": "you@example.org"}).download()
    assert len(service.calls) > 10
    assert all("you@example.org" in call.headers["user-agent"] for call in service.calls)


def test_the_preview_counts_what_is_not_there(one, service):
    place = one()
    (item,) = place.search()
    items = planned(item, place.settings.product, place.settings.service)
    count = len(service.calls)
    before = preview(place.downloads, items)
    assert (before.items, before.there, before.unknown) == (5, 0, 0)
    assert 0.2e6 < before.bytes < 0.5e6  # 4 bands of 252 x 204 pixels
    assert len(service.calls) == count
    place.download(item)
    assert preview(place.downloads, items).there == 5


@pytest.mark.parametrize("at", [1, 2, 4, 5], ids=["probe", "size", "header", "block"])
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda _call, _true: Answer.text("busy", 500), id="500"),
        pytest.param(cut_after(3000), id="cut"),
        pytest.param(CLOSED, id="closed"),
        pytest.param(lambda _call, _true: HTML_PAGE, id="html"),
        pytest.param(lambda _call, true: Answer(206, true.body[:3000], true.headers), id="short"),
    ],
)
def test_a_window_is_the_truth_after_passing_faults(change, at, one, service, granule):
    place = one(product={"bands": ["red"]}, service={"attempts": 4, "workers": 1})
    (item,) = place.search()
    service.fault("/files/one/B04.tif", later(change, at, 2), times=999)
    np.testing.assert_array_equal(read(place.download(item)["red"])[0], truth(granule, "red"))


def test_a_file_that_stays_broken_is_an_error_and_leaves_nothing(one, service):
    place = one(product={"bands": ["red"]}, service={"attempts": 2})
    (item,) = place.search()
    short = later(lambda _call, true: Answer(206, true.body[:3000], true.headers), 2, 999)
    service.fault("/files/one/B04.tif", short, times=999)
    with pytest.raises(FetchError, match="GDAL cannot read the window"):
        place.download(item)
    assert not list(place.downloads.rglob("red*"))
    service.faults.clear()
    assert place.download(item)["red"].is_file()


def test_a_window_that_cannot_be_written_is_told_and_not_asked_for_again(one, service):
    place = one(product={"bands": ["red"]}, service={"workers": 1})
    (item,) = place.search()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limit[1]))
        with pytest.raises(FetchError, match="make room"):
            place.download(item)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert not list(place.downloads.rglob("red*"))
    assert len(service.calls_to(".*B04.tif")) <= 6
    assert place.download(item)["red"].is_file()


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        (None, FetchError, "NoSuchKey"),
        (Answer.text("<Error><Code>AccessDenied</Code></Error>", 403), AccessError, "AccessDenied"),
    ],
)
def test_a_file_that_is_refused_or_gone_fails_at_once(answer, error, said, one, service):
    place = one(product={"bands": ["red"]})
    (item,) = place.search()
    if answer is None:
        del service.files["/files/one/B04.tif"]
    else:
        service.fault("/files/one/B04.tif", answer, times=99)
    with pytest.raises(error, match=said):
        place.download(item)
    assert len(service.calls_to("/files/one/B04.tif")) == 1


def test_a_server_without_byte_ranges_is_told(one, service):
    place = one(product={"bands": ["red"]})
    (item,) = place.search()
    body = service.files["/files/one/B04.tif"]
    service.fault("/files/one/B04.tif", Answer(200, body), times=99)
    with pytest.raises(FetchError, match="does not give parts of files"):
        place.download(item)


@pytest.mark.parametrize("left", [486000.0, 480005.0])
def test_a_file_that_lies_elsewhere_than_the_catalogue_says_is_told(left, one, service):
    elsewhere = Granule(left=left, bands=("red", "scl")).files(shifted=True)
    place = one(product={"bands": ["red"]})
    (item,) = place.search()
    service.files["/files/one/B04.tif"] = elsewhere["red"]
    with pytest.raises(FetchError, match="not what the catalogue says"):
        place.download(item)


def test_a_silent_server_counts_as_failed(one, service):
    place = one(product={"bands": ["red"]}, service={"timeout": 1, "attempts": 1})
    (item,) = place.search()
    wait = threading.Event()

    def silent(_call: Call, _true: Answer) -> None:
        wait.wait(30)

    service.fault("/files/one/B04.tif", later(silent, 4, 9), times=99)
    start = time.monotonic()
    with pytest.raises(FetchError, match="GDAL cannot read"):
        place.download(item)
    assert time.monotonic() - start < 15
    wait.set()


# ---- the scene classification


def test_a_scene_without_classification_is_an_error_unless_it_may_be_unmasked(one, granule, caplog):
    bare = Granule(bands=("blue", "green", "red", "nir"))
    with caplog.at_level(logging.WARNING, "geolatents"):
        place = one(of=bare, files=bare.files(shifted=True))
        (item,) = place.search()
    assert "has no scl" in caplog.text
    with pytest.raises(FetchError, match="no scl"):
        place.download(item)
    settings = place.settings.model_copy(
        update={"product": place.settings.product.model_copy(update={"without_scl": "unmasked"})}
    )
    file = Place(settings, place.folder).assemble(item)
    bands = read(file)
    np.testing.assert_array_equal(bands[-1], np.where(bands[0] > 0, 7, 0))


def test_a_band_that_is_not_there_is_an_error(one):
    place = one(product={"bands": ["red", "swir16"]})
    with pytest.raises(FetchError, match="no swir16"):
        place.download()


# ---- assembled scenes


def test_an_assembled_scene_has_reflectance_and_classes_and_reads_on(one, granule, tmp_path):
    place = one()
    file = place.assemble()
    bands = read(file)
    for band, name in zip(bands, ("blue", "green", "red", "nir"), strict=False):
        np.testing.assert_array_equal(band, truth(granule, name))
    classes = np.kron(truth(granule, "scl", 20), np.ones((2, 2), np.uint8))
    np.testing.assert_array_equal(bands[4], classes)
    with rasterio.open(file) as source:
        assert source.descriptions == ("blue", "green", "red", "nir", "SCL")
        assert source.tags()["ACQUIRED"] == f"{DAY}T08:36:30+00:00"
        assert source.tags()["OFFSET"] == "0"
        assert source.nodata == 0
        assert source.block_shapes[0] == (512, 512)
    record = _record(file, place)
    assert record.bands == ["blue", "green", "red", "nir"]
    assert record.acquired == f"{DAY}T08:36:30+00:00"
    assert record.mask is not None
    assert record.mask.band_index == 5
    assert record.mask.usable == [2, 4, 5, 6, 7, 11]


def _record(file: Path, place: Place) -> SceneRecord:
    with open_image(file) as source:
        return build_record("scene", file, source, place.settings.assembled(), file)


def test_assembling_again_writes_the_same_bytes(one, tmp_path):
    place = one()
    (item,) = place.search()
    first = sha256_file(place.assemble(item))
    assert sha256_file(place.assemble(item)) == first


@pytest.mark.parametrize("resolution", [20, 60])
def test_bands_are_averaged_to_coarser_pixels_and_classes_by_majority(resolution, one, granule):
    place = one(product={"resolution": resolution, "bands": ["red"]})
    bands = read(place.assemble())
    fine = truth(granule, "red").astype(float)
    step = resolution // 10
    rows, columns = fine.shape[0] // step, fine.shape[1] // step
    mean = fine.reshape(rows, step, columns, step).mean(axis=(1, 3))
    assert bands.shape == (2, rows, columns)
    assert np.abs(bands[0] - mean).max() <= 0.5
    classes = truth(granule, "scl", 20)
    step = resolution // 20
    blocks = classes.reshape(rows, step, columns, step).swapaxes(1, 2).reshape(rows, columns, -1)
    counts = (blocks[..., None] == np.arange(12)).sum(axis=2)
    chosen = np.take_along_axis(counts, bands[1][..., None].astype(int), axis=2)[..., 0]
    np.testing.assert_array_equal(chosen, counts.max(axis=2))


def test_bands_of_20_and_60_m_are_brought_to_10_m_between_their_neighbours(one):
    mixed = Granule(bands=("coastal", "red", "swir16", "scl"))
    place = one(
        of=mixed,
        files=mixed.files(shifted=True),
        product={"bands": ["coastal", "red", "swir16"]},
    )
    bands = read(place.assemble())
    np.testing.assert_array_equal(bands[1], truth(mixed, "red"))
    for band, size in ((bands[0], 60), (bands[2], 20)):
        step = size // 10
        coarse = truth(mixed, "coastal" if size == 60 else "swir16", size).astype(int)
        centres = band[step // 2 :: step, step // 2 :: step].astype(int)
        nearer = np.abs(centres - coarse)
        assert np.median(nearer) < 0.1 * np.median(coarse)
        assert coarse.min() <= band.min() <= band.max() <= coarse.max()
    np.testing.assert_array_equal(bands[3][::2, ::2], truth(mixed, "scl", 20))


# ---- the offset


@pytest.mark.parametrize(
    ("applied", "baseline", "files", "offset"),
    [
        pytest.param(True, "05.09", "shifted", 0, id="applied"),
        pytest.param(False, "04.00", "unshifted", -1000, id="not-applied"),
        pytest.param(None, "05.09", "unshifted", -1000, id="no-flag"),
        pytest.param(False, "02.14", "shifted", 0, id="before-the-offset"),
        pytest.param(None, "03.01", "shifted", 0, id="before-without-flag"),
        pytest.param(False, "00.01", "shifted", 0, id="early-reprocessing"),
        pytest.param(False, "05.11", "shifted", 0, id="wrong-flag"),
        pytest.param(None, "05.11", "shifted", 0, id="no-flag-but-applied"),
    ],
)
def test_values_are_reflectance_whatever_the_catalogue_says(
    applied, baseline, files, offset, one, granule, request, caplog
):
    place = one(request.getfixturevalue(files), item={"applied": applied, "baseline": baseline})
    with caplog.at_level(logging.INFO, "geolatents"):
        file = place.assemble()
    bands = read(file)
    for band, name in zip(bands, ("blue", "green", "red", "nir"), strict=False):
        np.testing.assert_array_equal(band, truth(granule, name))
    with rasterio.open(file) as source:
        assert source.tags()["OFFSET"] == str(offset)
        reason = source.tags()["OFFSET_REASON"]
    assert reason in caplog.text
    wrong = baseline == "05.11"
    assert ("it is applied" in reason and "but" in reason) == wrong
    assert any(record.levelno == logging.WARNING for record in caplog.records) == wrong


def test_without_dark_ground_the_catalogue_is_taken_at_its_word(one):
    desert = Granule(classes=(BARE,))
    place = one(desert.files(shifted=False), of=desert, item={"applied": False})
    file = place.assemble()
    np.testing.assert_array_equal(read(file)[2], truth(desert, "red"))
    with rasterio.open(file) as source:
        assert "too few" in source.tags()["OFFSET_REASON"]


def test_a_few_shadows_below_the_offset_do_not_unmake_it(one):
    """Over water and in shadows reflectance may be negative, and stored values below 1000."""
    lake = Granule(classes=(WATER, VEGETATION))
    for name in ("blue", "green", "red", "nir"):
        lake.truth[name] = lake.truth[name].astype(np.int64)
    lake.truth["nir"][::8] = -400  # one row in eight
    place = one(lake.files(shifted=False), of=lake, item={"applied": False})
    bands = read(place.assemble())
    np.testing.assert_array_equal(bands[2], truth(lake, "red"))
    np.testing.assert_array_equal(bands[3], np.maximum(truth(lake, "nir"), 1))
    assert (bands[3] == 1).any(), "negative reflectance is cut at 1, not at the no-data value"


def test_no_data_stays_no_data(service, granule, unshifted, tmp_path):
    item = earth_search_item(granule, DAY, f"{service.url}/files/x", applied=False)
    service.publish(item, unshifted)
    settings = imagery(service, granule.degrees(10000, 100, 11900, 2000))
    bands = read(Place(settings, tmp_path).assemble())
    empty = bands[-1] == 0
    assert 0.2 < empty.mean() < 0.8
    assert (bands[:, empty] == 0).all()
    assert (bands[:, ~empty] > 0).all()


def test_the_user_may_know_better(one, granule, unshifted):
    place = one(unshifted, item={"applied": True}, product={"offset": -1000})
    np.testing.assert_array_equal(read(place.assemble())[0], truth(granule, "blue"))


def test_nothing_said_of_the_offset_is_an_error(one):
    place = one(item={"applied": None, "baseline": None})
    with pytest.raises(SceneError, match=r"product\.offset"):
        place.assemble()


def test_a_changed_flag_fetches_the_files_anew(one, service, granule, unshifted, shifted):
    """Earth Search replaced files in place when it applied the offset."""
    place = one(unshifted, item={"applied": False})
    (old,) = place.search()
    before = place.download(old)
    service.items.clear()
    service.publish(earth_search_item(granule, DAY, f"{service.url}/files/one"), shifted)
    (new,) = place.search()
    assert new.scene == old.scene
    assert place.download(new)["red"] != before["red"]
    np.testing.assert_array_equal(read(place.assemble(new))[0], truth(granule, "blue"))


# ---- the Planetary Computer


def test_files_of_the_planetary_computer_are_read_with_one_token_and_harmonized(signed, granule):
    with signed() as (service, place):
        file = place.assemble()
        assert len(service.calls_to("/token/.*")) == 1
    bands = read(file)
    for band, name in zip(bands, ("blue", "green", "red", "nir"), strict=False):
        np.testing.assert_array_equal(band, truth(granule, name))
    with rasterio.open(file) as source:
        assert source.tags()["OFFSET"] == "-1000"


def test_old_files_of_the_planetary_computer_have_no_offset(granule, shifted, tmp_path):
    with StacService(tokens=True).running() as service:
        item = planetary_computer_item(granule, DAY, f"{service.url}/files/pc", baseline="02.12")
        service.publish(item, shifted)
        where = {"catalogue": "planetary_computer", "token_url": f"{service.url}/token"}
        place = Place(imagery(service, granule.degrees(*AREA_METRES), service=where), tmp_path)
        np.testing.assert_array_equal(read(place.assemble())[0], truth(granule, "blue"))


def test_a_token_near_its_end_is_renewed(signed):
    with signed(token_seconds=30.0) as (service, place):  # the margin is a minute
        place.download()
        assert len(service.calls_to("/token/.*")) == 5


def test_a_refused_token_is_renewed_also_in_the_middle_of_a_file(signed, granule):
    with signed(product={"bands": ["red"]}, service={"workers": 1}) as (service, place):
        (item,) = place.search()

        def revoke(_call: Call, true: Answer) -> Answer:
            service.revoke_tokens()
            return true

        service.fault(".*B04.*", later(revoke, 4), times=99)
        files = place.download(item)
        assert len(service.calls_to("/token/.*")) == 2
    np.testing.assert_array_equal(read(files["red"])[0] - 1000, truth(granule, "red"))


def test_tokens_that_are_never_accepted_are_an_error_soon(signed):
    with signed(token_seconds=-60.0, product={"bands": ["red"]}, service={"workers": 1}) as (service, place):  # fmt: skip
        with pytest.raises(AccessError, match="AuthenticationFailed"):
            place.download()
        assert len(service.calls_to(".*B04.*")) == 2


def test_an_unknown_collection_has_no_token(signed):
    with signed() as (_, place):
        (item,) = place.search()
        other = item.model_copy(update={"properties": item.properties | {"collection": "other"}})
        with pytest.raises(FetchError, match="No collection found"):
            place.download(other)


def test_tokens_are_found_nowhere(signed, caplog):
    """Also where GDAL repeats the address, in messages and errors."""
    caplog.set_level(logging.DEBUG)
    logging.getLogger("urllib3").setLevel(logging.INFO)
    with signed(service={"attempts": 2, "workers": 1}) as (service, place):
        (item,) = place.search()
        service.fault(".*B02.*", later(lambda _c, _t: Answer.text("busy", 500), 4), times=99)
        place.assemble(item)
        service.fault(".*B03.*", Answer.text("busy", 500), times=99)
        failed = Place(place.settings, place.folder / "other")
        short = later(lambda _c, t: Answer(206, t.body[:50], t.headers), 2, 999)
        service.fault(".*B04.*", short, times=999)
        messages = []
        for name in ("green", "red"):
            product = place.settings.product.model_copy(update={"bands": [name]})
            with pytest.raises(FetchError) as caught:
                download(item, product, place.settings.service, failed.downloads)
            messages.append(str(caught.value))
        assert "Retrying again" in caplog.text, "GDAL's own messages are among them"
        assert service.secrets
        assert "sp=rl" not in caplog.text, "not even the rest of a token"
        written = [path.read_bytes() for path in place.folder.rglob("*") if path.is_file()]
        for secret in service.secrets:
            assert secret not in caplog.text
            assert not any(secret in message for message in messages)
            assert secret not in item.canonical()
            assert not any(secret.encode() in content for content in written)


# ---- settings


def test_the_section_survives_its_canonical_text_and_knows_its_catalogues():
    values = {
        "provider": "sentinel2",
        "search": {"area": [33, 34, 34, 35], "dates": [DAY, DAY]},
        "service": {"catalogue": "planetary_computer"},
    }
    settings = Sentinel2Imagery.model_validate(values)
    assert settings.service.url.startswith("https://planetarycomputer")
    assert Sentinel2Imagery.parse(settings.canonical()) == settings
    assert section_values(settings.service.canonical())["catalogue"] == "planetary_computer"
    del values["service"]
    assert "earth-search" in Sentinel2Imagery.model_validate(values).service.url


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"search": {"dates": ["2023-08-01", DAY]}}, "2023-08-01"),
        ({"search": {"cloud_cover": 20}}, "less than or equal to 1"),
        ({"product": {"bands": ["red", "red"]}}, "twice"),
        ({"product": {"bands": ["B04"]}}, "red"),
        ({"product": {"offset": 1000}}, "-1000"),
        ({"product": {"without_scl": "unmasked"}, "usable": [4, 5]}, "not among `usable`"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(change, said):
    values: dict[str, Any] = {
        "provider": "sentinel2",
        "search": {"area": [33, 34, 34, 35], "dates": [DAY, DAY]},
    }
    for key, value in change.items():
        values[key] = {**values.get(key, {}), **value} if isinstance(value, dict) else value
    with pytest.raises(pydantic.ValidationError, match=said):
        Sentinel2Imagery.model_validate(values)


def test_a_missing_area_file_is_an_error(service, tmp_path):
    with pytest.raises(ConfigError, match="area"):
        Place(imagery(service, "nowhere.gpkg"), tmp_path).search()


@pytest.mark.real_data
@pytest.mark.parametrize(("added", "offset"), [(0, 0), (1000, -1000)])
def test_real_pixels_tell_a_wrong_flag(added, offset, data_folder, tmp_path):
    """Bolzano, of a baseline without offset; 1000 more is as ESA gives it since."""
    files = {}
    with rasterio.open(data_folder / "bolzano/S2_L2A_sample.tif") as source:
        for index, name in enumerate(("blue", "green", "red", "nir", "scl"), 1):
            pixels = source.read(index)
            if name != "scl":
                pixels = np.where(pixels == 0, 0, pixels + added).astype(np.uint16)
            files[name] = tmp_path / f"{name}.tif"
            with rasterio.open(files[name], "w", **(source.profile | {"count": 1})) as target:
                target.write(pixels, 1)
    said = {"offset_applied": False, "baseline": "05.11", "catalogue": "earth_search"}
    item = SceneItem(scene="bolzano", geometry=SQUARE, properties=said)
    decision = decide_offset(item, files, "auto")
    assert decision.offset == offset
    assert decision.contradicts == (offset == 0)


def test_the_configurations_of_the_docs_are_valid():
    text = (Path(__file__).parents[2] / "docs/providers/sentinel2.md").read_text()
    blocks = [yaml.safe_load(part.split("```")[0]) for part in text.split("```yaml")[1:]]
    assert len(blocks) == 2
    for block in blocks:
        for dataset in block["datasets"].values():
            Dataset.model_validate(dataset)
