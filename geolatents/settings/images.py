"""Image folders and archives without position."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import Field, model_validator

from geolatents.settings.archives import (
    ARCHIVE_LAYOUTS,
    ArchiveName,
    ArchiveService,
    Layout,
)
from geolatents.settings.base import Section

WITH_PARTS = frozenset({"annotated", "bigearthnet", "celeba", "cifar10"})
"""Layouts that say which image is for training, validation or test."""

WITH_FOLDERS = frozenset({"table", "plain", "folders", "bigearthnet", "dfc2019"})
"""Layouts whose images belong to folders, acquisitions or places."""


class ImageFolder(Section):
    """A folder or archive of images without position: packed as they are, one tile per image."""

    provider: Literal["images"]
    archive: ArchiveName | None = Field(
        None,
        description="Archive of the registry to download; it says `layout`, and where images and table lie. "
        "A copy that is there already is named by `images` and needs no download.",
    )
    images: str = Field(
        "",
        description="Folder or zip archive, relative to the data folder; needed where no `archive` is named.",
    )
    table: str | None = Field(
        None,
        description="Label table, relative to the data folder; `legacy`: file of class codes, one per line, "
        "default `labels.txt` beside the images; `bigearthnet`: `metadata.parquet` of version 2; `celeba`: "
        "`list_attr_celeba.txt`. Default of an `archive`: its own table beside `images`.",
    )
    layout: Layout = Field(
        "table",
        description="`table`: images named in a multi-label text table (first column the image, one 0/1 column per label), "
        "or without `table` the same as `plain`; "
        "`plain`: images at any depth, RGB or GeoTIFFs that are alike, without labels (`labels: {}`); "
        "`folders`: one folder per class; "
        "`annotated`: an `annotation.txt` per part with image and class; "
        "`bigearthnet`: one folder per patch with band GeoTIFFs, labels in a JSON or in `metadata.parquet`; "
        "`cifar10`: pickled batches; `celeba`: attributes of faces; "
        "`dfc2019`: `*_RGB.tif` with the classes of each pixel in `*_CLS.tif`; "
        "`legacy`: the predecessor's `0.npy, labels0.npy, 1.npy, ...`, images kept in their own size. "
        "With `archive`: that of the archive.",
    )
    labels_key: str = Field(
        "labels_19",
        description="`bigearthnet`: the labels, `labels_19`, `labels_43`, or another key of the JSON; "
        "`reference_map`: share of each CORINE class in the reference maps of version 2.",
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
    groups: Literal["none", "folder", "part"] = Field(
        "none",
        description="`folder`: the image's folder is its group (scene class; acquisition in `bigearthnet`, place in "
        "`dfc2019`), for `grouped` splits; `part`: its official part, `train`, `validation` or `test`.",
    )
    corrupt: Literal["error", "skip"] = Field(
        "error",
        description="`folders` and `annotated`: what becomes of images that cannot be decoded; `skip` decodes all twice.",
    )
    licence: str = Field("unknown", description="Licence of the images, kept in every record.")
    service: ArchiveService = Field(
        ArchiveService(), description="How the files of `archive` are asked for."
    )

    def complete(self, leave_out: Iterable[str] = ()) -> str:
        """All values; the layout of an archive is its own, and is not stated beside it."""
        return super().complete([*leave_out, *(["layout"] if self.archive else [])])

    @property
    def reads(self) -> Layout:
        """The layout: that of the archive, where one is named; without its table `table` is `plain`."""
        if self.archive:
            return ARCHIVE_LAYOUTS[self.archive].layout
        return "plain" if self.layout == "table" and not self.table else self.layout

    @property
    def labelled(self) -> bool:
        """Whether the images come with labels."""
        return self.reads != "plain"

    @model_validator(mode="after")
    def _images_named(self) -> ImageFolder:
        if not self.archive and not self.images:
            raise ValueError("name the images in `images`, or an `archive` to download")
        if self.archive and "layout" in self.model_fields_set and self.layout != self.reads:
            raise ValueError(
                f"`archive: {self.archive}` has the layout {self.reads!r}; remove `layout`"
            )
        if self.archive and self.table and not self.images:
            raise ValueError("a `table` of your own needs `images` of your own beside `archive`")
        return self

    @model_validator(mode="after")
    def _groups_exist(self) -> ImageFolder:
        known = {"folder": WITH_FOLDERS, "part": WITH_PARTS}
        if self.groups != "none" and self.reads not in known[self.groups]:
            what = {"folder": "folders that could be groups", "part": "official parts"}
            raise ValueError(f"`layout: {self.reads}` has no {what[self.groups]}; remove `groups`")
        if self.corrupt == "skip" and self.reads not in {"folders", "annotated"}:
            raise ValueError("`corrupt: skip` is for `folders` and `annotated`; remove it")
        return self
