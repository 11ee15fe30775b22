"""The bytes of one request into a ``.part`` file, continued where an earlier attempt or run was cut off."""

from __future__ import annotations

import errno
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import requests

from geolatents.acquire.fetch.http import Again, Client
from geolatents.errors import FetchError, StoreError
from geolatents.files import read_json, write_json

CHUNK = 1 << 16
WORTH = 16 << 20
"""Bytes of progress after which a lost connection costs no attempt: large archives lose it often."""

EXPIRED = frozenset({401, 403, 404, 410})
"""Answers at a signed address whose time is over."""

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_AT_ONCE = 0.0
_OLD_ENOUGH = 60
"""Seconds between Last-Modified and Date after which the former tells versions apart (RFC 9110, 8.8.2.2)."""


@dataclass(frozen=True)
class Source:
    """Where bytes come from.

    Attributes:
        identity: What the bytes are, in words that hold no secret.
        url: Public address.
        params: Query.
        form: Form of a POST request; None for GET.
        address: Gives the address to use now; None where ``url`` and ``params`` are it.
        gzipped: Whether the file itself is gzip, so that ``Content-Encoding: gzip`` wraps nothing.
    """

    identity: str
    url: str
    params: Mapping[str, str]
    form: Mapping[str, str] | None
    address: Callable[[], str] | None
    gzipped: bool


class Transfer:
    """A download of one file.

    Beside the ``.part`` file lies a note with the validator of the version (strong ETag, else a
    Last-Modified that is old enough) and its length, so that bytes of two versions are never joined.

    Args:
        client: Client of the service.
        source: Where the bytes come from.
        part: The file to fill.
        size: Exact size, where it is known.
        pinned: Whether a digest is known, by which joined versions would be found.
        moved: Called with the number of bytes that came, negative where a beginning was dropped.
    """

    def __init__(
        self,
        client: Client,
        source: Source,
        part: Path,
        *,
        size: int | None,
        pinned: bool,
        moved: Callable[[int], None],
    ) -> None:
        self.client, self.source, self.part = client, source, part
        self.size, self.pinned, self.moved = size, pinned, moved
        self.requests = 0
        self._note_file = part.with_name(f"{part.name}.json")
        self._address: str | None = None
        self._may_renew = True
        moved(self.have)
        self._usable_note()
        self._most = self.have
        self.joined = self.have > 0
        """Whether the file is made of more than one answer."""

    @property
    def have(self) -> int:
        """Bytes that are there."""
        return self.part.stat().st_size if self.part.exists() else 0

    @property
    def missing(self) -> int | None:
        """Bytes that are still to come, where the length is known."""
        length = self.size or self._note().get("length")
        return None if length is None else max(0, length - self.have)

    def drop(self) -> None:
        """Forget what is there; the next attempt starts from the first byte."""
        self.moved(-self.have)
        self.part.unlink(missing_ok=True)
        self._note_file.unlink(missing_ok=True)
        self.joined = False

    def forget(self) -> None:
        """Delete the note; the file is whole."""
        self._note_file.unlink(missing_ok=True)

    def complete(self) -> int:
        """Bring all bytes and return the last status; to be called within :meth:`Client.tried`.

        Raises:
            Again: An attempt failed that may be repeated.
            AccessError, FetchError: It may not.
        """
        while True:
            try:
                return self._attempt()
            except Again:
                if self.have < self._most + WORTH:
                    raise
                self._most = self.have

    def _attempt(self) -> int:
        self.moved(0)  # ends here when interrupted
        note = self._usable_note()
        start = self.have
        if start and start == note.get("length"):  # killed between the last byte and the rename
            return int(note["status"])
        with self._opened(self._headers(start, note)) as response:
            if response.status_code == 206 and start:
                self._check_rest(response, start, note)
                self.joined = True
            elif response.status_code == 200:
                self._begin(response)
            else:
                self.drop()
                raise Again(f"status {response.status_code} where a file was expected", _AT_ONCE)
            self._may_renew = True
            self._receive(response)
        self._check_length()
        return int(response.status_code)

    # ---- before

    def _usable_note(self) -> dict[str, Any]:
        """What is known about the bytes that are there; they are dropped where they cannot be continued."""
        note = self._note()
        sure = note.get("validator") or self.pinned
        fits = note.get("identity") == self.source.identity and self.source.form is None and sure
        if self.have and not (fits and self.have <= note.get("length", self.have)):
            self.drop()
            return {}
        return note

    def _note(self) -> dict[str, Any]:
        try:
            return dict(read_json(self._note_file))
        except (StoreError, TypeError, ValueError):
            return {}

    def _headers(self, start: int, note: Mapping[str, Any]) -> dict[str, str]:
        headers = {"Accept-Encoding": "identity"}  # lengths and ranges are about the file itself
        if start:
            headers["Range"] = f"bytes={start}-"
        if start and note.get("validator"):
            headers["If-Range"] = note["validator"]
        return headers

    @contextmanager
    def _opened(self, headers: Mapping[str, str]) -> Iterator[requests.Response]:
        source = self.source
        if source.address and self._address is None:
            self._address = source.address()
        renewable = EXPIRED if source.address and self._may_renew else frozenset()
        self.requests += 1
        with self.client.opened(
            self._address or source.url,
            method="GET" if source.form is None else "POST",
            params=None if source.address else source.params,
            form=source.form,
            headers=headers,
            accepted=renewable | {416},
            signed=source.address is not None,
        ) as response:
            if response.status_code in renewable:
                # A second refusal without a byte between them is no matter of time.
                self._address, self._may_renew = None, False
                raise Again(f"status {response.status_code} at an address that expires", _AT_ONCE)
            yield response

    # ---- the answer

    def _begin(self, response: requests.Response) -> None:
        """Start a new file; order matters: a note must never stand beside bytes of another version."""
        self.drop()
        length = None if _wrapped(response, self.source) else _length(response)
        if self.size is not None and length not in (None, self.size):
            kind = response.headers.get("Content-Type", "unknown content")
            raise Again(f"{length} bytes of {kind} are announced where {self.size} are expected")
        self._check_room(length)
        if not _wrapped(response, self.source):
            self._write_note(response, length)

    def _write_note(self, response: requests.Response, length: int | None) -> None:
        note: dict[str, Any] = {"identity": self.source.identity, "status": response.status_code}
        note["validator"] = _validator(response)
        if length is not None:
            note["length"] = length
        write_json(self._note_file, note)

    def _check_rest(self, response: requests.Response, start: int, note: Mapping[str, Any]) -> None:
        """Drop everything where the answer is not the rest of what is there."""
        found = re.fullmatch(
            r"bytes (\d+)-(\d+)/(\d+|\*)", response.headers.get("Content-Range", "").strip()
        )
        total = int(found[3]) if found and found[3] != "*" else None
        length = self.size or note.get("length")
        validator = note.get("validator") or ""
        named = response.headers.get("ETag" if validator.startswith('"') else "Last-Modified")
        same_place = found is not None and int(found[1]) == start
        same_length = None in (total, length) or total == length
        same_version = not named or not validator or named == validator
        if not (same_place and same_length and same_version):
            self.drop()
            raise Again("the answer is not the rest of the file, which has changed", _AT_ONCE)
        self._check_room(total)
        if total is not None and "length" not in note:
            write_json(self._note_file, {**note, "length": total})

    def _receive(self, response: requests.Response) -> None:
        with self.part.open("ab") as stream:
            for chunk in response.raw.stream(CHUNK, decode_content=_wrapped(response, self.source)):
                stream.write(chunk)
                self.moved(len(chunk))
                if self.size is not None and stream.tell() > self.size:
                    break

    def _check_length(self) -> None:
        """Compare with what was announced; urllib3 does it too, unless the length is known from elsewhere."""
        length = self.size if self.size is not None else self._note().get("length")
        have = self.have
        if length is None or have == length:
            return
        if have > length:
            self.drop()
        raise Again(f"{have} of {length} bytes came", _AT_ONCE if have > length else None)

    def _check_room(self, length: int | None) -> None:
        needed = (length or self.size or 0) - self.have
        if needed > shutil.disk_usage(self.part.parent).free:
            raise no_room(self.part.parent, needed)


