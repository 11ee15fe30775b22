"""An ArcGIS map service with one layer of polygons, as Esri's REST API documents it.

Sources: Esri, ArcGIS REST API, https://developers.arcgis.com/rest/services-reference/enterprise/ :
"Layer / Table" (description of a layer), "Query (Map Service/Layer)" (parameters, paging, answers),
"Geometry objects" (rings, envelopes, spatial references), "Output formats" (f=html is the default).
Layers, fields and the limit of 1000 are those that public clients of the CORINE services of the
European Environment Agency saw: https://github.com/enjikaka/corine-eu-api (layer 0, `Code_12`,
`Remark`, `Area_Ha`, `ID`, `FID` in CLC2012_WM), https://github.com/R-ArcGIS/arcgislayers (tests).
Shapes of errors with status 200: recorded answers of services1.arcgis.com and tiles1.arcgis.com.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import geopandas
import numpy as np
import pyproj
import shapely

from tests.services.base import Answer, Call, LocalService

ROOT = "/arcgis/rest/services/Corine"
WEB_MERCATOR = 102100
"""Esri's own number of EPSG:3857; both are named in answers (Geometry objects, "Spatial reference")."""

UNAVAILABLE = Answer.text(
    "<html><head><title>503 Service Unavailable</title></head><body>No server is available.</body></html>",
    503,
    kind="text/html",
)
"""What a web server in front of ArcGIS says when nothing behind it answers."""


def arcgis_error(code: int, message: str, *details: str) -> Answer:
    """An error as ArcGIS gives it: status 200, the code inside."""
    return Answer.json({"error": {"code": code, "message": message, "details": list(details)}})


TOKEN_REQUIRED = arcgis_error(499, "Token Required", "Token Required")
INVALID_TOKEN = arcgis_error(498, "Invalid token.")
BAD_INPUT = arcgis_error(400, "Invalid or missing input parameters.")


def bad_query(*details: str) -> Answer:
    return arcgis_error(400, "Unable to complete operation.", *details)


