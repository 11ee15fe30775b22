"""What VK's photo objects become: photos without anything that names a person.

Fields: ``photos_photo`` and ``photos_photo_sizes`` of https://github.com/VKCOM/vk-api-schema (``photos/objects.json``).
"""

from __future__ import annotations

import calendar
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import shapely
from shapely.geometry.base import BaseGeometry

from geolatents.acquire.photos.privacy import Pseudonyms
from geolatents.acquire.photos.table import Photo, utc_text
from geolatents.errors import ConfigError
from geolatents.files import content_key
from geolatents.settings.vk_photos import VkSearch

PROVIDER = "vk_photos"
LICENCE = "no licence; VK platform rules"
LICENCE_URL = "https://dev.vk.com/rules"

NEEDED = ("id", "owner_id", "date")
"""Fields that the schema requires."""

SIZES = {"s": 75, "m": 130, "x": 604, "y": 807, "z": 1080, "w": 2560, "base": 0, "orig": 0, "max": 0}  # fmt: skip
"""Image files that keep the photo's proportions, with their longest side in pixels where it is fixed.
The others (o, p, q, r and more) may be cropped: https://dev.vk.com/en/reference/objects/photo-sizes."""


class Reader:
    """Makes photos of VK's photo objects, without anything that names a person.

    Args:
        search: Search settings.
        area: Polygons in longitude and latitude.
        names: Keyed hashes.
        excluded: Names of accounts and photos to leave out.
    """

    def __init__(
        self, search: VkSearch, area: BaseGeometry, names: Pseudonyms, excluded: frozenset[str]
    ) -> None:
        self.search, self.area, self.names, self.excluded = search, area, names, excluded
        self.spans = spans_of(*search.dates, search.months)
        self._left_out: dict[str, set[tuple[Any, Any]]] = defaultdict(set)
        shapely.prepare(area)

    def key(self) -> str:
        """What identifies the answers of a search: all that decides which photos and links are kept."""
        search = self.search.model_dump(
            mode="json", exclude={"area", "exclude", "per_owner", "cell_km", "most_requests"}
        )
        parts = [search, self.area.wkb_hex, sorted(self.excluded), self.names.salt_name()]
        return content_key(parts)

    def photos(self, items: list[dict[str, Any]]) -> list[Photo]:
        """Photos of objects that have a place, a time and an image, and are wanted."""
        return list(self._photos(items))

    def left_out(self) -> str:
        """How many objects this run left out, and why."""
        return (
            ", ".join(f"{len(ids)} {why}" for why, ids in sorted(self._left_out.items())) or "none"
        )

    def _photos(self, items: list[dict[str, Any]]) -> Iterator[Photo]:
        for item in items:
            found = self._photo(item)
            if isinstance(found, Photo):
                yield found
            else:
                self._left_out[found].add((item.get("owner_id"), item.get("id")))

    def _photo(self, item: Mapping[str, Any]) -> Photo | str:
        """The photo of an object, or why it is left out."""
        if any(not isinstance(item.get(name), int) for name in NEEDED):
            return "incomplete"
        longitude, latitude = item.get("long"), item.get("lat")
        if not isinstance(longitude, int | float) or not isinstance(latitude, int | float):
            return "without position"
        if not shapely.intersects_xy(self.area, longitude, latitude):
            return "outside the area"
        if not any(start <= item["date"] <= end for start, end in self.spans):
            return "outside the dates"
        size = chosen_size(item.get("sizes") or [], self.search.min_side)
        if size is None:
            return "without image"
        owner = self.names.owner(PROVIDER, item["owner_id"])
        # Photos in a community belong to it, but who uploaded them may ask for their removal, too.
        uploader = self.names.owner(PROVIDER, item.get("user_id", item["owner_id"]))
        name = self.names.photo(PROVIDER, item["owner_id"], item["id"])
        if {owner, uploader, name} & self.excluded:
            return "excluded"
        return Photo(
            id=name,
            provider=PROVIDER,
            longitude=float(longitude),
            latitude=float(latitude),
            url=_link(size),
            licence=LICENCE,
            licence_url=LICENCE_URL,
            taken=utc_text(item["date"]),
            owner=owner,
            variant=str(size.get("type", "max")),
            width=size.get("width") or None,
            height=size.get("height") or None,
        )


def chosen_size(sizes: list[dict[str, Any]], min_side: int) -> dict[str, Any] | None:
    """The smallest image file whose shorter side has at least so many pixels, else the largest.

    Width and height of old photos are 0: the letter of the size stands in for them. Files that may
    be cropped are taken only where there is no other.

    Args:
        sizes: Objects of ``sizes``.
        min_side: Pixels.

    Returns:
        One of them; None if none has an address.
    """
    linked = [size for size in sizes if _link(size)]
    whole = [size for size in linked if size.get("type") in SIZES] or linked
    by_area = sorted(whole, key=lambda size: math.prod(_extent(size)))
    enough = [size for size in by_area if min(_extent(size)) >= min_side]
    return enough[0] if enough else by_area[-1] if by_area else None


def _link(size: Mapping[str, Any]) -> str:
    """Address of an image file; answers to older versions of the API name it ``src``."""
    return str(size.get("url") or size.get("src") or "")


def _extent(size: Mapping[str, Any]) -> tuple[float, float]:
    """Width and height in pixels, of unknown ones as a photo of 3:2 has them."""
    if size.get("width") and size.get("height"):
        return size["width"], size["height"]
    longest = SIZES.get(size.get("type", ""), 0)
    return longest, longest / 1.5


def spans_of(first: date, last: date, months: list[int]) -> list[tuple[int, int]]:
    """Intervals without a gap of the wanted months.

    Args:
        first: First day, in UTC.
        last: Last day.
        months: Months to keep, 1 to 12.

    Returns:
        First and last second (Unix time) of each interval.

    Raises:
        ConfigError: No month lies within the days.
    """
    spans: list[tuple[int, int]] = []
    day = first
    while day <= last:
        end = min(last, day.replace(day=calendar.monthrange(day.year, day.month)[1]))
        if day.month in months:
            start, stop = _seconds(day), _seconds(end + timedelta(days=1)) - 1
            if spans and spans[-1][1] + 1 == start:
                spans[-1] = (spans[-1][0], stop)
            else:
                spans.append((start, stop))
        day = end + timedelta(days=1)
    if not spans:
        raise ConfigError(
            "no wanted month lies within the dates",
            found=f"{first} to {last}, months {months}",
            fix="correct `dates` or `months`",
        )
    return spans


def _seconds(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
