"""Map images for photos from the Yandex Static API, against an imitation of its published documentation."""

import hashlib
import io
import json
import logging
import time

import numpy as np
import pyproj
import pytest
from PIL import Image
from pydantic import ValidationError

from geolatents.acquire.fetch.fetcher import preview
from geolatents.acquire.photos.table import Photo, read_cell, write_photo_list
from geolatents.acquire.yandex_static import (
    download_maps,
    map_bounds,
    metres_per_pixel,
    planned,
)
from geolatents.errors import AccessError, FetchError
from geolatents.settings.yandex_static import YandexStatic
from tests.services.base import CLOSED, HTML_PAGE, Answer, cut_after
from tests.services.yandex import Yandex, drawn

KEY = "6b1f0c52-secret-of-the-test"
V1, OLD = r"/v1", r"/1\.x/"


def settings(service, workers=4, **options):
    return YandexStatic.model_validate(
        {
            "provider": "yandex_static",
            "accept_terms": True,
            "size": (200, 150),
            "service": {"url": service.url, "rate": 1000, "attempts": 3, "workers": workers},
            **options,
        }
    )


def photo(name, longitude, latitude):
    return Photo(name, "commons_photos", longitude, latitude, "http://127.0.0.1/x.jpg", "CC0")


PHOTOS = [photo("P1", 33.1, 34.9), photo("P2", 33.11, 34.91), photo("P3", 33.1, 34.9)]


class Run:
    """Downloads of one cell in a folder."""

    def __init__(self, folder, photos):
        self.folder, self.downloads = folder, folder / "downloads"
        self.table, self.record = folder / "photos.parquet", folder / "maps.json"
        write_photo_list(photos, "commons_photos", 1000, {}, self.table, folder / "photos.json")
        [self.cell] = json.loads((folder / "photos.json").read_text())["cells"]

    def __call__(self, service, **options):
        download_maps(
            self.cell, self.table, settings(service, **options), self.downloads, self.record
        )
        return json.loads(self.record.read_text())

    def image(self, entry):
        return self.downloads / entry["path"].removeprefix("downloads:")


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("GEOLATENTS_DOWNLOADS", str(tmp_path / "downloads"))
    monkeypatch.setenv("YANDEX_STATIC_KEY", KEY)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    return Run(tmp_path, PHOTOS)


# ---- the ground


def test_ground_size_of_a_pixel():
    assert metres_per_pixel(0, 17) == pytest.approx(1.19433, abs=5e-6)
    assert metres_per_pixel(35, 17) == pytest.approx(0.97942, abs=5e-6)
    assert metres_per_pixel(-35, 16) == pytest.approx(2 * metres_per_pixel(35, 17))


@pytest.mark.parametrize("latitude", [-60.0, 0.0, 35.0, 55.75, 80.0])
def test_ground_size_agrees_with_geodesics_both_ways(latitude):
    left, bottom, right, top = map_bounds(33.0, latitude, 15, 100, 100)
    to_degrees = pyproj.Transformer.from_crs("EPSG:3395", "EPSG:4326", always_xy=True)
    x, y = (left + right) / 2, (bottom + top) / 2
    geod = pyproj.Geod(ellps="WGS84")
    west, east = to_degrees.transform(left, y), to_degrees.transform(right, y)
    south, north = to_degrees.transform(x, bottom), to_degrees.transform(x, top)
    for one, other in ((west, east), (south, north)):
        length = geod.inv(*one, *other)[2]
        assert length / 100 == pytest.approx(metres_per_pixel(latitude, 15), rel=1e-5)


def test_bounds_are_those_of_the_ellipsoidal_mercator_projection():
    left, bottom, right, top = map_bounds(33.0, 35.0, 17, 256, 128)
    assert ((left + right) / 2, (bottom + top) / 2) == pytest.approx(
        pyproj.Transformer.from_crs(4326, 3395, always_xy=True).transform(33.0, 35.0)
    )
    assert right - left == pytest.approx(40_075_016.68557849 / 2**17)
    assert top - bottom == pytest.approx((right - left) / 2)
    spherical = pyproj.Transformer.from_crs(4326, 3857, always_xy=True).transform(33.0, 35.0)
    assert spherical[1] - (bottom + top) / 2 == pytest.approx(24_508, abs=1)


# ---- downloads


