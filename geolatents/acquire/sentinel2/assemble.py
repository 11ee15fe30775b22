"""From windows of Sentinel-2 bands to one GeoTIFF: reflectance, and the scene classification as last band."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from affine import Affine
from rasterio.enums import Resampling
from rasterio.windows import Window

from geolatents.acquire.assembled import scene_profile, scene_tags, strips
from geolatents.acquire.decoding import DECODE_ERRORS, undecodable
from geolatents.acquire.reader import Dataset, gdal_options, open_image
from geolatents.acquire.scene_list import SceneItem
from geolatents.acquire.sentinel2.catalogue import SCL
from geolatents.acquire.sentinel2.offset import decide_offset
from geolatents.files import atomic_path
from geolatents.logs import LOG
from geolatents.settings.sentinel2 import UNCLASSIFIED, Sentinel2Product

Pixels = npt.NDArray[Any]


def assemble(
    item: SceneItem, files: Mapping[str, Path], product: Sentinel2Product, output: Path
) -> None:
    """Write the bands and the scene classification on one grid as one GeoTIFF.

    Reflectance is value / 10000, whatever the processing baseline. What the offset makes of dark pixels is
    cut at 1, since 0 is no data.

    Args:
        item: The scene.
        files: As :func:`geolatents.acquire.sentinel2.provider.download` gives them.
        product: What was fetched.
        output: GeoTIFF, uint16, with the bands by name and last ``SCL``.

    Raises:
        SceneError: A file is damaged, or nothing says whether the values have an offset.
    """
    decision = decide_offset(item, files, product.offset)
    say = LOG.warning if decision.contradicts else LOG.info
    say("%s: %d is added to its values: %s", item.scene, decision.offset, decision.reason)
    with ExitStack() as stack:
        stack.enter_context(gdal_options())
        sources = {name: stack.enter_context(open_image(file)) for name, file in files.items()}
        part = stack.enter_context(atomic_path(output))
        target = stack.enter_context(rasterio.open(part, "w", **_profile(item, product)))
        target.descriptions = (*product.bands, "SCL")
        offset, reason = str(decision.offset), decision.reason
        target.update_tags(**scene_tags(item, OFFSET=offset, OFFSET_REASON=reason))
        for window in strips(target.width, target.height):
            target.write(_strip(sources, product, decision.offset, window), window=window)


def _profile(item: SceneItem, product: Sentinel2Product) -> dict[str, Any]:
    left, bottom, right, top = item.properties["extent"]
    size = product.resolution
    return scene_profile(
        width=round((right - left) / size),
        height=round((top - bottom) / size),
        count=len(product.bands) + 1,
        dtype="uint16",
        crs=item.properties["crs"],
        transform=Affine(size, 0, left, 0, -size, top),
        nodata=0,
    )


def _strip(
    sources: Mapping[str, Dataset], product: Sentinel2Product, offset: int, window: Window
) -> Pixels:
    """Rows of all bands and the classification, (band, y, x) uint16."""
    strip = np.zeros((len(product.bands) + 1, window.height, window.width), dtype=np.uint16)
    for pixels, name in zip(strip, product.bands, strict=False):
        values = _resampled(sources[name], product.resolution, window).astype(np.int32)
        limits = np.iinfo(np.uint16)
        pixels[:] = np.where(values == 0, 0, np.clip(values + offset, 1, limits.max))
    if SCL in sources:
        strip[-1] = _resampled(sources[SCL], product.resolution, window, classes=True)
    else:
        strip[-1] = np.where((strip[:-1] > 0).all(axis=0), UNCLASSIFIED, 0)
    return strip


def _resampled(source: Dataset, size: float, window: Window, classes: bool = False) -> Pixels:
    """A window of the output read from a band of another resolution; GDAL looks beyond it where it must."""
    own = source.res[0]
    scale = size / own
    there = Window(0, window.row_off * scale, source.width, window.height * scale)
    if own > size:
        how = Resampling.nearest if classes else Resampling.bilinear
    else:
        how = Resampling.mode if classes else Resampling.average
    try:
        return np.asarray(
            source.read(1, window=there, out_shape=(window.height, window.width), resampling=how)
        )
    except DECODE_ERRORS as error:
        raise undecodable(source.name, error) from None
