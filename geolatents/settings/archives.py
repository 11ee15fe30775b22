"""Archives of datasets: their names, how each is read, and how they are asked for.

Where their files come from, with checksums, licences and citations, stands in ``data/archives.yaml``.
Apart from it, so that a new mirror changes nothing that was built from an archive.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from pydantic import Field

from geolatents.settings.services import Patience, Url

ArchiveName = Literal[
    "eurosat_rgb",
    "eurosat_rgb_2018",
    "eurosat_ms",
    "eurosat_ms_2018",
    "ucmerced",
    "ucmerced_multilabel",
    "bigearthnet_v1",
    "bigearthnet_v2",
    "bigearthnet_v2_parts",
    "cifar10",
    "dfc2019",
    "terrassa",
    "paris",
    "celeba",
]
"""Archives of the registry."""

Layout = Literal[
    "table",
    "plain",
    "bigearthnet",
    "legacy",
    "folders",
    "annotated",
    "cifar10",
    "celeba",
    "dfc2019",
]
"""Ways in which images and labels lie in an archive or folder."""

ARCHIVES = "archives"
"""Folder of archives below the downloads folder."""

PARTITION = "list_eval_partition.txt"
"""File beside CelebA's table that gives the official parts."""

UNPACKED = "unpacked"
"""Folder beside a tar archive that holds what was in it; a tar archive gives no random access."""


class ArchiveService(Patience):
    """How dataset archives are asked for; their published addresses stand in the registry."""

    mirror: Url | None = Field(
        None,
        description="Address of a copy that is asked first, as `{mirror}/{file name}`; the published addresses follow.",
    )
    endpoints: dict[Url, Url] = Field(
        {},
        description="Other addresses for published ones, by how they begin, such as "
        "`{'https://zenodo.org': 'https://mirror.example.org/zenodo'}`.",
    )
    rate: float = Field(
        1.0, gt=0, description="Most requests per second to one host; Zenodo's limit for guests."
    )


@dataclass(frozen=True)
class ArchiveLayout:
    """How an archive is read.

    Attributes:
        layout: Layout of images and labels.
        folder: Folder of its files below the folder of archives.
        images: File or folder of the images in it, ``"."`` for the folder itself.
        table: Table of labels beside it.
        tars: Tar archives to unpack first; one that comes in parts is a tuple of several.
    """

    layout: Layout
    folder: str
    images: str
    table: str | None = None
    tars: tuple[tuple[str, ...], ...] = ()


ARCHIVE_LAYOUTS: Mapping[str, ArchiveLayout] = MappingProxyType(
    {
        "eurosat_rgb": ArchiveLayout("folders", "eurosat", "EuroSAT_RGB.zip"),
        "eurosat_rgb_2018": ArchiveLayout("folders", "eurosat", "EuroSAT.zip"),
        "eurosat_ms": ArchiveLayout("folders", "eurosat", "EuroSAT_MS.zip"),
        "eurosat_ms_2018": ArchiveLayout("folders", "eurosat", "EuroSATallBands.zip"),
        "ucmerced": ArchiveLayout("folders", "ucmerced", "UCMerced_LandUse.zip"),
        "ucmerced_multilabel": ArchiveLayout(
            "table", "ucmerced", "UCMerced_LandUse.zip", "LandUse_Multilabeled.txt"
        ),
        "bigearthnet_v1": ArchiveLayout(
            "bigearthnet",
            "bigearthnet_v1",
            UNPACKED,
            tars=(("BigEarthNet-S2-v1.0.tar.gz",),),
        ),
        "bigearthnet_v2": ArchiveLayout(
            "bigearthnet",
            "bigearthnet_v2",
            UNPACKED,
            "metadata.parquet",
            tars=(("BigEarthNet-S2.tar.zst",), ("Reference_Maps.tar.zst",)),
        ),
        "bigearthnet_v2_parts": ArchiveLayout(
            "bigearthnet",
            "bigearthnet_v2",
            UNPACKED,
            "metadata.parquet",
            tars=(
                ("BigEarthNet-S2.tar.gzaa", "BigEarthNet-S2.tar.gzab"),
                ("Reference_Maps.tar.gzaa",),
            ),
        ),
        "cifar10": ArchiveLayout(
            "cifar10", "cifar10", UNPACKED, tars=(("cifar-10-python.tar.gz",),)
        ),
        "dfc2019": ArchiveLayout("dfc2019", "dfc2019", "."),
        "terrassa": ArchiveLayout("annotated", "terrassa", "TerrassaBuildings900.zip"),
        "paris": ArchiveLayout(
            "folders", "paris", UNPACKED, tars=(("paris_1.tgz",), ("paris_2.tgz",))
        ),
        "celeba": ArchiveLayout(
            "celeba", "celeba", "img_align_celeba.zip", "list_attr_celeba.txt"
        ),
    }
)  # fmt: skip
"""How each archive is read."""