def test_every_photo_gets_the_map_of_its_position(run):
    with Yandex(KEY).running() as service:
        record = run(service)
    assert (record["cell"], record["provider"], record["missing"]) == (run.cell, "yandex_static", [])  # fmt: skip
    assert [entry["id"] for entry in record["maps"]] == ["P1", "P2", "P3"]
    for entry, place in zip(record["maps"], PHOTOS, strict=True):
        body = run.image(entry).read_bytes()
        assert body == drawn((place.longitude, place.latitude), (200, 150), "PNG")
        assert entry["path"].startswith("downloads:yandex_static/")
        assert (entry["sha256"], entry["bytes"]) == (hashlib.sha256(body).hexdigest(), len(body))
        assert (entry["width"], entry["height"], entry["zoom"]) == (200, 150, 17)
        assert (entry["layer"], entry["crs"]) == ("map", "EPSG:3395")
        assert entry["metres_per_pixel"] == pytest.approx(metres_per_pixel(place.latitude, 17), abs=1e-6)  # fmt: skip
        bounds = map_bounds(place.longitude, place.latitude, 17, 200, 150)
        assert entry["bounds"] == pytest.approx(bounds, abs=1e-3)
    assert len(service.calls) == 2  # P1 and P3 were taken at one place
    for call in service.calls:
        assert call.query.keys() == {"ll", "z", "size", "lang", "apikey"}
        assert call.query["ll"] in {"33.100000,34.900000", "33.110000,34.910000"}


def test_a_second_run_makes_no_request_and_needs_no_key(run, monkeypatch):
    with Yandex(KEY).running() as service:
        items = planned(read_cell(run.table, run.cell), settings(service))
        assert preview(run.downloads, items).requests == 2
        record = run(service)
        service.calls.clear()
        monkeypatch.delenv("YANDEX_STATIC_KEY")
        assert run(service) == record
        assert service.calls == []
        assert preview(run.downloads, items).requests == 0


def test_the_old_form_gives_satellite_images_with_and_without_a_key(run, monkeypatch):
    with Yandex(KEY).running() as service:
        record = run(service, form="1.x", layer="sat")
        assert {call.query["key"] for call in service.calls_to(OLD)} == {KEY}
        monkeypatch.delenv("YANDEX_STATIC_KEY")
        service.calls.clear()
        run(service, form="1.x", layer="sat,skl", zoom=16)
        assert [sorted(call.query) for call in service.calls] == [["l", "lang", "ll", "size", "z"]] * 2  # fmt: skip
    with Image.open(run.image(record["maps"][0])) as image:
        assert image.format == "JPEG"
    assert run.image(record["maps"][0]).suffix == ".jpg"
    assert record["maps"][0]["layer"] == "sat"


def test_places_without_imagery_are_missing(run):
    with Yandex(KEY, bare=((33.105, 34.9, 33.2, 35.0),)).running() as service:
        record = run(service, form="1.x", layer="sat")
        assert [entry["id"] for entry in record["maps"]] == ["P1", "P3"]
        assert record["missing"] == [{"id": "P2", "reason": "no imagery"}]
        service.calls.clear()
        assert run(service, form="1.x", layer="sat") == record
        assert service.calls == []


@pytest.mark.parametrize("colour", [(40, 70, 90), (235, 235, 235)])
def test_lakes_and_snow_from_above_are_no_missing_imagery(run, colour):
    seen = np.random.default_rng(0).normal(colour, 2, (150, 200, 3)).clip(0, 255)
    stream = io.BytesIO()
    Image.fromarray(seen.astype(np.uint8)).save(stream, "JPEG")
    with Yandex(KEY).running() as service:
        service.fault(OLD, Answer(200, stream.getvalue(), {"Content-Type": "image/jpeg"}), times=2)
        assert run(service, form="1.x", layer="sat")["missing"] == []


def test_a_road_map_of_empty_land_is_no_missing_imagery(run):
    with Yandex(KEY, plain=((33.0, 34.0, 34.0, 35.0),)).running() as service:
        assert run(service)["missing"] == []


def test_known_placeholders_are_missing_imagery_on_any_layer(run):
    placeholder = drawn((0, 0), (200, 150), "PNG")
    known = hashlib.sha256(placeholder).hexdigest()
    with Yandex(KEY).running() as service:
        service.fault(V1, Answer(200, placeholder, {"Content-Type": "image/png"}))
        record = run(service, placeholders=[known], workers=1)
    assert [entry["id"] for entry in record["missing"]] == ["P1", "P3"]
    assert {entry["reason"] for entry in record["missing"]} == {"no imagery"}


def test_photos_beyond_the_map_are_missing_and_not_asked_for(run, tmp_path):
    polar = Run(tmp_path / "polar", [photo("N1", 10.0, 85.3)])
    with Yandex(KEY).running() as service:
        record = polar(service)
    assert record["maps"] == []
    assert "beyond 85.08 degrees" in record["missing"][0]["reason"]
    assert service.calls == []


