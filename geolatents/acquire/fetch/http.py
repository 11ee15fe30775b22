"""One way to speak HTTP: timeouts, retries with back-off, a pace per host, errors that say what to do.

Secrets travel in headers or query parameters that are kept apart from public ones; they are not sent
on to another host by a redirect and reach no message.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import requests
import tenacity
import urllib3
from filelock import FileLock
from requests.auth import AuthBase

from geolatents import __version__
from geolatents.acquire.fetch.secrets import (
    HIDDEN,
    Key,
    beginning,
    longest,
    public_url,
    redacted,
    remember,
)
from geolatents.errors import AccessError, FetchError
from geolatents.logs import LOG

_LOST = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
    urllib3.exceptions.HTTPError,  # where the body is read from urllib3 itself
)
"""What means that the connection or a part of the body was lost."""

TRANSIENT = frozenset({408, 425, 429, *range(500, 600)}) - {501, 505}
"""Statuses after which the same request may succeed; proxies have own ones, such as 520 to 530."""

CONNECT_TIMEOUT = 10.0
MOST_WORKERS = 32
BACKOFF = 0.5
"""Seconds before the second attempt, at most; the bound doubles with each further one, up to a minute."""
LONGEST_WAIT = 300.0
"""Seconds; a service that asks for a longer pause has closed for now, and the user is told."""

_GLIMPSE = 2000
"""Bytes of an error's body from which a message is made; a secret at their end is read to its own."""

Json = Any

# Its debug lines hold whole URLs, with their keys.
logging.getLogger("urllib3").setLevel(logging.INFO)


class Again(Exception):  # noqa: N818 - no error but a wish
    """An answer after which the request should be repeated; raised by checks of answers.

    Args:
        reason: What was wrong, without secrets.
        wait: Seconds that the service asks to wait, if it does.
    """

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class Pace:
    """At most ``rate`` requests per second to one host, over all threads and processes of a folder.

    Args:
        rate: Requests per second.
        folder: Where the next free moment of each host is kept; processes share it.
    """

    def __init__(self, rate: float, folder: Path) -> None:
        self.rate, self.folder = rate, folder

    def wait(self, url: str) -> None:
        """Sleep until the next free moment of the URL's host and take it."""
        while pause := self._pause(url):
            time.sleep(pause)
            with self._slot(url) as slot:
                if not _held(slot, time.time()):
                    return

    def hold(self, url: str, seconds: float) -> None:
        """Let no request to the URL's host begin for so many seconds; the service asked for it."""
        with self._slot(url) as slot:
            now = time.time()
            moment = now + max(_held(slot, now), min(seconds, LONGEST_WAIT))
            _hold_file(slot).write_text(repr(moment))

    def _pause(self, url: str) -> float:
        """Take the next free moment, and return the seconds until then."""
        with self._slot(url) as slot:
            now = time.time()
            begin = now + _held(slot, now)
            moment = max(begin, _moment(slot))
            if moment > begin + LONGEST_WAIT + MOST_WORKERS / self.rate:  # the clock was set back
                moment = begin
            slot.write_text(repr(moment + 1 / self.rate))
        return moment - now

    @contextmanager
    def _slot(self, url: str) -> Iterator[Path]:
        """The file with a host's next free moment, for this process alone."""
        host = urlsplit(url).netloc.rpartition("@")[2].replace(":", "_") or "no host"
        slot = self.folder / host
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{slot}.lock").acquire(poll_interval=0.01):
            yield slot


