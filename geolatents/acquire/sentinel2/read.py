"""Windows of cloud-optimized files on a server, read by GDAL in parts of the files.

GDAL asks again for what failed; where it gives up, the whole window is read anew with our own retries. What
its options do was tried with GDAL 3.10; see https://gdal.org/en/stable/user/virtual_file_systems.html.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import rasterio
from affine import Affine
from rasterio.windows import Window

from geolatents.acquire.assembled import scene_profile, strips
from geolatents.acquire.decoding import DECODE_ERRORS
from geolatents.acquire.fetch.http import CONNECT_TIMEOUT, TRANSIENT, Again, Client, user_agent
from geolatents.acquire.fetch.secrets import public_url, redacted, remember
from geolatents.acquire.reader import Dataset
from geolatents.errors import FetchError

Extent = tuple[float, float, float, float]
"""Left, bottom, right and top in the CRS of a file."""

MARGIN = timedelta(seconds=60)
"""Tokens are renewed this long before they expire (Planetary Computer SDK)."""

REFUSED = frozenset({401, 403})

RETRY_DELAY = 0.5
"""Seconds before GDAL asks again for a part; doubled each time."""

TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


class Tokens:
    """Signatures that the Planetary Computer's storage asks for, each good for some 45 minutes.

    Source: https://planetarycomputer.microsoft.com/docs/concepts/sas/

    Args:
        client: Client of the token service.
        url: Address of the tokens of one collection.
    """

    def __init__(self, client: Client, url: str) -> None:
        self._client, self._url = client, url
        self._lock = threading.Lock()
        self._token = ""
        self._expiry = datetime.min.replace(tzinfo=UTC)

    def signed(self, href: str) -> str:
        """An address that can be used now.

        Raises:
            AccessError, FetchError: There is no token to be had.
        """
        with self._lock:
            if datetime.now(UTC) + MARGIN >= self._expiry:
                answer = self._client.json(self._url, check=_is_token)
                self._token = remember(answer["token"])
                self._expiry = datetime.fromisoformat(answer["msft:expiry"])
            return f"{href}?{self._token}"

    def refused(self, address: str) -> None:
        """Forget the token of an address that was refused."""
        with self._lock:
            if address.endswith(f"?{self._token}"):
                self._expiry = datetime.min.replace(tzinfo=UTC)


def _is_token(answer: Any) -> None:
    try:
        fine = bool(answer["token"]) and datetime.fromisoformat(answer["msft:expiry"]).tzinfo
    except (KeyError, TypeError, ValueError):
        fine = False
    if not fine:
        raise Again("the answer is no token")


def read_window(
    href: str,
    extent: Extent,
    crs: str,
    part: Path,
    client: Client,
    tokens: Tokens | None,
    contact: str | None = None,
) -> None:
    """Copy a window of a one-band file on a server into a tiled GeoTIFF.

    Only the blocks under the window are transferred. Values, type and no-data value are kept.

    Args:
        href: Address of a cloud-optimized GeoTIFF, without token.
        extent: The window, on the file's grid.
        crs: CRS that the file must have.
        part: GeoTIFF to write.
        client: Client of the server; its timeout and attempts hold for GDAL too.
        tokens: Where tokens come from, if the server wants one.
        contact: Mail address or page of the user, which GDAL names to the server too.

    Raises:
        AccessError: The server refuses access.
        FetchError: The file is not there, or not what and where the catalogue says.
    """
    renewed = False

    def once() -> None:
        nonlocal renewed
        address = tokens.signed(href) if tokens else href
        may_renew = tokens is not None and not renewed
        if not _opens(client, address, REFUSED if may_renew else frozenset()):
            assert tokens is not None
            tokens.refused(address)
            renewed = True
            raise Again("the token is refused; taking another one", 0.0)
        _hide_addresses_in_logs()
        try:
            with (
                rasterio.Env(**_options(client, contact)),
                rasterio.open(f"/vsicurl/{address}", driver="GTiff") as source,
            ):
                _copy(source, _window(source, extent, crs, href), part)
        except DECODE_ERRORS as error:
            raise Again(f"GDAL cannot read the window: {_said(error)}") from None

    client.tried(once, public_url(href, signed=True))


def _opens(client: Client, address: str, accepted: frozenset[int]) -> bool:
    """Whether the file may be read; False: refused with one of the accepted statuses.

    GDAL would say of a refusal only its status, and of a page of HTML that it is no file of a known format.
    """
    place = public_url(address, signed=True)
    headers = {"Range": "bytes=0-15", "Accept-Encoding": "identity"}
    with client.opened(address, headers=headers, accepted=accepted) as response:
        if response.status_code in accepted:
            return False
        start = bytes(response.raw.read(16))
        if not start.startswith(TIFF_MAGIC):
            raise Again(f"the answer is no TIFF but {response.headers.get('Content-Type')}")
        if response.status_code != 206:
            raise FetchError(
                "the server does not give parts of files",
                where=place,
                expected="status 206 to a request with `Range`",
                found=f"status {response.status_code}",
                fix="use a catalogue whose files lie on a server with byte ranges",
            )
    return True


def _options(client: Client, contact: str | None) -> dict[str, Any]:
    return {
        "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # neither list the folder nor look for sidecars
        "CPL_VSIL_CURL_NON_CACHED": "/vsicurl/",  # a failed attempt leaves nothing for the next one
        # Ranges asked in parallel are not retried (GDAL issue 12933), and with several threads a lost
        # connection can leave blank blocks without an error (GDAL issue 11552).
        "GDAL_HTTP_MULTIRANGE": "SERIAL",
        "GDAL_NUM_THREADS": "1",
        "GDAL_HTTP_MAX_RETRY": client.attempts - 1,
        "GDAL_HTTP_RETRY_DELAY": RETRY_DELAY,
        "GDAL_HTTP_RETRY_CODES": ",".join(map(str, sorted(TRANSIENT))),
        "GDAL_HTTP_CONNECTTIMEOUT": math.ceil(CONNECT_TIMEOUT),
        "GDAL_HTTP_LOW_SPEED_TIME": math.ceil(client.timeout),  # seconds below 1 byte per second
        "GDAL_HTTP_NETRC": "NO",
        "GDAL_HTTP_USERAGENT": user_agent(contact),
    }


def _window(source: Dataset, extent: Extent, crs: str, href: str) -> Window:
    """The window of an extent, which must lie on the file's grid and within it."""
    left, bottom, right, top = extent
    column, row = ~source.transform @ (left, top)
    last_column, last_row = ~source.transform @ (right, bottom)
    edges = [column, row, last_column, last_row]
    whole = [round(edge) for edge in edges]
    on_grid = max(abs(edge - near) for edge, near in zip(edges, whole, strict=True)) < 0.01
    x, y, right_x, lower_y = whole
    inside = 0 <= x < right_x <= source.width and 0 <= y < lower_y <= source.height
    if source.count != 1 or not (on_grid and inside) or source.crs != rasterio.CRS.from_string(crs):
        raise FetchError(
            "a file is not what the catalogue says",
            where=public_url(href, signed=True),
            expected=f"one band in {crs} that covers {list(extent)} on its pixels",
            found=f"{source.count} bands in {source.crs}, {list(source.bounds)}, pixels of {source.res}",
            fix="search again; if it stays so, delete the scene from the list of scenes",
        )
    return Window(x, y, right_x - x, lower_y - y)


