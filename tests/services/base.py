"""A local HTTP server over real sockets, with faults on demand: the base of every service that tests imitate."""

from __future__ import annotations

import hashlib
import json
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Call:
    """A request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]  # names in lower case
    body: bytes
    moment: float = field(default_factory=time.monotonic)

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode()))

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def parameters(self) -> dict[str, str]:
        """Query and form together; many services take either."""
        form = self.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
        return self.query | (self.form if form else {})


@dataclass
class Answer:
    """What goes back. ``cut``: bytes of the body after which the connection is closed, with ``hold`` not before it is set."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    length: bool = True  # send Content-Length; otherwise the end of the connection ends the body
    chunked: bool = False  # send the body in chunks (RFC 9112, 7.1), without Content-Length
    hold: threading.Event | None = None

    @classmethod
    def json(cls, value: Any, status: int = 200, **headers: str) -> Self:
        return cls(
            status, json.dumps(value).encode(), {"Content-Type": "application/json"} | headers
        )

    @classmethod
    def text(cls, value: str, status: int = 200, kind: str = "text/plain", **headers: str) -> Self:
        return cls(status, value.encode(), {"Content-Type": kind} | headers)

    @classmethod
    def redirect(cls, url: str, status: int = 302) -> Self:
        return cls(status, b"", {"Location": url})

    @classmethod
    def file(cls, call: Call, body: bytes, kind: str = "application/octet-stream", etag: str | None = None) -> Answer:  # fmt: skip
        """A static file as web servers give it: ETag, HEAD, Range with If-Range (RFC 9110)."""
        etag = etag or f'"{hashlib.md5(body).hexdigest()}"'
        headers = {"Content-Type": kind, "Accept-Ranges": "bytes", "ETag": etag}
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", call.headers.get("range", ""))
        if not asked or call.headers.get("if-range", etag) != etag:
            return cls(200, body, headers)
        first, last = asked.groups()
        start = int(first) if first else max(0, len(body) - int(last))
        end = min(int(last), len(body) - 1) if first and last else len(body) - 1
        if start >= len(body):
            return cls(416, b"", headers | {"Content-Range": f"bytes */{len(body)}"})
        part = f"bytes {start}-{end}/{len(body)}"
        return cls(206, body[start : end + 1], headers | {"Content-Range": part})


Handler = Callable[..., Answer]


@dataclass
class Fault:
    """What happens to matching requests instead of, or to, their answer; ``times`` counts down."""

    pattern: str
    change: Callable[[Call, Answer], Answer | None]
    times: int = 1


class LocalService:
    """Base of an imitated service: routes by pattern, a list of all calls, faults on demand.

    Subclasses call :meth:`route` in ``__init__``; handlers get the :class:`Call` and the pattern's groups.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.faults: list[Fault] = []
        self._routes: list[tuple[str, Handler]] = []
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None

    # ---- set up

    def route(self, pattern: str, handler: Handler) -> None:
        """Answer paths that match the regular expression (whole path, without query)."""
        self._routes.append((pattern, handler))

    def fault(self, pattern: str, answer: Answer | Callable[[Call, Answer], Answer | None], times: int = 1) -> None:  # fmt: skip
        """Answer the next ``times`` requests to matching paths with this instead; a function may change the true answer."""
        change = answer if callable(answer) else lambda _call, _true: answer
        self.faults.append(Fault(pattern, change, times))

    def calls_to(self, pattern: str) -> list[Call]:
        return [call for call in self.calls if re.fullmatch(pattern, call.path)]

    @property
    def url(self) -> str:
        assert self._server is not None, "the service is not running"
        return f"http://127.0.0.1:{self._server.server_port}"

    @contextmanager
    def running(self) -> Iterator[Self]:
        self._server = _Server(("127.0.0.1", 0), _handler_of(self))
        thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    # ---- answers

    def answer(self, call: Call) -> Answer | None:
        """The answer to a call; None closes the connection without one."""
        with self._lock:
            self.calls.append(call)
            fault = next(
                (f for f in self.faults if f.times > 0 and re.fullmatch(f.pattern, call.path)), None
            )
            if fault is not None:
                fault.times -= 1
        true = self._routed(call)
        return true if fault is None else fault.change(call, true)

    def _routed(self, call: Call) -> Answer:
        for pattern, handler in self._routes:
            found = re.fullmatch(pattern, call.path)
            if found:
                return handler(call, *found.groups())
        return Answer.text(f"no route for {call.path}", 404)


def cut_after(n_bytes: int) -> Callable[[Call, Answer], Answer]:
    """A fault: the true answer, its connection closed after ``n_bytes`` of the body."""

    def change(_call: Call, true: Answer) -> Answer:
        true.cut = n_bytes
        return true

    return change


HTML_PAGE = Answer.text("<!DOCTYPE html><html><body>We are busy.</body></html>", kind="text/html")
"""A fault: a page with status 200 where data should be."""

CLOSED = lambda _call, _true: None  # noqa: E731
"""A fault: the connection is closed without an answer."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # a full queue delays connections by a second

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # clients are killed in tests
            super().handle_error(request, client_address)


def _chunks(body: bytes, size: int = 1 << 14) -> Iterator[bytes]:
    for start in range(0, len(body), size):
        piece = body[start : start + size]
        yield f"{len(piece):x}\r\n".encode() + piece + b"\r\n"


def _handler_of(service: LocalService) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # answers on a kept connection wait 40 ms otherwise

        def _serve(self) -> None:
            split = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            query = dict(parse_qsl(split.query, keep_blank_values=True))
            answer = service.answer(Call(self.command, split.path, query, headers, body))
            if answer is None:
                self._hang_up()
                return
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            sent = answer.body if answer.cut is None else answer.body[: answer.cut]
            if answer.chunked:
                self.send_header("Transfer-Encoding", "chunked")
                sent = b"".join(_chunks(sent)) + (b"0\r\n\r\n" if answer.cut is None else b"")
            elif answer.length and answer.status not in {204, 304}:
                self.send_header("Content-Length", str(len(answer.body)))
            if not answer.length:
                self.send_header("Connection", "close")
                self.close_connection = True
            self.end_headers()
            if self.command == "HEAD":
                return
            with suppress(ConnectionError):  # a client may have enough
                self.wfile.write(sent)
                if answer.cut is not None:
                    self.wfile.flush()
                    if answer.hold is not None:
                        answer.hold.wait(60)
                    self._hang_up()

        def _hang_up(self) -> None:
            self.close_connection = True
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

        do_GET = do_POST = do_PUT = do_HEAD = _serve  # noqa: N815

        def log_message(self, *_arguments: object) -> None:
            pass

    return Handler
