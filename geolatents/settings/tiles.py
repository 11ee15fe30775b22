"""How scenes are cut into tiles, and how exact their labels are."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from geolatents.settings.base import Section


class TileSettings(Section):
    """The tile grid, anchored in each scene's CRS."""

    size: int | float | tuple[float, float] = Field(
        64,
        description="Side of a tile, or [width, height], in `unit`; metres are rounded to whole pixels.",
    )
    unit: Literal["pixels", "metres"] = Field("pixels", description="Unit of `size` and `stride`.")
    stride: int | float | tuple[float, float] | None = Field(
        None, description="Step between tiles, in `unit`; default: the size (no overlap)."
    )
    resolution: float | None = Field(
        None,
        gt=0,
        description="Resample scenes to this ground size per pixel, in CRS units (metres); default: the scene's own.",
    )
    min_valid: float = Field(
        0.95, ge=0, le=1, description="Smallest share of usable pixels; tiles below are left out."
    )
    edges: Literal["drop", "pad"] = Field(
        "drop", description="Partial tiles at the scene's edge: dropped, or padded with no-data."
    )

    @model_validator(mode="after")
    def _positive(self) -> TileSettings:
        for name in ("size", "stride"):
            value = getattr(self, name)
            parts = value if isinstance(value, tuple) else (value,)
            if any(part is not None and part <= 0 for part in parts):
                raise ValueError(f"`{name}` must be positive, not {value}")
            if self.unit == "pixels" and any(part is not None and part % 1 for part in parts):
                raise ValueError(
                    f"`{name}` must be whole pixels, not {value}; for metres set `unit: metres`"
                )
        return self
