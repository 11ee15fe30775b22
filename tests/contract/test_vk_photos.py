"""Search and download of VK photos against an imitation of VK that follows its published schema."""

from __future__ import annotations

import json
import logging
import signal
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest

from geolatents.acquire.photos.download import download_photos, forget_owner, planned_photos
from geolatents.acquire.photos.join import join_photos
from geolatents.acquire.photos.privacy import pseudonyms
from geolatents.acquire.vk_photos.provider import search_photos
from geolatents.errors import AccessError, FetchError
from geolatents.settings.vk_photos import VkPhotos
from tests.services.base import CLOSED, HTML_PAGE, Answer
from tests.services.vk import VkService, photo

AREA = [37.0, 55.0, 37.4, 55.2]
START, END = 1_609_459_200, 1_617_235_199  # 2021-01-01 to 2021-03-31, UTC
DAY = 86_400


def scattered(n: int, seed: int = 0, first: int = 1, **fields: object) -> list[dict[str, object]]:
    """Photos all over the area and somewhat beyond, over the whole time."""
    draw = np.random.default_rng(seed)
    places = zip(draw.uniform(36.95, 37.45, n), draw.uniform(54.97, 55.23, n), strict=True)
    dates = draw.integers(START, END, n, endpoint=True)
    return [
        photo(first + i, round(x, 6), round(y, 6), int(date), owner=123_456_000 + i % 7, **fields)
        for i, ((x, y), date) in enumerate(zip(places, dates, strict=True))
    ]


def inside(photos: list[dict[str, object]]) -> set[int]:
    west, south, east, north = AREA
    return {p["id"] for p in photos if west <= p["at"][0] <= east and south <= p["at"][1] <= north}


class Place:
    """A folder with everything that a search and its downloads leave."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.downloads = folder, folder / "downloads"
        self.table, self.listing = folder / "searches/vk.parquet", folder / "searches/vk.json"
        self.names = pseudonyms(self.downloads)

    def settings(self, service: VkService, **search: object) -> VkPhotos:
        values = {
            "area": AREA, "dates": ["2021-01-01", "2021-03-31"], "radius": 6000, "per_owner": None,
        }  # fmt: skip
        return VkPhotos.model_validate(
            {
                "provider": "vk_photos",
                "search": values | search,
                "service": {"url": service.url, "rate": 1000, "attempts": 4, "flood_wait": 0.05},
            }
        )

    def search(self, service: VkService, **search: object) -> None:
        search_photos(self.settings(service, **search), self.folder, self.downloads, self.table, self.listing)  # fmt: skip

    def found(self) -> gpd.GeoDataFrame:
        return gpd.read_parquet(self.table)

    def ids(self, photos: list[dict[str, object]], wanted: set[int]) -> set[str]:
        return {self.names.photo("vk_photos", p["owner_id"], p["id"]) for p in photos if p["id"] in wanted}  # fmt: skip

    def download(self, service: VkService) -> dict[str, object]:
        """All cells; their records together."""
        together: dict[str, list[object]] = {"photos": [], "missing": []}
        for cell in json.loads(self.listing.read_text())["cells"]:
            record = self.folder / f"records/{cell}.json"
            settings = self.settings(service)
            download_photos(cell, self.table, settings.service, self.downloads, record)
            values = json.loads(record.read_text())
            together["photos"] += values["photos"]
            together["missing"] += values["missing"]
        return together


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("VK_TOKEN", VkService([]).token)
    monkeypatch.setenv("GEOLATENTS_DOWNLOADS", str(tmp_path / "downloads"))
    monkeypatch.delenv("GEOLATENTS_SALT", raising=False)
    return Place(tmp_path)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Back-off without its waits, except those that the service asks for."""
    monkeypatch.setattr("tenacity.wait_random_exponential.__call__", lambda *_: 0.01)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    logger = logging.getLogger("geolatents")
    logger.addHandler(caplog.handler)
    caplog.set_level(logging.DEBUG, "geolatents")
    yield caplog
    logger.removeHandler(caplog.handler)


# ---- what is found


def test_everything_in_the_area_is_found_once(place: Place) -> None:
    photos = scattered(300)
    with VkService(photos).running() as vk:
        place.search(vk)
    found = place.found()
    assert set(found["id"]) == place.ids(photos, inside(photos))
    assert len(found) == len(inside(photos)) < 300, "photos beyond the area were drawn and left out"
    calls = vk.calls_to("/method/photos.search")
    assert {call.parameters["radius"] for call in calls} == {"6000"}
    assert {call.parameters["v"] for call in calls} == {"5.199"}