def _copy(source: Dataset, window: Window, part: Path) -> None:
    profile = scene_profile(
        width=window.width,
        height=window.height,
        count=1,
        dtype=source.dtypes[0],
        crs=source.crs,
        transform=source.transform @ Affine.translation(window.col_off, window.row_off),
        nodata=source.nodata,
    )
    with _writable(part, profile) as target:
        for strip in strips(window.width, window.height):
            row = window.row_off + strip.row_off
            there = Window(window.col_off, row, strip.width, strip.height)
            try:
                pixels = source.read(1, window=there)
            except DECODE_ERRORS as error:
                raise Again(f"GDAL cannot read the window: {_said(error)}") from None
            target.write(pixels, 1, window=strip)


@contextmanager
def _writable(part: Path, profile: Mapping[str, Any]) -> Iterator[Dataset]:
    """A file to write; that it cannot be written is no fault of the server, and asking again no help."""
    try:
        with rasterio.open(part, "w", **profile) as target:
            yield target
    except DECODE_ERRORS as error:
        raise FetchError(
            "a window cannot be written",
            where=part,
            found=_said(error),
            fix="make room, or move the downloads folder; what is complete is kept",
        ) from None


def _said(error: BaseException) -> str:
    """What GDAL says, without tokens."""
    return redacted(f"{error} ({error.__cause__})" if error.__cause__ else error)


class _Redacting(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redacted(record.getMessage()), ()
        return True


_REDACTING = _Redacting()


def _hide_addresses_in_logs() -> None:
    """GDAL repeats the whole address, with its token, in messages that rasterio logs."""
    for name in list(logging.root.manager.loggerDict):
        if name.startswith("rasterio"):  # a filter does not hold for the loggers below its own
            logging.getLogger(name).addFilter(_REDACTING)
