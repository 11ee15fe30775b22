"""Searching Wikimedia Commons for geotagged photos.

Requests: https://www.mediawiki.org/wiki/API:Geosearch, API:Imageinfo and API:Continue. The search by
position cannot be continued: it gives the 500 pages nearest to the middle of a box and no more, so that
full boxes are quartered until none is.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import shapely
from shapely.geometry.base import BaseGeometry

from geolatents.acquire.area import read_area
from geolatents.acquire.commons_photos.pages import (
    FIELDS,
    PROVIDER,
    UnusableError,
    licence_family,
    photo_of,
)
from geolatents.acquire.fetch.http import Again, retry_after
from geolatents.acquire.fetch.service import client_of
from geolatents.acquire.photos.grid import METRES_PER_DEGREE, WorldGrid
from geolatents.acquire.photos.journal import Journal, open_journal
from geolatents.acquire.photos.table import Photo, write_photo_list
from geolatents.acquire.scene_list import search_values
from geolatents.errors import FetchError
from geolatents.files import content_key
from geolatents.logs import LOG, progress
from geolatents.settings.commons_photos import CommonsPhotos, CommonsSearch

Box = tuple[float, float, float, float]
"""West, south, east, north in degrees."""

LARGEST_SIDE = 19_900.0
"""Metres; a box may cover 20 km x 20 km (``toobig`` otherwise)."""

SMALLEST_AREA = 101.0
"""Square metres; a box must cover 100 (``toobig`` otherwise, too)."""

LIMIT = 500
FULL = 450
"""Pages from which on a box counts as full: pages deleted of late are taken out of the 500 without a word."""

TRANSIENT = frozenset({"maxlag", "ratelimited", "readonly"})
"""Error codes after which the same request may succeed."""


def search_photos(
    settings: CommonsPhotos, data: Path, downloads: Path, table: Path, listing: Path
) -> None:
    """Search for photos and write their list.

    A search that was killed goes on with the box where it was, within a week.

    Args:
        settings: What to look for, and where the wiki is.
        data: Data folder that an area file is relative to.
        downloads: Folder of downloads; holds the journal of the search.
        table: GeoParquet to write, see :func:`~geolatents.acquire.photos.table.write_photo_list`.
        listing: JSON to write.

    Raises:
        ConfigError: The area cannot be read.
        AccessError: Wikimedia refuses the client.
        FetchError: Wikimedia fails, or nothing was found.
    """
    search = settings.search
    area = read_area(search.area, data)
    request = search_values(settings)
    key = content_key(request)
    left_out: Counter[str] = Counter()
    with open_journal(downloads / PROVIDER / "searches", key) as journal:
        finder = _Finder(settings, area, downloads, journal, left_out)
        boxes = [_rounded(box) for box in WorldGrid(LARGEST_SIDE).boxes_over(area)]
        for box in progress(boxes, total=len(boxes), what="searching Commons", unit="box"):
            finder.find(box)
        kept = []
        for photo in journal.photos.values():
            reason = _left_out(photo, search, area)
            if reason is None:
                kept.append(photo)
            else:
                left_out[reason] += 1
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(left_out.items()))
        LOG.info("Commons: %d photos; left out: %s", len(kept), reasons or "none")
        write_photo_list(kept, PROVIDER, search.cell_km, request, table, listing)


def _left_out(photo: Photo, search: CommonsSearch, area: BaseGeometry) -> str | None:
    """Why a photo is not one of those that are looked for, or None."""
    if not shapely.intersects_xy(area, photo.longitude, photo.latitude):
        return "outside the area"
    if licence_family(photo.licence) not in search.licences:
        return "of another licence"
    if (search.dates or search.months) and photo.taken is None:
        return "without a date"
    if search.dates and not str(search.dates[0]) <= str(photo.taken) <= str(search.dates[1]):
        return "of other dates"
    if search.months and int(str(photo.taken)[5:7]) not in search.months:
        return "of other months"
    return None


class _Finder:
    """Looks into boxes, and into their quarters where they are full."""

    def __init__(
        self,
        settings: CommonsPhotos,
        area: BaseGeometry,
        downloads: Path,
        journal: Journal,
        left_out: Counter[str],
    ) -> None:
        self._api = _Api(settings, downloads)
        self._width = settings.search.width
        self._area, self._journal, self._left_out = area, journal, left_out

    def find(self, box: Box) -> None:
        """Bring the photos of a box into the journal."""
        if not self._area.intersects(shapely.box(*box)):
            return
        name = ",".join(f"{edge:.6f}" for edge in box)
        if self._journal.split(name) is None:
            pages = self._api.pages(box)
            self._journal.write(name, None if pages is None else self._photos(pages))
        if self._journal.split(name):
            for quarter in _quarters(box):
                self.find(quarter)

    def _photos(self, pages: list[dict[str, Any]]) -> list[Photo]:
        photos = []
        for page in pages:
            try:
                photos.append(photo_of(page, self._width))
            except UnusableError as reason:
                self._left_out[str(reason)] += 1
        return photos


class _TooBigError(FetchError):
    """The service does not search a box of this size."""


class _Api:
    """Requests to the API of a wiki."""

    def __init__(self, settings: CommonsPhotos, downloads: Path) -> None:
        service, search = settings.service, settings.search
        self._url = f"{service.url.rstrip('/')}/w/api.php"
        self._client = client_of(service, "Wikimedia Commons", downloads)
        self._query = {
            "action": "query", "format": "json", "formatversion": "2", "maxlag": "5",
            "generator": "geosearch", "ggsnamespace": "6", "ggslimit": str(LIMIT),
            "ggsprimary": search.positions,
            "prop": "imageinfo|coordinates", "coprimary": search.positions, "colimit": "max",
            "iiprop": "url|size|sha1|mime|thumbmime|user|extmetadata",
            "iiextmetadatafilter": "|".join(FIELDS),
            **({"iiurlwidth": str(search.width)} if search.width else {}),
        }  # fmt: skip

    def pages(self, box: Box) -> list[dict[str, Any]] | None:
        """Pages of files with a position in a box, with all their properties.

        Returns:
            Pages; None if there are, or may be, more than the service gives for one box.

        Raises:
            FetchError: The service refuses the request.
        """
        west, south, east, north = box
        query = {**self._query, "ggsbbox": f"{north:.6f}|{west:.6f}|{south:.6f}|{east:.6f}"}
        divisible = _area(box) / 4 >= SMALLEST_AREA
        pages: dict[int, dict[str, Any]] = {}
        position: dict[str, str] = {}
        while True:
            try:
                answer = self._asked({**query, **position})
            except _TooBigError:
                if divisible:
                    return None
                raise
            _merge(pages, answer.get("query", {}).get("pages", []))
            if divisible and len(pages) >= FULL:
                return None
            if "continue" not in answer:
                break
            if answer["continue"] == position:
                raise _refusal("an answer that goes on without end", query["ggsbbox"])
            position = answer["continue"]
        if len(pages) >= FULL:
            LOG.warning("incomplete: Commons has more photos in one place than it gives: %s", box)
        return [pages[number] for number in sorted(pages)]

    def _asked(self, query: dict[str, str]) -> dict[str, Any]:
        def once() -> dict[str, Any]:
            with self._client.opened(self._url, params=query) as response:
                try:
                    answer = dict(response.json())
                except (ValueError, TypeError):
                    raise Again("the answer is no JSON object") from None
                if "error" in answer:
                    raise _error(answer["error"], response.headers)
                return answer

        return dict(self._client.tried(once, self._url))


def _error(error: Mapping[str, Any], headers: Mapping[str, str]) -> Exception:
    """What an error within an answer (status 200) means."""
    code, found = str(error.get("code")), f"{error.get('code')}: {error.get('info')}"
    if code in TRANSIENT or code.startswith("internal_api_error"):
        return Again(found, retry_after(headers))
    return _refusal(found, kind=_TooBigError if code == "toobig" else FetchError)


def _refusal(found: str, where: str | None = None, kind: type[FetchError] = FetchError) -> FetchError:  # fmt: skip
    return kind(
        "Wikimedia Commons does not answer as documented",
        where=where,
        found=found,
        fix="see https://www.mediawiki.org/wiki/API:Errors_and_warnings, and try again later",
    )


def _merge(pages: dict[int, dict[str, Any]], parts: list[dict[str, Any]]) -> None:
    """Add parts of pages: every answer lists all pages, each with some of its properties."""
    for part in parts:
        page = pages.setdefault(part["pageid"], {})
        for name, value in part.items():
            if isinstance(value, list):
                page.setdefault(name, []).extend(value)
            else:
                page[name] = value


def _quarters(box: Box) -> list[Box]:
    west, south, east, north = box
    x, y = round((west + east) / 2, 6), round((south + north) / 2, 6)
    return [(west, south, x, y), (x, south, east, y), (west, y, x, north), (x, y, east, north)]


def _rounded(box: Box) -> Box:
    """To what the requests say, so that neighbours share their edges; a micro-degree is 0.1 m."""
    west, south, east, north = (round(edge, 6) for edge in box)
    return max(west, -180.0), max(south, -90.0), min(east, 180.0), min(north, 90.0)


def _area(box: Box) -> float:
    """Square metres."""
    west, south, east, north = box
    width = (east - west) * math.cos(math.radians((south + north) / 2))
    return width * (north - south) * METRES_PER_DEGREE**2
