"""What an image service offers of one layer, whatever its protocol."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pyproj
from owslib.etree import etree  # type: ignore[import-untyped]

from geolatents.acquire.dls_orthophotos.answers import refusal
from geolatents.acquire.dls_orthophotos.sheets import Tiles, Windows
from geolatents.errors import ConfigError, FetchError
from geolatents.geometry import Box
from geolatents.settings.dls_orthophotos import DlsOrthophotosSearch, Format

DEFAULT_LIMIT = 2048
"""Pixels of a request where the service states no limit, which does not mean that it has none."""


MEDIA_TYPES = {"png": "image/png", "jpeg": "image/jpeg"}

MALFORMED = (etree.ParseError, AttributeError, KeyError, TypeError, ValueError, IndexError)
"""What OWSLib raises for capabilities that are none."""


@dataclass(frozen=True)
class Offer:
    """A layer that can be had.

    Attributes:
        title: What the service calls it.
        extent: West, south, east, north in degrees; None where the service does not say.
        format: Format of its pictures.
        requests: Requests of the sheet with this box; None where the service has no tile of it.
    """

    title: str
    extent: Box | None
    format: Format
    requests: Callable[[Box], Windows | Tiles | None]


def require(what: str, key: str, wanted: str, offered: Iterable[str]) -> None:
    """Refuse a setting that the service does not offer, and name the nearest that it does.

    Raises:
        ConfigError: ``wanted`` is not offered.
    """
    known = sorted(set(offered))
    if wanted in known:
        return
    near = difflib.get_close_matches(wanted, known, n=1)
    shown = ", ".join(known[:20]) + (f" and {len(known) - 20} more" if len(known) > 20 else "")
    raise ConfigError(
        f"the service has no {what} {wanted!r}" + (f"; did you mean {near[0]!r}?" if near else ""),
        where=f"search.{key}",
        expected=f"one of {shown}" if known else f"a service that has a {what}",
        found=wanted,
        fix=f"correct `search.{key}`, or `search.source` if this is another service",
    )


def parsed(url: str, answer: bytes, parse: Any) -> Any:
    """Capabilities as OWSLib reads them.

    Raises:
        FetchError: The answer is a refusal, or no capabilities.
    """
    refused = refusal(answer)
    if refused is not None:
        raise refused.error(url)
    try:
        return parse()
    except MALFORMED as error:
        raise FetchError(
            "the service gives no capabilities that can be read",
            where=url,
            expected="a document of WMS or WMTS, in the version that was asked for",
            found=f"{type(error).__name__}: {error}",
            fix="correct `search.source`, `search.protocol` or `search.version`",
        ) from None


def north_first(crs: str) -> bool:
    """Whether a CRS counts north before east, as EPSG:4326 and EPSG:3035 do."""
    first, second = (axis.direction for axis in pyproj.CRS(crs).axis_info[:2])
    return (first, second) == ("north", "east")


def limits(search: DlsOrthophotosSearch, width: int | None, height: int | None) -> tuple[int, int]:
    """Largest width and height of a request: the service's limit and the user's."""
    return (
        min(search.request_size, width or DEFAULT_LIMIT),
        min(search.request_size, height or DEFAULT_LIMIT),
    )


def degrees(bounds: Box, crs: str) -> Box | None:
    """Bounds in longitude and latitude; None where they cannot be expressed."""
    transformer = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    west, south, east, north = transformer.transform_bounds(*bounds, densify_pts=21)
    known = all(math.isfinite(value) for value in (west, south, east, north)) and west < east
    return (west, south, east, north) if known else None