class Client:
    """Requests to one service.

    Args:
        service: Name of the service in messages.
        pace: Pace of requests per host.
        key: Where the key comes from, for the message when access is refused.
        secret_headers: Headers with secrets; dropped when a redirect leads to another host.
        secret_params: Query parameters with secrets, added to requests that this client makes.
        timeout: Seconds without a byte before a request counts as failed.
        attempts: How often a request is tried.
        contact: Mail address or page of the user, named to the service in ``User-Agent``.
        home: Address of the service: secrets go to its host alone, and not to other hosts whose
            files it names. Without it they go to every address that is asked for.
    """

    def __init__(
        self,
        service: str,
        pace: Pace,
        *,
        key: Key | None = None,
        secret_headers: Mapping[str, str] | None = None,
        secret_params: Mapping[str, str] | None = None,
        timeout: float = 60.0,
        attempts: int = 6,
        contact: str | None = None,
        home: str | None = None,
    ) -> None:
        self.service, self.pace, self.key = service, pace, key
        self.timeout, self.attempts = timeout, attempts
        self.home = home
        self._secret_headers, self._secret_params = dict(secret_headers or {}), dict(secret_params or {})  # fmt: skip
        for secret in (*self._secret_headers.values(), *self._secret_params.values()):
            remember(secret)
        self._session = _Session(frozenset(self._secret_headers))
        self._session.headers["User-Agent"] = user_agent(contact)

    def json(
        self,
        url: str,
        *,
        method: str = "GET",
        params: Mapping[str, Any] | None = None,
        form: Mapping[str, Any] | None = None,
        body: Json = None,
        check: Callable[[Json], None] | None = None,
    ) -> Json:
        """The JSON answer of a request.

        Args:
            url: Address; ``params`` are added to it.
            method: ``GET`` or ``POST``.
            params: Public query parameters.
            form: Body as a form.
            body: Body as JSON.
            check: Called with the answer; raises :class:`Again` to repeat the request, or an error.
                Many services answer 200 with an error inside.

        Raises:
            AccessError: 401 or 403.
            FetchError: Any other failure that repeating does not mend.
        """

        def parsed(response: requests.Response) -> Json:
            try:
                answer = response.json()
            except ValueError:
                raise Again(f"the answer is no JSON but {_kind(response)}") from None
            if check is not None:
                check(answer)
            return answer

        def once() -> Json:
            with self.opened(url, method=method, params=params, form=form, body=body) as response:
                return parsed(response)

        return self.tried(once, public_url(url))

    def bytes(self, url: str, *, params: Mapping[str, Any] | None = None) -> bytes:
        """The body of a small answer (capabilities, metadata).

        Raises:
            AccessError, FetchError: As for :meth:`json`.
        """

        def once() -> bytes:
            with self.opened(url, params=params) as response:
                return bytes(response.content)

        return self.tried(once, public_url(url))  # type: ignore[no-any-return]

    def tried(self, once: Callable[[], Any], what: str) -> Any:
        """Call ``once`` until it raises no :class:`Again`, with exponential back-off and full jitter.

        Raises:
            FetchError: The last attempt failed too, or the service asks for too long a pause.
        """

        def log(state: tenacity.RetryCallState) -> None:
            LOG.info(
                "%s: %s; attempt %d of %d in %.1f s", what, _reason(state), state.attempt_number + 1,
                self.attempts, state.next_action.sleep if state.next_action else 0.0,
            )  # fmt: skip

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_may_repeat),
            stop=tenacity.stop_after_attempt(self.attempts),
            wait=_wait,
            before_sleep=log,
            reraise=True,
        )
        try:
            return retrying(once)
        except Again as error:
            raise FetchError(
                f"{self.service} does not answer as it should",
                where=redacted(what),
                found=redacted(error),
                fix=_patience(error)
                or f"{self.attempts} attempts failed; try again later, what is complete is kept",
            ) from None

    @contextmanager
    def opened(
        self,
        url: str,
        *,
        method: str = "GET",
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        form: Mapping[str, Any] | None = None,
        body: Json = None,
        accepted: frozenset[int] = frozenset(),
        signed: bool = False,
    ) -> Iterator[requests.Response]:
        """One attempt of a request as an open, streamed answer; use within :meth:`tried`.

        Args:
            url: Address.
            method: HTTP method.
            params: Public query parameters; the client's secret ones are added.
            headers: Further headers, such as ``Range``.
            form: Body as a form.
            body: Body as JSON.
            accepted: Statuses above 399 that the caller handles.
            signed: Whether the query of the address is a secret by itself.

        Raises:
            Again: Connection lost, body cut short, or a transient status.
            AccessError, FetchError: A status that repeating does not mend.
        """
        secret = self.home is None or origin(url) == origin(self.home)
        self.pace.wait(url)
        try:
            response = self._session.request(
                method, url,
                params={**(params or {}), **(self._secret_params if secret else {})},
                headers={**(headers or {}), **(self._secret_headers if secret else {})},
                data=form, json=body, timeout=(CONNECT_TIMEOUT, self.timeout), stream=True,
            )  # fmt: skip
            with response:
                if response.status_code >= 400 and response.status_code not in accepted:
                    self._refuse(response, signed or bool(response.history))
                yield response
        except requests.TooManyRedirects:
            raise FetchError("too many redirects", where=public_url(url, signed=signed)) from None
        except _LOST as error:
            raise Again(f"{type(error).__name__}: {_cause(error, url)}") from None
        except requests.RequestException as error:
            raise FetchError(
                "the request cannot be made, or is redirected to an address that is none",
                where=public_url(url, signed=signed),
                found=type(error).__name__,  # its text repeats the address
            ) from None

    def _refuse(self, response: requests.Response, signed: bool) -> None:
        status, text = response.status_code, _text(response, signed)
        place = public_url(response.url, signed=signed)
        if status in TRANSIENT:
            wait = retry_after(response.headers)
            if wait:
                self.pace.hold(response.url, wait)
            raise Again(f"status {status}: {text}", wait)
        if status in {401, 403}:
            raise AccessError(
                f"{self.service} refuses access (status {status})",
                where=place,
                found=text,
                fix=self.key.help() if self.key else "check that the data may be had without a key",
            )
        fixes = {404: "check the address and the names in the configuration", 410: "search again"}
        raise FetchError(
            f"{self.service} answers with status {status}",
            where=place,
            found=text,
            fix=fixes.get(status, "correct the request by what the service says"),
        )


def origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port of an address."""
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, parts.hostname or "", port


def user_agent(contact: str | None = None) -> str:
    """Client, contact and library, in the order that Wikimedia's policy asks for."""
    who = f" ({contact})" if contact else ""
    return f"geolatents/{__version__}{who} requests/{requests.__version__}"


