"""Wikimedia Commons: its Action API and its image server, imitated after documentation and published source.

Search by position: extension GeoData, ``includes/Api/QueryGeoSearch.php``, ``QueryGeoSearchElastic.php``,
``QueryCoordinates.php`` and ``BoundingBox.php`` (github.com/wikimedia/mediawiki-extensions-GeoData): limits,
defaults, error codes, no continuation; pages deleted since they were indexed drop out after the limit.
File information: ``includes/api/ApiQueryImageInfo.php`` (github.com/wikimedia/mediawiki): 50 scaled images
per answer, ``iicontinue=title|timestamp``; https://www.mediawiki.org/wiki/API:Imageinfo.
Continuation: https://www.mediawiki.org/wiki/API:Continue. Lag: https://www.mediawiki.org/wiki/Manual:Maxlag_parameter.
User agent: https://foundation.wikimedia.org/wiki/Policy:Wikimedia_Foundation_User-Agent_Policy.
Metadata: values as in the fixtures of github.com/wmde/attribution-generator-api (services/__fixtures__) and of the
extension CommonsMetadata. Scaled images: https://www.mediawiki.org/wiki/Common_thumbnail_sizes.
"""

from __future__ import annotations

import hashlib
import io
import math
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from tests.services.base import Answer, Call, LocalService

EARTH_RADIUS = 6_371_010.0
TRANSFORM_LIMIT = 50
STEPS = (20, 40, 60, 120, 250, 330, 500, 960, 1280, 1920, 3840)
FILE_NAMESPACE = 6


@dataclass
class CommonsFile:
    """A page of the namespace File.

    ``coordinates``: (latitude, longitude, primary). ``deleted``: the index of the search still has it.
    """

    pageid: int
    title: str
    coordinates: list[tuple[float, float, bool]]
    metadata: dict[str, str] | None = None
    mime: str = "image/jpeg"
    user: str = "Uploader"
    size: tuple[int, int] = (8, 6)
    deleted: bool = False
    missing: bool = False  # a page without a file
    unplaced: bool = False  # the database has no coordinates, unlike the index
    body: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        if self.metadata is None:
            self.metadata = {"LicenseShortName": "CC BY-SA 4.0"}
        if not self.body:
            kind = {"image/png": "PNG", "image/webp": "WEBP"}.get(self.mime, "JPEG")
            self.body = drawn(self.pageid, self.size, kind)

    @property
    def key(self) -> str:
        return self.title.removeprefix("File:").replace(" ", "_")


