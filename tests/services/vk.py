"""VK's ``photos.search`` and its image servers, as published.

Sources:
- https://github.com/VKCOM/vk-api-schema, version 5.199: ``photos/methods.json`` (parameters, default
  and largest count, the five radii), ``photos/responses.json``, ``photos/objects.json`` (``photos_photo``,
  ``photos_photo_sizes``), ``errors.json`` (codes and texts), ``base/objects.json`` (``base_error``).
- https://dev.vk.com/api/api-requests: address, GET or POST, ``Authorization: Bearer``, version in ``v``.
- https://dev.vk.com/en/reference/objects/photo-sizes: letters, 0 as width and height before 2012.
- Window of 3000 hits: https://github.com/PotentialAnomaly/Geotags-from-VK-to-CSV (README, a public client).
- Form of image links (``/impg/...jpg?size=..&quality=..&sign=..&type=album``) and of older ones
  (``/c{server}/v{server}{last digits of the owner}/...``): links in public pages.

What VK does not publish is as unkind here as clients report it: the count is an estimate that differs
between pages, pages overlap or are short, the radius is approximate, links expire.
"""

from __future__ import annotations

import hashlib
import io
import math
import random
import time
from collections import deque
from typing import Any

from PIL import Image

from tests.services.base import HTML_PAGE, Answer, Call, LocalService

RADII = {10, 100, 800, 6000, 50000}
LARGEST_COUNT = 1000
DEFAULT_COUNT = 100
DEFAULT_RADIUS = 5000
PER_SECOND = 3

TEXTS = {
    1: "Unknown error occurred",
    5: "User authorization failed",
    6: "Too many requests per second",
    8: "Invalid request",
    9: "Flood control",
    10: "Internal server error",
    14: "Captcha needed",
    15: "Access denied",
    17: "Validation required",
    18: "User was deleted or banned",
    28: "Application authorization failed",
    29: "Rate limit reached",
    30: "This profile is private",
    100: "One of the parameters specified was missing or invalid",
}

SIZES = (("s", 75), ("m", 130), ("x", 604), ("y", 807), ("z", 1080), ("w", 2560))
CROPPED = (("o", 130), ("p", 200), ("q", 320), ("r", 510))


