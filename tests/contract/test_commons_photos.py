"""Searching and downloading photos of Wikimedia Commons, against an imitation of its published API."""

import hashlib
import json
import logging
import time
from datetime import date

import geopandas as gpd
import numpy as np
import pytest
import shapely
from PIL import Image
from pydantic import ValidationError

from geolatents.acquire.commons_photos.pages import FIELDS, licence_family, text
from geolatents.acquire.commons_photos.provider import search_photos
from geolatents.acquire.photos.download import download_photos
from geolatents.acquire.photos.table import read_cell
from geolatents.errors import AccessError, ConfigError, FetchError
from geolatents.settings.commons_photos import CommonsPhotos
from geolatents.settings.config import validate_config
from tests.services.base import CLOSED, HTML_PAGE, Answer
from tests.services.commons import Commons, CommonsFile

AREA = (33.0, 34.8, 33.2, 35.0)
CONTACT = "me@example.org"
API = r"/w/api\.php"


def settings(service, search=None, **options):
    return CommonsPhotos.model_validate(
        {
            "provider": "commons_photos",
            "search": {"area": AREA, **(search or {})},
            "service": {"url": service.url, "contact": CONTACT, "rate": 1000, **options},
        }
    )


@pytest.fixture
def searched(tmp_path):
    """Search, and give the photos by page id and the listing."""

    def run(service, search=None, **options):
        table, listing = tmp_path / "photos.parquet", tmp_path / "photos.json"
        search_photos(
            settings(service, search, **options), tmp_path, tmp_path / "downloads", table, listing
        )
        values = json.loads(listing.read_text())
        photos = [photo for cell in values["cells"] for photo in read_cell(table, cell)]
        return {photo.id: photo for photo in photos}, values

    return run


def file(pageid, longitude=33.1, latitude=34.9, **values):
    return CommonsFile(pageid, f"File:Photo {pageid:05d}.jpg", [(latitude, longitude, True)], **values)  # fmt: skip


# ---- what is known of a photo


def test_a_photo_keeps_author_licence_position_and_day(searched):
    metadata = {
        "LicenseShortName": "CC BY-SA 2.0 fr",
        "License": "cc-by-sa-2.0-fr",
        "LicenseUrl": "https://creativecommons.org/licenses/by-sa/2.0/fr/deed.en",
        "Artist": '<a href="//commons.wikimedia.org/wiki/User:Rama" title="User:Rama">Rama</a> &amp; Musée<br>Bolo'
        '<div style="display: none;">vcard <b>hidden</b></div>',
        "Credit": '<span class="int-own-work" lang="en">Own work</span>',
        "DateTimeOriginal": '<time class="dtstart" datetime="2013-10-27">27 October 2013</time>',
        "CommonsMetadataExtension": 1.2,
    }
    page = file(7, metadata=metadata, size=(300, 200))
    page.coordinates = [(34.95, 33.15, False), (34.9, 33.1, True)]
    with Commons([page]).running() as service:
        photos, listing = searched(service, {"width": None})
    photo = photos["M7"]
    assert (photo.author, photo.licence) == ("Rama & Musée Bolo", "CC BY-SA 2.0 fr")
    assert photo.licence_url == "https://creativecommons.org/licenses/by-sa/2.0/fr/deed.en"
    assert (photo.longitude, photo.latitude) == (33.1, 34.9)  # the primary one
    assert (photo.taken, photo.mime, photo.width, photo.height) == ("2013-10-27", "image/jpeg", 300, 200)  # fmt: skip
    assert photo.page == f"{service.url}/wiki/File:Photo_00007.jpg"
    assert photo.digests == {"sha1": hashlib.sha1(page.body).hexdigest()}
    assert listing["provider"] == "commons_photos"
    assert sum(listing["photos"].values()) == 1


@pytest.mark.parametrize(
    ("metadata", "author"),
    [
        ({"Attribution": "Photo by <i>A</i>", "Credit": "B"}, "Photo by A"),
        ({"Artist": "", "Credit": "<p>B</p>"}, "B"),
        ({}, "Uploader"),
    ],
)
def test_missing_authors_are_replaced_by_the_next_best(searched, metadata, author):
    page = file(1, metadata={"LicenseShortName": "CC0", **metadata})
    with Commons([page]).running() as service:
        photos, _ = searched(service)
    assert photos["M1"].author == author


