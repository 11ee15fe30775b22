"""Download of the photos of one grid cell; what is gone is noted and not asked for again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import requests
from PIL import Image

from geolatents.acquire.fetch.content import ContentError, image_content
from geolatents.acquire.fetch.fetcher import Fetched, Fetcher, Item
from geolatents.acquire.fetch.http import Client
from geolatents.acquire.fetch.pool import in_pool
from geolatents.acquire.fetch.service import special_client
from geolatents.acquire.photos.table import Photo, read_cell
from geolatents.errors import AccessError, FetchError, StoreError
from geolatents.files import read_json, remove, write_json
from geolatents.logs import LOG
from geolatents.paths import recorded_path
from geolatents.settings.services import Service

GONE = frozenset({404, 410})
REFUSED = frozenset({400, 401, 403})
"""Answers of image servers to links whose time is over, and to photos that were made private."""

ENDINGS = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp"}
BYTES_PER_PIXEL = 0.2
"""Of a JPEG photo, for the preview: between quality 75 (0.13) and 90 (0.27)."""


def planned_photos(cell: str, table: Path) -> list[Item]:
    """What would be fetched for a cell; no network.

    Args:
        cell: Name of the cell.
        table: Table of the search.

    Raises:
        FetchError: The table cannot be read.
    """
    return [_item(photo) for photo in read_cell(table, cell)]


def download_photos(
    cell: str,
    table: Path,
    service: Service,
    downloads: Path,
    output: Path,
) -> None:
    """Fetch the photos of a cell, and record where they lie.

    Photos that were deleted, made private or are no images are recorded as missing, and not asked
    for again until a search finds another link to them.

    Args:
        cell: Name of the cell.
        table: Table of the search.
        service: How its servers are asked: rate per host, attempts, workers.
        downloads: Folder of downloads.
        output: JSON to write: cell, provider, ``photos`` (id, path, sha256, bytes, width, height)
            and ``missing`` (id, reason), sorted by id.

    Raises:
        AccessError: Most links are refused, so they have expired.
        FetchError: The service fails.
    """
    photos = read_cell(table, cell)
    provider = photos[0].provider if photos else "photos"
    client = special_client(_Images, service, provider, downloads)
    results = _fetched(photos, Fetcher(downloads, client, service.workers))
    _require_served(cell, results)
    found = [(photo, result) for photo, result in results if isinstance(result, Fetched)]
    lost = [(photo, result) for photo, result in results if isinstance(result, _Missing)]
    for photo, missing in lost:
        missing.note(downloads, photo)
    LOG.info("%s: %d photos, %d missing", cell, len(found), len(lost))
    write_json(
        output,
        {
            "cell": cell,
            "provider": provider,
            "photos": [_entry(photo, fetched, output) for photo, fetched in found],
            "missing": [{"id": photo.id, "reason": missing.reason} for photo, missing in lost],
        },
    )


def forget_owner(owner: str, table: Path, downloads: Path) -> int:
    """Delete the downloaded photos of an account, when its owner asks for it.

    Put the name on the list of exclusions too, or the next search finds them again.

    Args:
        owner: Name (keyed hash) of the account, see :mod:`geolatents.acquire.photos.privacy`.
        table: Table of a search that found them.
        downloads: Folder of downloads.

    Returns:
        Number of photos that were deleted.
    """
    cells = gpd.read_parquet(table, filters=[("owner", "==", owner)])["cell"].unique()
    theirs = [photo for cell in cells for photo in read_cell(table, cell) if photo.owner == owner]
    files = [downloads / _item(photo).path for photo in theirs]
    there = [file for file in files if file.exists()]
    for file in there:
        remove(file)
    return len(there)


@dataclass(frozen=True)
class _Missing:
    """A photo that cannot be had by the link of the search.

    Attributes:
        reason: ``gone``, ``refused`` or ``no image``.
        noted: Whether an earlier run found it out.
    """

    reason: str
    noted: bool = False

    def note(self, downloads: Path, photo: Photo) -> None:
        """Remember it, so that the same link is not tried again."""
        write_json(_note(downloads, photo), {"reason": self.reason, "link": _link(photo)})

    @classmethod
    def known(cls, downloads: Path, photo: Photo) -> _Missing | None:
        """What an earlier run noted about the same link."""
        try:
            note = read_json(_note(downloads, photo))
        except StoreError:
            return None
        return cls(note["reason"], noted=True) if note["link"] == _link(photo) else None


class _LinkError(FetchError):
    """A link leads nowhere."""


class _GoneError(_LinkError):
    """The photo was deleted."""


class _RefusedError(_LinkError):
    """The link has expired, or the photo was made private."""


class _Images(Client):
    """A client that tells photos which are gone from a service that fails."""

    @contextmanager
    def opened(
        self, url: str, *, accepted: frozenset[int] = frozenset(), **options: Any
    ) -> Iterator[requests.Response]:
        with super().opened(url, accepted=accepted | GONE | REFUSED, **options) as response:
            if response.status_code in GONE:
                raise _GoneError("gone")
            if response.status_code in REFUSED:
                raise _RefusedError("refused")
            yield response


def _fetched(photos: Sequence[Photo], fetcher: Fetcher) -> list[tuple[Photo, Fetched | _Missing]]:
    """Result of each photo, in their order; an error of the service stops all."""

    def one(photo: Photo) -> Fetched | _Missing:
        item = _item(photo)
        there = (fetcher.root / item.path).exists()
        missing = None if there else _Missing.known(fetcher.root, photo)
        if missing is not None:
            return missing
        try:
            return fetcher.fetch_one(item)
        except _LinkError as error:
            return _Missing(error.problem)
        except ContentError:
            return _Missing("no image")

    results = in_pool(one, photos, fetcher.workers, "photos", "photo")
    return list(zip(photos, results, strict=True))


def _require_served(cell: str, results: Sequence[tuple[Photo, Fetched | _Missing]]) -> None:
    """Tell closed photos from a service that has closed: one link may be refused, not most of them."""
    refused = sum(result == _Missing("refused") for _, result in results)
    served = sum(isinstance(result, Fetched) and result.requests > 0 for _, result in results)
    if refused > served:
        raise AccessError(
            "the links to the photos are refused; they expire some time after the search",
            where=f"cell {cell}",
            found=f"{refused} links refused, {served} served",
            fix="delete the list of the search and search again; what was downloaded is kept. "
            "Photos that stay closed can be excluded from the search",
        )


def _item(photo: Photo) -> Item:
    """The download of a photo: named by photo and size, not by a link that changes with every search."""
    ending = ENDINGS.get(photo.mime, "jpg")
    name = f"{photo.id}-{photo.variant}"
    size = (photo.width or 0) * (photo.height or 0)
    return Item(
        path=f"{photo.provider}/photos/{photo.id[:2]}/{name}.{ending}",
        url=f"{photo.provider}:{name}",
        address=lambda: photo.url,
        digests=photo.digests,
        estimate=round(size * BYTES_PER_PIXEL) or None,
        content=image_content,
        licence=photo.licence,
        facts={"page": photo.page, "author": photo.author, "licence_url": photo.licence_url},
    )


def _entry(photo: Photo, fetched: Fetched, output: Path) -> dict[str, Any]:
    with Image.open(fetched.path) as image:
        width, height = image.size
    return {
        "id": photo.id,
        "path": recorded_path(fetched.path, output),
        "sha256": fetched.sha256,
        "bytes": fetched.bytes,
        "width": width,
        "height": height,
    }


def _note(downloads: Path, photo: Photo) -> Path:
    file = downloads / _item(photo).path
    return file.with_name(f"{file.name}.missing.json")


def _link(photo: Photo) -> str:
    return hashlib.sha256(photo.url.encode()).hexdigest()[:16]
