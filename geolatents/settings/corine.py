"""CORINE Land Cover from the European Environment Agency's map services."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from geolatents.settings.base import Section
from geolatents.settings.services import Service, Url

Year = Literal[1990, 2000, 2006, 2012, 2018]

LAYERS: dict[Year, str] = {
    1990: "CLC1990_WM/MapServer/0",
    2000: "CLC2000_WM/MapServer/0",
    2006: "CLC2006_WM/MapServer/0",
    2012: "CLC2012_WM/MapServer/0",
    2018: "CLC2018_LAEA/MapServer/0",
}
"""Layer of polygons of each reference year, below the service's root.

Seen in public clients of the service. Of 2018 there also is `CLC2018_WM/MapServer/0`; the one named
here is kept in EPSG:3035, the CRS of the official data.
"""


class CorineService(Service):
    """The map services of the European Environment Agency (EEA)."""

    url: Url = Field(
        "https://image.discomap.eea.europa.eu/arcgis/rest/services/Corine",
        description="Root of the CORINE services; the layer is added to it.",
    )
    rate: float = Field(
        2.0, gt=0, description="Most requests per second to one host; the agency states no limit."
    )
    workers: int = Field(
        1,
        ge=1,
        le=1,
        description="Downloads at the same time: each page says where the next begins.",
    )


class CorineProduct(Section):
    """Which CORINE Land Cover is downloaded."""

    year: Year = Field(2018, description="Reference year: 1990, 2000, 2006, 2012 or 2018.")
    layer: str | None = Field(
        None,
        pattern=r"^[\w./-]+/(MapServer|FeatureServer)/\d+$",
        description="Layer below the service's root, where it is not the year's usual one, such as `CLC2018_WM/MapServer/0`.",
    )
    page_size: int = Field(
        1000,
        ge=1,
        description="Most polygons in one answer; the service has its own limit, which was 1000.",
    )

    @property
    def service_layer(self) -> str:
        """The layer below the service's root."""
        return self.layer or LAYERS[self.year]
