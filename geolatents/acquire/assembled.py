"""The GeoTIFF that a scene is assembled to: its profile, its tags, and the strips that it is written in."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from affine import Affine
from rasterio.windows import Window

from geolatents.acquire.record import ACQUIRED_TAG, LICENCE_TAG
from geolatents.acquire.scene_list import SceneItem

BLOCK = 512
"""Side of a block in pixels, and rows that are written at a time: each block is written once, in bounded memory."""


def scene_profile(
    *,
    width: int,
    height: int,
    count: int,
    dtype: str,
    crs: Any,
    transform: Affine,
    nodata: float | None = None,
    photometric: str = "MINISBLACK",
) -> dict[str, Any]:
    """Creation options of a GeoTIFF, the same bytes for the same pixels.

    Args:
        width: Pixels.
        height: Pixels.
        count: Number of bands; a mask among them is stored apart from the image, so that it packs well.
        dtype: Type of all bands.
        crs: As rasterio takes it.
        transform: From pixels to the CRS.
        nodata: Value of missing pixels, if there is one.
        photometric: ``RGB`` where bands are red, green and blue of a picture.
    """
    return {
        "driver": "GTiff", "width": width, "height": height, "count": count, "dtype": dtype,
        "crs": crs, "transform": transform, "nodata": nodata, "photometric": photometric,
        "tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, "interleave": "band",
        "compress": "deflate", "predictor": 2, "bigtiff": "IF_SAFER", "num_threads": 1,
    }  # fmt: skip


def scene_tags(item: SceneItem, **more: str) -> dict[str, str]:
    """Tags of an assembled scene: its licence, when it was taken to the second or the day, and others."""
    tags = {LICENCE_TAG: item.licence, **more}
    if item.acquired is not None:
        day_only = len(item.acquired) == len("2025-01-31")
        moment = datetime.fromisoformat(item.acquired)
        tags[ACQUIRED_TAG] = item.acquired if day_only else moment.isoformat(timespec="seconds")
    return tags


def strips(width: int, height: int) -> Iterator[Window]:
    """Windows of whole rows, as high as a block, from top to bottom."""
    for row in range(0, height, BLOCK):
        yield Window(0, row, width, min(BLOCK, height - row))
