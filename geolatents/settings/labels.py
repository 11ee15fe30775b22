"""Label sets: how presence is derived from cover."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from geolatents.settings.base import Section, section_values


class _Presence(Section):
    min_cover: float = Field(
        0.01,
        ge=0,
        le=1,
        description="A class is present in a tile if it covers at least this share of it (0: any cover at all).",
    )
    min_labels: int = Field(
        0,
        ge=0,
        description="Tiles in which fewer classes of the nomenclature are present are left out; counted before pruning or combining.",
    )


class StandardLabels(_Presence):
    """All classes that occur."""

    kind: Literal["standard"]


class PrunedLabels(_Presence):
    """Only classes that occur often enough."""

    kind: Literal["pruned"]
    min_count: int = Field(100, ge=1, description="Smallest number of tiles of a class.")


class CombinedLabels(_Presence):
    """Groups of classes; a group is present if its members together cover enough."""

    kind: Literal["combined"]
    mapping: str = Field(
        description="CSV of `code,group` relative to the data folder or the checkout, or one that we ship: "
        "`thesis-planetscope-7`, `thesis-orthophoto-5`, `corine-level1`, `corine-level2`, `bigearthnet-19`."
    )


LabelSet = Annotated[StandardLabels | PrunedLabels | CombinedLabels, Field(discriminator="kind")]


def parse_label_set(text: str) -> LabelSet:
    """A label set of any kind from its canonical JSON."""
    adapter: TypeAdapter[LabelSet] = TypeAdapter(LabelSet)
    return adapter.validate_python(section_values(text))
