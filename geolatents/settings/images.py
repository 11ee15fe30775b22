"""Image folders and archives without position."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from geolatents.settings.base import Section


class ImageFolder(Section):
    """A folder or zip archive of images without position: packed as they are, one tile per image."""

    provider: Literal["images"]
    images: str = Field(description="Folder or zip archive, relative to the data folder.")
    table: str | None = Field(
        None,
        description="Label table, relative to the data folder; `legacy`: file of class codes, one per line, "
        "default `labels.txt` beside the images; not needed for `bigearthnet`.",
    )
    layout: Literal["table", "bigearthnet", "legacy"] = Field(
        "table",
        description="`table`: images named in a multi-label text table (first column the image, one 0/1 column per label); "
        "`bigearthnet`: one folder per patch with band GeoTIFFs and a JSON; "
        "`legacy`: the predecessor's `0.npy, labels0.npy, 1.npy, ...`, images kept in their own size.",
    )
    labels_key: str = Field(
        "labels_19",
        description="`bigearthnet`: key of the label list in the JSON, `labels_19`, `labels_43` or `labels`.",
    )
    bands: list[str] | None = Field(
        None,
        description="Bands to pack, in this order; default: all. `legacy`: names of all bands in file order.",
    )
    size: int = Field(
        64,
        ge=8,
        description="Images are resampled (area averaging) to this many pixels squared; not used by `legacy`.",
    )
    groups: Literal["none", "folder"] = Field(
        "none",
        description="`folder`: the image's folder is its group (scene class), for `grouped` splits.",
    )
    licence: str = Field("unknown", description="Licence of the images, kept in every record.")

    @model_validator(mode="after")
    def _groups_exist(self) -> ImageFolder:
        if self.layout == "legacy" and self.groups != "none":
            raise ValueError(
                "`layout: legacy` has no folders that could be groups; remove `groups`"
            )
        return self
