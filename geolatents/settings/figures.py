"""Figures: how matrices are drawn. Nothing here changes a number, so a change draws anew and measures nothing."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from geolatents.settings.base import Section


class Figures(Section):
    """How figures are drawn; a change draws them and the report anew, and nothing else."""

    dpi: int = Field(140, ge=50, le=600, description="Resolution in dots per inch; 300 for print.")
    colours: Literal["RdBu_r", "PuOr_r", "BrBG", "coolwarm"] = Field(
        "RdBu_r", description="Diverging colours (Matplotlib's names) of phi and correlations."
    )
    limit: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Colours reach from minus this to this, so that figures of several runs compare; default: as far as the true labels' relations do.",
    )
    order: Literal["official", "similar"] = Field(
        "official",
        description="Order of labels in matrices: by official code, or labels that occur together side by side.",
    )
