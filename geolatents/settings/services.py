"""What all providers share: the area of a search, and how to speak to a service."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from geolatents.settings.base import Section

Degrees = tuple[float, float, float, float]


def _is_box(box: Degrees) -> Degrees:
    west, south, east, north = box
    if not (-180 <= west < east <= 180 and -90 <= south < north <= 90):
        raise ValueError(
            f"{list(box)} is no `[west, south, east, north]` in degrees; an area across 180° must be given in two parts"
        )
    return box


Area = Annotated[Degrees, AfterValidator(_is_box)] | str
"""``[west, south, east, north]`` in degrees (EPSG:4326), or a vector file in the data folder whose polygons are meant."""

AREA = "Area: `[west, south, east, north]` in degrees, or a vector file relative to the data folder, whose polygons are meant."


def _in_order(dates: tuple[date, date]) -> tuple[date, date]:
    first, last = dates
    if last < first:
        raise ValueError(f"the dates end ({last}) before they begin ({first})")
    return dates


Dates = Annotated[tuple[date, date], AfterValidator(_in_order)]
"""First and last day, both included."""


SECRET = "secret_in_address"
"""Type of the error of an address with a secret; its value is not shown."""

_NAMED = re.compile(r"(?i)[?&][^=&]*(key|token|secret|password|signature|credential|sig)=")


def _without_secret(address: str) -> str:
    if "@" in urlsplit(address).netloc or _NAMED.search(address):
        raise PydanticCustomError(
            SECRET,
            "the address holds a password, key or token, which would reach logs and provenance; "
            "keep it in the environment variable of the provider, or in a netrc file",
        )
    return address


Public = AfterValidator(_without_secret)
"""Of a text that is an address or a part of one: no user, and no parameter that is secret by its name."""

Url = Annotated[str, StringConstraints(pattern=r"^https?://"), Public]
"""Address without secrets."""


class Patience(Section):
    """How a service is asked: how often, for how long, and by whom."""

    rate: float = Field(5.0, gt=0, description="Most requests per second to one host.")
    timeout: float = Field(
        60.0, gt=0, description="Seconds without a byte before a request counts as failed."
    )
    attempts: int = Field(6, ge=1, description="How often a request is tried.")
    contact: str | None = Field(
        None,
        min_length=5,
        pattern=r"^[\x21-\x7e]+$",
        description="Mail address or web page of yours, named to the service with every request.",
    )


class Service(Patience):
    """Where a service is and how it is asked. Keys never stand here, but in the environment or a netrc file."""

    url: Url = Field(description="Root of the service's addresses.")
    workers: int = Field(4, ge=1, le=32, description="Downloads at the same time.")
