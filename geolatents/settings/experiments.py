"""Experiments: a named model plus what does not affect weights."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from geolatents.settings.base import Name, Section


class Agreement(Section):
    """How label matrices are compared."""

    target: Literal["train", "test", "all"] = Field(
        "test", description="Part whose co-occurrence (phi) is the target."
    )
    min_positives: int = Field(
        5,
        ge=1,
        description="Labels with fewer positives or negatives in a part are left out, and named.",
    )
    permutations: int = Field(
        2000, ge=99, description="Permutations of the Mantel test; exact below 8 labels."
    )
    folds: int = Field(
        200,
        ge=0,
        description="Most folds of the jackknife over blocks that gives intervals; 0: none.",
    )
    noise_features: int = Field(512, ge=1, description="Random features of the noise baseline.")


class Experiment(Section):
    """What is measured and drawn of a model."""

    classifier: Name = Field(description="Model name of the classifier.")
    siamese: Name | None = Field(
        None, description="Model name of a Siamese network on that classifier."
    )
    threshold: Annotated[float, Field(ge=0, le=1)] | Literal["tuned"] = Field(
        0.5, description="Decision threshold, or `tuned` per label on validation (best F1)."
    )
    apply_to: list[Name] = Field(
        [], description="Other datasets to which the classifier is applied whole."
    )
    agreement: Agreement = Field(Agreement(), description="Comparison of label matrices.")
    map_scene: Name | None = Field(
        None, description="Scene of the dataset to map the predicted classes of, as COG."
    )
    published: dict[str, float] = Field(
        {}, description="Figures published elsewhere for the same data, shown beside ours."
    )
