"""Requests to an ArcGIS layer of CORINE polygons, and checks of its answers.

All requests are in EPSG:3035, the CRS of the official data: corners come as they were mapped and
edges are as straight as they were drawn, also where the service keeps its layer in web mercator.
The format is Esri's own JSON, which states CRS and field types; GeoJSON may state neither.

Requests and answers: Esri, ArcGIS REST API, "Query (Map Service/Layer)", "Layer / Table" and
"Geometry objects", https://developers.arcgis.com/rest/services-reference/enterprise/.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import shapely
from shapely.geometry.base import BaseGeometry

from geolatents.acquire.arcgis import ArcgisRefusal, arcgis_refusal
from geolatents.acquire.fetch.content import Content, ContentError, json_content
from geolatents.acquire.fetch.fetcher import Item
from geolatents.acquire.fetch.secrets import public_url, redacted
from geolatents.acquire.landcover.codes import looks_like_code_field
from geolatents.errors import AccessError, FetchError
from geolatents.files import canonical_json, content_key
from geolatents.geometry import reproject
from geolatents.settings.corine import CorineProduct, CorineService

LICENCE = (
    "Copernicus full, free and open data policy; attribution: Generated using European Union's "
    "Copernicus Land Monitoring Service information"
)
LAEA = pyproj.CRS.from_epsg(3035)
LONGITUDE_LATITUDE = pyproj.CRS.from_epsg(4326)

MARGIN = 10.0
"""Metres that are asked for beyond the area, for rounding here and there."""

MOST_CORNERS = 200
"""Corners of the outline that is asked with; a finer area is asked for with a wider, simpler outline."""

POLYGON_BYTES, LAYER_BYTES, COUNT_BYTES = 9_000, 30_000, 20
"""Estimates for the preview; a polygon is 8.25 GB of the official GeoPackage over its 2 375 406, as text."""

LATER = "try again later; complete pages are kept"


@dataclass(frozen=True)
class Layer:
    """What a layer says of itself.

    Attributes:
        object_id: Field that numbers the polygons.
        page_size: Polygons asked for at a time.
    """

    object_id: str
    page_size: int


@dataclass(frozen=True)
class Query:
    """Requests for the polygons around one area.

    Attributes:
        url: The layer.
        folder: Where the answers lie below the downloads folder.
        outline: The area as an Esri polygon in EPSG:3035, JSON.
        product: What is asked for.
    """

    url: str
    folder: str
    outline: str
    product: CorineProduct

    @property
    def where(self) -> str:
        """The layer, for messages."""
        return public_url(self.url)

    def layer(self) -> Item:
        """The layer's description."""

        def content(file: Path) -> None:
            self.described(self._answer(file))

        return Item(
            f"{self.folder}/layer.json", self.url, {"f": "json"},
            content=content, licence=LICENCE, estimate=LAYER_BYTES,
        )  # fmt: skip

    def count(self) -> Item:
        """How many polygons touch the area."""

        def content(file: Path) -> None:
            answer = self._answer(file)
            if not isinstance(answer, dict) or not isinstance(answer.get("count"), int):
                raise self._strange("a count of polygons", answer)

        return self._item("count.json", {"returnCountOnly": "true"}, content, COUNT_BYTES)

    def page(self, layer: Layer, offset: int, expected: int = 0) -> Item:
        """The polygons from a position on; about ``expected`` of them."""

        def content(file: Path) -> None:
            answer = self._answer(file)
            if not _is_page(answer):
                raise self._strange("whole, numbered polygons in EPSG:3035", answer)

        form = {
            "outFields": "*",  # their names differ between years, in letter case too
            "returnGeometry": "true",
            "outSR": "3035",
            "orderByFields": layer.object_id,
            "resultOffset": str(offset),
            "resultRecordCount": str(layer.page_size),
        }
        return self._item(f"page-{offset:07d}.json", form, content, expected * POLYGON_BYTES)

    def described(self, answer: Any) -> Layer:
        """What the layer's description says.

        Raises:
            FetchError: It is no layer of polygons of the year, or cannot be asked for page by page.
        """
        values = answer if isinstance(answer, dict) else {}
        fields = values.get("fields") or []
        object_id = values.get("objectIdField") or object_id_field(fields)
        paging = (values.get("advancedQueryCapabilities") or {}).get("supportsPagination", True)
        if values.get("geometryType") != "esriGeometryPolygon" or not object_id or not paging:
            found = {key: values.get(key) for key in ("name", "type", "geometryType")}
            raise FetchError(
                "this is no layer of polygons that can be asked for page by page",
                where=self.where,
                found=canonical_json({**found, "objectIdField": object_id, "paging": paging}),
                fix="correct `service.url` and `product.layer`",
            )
        code_field([str(field.get("name")) for field in fields], self.product.year, self.where)
        own = values.get("maxRecordCount") or self.product.page_size
        return Layer(object_id, min(self.product.page_size, own))

    def _item(self, name: str, form: Mapping[str, str], content: Content, estimate: int) -> Item:
        # By POST: an outline is too long for an address.
        return Item(
            f"{self.folder}/{name}",
            f"{self.url}/query",
            form={
                "f": "json",
                "where": "1=1",
                "geometry": self.outline,
                "geometryType": "esriGeometryPolygon",
                "inSR": "3035",
                "spatialRel": "esriSpatialRelIntersects",
                **form,
            },
            content=content,
            licence=LICENCE,
            estimate=estimate,
        )

    def _answer(self, file: Path) -> Any:
        """The JSON of a file, which may hold an error although its status was 200."""
        json_content(file)
        answer = json.loads(file.read_bytes())
        refused = arcgis_refusal(answer)
        if refused is not None:
            raise self._refusal(refused)
        return answer

    def _refusal(self, refused: ArcgisRefusal) -> FetchError:
        if refused.access:
            return AccessError(
                "the CORINE service asks for a token",
                where=self.where,
                found=refused.text,
                fix="it used to be open to all: check `service.url` and `product.layer`, or take the file "
                "from land.copernicus.eu (docs/providers/corine.md)",
            )
        return (FetchError if refused.lasting else ContentError)(
            "the CORINE service gives an error for an answer",
            where=self.where,
            found=refused.text,
            fix="check `product.layer` and the area" if refused.lasting else LATER,
        )

    def _strange(self, expected: str, answer: Any) -> ContentError:
        return ContentError(
            "the CORINE service does not answer as it should",
            where=self.where,
            expected=expected,
            found=redacted(json.dumps(answer))[:300],
            fix=LATER,
        )


