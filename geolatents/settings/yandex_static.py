"""Map images for photo positions from the Yandex Static API."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from geolatents.settings.base import Section
from geolatents.settings.services import Service, Url

WIDEST, HIGHEST = 650, 450
"""Largest image in pixels; https://yandex.com/maps-api/docs/static-api/request/map-size.html."""

CLOSEST = {"v1": 21, "1.x": 17}
"""Largest documented zoom level of each form of the API."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class YandexService(Service):
    """The Yandex Static API."""

    url: Url = Field(
        "https://static-maps.yandex.ru",
        description="Root of the service's addresses; `/v1` or `/1.x/` is added to it.",
    )


class YandexStatic(Section):
    """An image of the Yandex Static API around the position of each photo."""

    provider: Literal["yandex_static"]
    accept_terms: bool = Field(
        False,
        description="Set it to `true` once you hold a licence of the Yandex Maps API that allows storing images (`extended`); "
        "the free terms do not.",
    )
    form: Literal["v1", "1.x"] = Field(
        "v1",
        description="Form of the API: `v1` is the current one and needs a key; `1.x` is the old one, "
        "which is no longer documented and may be switched off.",
    )
    layer: Literal["map", "sat", "sat,skl"] = Field(
        "map",
        description="`map`: the road map; `sat`: satellite images; `sat,skl`: both. Form `v1` has the map alone.",
    )
    zoom: int = Field(
        17, ge=0, le=21, description="Zoom level: a pixel is 156543 m / 2^zoom wide at the equator."
    )
    size: tuple[Annotated[int, Field(ge=1, le=WIDEST)], Annotated[int, Field(ge=1, le=HIGHEST)]] = (
        Field((450, 450), description="Width and height in pixels, at most 650 and 450.")
    )
    language: Literal["en_US", "en_RU", "ru_RU", "ru_UA", "uk_UA", "tr_TR"] = Field(
        "en_US", description="Language of names in the map."
    )
    placeholders: list[Sha256] = Field(
        [],
        description="SHA-256 of files that the service sends where it has no imagery; "
        "images of one single grey are recognised without it.",
    )
    service: YandexService = Field(
        YandexService(), description="Where the service is and how it is asked."
    )

    @model_validator(mode="after")
    def _offered(self) -> YandexStatic:
        if self.form == "v1" and self.layer != "map":
            raise ValueError(
                f"form `v1` of the Yandex Static API documents no satellite layer (`layer: {self.layer}`); "
                "set `form: 1.x`, which still may give it, or `layer: map`"
            )
        if self.zoom > CLOSEST[self.form]:
            raise ValueError(
                f"form `{self.form}` documents zoom levels 0 to {CLOSEST[self.form]} (`zoom: {self.zoom}`)"
            )
        return self

    @model_validator(mode="after")
    def _terms(self) -> YandexStatic:
        if not self.accept_terms:
            raise ValueError(
                "the terms of the Yandex Maps API (yandex.com/legal/maps_api) do not allow storing its images "
                "without the `extended` licence; set `accept_terms: true` if you hold one"
            )
        return self
