"""Where a dataset's images come from: one of the providers."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from geolatents.settings.dls_orthophotos import DlsOrthophotosImagery
from geolatents.settings.files import FilesImagery
from geolatents.settings.images import ImageFolder
from geolatents.settings.planetscope import PlanetScopeImagery
from geolatents.settings.sentinel2 import Sentinel2Imagery
from geolatents.settings.synthetic import SyntheticImagery

DOWNLOADED = (PlanetScopeImagery, DlsOrthophotosImagery, Sentinel2Imagery)
"""Imagery whose scenes a search finds and a download brings."""

Imagery = Annotated[
    SyntheticImagery
    | FilesImagery
    | ImageFolder
    | PlanetScopeImagery
    | DlsOrthophotosImagery
    | Sentinel2Imagery,
    Field(discriminator="provider"),
]
