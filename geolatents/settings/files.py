"""Georeferenced image files and their validity masks."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import Field, model_validator

from geolatents.settings.base import Section


class ValidityMask(Section):
    """Which pixels of a scene are usable, beyond its no-data value."""

    kind: Literal["udm", "udm2", "scl", "alpha", "values"] = Field(
        description="`udm`: PlanetScope unusable data mask (0 is usable); `udm2`: band 1 is clear; "
        "`scl`: Sentinel-2 scene classification; `alpha`: GDAL mask or alpha band; `values`: a list of usable values."
    )
    band: str | None = Field(
        None,
        description="Name of the band in the scene's own file that holds the mask, such as `SCL`.",
    )
    suffix: str | None = Field(
        None,
        description="Mask in a file of its own: what replaces the scene file's ending, such as `_DN_udm.tif` or `_udm2.tif`.",
    )
    usable: list[int] | None = Field(
        None, description="Usable values; default for `scl`: 2, 4, 5, 6, 7, 11."
    )

    @model_validator(mode="after")
    def _values_given(self) -> ValidityMask:
        if self.kind == "values" and not self.usable:
            raise ValueError("`usable` is needed for `kind: values`")
        return self


class ImageFiles(Section):
    """How georeferenced image files are read."""

    bands: list[str] | None = Field(
        None,
        description="Band names in file order, such as `[blue, green, red, nir]`; default: the file's own descriptions.",
    )
    use_bands: list[str] | None = Field(
        None, description="Bands to keep, in this order; default: all that are no mask."
    )
    crs: str | None = Field(
        None,
        description="CRS such as `EPSG:32636`, for files that carry none (PNG or JPEG with world file).",
    )
    nodata: float | None = Field(
        None,
        allow_inf_nan=False,
        description="No-data value, where the file does not state it; NaN always is no-data and needs no entry.",
    )
    mask: ValidityMask | None = Field(None, description="Validity mask.")
    metadata: Literal["none", "planetscope"] = Field(
        "none",
        description="`planetscope`: the `*_metadata.xml` beside the file gives acquisition time and the factors "
        "from radiance to top-of-atmosphere reflectance, which is stored as uint16 x 10000.",
    )
    acquired: date | None = Field(None, description="Acquisition date, where no metadata gives it.")
    licence: str = Field("unknown", description="Licence of the images, kept in every record.")


class FilesImagery(ImageFiles):
    """Georeferenced images on disk: GeoTIFF or COG, JPEG2000, PNG or JPEG with world file."""

    provider: Literal["files"]
    files: list[str] = Field(
        min_length=1,
        description="Paths or glob patterns, relative to the data folder; each file is one scene named by its stem.",
    )


class AssembledImagery(ImageFiles):
    """Scenes that the workflow assembled from downloads; their bands and dates stand in the files."""

    provider: Literal["planetscope", "dls_orthophotos", "sentinel2"]
