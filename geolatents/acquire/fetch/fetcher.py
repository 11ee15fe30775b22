"""Downloads that are whole or absent: one way for every provider.

A file is fetched once, checked, renamed into its place and entered in the manifest of its provider's
folder; a second run makes no request. See ``docs/decisions/downloads-are-not-outputs.md``.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from filelock import FileLock

from geolatents.acquire.fetch.bar import Bar
from geolatents.acquire.fetch.content import Content, ContentError, anything
from geolatents.acquire.fetch.http import Again, Client
from geolatents.acquire.fetch.manifest import MANIFEST, Manifest, Row
from geolatents.acquire.fetch.secrets import bare_url, redacted
from geolatents.acquire.fetch.transfer import Source, Transfer, room
from geolatents.errors import FetchError
from geolatents.files import canonical_json, remove
from geolatents.logs import LOG

LONGEST_NAME = 200
"""Bytes of a file name; 255 on common file systems, less what is added while it is downloaded."""

DIGESTS = frozenset({"md5", "sha1", "sha256", "sha512"})
COLUMNS = DIGESTS | {"path", "request", "status", "bytes", "time", "licence", "mtime_ns", "before"}
"""Columns of a manifest row that an item's facts must leave alone."""

Moved = Callable[[int], None]


@dataclass(frozen=True)
class Item:
    """A file to download.

    Attributes:
        path: Place below the downloads folder; the first folder is the provider's.
        url: Public address; with ``params`` and ``form`` the identity of the request, and written down.
        params: Public query.
        form: Form of a POST request; None for GET.
        digests: Known hashes, such as ``{"md5": "..."}``; of sha256, sha512, sha1 and md5.
        size: Exact number of bytes, where it is known.
        estimate: About how many bytes, for the preview.
        content: Check of the whole file. A :class:`ContentError` repeats the request, another error ends it.
        licence: Licence of the file.
        address: Gives the address to use now, where it is signed and expires; called anew when it
            is refused. Its query is never written down.
        facts: Further columns of the manifest row.
    """

    path: str
    url: str
    params: Mapping[str, str] = field(default_factory=dict)
    form: Mapping[str, str] | None = None
    digests: Mapping[str, str] = field(default_factory=dict)
    size: int | None = None
    estimate: int | None = None
    content: Content = anything
    licence: str = "unknown"
    address: Callable[[], str] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        parts = PurePosixPath(self.path).parts
        plain = "/".join(parts) == self.path and "\\" not in self.path and "\0" not in self.path
        hidden = any(part.startswith(".") for part in parts)
        long = any(len(os.fsencode(part)) > LONGEST_NAME for part in parts)
        taken = parts[1:] == (MANIFEST,) or self.path.endswith((".part", ".part.json"))
        if len(parts) < 2 or not plain or hidden or long or taken:
            raise FetchError(
                "a download has an unusable path",
                found=self.path,
                expected=f"provider/.../file, no part hidden or longer than {LONGEST_NAME} bytes",
                fix="report it",
            )
        if COLUMNS & set(self.facts) or set(self.digests) - DIGESTS:
            raise ValueError(f"facts are not {sorted(COLUMNS)}, and digests are {sorted(DIGESTS)}")

    @property
    def likely_size(self) -> int | None:
        """Bytes, known or estimated."""
        return self.estimate if self.size is None else self.size

    @property
    def request(self) -> dict[str, Any]:
        """What identifies the request, as the manifest holds it.

        Where something is hidden, ``sha256`` of the whole tells two requests apart that look the same.
        """
        request = {
            "url": bare_url(self.url), "params": dict(self.params),
            "form": None if self.form is None else dict(self.form),
        }  # fmt: skip
        public = dict(_public(request))
        if public != request:
            public["sha256"] = hashlib.sha256(canonical_json(request).encode()).hexdigest()
        return public


@dataclass(frozen=True)
class Fetched:
    """A file that is there.

    Attributes:
        path: The file.
        sha256: Its content hash.
        bytes: Its size.
        requests: Requests that this call made for it; 0 where it was there. A made file counts as one.
    """

    path: Path
    sha256: str
    bytes: int
    requests: int


@dataclass(frozen=True)
class Preview:
    """What a download would do.

    Attributes:
        items: Files in all.
        there: Files that are there.
        requests: Requests for the others, if none fails.
        bytes: Their sizes, known or estimated.
        unknown: Files among them of which neither is known.
    """

    items: int
    there: int
    requests: int
    bytes: int
    unknown: int


def preview(root: Path, items: Sequence[Item]) -> Preview:
    """What :meth:`Fetcher.fetch` would do; makes no request and writes nothing.

    A file that was put there by hand, with the right pinned digest but without a row, counts as a
    download, although it will be taken as it is: to know it, all of it would have to be read.
    """
    manifests = _Manifests(root)
    missing = [item for item in items if manifests.valid_row(item) is None]
    sizes = [item.likely_size for item in missing]
    return Preview(
        items=len(items),
        there=len(items) - len(missing),
        requests=len(missing),
        bytes=sum(size for size in sizes if size is not None),
        unknown=sizes.count(None),
    )


