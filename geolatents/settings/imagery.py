"""Where a dataset's images come from."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, model_validator

from geolatents.settings.base import Section, section_values


class SyntheticImagery(Section):
    """The demo country: a seeded procedural landscape, a test fixture and never evidence."""

    provider: Literal["synthetic"]
    region: Literal["A", "B"] = Field(description="Which region; their label relations differ.")
    scenes: int = Field(3, ge=1, le=26, description="Number of overlapping scenes.")
    scene_size: int = Field(
        1920,
        ge=256,
        description="Width and height of a scene in pixels of 3 m, before its no-data wedge.",
    )
    seed: int = Field(
        2018, ge=0, description="Seed of the landscape; another seed is another country."
    )


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


class FilesImagery(Section):
    """Georeferenced images on disk: GeoTIFF or COG, JPEG2000, PNG or JPEG with world file."""

    provider: Literal["files"]
    files: list[str] = Field(
        min_length=1,
        description="Paths or glob patterns, relative to the data folder; each file is one scene named by its stem.",
    )
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


Imagery = Annotated[SyntheticImagery | FilesImagery | ImageFolder, Field(discriminator="provider")]


def parse_imagery(text: str) -> Imagery:
    """A imagery section of any provider from its canonical JSON."""
    adapter: TypeAdapter[Imagery] = TypeAdapter(Imagery)
    return adapter.validate_python(section_values(text))