class _Session(requests.Session):
    """A session that takes no password from netrc by itself and sends no secret header to another host."""

    def __init__(self, secret_headers: frozenset[str]) -> None:
        super().__init__()
        self.secret_headers = secret_headers | {"Authorization", "Cookie"}
        self.auth = _NoAuth()
        self.mount("https://", requests.adapters.HTTPAdapter(pool_maxsize=MOST_WORKERS))
        self.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=MOST_WORKERS))

    def request(self, *args: Any, **kwargs: Any) -> requests.Response:
        try:
            return super().request(*args, **kwargs)
        except requests.RequestException:
            raise
        except ValueError:  # of urllib, about the address of a redirect
            raise requests.exceptions.InvalidURL from None

    def rebuild_auth(
        self, prepared_request: requests.PreparedRequest, response: requests.Response
    ) -> None:
        old, new = response.request.url or "", prepared_request.url or ""
        if self.should_strip_auth(old, new):  # type: ignore[no-untyped-call]
            for name in self.secret_headers:
                prepared_request.headers.pop(name, None)


class _NoAuth(AuthBase):
    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a service asks to wait: ``Retry-After`` (seconds or date), else ``X-RateLimit-Reset`` of a spent limit."""
    text = headers.get("Retry-After", "").strip()
    if text:
        try:
            return max(0.0, float(text))
        except ValueError:
            pass
        try:
            moment = parsedate_to_datetime(text)
            return max(0.0, (moment - datetime.now(UTC)).total_seconds())
        except (TypeError, ValueError):
            return None
    reset = headers.get("X-RateLimit-Reset", "")
    if not reset.isdigit() or headers.get("X-RateLimit-Remaining", "0") != "0":
        return None
    # A moment since 1970 with most services, seconds from now with some.
    return max(0.0, float(reset) - time.time()) if len(reset) >= 10 else float(reset)


def _moment(slot: Path) -> float:
    try:
        return float(slot.read_text())
    except (OSError, ValueError):
        return 0.0


def _hold_file(slot: Path) -> Path:
    """The file with the moment until which a service wants no requests."""
    return slot.with_name(f"{slot.name}.hold")


def _held(slot: Path, now: float) -> float:
    """Seconds for which a service still wants no requests."""
    rest = _moment(_hold_file(slot)) - now
    return rest if 0 < rest <= LONGEST_WAIT + 1 else 0.0  # more: the clock was set back


def _may_repeat(error: BaseException) -> bool:
    return isinstance(error, Again) and (error.wait is None or error.wait <= LONGEST_WAIT)


def _wait(state: tenacity.RetryCallState) -> float:
    """What the service asks for, else exponential back-off with full jitter (doubling, at most 60 s)."""
    error = state.outcome.exception() if state.outcome else None
    jitter = tenacity.wait_random_exponential(multiplier=BACKOFF, max=60)(state)
    asked = error.wait if isinstance(error, Again) else None
    return jitter if asked is None else asked + 0.1 * jitter


def _reason(state: tenacity.RetryCallState) -> str:
    return redacted(state.outcome.exception() if state.outcome else "")


def _patience(error: Again) -> str | None:
    if error.wait is None or error.wait <= LONGEST_WAIT:
        return None
    return f"the service asks for a pause of {error.wait:.0f} s; try again after it, what is complete is kept"


def _kind(response: requests.Response) -> str:
    return response.headers.get("Content-Type", "unknown content").partition(";")[0]


def _text(response: requests.Response, signed: bool) -> str:
    """The first words of an error's body: JSON as it is, of HTML only that it is HTML."""
    query = parse_qsl(urlsplit(response.url).query) if signed else []
    values = sorted((value for _, value in query), key=len, reverse=True)
    unsure = max([longest(), *map(len, values)])
    try:
        start = response.raw.read(_GLIMPSE + unsure, decode_content=True)
    except Exception:
        return response.reason or ""
    body = start.decode("utf-8", "replace").strip()
    if body.lower().startswith(("<!doctype html", "<html")):
        return "an HTML page"
    try:
        body = json.dumps(json.loads(body), ensure_ascii=False)
    except ValueError:
        body = " ".join(body.split())
    for value in values:  # services repeat what they were sent
        body = body.replace(value, HIDDEN)
    shown = beginning(body, 500, unsure if len(start) > _GLIMPSE else 0)
    return shown or (response.reason or "")


def _cause(error: BaseException, url: str) -> str:
    """The innermost reason, without the URL that the outer messages repeat."""
    cause: BaseException = error
    while cause.__cause__ or cause.__context__ or getattr(cause, "reason", None):
        deeper = cause.__cause__ or cause.__context__ or getattr(cause, "reason", None)
        if not isinstance(deeper, BaseException):
            break
        cause = deeper
    return _without(url, cause)


def _without(url: str, error: BaseException) -> str:
    """The message of an error without the query of the URL, which may be a signature."""
    query = urlsplit(url).query
    return redacted(str(error).replace(query, "") if query else error)
