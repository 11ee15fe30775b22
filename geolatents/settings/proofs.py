"""Proofs: experiments that belong together, and what they must show, stated before they run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from geolatents.settings.base import Name, Section

Measure = Literal[
    "shifted_land", "applied_gain", "partial_r", "mantel_r", "macro_ap", "label_scores",
    "like_labels", "graded_labels", "composition", "graded_composition", "scene_one_label",
    "scene_all_labels", "cover_gain", "cover_gain_all_scores", "effective_rank",
]  # fmt: skip
"""What an endpoint measures, see docs/proof.md."""


class Endpoint(Section):
    """One figure that a proof is judged by."""

    measure: Measure = Field(description="What is measured, see docs/proof.md.")
    scorer: Literal["siamese", "classifier"] = Field(
        "siamese",
        description="Whose scores: of `shifted_land`, `applied_gain`, `partial_r`, `mantel_r` and `macro_ap`.",
    )
    applied_to: Name | None = Field(
        None, description="`applied_gain`: the dataset that the model was applied to."
    )
    bar: float | None = Field(
        None,
        description="Least value; of the primary endpoint in every run, of secondary ones in the mean.",
    )
    share_bar: float | None = Field(
        None,
        ge=0,
        le=1,
        description="`shifted_land`: least share of draws in which the model is better, in every run.",
    )

    @model_validator(mode="after")
    def _fits(self) -> Endpoint:
        if (self.measure == "applied_gain") != (self.applied_to is not None):
            raise ValueError("`applied_to` belongs to `applied_gain`, which needs it")
        if self.share_bar is not None and self.measure != "shifted_land":
            raise ValueError("`share_bar` belongs to `shifted_land`")
        return self


class Proof(Section):
    """Experiments with one question; several are splits of the same tiles, each with its seeds."""

    title: str = Field(description="What is asked, in one line.")
    experiments: list[Name] = Field(
        min_length=1, description="Experiments with a Siamese network, one per split."
    )
    primary: Endpoint = Field(description="The one endpoint that decides.")
    secondary: list[Endpoint] = Field(
        [], description="The others; their p values are corrected for their number (Holm)."
    )
    level: Annotated[float, Field(gt=0, lt=1)] = Field(0.05, description="Level of the tests.")

    @property
    def endpoints(self) -> list[Endpoint]:
        """The primary endpoint and the others."""
        return [self.primary, *self.secondary]
