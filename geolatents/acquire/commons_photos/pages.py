"""What a page of Wikimedia Commons says about its file: image, position, date, licence, author.

Fields: https://www.mediawiki.org/wiki/API:Imageinfo and
https://www.mediawiki.org/wiki/Extension:CommonsMetadata. Values are HTML, and any may be missing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from html.parser import HTMLParser
from typing import Any

from geolatents.acquire.photos.table import Photo

PROVIDER = "commons_photos"

FIELDS = ("LicenseShortName", "License", "LicenseUrl", "Artist", "Attribution", "Credit", "DateTimeOriginal")  # fmt: skip
"""Metadata that is asked for."""

KINDS = frozenset({"image/jpeg", "image/png", "image/webp"})
"""Kinds of files that are photos; Commons also has videos, PDF, SVG, TIFF and others."""

_VOID = frozenset({"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"})  # fmt: skip
_UNSEEN = frozenset({"script", "style"})
_BREAKS = frozenset({"br", "dd", "div", "dt", "hr", "li", "p", "td", "th", "tr"})


class UnusableError(Exception):
    """A page is no photo that can be used; the text is the reason."""


def photo_of(page: Mapping[str, Any], width: int | None) -> Photo:
    """The photo of a page.

    Args:
        page: Page object with all its properties (``formatversion=2``).
        width: Width of the wanted thumbnail in pixels, or None for the original file.

    Raises:
        UnusableError: The page is no photo, or lacks what a photo needs.
    """
    info = (page.get("imageinfo") or [{}])[0]
    if not info.get("url"):
        raise UnusableError("without a file")
    if info.get("mime") not in KINDS:
        raise UnusableError("no photo by its kind")
    longitude, latitude = _position(page)
    fields = info.get("extmetadata") or {}
    texts = {name: text(field.get("value")) for name, field in fields.items()}
    licence = texts.get("LicenseShortName") or texts.get("License")
    if not licence:
        raise UnusableError("without a licence")
    authors = (texts.get("Artist"), texts.get("Attribution"), texts.get("Credit"), info.get("user"))
    return Photo(
        id=f"M{page['pageid']}",
        provider=PROVIDER,
        longitude=longitude,
        latitude=latitude,
        licence=licence,
        licence_url=texts.get("LicenseUrl") or None,
        taken=_taken(fields.get("DateTimeOriginal", {}).get("value")),
        author=next(filter(None, authors), None),
        page=info.get("descriptionurl"),
        **_file(info, width),
    )


def licence_family(licence: str) -> str | None:
    """Family of a licence by its short name: ``CC0``, ``CC BY``, ``CC BY-SA``, ``public domain``, or None.

    Args:
        licence: As Commons writes it, such as ``CC BY-SA 4.0``, ``CC-BY-SA-3.0-migrated``, ``Public domain``.
    """
    words = re.split(r"[^a-z0-9]+", licence.lower().strip())
    if words[0] == "cc0" or words[:2] == ["cc", "zero"]:
        return "CC0"
    if words[0] in {"pd", "public"}:
        return "public domain"
    if words[:2] != ["cc", "by"] or {"nc", "nd"} & set(words):
        return None
    return "CC BY-SA" if words[2:3] == ["sa"] else "CC BY"


def text(value: object) -> str:
    """Text of a field as a reader of the page sees it: no tags, nothing that is hidden, single blanks.

    Args:
        value: HTML, or a number, or None.
    """
    if value is None:
        return ""
    parser = _Text()
    parser.feed(str(value))
    parser.close()
    return " ".join("".join(parser.parts).split())


class _Text(HTMLParser):
    """Collects visible text, and the machine-readable moments of ``<time>`` elements."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.moments: list[str] = []
        self._hidden = 0  # depth within a hidden element

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        moment = values.get("datetime")
        if moment:
            self.moments.append(moment)
        if tag in _BREAKS:
            self.handle_data(" ")
        if tag in _VOID:
            return
        style = (values.get("style") or "").replace(" ", "").lower()
        if self._hidden or tag in _UNSEEN or "display:none" in style:
            self._hidden += 1

    def handle_endtag(self, tag: str) -> None:
        if self._hidden and tag not in _VOID:
            self._hidden -= 1

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.parts.append(data)


def _file(info: Mapping[str, Any], width: int | None) -> dict[str, Any]:
    """The file to download: a thumbnail, or the original where it is wanted or no wider."""
    thumbnail = info.get("thumburl")
    if width is None or thumbnail is None or thumbnail == info["url"]:
        digests = {"sha1": info["sha1"]} if info.get("sha1") else {}
        size = {"width": info.get("width"), "height": info.get("height")}
        return {"url": info["url"], "mime": info["mime"], "digests": digests, **size}
    # Its width and height are not kept: `thumbwidth` is what was asked for, the file may be larger.
    mime = info.get("thumbmime") or info["mime"]
    return {"url": thumbnail, "mime": mime, "variant": f"{width}px"}


def _position(page: Mapping[str, Any]) -> tuple[float, float]:
    """Longitude and latitude: the primary coordinate (the camera's, by the templates of Commons), else the first."""
    places = [c for c in page.get("coordinates", []) if c.get("globe", "earth") == "earth"]
    if not places:
        raise UnusableError("without a position")
    place = next((place for place in places if place.get("primary")), places[0])
    return float(place["lon"]), float(place["lat"])


def _taken(value: object) -> str | None:
    """Day of a date field; None where it holds no whole date.

    The time is that of the camera's clock, whose zone is not stated, so that it is left out.
    """
    if value is None:
        return None
    parser = _Text()
    parser.feed(str(value))
    parser.close()
    for candidate in [*parser.moments, "".join(parser.parts)]:
        found = re.search(r"(?<!\d)(\d{4})[-:](\d{2})[-:](\d{2})(?!\d)", candidate)
        if found:
            try:
                return date(*map(int, found.groups())).isoformat()
            except ValueError:
                continue
    return None
