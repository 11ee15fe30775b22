"""A dataset: imagery, land cover, tiles, label sets, splits and batch orders."""

from __future__ import annotations

from pydantic import Field, model_validator

from geolatents.settings.base import Name, Section
from geolatents.settings.batches import BatchOrder
from geolatents.settings.imagery import Imagery
from geolatents.settings.labels import LabelSet, StandardLabels
from geolatents.settings.landcover import LandCover
from geolatents.settings.splits import Split
from geolatents.settings.tiles import TileSettings


class Dataset(Section):
    """One dataset; everything of it lies below `results/{name}/`."""

    imagery: Imagery = Field(description="Where the images come from.")
    landcover: LandCover | None = Field(
        None,
        description="Land cover; none for image folders, which bring their own labels, and for scenes that are only cut, or that a model is applied to (`labels: {}`).",
    )
    tiles: TileSettings = Field(TileSettings(), description="Tile grid; not used by image folders.")
    labels: dict[Name, LabelSet] = Field(
        {"standard": StandardLabels(kind="standard")}, description="Label sets by name."
    )
    splits: dict[Name, Split] = Field({}, description="Splits by name.")
    batches: dict[Name, BatchOrder] = Field({}, description="Batch orders by name.")

    @model_validator(mode="after")
    def _consistent(self) -> Dataset:
        packed = self.imagery.provider == "images"
        if packed and self.landcover is not None:
            raise ValueError("image folders bring their own labels; remove `landcover`")
        drawn = self.imagery.provider == "synthetic"
        if self.landcover is not None and drawn != (self.landcover.source == "synthetic"):
            raise ValueError(
                "`source: synthetic` is the land cover of `provider: synthetic`, and of no other imagery"
            )
        if not self.has_cover and self.labels:
            raise ValueError(
                "labels of images need a label table, `imagery.table`; for images without labels, set `labels: {}`"
                if packed
                else "labels of scenes need a `landcover`; to cut tiles only, set `labels: {}`"
            )
        if packed and any(split.kind == "spatial" for split in self.splits.values()):
            raise ValueError(
                "images without position cannot be split by `spatial` blocks; use `listed`, `grouped` or `random`"
            )
        for name, order in self.batches.items():
            if order.split not in self.splits:
                raise ValueError(
                    f"batches {name!r} name the split {order.split!r}, which is not among {sorted(self.splits)}"
                )
        return self

    @property
    def has_cover(self) -> bool:
        """Whether tiles have labels: those of an image folder, or of scenes with land cover."""
        if self.imagery.provider == "images":
            return self.imagery.labelled
        return self.landcover is not None
