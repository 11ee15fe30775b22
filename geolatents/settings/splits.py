"""Splits into train, validation and test; made once per dataset and frozen."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, model_validator

from geolatents.settings.base import Section, section_values


class _Shares(Section):
    validation: float = Field(
        0.15, gt=0, lt=1, description="Share of validation (of blocks, groups or tiles)."
    )
    test: float = Field(0.25, gt=0, lt=1, description="Share of test (of blocks, groups or tiles).")
    seed: int = Field(0, ge=0, description="Seed of the assignment.")

    @model_validator(mode="after")
    def _leaves_training(self) -> _Shares:
        if self.validation + self.test >= 1:
            raise ValueError("`validation` and `test` leave nothing for training")
        return self


class SpatialSplit(_Shares):
    """Blocks on one grid in one CRS across all scenes; a block's part is a hash of its position."""

    kind: Literal["spatial"]
    block: float = Field(gt=0, description="Side of a block in metres.")
    buffer: float | None = Field(
        None,
        ge=0,
        description="Distance in metres that keeps parts apart; default and minimum: the tile diagonal.",
    )
    crs: str | None = Field(
        None, description="CRS of the block grid; default: that of the first scene."
    )


class GroupedSplit(_Shares):
    """Whole groups (scene, folder) go to one part."""

    kind: Literal["grouped"]
    by: Literal["scene", "group"] = Field(
        "group",
        description="What a group is; groups named `train`, `validation` and `test` (`groups: part`) keep their part.",
    )


class ListedSplit(Section):
    """Parts come from a file."""

    kind: Literal["listed"]
    file: str = Field(description="CSV with one row per tile, relative to the data folder.")
    id_column: str = Field("image", description="Column of the tile id.")
    part_column: str = Field(
        "part", description="Column of the part: train, validation (or val) or test."
    )


class RandomSplit(_Shares):
    """Tiles at random; neighbours leak between parts, so for tiles of scenes this is for comparison only."""

    kind: Literal["random"]
    stratify: Literal["group"] | None = Field(
        None,
        description="`group`: exact shares within each group (folder), such as a scene class; default: a part by chance for each tile.",
    )


Split = Annotated[
    SpatialSplit | GroupedSplit | ListedSplit | RandomSplit, Field(discriminator="kind")
]


def parse_split(text: str) -> Split:
    """A split of any kind from its canonical JSON."""
    adapter: TypeAdapter[Split] = TypeAdapter(Split)
    return adapter.validate_python(section_values(text))