class Fetcher:
    """Downloads files below one folder.

    Safe against other processes that want the same files, and against being killed at any point.

    Args:
        root: The downloads folder.
        client: Client of the service.
        workers: Downloads at the same time.
    """

    def __init__(self, root: Path, client: Client, workers: int = 4) -> None:
        self.root, self.client, self.workers = root, client, workers
        self._manifests = _Manifests(root)

    def fetch(self, items: Sequence[Item], what: str) -> list[Fetched]:
        """Download what is not there, several files at a time.

        After an error no new download begins, running ones end, and the error is raised. When
        interrupted, running ones stop where they are and are continued by the next run.

        Args:
            items: Files; their order is kept in the result.
            what: What they are, for the progress bar and the log.

        Raises:
            AccessError, FetchError: A file cannot be had.
        """
        _refuse_twins(items)
        sizes = [item.likely_size for item in items]
        with Bar(what, sizes) as progress, ThreadPoolExecutor(self.workers) as pool:
            running = [pool.submit(self._fetch, item, progress.moved) for item in items]
            try:
                for future in as_completed(running):
                    entry = future.result()
                    progress.ended(entry.bytes, entry.requests)
            except BaseException as error:
                if not isinstance(error, Exception):
                    progress.stop()
                pool.shutdown(cancel_futures=True)
                raise
            return [future.result() for future in running]

    def fetch_one(self, item: Item) -> Fetched:
        """Download a file if it is not there.

        Raises:
            AccessError, FetchError: It cannot be had.
        """
        return self._fetch(item, _unseen)

    def make(self, item: Item, produce: Callable[[Path], None]) -> Fetched:
        """Make a file by other means than one request, if it is not there; checks and manifest are the same.

        Args:
            item: The file; its request says what the file is made from.
            produce: Writes the file to the path that it is given, in a folder of its own.

        Raises:
            FetchError: The file is not what it should be, or ``produce`` raises it.
        """
        return self._once(item, lambda: self._made(item, produce))

    def _fetch(self, item: Item, moved: Moved) -> Fetched:
        return self._once(item, lambda: self._downloaded(item, moved))

    # ---- is it there?

    def _once(self, item: Item, work: Callable[[], Fetched]) -> Fetched:
        """Do the work unless the file is there or another process brings it."""
        found = self._there(item)
        if found is not None:
            return found
        with _alone(self.root / item.path):
            return self._there(item) or self._adopted(item) or work()

    def _there(self, item: Item) -> Fetched | None:
        row = self._manifests.valid_row(item)
        if row is None:
            return None
        file = self.root / item.path
        clock = file.stat().st_mtime_ns
        if row["mtime_ns"] != clock:  # it was hashed again; the next time the clock is enough
            self._manifests.of(item).append({**row, "mtime_ns": clock})
        return Fetched(file, row["sha256"], row["bytes"], 0)

    def _adopted(self, item: Item) -> Fetched | None:
        """A file that lies there without a row, or with a row of another address, if its pinned digest fits."""
        file = self.root / item.path
        if not item.digests or not file.is_file() or item.size not in (None, file.stat().st_size):
            return None
        digests = _digests(file, item.digests)
        if not _fit(digests, item.digests):
            return None
        return self._entered(item, digests, "found", 0)

    # ---- bring it

    def _downloaded(self, item: Item, moved: Moved) -> Fetched:
        target = self.root / item.path
        part = target.with_name(f"{target.name}.part")
        source = Source(
            canonical_json(item.request), item.url, item.params, item.form, item.address,
            gzipped=re.search(r"\.t?gz[a-z]*$", target.name) is not None,
        )  # fmt: skip
        transfer = Transfer(
            self.client, source, part, size=item.size, pinned=bool(item.digests), moved=moved
        )
        spoiled: list[ContentError] = []

        def once() -> tuple[int, dict[str, str]]:
            spoiled.clear()
            status = transfer.complete()
            try:
                return status, _checked(item, part, transfer.joined)
            except ContentError as error:
                transfer.drop()
                spoiled.append(error)
                raise Again(error.brief) from None
            except Exception:
                transfer.drop()
                raise

        what = f"{item.path} from {item.request['url']}"
        with room(target.parent, lambda: transfer.missing):
            try:
                status, digests = self.client.tried(once, what)
            except FetchError:
                if spoiled:
                    raise spoiled[0].at(what) from None
                raise
            _place(part, target)
            transfer.forget()
            return self._entered(item, digests, status, transfer.requests)

    def _made(self, item: Item, produce: Callable[[Path], None]) -> Fetched:
        target = self.root / item.path
        folder = target.with_name(f".{target.name}.making")  # writers leave files beside theirs
        remove(folder)
        folder.mkdir(parents=True)
        file = folder / target.name
        try:
            with room(target.parent, lambda: item.size):
                produce(file)
                try:
                    digests = _checked(item, file, joined=False)
                except ContentError as error:
                    raise error.at(item.path) from None
                _place(file, target)
                return self._entered(item, digests, "made", 1)
        finally:
            remove(folder)

    def _entered(
        self, item: Item, digests: Mapping[str, str], status: int | str, requests: int
    ) -> Fetched:
        """Write the row of a file that is in its place."""
        file = self.root / item.path
        state = file.stat()
        row: Row = {
            **_public(dict(item.facts)),
            **digests,
            "path": item.path,
            "request": item.request,
            "status": status,
            "bytes": state.st_size,
            "mtime_ns": state.st_mtime_ns,
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "licence": item.licence,
        }
        before = self._manifests.of(item).row(item.path)
        if before and before["sha256"] != row["sha256"]:
            # No error: services draw, encode and pack anew. What must not change has a pinned digest.
            LOG.warning(
                "%s differs from what was downloaded before: sha256 %s, was %s",
                item.path, row["sha256"], before["sha256"],
            )  # fmt: skip
            row["before"] = before["sha256"]
        self._manifests.of(item).append(row)
        return Fetched(file, row["sha256"], row["bytes"], requests)


