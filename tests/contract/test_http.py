"""The client over real sockets: what is repeated, how long it waits, what it says."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from geolatents.acquire.fetch import http
from geolatents.acquire.fetch.http import Again, Client, Pace, retry_after
from geolatents.acquire.fetch.secrets import Key
from geolatents.errors import AccessError, FetchError
from tests.services.base import CLOSED, HTML_PAGE, Answer, LocalService, cut_after

ROOT = Path(__file__).resolve().parents[2]


class Echo(LocalService):
    """Says what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.route(r"/echo", lambda call: Answer.json({"method": call.method, **call.parameters}))
        self.route(r"/json", lambda call: Answer.json(call.json))
        self.route(r"/round", lambda _call: Answer.redirect("/round"))


@pytest.fixture
def service() -> Iterator[Echo]:
    with Echo().running() as running:
        yield running


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "BACKOFF", 0.001)


def client_of(folder: Path, rate: float = 1000, **settings: object) -> Client:
    return Client("Testland", Pace(rate, folder), **{"timeout": 10.0, **settings})  # type: ignore[arg-type]


def test_ways_to_ask(service: Echo, tmp_path: Path) -> None:
    client = client_of(tmp_path, contact="ada@example.org")
    url = f"{service.url}/echo"
    assert client.json(url, params={"a": 1}) == {"method": "GET", "a": "1"}
    assert client.json(url, method="POST", form={"a": "ä"}) == {"method": "POST", "a": "ä"}
    assert client.json(f"{service.url}/json", method="POST", body={"a": [1]}) == {"a": [1]}
    assert client.bytes(url) == b'{"method": "GET"}'
    for call in service.calls:
        assert call.headers["user-agent"].startswith("geolatents/")
        assert "(ada@example.org)" in call.headers["user-agent"]


@pytest.mark.parametrize("fault", [CLOSED, HTML_PAGE, cut_after(5), Answer.text("", 503)])
def test_spoiled_answers_are_repeated(service: Echo, tmp_path: Path, fault: object) -> None:
    service.fault(r"/echo", fault, times=2)  # type: ignore[arg-type]
    assert client_of(tmp_path).json(f"{service.url}/echo") == {"method": "GET"}
    assert len(service.calls) == 3


def test_a_check_of_the_answer_may_ask_again(service: Echo, tmp_path: Path) -> None:
    answers = iter([{"error": {"code": 6}}, {"ok": 1}])
    service.route(r"/vague", lambda _call: Answer.json(next(answers)))

    def check(answer: dict) -> None:
        if "error" in answer:
            raise Again("too many requests per second", 0.3)

    assert client_of(tmp_path).json(f"{service.url}/vague", check=check) == {"ok": 1}
    first, second = service.calls
    assert second.moment - first.moment >= 0.3


def test_the_last_attempt_says_what_was_wrong(service: Echo, tmp_path: Path) -> None:
    service.fault(r"/echo", HTML_PAGE, times=9)
    with pytest.raises(FetchError, match="no JSON but text/html") as caught:
        client_of(tmp_path, attempts=3).json(f"{service.url}/echo")
    assert "3 attempts failed" in str(caught.value)
    assert len(service.calls) == 3


