"""The demo country."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from geolatents.settings.base import Section

DRAWN_PIXEL = 3
"""Metres: sizes of the drawn land are given in pixels of this side."""


class SyntheticImagery(Section):
    """The demo country: a seeded procedural landscape, a test fixture and never evidence."""

    provider: Literal["synthetic"]
    region: Literal["A", "B"] = Field(description="Which region; their label relations differ.")
    scenes: int = Field(3, ge=1, le=26, description="Number of overlapping scenes.")
    scene_size: int = Field(
        1920,
        ge=256,
        description="Width and height of a scene in pixels, before its no-data wedge.",
    )
    pixel: float = Field(
        3.0,
        ge=0.5,
        le=12,
        description="Ground size of a pixel in metres; textures have cells of 1.5 m, below which nothing is added.",
    )
    bands: list[Literal["blue", "green", "red", "nir"]] = Field(
        ["blue", "green", "red", "nir"],
        min_length=1,
        description="Bands of a scene, in this order.",
    )
    seed: int = Field(
        2018, ge=0, description="Seed of the landscape; another seed is another country."
    )

    @property
    def drawn_size(self) -> int:
        """Side of a scene in pixels of :data:`DRAWN_PIXEL` metres, of which map sheets are made."""
        return round(self.scene_size * self.pixel / DRAWN_PIXEL)

    @model_validator(mode="after")
    def _whole_ground(self) -> SyntheticImagery:
        if len(set(self.bands)) < len(self.bands):
            raise ValueError(f"`bands` names a band twice: {self.bands}")
        side = self.scene_size * self.pixel
        if abs(side / DRAWN_PIXEL - self.drawn_size) > 1e-6 or self.drawn_size < 256:
            raise ValueError(
                f"`scene_size` x `pixel` is {side:g} m; it must be a multiple of {DRAWN_PIXEL} m, "
                f"at least {256 * DRAWN_PIXEL} m"
            )
        return self
