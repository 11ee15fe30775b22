"""Orthophotos of the Cyprus Department of Lands and Surveys, or of any WMS, WMTS or ArcGIS service.

An area is cut into sheets on one fixed grid, and a sheet into requests that the service allows;
each answer is kept as it came, and sheets are stitched from them without the service.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pyproj
import shapely
from shapely.geometry.base import BaseGeometry

from geolatents.acquire.area import read_area
from geolatents.acquire.assembled import scene_tags
from geolatents.acquire.dls_orthophotos.answers import ABSENT, is_absent, picture, tile
from geolatents.acquire.dls_orthophotos.arcgis import (
    arcgis_image_offer,
    arcgis_map_offer,
    arcgis_tiles_offer,
)
from geolatents.acquire.dls_orthophotos.offers import Offer
from geolatents.acquire.dls_orthophotos.requests import Piece, pieces, split_source, whole
from geolatents.acquire.dls_orthophotos.sheets import Sheet, Tiles, sheet_name, sheet_places
from geolatents.acquire.dls_orthophotos.stitch import stitch
from geolatents.acquire.dls_orthophotos.wms import wms_offer
from geolatents.acquire.dls_orthophotos.wmts import wmts_offer
from geolatents.acquire.fetch.content import ContentError
from geolatents.acquire.fetch.fetcher import Fetched, Fetcher, Item
from geolatents.acquire.fetch.http import Again, Client
from geolatents.acquire.fetch.pool import in_pool
from geolatents.acquire.fetch.service import client_of
from geolatents.acquire.scene_list import SceneItem
from geolatents.errors import ConfigError, FetchError
from geolatents.files import content_key
from geolatents.geometry import Box, degrees_geojson, reproject
from geolatents.logs import LOG
from geolatents.settings.dls_orthophotos import (
    DlsOrthophotosImagery,
    DlsOrthophotosProduct,
    DlsOrthophotosSearch,
    DlsOrthophotosService,
)

PROVIDER = "dls_orthophotos"

OFFERS = {
    "wms": wms_offer,
    "wmts": wmts_offer,
    "arcgis_map": arcgis_map_offer,
    "arcgis_tiles": arcgis_tiles_offer,
    "arcgis_image": arcgis_image_offer,
}

SUFFIXES = {"png": ".png", "jpeg": ".jpg"}

BYTES_PER_PIXEL = {"png": 2.2, "jpeg": 0.35}
"""Of aerial photographs, about."""

NAMELESS = frozenset(
    {"arcgis", "gwc", "imageserver", "mapserver", "ows", "rest", "service", "services", "wms", "wmsserver", "wmts"}
)  # fmt: skip
"""Parts of a path that say nothing about what a service shows."""


def search(imagery: DlsOrthophotosImagery, data: Path, downloads: Path) -> list[SceneItem]:
    """Ask the service once what it offers, and list the sheets of an area.

    Args:
        imagery: Settings.
        data: Data folder, where area files lie.
        downloads: Downloads folder.

    Returns:
        Sheets that share land with the area and with what the service shows, by name.

    Raises:
        ConfigError: The service does not offer what is searched for, or not there.
        FetchError: It does not answer as it should.
    """
    wanted, service = imagery.search, imagery.service
    crs = _known_crs(wanted.crs)
    area = read_area(wanted.area, data)
    offer = OFFERS[wanted.protocol](_client(service, downloads), wanted, service.url)
    area = _shown(area, offer, service.url)
    outline = _in_crs(area, crs, wanted)
    side = wanted.sheet * wanted.resolution
    prefix = wanted.name or default_name(wanted)
    items = []
    for column, row in sheet_places(outline, side):
        bbox = (column * side, row * side, (column + 1) * side, (row + 1) * side)
        requests = offer.requests(bbox)
        if requests is None:  # no tile of the service lies there
            continue
        sheet = Sheet(
            name=prefix, source=wanted.source, crs=wanted.crs, resolution=wanted.resolution, bbox=bbox, size=wanted.sheet,
            format=offer.format, requests=requests,
        )  # fmt: skip
        items.append(
            SceneItem(
                scene=sheet_name(prefix, column, row),
                geometry=_footprint(bbox, crs),
                acquired=wanted.acquired.isoformat() if wanted.acquired else None,
                licence=wanted.licence,
                properties=sheet.model_dump(mode="json"),
            )
        )
    return sorted(items, key=lambda item: item.scene)


def planned(
    item: SceneItem, product: DlsOrthophotosProduct, service: DlsOrthophotosService
) -> list[Item]:
    """What a sheet is fetched with, one file per request; asks no service."""
    sheet = Sheet.model_validate(item.properties)
    folder = f"{PROVIDER}/{content_key(sheet.identity())}"
    return [_item(sheet, piece, folder, item.licence, service.url) for piece in pieces(sheet)]


def download(
    item: SceneItem,
    product: DlsOrthophotosProduct,
    service: DlsOrthophotosService,
    downloads: Path,
) -> dict[str, Path]:
    """Fetch the pieces of a sheet that are not there.

    Returns:
        Files by name of the piece.

    Raises:
        FetchError: A piece cannot be had, or the service has no tile of this sheet.
    """
    sheet = Sheet.model_validate(item.properties)
    fetcher = Fetcher(downloads, _client(service, downloads), service.workers)
    items = planned(item, product, service)
    if isinstance(sheet.requests, Tiles):
        fetched = _fetch_tiles(fetcher, items, item.scene, service.workers)
    else:
        fetched = fetcher.fetch(items, item.scene)
    names = [piece.name for piece in pieces(sheet)]
    files = {name: found.path for name, found in zip(names, fetched, strict=True)}
    if all(is_absent(file) for file in files.values()):
        raise FetchError(
            "the service has no tile of this sheet",
            where=item.scene,
            expected=f"at least one of {len(files)} tiles",
            found="status 404 for all of them",
            fix="delete the sheet from the list of scenes, or correct `search` if no sheet has tiles",
        )
    return files


def assemble(
    item: SceneItem, files: Mapping[str, Path], product: DlsOrthophotosProduct, output: Path
) -> None:
    """Stitch a sheet from its pieces: GeoTIFF with red, green, blue (uint8) and a mask.

    Args:
        item: The sheet.
        files: Pieces by name.
        product: Resampling of tiles.
        output: The GeoTIFF.
    """
    sheet = Sheet.model_validate(item.properties)
    usable = stitch(sheet, files, product.resampling, scene_tags(item), output)
    if usable == 0:
        LOG.warning("%s: the service shows nothing there; delete it from the list of scenes", item.scene)  # fmt: skip


def default_name(search: DlsOrthophotosSearch) -> str:
    """First part of scene names: what the service's path calls it, and the layer."""
    path, _ = split_source(search.source)
    telling = [part for part in path.split("/") if part.lower() not in NAMELESS and "." not in part]
    text = "-".join([*telling[-1:], *([search.layer] if search.layer else [])]) or "orthophoto"
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:70].strip("-") or "orthophoto"


