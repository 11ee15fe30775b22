"""The fetcher against a server that fails in every way that servers do, over real sockets.

The server behaves as RFC 9110 (ranges, validators) and RFC 9112 (lengths, chunks) say.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import namedtuple
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from geolatents.acquire import downloads
from geolatents.acquire.fetch import bar, http, transfer
from geolatents.acquire.fetch.content import ContentError, image_content, json_content
from geolatents.acquire.fetch.fetcher import Fetched, Fetcher, Item, Preview, preview
from geolatents.acquire.fetch.http import Client, Pace
from geolatents.acquire.fetch.manifest import Manifest
from geolatents.acquire.fetch.secrets import Key, remember
from geolatents.errors import AccessError, FetchError
from geolatents.logs import LOG
from tests.services.base import CLOSED, HTML_PAGE, Answer, Call, LocalService, cut_after

ROOT = Path(__file__).resolve().parents[2]


class Files(LocalService):
    """A web server with static files under ``/files`` and other ways to give them elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.files: dict[str, bytes] = {}
        self.route(r"/files/(.*)", lambda call, name: Answer.file(call, self.files[name]))
        self.route(r"/plain/(.*)", lambda _call, name: Answer(body=self.files[name]))
        self.route(r"/query", lambda call: Answer.json(call.parameters))

    def add(self, name: str, body: bytes) -> str:
        self.files[name] = body
        return f"{self.url}/files/{name}"


@pytest.fixture
def service() -> Iterator[Files]:
    with Files().running() as running:
        yield running


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "BACKOFF", 0.001)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    caplog.set_level(logging.DEBUG)
    LOG.addHandler(caplog.handler)  # whether or not a test before has set up logging
    yield caplog
    LOG.removeHandler(caplog.handler)


def client_of(root: Path, **settings: object) -> Client:
    return Client("Testland", Pace(1000, root / ".pace"), **{"timeout": 10.0, **settings})  # type: ignore[arg-type]


def fetcher_of(root: Path, workers: int = 4, **settings: object) -> Fetcher:
    return Fetcher(root, client_of(root, **settings), workers)


def rows(root: Path) -> list[dict]:
    lines = (root / "p" / "manifest.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def body_of(n_bytes: int, seed: int = 0) -> bytes:
    return hashlib.shake_256(str(seed).encode()).digest(n_bytes)


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def ranges(service: Files) -> list[str | None]:
    return [call.headers.get("range") for call in service.calls]


BODY = body_of(1_000_000)
PNG = io.BytesIO()
Image.new("RGB", (40, 30), (200, 40, 40)).save(PNG, "PNG")


# ---- what a good download leaves


def test_a_file_its_row_and_no_second_request(service: Files, tmp_path: Path) -> None:
    item = Item("p/a/x.bin", service.add("x", BODY), licence="CC0", facts={"author": "Ada"})
    fetched = fetcher_of(tmp_path).fetch_one(item)
    assert fetched == Fetched(tmp_path / "p/a/x.bin", sha256(BODY), len(BODY), 1)
    assert fetched.path.read_bytes() == BODY
    (row,) = rows(tmp_path)
    assert row.pop("time").endswith("+00:00")
    assert row.pop("mtime_ns") == fetched.path.stat().st_mtime_ns
    assert row == {
        "path": "p/a/x.bin", "request": {"url": item.url, "params": {}, "form": None}, "status": 200,
        "bytes": len(BODY), "sha256": sha256(BODY), "licence": "CC0", "author": "Ada",
    }  # fmt: skip
    assert fetcher_of(tmp_path).fetch_one(item) == Fetched(
        fetched.path, fetched.sha256, len(BODY), 0
    )
    assert len(service.calls) == 1
    assert [path.name for path in (tmp_path / "p/a").iterdir()] == ["x.bin"]


def test_query_and_form_are_sent_and_identify_the_request(service: Files, tmp_path: Path) -> None:
    fetcher = fetcher_of(tmp_path)
    query = Item("p/a.json", f"{service.url}/query", params={"a": "ä b"}, content=json_content)
    form = Item("p/b.json", f"{service.url}/query", form={"a": "1"}, content=json_content)
    first, second = fetcher.fetch([query, form], "Answers")
    assert json.loads(first.path.read_text()) == {"a": "ä b"}
    assert json.loads(second.path.read_text()) == {"a": "1"}
    assert {call.method for call in service.calls} == {"GET", "POST"}
    changed = Item("p/b.json", f"{service.url}/query", form={"a": "2"}, content=json_content)
    assert fetcher.fetch_one(changed).requests == 1
    assert json.loads(second.path.read_text()) == {"a": "2"}


def test_order_is_kept_and_bounded_workers_are_used(service: Files, tmp_path: Path) -> None:
    running, most, lock = 0, 0, threading.Lock()

    def slow(_call: Call, true: Answer) -> Answer:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.05)
        with lock:
            running -= 1
        return true

    items = [Item(f"p/{n}", service.add(str(n), body_of(100, n))) for n in range(12)]
    service.fault(r"/files/.*", slow, times=12)
    fetched = fetcher_of(tmp_path, workers=3).fetch(items, "Files")
    assert [entry.sha256 for entry in fetched] == [sha256(body_of(100, n)) for n in range(12)]
    assert 2 <= most <= 3


