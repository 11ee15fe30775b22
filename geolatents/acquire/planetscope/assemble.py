"""From PlanetScope's files to one GeoTIFF: reflectance, and the clear band of the UDM2 as last band.

Source: Planet, "PlanetScope product specifications".
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.windows import Window

from geolatents.acquire.assembled import scene_profile, scene_tags, strips
from geolatents.acquire.decoding import DECODE_ERRORS, undecodable
from geolatents.acquire.planetscope.files import REFLECTANCE, UDM2
from geolatents.acquire.reader import Dataset, gdal_options, open_image
from geolatents.acquire.scene_list import SceneItem
from geolatents.errors import SceneError
from geolatents.files import atomic_path
from geolatents.settings.planetscope import PlanetScopeProduct

BANDS = {
    4: ("blue", "green", "red", "nir"),
    8: ("coastal_blue", "blue", "green_i", "green", "yellow", "red", "rededge", "nir"),
}
"""Bands of surface reflectance in file order."""

CLEAR = "clear"
CLEAR_INDEX = 1
"""Band of the UDM2 that is 1 where a pixel is clear."""

NODATA = 0


def assemble(
    item: SceneItem, files: Mapping[str, Path], product: PlanetScopeProduct, output: Path
) -> None:
    """Write reflectance and the clear band of the UDM2 as one GeoTIFF.

    Args:
        item: The scene.
        files: ``reflectance`` and ``udm2``, as :func:`geolatents.acquire.planetscope.provider.download` gives them.
        product: What was fetched.
        output: GeoTIFF, uint16: reflectance x 10000 (0 is no data), and last ``clear`` (1 is clear).

    Raises:
        SceneError: A file is damaged, has other bands or another type than Planet documents, or the UDM2
            is not on the grid of the image.
    """
    bands = BANDS[product.bands]
    with gdal_options(), open_image(files[REFLECTANCE]) as image, open_image(files[UDM2]) as udm2:
        _check_image(image, bands)
        _check_grid(udm2, image)
        with atomic_path(output) as part, rasterio.open(part, "w", **_profile(image)) as target:
            target.descriptions = (*bands, CLEAR)
            target.update_tags(**scene_tags(item))
            for window in strips(image.width, image.height):
                target.write(_strip(image, udm2, window), window=window)


def _check_image(image: Dataset, bands: tuple[str, ...]) -> None:
    types = sorted(set(image.dtypes))
    if image.count != len(bands) or types != ["uint16"]:
        raise SceneError(
            "a file is not the surface reflectance that was asked for",
            where=image.name,
            expected=f"{len(bands)} bands of uint16: {', '.join(bands)}",
            found=f"{image.count} bands of {', '.join(types)}",
            fix="delete it and download it again, or correct `product.bands`",
        )
    if image.nodata not in (None, NODATA):
        raise SceneError(
            "reflectance has another no-data value than Planet documents",
            where=image.name,
            expected=NODATA,
            found=image.nodata,
            fix="delete it and download it again",
        )


def _check_grid(udm2: Dataset, image: Dataset) -> None:
    if _grid(udm2) != _grid(image) or not udm2.transform.almost_equals(image.transform):
        raise SceneError(
            "the UDM2 is not on the grid of its image",
            where=udm2.name,
            expected=f"{_grid(image)} at {_corner(image)}, as {image.name}",
            found=f"{_grid(udm2)} at {_corner(udm2)}",
            fix="delete both files and download them again",
        )


def _grid(image: Dataset) -> str:
    return f"{image.width} x {image.height} pixels in {image.crs}"


def _corner(image: Dataset) -> str:
    return f"({image.transform.c:.2f}, {image.transform.f:.2f})"


def _profile(image: Dataset) -> dict[str, Any]:
    return scene_profile(
        width=image.width,
        height=image.height,
        count=image.count + 1,
        dtype="uint16",
        crs=image.crs,
        transform=image.transform,
        nodata=NODATA,
    )


def _strip(image: Dataset, udm2: Dataset, window: Window) -> npt.NDArray[np.uint16]:
    """Pixels ``(band, row, column)`` of full rows."""
    pixels = np.empty((image.count + 1, int(window.height), int(window.width)), np.uint16)
    _read(image, list(range(1, image.count + 1)), window, pixels[:-1])
    _read(udm2, [CLEAR_INDEX], window, pixels[-1:])
    return pixels


def _read(
    source: Dataset, indexes: list[int], window: Window, target: npt.NDArray[np.uint16]
) -> None:
    try:
        target[...] = source.read(indexes, window=window)
    except DECODE_ERRORS as error:
        raise undecodable(source.name, error) from None
