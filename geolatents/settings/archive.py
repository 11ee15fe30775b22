"""What an archive of the run holds, and what it says of itself."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from geolatents.settings.base import Section


class ArchiveSettings(Section):
    """The archive of a finished run (`snakemake archive`)."""

    images: Literal["open", "all", "none"] = Field(
        "open",
        description="Pixels in the archive (tile stores, scenes made by the workflow, arrays in the predecessor's layout): those whose records state an open licence, all, or none. What is left out is named by its content hash. Photos and maps are never in it.",
    )
    title: str | None = Field(
        None, description="Title of the archive; default: the datasets' names."
    )
    licence: str | None = Field(
        None,
        description="SPDX name or address of the licence of the results; default: that of `CITATION.cff`.",
    )
    authors: list[str] = Field(
        [], description="Names of those who made the run; default: the authors in `CITATION.cff`."
    )
