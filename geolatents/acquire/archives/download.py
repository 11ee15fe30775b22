"""An archive of the registry as the workflow downloads it: its files, and their record."""

from __future__ import annotations

from pathlib import Path

from geolatents.acquire.archives.provider import download_archive
from geolatents.acquire.downloads import described
from geolatents.files import write_json
from geolatents.settings.archives import ArchiveService


def record_archive(archive: str, service: ArchiveService, downloads: Path, output: Path) -> None:
    """Download an archive and write the record of its files.

    Args:
        archive: Name in the registry.
        service: Where, and how patiently.
        downloads: Folder of downloads.
        output: JSON with ``archive`` and ``files``: ``path``, ``sha256`` and ``bytes`` by name.

    Raises:
        FetchError: A file cannot be had, or must be put into its place by hand; the message says where.
    """
    files = download_archive(archive, service, downloads)
    entries = {name: described(path, output) for name, path in files.items()}
    write_json(output, {"archive": archive, "files": entries})