@pytest.mark.parametrize(
    ("value", "taken"),
    [
        ("2013-10-27 10:27:44", "2013-10-27"),
        ("2011:12:01 14:17:15", "2011-12-01"),
        ('Taken on <time datetime="2020-02-29T10:00">29 February</time>', "2020-02-29"),
        ("2020-02-30", None),
        ("circa 1985", None),
        ('1985<div style="display:none">date QS:P571,+1985-01-01T00:00:00Z/9</div>', None),
        ("", None),
    ],
)
def test_days_are_read_only_where_a_whole_day_is_stated(searched, value, taken):
    page = file(1, metadata={"LicenseShortName": "CC0", "DateTimeOriginal": value})
    with Commons([page]).running() as service:
        photos, _ = searched(service)
    assert photos["M1"].taken == taken


def test_text_of_html():
    assert (
        text("<style>a{}</style>A<br/>B <b>C</b>&nbsp;&lt;D&gt;<script>x</script>") == "A B C <D>"
    )
    assert text('A<span style="display: NONE">x<br>y<div>z</div></span>B') == "AB"
    assert text("<p>A</p><div>B<i>C</i></div>") == "A BC"
    assert text(1.2) == "1.2"
    assert text(None) == ""


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("CC0", "CC0"),
        ("cc-zero", "CC0"),
        ("CC BY 4.0", "CC BY"),
        ("CC BY-SA 3.0 de", "CC BY-SA"),
        ("CC-BY-SA-3.0", "CC BY-SA"),
        ("Public domain", "public domain"),
        ("pd-self", "public domain"),
        ("CC BY-NC 2.0", None),
        ("CC BY-NC-SA 2.0", None),
        ("CC BY-ND 4.0", None),
        ("GFDL", None),
        ("FAL", None),
        ("", None),
    ],
)
def test_families_of_licences(name, family):
    assert licence_family(name) == family


# ---- what is left out


def test_pages_that_are_no_usable_photos_are_left_out_and_counted(searched, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("geolatents"), "propagate", True)
    licence = {"LicenseShortName": "CC BY 4.0"}
    pages = [
        file(1),
        file(2, metadata={"Artist": "no licence field"}),
        file(3, metadata={}),
        file(4, metadata={"LicenseShortName": "GFDL"}),
        file(5, missing=True),
        file(6, unplaced=True),
        *(
            file(number, mime=mime, body=b"x", metadata=licence)
            for number, mime in enumerate(
                ["video/webm", "application/pdf", "image/svg+xml", "image/tiff", "image/gif"], 10
            )
        ),
        file(20, mime="image/png", metadata=licence),
        file(21, mime="image/webp", metadata={"License": "cc-by-4.0"}),
    ]
    with Commons(pages).running() as service, caplog.at_level(logging.INFO, "geolatents"):
        photos, _ = searched(service)
    assert sorted(photos) == ["M1", "M20", "M21"]
    assert photos["M20"].mime == "image/png"
    assert (
        "3 photos; left out: 5 no photo by its kind, 1 of another licence, 1 without a file, "
        "2 without a licence, 1 without a position" in caplog.text
    )


def test_licences_dates_and_months_are_chosen(searched):
    taken = ["2019-06-30", "2020-06-01", "2020-07-15", "2021-06-10", "2022-01-01", None]
    pages = [
        file(i, metadata={"LicenseShortName": "CC0"} | ({"DateTimeOriginal": day} if day else {}))
        for i, day in enumerate(taken, 1)
    ]
    pages.append(file(9, metadata={"LicenseShortName": "CC BY 4.0", "DateTimeOriginal": "2020-06-05"}))  # fmt: skip
    with Commons(pages).running() as service:
        assert sorted(searched(service)[0]) == ["M1", "M2", "M3", "M4", "M5", "M6", "M9"]
        span = {"dates": [date(2020, 6, 1), date(2022, 1, 1)]}
        assert sorted(searched(service, span)[0]) == ["M2", "M3", "M4", "M5", "M9"]
        assert sorted(searched(service, {"months": [6]})[0]) == ["M1", "M2", "M4", "M9"]
        both = {"licences": ["CC BY"], "months": [6]}
        assert sorted(searched(service, both)[0]) == ["M9"]
        with pytest.raises(FetchError, match="found no photo"):
            searched(service, {"licences": ["CC BY-SA"]})


