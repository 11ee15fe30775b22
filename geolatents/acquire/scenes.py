"""Scenes of any provider: search for them, download them, assemble them.

A provider is a module of this package with ``search``, ``planned``, ``download`` and ``assemble``; nothing
below this module knows which one it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
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
    search = search_values(imagery)
    items = provider_module(imagery.provider).search(imagery, data, downloads)
    if not items:
        raise FetchError(
            "the search found no scene",
            where=imagery.service.url,
            found=search,
            fix="widen the area, the dates or the share of clouds",
        )
    before, now = _names(output), {item.scene for item in items}
    fresh = output.with_name(f".{output.name}")
    write_scene_list(items, search, fresh)
    if output.is_file():
        output.replace(output.with_suffix(f".previous{output.suffix}"))
    fresh.replace(output)
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
    settings = (
        parse_section(provider, "product", product),
        parse_section(provider, "service", service),
    )
    with _entry_of(scene.scene):
        provider_module(provider).planned(scene, *settings)
    files = provider_module(provider).download(scene, *settings, downloads)
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
        with _entry_of(scene.scene):
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


def _names(file: Path) -> set[str]:
    """Scenes of the list before, as far as it can be read."""
    try:
        return set(read_scene_list(file).scenes)
    except FetchError:
        return set()


@contextmanager
def _entry_of(scene: str) -> Iterator[None]:
    """Say it plainly when the entry of a scene lacks what its provider put there."""
    try:
        yield
    except KeyError as error:
        raise FetchError(
            "the entry of a scene in its list is incomplete",
            where=f"scene {scene}",
            expected=f"{error} as the search wrote it",
            fix="undo the change of the list, or delete it and run `snakemake search`",
        ) from None
