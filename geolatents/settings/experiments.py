"""Experiments: a named model plus what does not affect weights."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Annotated, Any, Literal

from pydantic import Field

from geolatents.settings.archives import ARCHIVE_LAYOUTS, Layout
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


class AppliedFolder(Section):
    """New images that models are applied to; all that is not said here is as in the models' own dataset."""

    images: str = Field(description="Folder or zip archive, relative to the data folder.")
    table: str | None = Field(
        None,
        description="Label table, relative to the data folder; without one, images of the layout `table` have no labels.",
    )
    layout: Layout | None = Field(
        None,
        description="How images and labels lie; default: as in the own dataset. `plain`: images without labels.",
    )
    groups: Literal["none", "folder", "part"] | None = Field(
        None, description="What a group is, for intervals; default: as in the own dataset."
    )
    licence: str = Field("unknown", description="Licence of the images, kept in every record.")
    name: Name | None = Field(
        None, description="Name of the dataset that they become; default: that of the folder."
    )

    def dataset_name(self) -> str:
        """The name of the dataset: its own, or made of the letters that a name may have."""
        path = PurePath(self.images)
        stem = path.stem if path.suffix.lower() == ".zip" else path.name
        return self.name or re.sub(r"[^A-Za-z0-9_.-]+", "-", stem).strip("-_.")

    def dataset(self, own: dict[str, Any]) -> dict[str, Any]:
        """The dataset that the images become.

        Args:
            own: Imagery of the dataset that the models were trained on, as the user wrote it.
        """
        archive = ARCHIVE_LAYOUTS.get(own.get("archive") or "")
        layout = self.layout or (archive.layout if archive else own.get("layout"))
        kept = {key: own[key] for key in ("size", "bands", "labels_key", "corrupt") if key in own}
        imagery = kept | {"provider": "images", "images": self.images, "licence": self.licence}
        if layout:
            imagery["layout"] = layout
        if self.table:
            imagery["table"] = self.table
        unlabelled = layout == "plain" or (layout in (None, "table") and not self.table)
        groups = self.groups or ("none" if unlabelled else own.get("groups"))
        if groups:
            imagery["groups"] = groups
        if unlabelled:
            imagery.pop("corrupt", None)
        return {"imagery": imagery, "labels": {}}


class Experiment(Section):
    """What is measured and drawn of a model."""

    classifier: Name = Field(description="Model name of the classifier.")
    siamese: Name | None = Field(
        None, description="Model name of a Siamese network on that classifier."
    )
    threshold: Annotated[float, Field(ge=0, le=1)] | Literal["tuned"] = Field(
        0.5, description="Decision threshold, or `tuned` per label on validation (best F1)."
    )
    apply_to: list[Name | AppliedFolder] = Field(
        [],
        description="What the models are applied to, whole: other datasets by name, with labels or without, or new images "
        "(`{images: folder or zip, table: label table}`), which become a dataset named after their folder.",
    )
    agreement: Agreement = Field(Agreement(), description="Comparison of label matrices.")
    map_scene: Name | None = Field(
        None, description="Scene of the dataset to map the predicted classes of, as COG."
    )
    published: dict[str, float] = Field(
        {}, description="Figures published elsewhere for the same data, shown beside ours."
    )

    @property
    def others(self) -> list[str]:
        """Names of the datasets that the models are applied to."""
        return [one if isinstance(one, str) else one.dataset_name() for one in self.apply_to]
