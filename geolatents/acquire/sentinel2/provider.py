"""Sentinel-2 L2A: scenes of a STAC catalogue, read by window and written as reflectance with their classification."""

from __future__ import annotations

from pathlib import Path

from geolatents.acquire.area import read_area
from geolatents.acquire.fetch.content import tiff_content
from geolatents.acquire.fetch.fetcher import Fetched, Fetcher, Item
from geolatents.acquire.fetch.http import Client
from geolatents.acquire.fetch.pool import in_pool
from geolatents.acquire.fetch.service import client_of
from geolatents.acquire.scene_list import SceneItem
from geolatents.acquire.sentinel2.assemble import assemble
from geolatents.acquire.sentinel2.catalogue import BANDS, SCL, found_features, scene_items
from geolatents.acquire.sentinel2.read import Extent, Tokens, read_window
from geolatents.errors import FetchError
from geolatents.files import content_key
from geolatents.logs import LOG
from geolatents.settings.sentinel2 import (
    Sentinel2Imagery,
    Sentinel2Product,
    Sentinel2Service,
)

__all__ = ["assemble", "download", "planned", "search"]

BYTES_PER_PIXEL = {SCL: 0.1}
"""Of compressed blocks, for the preview; 1.5 of other bands."""

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
    return client_of(service, "Sentinel-2", downloads)


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
                file.url,
                _extent(item),
                item.properties["crs"],
                part,
                client,
                tokens,
                service.contact,
            ),
        )

    fetched = in_pool(fetch, list(files.values()), service.workers, item.scene, "band")
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
    return content_key({part: item.properties[part] for part in parts})


def _extent(item: SceneItem) -> Extent:
    left, bottom, right, top = item.properties["extent"]
    return (left, bottom, right, top)
