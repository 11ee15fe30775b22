"""PlanetScope scenes by Planet's Data and Orders APIs."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from geolatents.settings.base import Section
from geolatents.settings.files import AssembledImagery, ValidityMask
from geolatents.settings.services import AREA, Area, Dates, Service, Url

LICENCE = "Planet Labs PBC; use within the account's contract, no redistribution of pixels"

Instrument = Literal["PS2", "PS2.SD", "PSB.SD"]


class PlanetScopeSearch(Section):
    """Which scenes are asked for."""

    area: Area = Field(description=AREA)
    dates: Dates = Field(description="First and last day of acquisition, in UTC.")
    cloud_cover: float = Field(
        0.1, ge=0, le=1, description="Largest share of a scene under clouds, 0 to 1."
    )
    instruments: list[Instrument] = Field(
        ["PS2", "PS2.SD", "PSB.SD"],
        min_length=1,
        description="Instruments; only `PSB.SD` has 8 bands.",
    )
    quality: list[Literal["standard", "test"]] = Field(
        ["standard"], min_length=1, description="Quality categories of Planet."
    )
    downloadable: bool = Field(
        True, description="Only scenes that the account may download; false: all of the catalogue."
    )


class PlanetScopeProduct(Section):
    """What is fetched of a scene: surface reflectance x 10000 (uint16), UDM2 and the metadata XML."""

    bands: Literal[4, 8] = Field(
        4, description="4: blue, green, red, nir of any instrument; 8: all bands of `PSB.SD`."
    )
    delivery: Literal["order", "assets"] = Field(
        "order",
        description="`order`: Planet prepares files (clip, harmonize); `assets`: whole files as they are in the catalogue.",
    )
    clip: bool = Field(
        True,
        description="Clip scenes to the area, which saves quota where the contract counts areas; needs `delivery: order`.",
    )
    harmonize: bool = Field(
        False,
        description="Adjust reflectance to Sentinel-2, advised where instruments mix; needs `delivery: order`.",
    )

    @model_validator(mode="after")
    def _tools_are_ordered(self) -> PlanetScopeProduct:
        if self.delivery == "assets" and (self.clip or self.harmonize):
            tools = " and ".join(
                f"`{name}`" for name in ("clip", "harmonize") if getattr(self, name)
            )
            raise ValueError(
                f"{tools} can only be ordered; set `delivery: order`, or {tools} to false"
            )
        return self


class PlanetScopeService(Service):
    """Where Planet's APIs are; the key comes from PL_API_KEY or a netrc file."""

    url: Url = Field(
        "https://api.planet.com",
        description="Root of the APIs; `/data/v1` and `/compute/ops` are added.",
    )
    rate: float = Field(
        3.0, gt=0, description="Most requests per second to one host; orders allow 3 per key."
    )
    poll_interval: float = Field(
        10.0, gt=0, description="Seconds between two looks at an order or an activation."
    )
    time_limit: float = Field(
        7200.0,
        gt=0,
        description="Seconds to wait for an order or an activation; the next run goes on waiting for the same one.",
    )


class PlanetScopeImagery(Section):
    """PlanetScope scenes, searched, ordered and downloaded."""

    LISTED: ClassVar = (("product", "bands"), ("product", "clip"))
    """Settings outside `search` on which the list of scenes depends too."""

    provider: Literal["planetscope"]
    search: PlanetScopeSearch = Field(description="Which scenes.")
    product: PlanetScopeProduct = Field(
        PlanetScopeProduct(), description="What is fetched of each scene."
    )
    service: PlanetScopeService = Field(
        PlanetScopeService(), description="Where, and how patiently."
    )

    @model_validator(mode="after")
    def _instrument_has_bands(self) -> PlanetScopeImagery:
        if self.product.bands == 8 and "PSB.SD" not in self.search.instruments:
            raise ValueError(
                "`product.bands: 8` needs `PSB.SD` among `search.instruments`; the others have 4 bands"
            )
        return self

    def assembled(self) -> AssembledImagery:
        """How assembled scenes are read further."""
        return AssembledImagery(
            provider="planetscope",
            mask=ValidityMask(kind="udm2", band="clear"),
            licence=LICENCE,
        )


SETTINGS = PlanetScopeImagery
"""Settings of this provider, for those who know it by name."""
