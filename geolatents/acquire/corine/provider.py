"""CORINE Land Cover of an area from the map services of the European Environment Agency: free, no key.

A layer is asked how many polygons touch the area, then for the polygons, page by page; every answer
is a file in the downloads folder, so that a killed run continues at the first missing page and a
second run asks nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pyogrio
import shapely
from filelock import FileLock
from shapely.geometry.base import BaseGeometry

from geolatents.acquire.corine.layer import (
    LAEA,
    Layer,
    Query,
    code_field,
    in_laea,
    nothing_there,
    numbers,
    query_around,
    says_more,
)
from geolatents.acquire.fetch.fetcher import Fetcher, Item
from geolatents.acquire.fetch.service import client_of
from geolatents.errors import FetchError
from geolatents.files import atomic_path, read_json, remove
from geolatents.logs import LOG, progress
from geolatents.settings.corine import CorineProduct, CorineService

PATIENCE = 10
"""Pages in a row without a new polygon after which a service no longer gets on.

Some are normal: a service may take its rows before it looks at their exact outlines, and then send a
page that is short or empty and says that there is more (Esri, note on ``exceededTransferLimit``).
"""

POLYGON_KM2 = 2.4
"""Mean size of a polygon: 5.7 million km² of CLC 2018 in 2 375 406 polygons."""


def download_corine(
    area: BaseGeometry, product: CorineProduct, service: CorineService, downloads: Path
) -> list[Path]:
    """Download all polygons that touch an area; what is there is not asked for again.

    Args:
        area: Polygon or multipolygon in longitude and latitude (EPSG:4326).
        product: Year and layer.
        service: Where the service is.
        downloads: Folder of downloads.

    Returns:
        Pages of polygons, in order, for :func:`combine_corine`.

    Raises:
        AccessError, FetchError: The service cannot deliver, has no polygons there, or gives more or
            fewer than it counts.
    """
    query = query_around(area, product, service)
    client = client_of(service, "the CORINE service", downloads)
    fetcher = Fetcher(downloads, client, service.workers)
    folder = downloads / query.folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        pages = _consistent_pages(fetcher, query, folder)
        if not pages:
            remove(folder)  # so that a mistake of the service does not stay
            raise nothing_there(area)
        return pages


def planned_corine(
    area: BaseGeometry,
    product: CorineProduct,
    service: CorineService,
    downloads: Path | None = None,
) -> list[Item]:
    """What :func:`download_corine` would ask for; makes no request.

    Two requests, for the layer's description and the count, then the pages. Their number is an
    estimate from the size of the area until the service has counted; from then on it is known, where
    ``downloads`` is given.

    Args:
        area: Polygon or multipolygon in longitude and latitude (EPSG:4326).
        product: Year and layer.
        service: Where the service is.
        downloads: Folder of downloads.

    Raises:
        FetchError: The area is out of CORINE's reach.
    """
    query = query_around(area, product, service)
    layer = Layer("OBJECTID", product.page_size)
    count = math.ceil(in_laea(area).area / 1e6 / POLYGON_KM2)
    if downloads is not None and (downloads / query.count().path).is_file():
        layer = query.described(read_json(downloads / query.layer().path))
        count = int(read_json(downloads / query.count().path)["count"])
    # A last page that is full does not say that it is the last: one more is asked for.
    offsets = range(0, count + 1, layer.page_size)
    pages = [query.page(layer, at, min(layer.page_size, count - at)) for at in offsets]
    return [query.layer(), query.count(), *pages]


def combine_corine(
    pages: Sequence[Path], product: CorineProduct, area: BaseGeometry, output: Path
) -> None:
    """Write downloaded polygons as one layer, ordered by their numbers.

    Polygons are whole, also where they reach far beyond the area. Codes and outlines are as the
    service gave them; they are checked where land cover is read.

    Args:
        pages: From :func:`download_corine`.
        product: Year, whose code is meant.
        area: The area that was asked for (EPSG:4326).
        output: GeoParquet in EPSG:3035 with ``objectid``, ``code``, ``area_ha`` (hectares) and ``id``.

    Raises:
        FetchError: The pages have no polygon in the area, or no field of the year's codes.
    """
    tables = [table for page in pages if len(table := _table(page, product.year))]
    if not tables:
        raise nothing_there(area)
    together = pd.concat(tables, ignore_index=True)
    together = together.drop_duplicates("objectid").sort_values("objectid", ignore_index=True)
    wanted = in_laea(area, tolerance=0.01)  # more was asked for
    shapely.prepare(wanted)
    kept = together[shapely.intersects(wanted, together.geometry.to_numpy())]
    if kept.empty:
        raise nothing_there(area)
    with atomic_path(output) as part:
        kept.to_parquet(part, index=False, write_covering_bbox=True)
    LOG.info("%s: %d polygons of CORINE %d", output, len(kept), product.year)


def _consistent_pages(fetcher: Fetcher, query: Query, folder: Path) -> list[Path]:
    """Pages with as many polygons as the service counts; all is asked again once where that is not so."""
    for attempt in (1, 2):
        layer = query.described(read_json(fetcher.fetch_one(query.layer()).path))
        count = int(read_json(fetcher.fetch_one(query.count()).path)["count"])
        pages: list[Path] = []
        found: set[int] = set()
        for page, new in progress(
            _pages(fetcher, query, layer) if count else (),
            total=count // layer.page_size + 1,
            what=f"CORINE {query.product.year}",
            unit="page",
        ):
            pages.append(page)
            found |= new
        if len(found) == count:
            return pages
        remove(folder)
        if attempt == 1:
            LOG.warning("%s: %d of %d polygons; asking again", query.where, len(found), count)
    raise FetchError(
        "the CORINE service gives another number of polygons than it counts",
        where=query.where,
        expected=f"{count} polygons",
        found=f"{len(found)} different ones on {len(pages)} pages; another number before, too",
        fix="try again later, or set `product.page_size` lower",
    )


def _pages(fetcher: Fetcher, query: Query, layer: Layer) -> Iterator[tuple[Path, set[int]]]:
    """One page after the other with the numbers of its polygons, until the service has no more.

    Where pages of an earlier run are continued, the last of them is asked for again; if it has
    changed, the others are not asked for: they would not fit together.
    """
    found: set[int] = set()
    offset = idle = 0
    earlier: Item | None = None
    while idle < PATIENCE:
        item = query.page(layer, offset)
        fetched = fetcher.fetch_one(item)
        if fetched.requests and earlier is not None and _has_changed(fetcher, earlier):
            return
        earlier = None if fetched.requests else item
        page = read_json(fetched.path)
        here, length = numbers(page), len(page["features"])
        yield fetched.path, here
        if length < layer.page_size and not says_more(page):
            return
        idle = 0 if here - found else idle + 1
        offset += layer.page_size if idle else length
        found |= here


def _has_changed(fetcher: Fetcher, item: Item) -> bool:
    """Whether a page has other polygons than before."""
    file = fetcher.root / item.path
    before = numbers(read_json(file))
    file.unlink()
    return numbers(read_json(fetcher.fetch_one(item).path)) != before


def _table(page: Path, year: int) -> Any:
    """Polygons of a page with the columns of the result; none where the page is empty."""
    # GDAL puts rings together to polygons, and takes the field of numbers for the feature's own.
    frame = pyogrio.read_dataframe(f"ESRIJSON:{page}", fid_as_index=True)
    if frame.empty:
        return frame
    names = [str(name) for name in frame.columns]
    fields = {name.lower(): frame[name] for name in names}
    return geopandas.GeoDataFrame(
        {
            "objectid": frame.index.to_numpy(np.int64),
            "code": frame[code_field(names, year, str(page))].astype(object).to_numpy(),
            "area_ha": _values(fields, "area_ha", len(frame)).astype(np.float64),
            "id": _values(fields, "id", len(frame)).astype(object),
        },
        geometry=frame.geometry.to_numpy(),
        crs=LAEA,
    )


def _values(fields: Mapping[str, Any], name: str, length: int) -> Any:
    return fields[name].to_numpy() if name in fields else np.full(length, None)