class Commons(LocalService):
    """The wiki and its image server on one address.

    Attributes:
        lags: Seconds that the database lags behind at the next requests.
        lag_wait: ``Retry-After`` while it does.
        max_radius: Metres; half the side of the largest box.
    """

    def __init__(self, files: list[CommonsFile]) -> None:
        super().__init__()
        self.files = files
        self.lags: list[float] = []
        self.lag_wait, self.max_radius = "5", 10_000
        self.route(r"/w/api\.php", self._api)
        self.route(r"/wikipedia/commons/thumb/(.+)/(\d+)px-.+", self._thumbnail)
        self.route(r"/wikipedia/commons/([^/]+)", self._original)

    # ---- the API

    def _api(self, call: Call) -> Answer:
        refused = _anonymous(call)
        if refused:
            return refused
        query = call.parameters
        lag = self.lags.pop(0) if self.lags else 0.0
        if "maxlag" in query and lag > float(query["maxlag"]):
            text = f"Waiting for db1: {lag} seconds lagged."
            answer = _error({"code": "maxlag", "info": text, "host": "db1", "lag": lag})
            answer.headers |= {"Retry-After": self.lag_wait, "X-Database-Lag": str(int(lag))}
            return answer
        if query.get("action") != "query" or query.get("generator") != "geosearch":
            return _error({"code": "badvalue", "info": "Unrecognized value for a parameter."})
        try:
            pages = self._geosearch(query)
        except _ApiError as error:
            return _error({"code": error.args[0], "info": error.args[1]})
        if query.get("format") != "json":
            return Answer.text("<!DOCTYPE html><html></html>", kind="text/html")
        return self._answered(query, pages)

    def _answered(self, query: dict[str, str], pages: list[CommonsFile]) -> Answer:
        found: dict[int, dict[str, Any]] = {
            page.pageid: {"pageid": page.pageid, "ns": FILE_NAMESPACE, "title": page.title, "index": index}
            for index, page in enumerate(pages)
        }  # fmt: skip
        asked = query.get("prop", "").split("|")
        done = set(query.get("continue", "||").partition("||")[2].split("|"))
        going_on: dict[str, str] = {}
        finished = done & {"imageinfo", "coordinates"}
        for name, add in (("imageinfo", self._imageinfo), ("coordinates", self._coordinates)):
            if name not in asked or name in done:
                continue
            more = add(query, pages, found)
            going_on |= more
            if not more:
                finished.add(name)
        values: dict[str, Any] = {}
        if going_on:
            order = [name for name in ("imageinfo", "coordinates") if name in finished]
            values["continue"] = going_on | {"continue": "||" + "|".join(order)}
        else:
            values["batchcomplete"] = True
        if found:
            values["query"] = {"pages": list(found.values())}
        return Answer.json(values if query.get("formatversion") == "2" else _first_version(values))

    def _geosearch(self, query: dict[str, str]) -> list[CommonsFile]:
        north, west, south, east = _bbox(query.get("ggsbbox", ""), self.max_radius)
        if query.get("ggsnamespace", "0") != str(FILE_NAMESPACE):
            return []
        limit = query.get("ggslimit", "10")
        limit = 500 if limit == "max" else min(int(limit), 500)
        wanted = query.get("ggsprimary", "primary")
        middle = ((north + south) / 2, (west + east) / 2)
        hits = []
        for file in self.files:
            places = [
                (latitude, longitude)
                for latitude, longitude, primary in file.coordinates
                if _fits(primary, wanted) and south <= latitude <= north and west <= longitude <= east
            ]  # fmt: skip
            if places:
                hits.append((min(distance(*middle, *place) for place in places), file.pageid, file))
        hits.sort(key=lambda hit: hit[:2])
        return sorted(
            (file for _, _, file in hits[:limit] if not file.deleted), key=lambda file: file.pageid
        )

    def _coordinates(
        self, query: dict[str, str], pages: list[CommonsFile], found: dict[int, dict[str, Any]]
    ) -> dict[str, str]:
        limit = query.get("colimit", "10")
        limit = 500 if limit == "max" else min(int(limit), 500)
        wanted = query.get("coprimary", "primary")
        start = tuple(int(part) for part in query.get("cocontinue", "0|0").split("|"))
        count = 0
        for page in pages:
            if page.unplaced:
                continue
            for number, (latitude, longitude, primary) in enumerate(page.coordinates):
                tag = (page.pageid, page.pageid * 10 + number)
                if tag < start or not _fits(primary, wanted):
                    continue
                count += 1
                if count > limit:
                    return {"cocontinue": f"{tag[0]}|{tag[1]}"}
                place = {"lat": latitude, "lon": longitude, "primary": primary, "globe": "earth"}
                found[page.pageid].setdefault("coordinates", []).append(place)
        return {}

    def _imageinfo(
        self, query: dict[str, str], pages: list[CommonsFile], found: dict[int, dict[str, Any]]
    ) -> dict[str, str]:
        start = query.get("iicontinue", "").rpartition("|")[0]
        width = int(query.get("iiurlwidth", "-1"))
        scaled = 0
        for page in sorted(pages, key=lambda page: page.key):
            if page.key < start:
                continue
            if scaled >= TRANSFORM_LIMIT:
                return {"iicontinue": f"{page.key}|20200101000000"}
            if page.missing:
                found[page.pageid]["imagerepository"] = ""
                continue
            scaled += width != -1
            found[page.pageid] |= {
                "imagerepository": "local",
                "imageinfo": [self._info(page, query, width)],
            }
        return {}

    def _info(self, page: CommonsFile, query: dict[str, str], width: int) -> dict[str, Any]:
        asked = set(query.get("iiprop", "timestamp|user").split("|"))
        info: dict[str, Any] = {}
        if "timestamp" in asked:
            info["timestamp"] = "2020-01-01T00:00:00Z"
        if "user" in asked:
            info["user"] = page.user
        if asked & {"size", "dimensions"}:
            info |= {"size": len(page.body), "width": page.size[0], "height": page.size[1]}
        if "url" in asked:
            info |= self._addresses(page, width, thumbmime="thumbmime" in asked)
        if "sha1" in asked:
            info["sha1"] = hashlib.sha1(page.body).hexdigest()
        if "extmetadata" in asked:
            wanted = query.get("iiextmetadatafilter", "")
            info["extmetadata"] = {
                name: {"value": value, "source": "commons-desc-page", "hidden": ""}
                for name, value in (page.metadata or {}).items()
                if not wanted or name in wanted.split("|")
            } or []  # an empty list of PHP  # fmt: skip
        if "mime" in asked:
            info["mime"] = page.mime
        return info

    def _addresses(self, page: CommonsFile, width: int, thumbmime: bool) -> dict[str, Any]:
        original = f"{self.url}/wikipedia/commons/{page.key}"
        values = {"url": original, "descriptionurl": f"{self.url}/wiki/{page.title.replace(' ', '_')}"}  # fmt: skip
        if width == -1:
            return values
        if width >= page.size[0]:  # not scaled up
            scaled = {"thumburl": original, "thumbwidth": page.size[0], "thumbheight": page.size[1]}
        else:
            step = next(step for step in STEPS if step >= width)
            height = round(width * page.size[1] / page.size[0])
            place = f"{self.url}/wikipedia/commons/thumb/{page.key}/{step}px-{page.key}"
            scaled = {"thumburl": place, "thumbwidth": width, "thumbheight": height}
        return values | scaled | ({"thumbmime": page.mime} if thumbmime else {})

    # ---- the image server

    def _original(self, call: Call, key: str) -> Answer:
        return _anonymous(call) or self._served(call, key, None)

    def _thumbnail(self, call: Call, key: str, width: str) -> Answer:
        if int(width) not in STEPS:
            return Answer.text("Use thumbnail steps listed on https://w.wiki/GHai.", 400)
        return _anonymous(call) or self._served(call, key, int(width))

    def _served(self, call: Call, key: str, width: int | None) -> Answer:
        page = next((file for file in self.files if file.key == key and not file.deleted), None)
        if page is None:
            return Answer.text("<!DOCTYPE html><html>File not found</html>", 404, "text/html")
        if width is None:
            return Answer.file(call, page.body, page.mime)
        height = round(width * page.size[1] / page.size[0])
        kind = "PNG" if page.mime == "image/png" else "JPEG"
        return Answer.file(call, drawn(page.pageid, (width, height), kind), page.mime)


