"""Where a dataset's images come from: one of the providers."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, TypeAdapter

from geolatents.settings.base import section_values
from geolatents.settings.files import FilesImagery
from geolatents.settings.images import ImageFolder
from geolatents.settings.synthetic import SyntheticImagery

Imagery = Annotated[SyntheticImagery | FilesImagery | ImageFolder, Field(discriminator="provider")]


def parse_imagery(text: str) -> Imagery:
    """A imagery section of any provider from its canonical JSON."""
    adapter: TypeAdapter[Imagery] = TypeAdapter(Imagery)
    return adapter.validate_python(section_values(text))
