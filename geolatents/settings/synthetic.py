"""The demo country."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from geolatents.settings.base import Section


class SyntheticImagery(Section):
    """The demo country: a seeded procedural landscape, a test fixture and never evidence."""

    provider: Literal["synthetic"]
    region: Literal["A", "B"] = Field(description="Which region; their label relations differ.")
    scenes: int = Field(3, ge=1, le=26, description="Number of overlapping scenes.")
    scene_size: int = Field(
        1920,
        ge=256,
        description="Width and height of a scene in pixels of 3 m, before its no-data wedge.",
    )
    seed: int = Field(
        2018, ge=0, description="Seed of the landscape; another seed is another country."
    )
