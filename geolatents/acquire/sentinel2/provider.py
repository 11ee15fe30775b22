"""Sentinel-2 L2A: scenes of a STAC catalogue, read by window and written as reflectance with their classification."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from affine import Affine
from rasterio.enums import Resampling
from rasterio.windows import Window

from geolatents.acquire.area import read_area
from geolatents.acquire.decoding import DECODE_ERRORS, undecodable
from geolatents.acquire.fetch.content import tiff_content
from geolatents.acquire.fetch.fetcher import Fetched, Fetcher, Item
from geolatents.acquire.fetch.http import Client, Pace
from geolatents.acquire.reader import Dataset, gdal_options, open_image
from geolatents.acquire.record import ACQUIRED_TAG, LICENCE_TAG
from geolatents.acquire.scene_list import SceneItem
from geolatents.acquire.sentinel2.catalogue import BANDS, found_features, scene_items
from geolatents.acquire.sentinel2.offset import Decision, decide_offset
from geolatents.acquire.sentinel2.read import Extent, Tokens, read_window
from geolatents.errors import FetchError
from geolatents.files import atomic_path, canonical_json
from geolatents.logs import LOG, progress
from geolatents.settings.sentinel2 import (
    UNCLASSIFIED,
    Sentinel2Imagery,
    Sentinel2Product,
    Sentinel2Service,
)

Pixels = npt.NDArray[Any]

SCL = "scl"
"""Role of the scene classification; the band is called `SCL`."""

BYTES_PER_PIXEL = {SCL: 0.1}
"""Of compressed blocks, for the preview; 1.5 of other bands."""

STRIP = 512
"""Rows that are written at a time, the height of a block."""


# ---- search


def search(imagery: Sentinel2Imagery, data: Path, downloads: Path) -> list[SceneItem]:
    """Scenes of an area, sorted by name.

    Args:
        imagery: Settings.
        data: Data folder, where an area file lies.
        downloads: Downloads folder, where the pace of requests is kept.

    Raises:
        ConfigError: The area cannot be read.
        FetchError: The catalogue does not answer as documented, or finds too many scenes.
    """
    area = read_area(imagery.search.area, data)
    client = _client(imagery.service, downloads)
    features = found_features(imagery.search, imagery.service, client, area)
    items = scene_items(features, imagery.search, imagery.service, area)
    for item in items:
        missing = _missing(item, imagery.product)
        if missing:
            LOG.warning("%s has no %s", item.scene, ", ".join(missing))
    return items


def _client(service: Sentinel2Service, downloads: Path) -> Client:
    return Client(
        "Sentinel-2",
        Pace(service.rate, downloads / ".pace"),
        timeout=service.timeout,
        attempts=service.attempts,
    )


# ---- download


def planned(item: SceneItem, product: Sentinel2Product, service: Sentinel2Service) -> list[Item]:
    """The files of a scene with estimated sizes; makes no request.

    Raises:
        FetchError: The scene lacks a band, or the classification that is asked for.
    """
    return list(_planned(item, product).values())


def download(
    item: SceneItem, product: Sentinel2Product, service: Sentinel2Service, downloads: Path
) -> dict[str, Path]:
    """Windows of a scene's bands as they came, by name; makes no request where they are there.

    Args:
        item: The scene.
        product: What is fetched.
        service: Where, and how patiently.
        downloads: Downloads folder.

    Returns:
        GeoTIFF of each band, and of ``scl`` where the scene has it.

    Raises:
        AccessError: The server refuses access.
        FetchError: The scene lacks a band, or its files are not what and where the catalogue says.
    """
    files = _planned(item, product)
    client = _client(service, downloads)
    fetcher = Fetcher(downloads, client, service.workers)
    tokens = None
    if item.properties["catalogue"] == "planetary_computer":
        tokens = Tokens(client, f"{service.token_url}/{item.properties['collection']}")

    def fetch(file: Item) -> Fetched:
        return fetcher.make(
            file,
            lambda part: read_window(
                file.url, _extent(item), item.properties["crs"], part, client, tokens
            ),
        )

    with ThreadPoolExecutor(service.workers) as pool:
        fetched = progress(
            pool.map(fetch, files.values()), total=len(files), what=item.scene, unit="band"
        )
        return {name: file.path for name, file in zip(files, fetched, strict=True)}


def _planned(item: SceneItem, product: Sentinel2Product) -> dict[str, Item]:
    missing = _missing(item, product)
    if set(missing) - {SCL} or (missing and product.without_scl == "error"):
        raise FetchError(
            "a scene lacks files that are asked for",
            where=item.scene,
            found=f"no {', '.join(missing)}",
            fix="delete it from the list of scenes, or ask for less in `product`"
            + (" (`without_scl: unmasked`)" if SCL in missing else ""),
        )
    wanted = [name for name in (*product.bands, SCL) if name not in missing]
    folder = f"sentinel2/{_key(item)}"
    return {name: _file(item, name, f"{folder}/{name}.tif") for name in wanted}


def _missing(item: SceneItem, product: Sentinel2Product) -> list[str]:
    return [name for name in (*product.bands, SCL) if name not in item.properties["files"]]


def _file(item: SceneItem, name: str, path: str) -> Item:
    left, bottom, right, top = _extent(item)
    pixels = (right - left) * (top - bottom) / BANDS[name][1] ** 2
    kept = ("id", "crs", "extent", "baseline", "offset_applied")
    return Item(
        path=path,
        url=item.properties["files"][name],
        estimate=int(pixels * BYTES_PER_PIXEL.get(name, 1.5)),
        content=tiff_content,
        licence=item.licence,
        facts={"band": name, **{key: item.properties[key] for key in kept}},
    )


def _key(item: SceneItem) -> str:
    """What determines the content of a scene's files.

    The catalogue's words on the offset are part of it: files were replaced in place when it was applied.
    """
    parts = ("catalogue", "collection", "id", "baseline", "offset_applied", "crs", "extent")
    text = canonical_json({part: item.properties[part] for part in parts})
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _extent(item: SceneItem) -> Extent:
    left, bottom, right, top = item.properties["extent"]
    return (left, bottom, right, top)


# ---- assemble


def assemble(
    item: SceneItem, files: Mapping[str, Path], product: Sentinel2Product, output: Path
) -> None:
    """Write the bands and the scene classification on one grid as one GeoTIFF.

    Reflectance is value / 10000, whatever the processing baseline. What the offset makes of dark pixels is
    cut at 1, since 0 is no data.

    Args:
        item: The scene.
        files: As :func:`download` gives them.
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
        target.update_tags(**_tags(item, decision))
        for row in range(0, target.height, STRIP):
            window = Window(0, row, target.width, min(STRIP, target.height - row))
            target.write(_strip(sources, product, decision.offset, window), window=window)


def _profile(item: SceneItem, product: Sentinel2Product) -> dict[str, Any]:
    left, bottom, right, top = _extent(item)
    size = product.resolution
    return {
        "driver": "GTiff", "count": len(product.bands) + 1, "dtype": "uint16", "nodata": 0,
        "width": round((right - left) / size), "height": round((top - bottom) / size),
        "crs": item.properties["crs"], "transform": Affine(size, 0, left, 0, -size, top),
        "tiled": True, "blockxsize": STRIP, "blockysize": STRIP, "bigtiff": "IF_SAFER",
        "compress": "deflate", "predictor": 2, "num_threads": 1, "photometric": "MINISBLACK",
    }  # fmt: skip


def _tags(item: SceneItem, decision: Decision) -> dict[str, str]:
    return {
        ACQUIRED_TAG: str(item.acquired)[:10],
        LICENCE_TAG: item.licence,
        "OFFSET": str(decision.offset),
        "OFFSET_REASON": decision.reason,
    }


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
