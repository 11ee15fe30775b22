"""Image services of one georeferenced picture: WMS, WMTS and ArcGIS REST, as published.

- WMS 1.3.0: OGC 06-042; WMS 1.1.1: OGC 01-068r3. Shape of capabilities also after those of ArcGIS Server
  and MapServer in OWSLib's tests (``tests/resources/wms-aasggeothermal-orwellheads-130.xml``,
  ``wms_nationalatlas_getcapabilities_111.xml``).
- WMTS 1.0.0: OGC 07-057r7; shape also after ``tests/resources/geoserver21-wmts-cap.xml`` of OWSLib.
- ArcGIS REST: https://developers.arcgis.com/rest/services-reference/enterprise/export-map, .../export-image,
  .../map-tile, .../map-service, .../image-service.
"""

from __future__ import annotations

import io
import itertools
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

import numpy as np
import pyproj
from affine import Affine
from PIL import Image
from pyproj import Transformer

from tests.services.base import Answer, Call, LocalService

Box = tuple[float, float, float, float]
MEDIA_TYPES = {"image/png": "PNG", "image/jpeg": "JPEG"}


@dataclass
class Picture:
    """The truth that a service shows. ``rgb``: (y, x, 3) uint8, north up, in ``crs``."""

    rgb: np.ndarray
    crs: str
    transform: Affine

    @property
    def bounds(self) -> Box:
        """Left, bottom, right, top."""
        right, bottom = self.transform @ (self.rgb.shape[1], self.rgb.shape[0])
        return self.transform.c, bottom, right, self.transform.f

    def bounds_in(self, crs: str) -> Box:
        return Transformer.from_crs(self.crs, crs, always_xy=True).transform_bounds(*self.bounds)

    def render(self, box: Box, width: int, height: int, crs: str) -> np.ndarray:
        """(height, width, 4): the pixel of the picture below each centre, transparent outside; stretched where the box asks for it."""
        left, bottom, right, top = box
        x = left + (np.arange(width) + 0.5) * (right - left) / width
        y = top - (np.arange(height) + 0.5) * (top - bottom) / height
        x, y = np.meshgrid(x, y)
        if crs != self.crs:
            x, y = Transformer.from_crs(crs, self.crs, always_xy=True).transform(x, y)
        columns, rows = (np.floor(v).astype(int) for v in ~self.transform @ (x, y))
        inside = (columns >= 0) & (rows >= 0) & (columns < self.rgb.shape[1]) & (rows < self.rgb.shape[0])  # fmt: skip
        result = np.zeros((height, width, 4), dtype=np.uint8)
        result[inside, :3] = self.rgb[rows[inside], columns[inside]]
        result[inside, 3] = 255
        return result


def encoded(pixels: np.ndarray, kind: str, transparent: bool = True) -> bytes:
    """Bytes of a picture; empty land is white (the default BGCOLOR of WMS), also below transparency."""
    pixels = np.where(pixels[..., 3:] > 0, pixels, np.array([255, 255, 255, 0], dtype=np.uint8))
    image = Image.fromarray(pixels, "RGBA")
    if kind == "JPEG" or not transparent:
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image).convert("RGB")
    stream = io.BytesIO()
    image.save(stream, kind, **({"quality": 95} if kind == "JPEG" else {"compress_level": 1}))
    return stream.getvalue()


def image_answer(body: bytes, media: str, **headers: str) -> Answer:
    return Answer(200, body, {"Content-Type": media, **headers})


def is_north_first(crs: str) -> bool:
    """Axis order by the EPSG registry."""
    return pyproj.CRS(crs).axis_info[0].direction == "north"


# ---- WMS


