"""Orthophotos by the ArcGIS REST API: MapServer ``export`` and ``tile``, ImageServer ``exportImage``.

Parameters and answers: https://developers.arcgis.com/rest/services-reference/enterprise/export-map,
.../export-image, .../map-tile.
"""

from __future__ import annotations

from typing import Any

import pyproj

from geolatents.acquire.dls_orthophotos.answers import refusal
from geolatents.acquire.dls_orthophotos.offers import Offer, degrees, limits, require
from geolatents.acquire.dls_orthophotos.requests import Matrix, split_source, tiles_of_sheet, whole
from geolatents.acquire.dls_orthophotos.sheets import Tiles, Windows
from geolatents.acquire.fetch.http import Client
from geolatents.errors import FetchError
from geolatents.files import canonical_json
from geolatents.geometry import Box
from geolatents.settings.dls_orthophotos import DlsOrthophotosSearch, Format

FORMATS = {"png": "png32", "jpeg": "jpg"}


def arcgis_map_offer(client: Client, search: DlsOrthophotosSearch, root: str) -> Offer:
    """Ask a MapServer what it is and check that it exports maps.

    Raises:
        ConfigError: It has no such layer or format, or exports no map.
        FetchError: It does not describe itself.
    """
    path, query, info = _info(client, search, root)
    require("operation", "protocol", "Map", _words(info.get("capabilities", "Map")))
    if "supportedImageFormatTypes" in info:
        formats = [word.lower() for word in _words(info["supportedImageFormatTypes"])]
        require("format", "format", FORMATS[search.format], formats)
    params = query | _export_params(search)
    params |= {"dpi": "96", "transparent": "true" if search.format == "png" else "false"}
    if search.layer is not None:
        for number in search.layer.split(","):
            require("layer", "layer", number, [str(layer["id"]) for layer in info.get("layers", [])])  # fmt: skip
        params["layers"] = f"show:{search.layer}"
    return _windows(search, f"{path}/export", params, info)


def arcgis_image_offer(client: Client, search: DlsOrthophotosSearch, root: str) -> Offer:
    """Ask an ImageServer what it is and check that it exports images.

    Raises:
        ConfigError: It exports no image.
        FetchError: It does not describe itself.
    """
    path, query, info = _info(client, search, root)
    require("operation", "protocol", "Image", _words(info.get("capabilities", "Image")))
    # By default the server widens the box to its own idea of square pixels.
    exact = {"adjustAspectRatio": "false", "interpolation": "RSP_BilinearInterpolation"}
    return _windows(search, f"{path}/exportImage", query | _export_params(search) | exact, info)


def arcgis_tiles_offer(client: Client, search: DlsOrthophotosSearch, root: str) -> Offer:
    """Ask a MapServer for its tiling scheme.

    Raises:
        ConfigError: It has no cache of tiles.
        FetchError: It does not describe itself.
    """
    path, query, info = _info(client, search, root)
    cached = ["arcgis_tiles"] if info.get("singleFusedMapCache") and info.get("tileInfo") else []
    require("protocol", "protocol", search.protocol, cached)
    scheme = info["tileInfo"]
    crs = _crs(scheme.get("spatialReference") or info["spatialReference"])
    extent = _bounds(info)
    matrices = [_level(scheme, level, crs, extent, info) for level in scheme["lods"]]
    address = f"{path}/tile/{{TileMatrix}}/{{TileRow}}/{{TileCol}}"

    # Else some services send a picture that says that there is none.
    params = query | {"blankTile": "false"}
    kind: Format = "jpeg" if str(scheme.get("format")).upper().startswith("JP") else "png"

    def requests(bbox: Box) -> Tiles | None:
        return tiles_of_sheet(bbox, search.crs, search.resolution, matrices, address, params)

    return Offer(_title(info, path), _extent(info), kind, requests)


def _info(client: Client, search: DlsOrthophotosSearch, root: str) -> tuple[str, dict[str, str], Any]:  # fmt: skip
    """Path, query, and what the service says of itself."""
    path, query = split_source(search.source)
    url = whole(path, root)

    def check(answer: Any) -> None:
        refused = refusal(canonical_json(answer).encode())
        if refused is not None:
            raise refused.error(url)

    info = client.json(url, params=query | {"f": "json"}, check=check)
    if not isinstance(info, dict) or "spatialReference" not in info:
        raise FetchError(
            "this is no ArcGIS service of maps or images",
            where=url,
            expected="JSON with `spatialReference`",
            found=", ".join(info) if isinstance(info, dict) else type(info).__name__,
            fix="correct `search.source`; it ends in `MapServer` or `ImageServer`",
        )
    return path, query, info


def _export_params(search: DlsOrthophotosSearch) -> dict[str, str]:
    code = search.crs.removeprefix("EPSG:")
    return {
        "bboxSR": code,
        "imageSR": code,
        "format": FORMATS[search.format],
        "f": "image",
    }


def _windows(search: DlsOrthophotosSearch, address: str, params: dict[str, str], info: Any) -> Offer:  # fmt: skip
    max_width, max_height = limits(search, info.get("maxImageWidth"), info.get("maxImageHeight"))
    windows = Windows(
        dialect="arcgis", address=address, params=params, max_width=max_width, max_height=max_height
    )
    return Offer(_title(info, address), _extent(info), search.format, lambda _bbox: windows)


def _level(scheme: Any, level: Any, crs: str, extent: Box | None, info: Any) -> Matrix:
    """A level of a tiling scheme, which has no limits of its own but the extent of the service."""
    left, top = float(scheme["origin"]["x"]), float(scheme["origin"]["y"])
    width, height = scheme["cols"] * level["resolution"], scheme["rows"] * level["resolution"]
    columns = rows = (0, 2**31)
    if extent is not None and _crs(_reference(info)) == crs:
        columns = (max(0, int((extent[0] - left) // width)), int((extent[2] - left) // width))
        rows = (max(0, int((top - extent[3]) // height)), int((top - extent[1]) // height))
    return Matrix(
        str(level["level"]), crs, float(level["resolution"]), left, top,
        scheme["cols"], scheme["rows"], columns, rows,
    )  # fmt: skip


def _reference(info: Any) -> Any:
    box = info.get("fullExtent") or info.get("extent") or {}
    return box.get("spatialReference") or info["spatialReference"]


def _bounds(info: Any) -> Box | None:
    """``fullExtent`` (``extent`` of older image services); services without data write NaN."""
    box = info.get("fullExtent") or info.get("extent") or {}
    try:
        left, bottom, right, top = (float(box[key]) for key in ("xmin", "ymin", "xmax", "ymax"))
    except (KeyError, TypeError, ValueError):
        return None
    return (left, bottom, right, top) if left < right and bottom < top else None


def _extent(info: Any) -> Box | None:
    bounds = _bounds(info)
    return None if bounds is None else degrees(bounds, _crs(_reference(info)))


def _crs(reference: Any) -> str:
    """A spatial reference: ``latestWkid`` is a code of EPSG where ``wkid`` is one of Esri's."""
    code = reference.get("latestWkid") or reference.get("wkid")
    if code is None:
        return str(reference.get("wkt") or reference.get("wkt2"))
    try:
        pyproj.CRS(f"EPSG:{code}")
    except pyproj.exceptions.CRSError:
        return f"ESRI:{code}"
    return f"EPSG:{code}"


def _title(info: Any, path: str) -> str:
    """Name of the service; that of its map is often just "Layers"."""
    described = (info.get("documentInfo") or {}).get("Title") or info.get("name")
    return str(described or info.get("mapName") or path)


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",")]
