"""Archives of datasets: download what has an address, take what was put there by hand, check both.

The registry is ``data/archives.yaml``; files lie in ``downloads/archives/{folder}/`` and are those of the
shared fetcher, which does here what pooch would do elsewhere (a table of names, addresses and hashes; a
download when the file is missing or wrong). Pooch itself has no part in it: it starts a file of 66 GB
again when the connection is lost, hashes it whole at every run, knows one address per file, and would
keep a second account of what is there.

A file without a published checksum is pinned at its first download or when it is first found: the
manifest keeps its sha256.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from geolatents.acquire.archives.drive import confirmed
from geolatents.acquire.archives.table import Archive, ArchiveFile, archive_files, archive_table
from geolatents.acquire.fetch.content import (
    Content,
    ContentError,
    anything,
    tar_content,
    zip_content,
)
from geolatents.acquire.fetch.fetcher import Fetcher, Item
from geolatents.acquire.fetch.http import Client
from geolatents.acquire.fetch.secrets import public_url
from geolatents.acquire.fetch.service import client_of
from geolatents.errors import FetchError
from geolatents.logs import LOG
from geolatents.settings.archives import ArchiveService

MAGIC = {".zst": b"\x28\xb5\x2f\xfd", ".parquet": b"PAR1"}
"""How files of some kinds begin."""


def download_archive(name: str, service: ArchiveService, downloads: Path) -> dict[str, Path]:
    """Bring the files of an archive into the downloads folder; those that are there cost no request.

    Each address of a file is asked in turn, the mirror of the settings first. Files that were put
    into their place by hand are checked and taken.

    Args:
        name: Name of the archive in the registry.
        service: How it is asked for.
        downloads: Folder of downloads.

    Returns:
        Files by name.

    Raises:
        FetchError: A file has no address and is not there, or no address gives it; the message says
            where people find it and where to put it.
    """
    archive = archive_table()[name]
    client = client_of(service, archive.title.partition(",")[0], downloads)
    fetcher = Fetcher(downloads, client, workers=1)
    _require_by_hand(archive, service, downloads)
    LOG.info("%s: %s; licence: %s; cite %s", name, archive.title, archive.licence, archive.citation)
    for file, item in zip(archive.files, planned(name), strict=True):
        _bring(archive, file, item, service, fetcher)
    return archive_files(name, downloads)


def planned(name: str) -> list[Item]:
    """Files of an archive as the fetcher sees them, for a preview; asks nothing."""
    archive = archive_table()[name]
    return [_item(archive, file) for file in archive.files]


def _item(archive: Archive, file: ArchiveFile) -> Item:
    return Item(
        path=f"{archive.folder}/{file.name}",
        url=file.addresses[0] if file.addresses else archive.page,
        digests=file.digests,
        size=file.size,
        estimate=file.estimate,
        content=_content(file.name),
        licence=archive.licence,
        facts={"title": archive.title, "citation": archive.citation},
    )


def _bring(
    archive: Archive, file: ArchiveFile, item: Item, service: ArchiveService, fetcher: Fetcher
) -> None:
    placed = fetcher.root / item.path
    if not file.digests and placed.is_file():
        _take(item, placed, fetcher)
        return
    failures: list[str] = []
    for address in _addresses(file, service):
        try:
            ready = _ready(address, file, fetcher.client)
            fetcher.fetch([replace(item, address=ready)], file.name)
        except FetchError as error:
            LOG.warning("%s does not give %s: %s", public_url(address), file.name, error)
            failures.append(f"{public_url(address)}: {_in_one_line(error)}")
            continue
        return
    raise FetchError(
        f"no address gives {file.name}",
        where=archive.page,
        found="; ".join(failures),
        fix=f"try again later, name a mirror in `service.mirror`, or get it by hand: {_by_hand(archive, placed.parent)}",
    )


def _take(item: Item, placed: Path, fetcher: Fetcher) -> None:
    """Enter a file that lies in its place; without a checksum it is pinned as it is.

    Raises:
        FetchError: It is not what it should be.
    """
    try:
        fetcher.make(item, partial(_linked, placed))
    except ContentError as error:
        raise FetchError(
            "a file that was put into the downloads folder is not what it should be",
            where=placed,
            found=_in_one_line(error),
            fix="remove it, and put the whole file there",
        ) from None


def _require_by_hand(archive: Archive, service: ArchiveService, downloads: Path) -> None:
    """See that files without address are there, before anything else is downloaded."""
    folder = downloads / archive.folder
    missing = [
        file.name
        for file in archive.files
        if not _addresses(file, service) and not (folder / file.name).is_file()
    ]
    if missing:
        raise FetchError(
            f"{archive.name!r} has files that cannot be downloaded by a program",
            where=archive.page,
            expected=" and ".join(f"{folder.resolve() / name}" for name in missing),
            fix=f"{_by_hand(archive, folder)}; terms: {archive.licence}",
        )


def _by_hand(archive: Archive, folder: Path) -> str:
    how = archive.by_hand or f"download the files from {archive.page}"
    return f"{how}; put them into {folder.resolve()}"


def _addresses(file: ArchiveFile, service: ArchiveService) -> list[str]:
    """Addresses to ask, in their order."""
    mirror = [f"{service.mirror.rstrip('/')}/{file.name}"] if service.mirror else []
    return mirror + [_replaced(address, service) for address in file.addresses]


def _replaced(address: str, service: ArchiveService) -> str:
    for published, other in service.endpoints.items():
        if address.startswith(published):
            return other + address.removeprefix(published)
    return address


def _in_one_line(error: FetchError) -> str:
    """What was wrong, without the place and the advice, which are given once."""
    lines = [line.strip() for line in str(error).splitlines()]
    return ", ".join(line for line in lines if not line.startswith(("where:", "what to do:")))


def _linked(placed: Path, file: Path) -> None:
    try:
        os.link(placed, file)
    except OSError:  # a file system without links
        shutil.copyfile(placed, file)


# What the files are


def _content(name: str) -> Content:
    ending = Path(name).suffix
    if ending in MAGIC:
        return partial(_begins, MAGIC[ending])
    if ending == ".zip":
        return zip_content
    return tar_content if name.endswith((".tgz", ".tar.gz", ".tar.gzaa")) else anything


def _begins(magic: bytes, file: Path) -> None:
    anything(file)
    with file.open("rb") as stream:
        found = stream.read(len(magic))
    if found != magic:
        raise ContentError(
            "a file is not what was asked for",
            where=file,
            expected=f"a file that begins with {magic!r}",
            found=found,
        )


def _ready(address: str, file: ArchiveFile, client: Client) -> Callable[[], str]:
    """Gives the address to use now: itself, or where Google Drive's page for large files leads."""
    if file.drive is None or not address.endswith(file.drive):
        return lambda: address
    return lambda: str(client.tried(partial(confirmed, address, client), public_url(address)))
