"""STAC catalogues of Sentinel-2 L2A with their files: Earth Search, and the Planetary Computer with its tokens.

Sources (read in November 2026):

- item search, paging by links: https://github.com/radiantearth/stac-api-spec, item-search/README.md and examples.md
- checks, limits, error bodies, sorting and ``next`` of Earth Search, which runs stac-server:
  https://github.com/stac-utils/stac-server, src/lib/api.js, src/lib/database.js, src/lambdas/api/app.js
- ``merge: true`` with a part of the body: datacube-explorer's own tests (Next page of Items, POST)
- items: https://github.com/Element84/earth-search (README, issues 9, 24, 66, 71) and the providers' notes of this project;
  the Planetary Computer's as in https://github.com/opendatacube/odc-stac, tests/data/S2B_MSIL2A_20190629T212529_R043_T06VVN_20201006T080531.json
- tokens: https://github.com/microsoft/planetary-computer-sdk-for-python, planetary_computer/sas.py; a token as in
  https://github.com/microsoft/PlanetaryComputer/issues/295; refusals of Azure storage as in its issues
- byte ranges, HEAD and ETag: RFC 9110, as S3 and Azure storage give them
"""

from __future__ import annotations

import copy
import itertools
import json
import re
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from urllib.parse import parse_qsl, quote, urlencode

import numpy as np
import pyproj
import rasterio.shutil
import shapely
from rasterio.io import MemoryFile
from rasterio.transform import from_origin

from tests.services.base import Answer, Call, LocalService

COLLECTION = "sentinel-2-l2a"

BANDS = {
    "blue": ("B02", 10), "green": ("B03", 10), "red": ("B04", 10), "nir": ("B08", 10),
    "nir08": ("B8A", 20), "swir16": ("B11", 20), "coastal": ("B01", 60), "scl": ("SCL", 20),
}  # fmt: skip

VEGETATION, BARE, WATER, CLOUD = 4, 5, 6, 9

REFLECTANCE = {
    # class: blue, green, red, nir, nir08, swir16, coastal; x 10000
    VEGETATION: (300, 600, 400, 3500, 3700, 1800, 250),
    BARE: (1000, 1500, 2000, 2600, 2800, 3400, 900),
    WATER: (500, 400, 200, 120, 110, 90, 600),
    CLOUD: (5000, 5100, 5200, 5600, 5700, 4000, 4900),
}

RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[-+]\d\d:\d\d)")


# ---- granules