class _Manifests:
    """The manifests of a downloads folder, one per provider."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._of: dict[str, Manifest] = {}

    def of(self, item: Item) -> Manifest:
        provider = PurePosixPath(item.path).parts[0]
        return self._of.setdefault(provider, Manifest(self.root / provider / MANIFEST))

    def valid_row(self, item: Item) -> Row | None:
        """The row of a file that is there, unchanged, and the answer to this request."""
        file = self.root / item.path
        row = self.of(item).row(item.path)
        if row is None or not _answers(row, item) or not _fit(row, item.digests):
            return None
        try:
            state = file.stat()
        except FileNotFoundError:
            return None
        if row["bytes"] != state.st_size or item.size not in (None, state.st_size):
            return None
        if row["mtime_ns"] != state.st_mtime_ns and _digests(file)["sha256"] != row["sha256"]:
            return None
        return row


def _answers(row: Row, item: Item) -> bool:
    """Whether a row is of the item's request; old rows lack the hash of one that holds a secret."""
    asked = item.request
    without = {name: value for name, value in asked.items() if name != "sha256"}
    return row["request"] in (asked, without)


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Keep other processes and threads from the file.

    The lock file goes only when the file is there: whoever waited on it then finds that out, so that
    it does not matter that the next one locks another file of this name.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    lock = target.with_name(f".{target.name}.lock")
    with FileLock(lock):
        yield
        lock.unlink(missing_ok=True)


def _checked(item: Item, file: Path, joined: bool) -> dict[str, str]:
    """Hashes of a file that has the right size, digests and content."""
    if not file.is_file() or item.size not in (None, file.stat().st_size):
        raise ContentError(
            "a file has the wrong size",
            where=item.path,
            expected=item.size,
            found=file.stat().st_size if file.is_file() else "no file",
        )
    digests = _digests(file, item.digests)
    if not _fit(digests, item.digests):
        if joined:
            raise Again("the checksum of a file that came in parts is wrong", 0.0)
        raise FetchError(
            "a file has the wrong checksum",
            where=f"{item.path} from {item.request['url']}",
            expected=_shown(item.digests),
            found=_shown({name: digests[name] for name in item.digests}),
            fix="the file at this address is another one than the pinned one: look for the right address, "
            "or pin the new checksum if you trust it",
        )
    item.content(file)
    return digests


def _digests(file: Path, names: Mapping[str, str] | None = None) -> dict[str, str]:
    """Hashes of a file: sha256 and the named ones, in one reading."""
    hashes = {name: hashlib.new(name, usedforsecurity=False) for name in {"sha256", *(names or {})}}
    with file.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            for value in hashes.values():
                value.update(chunk)
    return {name: value.hexdigest() for name, value in hashes.items()}


def _fit(found: Mapping[str, Any], pinned: Mapping[str, str]) -> bool:
    return all(found.get(name) == value.lower() for name, value in pinned.items())


def _shown(digests: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(digests.items()))


def _place(file: Path, target: Path) -> None:
    """Rename, so that the name never stands for less than the whole file, even after a power cut."""
    with file.open("rb") as stream:
        os.fsync(stream.fileno())
    file.replace(target)


def _public(value: Any) -> Any:
    """A value without the secrets that this process knows."""
    if isinstance(value, Mapping):
        return {key: _public(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_public(entry) for entry in value]
    return redacted(value) if isinstance(value, str) else value


def _refuse_twins(items: Sequence[Item]) -> None:
    requests: dict[str, dict[str, Any]] = {}
    for item in items:
        if requests.setdefault(item.path, item.request) != item.request:
            raise FetchError("two downloads have one path", found=item.path, fix="report it")


def _unseen(_n_bytes: int) -> None:
    """No bar."""
