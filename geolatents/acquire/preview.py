"""What a configuration would download: files, requests and bytes, without asking any service."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import shapely

from geolatents.acquire.archives.provider import planned as planned_archive
from geolatents.acquire.corine.provider import planned_corine
from geolatents.acquire.fetch.fetcher import Item, Preview, preview
from geolatents.acquire.photos.download import planned_photos
from geolatents.acquire.photos.table import read_cell
from geolatents.acquire.scene_list import read_list, read_scene_list
from geolatents.acquire.scenes import planned_scenes
from geolatents.acquire.yandex_static import planned as planned_maps
from geolatents.errors import FetchError
from geolatents.settings.landcover import LandCover
from geolatents.settings.yandex_static import YandexStatic

COLUMNS = ("what", "files", "there", "requests", "MB", "files of unknown size")


def preview_downloads(requests: str, downloads: Path) -> None:
    """Print a table of what would be downloaded.

    Args:
        requests: Canonical JSON: ``kind`` (scenes, photos, maps, landcover or archive) and what belongs
            to it, by name.
        downloads: Folder of downloads.
    """
    rows: list[tuple[str, ...]] = [COLUMNS]
    for name, request in json.loads(requests).items():
        try:
            found = preview(downloads, list(_items(request, downloads)))
            rows.append((name, *_cells(found)))
        except FetchError as error:
            rows.append((name, error.problem, *[""] * (len(COLUMNS) - 2)))
    print(
        _table(rows) if len(rows) > 1 else "nothing of this configuration is downloaded",
        file=sys.stderr,
    )


def _items(request: dict[str, Any], downloads: Path) -> Iterator[Item]:
    kind = request["kind"]
    if kind == "scenes":
        scenes = read_scene_list(Path(request["list"])).scenes
        yield from planned_scenes(request["provider"], request["config"], scenes)
    elif kind == "landcover":
        settings = LandCover.parse(request["config"])
        if not request["area"]:
            raise FetchError("known when the scenes are")
        area = shapely.box(*json.loads(request["area"]))
        yield from planned_corine(area, settings.product, settings.service, downloads)
    elif kind == "archive":
        yield from planned_archive(request["archive"])
    else:
        listing = Path(request["list"])
        table = listing.with_suffix(".parquet")
        for cell in read_list(listing)["cells"]:
            yield from _cell_items(kind, cell, table, request["config"])


def _cell_items(kind: str, cell: str, table: Path, config: str) -> list[Item]:
    if kind == "photos":
        return planned_photos(cell, table)
    return planned_maps(read_cell(table, cell), YandexStatic.parse(config))


def _cells(found: Preview) -> tuple[str, ...]:
    return (
        str(found.items), str(found.there), str(found.requests), f"{found.bytes / 1e6:.1f}",
        str(found.unknown),
    )  # fmt: skip


def _table(rows: list[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(
            text.ljust(width) if column == 0 else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
