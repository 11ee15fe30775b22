"""Scenes of any provider: search for them, download them, assemble them.

A provider is a module of this package with ``search``, ``planned``, ``download`` and ``assemble``; nothing
below this module knows which one it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from geolatents.acquire.downloads import described, found_again
from geolatents.acquire.fetch.fetcher import Item
from geolatents.acquire.providers import parse_section, provider_module, provider_settings
from geolatents.acquire.scene_list import (
    SceneItem,
    read_scene_list,
    search_values,
    write_scene_list,
)
from geolatents.errors import FetchError
from geolatents.files import read_json, write_json
from geolatents.logs import LOG


def search_scenes(imagery: Any, data: Path, downloads: Path, output: Path) -> None:
    """Ask a provider for scenes and write their list; the list before is kept beside as ``.previous``.

    Args:
        imagery: Settings of any provider of scenes.
        data: Data folder, where area files lie.
        downloads: Folder of downloads.
        output: The list, GeoJSON.

    Raises:
        FetchError: The provider cannot be asked, or has no scene of this kind.
    """
    items = provider_module(imagery.provider).search(imagery, data, downloads)
    search = search_values(imagery)
    if not items:
        raise FetchError(
            "the search found no scene",
            where=imagery.service.url,
            found=search,
            fix="widen the area, the dates or the share of clouds",
        )
    before = set(read_scene_list(output).names) if output.is_file() else set()
    if before:
        output.replace(output.with_suffix(f".previous{output.suffix}"))
    write_scene_list(items, imagery.provider, search, output)
    now = {item.scene for item in items}
    LOG.info(
        "%s: %d scenes, %d new, %d no longer there",
        output, len(now), len(now - before), len(before - now),
    )  # fmt: skip


def download_scene(
    provider: str, item: str, product: str, service: str, downloads: Path, output: Path
) -> None:
    """Download the files of a scene and write their record; files that are there are not asked for.

    ``output`` is JSON with ``provider``, ``item`` (as in the list) and ``files``: by role ``path`` (see
    :func:`geolatents.paths.recorded_path`), ``sha256`` and ``bytes``.

    Args:
        provider: Name of the provider.
        item: Canonical JSON of the scene's entry in the list.
        product: Canonical JSON of what to fetch.
        service: Canonical JSON of where to fetch it.
        downloads: Folder of downloads.
        output: The record.

    Raises:
        FetchError: The provider cannot deliver.
    """
    scene = SceneItem.parse(item)
    files = provider_module(provider).download(
        scene,
        parse_section(provider, "product", product),
        parse_section(provider, "service", service),
        downloads,
    )
    write_json(
        output,
        {
            "provider": provider,
            "item": scene.model_dump(mode="json"),
            "files": {role: described(path, output) for role, path in files.items()},
        },
    )


def planned_scenes(provider: str, config: str, scenes: Iterable[SceneItem]) -> Iterator[Item]:
    """What would be fetched for scenes; asks no service."""
    imagery: Any = provider_settings(provider).parse(config)
    for scene in scenes:
        yield from provider_module(provider).planned(scene, imagery.product, imagery.service)


def assemble_scene(provider: str, record: Path, product: str, output: Path) -> None:
    """Assemble a scene from its downloaded files; asks no service.

    Args:
        provider: Name of the provider.
        record: What :func:`download_scene` wrote.
        product: Canonical JSON of what was fetched.
        output: GeoTIFF with named bands.

    Raises:
        FetchError: A downloaded file is gone or has changed.
        SceneError: The files do not fit together.
    """
    values = read_json(record)
    files = {role: found_again(entry, record) for role, entry in values["files"].items()}
    provider_module(provider).assemble(
        SceneItem.model_validate(values["item"]),
        files,
        parse_section(provider, "product", product),
        output,
    )
