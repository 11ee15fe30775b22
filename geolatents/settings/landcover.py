"""Where a dataset's land cover comes from."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from geolatents.settings.base import NO_SECTION, Section
from geolatents.settings.corine import CorineProduct, CorineService


class LandCover(Section):
    """A land-cover layer in any of the forms that users have."""

    source: Literal["synthetic", "corine", "vector", "raster", "boxes", "sheets"] = Field(
        description="`synthetic`: the demo country's own; `corine`: CORINE Land Cover of the scenes' area, downloaded; `vector`: gpkg, shp, gdb, geojson or geoparquet; "
        "`raster`: level-3 codes or grid codes; `boxes`: a CSV of left, top, right, bottom, class; "
        "`sheets`: PNG label sheets beside PNG orthophotos."
    )
    path: str | None = Field(None, description="File or glob pattern, relative to the data folder.")
    product: CorineProduct = Field(CorineProduct(), description="`corine`: which one.")
    service: CorineService = Field(
        CorineService(),
        description="`corine`: where the service is, and how patiently it is asked.",
    )
    layer: str | None = Field(
        None, description="Layer of a vector file; default: the one that has a code field."
    )
    code_field: str | None = Field(
        None,
        description="Field of the class code; default: the field named like `CODE_18`, `Code_18`, `code_12`.",
    )
    crs: str | None = Field(
        None, description="CRS of `boxes` and `sheets`, or of a file that carries none."
    )
    values: Literal["auto", "code", "grid_code", "position"] = Field(
        "auto",
        description="What raster values, sheet values or box classes are: level-3 codes, official grid codes 1..44, "
        "or 1-based positions in `classes`; `auto` decides between the first two by what occurs.",
    )
    classes: list[str] | None = Field(
        None, description="Codes that values 1..N stand for, with `values: position`."
    )
    unknown: Literal["error", "nodata"] = Field(
        "error", description="What to do with codes that are not in the nomenclature."
    )
    repair: bool = Field(
        False, description="Repair invalid polygons (and say how many) instead of stopping."
    )
    year: int | None = Field(
        2018,
        description="Reference year, compared with the images' year; `corine`: that of `product` is.",
    )
    minimum_unit_ha: float = Field(
        25.0,
        ge=0,
        description="Smallest mapped unit in hectares (CORINE: 25); smaller tiles get a warning.",
    )

    @model_validator(mode="after")
    def _complete(self) -> LandCover:
        made = self.source in {"synthetic", "corine"}
        if not made and not self.path:
            raise ValueError(f"`path` is needed for source {self.source!r}")
        if self.source == "corine" and self.path:
            raise ValueError("`source: corine` is downloaded; for a file of yours, see `vector`")
        if self.values == "position" and not self.classes:
            raise ValueError("`classes` is needed for `values: position`")
        return self

    @property
    def reference_year(self) -> int | None:
        """Year of the land that the layer shows."""
        return self.product.year if self.source == "corine" else self.year


def parse_landcover(text: str) -> LandCover | None:
    """A land-cover section from its canonical JSON; None where a dataset has none."""
    return None if text == NO_SECTION else LandCover.parse(text)
