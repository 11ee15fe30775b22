"""What a configuration would download: files, requests and bytes, without asking any service."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import shapely

from geolatents.acquire.archives.provider import planned as planned_archive
from geolatents.acquire.corine.provider import planned_corine
from geolatents.acquire.fetch.fetcher import Item, preview
from geolatents.acquire.photos.download import planned_photos
from geolatents.acquire.photos.table import read_cell
from geolatents.acquire.providers import provider_settings
from geolatents.acquire.scene_list import photo_table, read_cells, read_scene_list, search_values
from geolatents.acquire.scenes import planned_scenes
from geolatents.acquire.yandex_static import planned as planned_maps
from geolatents.errors import FetchError, GeolatentsError
from geolatents.logs import LOG
from geolatents.settings.landcover import LandCover
from geolatents.settings.yandex_static import YandexStatic

COLUMNS = ("what", "files", "there", "requests", "MB", "of unknown size", "note")


def preview_downloads(requests: str, downloads: Path) -> None:
    """Log a table of what would be downloaded.

    Args:
        requests: Canonical JSON: ``kind`` (scenes, photos, maps, landcover or archive) and what belongs
            to it, by name.
        downloads: Folder of downloads.
    """
    rows = [_row(name, request, downloads) for name, request in json.loads(requests).items()]
    if not rows:
        LOG.info("nothing of this configuration is downloaded")
        return
    LOG.info("what would be downloaded:\n%s", _table([COLUMNS, *rows]))


def _row(name: str, request: dict[str, Any], downloads: Path) -> tuple[str, ...]:
    try:
        found = preview(downloads, list(_items(request, downloads)))
    except GeolatentsError as error:
        return (name, *[""] * (len(COLUMNS) - 2), error.problem)
    return (
        name, str(found.items), str(found.there), str(found.requests), f"{found.bytes / 1e6:.1f}",
        str(found.unknown), "",
    )  # fmt: skip


def _items(request: dict[str, Any], downloads: Path) -> Iterator[Item]:
    kind = request["kind"]
    if kind == "landcover":
        yield from _landcover_items(request, downloads)
    elif kind == "archive":
        yield from planned_archive(request["archive"])
    else:
        listing = Path(request["list"])
        search = search_values(provider_settings(request["provider"]).parse(request["source"]))
        if kind == "scenes":
            scenes = read_scene_list(listing, search).scenes.values()
            yield from planned_scenes(request["provider"], request["source"], scenes)
            return
        for cell in read_cells(listing, search):
            yield from _cell_items(cell, photo_table(listing), request.get("maps"))


def _landcover_items(request: dict[str, Any], downloads: Path) -> list[Item]:
    settings = LandCover.parse(request["config"])
    if not request["area"]:
        raise FetchError("known when the scenes are")
    area = shapely.box(*json.loads(request["area"]))
    return planned_corine(area, settings.product, settings.service, downloads)


def _cell_items(cell: str, table: Path, maps: str | None) -> list[Item]:
    if maps is None:
        return planned_photos(cell, table)
    return planned_maps(read_cell(table, cell), YandexStatic.parse(maps))


def _table(rows: list[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    texts = {0, len(COLUMNS) - 1}
    return "\n".join(
        "  ".join(
            text.ljust(width) if column in texts else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
