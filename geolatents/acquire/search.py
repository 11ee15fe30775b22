"""Searching for everything that a configuration downloads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from geolatents.acquire.providers import provider_module, provider_settings
from geolatents.acquire.scene_list import (
    photo_table,
    read_cells,
    read_scene_list,
    search_values,
)
from geolatents.acquire.scenes import search_scenes
from geolatents.errors import FetchError, GeolatentsError
from geolatents.logs import LOG


def search_all(requests: str, data: Path, downloads: Path) -> None:
    """Make every search of a configuration; one that fails does not stop the others.

    Args:
        requests: Canonical JSON: ``kind`` (scenes or photos), ``provider``, ``source`` (canonical JSON
            of the section) and ``list`` (the file to write) by name.
        data: Data folder, where area files lie.
        downloads: Folder of downloads.

    Raises:
        FetchError: Searches that failed, each with its reason.
    """
    failed = []
    searches = json.loads(requests)
    if not searches:
        LOG.info("nothing of this configuration is searched for")
    for name, request in searches.items():
        LOG.info("searching for %s at %s", name, request["provider"])
        try:
            _search(request, data, downloads)
        except GeolatentsError as error:
            failed.append(f"{name}: {error}")
    if failed:
        raise FetchError("\n".join(failed))


def _search(request: dict[str, Any], data: Path, downloads: Path) -> None:
    provider, config, output = request["provider"], request["source"], Path(request["list"])
    settings: Any = provider_settings(provider).parse(config)
    scenes = request["kind"] == "scenes"
    try:
        (read_scene_list if scenes else read_cells)(output, search_values(settings))
    except FetchError as error:
        LOG.info("%s", error.problem)
    else:
        LOG.info("%s is kept; delete it to ask again", output)
        return
    if scenes:
        search_scenes(settings, data, downloads, output)
    else:
        provider_module(provider).search_photos(
            settings, data, downloads, table=photo_table(output), listing=output
        )
