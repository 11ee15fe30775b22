"""Public geotagged photos of the social network VK."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from geolatents.settings.base import Section
from geolatents.settings.services import AREA, Area, Dates, Service, Url

Radius = Literal[10, 100, 800, 6000, 50000]
"""Metres; what ``photos.search`` documents."""


class VkSearch(Section):
    """Which photos are looked for."""

    area: Area = Field(description=AREA)
    dates: Dates = Field(
        description="First and last day, in UTC. VK states when a photo was uploaded, not when it was taken."
    )
    months: list[Annotated[int, Field(ge=1, le=12)]] = Field(
        list(range(1, 13)),
        min_length=1,
        description="Months to keep, such as `[5, 6, 7, 8, 9]` for the warm season.",
    )
    radius: Radius | None = Field(
        None,
        description="Radius in metres of the circles that are asked for, one of the documented ones; default: the largest that is below a third of the area's side. "
        "Smaller circles take more requests.",
    )
    min_side: int = Field(
        512,
        ge=75,
        description="Of a photo's image files, the smallest whose shorter side has this many pixels is taken, else the largest.",
    )
    per_owner: int | None = Field(
        50,
        ge=1,
        description="Most photos of one account, so that no album outweighs the rest; null for all.",
    )
    exclude: str | None = Field(
        None,
        description="Text file in the data folder with the names (hashes) of accounts and photos to leave out, one a line; see docs/privacy.md.",
    )
    cell_km: float = Field(
        20.0,
        ge=2,
        le=1000,
        description="Side in kilometres of the grid cells; one download job each.",
    )
    most_requests: int = Field(
        20_000,
        ge=1,
        description="Requests after which a search stops and says so; what was found is kept for the next run.",
    )

    @model_validator(mode="after")
    def _possible(self) -> VkSearch:
        if len(set(self.months)) < len(self.months):
            raise ValueError("`months` names a month twice")
        return self


class VkService(Service):
    """Where VK's API is and how it is asked."""

    url: Url = Field("https://api.vk.com", description="Root of the API.")
    rate: float = Field(
        2.5,
        gt=0,
        description="Most requests per second to one host; VK allows tokens 3, and requests may bunch up on their way.",
    )
    flood_wait: float = Field(
        60.0, ge=0, description="Seconds to wait when VK reports flood control."
    )


class VkPhotos(Section):
    """Public geotagged photos of VK, found with `photos.search`; the token is in VK_TOKEN."""

    provider: Literal["vk_photos"]
    search: VkSearch = Field(description="Which photos.")
    service: VkService = Field(VkService(), description="Where VK's API is and how it is asked.")


SETTINGS = VkPhotos
"""Settings of this provider, for those who know it by name."""