@pytest.mark.parametrize(
    "unkind",
    [
        {},
        {"inclusive": False},
        {"estimate": 0.3},
        {"overlap": 3},
        {"hidden": 0.2},
        {"window": 1000},
        {"estimate": 0.1, "overlap": 2, "hidden": 0.05, "inclusive": False},
    ],
    ids=str,
)
def test_nothing_is_lost_beyond_the_window(place: Place, unkind: dict[str, object]) -> None:
    draw = np.random.default_rng(5)
    places = zip(draw.normal(0, 0.005, (7000, 2)), draw.integers(START, END, 7000), strict=True)
    photos = [
        photo(i, 37.2 + x, 55.1 + y, int(date)) for i, ((x, y), date) in enumerate(places, start=1)
    ]
    middle = (START + END) // 2  # where time is halved, and the first and last seconds
    for i, moment in enumerate((START, END, middle, middle + 1)):
        photos[i] = photo(i + 1, 37.2, 55.1, moment)
    with VkService(photos, **unkind).running() as vk:
        place.search(vk, area=[37.19, 55.09, 37.21, 55.11], radius=6000)
    there = {p["id"] for p in photos if 37.19 <= p["at"][0] <= 37.21 and 55.09 <= p["at"][1] <= 55.11}  # fmt: skip
    visible = {p["id"] for p in photos if not vk.is_hidden(p)} & there
    assert len(there) > 6000
    assert set(place.found()["id"]) == place.ids(photos, visible)
    assert len(vk.calls) < 80


def test_photos_without_position_image_or_within_the_wrong_months_are_left_out(
    place: Place, log: pytest.LogCaptureFixture
) -> None:
    march = START + 65 * DAY
    photos = [
        photo(1, 37.1, 55.1, march),
        photo(2, 37.1, 55.1, march, lat=None, long=None),
        photo(3, 37.1, 55.1, march, side=0),
        photo(4, 37.1, 55.1, START + 40 * DAY),  # February
        photo(5, 37.1, 55.1, END + 1),
        photo(6, 37.1, 55.1, march, lat=None),
    ]
    with VkService(photos).running() as vk:
        place.search(vk, months=[1, 3])
    assert set(place.found()["id"]) == place.ids(photos, {1})
    assert "2 without position" in log.text
    assert "1 without image" in log.text


def test_the_smallest_sufficient_uncropped_file_is_taken(place: Place) -> None:
    photos = [
        photo(1, 37.1, 55.1, START + 5),
        photo(2, 37.1, 55.1, START + 5, side=604),
        photo(3, 37.1, 55.1, START + 5, side=1080, old=True),
    ]
    with VkService(photos).running() as vk:
        place.search(vk, min_side=300)
    by_id = place.found().set_index("id")
    new, small, old = (by_id.loc[place.names.photo("vk_photos", 123456001, i)] for i in (1, 2, 3))
    assert (new["variant"], new["width"], new["height"]) == ("x", 604, 402)
    assert small["variant"] == "x"
    assert old["variant"] == "x"
    assert old[["width", "height"]].isna().all()