def test_backoff_grows_and_is_bounded(
    service: Echo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Full jitter: uniform below a bound that doubles. With the jitter taken out the bound itself is seen."""
    waits: list[float] = []
    monkeypatch.setattr(http, "BACKOFF", 0.5)
    monkeypatch.setattr("tenacity.nap.time.sleep", waits.append)
    lows: list[float] = []
    monkeypatch.setattr("random.uniform", lambda low, high: (lows.append(low), high)[1])
    service.fault(r"/echo", Answer.text("", 500), times=99)
    with pytest.raises(FetchError):
        client_of(tmp_path, attempts=10).json(f"{service.url}/echo")
    assert [wait for wait in waits if wait > 0.1] == [
        0.5,
        1,
        2,
        4,
        8,
        16,
        32,
        60,
        60,
    ]  # less the pace
    assert len(lows) >= 9
    assert not any(lows)  # each is drawn, from nothing on


def test_refusals_say_what_to_do_and_are_not_repeated(service: Echo, tmp_path: Path) -> None:
    key = Key("Testland", "TESTLAND_KEY", "at testland.example/keys")
    client = client_of(tmp_path, key=key)
    service.fault(r"/echo", Answer.json({"message": "Please enter your key"}, 401))
    with pytest.raises(AccessError, match="Please enter your key") as caught:
        client.json(f"{service.url}/echo", params={"layer": "roads"})
    assert "set TESTLAND_KEY; a key is obtained at testland.example/keys" in str(caught.value)
    assert "layer=roads" in str(caught.value)
    service.fault(r"/echo", Answer.text("<html><body>Not here</body></html>", 404))
    with pytest.raises(FetchError, match="an HTML page"):
        client.json(f"{service.url}/echo")
    service.fault(r"/echo", Answer.text("bbox is missing", 400))
    with pytest.raises(FetchError, match="bbox is missing"):
        client.json(f"{service.url}/echo")
    assert len(service.calls) == 3


def test_redirects_without_end(service: Echo, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="too many redirects"):
        client_of(tmp_path).json(f"{service.url}/round")


@pytest.mark.parametrize("status", [501, 505])
def test_what_a_server_will_never_do_is_not_asked_again(
    service: Echo, tmp_path: Path, status: int
) -> None:
    service.fault(r"/echo", Answer.text("", status), times=9)
    with pytest.raises(FetchError, match=f"status {status}"):
        client_of(tmp_path).json(f"{service.url}/echo")
    assert len(service.calls) == 1


@pytest.mark.parametrize(
    "target",
    ["ftp://h.example/y?ticket=hush", "http://h.example:99999/?ticket=hush", "http://[bad/?ticket=hush"],
)  # fmt: skip
def test_redirects_to_no_address(service: Echo, tmp_path: Path, target: str) -> None:
    service.fault(r"/echo", Answer.redirect(target), times=9)
    with pytest.raises(FetchError, match="Invalid") as caught:
        client_of(tmp_path, attempts=2).json(f"{service.url}/echo")
    assert "hush" not in str(caught.value)
    assert f"{service.url}/echo" in str(caught.value)


def test_a_host_that_takes_no_connection_is_left_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A queue that is full drops what comes, as a firewall does."""
    assert 1 <= http.CONNECT_TIMEOUT <= 30
    monkeypatch.setattr(http, "CONNECT_TIMEOUT", 0.2)
    ended = threading.Event()
    with socket.socket() as server, ExitStack() as queue:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(4):
            waiting = queue.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())

        def ask() -> None:
            with pytest.raises(FetchError, match="timed out"):
                client_of(tmp_path, timeout=60.0, attempts=1).json(
                    f"http://127.0.0.1:{server.getsockname()[1]}/x"
                )
            ended.set()

        threading.Thread(target=ask, daemon=True).start()
        assert ended.wait(10)


def test_passwords_of_netrc_are_not_sent_by_themselves(
    service: Echo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "netrc"
    file.write_text("machine 127.0.0.1 login me password hush-hush\n")
    monkeypatch.setenv("NETRC", str(file))
    client_of(tmp_path / "pace").json(f"{service.url}/echo")
    assert "authorization" not in service.calls[0].headers


def test_secrets_of_messages_and_redirects(service: Echo, tmp_path: Path) -> None:
    """A service that redirects to a signed address, and repeats what it was sent."""
    service.route(r"/signed", lambda call: Answer.json(call.query, 400))
    service.fault(r"/echo", Answer.redirect("/signed?ticket=hush-hush-1"))
    client = client_of(tmp_path, secret_params={"key": "hush-hush-2"})
    with pytest.raises(FetchError) as caught:
        client.json(f"{service.url}/echo")
    assert "hush" not in str(caught.value)
    assert "***" in str(caught.value)


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize(
    "body", [f"{'.' * 460}SECRET", "SECRET" * 60, f"{'.' * 1950} SECRET", f'{{"a": "{"." * 440}SECRET"}}']
)  # fmt: skip
def test_no_part_of_a_secret_is_shown(
    service: Echo, tmp_path: Path, body: str, signed: bool
) -> None:
    """Where the message ends within the secret, and where what is read of the answer does."""
    secret = "0123456789" * 8
    service.fault(r"/echo", Answer.text(body.replace("SECRET", secret), 400))
    params = {} if signed else {"secret_params": {"x": secret}}
    url = f"{service.url}/echo?x={secret}" if signed else f"{service.url}/echo"
    with pytest.raises(FetchError) as caught, client_of(tmp_path, **params).opened(url, signed=signed):  # fmt: skip
        pass
    assert "01" not in str(caught.value).replace(service.url, "")
    assert any(word in str(caught.value) for word in ("...", "***", "Bad Request"))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": "0.5"}, 0.5),
        ({"Retry-After": "an hour from now"}, 3600),
        ({"Retry-After": "an hour ago"}, 0),
        ({"Retry-After": "soon"}, None),
        ({"X-RateLimit-Reset": "an hour from now"}, 3600),
        ({"X-RateLimit-Reset": "30", "X-RateLimit-Remaining": "0"}, 30),
        ({"X-RateLimit-Reset": "30", "X-RateLimit-Remaining": "12"}, None),
        ({}, None),
    ],
)
def test_ways_to_ask_for_a_pause(headers: dict[str, str], seconds: float | None) -> None:
    now = datetime.now(UTC)  # not when tests are collected: the first ones may run minutes later
    moments = {
        "Retry-After": {
            "an hour from now": format_datetime(now + timedelta(hours=1)),
            "an hour ago": format_datetime(now - timedelta(hours=1)),
        },
        "X-RateLimit-Reset": {"an hour from now": str(int(now.timestamp()) + 3600)},
    }
    sent = {name: moments.get(name, {}).get(text, text) for name, text in headers.items()}
    found = retry_after(sent)
    assert found == (None if seconds is None else pytest.approx(seconds, abs=30))


