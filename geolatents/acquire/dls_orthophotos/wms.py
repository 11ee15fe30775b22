"""Orthophotos by WMS 1.3.0 and 1.1.1 (OGC 06-042, OGC 01-068r3)."""

from __future__ import annotations

from typing import Any

from owslib.etree import etree  # type: ignore[import-untyped]
from owslib.wms import WebMapService  # type: ignore[import-untyped]

from geolatents.acquire.dls_orthophotos.offers import (
    MEDIA_TYPES,
    Offer,
    limits,
    north_first,
    parsed,
    require,
)
from geolatents.acquire.dls_orthophotos.requests import below, split_source, whole
from geolatents.acquire.dls_orthophotos.sheets import Windows
from geolatents.acquire.fetch.http import Client
from geolatents.settings.dls_orthophotos import DlsOrthophotosSearch


def wms_offer(client: Client, search: DlsOrthophotosSearch, root: str) -> Offer:
    """Ask a WMS for its capabilities and check that it has what is searched for.

    Raises:
        ConfigError: It has no such layer, style, CRS or format.
        FetchError: It gives no capabilities.
    """
    path, query = split_source(search.source)
    url = whole(path, root)
    asked = {"SERVICE": "WMS", "VERSION": search.version, "REQUEST": "GetCapabilities"}
    answer = client.bytes(url, params=query | asked)

    def read() -> Any:
        found = WebMapService(url, version=search.version, xml=answer)
        return found, found.getOperationByName("GetMap")

    wms, operation = parsed(url, answer, read)
    names = str(search.layer).split(",")
    for name in names:
        require("layer", "layer", name, wms.contents)
    layers = [wms.contents[name] for name in names]
    require("CRS", "crs", search.crs, [crs.upper() for crs in layers[0].crsOptions])
    if search.style:
        for style in search.style.split(","):
            require("style", "style", style, [s for layer in layers for s in layer.styles])
    require("format", "format", MEDIA_TYPES[search.format], operation.formatOptions)
    address, extra = _address(operation, root, path)
    max_width, max_height = limits(search, _limit(answer, "MaxWidth"), _limit(answer, "MaxHeight"))
    latest = search.version == "1.3.0"
    windows = Windows(
        dialect="wms",
        address=address,
        params=query
        | extra
        | {
            "SERVICE": "WMS",
            "VERSION": search.version,
            "REQUEST": "GetMap",
            "LAYERS": ",".join(names),
            "STYLES": search.style or "",
            "CRS" if latest else "SRS": search.crs,
            "FORMAT": MEDIA_TYPES[search.format],
            "TRANSPARENT": "TRUE" if search.format == "png" else "FALSE",
        },
        north_first=latest and search.axis_order == "standard" and north_first(search.crs),
        max_width=max_width,
        max_height=max_height,
    )
    title, extent = layers[0].title or names[0], layers[0].boundingBoxWGS84
    return Offer(title, extent, search.format, lambda _bbox: windows)


def _address(operation: Any, root: str, path: str) -> tuple[str, dict[str, str]]:
    """Address for ``GetMap`` below the root, and its query.

    Capabilities often name a host that only the provider's own network knows; such an address
    is not followed, since the one that gave the capabilities answers, too.
    """
    for method in operation.methods:
        if method["type"].lower() == "get":
            found = below(method["url"], root)
            if found:
                return split_source(found)
    return path, {}


def _limit(answer: bytes, name: str) -> int | None:
    """``MaxWidth`` or ``MaxHeight`` of the service (WMS 1.3.0), which OWSLib does not keep."""
    for element in etree.fromstring(answer).iterfind(f"{{*}}Service/{{*}}{name}"):
        if element.text and element.text.strip().isdigit():
            return int(element.text) or None
    return None
