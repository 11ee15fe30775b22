"""Searching for everything that a configuration downloads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from geolatents.acquire.providers import provider_module, provider_settings
from geolatents.acquire.scene_list import read_list, search_values
from geolatents.acquire.scenes import search_scenes
from geolatents.errors import FetchError, GeolatentsError
from geolatents.logs import LOG


def search_all(requests: str, data: Path, downloads: Path) -> None:
    """Make every search of a configuration; one that fails does not stop the others.

    Args:
        requests: Canonical JSON: ``kind`` (scenes or photos), ``provider``, ``config`` (canonical JSON of
            the section) and ``list`` (the file to write) by name.
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
    provider, config, output = request["provider"], request["config"], Path(request["list"])
    settings: Any = provider_settings(provider).parse(config)
    if _is_kept(output, search_values(settings)):
        return
    if request["kind"] == "scenes":
        search_scenes(settings, data, downloads, output)
        return
    provider_module(provider).search_photos(
        settings, data, downloads, table=output.with_suffix(".parquet"), listing=output
    )


def _is_kept(file: Path, search: dict[str, Any]) -> bool:
    """Whether a list is of this search."""
    if not file.is_file():
        return False
    old = read_list(file)
    if old.get("search") == search:
        LOG.info("%s of %s is kept; delete it to ask again", file, old.get("searched"))
        return True
    return False
