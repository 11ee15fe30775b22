"""What damaged image files raise, and the one error that they become."""

from __future__ import annotations

from pathlib import Path

from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError

from geolatents.errors import SceneError

DECODE_ERRORS = (RasterioError, CPLE_BaseError, OSError, SystemError)
"""What rasterio raises for damaged files: in places GDAL's own errors, or an unknown one."""


def undecodable(file: str | Path, error: BaseException) -> SceneError:
    """The error of an image that cannot be decoded."""
    cause = error.__cause__ or error
    return SceneError(
        "the image cannot be decoded",
        where=file,
        found="GDAL gives no reason" if isinstance(cause, SystemError) else cause,
        fix="the file is truncated or damaged; copy or download it again",
    )