def test_preview_counts_without_a_request(service: Files, tmp_path: Path) -> None:
    items = [
        Item("p/there", service.add("a", BODY)),
        Item("p/known", service.add("b", BODY), size=5),
        Item("p/guess", service.add("c", BODY), estimate=7),
        Item("p/unknown", service.add("d", BODY)),
    ]
    fetcher_of(tmp_path).fetch_one(items[0])
    before = sorted(tmp_path.rglob("*"))
    assert preview(tmp_path, items) == Preview(items=4, there=1, requests=3, bytes=12, unknown=1)
    assert len(service.calls) == 1
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_shows_files_and_bytes(
    service: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, terminal: bool,
    log: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    shown = io.StringIO()
    shown.isatty = lambda: terminal  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", shown)
    monkeypatch.setattr(bar, "LINE_EVERY", 0.0)
    items = [Item(f"p/{n}", service.add(str(n), BODY), size=len(BODY)) for n in range(3)]
    fetcher_of(tmp_path, workers=1).fetch(items, "Sheets")
    assert "Sheets 0/3" in shown.getvalue()
    assert "/3.00M" in shown.getvalue()
    if not terminal:
        assert "Sheets 2/3" in shown.getvalue()
    assert "Sheets: 3 of 3 files, 0 were there, 3 requests" in log.text


# ---- a file that is there


def test_a_copied_file_is_hashed_and_a_damaged_one_fetched_again(
    service: Files, tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    item = Item("p/x", service.add("x", BODY))
    file = fetcher_of(tmp_path).fetch_one(item).path
    os.utime(file, ns=(1, 1))
    assert fetcher_of(tmp_path).fetch_one(item).requests == 0
    assert rows(tmp_path)[-1]["mtime_ns"] == 1
    file.write_bytes(BODY[:-1] + b"?")
    assert fetcher_of(tmp_path).fetch_one(item).requests == 1
    assert file.read_bytes() == BODY
    assert "differs" not in log.text


def test_a_file_that_vanished_and_came_back_different_is_told(
    service: Files, tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    item = Item("p/x", service.add("x", BODY))
    fetcher_of(tmp_path).fetch_one(item).path.unlink()
    service.add("x", BODY[::-1])
    assert fetcher_of(tmp_path).fetch_one(item).sha256 == sha256(BODY[::-1])
    warning = next(record for record in log.records if record.levelno == logging.WARNING)
    assert sha256(BODY) in warning.getMessage()
    assert sha256(BODY[::-1]) in warning.getMessage()
    assert rows(tmp_path)[-1]["before"] == sha256(BODY)


def test_a_file_without_a_row_counts_only_by_its_digest(service: Files, tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    for name in ("pinned", "wrong", "unknown"):
        (tmp_path / "p" / name).write_bytes(b"?" if name == "wrong" else BODY)
    url, digests = service.add("x", BODY), {"md5": hashlib.md5(BODY).hexdigest().upper()}
    fetcher = fetcher_of(tmp_path)
    assert fetcher.fetch_one(Item("p/pinned", url, digests=digests)).requests == 0
    assert rows(tmp_path)[0]["status"] == "found"
    assert fetcher.fetch_one(Item("p/wrong", url, digests=digests)).requests == 1
    assert fetcher.fetch_one(Item("p/unknown", url)).requests == 1
    assert {file.read_bytes() for file in (tmp_path / "p").iterdir() if file.suffix == ""} >= {BODY}


def test_a_file_of_another_size_is_not_adopted(service: Files, tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p/x").write_bytes(BODY)
    item = Item("p/x", service.add("x", BODY), size=5, digests={"sha256": sha256(BODY)})
    with pytest.raises(FetchError, match="where 5 are expected"):
        fetcher_of(tmp_path, attempts=1).fetch_one(item)


def test_requests_that_differ_in_what_is_hidden_are_two(service: Files, tmp_path: Path) -> None:
    """``layerkey=`` looks like a key, and is hidden in the row."""
    roads, rivers = (
        Item("p/x", f"{service.url}/query?layerkey={name}", content=json_content)
        for name in ("roads", "rivers")
    )
    with pytest.raises(FetchError, match="two downloads have one path"):
        fetcher_of(tmp_path).fetch([roads, rivers], "Files")
    assert fetcher_of(tmp_path).fetch_one(roads).requests == 1
    assert fetcher_of(tmp_path).fetch_one(roads).requests == 0
    assert fetcher_of(tmp_path).fetch_one(rivers).requests == 1
    assert "rivers" not in (tmp_path / "p/manifest.jsonl").read_text()
    row = rows(tmp_path)[-1]
    del row["request"]["sha256"]  # a row from before hashes were written
    Manifest(tmp_path / "p/manifest.jsonl").append(row)
    assert fetcher_of(tmp_path).fetch_one(rivers).requests == 0


def test_a_file_may_be_called_manifest(service: Files, tmp_path: Path) -> None:
    """Its lock is not the manifest's, for which it would wait for ever."""
    item = Item("p/manifest", service.add("x", BODY))
    thread = threading.Thread(target=fetcher_of(tmp_path).fetch_one, args=(item,), daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    assert (tmp_path / "p/manifest").read_bytes() == BODY
    assert rows(tmp_path)[0]["path"] == "p/manifest"


def test_a_recorded_file_is_found_by_its_bytes(
    service: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    item, record = Item("p/a/x", service.add("x", BODY)), tmp_path / "results/record.json"
    file = fetcher_of(tmp_path).fetch_one(item).path
    entry = downloads.described(file, record)
    with monkeypatch.context() as patched:  # the row is enough
        patched.setattr(downloads, "sha256_file", lambda _path: pytest.fail("it is hashed"))
        assert downloads.found_again(entry, record).samefile(file)
    (tmp_path / "p/manifest.jsonl").rename(tmp_path / "rows")
    assert downloads.found_again(entry, record).samefile(file)
    (tmp_path / "rows").rename(tmp_path / "p/manifest.jsonl")
    file.write_bytes(BODY[::-1])
    os.utime(file, ns=(1, 1))
    with pytest.raises(FetchError, match="has changed"):
        downloads.found_again(entry, record)
    fetcher_of(tmp_path).fetch_one(item)
    assert downloads.found_again(entry, record).samefile(file)
    file.unlink()
    with pytest.raises(FetchError, match="is gone"):
        downloads.found_again(entry, record)


def test_another_address_of_a_pinned_file_makes_no_request(service: Files, tmp_path: Path) -> None:
    digests = {"sha256": sha256(BODY)}
    fetcher_of(tmp_path).fetch_one(Item("p/x", service.add("x", BODY), digests=digests))
    mirror = Item("p/x", "http://127.0.0.1:9/nobody", digests=digests)
    assert fetcher_of(tmp_path).fetch_one(mirror).requests == 0


# ---- answers that may be repeated


def test_the_pause_that_the_service_asks_for_is_kept(service: Files, tmp_path: Path) -> None:
    service.fault(r"/files/.*", Answer.text("slow down", 429, **{"Retry-After": "1"}))
    fetched = fetcher_of(tmp_path).fetch_one(Item("p/x", service.add("x", BODY)))
    first, second = service.calls
    assert second.moment - first.moment >= 1.0
    assert fetched.requests == 2


def test_a_pause_too_long_is_an_error_at_once(service: Files, tmp_path: Path) -> None:
    service.fault(r"/files/.*", Answer.text("closed", 503, **{"Retry-After": "86400"}))
    with pytest.raises(FetchError, match="pause of 86400 s"):
        fetcher_of(tmp_path).fetch_one(Item("p/x", service.add("x", BODY)))
    assert len(service.calls) == 1


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 507, 520, 530, 599])
def test_twice_an_error_of_the_server_then_fine(
    service: Files, tmp_path: Path, status: int
) -> None:
    service.fault(r"/files/.*", Answer.text("oops", status), times=2)
    fetched = fetcher_of(tmp_path).fetch_one(Item("p/x", service.add("x", BODY)))
    assert (fetched.requests, fetched.sha256) == (3, sha256(BODY))


def test_a_connection_closed_without_answer_is_repeated(service: Files, tmp_path: Path) -> None:
    service.fault(r"/files/.*", CLOSED, times=2)
    assert fetcher_of(tmp_path).fetch_one(Item("p/x", service.add("x", BODY))).requests == 3


def test_no_server_at_all_is_an_error_after_all_attempts(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="3 attempts failed") as caught:
        fetcher_of(tmp_path, attempts=3).fetch_one(Item("p/x", "http://127.0.0.1:9/x"))
    assert "refused" in str(caught.value)


def test_a_silent_server_is_left_after_the_timeout(service: Files, tmp_path: Path) -> None:
    release = threading.Event()

    def stalled(_call: Call, true: Answer) -> Answer:
        true.cut, true.hold = 600_000, release
        return true

    service.fault(r"/files/.*", stalled)
    begun = time.monotonic()
    fetched = fetcher_of(tmp_path, timeout=0.3).fetch_one(Item("p/x", service.add("x", BODY)))
    assert time.monotonic() - begun < 5
    release.set()
    assert fetched.sha256 == sha256(BODY)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_refusals_fail_at_once_and_say_what_to_do(
    service: Files, tmp_path: Path, status: int
) -> None:
    service.fault(r"/files/.*", Answer.json({"message": "No such key"}, status), times=9)
    key = Key("Testland", "TESTLAND_KEY", "at testland.example/keys")
    with pytest.raises(FetchError) as caught:
        fetcher_of(tmp_path, key=key).fetch_one(Item("p/x", service.add("x", BODY)))
    assert len(service.calls) == 1
    text = str(caught.value)
    assert "No such key" in text
    assert "what to do" in text
    assert isinstance(caught.value, AccessError) == (status != 404)
    if status != 404:
        assert "TESTLAND_KEY" in text
        assert "testland.example/keys" in text
    assert not (tmp_path / "p/manifest.jsonl").exists()


# ---- bodies that are not what they should be


def test_a_body_cut_short_is_continued(service: Files, tmp_path: Path) -> None:
    service.fault(r"/files/.*", cut_after(600_000))
    fetched = fetcher_of(tmp_path).fetch_one(Item("p/x", service.add("x", BODY)))
    assert fetched.path.read_bytes() == BODY
    second = service.calls[1]
    assert second.headers["range"] == "bytes=600000-"
    assert second.headers["if-range"] == f'"{hashlib.md5(BODY).hexdigest()}"'
    assert rows(tmp_path)[0]["status"] == 206


def test_a_body_cut_short_without_validator_begins_anew(service: Files, tmp_path: Path) -> None:
    service.add("x", BODY)
    service.fault(r"/plain/.*", cut_after(600_000))
    fetched = fetcher_of(tmp_path).fetch_one(Item("p/x", f"{service.url}/plain/x"))
    assert fetched.path.read_bytes() == BODY
    assert ranges(service) == [None, None]


def test_a_service_that_ignores_ranges_is_no_harm(service: Files, tmp_path: Path) -> None:
    service.fault(r"/files/.*", cut_after(600_000))
    service.fault(r"/files/.*", Answer(body=BODY))
    fetched = fetcher_of(tmp_path).fetch_one(Item("p/x", service.add("x", BODY)))
    assert fetched.path.read_bytes() == BODY


@pytest.mark.parametrize("answer", [{"length": False}, {"chunked": True}])
def test_no_content_length(service: Files, tmp_path: Path, answer: dict) -> None:
    service.fault(r"/files/.*", Answer(body=BODY, **answer))
    fetched = fetcher_of(tmp_path).fetch_one(Item("p/x", service.add("x", BODY)))
    assert (fetched.path.read_bytes(), fetched.requests) == (BODY, 1)


def test_chunks_without_an_end_are_a_short_body(service: Files, tmp_path: Path) -> None:
    service.fault(r"/files/.*", Answer(body=BODY, chunked=True, cut=600_000))
    fetched = fetcher_of(tmp_path).fetch_one(Item("p/x", service.add("x", BODY)))
    assert (fetched.path.read_bytes(), fetched.requests) == (BODY, 2)


def test_a_known_size_finds_what_the_connection_hides(service: Files, tmp_path: Path) -> None:
    short = Answer(body=BODY[:-7], length=False)
    service.fault(r"/files/.*", short, times=2)
    item = Item("p/x", service.add("x", BODY), size=len(BODY))
    assert fetcher_of(tmp_path).fetch_one(item).requests == 3
    long = Answer(body=BODY + b"more", length=False)
    service.fault(r"/files/.*", long, times=3)
    with pytest.raises(FetchError, match="of 1000000 bytes came"):
        fetcher_of(tmp_path, attempts=3).fetch_one(
            Item("p/y", service.add("y", BODY), size=len(BODY))
        )
    assert not (tmp_path / "p/y").exists()


def test_another_announced_size_is_not_even_received(service: Files, tmp_path: Path) -> None:
    item = Item("p/x", service.add("x", BODY), size=5)
    with pytest.raises(FetchError, match="1000000 bytes of application/octet-stream are announced"):
        fetcher_of(tmp_path, attempts=2).fetch_one(item)
    assert not (tmp_path / "p/x.part").exists()


def test_a_wrong_checksum_names_both_and_keeps_nothing(service: Files, tmp_path: Path) -> None:
    item = Item("p/x", service.add("x", BODY), digests={"sha256": sha256(b"other")})
    with pytest.raises(FetchError) as caught:
        fetcher_of(tmp_path).fetch_one(item)
    assert sha256(b"other") in str(caught.value)
    assert sha256(BODY) in str(caught.value)
    assert len(service.calls) == 1  # 66 GB are not fetched six times for a typo
    left = [path.name for path in (tmp_path / "p").iterdir() if not path.name.startswith(".")]
    assert left == []


def test_html_with_status_200_is_no_image(service: Files, tmp_path: Path) -> None:
    service.fault(r"/files/.*", HTML_PAGE, times=2)
    item = Item("p/x.png", service.add("x", PNG.getvalue()), content=image_content)
    assert fetcher_of(tmp_path).fetch_one(item).requests == 3
    service.fault(r"/files/.*", HTML_PAGE, times=3)
    other = Item("p/y.png", service.add("y", PNG.getvalue()), content=image_content)
    with pytest.raises(ContentError, match="an HTML page") as caught:
        fetcher_of(tmp_path, attempts=3).fetch_one(other)
    assert "expected: an image" in str(caught.value)
    assert f"p/y.png from {service.url}/files/y" in str(caught.value)
    assert [row["path"] for row in rows(tmp_path)] == ["p/x.png"]
    assert not (tmp_path / "p/y.png").exists()


def test_another_error_of_a_content_check_is_final(service: Files, tmp_path: Path) -> None:
    def spent(_file: Path) -> None:
        raise FetchError("the quota is spent")

    with pytest.raises(FetchError, match="quota is spent"):
        fetcher_of(tmp_path).fetch_one(Item("p/x", service.add("x", BODY), content=spent))
    assert len(service.calls) == 1
    assert not (tmp_path / "p/x.part").exists()


def test_packing_by_the_server_is_undone_unless_the_file_itself_is_gzip(
    service: Files, tmp_path: Path
) -> None:
    packed = Answer(body=gzip.compress(BODY), headers={"Content-Encoding": "gzip"})
    service.fault(r"/files/.*", packed, times=2)
    fetcher = fetcher_of(tmp_path)
    assert fetcher.fetch_one(Item("p/x.bin", service.add("x", b"-"))).sha256 == sha256(BODY)
    kept = fetcher.fetch_one(Item("p/x.tar.gz", service.add("y", b"-")))
    assert kept.path.read_bytes() == packed.body
    assert service.calls[0].headers["accept-encoding"] == "identity"


# ---- resume


CHILD = """
import signal, sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored below nohup
from geolatents.acquire.fetch.fetcher import Fetcher, Item
from geolatents.acquire.fetch.http import Client, Pace
root, url, limit = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
if limit:
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
fetcher = Fetcher(root, Client("Testland", Pace(1000, root / ".pace"), timeout=30))
print(fetcher.fetch([Item("p/x", url)], "Files")[0].requests, flush=True)
"""


def child(root: Path, url: str, limit: int = 0) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(root), url, str(limit)],
        cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def wait_for_bytes(file: Path, n_bytes: int) -> None:
    deadline = time.monotonic() + 60
    while not (file.exists() and file.stat().st_size >= n_bytes):
        assert time.monotonic() < deadline, f"{file} does not grow"
        time.sleep(0.01)


@pytest.mark.parametrize("way", [signal.SIGKILL, signal.SIGINT])
def test_only_the_rest_is_fetched_after_a_kill(
    service: Files, tmp_path: Path, way: signal.Signals
) -> None:
    release = threading.Event()
    given: list[int] = []

    def stalled(_call: Call, true: Answer) -> Answer:
        true.cut, true.hold = 700_000, release
        return true

    def counted(_call: Call, true: Answer) -> Answer:
        given.append(len(true.body))
        return true

    item = Item("p/x", service.add("x", BODY))
    service.fault(r"/files/.*", stalled)
    process = child(tmp_path, item.url)
    try:
        part = tmp_path / "p/x.part"
        wait_for_bytes(part, 1)
        time.sleep(0.2)
        process.send_signal(way)
        if way == signal.SIGINT:
            release.set()  # it ends at its next piece, which never comes from a server that hangs
        process.communicate(timeout=30)
    finally:
        process.kill()
        release.set()
    assert process.returncode != 0
    assert not (tmp_path / "p/x").exists()
    have = part.stat().st_size
    assert 600_000 < have <= 700_000
    service.fault(r"/files/.*", counted)
    fetched = fetcher_of(tmp_path).fetch_one(item)
    assert fetched.path.read_bytes() == BODY
    assert ranges(service) == [None, f"bytes={have}-"]
    assert given == [len(BODY) - have]
    assert not part.exists()
    assert not (tmp_path / "p/x.part.json").exists()


def begun(service: Files, root: Path, **settings: object) -> Item:
    """An item of which 600 000 bytes have come."""
    item = Item("p/x", service.add("x", BODY), **settings)  # type: ignore[arg-type]
    service.fault(r"/files/.*", cut_after(600_000))
    with pytest.raises(FetchError):
        fetcher_of(root, attempts=1).fetch_one(item)
    assert (root / "p/x.part").stat().st_size == 600_000
    service.calls.clear()
    return item


def test_a_changed_etag_begins_anew(service: Files, tmp_path: Path) -> None:
    item = begun(service, tmp_path)
    service.add("x", BODY[::-1])
    fetched = fetcher_of(tmp_path).fetch_one(item)
    assert fetched.path.read_bytes() == BODY[::-1]
    assert ranges(service) == ["bytes=600000-"]  # If-Range made the server send all


def test_a_changed_etag_is_seen_where_the_server_ignores_if_range(
    service: Files, tmp_path: Path
) -> None:
    item = begun(service, tmp_path)
    changed = BODY[::-1]
    service.add("x", changed)

    def careless(call: Call, _true: Answer) -> Answer:
        call.headers.pop("if-range")
        return Answer.file(call, changed)

    service.fault(r"/files/.*", careless)
    fetched = fetcher_of(tmp_path).fetch_one(item)
    assert fetched.path.read_bytes() == changed
    assert ranges(service) == ["bytes=600000-", None]


@pytest.mark.parametrize("other", ["Sun, 02 Jan 2000 00:00:00 GMT", None])
def test_another_last_modified_is_seen_where_the_server_ignores_if_range(
    service: Files, tmp_path: Path, other: str | None
) -> None:
    old, new = {"Last-Modified": "Sat, 01 Jan 2000 00:00:00 GMT"}, body_of(len(BODY), 1)
    body, dates = (new, {"Last-Modified": other}) if other else (BODY, {})
    rest = {"Content-Range": f"bytes 600000-{len(BODY) - 1}/{len(BODY)}"}
    service.fault(r"/plain/.*", Answer(body=BODY, headers=old, cut=600_000))
    service.fault(r"/plain/.*", Answer(206, body[600_000:], dates | rest))
    service.add("x", new)
    fetched = fetcher_of(tmp_path).fetch_one(Item("p/x", f"{service.url}/plain/x"))
    assert fetched.path.read_bytes() == body
    assert ranges(service) == [None, "bytes=600000-", *([None] if other else [])]


@pytest.mark.parametrize(
    "headers", [{"ETag": 'W/"1"'}, {"Last-Modified": "now"}, {"ETag": 'W/"1"', "Last-Modified": "old"}]
)  # fmt: skip
def test_what_does_not_tell_versions_apart_continues_nothing(
    service: Files, tmp_path: Path, headers: dict[str, str]
) -> None:
    """A weak ETag, and a Last-Modified within a minute of Date (RFC 9110, 8.8.2.2 and 13.1.5)."""
    dates = {"now": formatdate(usegmt=True), "old": "Sat, 01 Jan 2000 00:00:00 GMT"}
    sent = {name: dates.get(value, value) for name, value in headers.items()}
    service.fault(r"/files/.*", Answer(body=BODY, headers=sent, cut=600_000))
    fetched = fetcher_of(tmp_path).fetch_one(Item("p/x", service.add("x", BODY)))
    assert fetched.path.read_bytes() == BODY
    assert ranges(service) == [None, None]


def test_a_form_is_not_continued(service: Files, tmp_path: Path) -> None:
    """Its answer is made anew; an ETag of it says nothing about the next one."""
    service.fault(r"/files/.*", cut_after(600_000))
    item = Item("p/x", service.add("x", BODY), form={"a": "1"})
    assert fetcher_of(tmp_path).fetch_one(item).path.read_bytes() == BODY
    assert ranges(service) == [None, None]


def test_a_part_longer_than_the_file_begins_anew(service: Files, tmp_path: Path) -> None:
    item = begun(service, tmp_path)
    (tmp_path / "p/x.part").write_bytes(BODY + b"more")
    assert fetcher_of(tmp_path).fetch_one(item).path.read_bytes() == BODY
    assert ranges(service) == [None]


@pytest.mark.parametrize(
    "content_range", ["bytes 500000-999999/1000000", "bytes 600000-999999/2000000", ""]
)
def test_a_part_that_does_not_fit_is_not_joined(
    service: Files, tmp_path: Path, content_range: str
) -> None:
    item = begun(service, tmp_path)
    service.fault(
        r"/files/.*", Answer(206, BODY[:400_000], {"Content-Range": content_range})
    )  # fmt: skip
    assert fetcher_of(tmp_path).fetch_one(item).path.read_bytes() == BODY


def test_a_range_that_cannot_be_satisfied_begins_anew(service: Files, tmp_path: Path) -> None:
    item = begun(service, tmp_path)
    service.fault(r"/files/.*", Answer(416, b"", {"Content-Range": "bytes */500"}))
    fetched = fetcher_of(tmp_path).fetch_one(item)
    assert fetched.path.read_bytes() == BODY
    assert ranges(service) == ["bytes=600000-", None]


def test_joined_parts_with_a_wrong_checksum_begin_anew(service: Files, tmp_path: Path) -> None:
    """Without a validator the pinned digest allows to continue, and finds two versions in one file."""
    service.add("x", BODY)
    body = BODY[::-1]

    def partial(call: Call, _true: Answer) -> Answer:
        answer = Answer.file(call, body)
        del answer.headers["ETag"]
        return answer

    service.fault(r"/plain/.*", lambda _call, true: cut_after(600_000)(_call, true))
    service.fault(r"/plain/.*", partial)
    service.fault(r"/plain/.*", partial)
    item = Item("p/x", f"{service.url}/plain/x", digests={"sha256": sha256(body)})
    assert fetcher_of(tmp_path).fetch_one(item).path.read_bytes() == body
    assert ranges(service) == [None, "bytes=600000-", None]


def test_a_part_of_another_request_is_not_continued(service: Files, tmp_path: Path) -> None:
    begun(service, tmp_path)
    other = Item("p/x", service.add("other", BODY[::-1]))
    assert fetcher_of(tmp_path).fetch_one(other).path.read_bytes() == BODY[::-1]
    assert ranges(service) == [None]


def test_last_modified_is_a_validator_once_it_is_old(service: Files, tmp_path: Path) -> None:
    dates = {"Last-Modified": "Sat, 01 Jan 2000 00:00:00 GMT"}

    def dated(call: Call, _true: Answer) -> Answer:
        fits = call.headers.get("if-range") == dates["Last-Modified"]
        call.headers.pop("if-range", None)
        answer = Answer.file(call, BODY)
        del answer.headers["ETag"]
        answer.headers |= dates
        return answer if fits else Answer(body=BODY, headers=dates, cut=600_000)

    service.fault(r"/files/.*", dated, times=2)
    fetched = fetcher_of(tmp_path).fetch_one(Item("p/x", service.add("x", BODY)))
    assert fetched.path.read_bytes() == BODY
    assert ranges(service) == [None, "bytes=600000-"]


def test_a_part_that_was_whole_needs_no_request(service: Files, tmp_path: Path) -> None:
    item = begun(service, tmp_path)
    (tmp_path / "p/x.part").write_bytes(BODY)
    assert fetcher_of(tmp_path).fetch_one(item).path.read_bytes() == BODY
    assert service.calls == []


def test_a_large_file_may_lose_its_connection_more_often_than_attempts(
    service: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "WORTH", 100_000)
    service.fault(r"/files/.*", cut_after(130_000), times=20)
    fetched = fetcher_of(tmp_path, attempts=2).fetch_one(Item("p/x", service.add("x", BODY)))
    assert fetched.path.read_bytes() == BODY
    assert fetched.requests == 8


def test_a_dropped_part_is_no_progress_to_reach_again(
    service: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(service, tmp_path)
    monkeypatch.setattr(transfer, "WORTH", 100_000)
    service.fault(r"/files/.*", cut_after(130_000), times=20)
    other = Item("p/x", service.add("other", BODY[::-1]))
    fetched = fetcher_of(tmp_path, attempts=1).fetch_one(other)
    assert fetched.path.read_bytes() == BODY[::-1]


# ---- other processes, full disks


def test_two_processes_on_one_item_make_one_request(service: Files, tmp_path: Path) -> None:
    def slow(_call: Call, true: Answer) -> Answer:
        time.sleep(1.0)
        return true

    url = service.add("x", BODY)
    service.fault(r"/files/.*", slow)
    processes = [child(tmp_path, url) for _ in range(2)]
    outputs = [process.communicate(timeout=60) for process in processes]
    assert sorted(output[0].strip() for output in outputs) == ["0", "1"], outputs
    assert len(service.calls) == 1
    assert len(rows(tmp_path)) == 1


def test_a_full_disk_is_said_and_harms_nothing(service: Files, tmp_path: Path) -> None:
    """A limit on the size of files fails in the middle of a write as a full disk does (EFBIG, not ENOSPC)."""
    whole = fetcher_of(tmp_path).fetch_one(Item("p/whole", service.add("whole", BODY)))
    before = (tmp_path / "p/manifest.jsonl").read_bytes()
    url = service.add("x", BODY)
    process = child(tmp_path, url, limit=400_000)
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "FetchError: there is no room for a download" in errors
    assert f"where: {tmp_path / 'p'}" in errors
    assert "0.6 MB free for the rest of the file" in errors
    assert whole.path.read_bytes() == BODY
    assert (tmp_path / "p/manifest.jsonl").read_bytes() == before
    assert not (tmp_path / "p/x").exists()
    assert (tmp_path / "p/x.part").stat().st_size == 400_000
    assert fetcher_of(tmp_path).fetch_one(Item("p/x", url)).path.read_bytes() == BODY
    assert ranges(service)[-1] == "bytes=400000-"


def test_a_full_file_system(service: Files, tmp_path: Path) -> None:
    """The same on a real file system of one megabyte, mounted for the child alone."""
    root = tmp_path / "small"
    root.mkdir()
    url = service.add("x", body_of(3_000_000))
    service.fault(r"/files/.*", Answer(body=service.files["x"], chunked=True))  # no length to check
    script = (
        'mount -t tmpfs -o size=1m none "$1" && "$2" -c "$3" "$1" "$4" 0; '
        'echo "code $?"; ls -A "$1/p"'
    )
    if shutil.which("unshare") is None:
        pytest.skip("unshare is not installed")
    ran = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh",
         str(root), sys.executable, CHILD, url],
        cwd=ROOT, text=True, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    if "FetchError" not in ran.stderr and not service.calls:
        pytest.skip(f"file systems cannot be mounted here: {ran.stderr.strip()[:200]}")
    assert "there is no room for a download" in ran.stderr, ran.stderr
    assert "code 1" in ran.stdout
    assert "manifest.jsonl" not in ran.stdout


def test_too_large_for_the_disk_is_said_before_the_first_byte(
    service: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")(10, 10, 999_999)
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: usage)
    with pytest.raises(FetchError, match=r"1\.0 MB free for the rest"):
        fetcher_of(tmp_path).fetch_one(Item("p/x", service.add("x", BODY)))
    assert len(service.calls) == 1
    assert not (tmp_path / "p/x.part").exists()


def test_too_large_a_rest_is_said_before_it_comes(
    service: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = begun(service, tmp_path)
    usage = namedtuple("usage", "total used free")(10, 10, 399_999)
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: usage)
    with pytest.raises(FetchError, match=r"0\.4 MB free for the rest"):
        fetcher_of(tmp_path).fetch_one(item)
    assert (tmp_path / "p/x.part").stat().st_size == 600_000


def test_a_row_that_does_not_fit_on_the_disk_leaves_the_manifest_as_it_was(
    service: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetcher = fetcher_of(tmp_path)
    fetcher.fetch_one(Item("p/first", service.add("first", BODY)))
    before = (tmp_path / "p/manifest.jsonl").read_bytes()
    true_write, calls = os.write, 0

    def full(target: int, data: bytes) -> int:
        nonlocal calls
        if b'"path":"p/x"' not in data and calls == 0:
            return true_write(target, data)
        calls += 1
        if calls == 1:
            return true_write(target, data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    item = Item("p/x", service.add("x", BODY))
    with pytest.raises(FetchError, match="no room"):
        fetcher.fetch_one(item)
    monkeypatch.undo()
    assert calls == 2
    assert (tmp_path / "p/manifest.jsonl").read_bytes() == before
    assert fetcher_of(tmp_path).fetch_one(item).requests == 1


# ---- secrets


def test_a_redirect_to_another_host_takes_no_secret_along(service: Files, tmp_path: Path) -> None:
    with Files().running() as other:
        other.add("x", BODY)
        abroad = f"{other.url.replace('127.0.0.1', 'localhost')}/files/x"
        for target in (abroad, f"{other.url}/files/x", f"{service.url}/files/x"):
            service.add("x", BODY)
            service.fault(r"/door", Answer.redirect(target))
            secrets = {"X-Api-Key": "hush-hush-1", "Authorization": "Bearer hush-hush-2"}
            fetcher = fetcher_of(tmp_path, secret_headers=secrets)
            fetcher.fetch_one(Item(f"p/{len(service.calls)}", f"{service.url}/door"))
        assert len(other.calls) == 2
        assert all("hush" not in str(call) for call in other.calls)
        for call in service.calls:  # the same host has them again after a redirect
            assert call.headers["x-api-key"] == "hush-hush-1"
            assert call.headers["authorization"] == "Bearer hush-hush-2"


def test_secrets_stay_at_home(service: Files, tmp_path: Path) -> None:
    with Files().running() as other:
        fetcher = fetcher_of(
            tmp_path, home=service.url,
            secret_headers={"X-Api-Key": "hush-hush-1"}, secret_params={"token": "hush-hush-2"},
        )  # fmt: skip
        items = [Item("p/a", service.add("a", BODY)), Item("p/b", other.add("b", BODY))]
        fetcher.fetch(items, "Files")
        assert service.calls[0].headers["x-api-key"] == "hush-hush-1"
        assert service.calls[0].query == {"token": "hush-hush-2"}
        assert "hush" not in str(other.calls)


def test_secrets_are_nowhere(service: Files, tmp_path: Path, log: pytest.LogCaptureFixture) -> None:
    """Not in rows, logs and errors, whatever goes wrong, and not in files beside the download."""
    key, ticket = "hush key/+ä", "s1gned-ticket"
    remember(key)
    url = service.add("x", BODY)

    def echo(call: Call, _true: Answer) -> Answer:
        return Answer.json({"error": "bad", "you_sent": call.query, "headers": call.headers}, 500)

    def told(item: Item, **settings: object) -> str:
        with pytest.raises(FetchError) as caught:
            fetcher_of(
                tmp_path, attempts=2, secret_params={"apikey": key},
                secret_headers={"X-Key": "plain-secret-key"}, **settings,
            ).fetch_one(item)  # fmt: skip
        return str(caught.value) + repr(caught.value) + repr(caught.value.__cause__)

    signed = {"address": lambda: f"{url}?X-Amz-Signature={ticket}&ticket={ticket}"}
    texts = []
    for fault in (echo, CLOSED, HTML_PAGE, cut_after(10), Answer.text("no", 404)):
        for more in ({}, signed):
            service.fault(r"/files/.*", fault, times=2)
            item = Item("p/x", url, content=image_content, **more)  # type: ignore[arg-type]
            texts.append(told(item))
            service.faults.clear()
    texts.append(told(Item("p/n", "http://127.0.0.1:9/x", address=lambda: f"http://127.0.0.1:9/x?ticket={ticket}")))  # fmt: skip
    texts.append(told(Item("p/n", url, address=lambda: f"http:///x?ticket={ticket}")))
    fetcher_of(tmp_path, secret_params={"apikey": key}).fetch_one(
        Item("p/y", url, facts={"note": f"made with {key}"}, **signed)  # type: ignore[arg-type]
    )
    texts += [record.getMessage() for record in log.records]
    assert log.records
    texts += [path.read_text("latin-1") for path in tmp_path.rglob("*") if path.is_file() and path.name != "y"]  # fmt: skip
    for secret in (key, "hush", ticket, "plain-secret-key"):
        assert not [text for text in texts if secret in text]
    assert any("***" in text for text in texts)


# ---- addresses that expire


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_an_expired_address_is_renewed_and_the_download_continued(
    service: Files, tmp_path: Path, status: int
) -> None:
    given: list[str] = []

    def address() -> str:
        given.append(f"{service.url}/signed?ticket={len(given)}")
        return given[-1]

    service.route(r"/signed", lambda call: Answer.file(call, BODY))
    for _ in range(2):  # it may expire as often as bytes come between
        service.fault(r"/signed", cut_after(300_000))
        service.fault(r"/signed", Answer.text("expired", status))
    item = Item("p/x", "https://testland.example/x", address=address)
    fetched = fetcher_of(tmp_path).fetch_one(item)
    assert fetched.path.read_bytes() == BODY
    assert [call.query["ticket"] for call in service.calls] == ["0", "0", "1", "1", "2"]
    third, rest = "bytes=300000-", "bytes=600000-"
    assert ranges(service) == [None, third, third, rest, rest]
    assert rows(tmp_path)[0]["request"]["url"] == "https://testland.example/x"
    assert "ticket" not in (tmp_path / "p/manifest.jsonl").read_text()


def test_a_new_address_that_is_refused_too_is_an_error(service: Files, tmp_path: Path) -> None:
    service.fault(r"/signed", Answer.text("not for you", 403), times=9)
    item = Item("p/x", "https://testland.example/x", address=lambda: f"{service.url}/signed?t=1")
    with pytest.raises(AccessError, match="not for you"):
        fetcher_of(tmp_path).fetch_one(item)
    assert len(service.calls) == 2


# ---- several files


def test_an_error_stops_new_downloads_and_lets_running_ones_end(
    service: Files, tmp_path: Path
) -> None:
    items = [Item(f"p/{n}", service.add(str(n), body_of(100, n))) for n in range(40)]

    def slow(_call: Call, true: Answer) -> Answer:
        time.sleep(0.3)
        return true

    service.fault(r"/files/0", Answer.text("gone", 404))
    service.fault(r"/files/1", slow)
    with pytest.raises(FetchError, match="404"):
        fetcher_of(tmp_path, workers=2).fetch(items, "Files")
    assert (tmp_path / "p/1").read_bytes() == body_of(100, 1)
    assert len(service.calls) < 40


def test_one_path_for_two_requests_is_refused(service: Files, tmp_path: Path) -> None:
    items = [Item("p/x", f"{service.url}/a"), Item("p/x", f"{service.url}/b")]
    with pytest.raises(FetchError, match="two downloads have one path"):
        fetcher_of(tmp_path).fetch(items, "Files")
    assert service.calls == []


@pytest.mark.parametrize(
    "path",
    ["x", "/p/x", "../x", "p/../x", "p//x", "p/./x", "p/.x", "p/x/", "p\\..\\x", "p/manifest.jsonl",
     "p/x.part", "p/" + "ä" * 101, "p/a\0b", ""],
)  # fmt: skip
def test_paths_outside_the_folder_are_refused(path: str) -> None:
    with pytest.raises(FetchError, match="unusable path"):
        Item(path, "http://127.0.0.1:9/x")


def test_facts_leave_the_own_columns_alone() -> None:
    with pytest.raises(ValueError, match="facts"):
        Item("p/x", "http://127.0.0.1:9/x", facts={"sha256": "mine"})


# ---- files made by other means


def test_a_made_file_has_the_same_guarantees(tmp_path: Path) -> None:
    item = Item("p/a/x.png", "https://testland.example/scene", content=image_content)
    paths: list[Path] = []

    def produce(file: Path) -> None:
        paths.append(file)
        file.write_bytes(PNG.getvalue())
        file.with_suffix(".aux.xml").write_text("what writers leave beside their files")

    fetcher = fetcher_of(tmp_path)
    assert fetcher.make(item, produce).requests == 1
    assert fetcher.make(item, produce).requests == 0
    assert len(paths) == 1
    assert paths[0].suffix == ".png"
    assert rows(tmp_path)[0]["status"] == "made"
    assert [path.name for path in (tmp_path / "p/a").iterdir()] == ["x.png"]


def test_a_made_file_that_is_wrong_or_fails_leaves_nothing(tmp_path: Path) -> None:
    item = Item("p/x.png", "https://testland.example/scene", content=image_content)
    with pytest.raises(ContentError, match=r"where: p/x\.png"):
        fetcher_of(tmp_path).make(item, lambda file: file.write_bytes(b"GIF8"))  # type: ignore[arg-type,return-value]
    with pytest.raises(ContentError, match="no file"):
        fetcher_of(tmp_path).make(item, lambda _file: None)
    with pytest.raises(ZeroDivisionError):
        fetcher_of(tmp_path).make(item, lambda _file: 1 // 0)  # type: ignore[arg-type,return-value]
    assert {path.name for path in (tmp_path / "p").iterdir()} <= {".x.png.lock"}


# ---- the manifest


def test_a_torn_row_is_closed_and_costs_its_own_file_alone(service: Files, tmp_path: Path) -> None:
    items = [Item(f"p/{n}", service.add(str(n), body_of(100, n))) for n in range(3)]
    for item in items:
        fetcher_of(tmp_path).fetch_one(item)
    manifest = tmp_path / "p/manifest.jsonl"
    manifest.write_bytes(manifest.read_bytes()[:-40])  # killed within the last row
    service.calls.clear()
    fetched = fetcher_of(tmp_path).fetch(items, "Files")
    assert [entry.requests for entry in fetched] == [0, 0, 1]
    assert [entry.requests for entry in fetcher_of(tmp_path).fetch(items, "Files")] == [0, 0, 0]
    assert len(service.calls) == 1
    lines = manifest.read_text().splitlines()
    assert len(lines) == 4  # the torn one stays, closed
    with pytest.raises(ValueError, match=r"."):
        json.loads(lines[2])


APPEND = """
import sys
from pathlib import Path
from geolatents.acquire.fetch.manifest import Manifest
manifest = Manifest(Path(sys.argv[1]))
for number in range(int(sys.argv[3])):
    manifest.append(
        {"path": f"p/{sys.argv[2]}-{number}", "request": {}, "bytes": 1, "sha256": "x" * 3000, "mtime_ns": 1}
    )
"""


def test_rows_of_several_processes_do_not_mix(tmp_path: Path) -> None:
    file = tmp_path / "manifest.jsonl"
    processes = [
        subprocess.Popen([sys.executable, "-c", APPEND, str(file), str(n), "40"], cwd=ROOT)
        for n in range(3)
    ]
    killed = subprocess.Popen([sys.executable, "-c", APPEND, str(file), "k", "100000"], cwd=ROOT)
    wait_for_bytes(file, 50_000)
    time.sleep(0.3)
    killed.kill()
    killed.wait()
    assert [process.wait() for process in processes] == [0, 0, 0]
    found = Manifest(file)
    assert all(found.row(f"p/{n}-{number}") for n in range(3) for number in range(40))


def test_a_row_waits_for_the_lock(tmp_path: Path) -> None:
    """Mending a torn row and taking back a part of one must not meet a row of another process."""
    file = tmp_path / "manifest.jsonl"
    writer = threading.Thread(target=Manifest(file).append, args=(row_of("p/x", 1),))
    with FileLock(tmp_path / ".manifest.jsonl.lock"):
        writer.start()
        time.sleep(0.1)
        assert not file.exists()
    writer.join()
    assert Manifest(file).row("p/x") == row_of("p/x", 1)


def row_of(path: str, value: object) -> dict:
    return {"path": path, "request": {}, "bytes": 1, "sha256": "0", "mtime_ns": 1, "value": value}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), json_values), min_size=1, max_size=6), st.integers(0)
)
def test_a_manifest_cut_anywhere_keeps_its_whole_rows(
    tmp_path_factory: pytest.TempPathFactory, entries: list[tuple[str, object]], cut: int
) -> None:
    file = tmp_path_factory.mktemp("manifest") / "manifest.jsonl"
    reader, ends = Manifest(file), []
    for path, value in entries:
        Manifest(file).append(row_of(path, value))
        ends.append(file.stat().st_size)
        assert reader.row(path) == row_of(path, value)
    kept = cut % (ends[-1] + 1)
    file.write_bytes(file.read_bytes()[:kept])
    closed = [entry for entry, end in zip(entries, ends, strict=True) if end <= kept]
    assert rows_of(reader) == {path: row_of(path, value) for path, value in closed}
    Manifest(file).append(row_of("new", 1))  # closes the last row, which may lack its end alone
    whole = [entry for entry, end in zip(entries, ends, strict=True) if end - 1 <= kept]
    expected = {path: row_of(path, value) for path, value in whole} | {"new": row_of("new", 1)}
    assert rows_of(Manifest(file)) == expected


def rows_of(manifest: Manifest) -> dict[str, dict]:
    found = {path: manifest.row(path) for path in (*"abc", "new")}
    return {path: row for path, row in found.items() if row is not None}