# ---- refusals and faults


def test_without_a_key_nothing_is_asked_and_the_error_says_where_to_get_one(run, monkeypatch):
    monkeypatch.delenv("YANDEX_STATIC_KEY")
    service = Yandex(KEY)
    with service.running(), pytest.raises(AccessError, match="YANDEX_STATIC_KEY") as error:
        run(service)
    assert "developer's dashboard" in str(error.value)
    assert service.calls == []


@pytest.mark.parametrize("options", [{}, {"form": "1.x", "layer": "sat"}])
def test_a_refused_key_ends_the_download_at_once(run, tmp_path, options):
    single = Run(tmp_path / "single", PHOTOS[:1])
    service = Yandex("another key")
    with service.running(), pytest.raises(AccessError, match="Invalid api key") as error:
        single(service, **options)
    assert len(service.calls) == 1
    assert "set YANDEX_STATIC_KEY" in str(error.value)
    assert not single.record.exists()


def test_what_the_service_says_about_a_bad_request_is_shown(run):
    with Yandex(KEY).running() as service:
        wide = settings(service).model_copy(update={"size": (703, 450)})
        with pytest.raises(FetchError, match="Wrong size: 703,450"):
            download_maps(run.cell, run.table, wide, run.downloads, run.record)


def test_an_image_of_another_size_is_refused(run):
    small = Answer(200, drawn((0, 0), (100, 75), "PNG"), {"Content-Type": "image/png"})
    with Yandex(KEY).running() as service:
        service.fault(V1, small, times=99)
        with pytest.raises(FetchError, match="another size than was asked for"):
            run(service)
    assert not list(run.downloads.rglob("*.png"))


def test_too_many_requests_are_waited_for(run):
    start = time.monotonic()
    with Yandex(KEY).running() as service:
        service.fault(V1, Answer.text("Too many requests", 429, **{"Retry-After": "0.5"}))
        assert len(run(service)["maps"]) == 3
    assert time.monotonic() - start >= 0.5


@pytest.mark.parametrize("fault", [HTML_PAGE, CLOSED, Answer.text("busy", 503), cut_after(50)])
def test_passing_faults_are_survived(run, fault):
    with Yandex(KEY).running() as service:
        service.fault(V1, fault)
        assert len(run(service)["maps"]) == 3


def test_the_key_is_not_sent_on_to_another_host(run):
    with Yandex(KEY).running() as service, Yandex(KEY).running() as other:
        service.fault(V1, Answer.redirect(f"{other.url}/v1?z=1"), times=99)
        with pytest.raises(AccessError, match="Missing apikey parameter"):
            run(service)
    assert other.calls
    assert not any(KEY in json.dumps([call.query, call.headers]) for call in other.calls)


def test_the_key_stands_nowhere(run, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("geolatents"), "propagate", True)
    shown = []
    with Yandex(KEY).running() as service, caplog.at_level(logging.DEBUG, "geolatents"):
        for fault in (
            Answer.text(f"Invalid api key:{KEY}", 403),
            Answer.text(f"<error><status>400</status><message>apikey={KEY}</message></error>", 400),
            Answer.redirect(f"{service.url}/v1?apikey={KEY}"),
        ):
            service.fault(V1, fault, times=2)
            with pytest.raises(FetchError) as error:
                run(service, workers=1)
            shown.append(str(error.value))
            service.faults.clear()
        for fault in (Answer.text(f"busy {KEY}", 503), HTML_PAGE):
            service.fault(V1, fault)
        run(service)
    assert any(KEY in call.query["apikey"] for call in service.calls)
    texts = [*shown, caplog.text, *(file.read_bytes().decode("latin-1") for file in run.folder.rglob("*") if file.is_file())]  # fmt: skip
    assert len(texts) > 5
    assert not any(KEY in text for text in texts)


# ---- settings


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"accept_terms": False}, "do not allow storing.*without the `extended` licence.*accept_terms"),
        ({"layer": "sat"}, "no satellite layer.*set `form: 1.x`"),
        ({"form": "1.x", "zoom": 18}, "zoom levels 0 to 17"),
        ({"zoom": 22}, "less than or equal to 21"),
        ({"size": (651, 450)}, "less than or equal to 650"),
        ({"size": (650, 451)}, "less than or equal to 450"),
        ({"placeholders": ["x"]}, "pattern"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused(options, reason):
    with pytest.raises(ValidationError, match=reason):
        YandexStatic.model_validate({"provider": "yandex_static", "accept_terms": True, **options})
