"""Sets of geotagged photos."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from geolatents.settings.base import Section
from geolatents.settings.commons_photos import CommonsPhotos
from geolatents.settings.vk_photos import VkPhotos
from geolatents.settings.yandex_static import YandexStatic


class PhotoSet(Section):
    """Geotagged photos of an area; everything of them lies below `results/{name}/`."""

    source: Annotated[VkPhotos | CommonsPhotos, Field(discriminator="provider")] = Field(
        description="Where the photos come from."
    )
    maps: YandexStatic | None = Field(
        None, description="Map or satellite image around each photo's position; none by default."
    )