@dataclass
class Granule:
    """A small granule: a tile of the MGRS grid with pixels that are known.

    ``truth`` holds reflectance x 10000 (0 is no data) and classes; files hold ``truth + 1000`` where
    ``shifted`` is false, as ESA gives them since baseline 04.00.
    """

    tile: str = "36SVD"
    epsg: int = 32636
    left: float = 480000.0
    top: float = 3900000.0
    size: float = 12000.0
    bands: tuple[str, ...] = ("blue", "green", "red", "nir", "scl")
    classes: tuple[int, ...] = (VEGETATION, BARE, WATER, CLOUD)
    seed: int = 0
    truth: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        fields = rng.integers(0, len(self.classes), (38, 38))  # of 320 m: on no coarser grid
        index = np.kron(fields, np.ones((16, 16), int))[:600, :600]
        scl = np.array(self.classes, dtype=np.uint8)[index]
        scl[-60:, -60:] = 0  # beyond the swath
        for name in self.bands:
            if name == "scl":
                self.truth[name] = scl
                continue
            size = BANDS[name][1]
            index = list(BANDS).index(name)
            table = np.zeros(256, dtype=np.int64)
            for number, values in REFLECTANCE.items():
                table[number] = values[index]
            on_grid = np.kron(scl, np.ones((2, 2), np.uint8)) if size == 10 else scl[:: size // 20, :: size // 20]  # fmt: skip
            values = table[on_grid] + rng.integers(-60, 60, on_grid.shape)
            self.truth[name] = np.where(on_grid == 0, 0, np.maximum(values, 1)).astype(np.uint16)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        return self.left, self.top - self.size, self.left + self.size, self.top

    @property
    def outline(self) -> shapely.Polygon:
        to_degrees = pyproj.Transformer.from_crs(self.epsg, 4326, always_xy=True)
        square = shapely.segmentize(shapely.box(*self.bounds), 1000)
        return shapely.transform(square, lambda p: np.column_stack(to_degrees.transform(*p.T)))

    def degrees(self, left: float, bottom: float, right: float, top: float) -> list[float]:
        """``[west, south, east, north]`` of a box given in metres from the lower left corner."""
        to_degrees = pyproj.Transformer.from_crs(self.epsg, 4326, always_xy=True)
        x, y = self.left, self.top - self.size
        return list(to_degrees.transform_bounds(x + left, y + bottom, x + right, y + top))

    def files(self, shifted: bool) -> dict[str, bytes]:
        """Each band as a cloud-optimized GeoTIFF."""
        return {name: self._cog(name, 0 if shifted else 1000) for name in self.bands}

    def _cog(self, name: str, added: int) -> bytes:
        size = BANDS[name][1]
        pixels = self.truth[name]
        if name != "scl":
            pixels = np.where(pixels == 0, 0, pixels + added).astype(np.uint16)
        profile = {
            "count": 1, "dtype": pixels.dtype, "nodata": 0, "crs": f"EPSG:{self.epsg}",
            "width": pixels.shape[1], "height": pixels.shape[0],
            "transform": from_origin(self.left, self.top, size, size),
        }  # fmt: skip
        with MemoryFile() as plain, MemoryFile() as optimized:
            with plain.open(driver="GTiff", **profile) as target:
                target.write(pixels, 1)
            options = {"compress": "deflate", "predictor": 2, "blocksize": 256}
            rasterio.shutil.copy(plain.name, optimized.name, driver="COG", **options)
            return bytes(optimized.getbuffer())


# ---- items


def earth_search_item(
    granule: Granule,
    day: str,
    files: str,
    *,
    sequence: int = 0,
    cloud_cover: float = 5.0,
    baseline: str | None = "05.09",
    applied: bool | None = True,
    footprint: shapely.Geometry | None = None,
    code: bool = False,
) -> dict[str, Any]:
    """An item of Earth Search v1.

    Args:
        granule: What it shows.
        day: ``2023-07-01``.
        files: Folder of its files.
        sequence: Number of products of that day and tile.
        cloud_cover: Per cent.
        baseline: Processing baseline.
        applied: Flag on the offset; None: none.
        footprint: Where it has data; by default the whole granule.
        code: With the newer `proj:code` instead of `proj:epsg`.
    """
    outline = granule.outline if footprint is None else footprint
    zone, band, square = re.match(r"(\d+)(\w)(\w\w)", granule.tile).groups()
    name = f"S2A_{granule.tile}_{day.replace('-', '')}_{sequence}_L2A"
    projection = {"proj:code": f"EPSG:{granule.epsg}"} if code else {"proj:epsg": granule.epsg}
    properties = {
        "created": f"{day}T20:00:00.000Z", "updated": f"{day}T20:00:00.000Z",
        "datetime": f"{day}T08:36:30.262000Z", "platform": "sentinel-2a", "constellation": "sentinel-2",
        "instruments": ["msi"], "eo:cloud_cover": cloud_cover, **projection,
        "mgrs:utm_zone": int(zone), "mgrs:latitude_band": band, "mgrs:grid_square": square,
        "grid:code": f"MGRS-{granule.tile}", "s2:sequence": str(sequence),
        "s2:nodata_pixel_percentage": 0.0, "s2:processing_baseline": baseline,
        "s2:product_uri": f"S2A_MSIL2A_{day.replace('-', '')}T083631_N0509_R064_T{granule.tile}.SAFE",
        "earthsearch:boa_offset_applied": applied,
    }  # fmt: skip
    assets = {}
    for key in granule.bands:
        number, size = BANDS[key]
        n = round(granule.size / size)
        assets[key] = {
            "href": f"{files}/{number}.tif",
            "type": "image/tiff; application=geotiff; profile=cloud-optimized",
            "gsd": size, "proj:shape": [n, n],
            "proj:transform": [size, 0, granule.left, 0, -size, granule.top],
            "roles": ["data", "reflectance"] if key != "scl" else ["data"],
        }  # fmt: skip
        if key != "scl":
            # Says -0.1 also where the offset is applied (issue 9 of Earth Search).
            assets[key]["raster:bands"] = [
                {"nodata": 0, "data_type": "uint16", "bits_per_sample": 15, "spatial_resolution": size,
                 "scale": 0.0001, "offset": -0.1}
            ]  # fmt: skip
        assets[f"{key}-jp2"] = {
            "href": f"s3://sentinel-s2-l2a/tiles/{zone}/{band}/{square}/{number}.jp2",
            "type": "image/jp2",
            "roles": ["data"],
        }
    return _item(name, properties, assets, outline)


def planetary_computer_item(
    granule: Granule, day: str, files: str, *, baseline: str = "05.09", cloud_cover: float = 5.0
) -> dict[str, Any]:
    """An item of the Planetary Computer: ESA's band names, no flag, no offset."""
    moment = day.replace("-", "") + "T083631"
    name = f"S2A_MSIL2A_{moment}_R064_T{granule.tile}_{day.replace('-', '')}T150000"
    properties = {
        "datetime": f"{day}T08:36:31.024000Z", "platform": "Sentinel-2A", "constellation": "Sentinel 2",
        "instruments": ["msi"], "proj:epsg": granule.epsg, "s2:mgrs_tile": granule.tile,
        "eo:cloud_cover": cloud_cover, "s2:processing_baseline": baseline,
        "s2:nodata_pixel_percentage": 0.0,
    }  # fmt: skip
    assets = {}
    for key in granule.bands:
        number, size = BANDS[key]
        n = round(granule.size / size)
        assets[number] = {
            "href": f"{files}/T{granule.tile}_{moment}_{number}_{size}m.tif",
            "type": "image/tiff; application=geotiff; profile=cloud-optimized",
            "gsd": size, "proj:shape": [n, n], "proj:bbox": list(granule.bounds),
            "proj:transform": [float(size), 0.0, granule.left, 0.0, -float(size), granule.top],
            "roles": ["data"],
        }  # fmt: skip
    return _item(name, properties, assets, granule.outline)


def _item(
    name: str, properties: dict[str, Any], assets: dict[str, Any], outline: shapely.Geometry
) -> dict[str, Any]:
    return {
        "type": "Feature", "stac_version": "1.0.0", "stac_extensions": [], "id": name,
        "collection": COLLECTION, "geometry": json.loads(shapely.to_geojson(outline)),
        "bbox": list(outline.bounds), "links": [], "assets": assets,
        "properties": {key: value for key, value in properties.items() if value is not None},
    }  # fmt: skip


# ---- the service


class _Invalid(Exception):  # noqa: N818
    pass


class StacService(LocalService):
    """A catalogue at ``/v1`` and its files at ``/files``.

    Args:
        paging: How a page names the next one: ``whole`` (POST with the whole body, as Earth Search does),
            ``merged`` (POST with what changes), ``get`` (a plain address).
        tokens: Whether files want tokens, had at ``/token/{collection}``.
        token_seconds: How long a token is good.
    """

    def __init__(
        self,
        paging: Literal["whole", "merged", "get"] = "whole",
        tokens: bool = False,
        token_seconds: float = 2700.0,
    ) -> None:
        super().__init__()
        self.paging, self.wants_token, self.token_seconds = paging, tokens, token_seconds
        self.items: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}
        self.tokens: dict[str, datetime] = {}
        self._given: list[str] = []
        self.sent: list[
            tuple[str, int, int]
        ] = []  # path, status and bytes of answers to GET of files
        self._sent_lock = threading.Lock()
        self.route(r"/v1/?", self._root)
        self.route(r"/v1/conformance", lambda call: Answer.json({"conformsTo": _conformance()}))
        self.route(r"/v1/search", self._search)
        self.route(r"/token/(.+)", self._token)
        self.route(r"(/files/.+)", self._file)

    @property
    def root(self) -> str:
        return f"{self.url}/v1"

    def publish(self, item: dict[str, Any], files: Mapping[str, bytes] | None = None) -> None:
        """Add an item, and the files behind its assets by band."""
        self.items.append(item)
        for name, body in (files or {}).items():
            href = next(
                item["assets"][key]["href"]
                for key in (name, BANDS[name][0])
                if key in item["assets"]
            )
            self.files[href.removeprefix(self.url)] = body

    def revoke_tokens(self) -> None:
        """No token given so far is good any longer."""
        self.tokens.clear()

    @property
    def secrets(self) -> list[str]:
        """All tokens that were asked for, and their signatures as they are and as they stand in addresses."""
        signatures = [dict(parse_qsl(token))["sig"] for token in self._given]
        return [*self._given, *signatures, *(quote(sig, safe="") for sig in signatures)]

    # ---- catalogue

    def _root(self, _call: Call) -> Answer:
        links = [
            {"rel": "self", "type": "application/json", "href": self.root},
            {"rel": "root", "type": "application/json", "href": self.root},
            {"rel": "conformance", "type": "application/json", "href": f"{self.root}/conformance"},
            {"rel": "data", "type": "application/json", "href": f"{self.root}/collections"},
            {"rel": "search", "type": "application/geo+json", "href": f"{self.root}/search", "method": "GET"},
            {"rel": "search", "type": "application/geo+json", "href": f"{self.root}/search", "method": "POST"},
        ]  # fmt: skip
        return Answer.json(
            {
                "type": "Catalog", "stac_version": "1.0.0", "id": "test", "title": "test",
                "description": "test", "conformsTo": _conformance(), "links": links,
            }
        )  # fmt: skip

    def _search(self, call: Call) -> Answer:
        if len(call.body) > 2**20:
            return Answer.json({"message": "Request Entity Too Large"}, 413)
        try:
            query = call.json if call.method == "POST" else _from_query(call.query)
            return self.page(query, call.method)
        except (ValueError, _Invalid) as error:
            return Answer.json({"code": "BadRequest", "description": str(error)}, 400)

    def page(self, query: dict[str, Any], method: str = "POST") -> Answer:
        """One page of the answer to a search."""
        limit = _limit(query.get("limit"))
        found = [item for item in self.items if _matches(item, query)]
        found.sort(key=_order, reverse=True)  # newest first, as stac-server does
        if query.get("next"):
            found = [item for item in found if ",".join(_order(item)) < query["next"]]
        page = found[:limit]
        links = [{"rel": "root", "type": "application/json", "href": self.root}]
        if page:  # also after the last item: the page that follows is empty
            links.append(self._next(query | {"limit": limit}, page[-1], method))
        answer = {
            "type": "FeatureCollection", "stac_version": "1.0.0", "stac_extensions": [],
            "context": {"limit": limit, "matched": len(found), "returned": len(page)},
            "numberMatched": len(found), "numberReturned": len(page),
            "features": copy.deepcopy(page), "links": links,
        }  # fmt: skip
        return Answer.json(answer, **{"Content-Type": "application/geo+json; charset=utf-8"})

    def _next(self, query: dict[str, Any], last: dict[str, Any], method: str) -> dict[str, Any]:
        link = {"rel": "next", "title": "Next page of Items", "type": "application/geo+json"}
        token = ",".join(_order(last))
        address = f"{self.root}/search"
        if self.paging == "get" or method == "GET":
            flat = {
                key: value if isinstance(value, str) else json.dumps(value)
                for key, value in (query | {"next": token}).items()
                if key != "collections"
            }
            flat["collections"] = ",".join(query.get("collections", []))
            return link | {"href": f"{address}?{urlencode(flat)}"}
        if self.paging == "merged":
            return link | {
                "method": "POST",
                "href": address,
                "merge": True,
                "body": {"next": token},
            }
        body = query | {"next": token}
        return link | {"method": "POST", "href": address, "merge": False, "body": body}

    # ---- files and tokens

    def _token(self, _call: Call, collection: str) -> Answer:
        if collection != COLLECTION:
            return Answer.json({"detail": f"No collection found with id {collection}"}, 404)
        signature = secrets.token_urlsafe(24) + "+/="
        start = datetime.now(UTC) - timedelta(days=1)
        end = datetime.now(UTC) + timedelta(seconds=self.token_seconds)
        self.tokens[signature] = end
        expiry = end.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        token = urlencode(
            {
                "st": start.strftime("%Y-%m-%dT%H:%M:%SZ"), "se": end.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "sp": "rl", "sv": "2021-06-08", "sr": "c", "sig": signature,
            }
        )  # fmt: skip
        self._given.append(token)
        return Answer.json({"msft:expiry": expiry, "token": token})

    def _file(self, call: Call, path: str) -> Answer:
        if self.wants_token and self.tokens.get(call.query.get("sig", "")) is None:
            return _azure_error(call)
        if self.wants_token and self.tokens[call.query["sig"]] < datetime.now(UTC):
            return _azure_error(call)
        body = self.files.get(path)
        if body is None:
            return Answer.text(
                "<?xml version='1.0' encoding='UTF-8'?><Error><Code>NoSuchKey</Code>"
                f"<Message>The specified key does not exist.</Message><Key>{path}</Key></Error>",
                404,
                "application/xml",
            )
        return Answer.file(call, body, "image/tiff; application=geotiff; profile=cloud-optimized")

    def answer(self, call: Call) -> Answer | None:
        given = super().answer(call)
        if given is not None and call.method == "GET" and call.path.startswith("/files/"):
            with self._sent_lock:
                self.sent.append((call.path, given.status, len(given.body)))
        return given