# ---- pace


def test_the_pace_holds_over_threads(service: Echo, tmp_path: Path) -> None:
    client = client_of(tmp_path, rate=20)
    threads = [
        threading.Thread(target=client.json, args=(f"{service.url}/echo",)) for _ in range(7)
    ]
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(service.calls) == 7
    assert max(call.moment for call in service.calls) - begun >= 6 / 20


ASK = """
import sys, time
from pathlib import Path
from geolatents.acquire.fetch.http import Client, Pace
client = Client("Testland", Pace(10, Path(sys.argv[1])))
print(time.monotonic())
for _ in range(4):
    client.json(sys.argv[2])
"""


def test_the_pace_holds_over_processes(service: Echo, tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", ASK, str(tmp_path), f"{service.url}/echo"],
            cwd=ROOT, text=True, stdout=subprocess.PIPE,
        )
        for _ in range(2)
    ]  # fmt: skip
    begun = min(float(process.communicate(timeout=60)[0]) for process in processes)
    assert len(service.calls) == 8
    assert max(call.moment for call in service.calls) - begun >= 7 / 10


def test_hosts_have_paces_of_their_own(tmp_path: Path) -> None:
    pace = Pace(0.1, tmp_path)
    begun = time.monotonic()
    pace.wait("http://a.example/x")
    pace.wait("http://b.example/x")
    pace.wait("http://b.example:81/x")
    assert time.monotonic() - begun < 1


def test_a_clock_set_back_does_not_stop_the_pace(tmp_path: Path) -> None:
    (tmp_path / "a.example").write_text(repr(time.time() + 1e6))
    begun = time.monotonic()
    Pace(1000, tmp_path).wait("http://a.example/x")
    assert time.monotonic() - begun < 1


def test_a_pause_holds_for_all_requests_to_the_host(service: Echo, tmp_path: Path) -> None:
    service.fault(r"/echo", Answer.text("", 429, **{"Retry-After": "0.6"}))
    client = client_of(tmp_path)
    other = threading.Thread(target=client.json, args=(f"{service.url}/echo",))
    other.start()
    slot = tmp_path / f"{service.url.removeprefix('http://').replace(':', '_')}.hold"
    deadline = time.monotonic() + 10
    while not (slot.exists() and float(slot.read_text() or 0) > time.time() + 0.2):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    client_of(tmp_path).json(f"{service.url}/echo")  # knows nothing of the refusal
    other.join()
    first, *later = sorted(call.moment for call in service.calls)
    assert min(later) - first >= 0.6


def test_a_pause_holds_for_those_who_wait_already_and_the_pace_after_it(tmp_path: Path) -> None:
    url, pace, moments = "http://a.example/x", Pace(5, tmp_path), []

    def ask() -> None:
        pace.wait(url)
        moments.append(time.time())

    pace.wait(url)  # the next ones sleep, the first of them for 0.2 s
    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.05)
    asked = time.time()
    pace.hold(url, 1.0)
    for thread in threads:
        thread.join()
    first, second, third = sorted(moments)
    assert first - asked >= 1.0
    assert second - first >= 0.1
    assert third - second >= 0.1


def test_the_longest_pause_holds_for_a_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Moments behind it are later than the longest pause, which is no clock set back."""
    now, slept = 1_000_000.0, []

    def sleep(seconds: float) -> None:
        nonlocal now
        slept.append(seconds)
        now += seconds

    url = "http://a.example/x"
    Pace(0.1, tmp_path).hold(url, 1e9)
    monkeypatch.setattr(http.time, "time", lambda: now)
    pace = Pace(0.1, tmp_path)
    pace.hold(url, 1e9)
    began = now
    for queued in range(20):
        now = began  # all come at once
        assert pace._pause(url) == pytest.approx(http.LONGEST_WAIT + 10 * queued)
    now = began
    monkeypatch.setattr(http.time, "sleep", sleep)
    pace.wait(url)
    assert slept == [pytest.approx(http.LONGEST_WAIT + 200)]