@contextmanager
def room(folder: Path, needed: Callable[[], int | None]) -> Iterator[None]:
    """Say where there is no room, and how much is needed, when the block fills the disk or the quota.

    Raises:
        FetchError: The disk or the quota is full, or files must not be so large.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise no_room(folder, needed(), error.strerror) from None


def no_room(folder: Path, needed: int | None, reason: str | None = None) -> FetchError:
    """The error of a full disk."""
    free = shutil.disk_usage(folder).free
    return FetchError(
        "there is no room for a download",
        where=folder,
        expected=None
        if needed is None
        else f"{needed / 1e6:,.1f} MB free for the rest of the file",
        found=f"{free / 1e6:,.1f} MB free" + (f" ({reason})" if reason else ""),
        fix="make room, or move the downloads folder; complete files are kept, and begun ones are continued",
    )


def _wrapped(response: requests.Response, source: Source) -> bool:
    """Whether the service packs a file that is not packed itself, although we did not ask for it."""
    return response.headers.get("Content-Encoding", "identity") != "identity" and not source.gzipped


def _length(response: requests.Response) -> int | None:
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isdigit() else None


def _validator(response: requests.Response) -> str | None:
    """What tells versions of a file apart byte by byte (RFC 9110, 8.8 and 13.1.5)."""
    etag = response.headers.get("ETag", "")
    if etag:
        return (
            etag if etag.startswith('"') else None
        )  # W/"..." is the same meaning, not the same bytes
    changed, now = response.headers.get("Last-Modified", ""), response.headers.get("Date", "")
    try:
        age = parsedate_to_datetime(now) - parsedate_to_datetime(changed)
    except (TypeError, ValueError):
        return None
    return changed if age.total_seconds() >= _OLD_ENOUGH else None
