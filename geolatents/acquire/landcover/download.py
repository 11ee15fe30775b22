"""Land cover from a service: pages of an area, combined into one layer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import rasterio.warp
import shapely

from geolatents.acquire.corine.provider import combine_corine, download_corine
from geolatents.acquire.downloads import described, found_again
from geolatents.acquire.files import read_record
from geolatents.acquire.landcover.margin import widened
from geolatents.errors import LandCoverError
from geolatents.files import read_json, write_json
from geolatents.settings.corine import CorineProduct, CorineService


def download_landcover(
    product: CorineProduct,
    service: CorineService,
    area: str,
    scenes: Sequence[Path],
    downloads: Path,
    output: Path,
) -> None:
    """Download the land cover of an area; pages that are there are not asked for.

    Args:
        product: What to download.
        service: Where, and how patiently.
        area: JSON ``[west, south, east, north]`` in degrees; empty: that of the scenes.
        scenes: Scene records.
        downloads: Folder of downloads.
        output: Record: JSON with ``area`` and ``pages``, each with ``path``, ``sha256`` and ``bytes``.

    Raises:
        FetchError: The service cannot deliver.
        LandCoverError: A scene's corners have no longitude and latitude.
    """
    bounds = json.loads(area) if area else scenes_area(scenes)
    pages = download_corine(shapely.box(*bounds), product, service, downloads)
    write_json(output, {"area": bounds, "pages": [described(page, output) for page in pages]})


def combine_landcover(product: CorineProduct, record: Path, output: Path) -> None:
    """Combine downloaded pages into one layer; asks no service.

    Args:
        product: What was downloaded.
        record: What :func:`download_landcover` wrote.
        output: GeoParquet.

    Raises:
        FetchError: A page is gone or has changed.
    """
    values = read_json(record)
    pages = [found_again(page, record) for page in values["pages"]]
    combine_corine(pages, product, shapely.box(*values["area"]), output)


def scenes_area(scenes: Sequence[Path]) -> list[float]:
    """``[west, south, east, north]`` in degrees of scenes by their records, with a margin."""
    boxes = []
    for file in scenes:
        record = read_record(file)
        affine = rasterio.Affine(*record.transform)
        bounds = rasterio.transform.array_bounds(record.height, record.width, affine)
        boxes.append(rasterio.warp.transform_bounds(record.crs, "EPSG:4326", *bounds))
    west, south, east, north = shapely.total_bounds([shapely.box(*box) for box in boxes])
    if not -180 <= west < east <= 180:
        raise LandCoverError(
            "the area of the scenes has no bounds in degrees",
            found=[west, south, east, north],
            fix="check the CRS of the scenes",
        )
    return widened(west, south, east, north)