class ArcgisFeatures(LocalService):
    """One layer of polygons.

    Args:
        frame: Polygons with their attributes; their CRS is that of the layer. The index numbers them.
        name: Name of the map service; the layer is ``{root}/{name}/MapServer/0``.
        cap: ``maxRecordCount``: most features in an answer, whatever is asked.
        object_id: Name of the field of numbers.
        paging: Whether the layer supports ``resultOffset``.
        flag: Where an answer says that there is more: at the ``top``, or in ``properties``, as
            GeoJSON of some versions has it (facebook/Rapid issue 404).
        rows_first: Take rows of a page by their bounds and look at their exact outlines then, so that
            pages come short or empty and still say that there is more (Query, note on
            ``exceededTransferLimit`` and the spatial index).
    """

    def __init__(
        self,
        frame: geopandas.GeoDataFrame,
        name: str = "CLC2018_LAEA",
        *,
        cap: int = 1000,
        object_id: str = "OBJECTID",
        paging: bool = True,
        flag: str = "top",
        rows_first: bool = False,
    ) -> None:
        super().__init__()
        self.frame = frame
        self.name, self.cap, self.object_id = name, cap, object_id
        self.paging, self.flag, self.rows_first = paging, flag, rows_first
        self.shorten: Callable[[int, int], int] = lambda _offset, length: length
        """Gives the length of the page at an offset, of what it could be."""
        self.layer_path = f"{ROOT}/{name}/MapServer/0"
        self.query_path = f"{self.layer_path}/query"
        self.route(re.escape(self.layer_path), self._layer)
        self.route(re.escape(self.query_path), self._query)

    @property
    def root(self) -> str:
        """Root of the services, as a client has it in its settings."""
        return self.url + ROOT

    # ---- the layer's description

    def _layer(self, call: Call) -> Answer:
        if call.parameters.get("f") not in {"json", "pjson"}:
            return _page_of_html(self.name)
        left, bottom, right, top = self.frame.total_bounds.tolist()
        return Answer.json(
            {
                "currentVersion": 10.81,
                "id": 0,
                "name": self.name,
                "type": "Feature Layer",
                "description": "",
                "geometryType": "esriGeometryPolygon",
                "copyrightText": "",
                "parentLayer": None,
                "subLayers": [],
                "minScale": 0,
                "maxScale": 0,
                "defaultVisibility": True,
                "extent": {
                    "xmin": left, "ymin": bottom, "xmax": right, "ymax": top,
                    "spatialReference": _reference(self.frame.crs),
                },
                "hasAttachments": False,
                "displayField": self._names[0],
                "typeIdField": None,
                "fields": self._fields(self._names),
                "capabilities": "Map,Query,Data",
                "maxRecordCount": self.cap,
                "supportsStatistics": True,
                "supportsAdvancedQueries": True,
                "supportedQueryFormats": "JSON, geoJSON",
                "isDataVersioned": False,
                "useStandardizedQueries": True,
                "advancedQueryCapabilities": {
                    "supportsPagination": self.paging, "supportsOrderBy": True, "supportsDistinct": True,
                    "supportsTrueCurve": True, "supportsStatistics": True,
                },
            }
        )  # fmt: skip

    @property
    def _names(self) -> list[str]:
        """Attribute fields, that of numbers left out."""
        return [str(name) for name in self.frame.columns if name != self.frame.geometry.name]

    def _fields(self, names: list[str]) -> list[dict[str, Any]]:
        number = {"name": self.object_id, "type": "esriFieldTypeOID", "alias": self.object_id}
        return [number, *(self._field(name) for name in names if name != self.object_id)]

    def _field(self, name: str) -> dict[str, Any]:
        kind = self.frame[name].dtype.kind
        types = {"f": "esriFieldTypeDouble", "i": "esriFieldTypeInteger"}
        if kind in types:
            return {"name": name, "type": types[kind], "alias": name}
        longest = max((len(str(value)) for value in self.frame[name]), default=1)
        return {"name": name, "type": "esriFieldTypeString", "alias": name, "length": longest}

    # ---- the query

    def _query(self, call: Call) -> Answer:
        asked = call.parameters
        style = asked.get("f", "html")
        if style not in {"json", "pjson", "geojson"}:
            return _page_of_html("Query: " + self.name)
        if not ({"where", "geometry", "objectIds"} & asked.keys()):
            return BAD_INPUT
        try:
            return self._found(asked, style)
        except _Refused as refused:
            return bad_query(*refused.args)

    def _found(self, asked: dict[str, str], style: str) -> Answer:
        if asked.get("where", "1=1").replace(" ", "") != "1=1":
            raise _Refused("Unable to perform query operation.")  # no other condition is imitated
        area = self._area(asked)
        outlines = self.frame.geometry.to_numpy()
        exact = np.ones(len(outlines), bool) if area is None else shapely.intersects(area, outlines)
        if asked.get("returnCountOnly") == "true":
            return Answer.json({"count": int(exact.sum())})
        rows = np.flatnonzero(exact)
        if asked.get("returnIdsOnly") == "true":
            ids = self.frame.index[rows].tolist()
            return Answer.json({"objectIdFieldName": self.object_id, "objectIds": ids})
        if self.rows_first and area is not None:
            rows = np.flatnonzero(shapely.intersects(shapely.box(*area.bounds), outlines))
        rows, more = self._page(self._ordered(rows, asked), asked)
        return self._answered(rows[exact[rows]], more, asked, style)

    def _area(self, asked: dict[str, str]) -> Any:
        """The filter in the layer's CRS; without ``inSR`` it is that of the map."""
        if not asked.get("geometry"):
            return None
        if asked.get("spatialRel", "esriSpatialRelIntersects") != "esriSpatialRelIntersects":
            raise _Refused("'spatialRel' is not imitated.")
        kind = asked.get("geometryType", "esriGeometryEnvelope")
        text = asked["geometry"]
        value = json.loads(text) if text.startswith("{") else None
        if kind == "esriGeometryEnvelope":
            corners = text.split(",") if value is None else [value[k] for k in ("xmin", "ymin", "xmax", "ymax")]  # fmt: skip
            box = shapely.box(*map(float, corners))
            area = shapely.segmentize(box, box.length / 400)
        elif kind == "esriGeometryPolygon" and value is not None:
            area = _polygon_of_rings(value["rings"])
        else:
            raise _Refused("'geometry' parameter is invalid")
        inside = (value or {}).get("spatialReference", {}).get("wkid")
        wkid = asked.get("inSR") or inside
        return area if wkid is None else _moved(area, _crs(wkid), self.frame.crs)

    def _ordered(self, rows: Any, asked: dict[str, str]) -> Any:
        """By the named fields; a page without an order is by number."""
        for part in reversed(asked.get("orderByFields", self.object_id).split(",")):
            name, _, direction = part.strip().partition(" ")
            by_number = name.lower() == self.object_id.lower()
            values = (self.frame.index if by_number else self._column(name))[rows]
            order = np.argsort(values, kind="stable")
            rows = rows[order[::-1] if direction.strip().upper() == "DESC" else order]
        return rows

    def _column(self, name: str) -> Any:
        return self.frame[self._own_name(name)].to_numpy()

    def _own_name(self, name: str) -> str:
        """A field in any letter case."""
        found = [own for own in self._names if own.lower() == name.strip().lower()]
        if not found:
            raise _Refused(f"'{name}' is no field of the layer.")
        return found[0]

    def _page(self, rows: Any, asked: dict[str, str]) -> tuple[Any, bool]:
        paged = {"resultOffset", "resultRecordCount"} & asked.keys()
        if paged and not self.paging:
            raise _Refused("Pagination is not supported.")
        offset = int(asked.get("resultOffset", 0))
        length = min(int(asked.get("resultRecordCount") or self.cap), self.cap)
        length = self.shorten(offset, min(length, max(0, len(rows) - offset)))
        return rows[offset : offset + length], offset + length < len(rows)

    # ---- the answer

    def _answered(self, rows: Any, more: bool, asked: dict[str, str], style: str) -> Answer:
        own = str(_reference(self.frame.crs)["latestWkid"])
        wkid = asked.get("outSR") or ("4326" if style == "geojson" else own)
        outlines = self.frame.geometry.to_numpy()[rows]
        outlines = _moved(outlines, self.frame.crs, _crs(wkid))
        if asked.get("maxAllowableOffset"):
            outlines = shapely.simplify(outlines, float(asked["maxAllowableOffset"]))
        drawn = asked.get("returnGeometry", "true") == "true"
        names = self._asked_fields(asked)
        table = [
            ({self.object_id: int(self.frame.index[row])} | {name: _plain(self.frame[name].iloc[row]) for name in names}, outline)
            for row, outline in zip(rows, outlines, strict=True)
        ]  # fmt: skip
        if style == "geojson":
            features: list[dict[str, Any]] = [
                {"type": "Feature", "id": values[self.object_id],
                 "geometry": shapely.geometry.mapping(outline) if drawn else None,
                 "properties": values}
                for values, outline in table
            ]  # fmt: skip
            crs = {"type": "name", "properties": {"name": f"EPSG:{wkid}"}}
            return self._flagged({"type": "FeatureCollection", "crs": crs, "features": features}, more)  # fmt: skip
        features = [
            {"attributes": values} | ({"geometry": {"rings": _rings(outline)}} if drawn else {})
            for values, outline in table
        ]
        head: dict[str, Any] = {
            "displayFieldName": self._names[0],
            "fieldAliases": {name: name for name in (self.object_id, *names)},
            "geometryType": "esriGeometryPolygon",
            "spatialReference": _reference(_crs(wkid)),
            "fields": self._fields(names),
        }
        # An empty feature set comes without its fields (Query).
        return self._flagged((head if features else {}) | {"features": features}, more)

    def _asked_fields(self, asked: dict[str, str]) -> list[str]:
        names = [name for name in asked.get("outFields", "").split(",") if name.strip()]
        if names == ["*"]:
            return self._names
        known = [name for name in names if name.strip().lower() != self.object_id.lower()]
        return [self._own_name(name) for name in known]

    def _flagged(self, answer: dict[str, Any], more: bool) -> Answer:
        if more and self.flag == "top":
            answer["exceededTransferLimit"] = True
        elif more:
            answer["properties"] = {"exceededTransferLimit": True}
        return Answer.json(answer)