def test_the_limit_per_owner_does_not_depend_on_the_order_of_arrival(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setenv("VK_TOKEN", VkService([]).token)
    monkeypatch.setenv("GEOLATENTS_SALT", "the same salt for both places")
    photos = scattered(200)
    later = [p | {"date": START + END - p["date"]} for p in photos]  # the other order by date
    chosen = []
    for name, service in (("one", VkService(photos)), ("two", VkService(later, estimate=0.2))):
        place = Place(tmp_path / name)
        with service.running() as vk:
            place.search(vk, per_owner=5)
        chosen.append(set(place.found()["id"]))
        assert place.found().groupby("owner").size().eq(5).all()
    assert chosen[0] == chosen[1]
    assert len(chosen[0]) == 7 * 5


def test_excluded_accounts_uploaders_and_photos_are_left_out(place: Place) -> None:
    photos = [
        photo(1, 37.1, 55.1, START + 5, owner=500),
        photo(2, 37.1, 55.1, START + 5, owner=600),
        photo(3, 37.1, 55.1, START + 5, owner=-700, user_id=500),
        photo(4, 37.1, 55.1, START + 5, owner=800),
    ]
    names = place.names
    (place.folder / "left-out.txt").write_text(
        f"# asked on 3 May\n{names.owner('vk_photos', 500)}\n\n{names.photo('vk_photos', 600, 2)} # by mail\n"
    )
    with VkService(photos).running() as vk:
        place.search(vk, exclude="left-out.txt")
    assert set(place.found()["id"]) == place.ids(photos, {4})


# ---- pace and errors


def test_three_requests_a_second_are_never_exceeded(place: Place) -> None:
    with VkService(scattered(20), per_second=3).running() as vk:
        settings = place.settings(vk, area=[37.1, 55.1, 37.3, 55.15])
        pace = {"rate": VkPhotos.model_fields["service"].default.rate}
        service = settings.service.model_copy(update=pace)
        settings = settings.model_copy(update={"service": service})
        search_photos(settings, place.folder, place.downloads, place.table, place.listing)
    questions = {tuple(call.parameters.items()) for call in vk.calls}
    assert 4 < len(vk.calls) == len(questions), "no request had to be repeated"


def test_too_fast_means_wait_a_second_and_ask_again(place: Place) -> None:
    photos = scattered(20)
    with VkService(photos).running() as vk:
        vk.errors.append(6)
        began = time.monotonic()
        place.search(vk)
    assert time.monotonic() - began > 1.0
    assert set(place.found()["id"]) == place.ids(photos, inside(photos))


@pytest.mark.parametrize(
    "fault",
    [
        Answer.text("bad gateway", 502),
        Answer.text("oops", 500),
        HTML_PAGE,
        CLOSED,
        Answer.json({"unexpected": 1}),
    ],
    ids=["502", "500", "html", "closed", "shape"],
)
def test_passing_faults_are_passed_over(place: Place, fault: object) -> None:
    photos = scattered(20)
    with VkService(photos).running() as vk:
        vk.fault("/method/.*", fault, times=2)
        vk.errors.extend([1, 9])
        place.search(vk)
    assert set(place.found()["id"]) == place.ids(photos, inside(photos))


def test_an_internal_error_is_answered_with_shorter_intervals(place: Place) -> None:
    photos = scattered(60)
    with VkService(photos, longest=20 * DAY).running() as vk:
        place.search(vk)
    assert set(place.found()["id"]) == place.ids(photos, inside(photos))


def test_a_lasting_internal_error_ends_the_search_soon(place: Place) -> None:
    with VkService(scattered(5), longest=0).running() as vk, pytest.raises(FetchError, match="shortest"):  # fmt: skip
        place.search(vk)
    assert len(vk.calls) < 30


@pytest.mark.parametrize("code", [18, 30])
def test_closed_profiles_hide_their_photos_only(place: Place, code: int) -> None:
    photos = scattered(200)
    with VkService(photos).running() as vk:
        vk.errors.extend([code] * 10)
        place.search(vk)
    assert not any(call.parameters["offset"] != "0" for call in vk.calls)
    assert set(place.found()["id"]) < place.ids(photos, inside(photos))


@pytest.mark.parametrize(
    ("code", "kind", "fix"),
    [
        (5, AccessError, "VK_TOKEN"),
        (28, AccessError, "VK_TOKEN"),
        (15, AccessError, "service or user token"),
        (14, AccessError, "sign in"),
        (17, AccessError, "sign in"),
        (29, FetchError, "tomorrow"),
        (100, FetchError, "search settings"),
    ],
)
def test_other_errors_stop_at_once_and_say_what_to_do(place: Place, code: int, kind: type, fix: str) -> None:  # fmt: skip
    photos = scattered(20)
    with VkService(photos).running() as vk:
        vk.errors.extend([None, None, code])
        with pytest.raises(kind, match=fix) as error:
            place.search(vk)
        assert len(vk.calls) == 3
        assert vk.token not in str(error.value)
        assert f"error {code}" in str(error.value)
        assert not place.table.exists()
        # The next run goes on with the question that was not answered.
        place.search(vk)
    questions = [tuple(call.parameters.items()) for call in vk.calls]
    assert questions[2] == questions[3]
    assert len(questions) - 1 == len(set(questions))
    assert set(place.found()["id"]) == place.ids(photos, inside(photos))


def test_no_token_is_said_before_any_request(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VK_TOKEN")
    monkeypatch.setenv("NETRC", str(place.folder / "none"))
    with VkService([]).running() as vk, pytest.raises(AccessError, match="VK_TOKEN"):
        place.search(vk)
    assert not vk.calls


def test_the_number_of_requests_is_bounded(place: Place) -> None:
    photos = scattered(20)
    with VkService(photos).running() as vk:
        with pytest.raises(FetchError, match="most_requests"):
            place.search(vk, most_requests=4)
        assert len(vk.calls) == 4
        place.search(vk, most_requests=1000)
    assert len({tuple(call.parameters.items()) for call in vk.calls}) == len(vk.calls)


def test_nothing_found_is_an_error(place: Place) -> None:
    with VkService([]).running() as vk, pytest.raises(FetchError, match="no photo"):
        place.search(vk)


# ---- killed and resumed


def test_a_killed_search_goes_on_without_repeating_questions(place: Place) -> None:
    photos = scattered(300)
    code = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from geolatents.acquire.vk_photos.provider import search_photos
        from geolatents.settings.vk_photos import VkPhotos
        folder = Path(sys.argv[1])
        search_photos(VkPhotos.model_validate_json(sys.argv[2]), folder, folder / "downloads",
                      folder / "searches/vk.parquet", folder / "searches/vk.json")
        """
    )
    with VkService(photos).running() as vk:
        settings = place.settings(vk).model_dump_json()

        def slow(_call: object, true: Answer) -> Answer:
            time.sleep(0.02)
            return true

        vk.fault("/method/.*", slow, times=100)
        run = subprocess.Popen([sys.executable, "-c", code, str(place.folder), settings])
        while len(vk.calls) < 6 and run.poll() is None:
            time.sleep(0.005)
        run.send_signal(signal.SIGKILL)
        assert run.wait() == -signal.SIGKILL
        asked = len(vk.calls)
        journal = next((place.downloads / "vk_photos/searches").glob("*.jsonl"))
        with journal.open("a") as stream:
            stream.write('{"question": "torn')
        place.search(vk)
    questions = [tuple(call.parameters.items()) for call in vk.calls]
    repeated = len(questions) - len(set(questions))
    assert asked >= 6
    assert repeated <= 1, "only the question that was on its way"
    assert set(place.found()["id"]) == place.ids(photos, inside(photos))
    assert not list(journal.parent.glob("*.jsonl")), "nothing of the search is left behind"


def test_another_search_does_not_use_what_was_found_for_this_one(place: Place) -> None:
    photos = scattered(50)
    with VkService(photos).running() as vk:
        vk.errors.extend([None, None, 29])
        with pytest.raises(FetchError):
            place.search(vk)
        before = len(vk.calls)
        place.search(vk, min_side=100)
    first, second = vk.calls[:before], vk.calls[before:]
    assert {tuple(call.parameters.items()) for call in first} <= {tuple(call.parameters.items()) for call in second}  # fmt: skip


# ---- what is written


def test_no_secret_and_no_personal_id_reaches_a_file_or_a_log(
    place: Place, log: pytest.LogCaptureFixture
) -> None:
    owners = [987_654_321, -876_543_219]
    uploader = {"user_id": 765_432_198}
    photos = [
        photo(7_654_320, 37.1, 55.1, START + 1, owner=owners[0]),
        photo(7_654_321, 37.1, 55.1, START + 2, owner=owners[1], old=True, **uploader),
    ]
    with VkService(photos).running() as vk:
        vk.errors.extend([6, 9, None, 29])
        with pytest.raises(FetchError):
            place.search(vk)
        kept = list((place.downloads / "vk_photos/searches").glob("*.jsonl"))
        assert len(kept) == 1
        searched = kept[0].read_text()
        place.search(vk)
        place.download(vk)
        records = sorted((place.folder / "records").iterdir())
        join_photos(place.table, records, [], place.folder / "photos", None, place.folder / "all.parquet")  # fmt: skip
        token = vk.token
    assert all(token not in call.path and token not in str(call.query) for call in vk.calls)
    secrets = [token, *map(str, map(abs, owners)), "765432198", "On holiday", "captcha"]
    written = [searched, log.text]
    for file in place.folder.rglob("*"):
        assert not any(secret in file.name for secret in secrets)
        if file.suffix == ".parquet":
            written.append(gpd.read_parquet(file).to_csv())
        elif file.is_file():
            written.append(file.read_bytes().decode("latin-1"))
    for secret in secrets:
        assert not any(secret in text for text in written), secret
    published = gpd.read_parquet(place.folder / "all.parquet")
    assert not published.astype(str).apply(lambda column: column.str.contains("http://127")).any().any()  # fmt: skip
    salt = place.downloads / "photos.salt"
    assert stat.S_IMODE(salt.stat().st_mode) == 0o600
    assert not any(salt.read_text().strip() in text for text in written if text != salt.read_text())


def test_the_list_says_what_was_searched_and_what_cells_hold(place: Place) -> None:
    photos = scattered(100)
    with VkService(photos).running() as vk:
        place.search(vk, cell_km=5)
        first = json.loads(place.listing.read_text())
        vk.expire_links()
        place.search(vk, cell_km=5)
        second = json.loads(place.listing.read_text())
        vk.photos = [*vk.photos, photo(9999, 37.2, 55.1, START + 9)]
        place.search(vk, cell_km=5)
        third = json.loads(place.listing.read_text())
    assert sum(first["photos"].values()) == len(inside(photos))
    assert first["provider"] == "vk_photos"
    assert first["search"]["radius"] == 6000
    assert first["cells"] == second["cells"], "new links are no new content"
    assert first["table_sha256"] != second["table_sha256"]
    changed = {cell for cell in third["cells"] if third["cells"][cell] != first["cells"].get(cell)}
    assert len(changed) == 1, "a new photo changes its own cell only"


# ---- downloads


def test_photos_are_downloaded_once(place: Place) -> None:
    photos = scattered(40)
    with VkService(photos).running() as vk:
        place.search(vk, min_side=75)
        planned = [item for cell in set(place.found()["cell"]) for item in planned_photos(cell, place.table)]  # fmt: skip
        first = place.download(vk)
        images = len(vk.calls_to(r"/(impg|c\d+)/.*"))
        second = place.download(vk)
        assert len(vk.calls_to(r"/(impg|c\d+)/.*")) == images == len(inside(photos)) == len(planned)
        vk.expire_links()
        place.search(vk, min_side=75)
        third = place.download(vk)
        assert len(vk.calls_to(r"/(impg|c\d+)/.*")) == images, "new links to old photos"
    assert first == second == third
    assert not first["missing"]
    entry = first["photos"][0]
    assert set(entry) == {"id", "path", "sha256", "bytes", "width", "height"}
    assert (place.downloads / entry["path"].removeprefix("downloads:")).stat().st_size == entry["bytes"]  # fmt: skip
    assert (entry["width"], entry["height"]) == (130, 86)


def test_photos_that_are_gone_closed_or_no_images_are_missing(place: Place) -> None:
    photos = [photo(i, 37.1, 55.1, START + i) for i in range(1, 11)]
    with VkService(photos).running() as vk:
        place.search(vk, min_side=75)
        vk.photos = [p for p in photos if p["id"] != 3]
        vk.refused, vk.broken = {4}, {5}
        first = place.download(vk)
        requests = len(vk.calls)
        second = place.download(vk)
        assert len(vk.calls) == requests, "what is missing is not asked for again"
        assert first == second
        name = {p["id"]: place.ids(photos, {p["id"]}).pop() for p in photos}
        assert {entry["id"]: entry["reason"] for entry in first["missing"]} == {
            name[3]: "gone", name[4]: "refused", name[5]: "no image",
        }  # fmt: skip
        assert len(first["photos"]) == 7
        # A new search gives a new link; the photo may be open again.
        vk.refused.clear()
        vk.expire_links()
        vk.broken.clear()
        vk.photos = photos
        place.search(vk, min_side=75)
        assert not place.download(vk)["missing"]


def test_expired_links_are_no_missing_photos(place: Place) -> None:
    photos = [photo(i, 37.1, 55.1, START + i) for i in range(1, 6)]
    with VkService(photos).running() as vk:
        place.search(vk, min_side=75)
        vk.expire_links()
        with pytest.raises(AccessError, match="search again"):
            place.download(vk)
        place.search(vk, min_side=75)
        record = place.download(vk)
    assert len(record["photos"]) == 5


def test_a_failing_image_server_stops_the_download(place: Place) -> None:
    photos = [photo(i, 37.1, 55.1, START + i) for i in range(1, 6)]
    with VkService(photos).running() as vk:
        place.search(vk, min_side=75)
        vk.fault("/impg/.*", Answer.text("down", 503), times=1000)
        with pytest.raises(FetchError, match="does not answer"):
            place.download(vk)
        assert not list((place.folder / "records").glob("*"))


def test_photos_of_an_account_are_removed_on_request(place: Place) -> None:
    photos = [photo(i, 37.1, 55.1, START + i, owner=500 + i % 2) for i in range(1, 7)]
    with VkService(photos).running() as vk:
        place.search(vk, min_side=75)
        place.download(vk)
        asked = place.names.owner("vk_photos", 501)
        assert forget_owner(asked, place.table, place.downloads) == 3
        assert forget_owner(asked, place.table, place.downloads) == 0
        (place.folder / "left-out.txt").write_text(asked + "\n")
        place.search(vk, min_side=75, exclude="left-out.txt")
        record = place.download(vk)
    assert {entry["id"] for entry in record["photos"]} == place.ids(photos, {2, 4, 6})
    assert len(list((place.downloads / "vk_photos/photos").rglob("*.jpg"))) == 3