# ---- search


def _client(service: DlsOrthophotosService, downloads: Path) -> Client:
    return client_of(service, "the orthophoto service", downloads)


def _known_crs(name: str) -> pyproj.CRS:
    try:
        return pyproj.CRS(name)
    except pyproj.exceptions.CRSError:
        raise ConfigError(
            "a CRS is not known", where="search.crs", found=name, fix="use one such as EPSG:6312"
        ) from None


def _shown(area: BaseGeometry, offer: Offer, url: str) -> BaseGeometry:
    """The part of the area that the service shows."""
    if offer.extent is None:
        return area
    common = shapely.intersection(area, shapely.box(*offer.extent))
    if common.area == 0:
        raise ConfigError(
            "the area lies outside of what the service shows",
            where=f"search.area, and {offer.title!r} of {url}",
            expected=f"within {_box_text(offer.extent)}",
            found=_box_text(area.bounds),
            fix="correct `search.area` (west, south, east, north), or `search.layer`",
        )
    if common.area < area.area:
        LOG.info("%s shows %.0f %% of the area", offer.title, 100 * common.area / area.area)
    return common


def _box_text(box: Box) -> str:
    return "[" + ", ".join(f"{value:.5g}" for value in box) + "] degrees"


def _in_crs(area: BaseGeometry, crs: pyproj.CRS, wanted: DlsOrthophotosSearch) -> BaseGeometry:
    outline: BaseGeometry = reproject(
        np.array([area], dtype=object), pyproj.CRS("EPSG:4326"), crs, wanted.resolution
    )[0]
    if not np.isfinite(outline.bounds).all():
        raise ConfigError(
            "the area cannot be expressed in the CRS of the sheets",
            where="search.crs",
            found=f"{wanted.crs} for {_box_text(area.bounds)}",
            fix="use the CRS of the country",
        )
    return outline


def _footprint(bbox: Box, crs: pyproj.CRS) -> dict[str, object]:
    box = np.array([shapely.box(*bbox)], dtype=object)
    outline = reproject(box, crs, pyproj.CRS("EPSG:4326"), 1e-5)[0]
    return degrees_geojson(outline)


# ---- download


def _item(sheet: Sheet, piece: Piece, folder: str, licence: str, root: str) -> Item:
    check = tile if isinstance(sheet.requests, Tiles) else picture
    return Item(
        path=f"{folder}/{piece.name}{SUFFIXES[sheet.format]}",
        url=whole(piece.address, root),
        params=piece.params,
        estimate=round(piece.width * piece.height * BYTES_PER_PIXEL[sheet.format]),
        content=check(piece.width, piece.height),
        licence=licence,
    )


def _fetch_tiles(fetcher: Fetcher, items: list[Item], what: str, workers: int) -> list[Fetched]:
    """Fetch tiles; one that the service does not have becomes a small file that says so."""

    def fetch(item: Item) -> Fetched:
        return fetcher.make(item, partial(_tile, fetcher.client, item))

    return in_pool(fetch, items, workers, what, "tile")


def _tile(client: Client, item: Item, file: Path) -> None:
    def once() -> None:
        with client.opened(item.url, params=item.params, accepted=frozenset({404})) as response:
            absent = response.status_code in {204, 404}
            file.write_bytes(ABSENT if absent else response.content)
        try:
            item.content(file)
        except ContentError as error:
            raise Again(str(error)) from None

    client.tried(once, item.path)
