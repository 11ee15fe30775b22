"""An archive of the registry as the workflow downloads it: its files, and their record."""

from __future__ import annotations

from pathlib import Path

from geolatents.acquire.archives.provider import download_archive
from geolatents.acquire.downloads import described
from geolatents.errors import ConfigError
from geolatents.files import write_json
from geolatents.settings.images import ImageFolder


def record_archive(imagery: ImageFolder, downloads: Path, output: Path) -> None:
    """Download the archive of an image folder and write the record of its files.

    Args:
        imagery: Settings of the image folder, with ``archive``.
        downloads: Folder of downloads.
        output: JSON with ``archive`` and ``files``: ``path``, ``sha256`` and ``bytes`` by name.

    Raises:
        ConfigError: The settings name no archive.
        FetchError: A file cannot be had, or must be put into its place by hand; the message says where.
    """
    if imagery.archive is None:
        raise ConfigError("no archive is named", where="imagery.archive")
    files = download_archive(imagery.archive, imagery.service, downloads)
    entries = {name: described(path, output) for name, path in files.items()}
    write_json(output, {"archive": imagery.archive, "files": entries})