@dataclass
class Wms(LocalService):
    """A WMS with one layer. ``stated_limit`` stands in the capabilities, ``limit`` applies."""

    picture: Picture
    layer: str = "ortho"
    crs: tuple[str, ...] = ("EPSG:4326", "EPSG:3857")
    stated_limit: int | None = None
    limit: int = 4096
    formats: tuple[str, ...] = ("image/png", "image/jpeg")
    ignores_axis_order: bool = False
    stated_root: str | None = None  # where the capabilities say that maps are

    def __post_init__(self) -> None:
        super().__init__()
        self.route("/maps/wms", self._any)
        self.route("/maps/wms/getmap", self._map)

    def _any(self, call: Call) -> Answer:
        get_map = self._query(call).get("REQUEST") == "GetMap"
        return self._map(call) if get_map else self._capabilities(call)

    def _query(self, call: Call) -> dict[str, str]:
        """Names of parameters are not case sensitive (06-042, 6.8.1)."""
        return {name.upper(): value for name, value in call.query.items()}

    # GetCapabilities: 06-042 7.2 and annex E; 01-068r3 annex A

    def _capabilities(self, call: Call) -> Answer:
        query = self._query(call)
        if query.get("REQUEST") != "GetCapabilities" or query.get("SERVICE") != "WMS":
            return self._exception(call, "OperationNotSupported", "only GetCapabilities here")
        latest = query.get("VERSION", "1.3.0") >= "1.3.0"
        text = self._document(latest)
        return Answer.text(text, kind="text/xml" if latest else "application/vnd.ogc.wms_xml")

    def _document(self, latest: bool) -> str:
        root = 'WMS_Capabilities version="1.3.0" xmlns="http://www.opengis.net/wms"' if latest else 'WMT_MS_Capabilities version="1.1.1"'  # fmt: skip
        limits = ""
        if latest and self.stated_limit:  # MaxWidth and MaxHeight are new in 1.3.0
            limits = f"<MaxWidth>{self.stated_limit}</MaxWidth><MaxHeight>{self.stated_limit}</MaxHeight>"  # fmt: skip
        online = f'<OnlineResource xmlns:xlink="http://www.w3.org/1999/xlink" xlink:type="simple" xlink:href="{self.stated_root or self.url}/maps/wms/getmap?"/>'
        formats = "".join(f"<Format>{media}</Format>" for media in self.formats)
        codes = "".join(f"<{'CRS' if latest else 'SRS'}>{c}</{'CRS' if latest else 'SRS'}>" for c in self.crs)  # fmt: skip
        west, south, east, north = self.picture.bounds_in("EPSG:4326")
        if latest:
            extent = (
                f"<EX_GeographicBoundingBox><westBoundLongitude>{west}</westBoundLongitude><eastBoundLongitude>{east}</eastBoundLongitude>"
                f"<southBoundLatitude>{south}</southBoundLatitude><northBoundLatitude>{north}</northBoundLatitude></EX_GeographicBoundingBox>"
            )
        else:
            extent = f'<LatLonBoundingBox minx="{west}" miny="{south}" maxx="{east}" maxy="{north}"/>'  # fmt: skip
        return f"""<?xml version="1.0" encoding="UTF-8"?>
<{root}>
 <Service><Name>WMS</Name><Title>Maps</Title>{online}{limits}</Service>
 <Capability>
  <Request>
   <GetCapabilities><Format>text/xml</Format><DCPType><HTTP><Get>{online}</Get></HTTP></DCPType></GetCapabilities>
   <GetMap>{formats}<DCPType><HTTP><Get>{online}</Get></HTTP></DCPType></GetMap>
  </Request>
  <Exception><Format>XML</Format></Exception>
  <Layer><Title>All</Title>{codes}{extent}
   <Layer queryable="0"><Name>{self.layer}</Name><Title>Orthophotos of 2014</Title>
    <Style><Name>natural</Name><Title>Natural colours</Title></Style>
   </Layer>
  </Layer>
 </Capability>
</{root.split()[0]}>"""

    # GetMap: 06-042 7.3; 01-068r3 7.2

    def _map(self, call: Call) -> Answer:
        query = self._query(call)
        missing = {"VERSION", "REQUEST", "LAYERS", "STYLES", "BBOX", "WIDTH", "HEIGHT", "FORMAT"} - set(query)  # fmt: skip
        if missing or query["REQUEST"] != "GetMap":
            return self._exception(call, "MissingParameterValue", f"missing {sorted(missing)}")
        latest = query["VERSION"] == "1.3.0"
        crs = query.get("CRS" if latest else "SRS", "")
        if crs not in self.crs:
            return self._exception(call, "InvalidCRS" if latest else "InvalidSRS", crs)
        if query["LAYERS"] != self.layer:
            return self._exception(call, "LayerNotDefined", query["LAYERS"])
        if query["STYLES"] not in {"", "natural"}:
            return self._exception(call, "StyleNotDefined", query["STYLES"])
        if query["FORMAT"] not in self.formats:
            return self._exception(call, "InvalidFormat", query["FORMAT"])
        width, height = int(query["WIDTH"]), int(query["HEIGHT"])
        if not (0 < width <= self.limit and 0 < height <= self.limit):
            return self._exception(call, None, f"width and height may be 1 to {self.limit}")
        box = tuple(float(value) for value in query["BBOX"].split(","))
        if latest and is_north_first(crs) and not self.ignores_axis_order:
            box = (box[1], box[0], box[3], box[2])
        if box[0] >= box[2] or box[1] >= box[3]:
            return self._exception(call, None, "the box has no area")
        pixels = self.picture.render(box, width, height, crs)
        media = query["FORMAT"]
        transparent = query.get("TRANSPARENT", "FALSE").upper() == "TRUE"
        return image_answer(encoded(pixels, MEDIA_TYPES[media], transparent), media)

    def _exception(self, call: Call, code: str | None, text: str) -> Answer:
        """Status 200, as most services do: 06-042 annex E.2; 01-068r3 annex A.3."""
        named = f' code="{code}"' if code else ""
        inner = f"<ServiceException{named}>{escape(text)}</ServiceException>"
        if self._query(call).get("VERSION") == "1.1.1":
            body = f'<?xml version="1.0"?><ServiceExceptionReport version="1.1.1">{inner}</ServiceExceptionReport>'
            return Answer.text(body, kind="application/vnd.ogc.se_xml")
        body = f'<?xml version="1.0"?><ServiceExceptionReport version="1.3.0" xmlns="http://www.opengis.net/ogc">{inner}</ServiceExceptionReport>'
        return Answer.text(body, kind="text/xml")