def test_positions_can_be_limited_to_primary_ones(searched):
    only_object = file(2)
    only_object.coordinates = [(34.9, 33.1, False)]
    with Commons([file(1), only_object]).running() as service:
        assert sorted(searched(service)[0]) == ["M1", "M2"]
        assert sorted(searched(service, {"positions": "primary"})[0]) == ["M1"]


def test_photos_outside_the_polygon_are_left_out(searched, tmp_path):
    triangle = shapely.Polygon([(33.0, 34.8), (33.2, 34.8), (33.0, 35.0)])
    gpd.GeoSeries([triangle], crs="EPSG:4326").to_file(tmp_path / "area.gpkg")
    inside, outside = file(1, 33.05, 34.85), file(2, 33.18, 34.98)
    # seen from inside, taken outside: found by the object's position, left out by the camera's
    outside.coordinates.append((34.85, 33.05, False))
    with Commons([inside, outside]).running() as service:
        found, _ = searched(service, {"area": "area.gpkg"})
    assert sorted(found) == ["M1"]


# ---- more than one answer


def test_no_photo_is_lost_where_there_are_more_than_one_answer_gives(searched):
    rng = np.random.default_rng(1)
    pages = [
        file(i, 33.1 + rng.normal(0, 0.004), 34.9 + rng.normal(0, 0.004)) for i in range(1, 1301)
    ]
    with Commons(pages).running() as service:
        photos, listing = searched(service)
    assert len(photos) == sum(listing["photos"].values()) == 1300
    assert all(call.query["ggslimit"] == "500" for call in service.calls)


def test_a_box_is_full_although_deleted_pages_hide_it(searched):
    # 540 pages in the index; of the 500 nearest, 40 are deleted, so that the answer has 460.
    rng = np.random.default_rng(2)
    places = 33.1 + rng.normal(0, 0.01, 540)
    middle = np.argsort(np.abs(places - 33.1))[:40]
    pages = [file(i, places[i - 1], deleted=(i - 1) in middle) for i in range(1, 541)]
    with Commons(pages).running() as service:
        photos, _ = searched(service)
    assert len(photos) == 500


def test_properties_that_come_in_several_answers_are_put_together(searched):
    # 300 files with three positions each: positions come 500 at a time, scaled images 50.
    pages = [file(i, 33.0 + i / 2000, size=(400, 300)) for i in range(1, 301)]
    for page in pages:
        [(latitude, longitude, _)] = page.coordinates
        page.coordinates.extend([(latitude + 0.01, longitude, False)] * 2)
    with Commons(pages).running() as service:
        photos, _ = searched(service, {"width": 250})
    assert len(photos) == 300
    assert {photo.latitude for photo in photos.values()} == {34.9}
    assert all(photo.url.endswith(".jpg") for photo in photos.values())
    names = {name for call in service.calls for name in call.query if name.endswith("continue")}
    assert names == {"continue", "iicontinue", "cocontinue"}


def test_more_photos_at_one_place_than_can_be_had_are_reported(searched, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("geolatents"), "propagate", True)
    pages = [file(i) for i in range(1, 521)]
    with Commons(pages).running() as service, caplog.at_level(logging.WARNING, "geolatents"):
        photos, _ = searched(service, {"width": None})
    assert len(photos) == 500
    assert [record.message.startswith("incomplete") for record in caplog.records] == [True]