class VkService(LocalService):
    """An imitation of api.vk.com and of *.userapi.com.

    Args:
        photos: Photos, see :func:`photo`.
        token: The token that is accepted.
        window: Hits of one question that can be reached.
        per_second: Requests per second before error 6; None for no limit.
        inclusive: Whether photos of the very start and end of an interval are hits.
        estimate: Largest relative error of the count.
        overlap: Hits that a page repeats of the page before it.
        hidden: Share of hits that are counted, but left out of pages.
        longest: Seconds of an interval beyond which error 10 is answered.
        seed: Seed of the estimates.
    """

    def __init__(
        self,
        photos: list[dict[str, Any]],
        token: str = "vk1.a.TheSecretServiceToken",
        window: int = 3000,
        per_second: int | None = None,
        inclusive: bool = True,
        estimate: float = 0.0,
        overlap: int = 0,
        hidden: float = 0.0,
        longest: float = math.inf,
        seed: int = 1,
    ) -> None:
        super().__init__()
        self.photos, self.token, self.window, self.per_second = photos, token, window, per_second
        self.inclusive, self.estimate, self.overlap, self.hidden = inclusive, estimate, overlap, hidden  # fmt: skip
        self.longest = longest
        self.errors: deque[int | None] = deque()  # codes of the next answers; None: a true answer
        self.generation = 0  # of links
        self.refused: set[int] = set()  # ids of photos whose links are refused
        self.broken: set[int] = set()  # ids of photos that come as a page of HTML
        self._random = random.Random(seed)
        self._moments: deque[float] = deque()
        self.route(r"/method/photos\.search", self._search)
        self.route(r"/method/(.*)", lambda call, _name: self._error(call, 3))
        self.route(r"/impg/(\d+)-(\d+)/\w+\.jpg", self._image)
        self.route(r"/c\d+/v\d+/(\d+)-(\d+)/\w+\.jpg", self._image)

    def expire_links(self) -> None:
        """From now on links that were given out are refused, and searches give new ones."""
        self.generation += 1

    # ---- the API

    def _search(self, call: Call) -> Answer:
        given = call.parameters
        bearer = call.headers.get("authorization", "").removeprefix("Bearer ")
        if given.get("access_token", bearer) != self.token:
            return self._error(call, 5)
        if "v" not in given:
            return self._error(call, 8)
        if self._too_fast():
            return self._error(call, 6)
        forced = self.errors.popleft() if self.errors else None
        if forced is not None:
            return self._error(call, forced)
        try:
            radius = int(given.get("radius", DEFAULT_RADIUS))
            count = int(given.get("count", DEFAULT_COUNT))
            offset = int(given.get("offset", 0))
            start, end = (int(given.get(f"{name}_time", value)) for name, value in (("start", 0), ("end", 2**31)))  # fmt: skip
            latitude, longitude = float(given["lat"]), float(given["long"])
        except (KeyError, ValueError):
            return self._error(call, 100)
        if radius not in RADII | {DEFAULT_RADIUS} or min(count, offset, start, end) < 0:
            return self._error(call, 100)
        if end - start > self.longest:
            return self._error(call, 10)
        hits = self._hits(longitude, latitude, radius, start, end)
        count = min(count, LARGEST_COUNT)
        first = max(0, offset - self.overlap)
        page = hits[first : min(first + count, self.window)] if offset < self.window else []
        wrong = self._random.uniform(-self.estimate, self.estimate)
        shown = [self._item(hit) for hit in page if not self.is_hidden(hit)]
        return Answer.json({"response": {"count": round(len(hits) * (1 + wrong)), "items": shown}})

    def _hits(
        self, longitude: float, latitude: float, radius: int, start: int, end: int
    ) -> list[dict[str, Any]]:
        """Newest first. How far a circle reaches differs from photo to photo."""

        def near(hit: dict[str, Any]) -> bool:
            reach = 0.9 + 0.6 * _share(hit["id"])
            at = hit["at"]
            return distance(longitude, latitude, at[0], at[1]) <= radius * reach

        def in_time(hit: dict[str, Any]) -> bool:
            if self.inclusive:
                return bool(start <= hit["date"] <= end)
            return bool(start < hit["date"] < end)

        hits = [hit for hit in self.photos if in_time(hit) and near(hit)]
        return sorted(hits, key=lambda hit: (-hit["date"], hit["id"]))

    def is_hidden(self, hit: dict[str, Any]) -> bool:
        return _share(-hit["id"]) < self.hidden

    def _item(self, hit: dict[str, Any]) -> dict[str, Any]:
        """``photos_photo``: required are id, owner_id, album_id, date, has_tags."""
        item = {key: value for key, value in hit.items() if key not in {"at", "side", "old"}}
        return item | {"sizes": self._sizes(hit)}

    def _sizes(self, hit: dict[str, Any]) -> list[dict[str, Any]]:
        if hit["side"] == 0:
            return []
        sizes = []
        for letter, side in sorted(SIZES + CROPPED):
            if side > hit["side"] and letter != "s":
                continue
            width, height = (side, side * 2 // 3) if not hit["old"] else (0, 0)
            url = self._link(hit, letter, side)
            sizes.append({"type": letter, "url": url, "width": width, "height": height})
        return sizes

    def _link(self, hit: dict[str, Any], letter: str, side: int) -> str:
        name = f"{hit['id']}-{self.generation}"
        if hit["old"]:
            tail = abs(hit["owner_id"]) % 1000
            return f"{self.url}/c625/v625{tail:03d}/{name}/{letter}{side}.jpg"
        size = f"{side}x{side * 2 // 3}"
        return f"{self.url}/impg/{name}/{letter}{side}.jpg?size={size}&quality=96&sign={self._sign(hit['id'])}&type=album"

    def _sign(self, name: int) -> str:
        return hashlib.md5(f"sign {name} {self.generation}".encode()).hexdigest()

    def _too_fast(self) -> bool:
        now = time.monotonic()
        while self._moments and self._moments[0] <= now - 1.0:
            self._moments.popleft()
        self._moments.append(now)
        return self.per_second is not None and len(self._moments) > self.per_second

    def _error(self, call: Call, code: int) -> Answer:
        """``base_error``; comes with status 200, and repeats the request with its token."""
        asked = [{"key": key, "value": value} for key, value in call.parameters.items()]
        error: dict[str, Any] = {
            "error_code": code,
            "error_msg": TEXTS.get(code, "Unknown method passed"),
            "request_params": [*asked, {"key": "access_token", "value": self.token}],
        }
        if code == 14:
            error |= {"captcha_sid": "239633676097", "captcha_img": f"{self.url}/captcha.php?sid=2"}
        return Answer.json({"error": error})

    # ---- images

    def _image(self, call: Call, name: str, generation: str) -> Answer:
        found = next((hit for hit in self.photos if hit["id"] == int(name)), None)
        if found is None:
            return Answer.text("<html><h1>404 Not Found</h1></html>", 404, "text/html")
        signed = found["old"] or call.query.get("sign") == self._sign(found["id"])
        if int(generation) != self.generation or not signed or found["id"] in self.refused:
            return Answer.text("<html><h1>403 Forbidden</h1></html>", 403, "text/html")
        if found["id"] in self.broken:
            return HTML_PAGE
        side = int("".join(filter(str.isdigit, call.path.rpartition("/")[2])))
        return Answer.file(call, picture(found["id"], side), "image/jpeg")


def photo(
    name: int,
    longitude: float,
    latitude: float,
    date: int,
    owner: int = 123456001,
    side: int = 2560,
    old: bool = False,
    **fields: Any,
) -> dict[str, Any]:
    """A photo of the service.

    Args:
        name: Its id.
        longitude: Degrees.
        latitude: Degrees.
        date: Unix time of the upload.
        owner: Its owner; negative for a community.
        side: Longest side in pixels; 0 for a photo without ``sizes``.
        old: Whether it is from before 2012: sizes without width and height, links of the old form.
        fields: Further or other fields; ``lat=None`` for none.
    """
    found = {
        "id": name, "owner_id": owner, "album_id": -7, "date": date, "has_tags": False,
        "lat": latitude, "long": longitude, "text": f"On holiday with {owner}",
        "at": (longitude, latitude), "side": side, "old": old,
    }  # fmt: skip
    return {key: value for key, value in (found | fields).items() if value is not None}


def distance(longitude: float, latitude: float, longitude2: float, latitude2: float) -> float:
    """Metres on the mean sphere (haversine)."""
    a, b = math.radians(latitude), math.radians(latitude2)
    half = math.radians(longitude2 - longitude) / 2
    root = math.sin((b - a) / 2) ** 2 + math.cos(a) * math.cos(b) * math.sin(half) ** 2
    return 2 * 6_371_008.8 * math.asin(math.sqrt(root))


def picture(name: int, side: int) -> bytes:
    """A JPEG of 3:2, of a colour of its own."""
    grey = name * 37
    image = Image.new("RGB", (side, side * 2 // 3), (grey % 256, grey // 3 % 256, grey // 7 % 256))
    stream = io.BytesIO()
    image.save(stream, "JPEG")
    return stream.getvalue()


def _share(number: int) -> float:
    """A number in [0, 1) that is always the same for the same number."""
    return int(hashlib.md5(str(number).encode()).hexdigest()[:8], 16) / 2**32