def _azure_error(call: Call) -> Answer:
    """What Azure storage says of a missing (404 or 409 by others, where the account forbids it) or a bad token."""
    code, status = ("AuthenticationFailed", 403) if "sig" in call.query else ("PublicAccessNotPermitted", 409)  # fmt: skip
    return Answer.text(
        f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>Server failed to authenticate '
        "the request. Make sure the value of Authorization header is formed correctly including the signature."
        "</Message></Error>",
        status,
        "application/xml",
    )


def _conformance() -> list[str]:
    core = "https://api.stacspec.org/v1.0.0"
    return [
        f"{core}/core", f"{core}/collections", f"{core}/ogcapi-features", f"{core}/item-search",
        f"{core}/item-search#query", f"{core}/item-search#sort", f"{core}/item-search#fields",
    ]  # fmt: skip


# ---- evaluation of a search


def _from_query(query: dict[str, str]) -> dict[str, Any]:
    """Parameters of GET as those of POST."""
    found: dict[str, Any] = dict(query)
    for key in ("intersects", "query", "bbox"):
        if key in found and found[key].startswith(("{", "[")):
            found[key] = json.loads(found[key])
    if isinstance(found.get("bbox"), str):
        found["bbox"] = [float(value) for value in found["bbox"].split(",")]
    if "collections" in found:
        found["collections"] = found["collections"].split(",")
    return found