def test_a_wiki_that_allows_smaller_boxes_is_asked_for_smaller_ones(searched):
    pages = [file(i, 33.0 + i / 100, 34.8 + i / 100) for i in range(1, 20)]
    service = Commons(pages)
    service.max_radius = 6000
    with service.running():
        photos, _ = searched(service)
    assert len(photos) == 19


def test_requests_are_those_of_the_documentation(searched):
    with Commons([file(1)]).running() as service:
        searched(service, {"area": (32.9, 34.5, 33.6, 35.1), "width": 960})
    for call in service.calls:
        query = call.query
        assert query["ggsnamespace"] == "6"
        assert query["ggsprimary"] == query["coprimary"] == "all"
        assert (query["colimit"], query["maxlag"]) == ("max", "5")
        assert query["iiurlwidth"] == "960"
        assert query["iiextmetadatafilter"].split("|") == list(FIELDS)
        assert call.headers["user-agent"].startswith("geolatents/")
        assert f"({CONTACT}) requests/" in call.headers["user-agent"]
    assert len(service.calls) > 6  # no box is larger than 20 km x 20 km


# ---- a service in trouble


def test_a_lagging_database_is_waited_for(searched):
    service = Commons([file(1)])
    service.lags, service.lag_wait = [9.0, 6.0, 4.0], "0.4"
    start = time.monotonic()
    with service.running():
        photos, _ = searched(service, attempts=3)
    assert list(photos) == ["M1"]
    assert len(service.calls) >= 3
    assert time.monotonic() - start >= 2 * 0.4


@pytest.mark.parametrize(
    "answer",
    [
        Answer.json({"error": {"code": "ratelimited", "info": "Too fast."}}, **{"Retry-After": "0.6"}),
        Answer.text("Too many requests", 429, **{"Retry-After": "0.6"}),
    ],
)  # fmt: skip
def test_rate_limits_are_waited_for(searched, answer):
    start = time.monotonic()
    with Commons([file(1)]).running() as service:
        service.fault(API, answer)
        photos, _ = searched(service, attempts=2)
    assert list(photos) == ["M1"]
    assert time.monotonic() - start >= 0.6


@pytest.mark.parametrize("fault", [HTML_PAGE, CLOSED, Answer.text("busy", 503), Answer.json([])])
def test_passing_faults_are_survived(searched, fault):
    with Commons([file(1)]).running() as service:
        service.fault(API, fault)
        photos, _ = searched(service)
    assert list(photos) == ["M1"]


def test_an_error_in_an_answer_with_status_200_ends_the_search(searched):
    with Commons([file(1)]).running() as service:
        service.fault(API, Answer.json({"error": {"code": "invalid-bbox", "info": "Invalid box."}}))
        with pytest.raises(FetchError, match="invalid-bbox: Invalid box"):
            searched(service)
    assert len(service.calls) == 1


def test_an_answer_without_end_is_noticed(searched):
    endless = {"continue": {"iicontinue": "A|1", "continue": "||"}, "query": {"pages": []}}
    with Commons([file(1)]).running() as service:
        service.fault(API, Answer.json(endless), times=9)
        with pytest.raises(FetchError, match="without end"):
            searched(service)


def test_a_client_that_says_not_who_it_is_is_refused(searched):
    service = Commons([file(1)])
    with service.running(), pytest.raises(AccessError, match="user-agent"):
        searched(service, contact="nobody")
    assert len(service.calls) == 1


def test_an_interrupted_search_goes_on_where_it_was(searched, tmp_path):
    rng = np.random.default_rng(3)
    pages = [file(i, *rng.uniform((33.0, 34.8), (33.2, 35.0))) for i in range(1, 700)]
    with Commons(pages).running() as service:
        service.fault(API, lambda _call, true: true, times=6)  # fine, then broken
        service.fault(API, Answer.text("down", 500), times=1)
        with pytest.raises(FetchError, match="500"):
            searched(service, attempts=1)
        before = {call.query["ggsbbox"] for call in service.calls}
        journals = tmp_path / "downloads/commons_photos/searches"
        assert len(list(journals.glob("*.jsonl"))) == 1
        service.calls.clear()
        photos, _ = searched(service, attempts=1)
        after = {call.query["ggsbbox"] for call in service.calls}
    assert len(photos) == 699
    assert len(before) > 1
    assert len(before & after) == 1  # the box that was being asked for
    assert not list(journals.glob("*.jsonl"))


