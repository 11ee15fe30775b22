"""What image services answer: a picture, or with status 200 a refusal in XML, JSON or plain text."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from owslib.etree import etree  # type: ignore[import-untyped]
from PIL import Image

from geolatents.acquire.arcgis import arcgis_refusal
from geolatents.acquire.fetch.content import Content, ContentError, image_content
from geolatents.acquire.fetch.secrets import redacted
from geolatents.errors import AccessError, FetchError

ABSENT = b'{"absent": "the service has no such tile (status 404 or 204)"}\n'
"""Content of the file that stands for a tile which the service does not have."""

MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA"})
"""Modes of 8-bit pictures; others would be stretched or cut off in an unknown way."""

LOOK = 1 << 20
"""Bytes of an answer that are looked at for a refusal; reports of errors are far smaller."""


@dataclass(frozen=True)
class Refusal:
    """An error that a service reports.

    Attributes:
        text: What it says.
        lasting: Whether it is about the request, so that asking again is in vain.
        access: Whether it is about access.
    """

    text: str
    lasting: bool
    access: bool = False

    def error(self, where: str | Path) -> FetchError:
        """The error to raise; a :class:`ContentError` where asking again may help."""
        if self.access:
            return AccessError(
                "the service refuses access", where=where, found=self.text,
                fix="ask the provider; services that need a key are not supported",
            )  # fmt: skip
        kind = FetchError if self.lasting else ContentError
        return kind(
            "the service reports an error instead of a picture",
            where=where,
            found=self.text,
            fix="correct `search` by what the service says; if it is about size, lower `search.request_size`",
        )


def refusal(answer: bytes) -> Refusal | None:
    """The error that an answer reports; None of any other answer."""
    start = answer.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"<"):
        return _xml_refusal(start)
    return _json_refusal(start) if start.startswith(b"{") else None


def _xml_refusal(answer: bytes) -> Refusal | None:
    """``ServiceExceptionReport`` of WMS 1.1.1 and 1.3.0, ``ExceptionReport`` of OWS (WMTS)."""
    try:
        root = etree.fromstring(answer)
    except (etree.ParseError, ValueError):
        return None
    if etree.QName(root).localname not in {"ServiceExceptionReport", "ExceptionReport"}:
        return None
    texts, codes = [], []
    for element in root.iter():
        if isinstance(element.tag, str) and etree.QName(element).localname in {"ServiceException", "Exception"}:  # fmt: skip
            code = element.get("code") or element.get("exceptionCode")
            codes.append(code)
            words = " ".join("".join(element.itertext()).split())
            texts.append(": ".join(part for part in (code, words) if part))
    named = [code for code in codes if code and code != "NoApplicableCode"]
    return Refusal(redacted("; ".join(texts) or "no reason given")[:500], lasting=bool(named))


def _json_refusal(answer: bytes) -> Refusal | None:
    try:
        values = json.loads(answer)
    except ValueError:
        return None
    refused = arcgis_refusal(values)
    return None if refused is None else Refusal(*refused)


def picture(width: int, height: int) -> Content:
    """Check of an answer: an 8-bit picture of exactly this size.

    The check raises :class:`ContentError` where asking again may help, another :class:`FetchError`
    where it will not.
    """

    def check(file: Path) -> None:
        with file.open("rb") as stream:
            refused = refusal(stream.read(LOOK))
        if refused is not None:
            raise refused.error(file.name)
        image_content(file)
        with Image.open(file) as image:
            size, mode = image.size, image.mode
        if size != (width, height):
            raise FetchError(
                "the service answers with a picture of another size",
                where=file.name,
                expected=f"{width} x {height} pixels",
                found=f"{size[0]} x {size[1]} pixels",
                fix="its limit may be smaller than it says: lower `search.request_size`",
            )
        if mode not in MODES:
            raise FetchError(
                "the service answers with a picture that has more than 8 bits or other colours",
                where=file.name,
                expected="grey or red, green, blue of 8 bits",
                found=f"mode {mode} of Pillow",
                fix="ask for a rendered layer: another `search.layer`, `search.style`, or `renderingRule` in `search.source`",
            )

    return check


def tile(width: int, height: int) -> Content:
    """Check of a tile: a picture, or the file that stands for an absent one."""
    whole_picture = picture(width, height)

    def check(file: Path) -> None:
        if not is_absent(file):
            whole_picture(file)

    return check


def is_absent(file: Path) -> bool:
    """Whether a file stands for a tile that the service does not have."""
    return file.stat().st_size == len(ABSENT) and file.read_bytes() == ABSENT