def query_around(area: BaseGeometry, product: CorineProduct, service: CorineService) -> Query:
    """The requests for an area.

    Args:
        area: Polygon or multipolygon in longitude and latitude (EPSG:4326).
        product: Year and layer.
        service: Where the service is.

    Raises:
        FetchError: The area is out of CORINE's reach.
    """
    outline = _esri_polygon(_simple_outline(in_laea(area)))
    asked = [product.service_layer, product.year, product.page_size, outline]
    url = f"{service.url.rstrip('/')}/{product.service_layer}"
    return Query(url, f"corine/{content_key(asked)}", outline, product)


def in_laea(area: BaseGeometry, tolerance: float = 1.0) -> Any:
    """An area in EPSG:3035, its edges curved as they are there.

    Args:
        area: Polygon or multipolygon in longitude and latitude (EPSG:4326).
        tolerance: Largest distance from the true curve in metres.

    Raises:
        FetchError: It is empty, or at the other end of the world.
    """
    (outline,) = reproject(np.array([area], dtype=object), LONGITUDE_LATITUDE, LAEA, tolerance)
    if shapely.is_empty(outline) or not np.isfinite(outline.bounds).all():
        raise nothing_there(area)
    return outline


def nothing_there(area: BaseGeometry) -> FetchError:
    """The error for an area without CORINE."""
    west, south, east, north = area.bounds
    return FetchError(
        "CORINE has no polygons in the area",
        where=f"{west:.3f} to {east:.3f} °E, {south:.3f} to {north:.3f} °N",
        fix="check the area, and whether the year was mapped there",
    )


def numbers(page: Mapping[str, Any]) -> set[int]:
    """Numbers of the polygons of a page."""
    name = object_id_field(page.get("fields") or [])
    return {int(feature["attributes"][name]) for feature in page["features"]}


def says_more(page: Mapping[str, Any]) -> bool:
    """Whether a page says that it is not the last; services differ in where they say it."""
    inner = page.get("properties") or {}
    return bool(page.get("exceededTransferLimit") or inner.get("exceededTransferLimit"))


def object_id_field(fields: Sequence[Mapping[str, Any]]) -> str | None:
    """The field of numbers; `OBJECTID` of most years, `FID` was seen too."""
    found = (str(field["name"]) for field in fields if field.get("type") == "esriFieldTypeOID")
    return next(found, None)


def code_field(names: Sequence[str], year: int, where: str) -> str:
    """The field of a year's code, in any letter case, or the only one that is named for no year.

    Raises:
        FetchError: There is none.
    """
    usual = f"code_{year % 100:02d}"
    exact = [name for name in names if name.lower() == usual]
    timeless = [n for n in names if looks_like_code_field(n) and not any(map(str.isdigit, n))]
    if len(exact or timeless) == 1:
        return (exact or timeless)[0]
    raise FetchError(
        f"the CORINE layer has no field of the codes of {year}",
        where=where,
        expected=f"a field {usual!r}, in any letter case",
        found=", ".join(names),
        fix="correct `product.year` or `product.layer`",
    )


def _is_page(answer: Any) -> bool:
    """Whether an answer is a page of whole polygons."""
    if not isinstance(answer, dict) or not isinstance(answer.get("features"), list):
        return False
    if not answer["features"]:
        return True  # then fields and CRS are left out
    crs = answer.get("spatialReference") or {}
    try:
        numbers(answer)
        whole = all(feature["geometry"]["rings"] for feature in answer["features"])
    except (KeyError, TypeError, ValueError):
        return False
    return whole and 3035 in (crs.get("latestWkid"), crs.get("wkid"))


def _simple_outline(area: Any) -> Any:
    """A polygon of few corners that holds the area and little more."""
    margin = MARGIN
    while True:
        plain = shapely.simplify(area, margin / 2)  # leaves out at most half of what is added
        outline = shapely.set_precision(shapely.buffer(plain, margin, join_style="mitre"), 1.0)
        if shapely.get_num_coordinates(outline) <= MOST_CORNERS:
            return outline
        margin *= 2


def _esri_polygon(outline: Any) -> str:
    """A polygon as Esri writes it: one list of rings, outer ones clockwise, holes the other way."""
    rings = [
        [[int(x), int(y)] for x, y in shapely.get_coordinates(ring)]
        for polygon in shapely.get_parts(shapely.orient_polygons(outline, exterior_cw=True))
        for ring in (polygon.exterior, *polygon.interiors)
    ]
    return canonical_json({"rings": rings})