# ---- downloads


@pytest.fixture
def downloaded(tmp_path, monkeypatch):
    monkeypatch.setenv("GEOLATENTS_DOWNLOADS", str(tmp_path / "downloads"))

    def run(service):
        options = settings(service).service
        table = tmp_path / "photos.parquet"
        [cell] = set(gpd.read_parquet(table)["cell"])
        record = tmp_path / "record.json"
        download_photos(cell, table, options, tmp_path / "downloads", record)
        return json.loads(record.read_text())

    return run


def test_originals_are_checked_by_their_sha1_and_fetched_once(searched, downloaded, tmp_path):
    pages = [file(1, size=(300, 200)), file(2, mime="image/png", size=(30, 20))]
    with Commons(pages).running() as service:
        searched(service, {"width": None})
        record = downloaded(service)
        service.calls.clear()
        assert downloaded(service) == record
        assert service.calls == []
    sizes = {entry["id"]: (entry["width"], entry["height"]) for entry in record["photos"]}
    assert sizes == {"M1": (300, 200), "M2": (30, 20)}
    rows = (tmp_path / "downloads/commons_photos/manifest.jsonl").read_text().splitlines()
    assert {row["sha1"] for row in map(json.loads, rows)} == {hashlib.sha1(p.body).hexdigest() for p in pages}  # fmt: skip


def test_an_original_that_is_another_one_than_announced_is_not_kept(searched, downloaded, tmp_path):
    with Commons([file(1)]).running() as service:
        searched(service, {"width": None})
        service.files[0].body = file(2).body
        with pytest.raises(FetchError, match="wrong checksum"):
            downloaded(service)
    assert not list((tmp_path / "downloads/commons_photos").rglob("*.jpg"))


def test_thumbnails_come_in_sizes_that_the_service_serves(searched, downloaded, tmp_path):
    pages = [file(1, size=(600, 400)), file(2, size=(100, 80))]
    with Commons(pages).running() as service:
        photos, _ = searched(service, {"width": 250})
        record = downloaded(service)
    assert photos["M1"].digests == {}  # the checksum is that of the original
    assert photos["M2"].digests != {}  # no larger than wanted: the original
    assert [(e["id"], e["width"], e["height"]) for e in record["photos"]] == [("M1", 250, 167), ("M2", 100, 80)]  # fmt: skip
    for entry in record["photos"]:
        path = tmp_path / "downloads" / entry["path"].removeprefix("downloads:")
        with Image.open(path) as image:
            assert image.size == (entry["width"], entry["height"])


# ---- settings


def test_a_contact_is_needed_and_the_error_says_why():
    values = {"photos": {"villages": {"source": {"provider": "commons_photos", "search": {"area": AREA}}}}}  # fmt: skip
    with pytest.raises(ConfigError, match=r"contact.*is needed: Wikimedia blocks clients"):
        validate_config(values)
    values["photos"]["villages"]["source"]["service"] = {"contact": CONTACT}
    assert validate_config(values).photos["villages"].source.service.contact == CONTACT


@pytest.mark.parametrize(
    ("search", "service", "reason"),
    [
        ({}, {"workers": 4}, "less than or equal to 3"),
        ({"width": 800}, {}, "250, 330, 500"),
        ({"dates": [date(2020, 2, 1), date(2020, 1, 1)]}, {}, "before they begin"),
        ({"months": [5, 5]}, {}, "names one twice"),
        ({"licences": ["CC BY-NC"]}, {}, "licences"),
        ({}, {"contact": "me\r\nX-Header: y"}, "pattern"),
    ],
)
def test_settings_that_cannot_be_are_refused(search, service, reason):
    with pytest.raises(ValidationError, match=reason):
        CommonsPhotos.model_validate(
            {
                "provider": "commons_photos",
                "search": {"area": AREA, **search},
                "service": {"contact": CONTACT, **service},
            }
        )
