"""The predecessor's study: which experiment plays which of its parts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from geolatents.settings.base import Name, Section

RUNS = (
    (True, True, True),
    (True, True, False),
    (True, False, True),
    (True, False, False),
    (False, True, True),
    (False, True, False),
    (False, False, True),
    (False, False, False),
)
"""Pruned, weighted, randomized of the predecessor's runs 1 to 8."""

PLAIN_RUN = 7
"""Run whose model the experiment `threshold` measures anew: all labels, no weights, random batches."""


class PlanetScopeParts(Section):
    """Experiments on PlanetScope-like tiles; tables 2 to 7 and figures 16 to 22."""

    first_run: Name | None = Field(
        None, description="First run: all labels, in order, no weights (table 2)."
    )
    runs: Annotated[list[Name | None], Field(min_length=8, max_length=8)] = Field(
        [None] * 8,
        description="The eight runs of pruned x weighted x randomized (tables 3, 4), in this order: "
        "PWR, PW, PR, P, WR, W, R, none; null: not run.",
    )
    combined: Name | None = Field(None, description="Combined labels (tables 5 to 7, figure 20).")
    threshold: Name | None = Field(
        None, description="Another threshold on the model of run 7 (tables 5 to 7, figure 21)."
    )
    focal: Name | None = Field(None, description="Focal loss (tables 5 to 7, figure 22).")
    improved: Name | None = Field(
        None, description="Ours on the combined labels, beside the predecessor's method."
    )


class OrthophotoParts(Section):
    """Experiments on orthophoto-like tiles; tables 8 to 11, figures 23 and 24."""

    standard: Name | None = Field(None, description="All labels (tables 8, 9).")
    threshold: Name | None = Field(
        None, description="Another threshold on the same model (tables 8, 9)."
    )
    combined: Name | None = Field(
        None, description="Combined labels (tables 8 to 11, figures 23, 24)."
    )
    coarse_standard: Name | None = Field(
        None, description="All labels on orthophotos of lower resolution, its future work."
    )
    coarse_combined: Name | None = Field(
        None, description="Combined labels on orthophotos of lower resolution."
    )


class Study(Section):
    """The predecessor's study, repeated: its tables and figures with ours beside them."""

    planetscope: PlanetScopeParts = Field(
        PlanetScopeParts(), description="Experiments on PlanetScope-like tiles."
    )
    orthophotos: OrthophotoParts = Field(
        OrthophotoParts(), description="Experiments on orthophoto-like tiles."
    )
    celeba: Name | None = Field(None, description="The check on faces.")

    def parts(self) -> Iterator[tuple[str, str]]:
        """Part and experiment of all that is run, such as ``planetscope.run_1``."""
        for number, run in enumerate(self.planetscope.runs, 1):
            if run is not None:
                yield f"planetscope.run_{number}", run
        for name, section in (("planetscope", self.planetscope), ("orthophotos", self.orthophotos)):
            for field in type(section).model_fields:
                value = getattr(section, field)
                if isinstance(value, str):
                    yield f"{name}.{field}", value
        if self.celeba is not None:
            yield "celeba", self.celeba
