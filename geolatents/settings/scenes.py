"""Imagery as the check of a scene sees it: drawn, found or assembled."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, TypeAdapter

from geolatents.settings.base import section_values
from geolatents.settings.files import AssembledImagery, FilesImagery
from geolatents.settings.synthetic import SyntheticImagery

SceneImagery = SyntheticImagery | FilesImagery | AssembledImagery


def parse_scene_imagery(text: str) -> SceneImagery:
    """Imagery of scenes from its canonical JSON."""
    adapter: TypeAdapter[SceneImagery] = TypeAdapter(
        Annotated[SceneImagery, Field(discriminator="provider")]
    )
    return adapter.validate_python(section_values(text))