# ---- tiles


@dataclass
class TileMatrix:
    """A tile matrix; ``left`` and ``top`` are those of its upper left corner."""

    name: str
    resolution: float
    left: float
    top: float
    width: int
    height: int
    tile: int = 64

    def box(self, row: int, column: int) -> Box:
        side = self.tile * self.resolution
        left, top = self.left + column * side, self.top - row * side
        return left, top - side, left + side, top


def has_data(pixels: np.ndarray) -> bool:
    return bool(pixels[..., 3].any())


@dataclass
class Wmts(LocalService):
    """A WMTS with one layer and one matrix set.

    ``encoding``: ``KVP`` or ``REST``. ``blank``: what comes where the picture has no land: status 404, or a white tile.
    """

    picture: Picture
    matrices: list[TileMatrix]
    crs: str = "EPSG:3857"
    encoding: str = "KVP"
    blank: bool = False
    states_box: bool = True
    states_limits: bool = False
    tile_root: str | None = None  # where the capabilities say that tiles are
    layer: str = "ortho"

    def __post_init__(self) -> None:
        super().__init__()
        self.route("/wmts/1.0.0/WMTSCapabilities.xml", lambda _call: self._capabilities())
        self.route("/wmts", self._kvp)
        self.route(r"/wmts/tile/1.0.0/(\w+)/natural/grid/([^/]+)/(-?\d+)/(-?\d+)\.png", self._rest)

    @property
    def source(self) -> str:
        return "wmts/1.0.0/WMTSCapabilities.xml" if self.encoding == "REST" else "wmts"

    # ServiceMetadata: 07-057r7 clause 7.1

    def _capabilities(self) -> Answer:
        operations, resource = "", ""
        if self.encoding == "KVP":
            get = f'<ows:DCP><ows:HTTP><ows:Get xlink:href="{self.url}/wmts?"><ows:Constraint name="GetEncoding"><ows:AllowedValues><ows:Value>KVP</ows:Value></ows:AllowedValues></ows:Constraint></ows:Get></ows:HTTP></ows:DCP>'
            operations = f'<ows:OperationsMetadata><ows:Operation name="GetCapabilities">{get}</ows:Operation><ows:Operation name="GetTile">{get}</ows:Operation></ows:OperationsMetadata>'
        else:
            resource = f'<ResourceURL format="image/png" resourceType="tile" template="{self.tile_root or self.url}/wmts/tile/1.0.0/{self.layer}/{{Style}}/{{TileMatrixSet}}/{{TileMatrix}}/{{TileRow}}/{{TileCol}}.png"/>'
        west, south, east, north = self.picture.bounds_in("EPSG:4326")
        box = f"<ows:WGS84BoundingBox><ows:LowerCorner>{west} {south}</ows:LowerCorner><ows:UpperCorner>{east} {north}</ows:UpperCorner></ows:WGS84BoundingBox>"
        return Answer.text(
            f"""<?xml version="1.0" encoding="UTF-8"?>
<Capabilities xmlns="http://www.opengis.net/wmts/1.0" xmlns:ows="http://www.opengis.net/ows/1.1" xmlns:xlink="http://www.w3.org/1999/xlink" version="1.0.0">
 <ows:ServiceIdentification><ows:Title>Tiles</ows:Title><ows:ServiceType>OGC WMTS</ows:ServiceType><ows:ServiceTypeVersion>1.0.0</ows:ServiceTypeVersion></ows:ServiceIdentification>
 {operations}
 <Contents>
  <Layer><ows:Title>Orthophotos of 2014</ows:Title>{box if self.states_box else ""}<ows:Identifier>{self.layer}</ows:Identifier>
   <Style><ows:Identifier>grey</ows:Identifier></Style><Style isDefault="true"><ows:Identifier>natural</ows:Identifier></Style>
   <Format>image/png</Format>
   <TileMatrixSetLink><TileMatrixSet>grid</TileMatrixSet>{self._limits()}</TileMatrixSetLink>{resource}
  </Layer>
  <TileMatrixSet><ows:Identifier>grid</ows:Identifier><ows:SupportedCRS>urn:ogc:def:crs:EPSG::{self.crs.split(":")[1]}</ows:SupportedCRS>
   {"".join(self._matrix(matrix) for matrix in self.matrices)}
  </TileMatrixSet>
 </Contents>
</Capabilities>""",
            kind="application/xml",
        )

    def limits(self, matrix: TileMatrix) -> tuple[range, range]:
        """Rows and columns that have data."""
        left, bottom, right, top = self.picture.bounds_in(self.crs)
        side = matrix.tile * matrix.resolution
        rows = range(int((matrix.top - top) // side), int((matrix.top - bottom) // side) + 1)
        columns = range(int((left - matrix.left) // side), int((right - matrix.left) // side) + 1)
        return rows, columns

    def _limits(self) -> str:
        """TileMatrixSetLimits (table 11)."""
        if not self.states_limits:
            return ""
        found = ""
        for matrix in self.matrices:
            rows, columns = self.limits(matrix)
            found += (
                f"<TileMatrixLimits><TileMatrix>{matrix.name}</TileMatrix><MinTileRow>{rows[0]}</MinTileRow><MaxTileRow>{rows[-1]}</MaxTileRow>"
                f"<MinTileCol>{columns[0]}</MinTileCol><MaxTileCol>{columns[-1]}</MaxTileCol></TileMatrixLimits>"
            )
        return f"<TileMatrixSetLimits>{found}</TileMatrixSetLimits>"

    def _matrix(self, matrix: TileMatrix) -> str:
        """Scale for a pixel of 0.28 mm (6.1); the corner in the axis order of the CRS (table 7)."""
        corner = (matrix.left, matrix.top)
        metres = 111319.49079327358 if pyproj.CRS(self.crs).is_geographic else 1.0
        if is_north_first(self.crs):
            corner = corner[::-1]
        return (
            f"<TileMatrix><ows:Identifier>{matrix.name}</ows:Identifier><ScaleDenominator>{matrix.resolution * metres / 0.00028!r}</ScaleDenominator>"
            f"<TopLeftCorner>{corner[0]!r} {corner[1]!r}</TopLeftCorner><TileWidth>{matrix.tile}</TileWidth><TileHeight>{matrix.tile}</TileHeight>"
            f"<MatrixWidth>{matrix.width}</MatrixWidth><MatrixHeight>{matrix.height}</MatrixHeight></TileMatrix>"
        )

    # GetTile: clauses 8.2 (key-value pairs) and 10.2 (resource); errors 7.2.3 and table 24

    def _kvp(self, call: Call) -> Answer:
        query = {name.upper(): value for name, value in call.query.items()}
        if query.get("REQUEST") == "GetCapabilities":
            return self._capabilities()
        wanted = {"SERVICE": "WMTS", "REQUEST": "GetTile", "VERSION": "1.0.0", "LAYER": self.layer, "STYLE": "natural", "FORMAT": "image/png", "TILEMATRIXSET": "grid"}  # fmt: skip
        for name, value in wanted.items():
            if query.get(name) != value:
                return self._exception("InvalidParameterValue", name)
        return self._tile(query["TILEMATRIX"], int(query["TILEROW"]), int(query["TILECOL"]))

    def _rest(self, _call: Call, _layer: str, name: str, row: str, column: str) -> Answer:
        return self._tile(name, int(row), int(column))

    def _tile(self, name: str, row: int, column: int) -> Answer:
        matrix = next((m for m in self.matrices if m.name == name), None)
        if matrix is None:
            return self._exception("InvalidParameterValue", "TILEMATRIX")
        if not (0 <= row < matrix.height and 0 <= column < matrix.width):
            return self._exception("TileOutOfRange", "TILEROW")
        pixels = self.picture.render(matrix.box(row, column), matrix.tile, matrix.tile, self.crs)
        if not has_data(pixels) and not self.blank:
            return Answer.text("no such tile", 404)
        return image_answer(encoded(pixels, "PNG", transparent=not self.blank), "image/png")

    def _exception(self, code: str, locator: str) -> Answer:
        return Answer.text(
            f'<?xml version="1.0"?><ExceptionReport xmlns="http://www.opengis.net/ows/1.1" version="1.1.0"><Exception exceptionCode="{code}" locator="{locator}"/></ExceptionReport>',
            400,
            kind="text/xml",
        )


# ---- ArcGIS


@dataclass
class ArcGis(LocalService):
    """A MapServer and an ImageServer of one picture.

    ``stated_limit`` stands in the description of the service, ``limit`` applies.
    """

    picture: Picture
    levels: list[TileMatrix] = field(default_factory=list)
    stated_limit: int | None = 4096
    limit: int = 4096
    capabilities: tuple[str, str] = ("Map,Query,Data", "Image,Metadata,Catalog")

    def __post_init__(self) -> None:
        super().__init__()
        self._number = itertools.count()
        self._made: dict[str, bytes] = {}
        service = r"/arcgis/rest/services/Basemaps/Ortho_2014/"
        self.route(service + "MapServer", self._map_service)
        self.route(service + "ImageServer", self._image_service)
        self.route(service + "(MapServer/export|ImageServer/exportImage)", self._export)
        self.route(service + r"MapServer/tile/(\d+)/(\d+)/(\d+)", self._tile)
        self.route(r"/arcgis/rest/directories/arcgisoutput/(\w+)\.png", self._output)

    @property
    def wkid(self) -> int:
        return int(self.picture.crs.split(":")[1])

    def _reference(self) -> dict[str, int]:
        # Esri writes its own code of web mercator first.
        wkid = 102100 if self.wkid == 3857 else self.wkid
        return {"wkid": wkid, "latestWkid": self.wkid}

    def _box(self, box: Box) -> dict[str, object]:
        names = ("xmin", "ymin", "xmax", "ymax")
        return dict(zip(names, box, strict=True)) | {"spatialReference": self._reference()}

    def _limits(self) -> dict[str, int]:
        if self.stated_limit is None:
            return {}
        return {"maxImageHeight": self.stated_limit, "maxImageWidth": self.stated_limit}

    def _map_service(self, call: Call) -> Answer:
        """Map service: fields as in https://developers.arcgis.com/rest/services-reference/enterprise/map-service."""
        if call.parameters.get("f") not in {"json", "pjson"}:
            return Answer.text("<html><body>Ortho_2014 (MapServer)</body></html>", kind="text/html")
        info = {
            "currentVersion": 10.91, "mapName": "Layers", "layers": [{"id": 0, "name": "Ortho"}],
            "spatialReference": self._reference(), "singleFusedMapCache": bool(self.levels),
            "fullExtent": self._box(self.picture.bounds), "units": "esriMeters",
            "supportedImageFormatTypes": "PNG32,PNG24,PNG,JPG,DIB,TIFF,EMF,PS,PDF,GIF,SVG,SVGZ,BMP",
            "documentInfo": {"Title": "Orthophotos of 2014"},
            "capabilities": self.capabilities[0], **self._limits(),
        }  # fmt: skip
        if self.levels:
            first = self.levels[0]
            info["tileInfo"] = {
                "rows": first.tile, "cols": first.tile, "dpi": 96, "format": "PNG32", "compressionQuality": 0,
                "origin": {"x": first.left, "y": first.top}, "spatialReference": self._reference(),
                "lods": [{"level": int(m.name), "resolution": m.resolution, "scale": m.resolution / 0.00028 * 1.0583} for m in self.levels],
            }  # fmt: skip
        return Answer.json(info)

    def _image_service(self, call: Call) -> Answer:
        """Image service: .../enterprise/image-service."""
        if call.parameters.get("f") not in {"json", "pjson"}:
            return Answer.text("<html><body>Ortho_2014 (ImageServer)</body></html>", kind="text/html")  # fmt: skip
        return Answer.json(
            {
                "currentVersion": 10.91, "name": "Ortho_2014", "bandCount": 3, "pixelType": "U8",
                "extent": self._box(self.picture.bounds), "fullExtent": self._box(self.picture.bounds),
                "pixelSizeX": self.picture.transform.a, "pixelSizeY": self.picture.transform.a,
                "spatialReference": self._reference(),
                "capabilities": self.capabilities[1], **self._limits(),
            }
        )  # fmt: skip

    def _export(self, call: Call, operation: str) -> Answer:
        """Export map (always keeps pixels square) and export image (unless ``adjustAspectRatio=false``)."""
        query = call.parameters
        width, height = (int(value) for value in query.get("size", "400,400").split(","))
        if max(width, height) > self.limit:
            return self._error("The requested image exceeds the size limit.")
        box = tuple(float(value) for value in query["bbox"].split(","))
        crs = f"EPSG:{query.get('imageSR', self.wkid)}"
        box_crs = f"EPSG:{query.get('bboxSR', self.wkid)}"
        if crs != box_crs:
            box = Transformer.from_crs(box_crs, crs, always_xy=True).transform_bounds(*box)
        if operation.startswith("MapServer"):
            formats = {"png": "PNG", "png8": "PNG", "png24": "PNG", "png32": "PNG", "jpg": "JPEG"}
            transparent = query.get("transparent", "false") == "true"
            adjusted = True
        else:
            formats = {"png": "PNG", "png24": "PNG", "png32": "PNG", "jpg": "JPEG", "jpgpng": "PNG"}
            transparent = query.get("format", "jpgpng") in {"png32", "jpgpng"}
            adjusted = query.get("adjustAspectRatio", "true") == "true"
        kind = formats.get(query.get("format", "png"))
        if kind is None:
            return self._error("Invalid format")
        if adjusted:
            box = widened(box, width, height)
        pixels = self.picture.render(box, width, height, crs)
        return self._delivered(call, encoded(pixels, kind, transparent), kind, box, width, height)

    def _delivered(self, call: Call, body: bytes, kind: str, box: Box, width: int, height: int) -> Answer:  # fmt: skip
        asked = call.parameters.get("f", "html")
        if asked == "image":
            return image_answer(body, f"image/{kind.lower()}")
        if asked != "json":
            return Answer.text("<html><body>Export</body></html>", kind="text/html")
        name = f"ags_{next(self._number)}"
        self._made[name] = body
        href = f"{self.url}/arcgis/rest/directories/arcgisoutput/{name}.png"
        return Answer.json({"href": href, "width": width, "height": height, "extent": self._box(box), "scale": 1.0})  # fmt: skip

    def _output(self, _call: Call, name: str) -> Answer:
        """Exported files are deleted after a while; here after the first look."""
        body = self._made.pop(name, None)
        return Answer.text("not found", 404) if body is None else image_answer(body, "image/png")

    def _tile(self, call: Call, level: str, row: str, column: str) -> Answer:
        """Map tile: 404 where there is none, or a blank one with a header unless ``blankTile=false``."""
        matrix = next((m for m in self.levels if m.name == level), None)
        if matrix is None:
            return Answer.text("no such level", 404)
        pixels = self.picture.render(matrix.box(int(row), int(column)), matrix.tile, matrix.tile, self.picture.crs)  # fmt: skip
        if has_data(pixels):
            return image_answer(encoded(pixels, "PNG"), "image/png")
        if call.parameters.get("blankTile") == "false":
            return Answer.text("no such tile", 404)
        pixels[:] = 204  # "Map data not yet available", a grey picture with a line of text
        pixels[10:14, 5:50] = (90, 90, 90, 255)
        return image_answer(encoded(pixels, "PNG"), "image/png", **{"blank-tile": "true"})

    def _error(self, detail: str) -> Answer:
        """Status 200 with an error inside."""
        error = {"code": 400, "message": "Unable to complete operation.", "details": [detail]}
        return Answer.json({"error": error})


def widened(box: Box, width: int, height: int) -> Box:
    """The smallest box around the same centre whose pixels are square."""
    left, bottom, right, top = box
    pixel = max((right - left) / width, (top - bottom) / height)
    x, y = (left + right) / 2, (bottom + top) / 2
    return x - pixel * width / 2, y - pixel * height / 2, x + pixel * width / 2, y + pixel * height / 2  # fmt: skip
