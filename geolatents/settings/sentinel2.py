"""Sentinel-2 L2A scenes from a STAC catalogue of cloud-optimized files; free, no key."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from geolatents.settings.base import Section
from geolatents.settings.files import AssembledImagery, ValidityMask
from geolatents.settings.services import AREA, Area, Dates, Service, Url

LICENCE = "Copernicus Sentinel data terms (free, full and open); contains modified Copernicus Sentinel data"

UNCLASSIFIED = 7
"""Class of the scene classification of whose pixels nothing is known."""

EARTH_SEARCH = "https://earth-search.aws.element84.com/v1"
PLANETARY_COMPUTER = "https://planetarycomputer.microsoft.com/api/stac/v1"

Band = Literal[
    "coastal", "blue", "green", "red", "rededge1", "rededge2", "rededge3",
    "nir", "nir08", "nir09", "swir16", "swir22",
]  # fmt: skip
"""Common names of the bands, as Earth Search calls its files."""


class Sentinel2Search(Section):
    """Which scenes are asked for."""

    area: Area = Field(description=AREA)
    dates: Dates = Field(description="First and last day of acquisition, in UTC.")
    cloud_cover: float = Field(
        0.2, ge=0, le=1, description="Largest share of a granule under clouds, 0 to 1."
    )
    min_cover: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Least share of the area's part in a granule that the scene covers, 0 to 1; less at the edges of a swath.",
    )
    pick: Literal["all", "least_cloudy"] = Field(
        "all",
        description="`least_cloudy`: of each MGRS tile only the scene with the most clear ground, "
        "its covered share times what is not under clouds.",
    )
    limit: int = Field(
        100,
        ge=1,
        description="Most scenes; a search that finds more is an error, lest it order a continent.",
    )


class Sentinel2Product(Section):
    """What is fetched of a scene: surface reflectance x 10000 (uint16, 0 is no data) and the scene classification."""

    bands: list[Band] = Field(
        ["blue", "green", "red", "nir"], min_length=1, description="Bands, in this order."
    )
    resolution: Literal[10, 20, 60] = Field(
        10,
        description="Metres per pixel. Bands of other resolutions are resampled: bilinear to finer pixels, "
        "mean to coarser ones; the scene classification by nearest pixel or majority.",
    )
    offset: Literal["auto", 0, -1000] = Field(
        "auto",
        description="Added to all valid values so that reflectance is value / 10000 before and after processing baseline 04.00; "
        "`auto`: by what the catalogue says, checked at dark pixels.",
    )
    without_scl: Literal["error", "unmasked"] = Field(
        "error",
        description="Of a scene without scene classification: `error`, or `unmasked`, all valid pixels count as unclassified.",
    )

    @field_validator("bands")
    @classmethod
    def _no_twins(cls, bands: list[Band]) -> list[Band]:
        if len(set(bands)) < len(bands):
            raise ValueError(f"a band is named twice in {bands}")
        return bands


class Sentinel2Service(Service):
    """Which catalogue is asked, and how."""

    catalogue: Literal["earth_search", "planetary_computer"] = Field(
        "earth_search",
        description="How the catalogue behind `url` names and stores its files; `planetary_computer` needs tokens, which are had without an account.",
    )
    url: Url = Field(
        EARTH_SEARCH,
        description=f"Root of the STAC API; of `planetary_computer` by default `{PLANETARY_COMPUTER}`.",
    )
    collection: str = Field(
        "sentinel-2-l2a", min_length=1, description="Collection; also `sentinel-2-c1-l2a`."
    )
    token_url: Url = Field(
        "https://planetarycomputer.microsoft.com/api/sas/v1/token",
        description="Where tokens come from, `/{collection}` is added; only of `planetary_computer`.",
    )

    @model_validator(mode="before")
    @classmethod
    def _address_of_catalogue(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("catalogue") == "planetary_computer":
            return {"url": PLANETARY_COMPUTER, **values}
        return values


class Sentinel2Imagery(Section):
    """Sentinel-2 L2A scenes, searched and read by window."""

    LISTED: ClassVar = (("service", "catalogue"), ("service", "collection"))
    """Settings outside `search` on which the list of scenes depends too."""

    provider: Literal["sentinel2"]
    search: Sentinel2Search = Field(description="Which scenes.")
    product: Sentinel2Product = Field(
        Sentinel2Product(), description="What is fetched of each scene."
    )
    service: Sentinel2Service = Field(Sentinel2Service(), description="Where, and how patiently.")
    usable: list[int] | None = Field(
        None,
        min_length=1,
        description="Usable classes of the scene classification; default 2, 4, 5, 6, 7, 11.",
    )

    @model_validator(mode="after")
    def _unmasked_is_usable(self) -> Sentinel2Imagery:
        if self.product.without_scl == "unmasked" and UNCLASSIFIED not in (
            self.usable or [UNCLASSIFIED]
        ):
            raise ValueError(
                f"`without_scl: unmasked` calls all pixels unclassified ({UNCLASSIFIED}), "
                f"which is not among `usable`: {self.usable}"
            )
        return self

    def assembled(self) -> AssembledImagery:
        """How assembled scenes are read further."""
        return AssembledImagery(
            provider="sentinel2",
            mask=ValidityMask(kind="scl", band="SCL", usable=self.usable),
            licence=LICENCE,
        )


SETTINGS = Sentinel2Imagery
"""Settings of this provider, for those who know it by name."""
