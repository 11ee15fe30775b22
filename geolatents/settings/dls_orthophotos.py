"""Orthophotos of the Cyprus Department of Lands and Surveys, or of any WMS, WMTS or ArcGIS service."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import Field, model_validator

from geolatents.settings.base import Name, Section
from geolatents.settings.files import AssembledImagery, ValidityMask
from geolatents.settings.services import AREA, Area, Public, Service, Url

Protocol = Literal["wms", "wmts", "arcgis_map", "arcgis_tiles", "arcgis_image"]
Format = Literal["png", "jpeg"]
Resampling = Literal["nearest", "bilinear", "cubic", "average"]


class DlsOrthophotosSearch(Section):
    """Which orthophotos, of which land, cut into which sheets."""

    area: Area = Field(description=AREA)
    protocol: Protocol = Field(
        "arcgis_map",
        description="`wms`; `wmts`; `arcgis_map`: MapServer `export`; `arcgis_tiles`: cached tiles of a MapServer; "
        "`arcgis_image`: ImageServer `exportImage`.",
    )
    source: Annotated[str, Public] = Field(
        "rest/services/BASEMAPS/Imagery_Orthophoto_2014_10cm/MapServer",
        min_length=1,
        pattern=r"^[^/\s:?]+([/?]\S*)?$",
        description="Path of the service below `service.url`; what follows a `?` is sent with every request.",
    )
    layer: str | None = Field(
        None,
        description="Layer: its name (`wms`), identifier (`wmts`) or number (`arcgis_map`; default: what the service shows).",
    )
    style: str | None = Field(
        None, description="Style of the layer (`wms`, `wmts`); default: the service's own."
    )
    matrix_set: str | None = Field(
        None, description="Tile matrix set (`wmts`); default: the one in `crs`, or the only one."
    )
    crs: str = Field(
        "EPSG:6312",
        pattern=r"^EPSG:\d+$",
        description="CRS of the sheets; default: the grid of Cyprus.",
    )
    resolution: float = Field(0.5, gt=0, description="Pixel size of the sheets in units of `crs`.")
    sheet: int = Field(5000, ge=64, le=20_000, description="Width and height of a sheet in pixels.")
    format: Format = Field(
        "png",
        description="`png`: exact, with a mask of land that the service does not show; `jpeg`: six times smaller, "
        "and only requests of one single colour are masked. `arcgis_tiles` are as they are.",
    )
    version: Literal["1.3.0", "1.1.1"] = Field("1.3.0", description="Version of WMS.")
    axis_order: Literal["standard", "xy"] = Field(
        "standard",
        description="`standard`: as the CRS says (WMS 1.3.0, WMTS); `xy`: east first, for services that ignore that.",
    )
    request_size: int = Field(
        2500,
        ge=64,
        le=8192,
        description="Largest width and height of a request in pixels; the service's own limit applies where it is smaller.",
    )
    name: Name | None = Field(
        None,
        description="First part of scene names; default: service and layer. Two services with equal `source` and `layer` "
        "need different names, since downloads are kept by them and not by host.",
    )
    acquired: date | None = Field(
        None, description="Day of the flight, which services do not state; or about."
    )
    licence: str = Field("unknown", description="Licence of the images, kept in every record.")

    @model_validator(mode="after")
    def _layer_is_given(self) -> DlsOrthophotosSearch:
        if self.protocol in {"wms", "wmts"} and not self.layer:
            raise ValueError(f"`layer` is needed for `protocol: {self.protocol}`")
        return self


class DlsOrthophotosProduct(Section):
    """How sheets are made of what was fetched."""

    resampling: Resampling = Field(
        "cubic",
        description="From the pixels of tiles (`wmts`, `arcgis_tiles`) to those of sheets, where the two are not the same.",
    )


class DlsOrthophotosService(Service):
    """Where the service is; it needs no key."""

    url: Url = Field(
        "https://eservices.dls.moi.gov.cy/arcgis",
        description="Root of the service's addresses; `search.source` is added.",
    )
    rate: float = Field(2.0, gt=0, description="Most requests per second to one host.")
    timeout: float = Field(
        120.0, gt=0, description="Seconds without a byte before a request counts as failed."
    )
    workers: int = Field(2, ge=1, le=32, description="Downloads at the same time.")


class DlsOrthophotosImagery(Section):
    """Orthophotos, fetched in requests that the service allows and stitched into sheets."""

    provider: Literal["dls_orthophotos"]
    search: DlsOrthophotosSearch = Field(description="Which orthophotos.")
    product: DlsOrthophotosProduct = Field(
        DlsOrthophotosProduct(), description="How sheets are made."
    )
    service: DlsOrthophotosService = Field(
        DlsOrthophotosService(), description="Where, and how patiently."
    )

    def assembled(self) -> AssembledImagery:
        """How sheets are read further: red, green, blue, and GDAL's mask."""
        return AssembledImagery(
            provider="dls_orthophotos",
            use_bands=["red", "green", "blue"],
            mask=ValidityMask(kind="alpha"),
            licence=self.search.licence,
        )


SETTINGS = DlsOrthophotosImagery
"""Settings of this provider, for those who know it by name."""
