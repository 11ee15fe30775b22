"""Map images around the positions of photos, from the Yandex Static API.

Requests: https://yandex.com/maps-api/docs/static-api/request.html (form ``v1``); form ``1.x`` as its old
developer's guide described it. Yandex maps are in the Mercator projection of the ellipsoid (EPSG:3395).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyproj
from PIL import Image

from geolatents.acquire.fetch.content import ContentError, image_content
from geolatents.acquire.fetch.fetcher import Fetched, Fetcher, Item, preview
from geolatents.acquire.fetch.secrets import Key
from geolatents.acquire.fetch.service import client_of
from geolatents.acquire.photos.table import Photo, read_cell
from geolatents.errors import AccessError
from geolatents.files import content_key, write_json
from geolatents.logs import LOG
from geolatents.paths import recorded_path
from geolatents.settings.yandex_static import YandexStatic

PROVIDER = "yandex_static"

KEY = Key(
    "the Yandex Static API",
    "YANDEX_STATIC_KEY",
    "in the developer's dashboard at yandex.com/maps-api (it works after up to 15 minutes)",
)

LICENCE = "Yandex Maps API, extended licence; not to be passed on"

MAP_CRS = "EPSG:3395"
SEMI_MAJOR_AXIS = 6_378_137.0
ECCENTRICITY = 0.081_819_190_842_6
"""Of the WGS 84 ellipsoid (NIMA TR8350.2, table 3.1 and section 3.3)."""

FARTHEST = 85.08
"""Degrees of latitude; the map is a square that ends there."""

SAME_GREY = 2
"""Grey levels that JPEG may add to an area of one colour."""


def metres_per_pixel(latitude: float, zoom: int) -> float:
    """Width of a pixel on the ground.

    The equator is ``256 * 2**zoom`` pixels long, and a parallel as many: its length by that number
    (Snyder 1987, Map Projections, USGS PP 1395, equations 4-21 and 7-8).

    Args:
        latitude: Degrees.
        zoom: Zoom level.

    Returns:
        Metres; the same from west to east and from south to north.
    """
    sine = math.sin(math.radians(latitude))
    parallel = math.cos(math.radians(latitude)) / math.sqrt(1 - (ECCENTRICITY * sine) ** 2)
    return _map_units_per_pixel(zoom) * parallel


def map_bounds(
    longitude: float, latitude: float, zoom: int, width: int, height: int
) -> tuple[float, float, float, float]:
    """Extent of an image around a position.

    Args:
        longitude: Degrees, of the centre.
        latitude: Degrees, of the centre.
        zoom: Zoom level.
        width: Pixels.
        height: Pixels.

    Returns:
        Left, bottom, right, top in EPSG:3395.
    """
    to_map = pyproj.Transformer.from_crs("EPSG:4326", MAP_CRS, always_xy=True)
    x, y = to_map.transform(longitude, latitude)
    half = _map_units_per_pixel(zoom) / 2
    return x - width * half, y - height * half, x + width * half, y + height * half


def planned(photos: Sequence[Photo], settings: YandexStatic) -> list[Item]:
    """What would be fetched for photos: one image per position. No network.

    Args:
        photos: Photos with positions in degrees.
        settings: Which image.
    """
    items = [_item(photo, settings) for photo in photos if _on_map(photo)]
    return list({item.path: item for item in items}.values())


def download_maps(
    cell: str, table: Path, settings: YandexStatic, downloads: Path, output: Path
) -> None:
    """Fetch the map image of every photo of a cell, and record where each lies and what it covers.

    Images that are there already are not asked for, and need no key.

    Args:
        cell: Name of the cell.
        table: Table of a photo search.
        settings: Which image.
        downloads: Folder of downloads.
        output: Record of the cell's maps (JSON).

    Raises:
        AccessError: The key is missing or refused.
        FetchError: An image cannot be had, or is no image of the size that was asked for.
    """
    photos = read_cell(table, cell)
    items = planned(photos, settings)
    images = dict(zip([item.path for item in items], _fetched(items, settings, downloads), strict=True))  # fmt: skip
    maps: list[dict[str, Any]] = []
    missing: list[dict[str, str]] = []
    for photo in sorted(photos, key=lambda photo: photo.id):
        if not _on_map(photo):
            reason = f"beyond {FARTHEST} degrees of latitude, where the map ends"
            missing.append({"id": photo.id, "reason": reason})
            continue
        image = images[_item(photo, settings).path]
        if _without_imagery(image, settings):
            missing.append({"id": photo.id, "reason": "no imagery"})
        else:
            maps.append(_record(photo, image, settings, output))
    LOG.info("%s: maps for %d of %d photos", cell, len(maps), len(photos))
    write_json(
        output,
        {"cell": cell, "provider": PROVIDER, "licence": LICENCE, "maps": maps, "missing": missing},
    )


def _fetched(items: Sequence[Item], settings: YandexStatic, downloads: Path) -> list[Fetched]:
    there = preview(downloads, items).there == len(items)
    service = settings.service
    client = client_of(
        service,
        "Yandex Static API",
        downloads,
        key=KEY,
        secret_params={} if there else _key(settings),
        home=service.url,
    )
    return Fetcher(downloads, client, service.workers).fetch(items, "maps")


def _key(settings: YandexStatic) -> dict[str, str]:
    """The key as the form names it; the old form may answer without one."""
    if settings.form == "v1":
        return {"apikey": KEY.find(settings.service.url)}
    try:
        return {"key": KEY.find(settings.service.url)}
    except AccessError:
        return {}


def _item(photo: Photo, settings: YandexStatic) -> Item:
    width, height = settings.size
    params = {
        "ll": f"{photo.longitude:.6f},{photo.latitude:.6f}",
        "z": str(settings.zoom),
        "size": f"{width},{height}",
        "lang": settings.language,
    }
    if settings.form == "1.x":
        params["l"] = settings.layer
    name = content_key({"form": settings.form, **params})
    ending = "png" if settings.layer == "map" else "jpg"
    root = settings.service.url.rstrip("/")
    return Item(
        path=f"{PROVIDER}/{name}.{ending}",
        url=f"{root}/v1" if settings.form == "v1" else f"{root}/1.x/",
        params=params,
        content=_Sized(width, height),
        licence=LICENCE,
    )


class _Sized:
    """Check that a file is an image of the size that was asked for; bounds are computed from it."""

    def __init__(self, width: int, height: int) -> None:
        self.size = (width, height)

    def __call__(self, file: Path) -> None:
        image_content(file)
        with Image.open(file) as image:
            if image.size != self.size:
                raise ContentError(
                    "the map image has another size than was asked for",
                    where=file,
                    expected=f"{self.size[0]} x {self.size[1]} pixels",
                    found=f"{image.size[0]} x {image.size[1]}",
                    fix="choose a smaller `size`",
                )


def _record(photo: Photo, image: Fetched, settings: YandexStatic, output: Path) -> dict[str, Any]:
    width, height = settings.size
    place = (photo.longitude, photo.latitude)
    return {
        "id": photo.id,
        "path": recorded_path(image.path, output),
        "sha256": image.sha256,
        "bytes": image.bytes,
        "metres_per_pixel": round(metres_per_pixel(photo.latitude, settings.zoom), 6),
        "width": width,
        "height": height,
        "layer": settings.layer,
        "zoom": settings.zoom,
        "crs": MAP_CRS,
        "bounds": [round(edge, 3) for edge in map_bounds(*place, settings.zoom, width, height)],
    }


def _on_map(photo: Photo) -> bool:
    return abs(photo.latitude) <= FARTHEST


def _without_imagery(image: Fetched, settings: YandexStatic) -> bool:
    """Whether the service sent its placeholder: a file known as such, or satellite imagery of one grey.

    A road map of the sea is of one colour too, but it is a map; and water seen from above is neither
    of one colour nor grey.
    """
    if image.sha256 in settings.placeholders:
        return True
    if settings.layer == "map":
        return False
    with Image.open(image.path) as opened:
        ranges = opened.convert("RGB").getextrema()
    lowest = min(low for low, _ in ranges)  # type: ignore[misc]
    highest = max(high for _, high in ranges)  # type: ignore[misc]
    return bool(highest - lowest <= SAME_GREY)


def _map_units_per_pixel(zoom: int) -> float:
    return 2 * math.pi * SEMI_MAJOR_AXIS / (256 * 2.0**zoom)