class _Refused(Exception):  # noqa: N818 - becomes an answer
    """A request that the service does not serve."""


def _rings(outline: Any) -> list[list[list[float]]]:
    """Rings: outer ones clockwise, holes the other way, in an order that says nothing."""
    polygons = shapely.get_parts(outline)
    outer = [polygon.exterior for polygon in polygons]
    inner = [ring for polygon in polygons for ring in polygon.interiors]
    return [
        *(_directed(ring, clockwise=False) for ring in inner),
        *(_directed(ring, clockwise=True) for ring in outer),
    ]


def _directed(ring: Any, clockwise: bool) -> list[list[float]]:
    points = shapely.get_coordinates(ring).tolist()
    return points[::-1] if bool(shapely.is_ccw(ring)) == clockwise else points


def _polygon_of_rings(rings: list[list[list[float]]]) -> Any:
    """Clockwise rings less the others."""
    polygons = [shapely.Polygon(ring) for ring in rings]
    holes = [bool(shapely.is_ccw(polygon.exterior)) for polygon in polygons]
    outer = shapely.union_all([p for p, hole in zip(polygons, holes, strict=True) if not hole])
    return outer - shapely.union_all([p for p, hole in zip(polygons, holes, strict=True) if hole])


def _moved(geometry: Any, source: pyproj.CRS, target: pyproj.CRS) -> Any:
    """Corners in another CRS; the service adds none."""
    if source == target:
        return geometry
    transformer = pyproj.Transformer.from_crs(source, target, always_xy=True)
    return shapely.transform(geometry, transformer.transform, interleaved=False)


@cache
def _crs(wkid: Any) -> pyproj.CRS:
    return pyproj.CRS.from_epsg(3857 if int(wkid) == WEB_MERCATOR else int(wkid))


@cache
def _reference(crs: pyproj.CRS) -> dict[str, int]:
    code = int(crs.to_epsg())
    return {"wkid": WEB_MERCATOR if code == 3857 else code, "latestWkid": code}


def _plain(value: Any) -> Any:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    return value.item() if hasattr(value, "item") else value


def _page_of_html(title: str) -> Answer:
    return Answer.text(f"<html><head><title>{title}</title></head></html>", kind="text/html")
