"""Orthophotos by WMTS 1.0.0 (OGC 07-057r7), asked by key-value pairs or by tile addresses."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import pyproj
from owslib.crs import Crs  # type: ignore[import-untyped]
from owslib.wmts import WebMapTileService  # type: ignore[import-untyped]

from geolatents.acquire.dls_orthophotos.offers import (
    MEDIA_TYPES,
    Offer,
    degrees,
    north_first,
    parsed,
    require,
)
from geolatents.acquire.dls_orthophotos.requests import (
    Matrix,
    below,
    split_source,
    tiles_of_sheet,
    whole,
)
from geolatents.acquire.dls_orthophotos.sheets import Tiles
from geolatents.acquire.fetch.http import Client
from geolatents.errors import ConfigError
from geolatents.geometry import Box
from geolatents.settings.dls_orthophotos import DlsOrthophotosSearch

PIXEL = 0.00028
"""Metres of the pixel that scale denominators are defined for."""

WEB_MERCATOR = {"EPSG:900913", "EPSG:3785", "EPSG:102100", "EPSG:102113"}
"""Other names of EPSG:3857."""


def wmts_offer(client: Client, search: DlsOrthophotosSearch, root: str) -> Offer:
    """Ask a WMTS for its capabilities and check that it has what is searched for.

    Raises:
        ConfigError: It has no such layer, style, format or matrix set.
        FetchError: It gives no capabilities.
    """
    path, query = split_source(search.source)
    url = whole(path, root)
    asked = {"SERVICE": "WMTS", "VERSION": "1.0.0", "REQUEST": "GetCapabilities"}
    # A document at an address of its own is a file, and takes no query.
    answer = client.bytes(url, params=query if path.endswith(".xml") else query | asked)

    def read() -> Any:
        found = WebMapTileService(url, xml=answer)
        return found, found.restonly

    wmts, rest_only = parsed(url, answer, read)
    require("layer", "layer", str(search.layer), wmts.contents)
    layer = wmts.contents[search.layer]
    style = _style(layer, search.style)
    media = MEDIA_TYPES[search.format]
    require("format", "format", media, layer.formats)
    linked = layer.tilematrixsetlinks
    name = _matrix_set(search, {key: wmts.tilematrixsets[key] for key in linked})
    matrices = _matrices(wmts.tilematrixsets[name], linked[name].tilematrixlimits, search)
    values = {dimension: found["default"] for dimension, found in layer.dimensions.items()}
    values |= {"Style": style, "TileMatrixSet": name}
    if rest_only:
        address, params = _template(layer, media, values, root), query
    else:
        address, extra = _address(wmts, root, path)
        params = query | extra | {
            "SERVICE": "WMTS", "VERSION": "1.0.0", "REQUEST": "GetTile", "LAYER": str(search.layer),
            **{key.upper(): value for key, value in values.items()}, "FORMAT": media,
        }  # fmt: skip
    extent = getattr(layer, "boundingBoxWGS84", None) or _extent(matrices)

    def requests(bbox: Box) -> Tiles | None:
        return tiles_of_sheet(bbox, search.crs, search.resolution, matrices, address, params)

    return Offer(layer.title or str(search.layer), extent, search.format, requests)


def _style(layer: Any, wanted: str | None) -> str:
    """The wanted style, else the default one; a layer may have one whose identifier is empty."""
    if wanted is not None:
        require("style", "style", wanted, [str(style or "") for style in layer.styles])
        return wanted
    default = [name for name, style in layer.styles.items() if style["isDefault"]]
    return str((default or list(layer.styles) or [""])[0] or "")


def _matrix_set(search: DlsOrthophotosSearch, sets: dict[str, Any]) -> str:
    if search.matrix_set is not None:
        require("tile matrix set", "matrix_set", search.matrix_set, sets)
        return search.matrix_set
    fitting = [name for name, found in sets.items() if _crs(found.crs) == search.crs]
    if len(fitting) == 1 or len(sets) == 1:
        return (fitting or list(sets))[0]
    raise ConfigError(
        "the layer has several tile matrix sets",
        where="search.matrix_set",
        expected="one of " + ", ".join(f"{name} ({_crs(sets[name].crs)})" for name in sets),
        found="none named" + (f", {len(fitting)} in {search.crs}" if fitting else ""),
        fix="name one in `search.matrix_set`",
    )


def _crs(stated: str) -> str:
    """``EPSG:3857`` of ``urn:ogc:def:crs:EPSG:6.18:3:3857`` and the like, which PROJ does not read."""
    code = str(Crs(stated).getcode() or stated)
    return "EPSG:3857" if code in WEB_MERCATOR else code


def _matrices(found: Any, limited: dict[str, Any], search: DlsOrthophotosSearch) -> list[Matrix]:
    crs = _crs(found.crs)
    # A code without `urn:` is against the standard, and those who write it count east first.
    standard = search.axis_order == "standard" and not found.crs.upper().startswith("EPSG:")
    swapped = standard and north_first(crs)
    metres = _metres(crs)
    matrices = []
    for name, matrix in found.tilematrix.items():
        left, top = reversed(matrix.topleftcorner) if swapped else matrix.topleftcorner
        limit = limited.get(name)
        columns, rows = (0, matrix.matrixwidth - 1), (0, matrix.matrixheight - 1)
        if limit is not None:
            columns = (max(0, limit.mintilecol), min(columns[1], limit.maxtilecol))
            rows = (max(0, limit.mintilerow), min(rows[1], limit.maxtilerow))
        matrices.append(
            Matrix(
                name, crs, matrix.scaledenominator * PIXEL / metres, left, top,
                matrix.tilewidth, matrix.tileheight, columns, rows,
            )
        )  # fmt: skip
    return matrices


def _metres(crs: str) -> float:
    """Metres of a unit of the CRS; a degree is one of the equator (07-057r7, 6.1)."""
    known = pyproj.CRS(crs)
    factor = float(known.axis_info[0].unit_conversion_factor)
    return factor * 6378137.0 if known.is_geographic else factor


def _extent(matrices: list[Matrix]) -> Box | None:
    """Extent of the finest matrix, for layers that state no box (it is optional)."""
    finest = min(matrices, key=lambda matrix: matrix.resolution)
    return degrees(finest.bounds, finest.crs)


def _template(layer: Any, media: str, values: dict[str, str], root: str) -> str:
    """Tile address with everything filled in but matrix, row and column."""
    found = [r for r in layer.resourceURLs if r["resourceType"] == "tile" and r["format"] == media]
    require("tile address of format", "format", media, [r["format"] for r in found])
    known = {name.lower(): value for name, value in values.items()}
    kept = {name.lower(): f"{{{name}}}" for name in ("TileMatrix", "TileRow", "TileCol")}

    def fill(match: re.Match[str]) -> str:
        name = match[1].lower()
        return kept.get(name) or quote(known.get(name, match[0]), safe="{}:")

    template = re.sub(r"\{(\w+)\}", fill, found[0]["template"])
    return below(template, root) or template


def _address(wmts: Any, root: str, path: str) -> tuple[str, dict[str, str]]:
    """Address for ``GetTile`` below the root, and its query; as of a WMS."""
    for operation in wmts.operations:
        for method in operation.methods if operation.name == "GetTile" else ():
            encodings = str(method["constraints"]).lower()
            found = below(method["url"], root)
            if method["type"].lower() == "get" and found and "rest" not in encodings:
                return split_source(found)
    return path, {}