def _limit(value: Any) -> int:
    if value is None:
        return 10
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = 0
    if number <= 0:
        raise _Invalid("Invalid limit value, must be a number between 1 and 10000 inclusive")
    return min(number, 10000)


def _order(item: dict[str, Any]) -> tuple[str, str, str]:
    return item["properties"]["datetime"], item["id"], item["collection"]


def _matches(item: dict[str, Any], query: dict[str, Any]) -> bool:
    if "bbox" in query and "intersects" in query:
        raise _Invalid("Expected bbox OR intersects, not both")
    if query.get("collections") and item["collection"] not in query["collections"]:
        return False
    if query.get("ids") and item["id"] not in query["ids"]:
        return False
    shape = _shape(query)
    if shape is not None and not shape.intersects(shapely.geometry.shape(item["geometry"])):
        return False
    if not _in_time(item["properties"]["datetime"], query.get("datetime")):
        return False
    return all(
        _holds(item["properties"].get(key), operator, value)
        for key, wanted in query.get("query", {}).items()
        for operator, value in wanted.items()
    )


def _shape(query: dict[str, Any]) -> shapely.Geometry | None:
    if query.get("bbox"):
        west, south, east, north = query["bbox"]
        if south > north:
            raise _Invalid("Invalid bbox, SW latitude must be less than NE latitude")
        return shapely.box(west, south, east, north)
    geometry = query.get("intersects")
    if geometry is None:
        return None
    if geometry["type"] in {"Feature", "FeatureCollection"}:
        raise _Invalid("Expected GeoJSON geometry, not Feature or FeatureCollection")
    polygons = geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]  # fmt: skip
    for ring in (ring for polygon in polygons for ring in polygon):
        if ring[0] != ring[-1]:
            raise _Invalid("invalid LinearRing found (coordinates are not closed)")
        if any(one == other for one, other in itertools.pairwise(ring)):
            raise _Invalid("Provided shape has duplicate consecutive coordinates")
    return shapely.geometry.shape(geometry)


def _in_time(moment: str, wanted: str | None) -> bool:
    if not wanted:
        return True
    start, _, end = wanted.partition("/")
    for edge in filter(None, (start, end)):
        if edge != ".." and not RFC3339.fullmatch(edge.upper()):
            raise _Invalid("datetime value is invalid, does not match RFC3339 format")
    when = datetime.fromisoformat(moment)
    after = start in {"", ".."} or when >= datetime.fromisoformat(start)
    return after and (end in {"", ".."} or when <= datetime.fromisoformat(end))


def _holds(value: Any, operator: str, wanted: Any) -> bool:
    if operator == "neq":
        return value != wanted
    if value is None:
        return False
    number = value if isinstance(value, str) else float(value)
    return {
        "eq": lambda: value == wanted,
        "in": lambda: value in wanted,
        "lt": lambda: number < wanted,
        "lte": lambda: number <= wanted,
        "gt": lambda: number > wanted,
        "gte": lambda: number >= wanted,
        "startsWith": lambda: str(value).startswith(wanted),
    }.get(operator, lambda: True)()
