"""Photos of all providers: what is known of one, and the list of a search as a table that QGIS opens."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
import shapely

from geolatents.acquire.photos.grid import cell_of
from geolatents.errors import FetchError
from geolatents.files import atomic_path, canonical_json, content_key, sha256_file, write_json

TEXTS = ("provider", "licence", "licence_url", "taken", "author", "owner", "page", "variant", "mime", "url")  # fmt: skip
NUMBERS = ("width", "height")


@dataclass(frozen=True, slots=True)
class Photo:
    """A geotagged photo as a search found it, without anything that names a person.

    Attributes:
        id: Stable, path-safe name: a keyed hash, or a page id where the provider's are public.
        provider: Provider of the photo; first folder of its download.
        longitude: Degrees (EPSG:4326).
        latitude: Degrees (EPSG:4326).
        url: Address of the image; may be signed and expire, so it stands in the search table only.
        licence: Short name of the licence, or what the provider's terms allow.
        licence_url: Text of the licence.
        taken: Date or time as the provider states it, ISO 8601 (``2021-07-01T12:00:00Z``).
        author: Author, only where the licence asks for attribution.
        owner: Keyed hash of the account, see :mod:`geolatents.acquire.photos.privacy`.
        page: Public page of the photo, only where it holds no personal id.
        variant: Which of a photo's image files ``url`` is (a size); part of the download's name.
        width: Pixels, if the provider says.
        height: Pixels, if the provider says.
        mime: Kind of image.
        digests: Digests of the image that the provider states, such as ``{"sha1": ...}``.
    """

    id: str
    provider: str
    longitude: float
    latitude: float
    url: str
    licence: str
    licence_url: str | None = None
    taken: str | None = None
    author: str | None = None
    owner: str | None = None
    page: str | None = None
    variant: str = "original"
    width: int | None = None
    height: int | None = None
    mime: str = "image/jpeg"
    digests: Mapping[str, str] = field(default_factory=dict)

    def public(self) -> dict[str, Any]:
        """Everything but the address of the image, which may change with every search."""
        return {key: value for key, value in asdict(self).items() if key != "url"}


def utc_text(seconds: float) -> str:
    """A Unix time as ``taken`` has it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def limited_per_owner(photos: Iterable[Photo], most: int | None) -> list[Photo]:
    """At most so many photos of each owner; those whose ids come first, whatever their order.

    Ids are hashes where owners matter, so the choice is random but does not change when a search is
    repeated. Photos without an owner are all kept.

    Args:
        photos: Photos.
        most: Photos per owner; None for all.

    Returns:
        Photos sorted by id.
    """
    kept, counts = [], defaultdict[str, int](int)
    for photo in sorted(photos, key=lambda photo: photo.id):
        if most is not None and photo.owner is not None:
            counts[photo.owner] += 1
            if counts[photo.owner] > most:
                continue
        kept.append(photo)
    return kept


def write_photo_list(
    photos: Iterable[Photo],
    provider: str,
    cell_km: float,
    search: Mapping[str, Any],
    table: Path,
    listing: Path,
) -> None:
    """Write what a search found: a table with one row per photo, then the small list of its cells.

    Args:
        photos: Photos; of two with one id the last is kept.
        provider: Name of the provider.
        cell_km: Side of the cells of the job grid in kilometres.
        search: Search settings, defaults left out, as :func:`search_values` gives them.
        table: GeoParquet to write: the fields of :class:`Photo`, ``cell`` and the position, sorted
            by id. It holds addresses of images and is not meant to be published.
        listing: JSON to write: provider, search, searched (UTC), ``cells`` with what identifies the
            photos of each (a hash of all but the addresses), ``photos`` with their number per cell,
            and ``table_sha256``.

    Raises:
        FetchError: There is no photo.
    """
    unique = {photo.id: photo for photo in photos}
    if not unique:
        raise FetchError(
            "the search found no photo",
            where=provider,
            fix="choose a larger area or longer dates, or other filters",
        )
    ordered = [unique[name] for name in sorted(unique)]
    cells = [cell_of(photo.longitude, photo.latitude, cell_km) for photo in ordered]
    with atomic_path(table) as part:
        _frame(ordered, cells).to_parquet(
            part, index=False, write_covering_bbox=True, schema_version="1.1.0", compression="zstd"
        )
    members: dict[str, list[Photo]] = defaultdict(list)
    for cell, photo in zip(cells, ordered, strict=True):
        members[cell].append(photo)
    write_json(
        listing,
        {
            "provider": provider,
            "search": dict(search),
            "searched": datetime.now(UTC).isoformat(timespec="seconds"),
            "cells": {cell: _digest(inside) for cell, inside in members.items()},
            "photos": {cell: len(inside) for cell, inside in members.items()},
            "table_sha256": sha256_file(table),
        },
    )


def read_cell(table: Path, cell: str) -> list[Photo]:
    """Photos of one cell, sorted by id.

    Args:
        table: Table of :func:`write_photo_list`.
        cell: Name of the cell.

    Raises:
        FetchError: The table cannot be read.
    """
    try:
        frame = gpd.read_parquet(table, filters=[("cell", "==", cell)])
        return [_photo(row) for row in frame.to_dict("records")]
    except (OSError, ValueError, KeyError) as error:
        raise FetchError(
            "the table of photos cannot be read",
            where=table,
            found=f"{type(error).__name__}: {error}",
            fix="search again",
        ) from None


def _frame(photos: Sequence[Photo], cells: Sequence[str]) -> gpd.GeoDataFrame:
    columns: dict[str, Any] = {
        "id": pd.array([photo.id for photo in photos], dtype="string"),
        "cell": pd.array(cells, dtype="string"),
    }
    for name in TEXTS:
        columns[name] = pd.array([getattr(photo, name) for photo in photos], dtype="string")
    for name in NUMBERS:
        columns[name] = pd.array([getattr(photo, name) for photo in photos], dtype="Int32")
    digests = [canonical_json(dict(photo.digests)) for photo in photos]
    columns["digests"] = pd.array(digests, dtype="string")
    places = shapely.points(
        [photo.longitude for photo in photos], [photo.latitude for photo in photos]
    )
    return gpd.GeoDataFrame(columns, geometry=places, crs="EPSG:4326")


def _photo(row: Mapping[str, Any]) -> Photo:
    values: dict[str, Any] = {
        name: None if pd.isna(row[name]) else row[name] for name in (*TEXTS, *NUMBERS)
    }
    return Photo(
        id=row["id"],
        longitude=row["geometry"].x,
        latitude=row["geometry"].y,
        digests=json.loads(row["digests"]),
        **values,
    )


def _digest(photos: Sequence[Photo]) -> str:
    return content_key([photo.public() for photo in photos])
