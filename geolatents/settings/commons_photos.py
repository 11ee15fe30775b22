"""Geotagged photos under open licences, from Wikimedia Commons."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from geolatents.settings.base import Section
from geolatents.settings.services import AREA, Area, Dates, Service, Url

Licence = Literal["CC0", "CC BY", "CC BY-SA", "public domain"]

Width = Literal[250, 330, 500, 960, 1280, 1920, 3840]
"""Widths of thumbnails; others are refused: https://www.mediawiki.org/wiki/Common_thumbnail_sizes."""


class CommonsSearch(Section):
    """Which photos."""

    area: Area = Field(description=AREA)
    dates: Dates | None = Field(
        None,
        description="First and last day on which photos were taken; photos without a date are left out then.",
    )
    months: list[Annotated[int, Field(ge=1, le=12)]] | None = Field(
        None,
        min_length=1,
        description="Months in which photos were taken, such as `[5, 6, 7]`; photos without a date are left out then.",
    )
    licences: list[Licence] = Field(
        ["CC0", "CC BY", "CC BY-SA", "public domain"],
        min_length=1,
        description="Families of licences; photos without a stated licence are always left out.",
    )
    positions: Literal["primary", "all"] = Field(
        "all",
        description="`primary`: only photos with a primary coordinate, which the templates of Commons give to the camera; "
        "`all`: also photos of which only another position is known, mostly that of the object.",
    )
    width: Width | None = Field(
        960,
        description="Width of the images in pixels, as the service scales them; smaller ones stay as they are. "
        "`null`: the original files, of which the service states checksums.",
    )

    cell_km: float = Field(
        20.0,
        ge=2,
        le=1000,
        description="Side in kilometres of the grid cells; one download job each.",
    )

    @model_validator(mode="after")
    def _possible(self) -> CommonsSearch:
        for name in ("months", "licences"):
            values = getattr(self, name) or []
            if len(set(values)) < len(values):
                raise ValueError(f"`{name}` names one twice")
        return self


class CommonsService(Service):
    """The API of Wikimedia Commons, or of another wiki with the extensions GeoData and CommonsMetadata."""

    url: Url = Field(
        "https://commons.wikimedia.org",
        description="Root of the service's addresses; `/w/api.php` is added to it.",
    )
    rate: float = Field(2.0, gt=0, description="Most requests per second to one host.")
    workers: int = Field(
        1, ge=1, le=3, description="Downloads at the same time; Wikimedia allows three in all."
    )


class CommonsPhotos(Section):
    """Geotagged photos of Wikimedia Commons, each with its author and licence."""

    provider: Literal["commons_photos"]
    search: CommonsSearch = Field(description="Which photos.")
    service: CommonsService = Field(
        CommonsService(), description="Where the service is and how it is asked."
    )

    @model_validator(mode="after")
    def _contact(self) -> CommonsPhotos:
        if self.service.contact is None:
            raise ValueError(
                "`service.contact` is needed: Wikimedia blocks clients that do not name a mail address or web page "
                "under which their operator can be reached (its User-Agent policy)"
            )
        return self


SETTINGS = CommonsPhotos
"""Settings of this provider, for those who know it by name."""