def drawn(seed: int, size: tuple[int, int], kind: str = "JPEG") -> bytes:
    """A picture that belongs to a page."""
    width, height = size
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (math.ceil(height / 40), math.ceil(width / 40), 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(coarse.repeat(40, 0).repeat(40, 1)[:height, :width]).save(stream, kind)
    return stream.getvalue()


def distance(lat1: float, lon1: float, lat2: float, lon2: float) -> float:
    """Metres, as GeoData's Math.php computes them."""
    lat1, lon1, lat2, lon2 = map(math.radians, (lat1, lon1, lat2, lon2))
    half = math.sin((lat2 - lat1) / 2) ** 2
    half += math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    return 2 * EARTH_RADIUS * math.asin(math.sqrt(half))


class _ApiError(Exception):
    pass


def _bbox(text: str, max_radius: float) -> tuple[float, float, float, float]:
    try:
        north, west, south, east = (float(part) for part in text.split("|"))
    except ValueError:
        raise _ApiError("invalid-bbox", "Invalid bounding box.") from None
    if max(abs(north), abs(south)) > 90 or max(abs(west), abs(east)) > 360 or north <= south:
        raise _ApiError("invalid-bbox", "Invalid bounding box.")
    middle = (north + south) / 2
    area = distance(north, 0, south, 0) * distance(middle, west, middle, east)
    if area > 4 * max_radius**2 or area < 100:
        raise _ApiError("toobig", "Bounding box is too big.")
    return north, west, south, east


def _fits(primary: bool, wanted: str) -> bool:
    return wanted == "all" or primary == (wanted == "primary")


def _anonymous(call: Call) -> Answer | None:
    """The refusal of clients that do not say who they are."""
    agent = call.headers.get("user-agent", "")
    if re.search(r"^[^ ]+/[^ ]+ \([^)]*(@|https?://|\w+\.\w+)[^)]*\)", agent):
        return None
    return Answer.text("Please set a user-agent and respect our robot policy.", 403)


def _error(error: dict[str, Any]) -> Answer:
    link = {"docref": "See https://commons.wikimedia.org/w/api.php for API usage."}
    headers = {"MediaWiki-API-Error": error["code"]}
    return Answer.json({"error": error | link, "servedby": "mw1"}, **headers)


def _first_version(values: Any) -> Any:
    """``formatversion=1``: pages keyed by id, true as an empty text, false left out."""
    if isinstance(values, list):
        return [_first_version(value) for value in values]
    if not isinstance(values, dict):
        return values
    kept = {
        name: "" if value is True else _first_version(value)
        for name, value in values.items()
        if value is not False
    }
    if isinstance(kept.get("pages"), list):
        kept["pages"] = {str(page["pageid"]): page for page in kept["pages"]}
    return kept
