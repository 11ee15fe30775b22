"""Scenes of a STAC catalogue of Sentinel-2 L2A: what is asked, and what of the answer is kept.

Source: https://api.stacspec.org (item search, query extension), Earth Search's README and the Planetary
Computer's documentation of the collection sentinel-2-l2a.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyproj
import pystac_client
import pystac_client.errors
import pystac_client.exceptions
import pystac_client.warnings
import shapely
from pystac import STACError
from pystac_client.stac_api_io import StacApiIO
from shapely.geometry.base import BaseGeometry

from geolatents.acquire.fetch.http import Again, Client
from geolatents.acquire.files import scene_name
from geolatents.acquire.scene_list import SceneItem
from geolatents.errors import FetchError
from geolatents.geometry import degrees_geojson, only_polygons, reproject
from geolatents.logs import LOG
from geolatents.settings.sentinel2 import LICENCE, Sentinel2Search, Sentinel2Service

BANDS = {
    "coastal": ("B01", 60),
    "blue": ("B02", 10),
    "green": ("B03", 10),
    "red": ("B04", 10),
    "rededge1": ("B05", 20),
    "rededge2": ("B06", 20),
    "rededge3": ("B07", 20),
    "nir": ("B08", 10),
    "nir08": ("B8A", 20),
    "nir09": ("B09", 60),
    "swir16": ("B11", 20),
    "swir22": ("B12", 20),
    "scl": ("SCL", 20),
}
"""ESA's name and metres per pixel of each band; Earth Search names its files by the first, others by the second."""

SCL = "scl"
"""Role of the scene classification; in an assembled file the band is called `SCL`."""

PAGE = 100
"""Items per request: larger pages fail at Earth Search's gateway."""

MOST_VERTICES = 500
"""Of a polygon that is sent; beyond, its convex hull is, and answers are filtered here."""

SNAP = 60.0
"""Metres: windows begin and end at pixels of every resolution."""

DEGREES = pyproj.CRS.from_epsg(4326)

NOT_STAC = (
    STACError,
    pystac_client.exceptions.APIError,
    pystac_client.errors.ClientTypeError,
    pystac_client.warnings.PystacClientWarning,
    AttributeError,
    KeyError,
    TypeError,
    NotImplementedError,
)
"""What pystac-client raises where the other side is no STAC API."""

KEPT = ("platform", "eo:cloud_cover", "s2:nodata_pixel_percentage", "s2:product_uri")
"""Properties of an item that are kept as they are."""


class Clip(NamedTuple):
    """The part of a granule that is fetched.

    Attributes:
        extent: Left, bottom, right and top in the granule's CRS, multiples of 60 m from its corner.
        outline: The same in longitude and latitude.
    """

    extent: tuple[float, float, float, float]
    outline: BaseGeometry


class _Io(StacApiIO):
    """pystac-client's requests, made by our client: its pace, its retries, its messages."""

    def __init__(self, client: Client, root: str) -> None:
        super().__init__(max_retries=None)
        self._client, self._root = client, root

    def request(
        self,
        href: str,
        method: str | None = None,
        headers: dict[str, str] | None = None,
        parameters: dict[str, Any] | None = None,
    ) -> str:
        """The text of an answer: any JSON of the root, else a page of items."""
        method = (method or "GET").upper()
        get = method == "GET"

        def once() -> str:
            with self._client.opened(
                href,
                method=method,
                params=parameters if get else None,
                body=None if get else parameters,
                headers=headers,
            ) as response:
                text = response.content.decode("utf-8", "replace")
            _check_page(text, any_kind=href == self._root)
            return text

        return str(self._client.tried(once, href))


def _check_page(text: str, any_kind: bool) -> None:
    """pystac-client takes an answer without features for the last page, also an error with status 200."""
    try:
        answer = json.loads(text)
    except ValueError:
        raise Again("the answer is no JSON") from None
    if not any_kind and not (isinstance(answer, dict) and "features" in answer):
        raise Again(f"the answer is no page of items but {text[:200]}")


def found_features(
    search: Sentinel2Search, service: Sentinel2Service, client: Client, area: BaseGeometry
) -> Iterator[dict[str, Any]]:
    """Items that a catalogue finds, page after page; one may come twice when others are published meanwhile.

    Raises:
        FetchError: It does not answer as a STAC API should.
    """
    simple = area if shapely.get_num_coordinates(area) <= MOST_VERTICES else area.convex_hull
    first, last = search.dates
    try:
        catalogue = pystac_client.Client.open(service.url, stac_io=_Io(client, service.url))
        items = catalogue.search(
            method="POST",
            collections=[service.collection],
            intersects=degrees_geojson(simple),
            datetime=f"{first}T00:00:00Z/{last}T23:59:59.999Z",
            query={"eo:cloud_cover": {"lte": 100 * search.cloud_cover}},
            limit=PAGE,
        )
        yield from items.items_as_dicts()
    except NOT_STAC as error:
        raise FetchError(
            "the catalogue does not answer as a STAC API should",
            where=service.url,
            found=f"{type(error).__name__}: {error}",
            fix="correct `service.url`, the root of a STAC API with item search",
        ) from None


def scene_items(
    features: Iterator[dict[str, Any]],
    search: Sentinel2Search,
    service: Sentinel2Service,
    area: BaseGeometry,
) -> list[SceneItem]:
    """Scenes of a search, sorted by name.

    Raises:
        FetchError: They are more than `search.limit`.
    """
    scenes: dict[str, SceneItem] = {}
    left_out = 0
    for feature in features:
        item = _scene_item(feature, service, area)
        if (
            item is None
            or (item.properties.get("eo:cloud_cover") or 0.0) > 100 * search.cloud_cover
        ):
            continue  # not every catalogue heeds the query
        if item.properties["cover"] < search.min_cover:
            left_out += 1
            continue
        scenes[item.scene] = item
        if search.pick == "all":
            _check_limit(len(scenes), search)
    if left_out:
        LOG.info("%d scenes cover less than `min_cover` of their part of the area", left_out)
    picked = list(scenes.values())
    if search.pick == "least_cloudy":
        picked = _clearest(picked)
        _check_limit(len(picked), search)
    return sorted(picked, key=lambda item: item.scene)


def _check_limit(count: int, search: Sentinel2Search) -> None:
    if count > search.limit:
        raise FetchError(
            "the search finds more scenes than `search.limit` allows",
            expected=f"at most {search.limit}",
            fix="narrow the area, the dates or the cloud cover, choose `pick: least_cloudy`, or raise `search.limit`",
        )


def _clearest(items: list[SceneItem]) -> list[SceneItem]:
    """Of each tile the scene with the most clear ground; of equals the first by name."""

    def clear(item: SceneItem) -> float:
        clouds = item.properties.get("eo:cloud_cover") or 0.0
        return float(item.properties["cover"] * (1 - clouds / 100))

    best: dict[str, SceneItem] = {}
    for item in sorted(items, key=lambda item: (-clear(item), item.scene)):
        best.setdefault(item.properties["tile"], item)
    return list(best.values())


def _scene_item(
    feature: dict[str, Any], service: Sentinel2Service, area: BaseGeometry
) -> SceneItem | None:
    """A scene as the list keeps it, or None where it cannot be used or lies beside the area."""
    properties, assets = feature["properties"], _assets(feature)
    crs, granule = _crs(feature), _granule(feature)
    if not assets or crs is None or granule is None or not properties.get("datetime"):
        LOG.warning(
            "%s is left out: the catalogue does not say its time, CRS and grid, or has no files by HTTP",
            feature["id"],
        )
        return None
    footprint = shapely.make_valid(shapely.geometry.shape(feature["geometry"]))
    clip = _clip(area, crs, granule)
    covered = None if clip is None else only_polygons(clip.outline & footprint)
    if clip is None or covered is None or not shapely.intersects(area, footprint):
        return None
    return SceneItem(
        scene=scene_name(Path(f"{feature['id']}.tif")),
        geometry=degrees_geojson(covered),
        acquired=properties["datetime"],
        licence=f"{LICENCE} {properties['datetime'][:4]}",
        properties={
            **{name: properties[name] for name in KEPT if name in properties},
            "catalogue": service.catalogue,
            "collection": service.collection,
            "id": feature["id"],
            "tile": _tile(feature),
            "crs": crs,
            "extent": list(clip.extent),
            "cover": round(min(1.0, covered.area / clip.outline.area), 4),
            "baseline": properties.get("s2:processing_baseline"),
            "offset_applied": properties.get("earthsearch:boa_offset_applied"),
            "files": assets,
        },
    )


def _assets(feature: dict[str, Any]) -> dict[str, str]:
    """Addresses of the bands that are there by HTTP, by common name."""
    found: dict[str, str] = {}
    for name, (code, _) in BANDS.items():
        for key in (name, code):
            href = str(feature["assets"].get(key, {}).get("href", ""))
            if href.startswith(("http://", "https://")):
                found.setdefault(name, href)
    return found


def _crs(feature: dict[str, Any]) -> str | None:
    """`EPSG:...` of both versions of the projection extension, of the item or of a file."""
    for stated in (feature["properties"], *feature["assets"].values()):
        code = stated.get("proj:code") or stated.get("proj:epsg")
        if code:
            return f"EPSG:{code}" if isinstance(code, int) else str(code)
    return None


def _granule(feature: dict[str, Any]) -> tuple[float, float, float, float] | None:
    """Left, bottom, right and top of the granule, from the grid of any of its bands."""
    bands = (feature["assets"].get(key, {}) for name in BANDS for key in (name, BANDS[name][0]))
    for stated in (*bands, feature["properties"]):
        if "proj:transform" in stated and "proj:shape" in stated:
            width, _, left, _, height, top = stated["proj:transform"][:6]
            rows, columns = stated["proj:shape"]
            return left, top + rows * height, left + columns * width, top
    return None


def _tile(feature: dict[str, Any]) -> str:
    """MGRS tile such as `36SVD`, by what the catalogues call it."""
    properties = feature["properties"]
    stated = properties.get("grid:code") or properties.get("s2:mgrs_tile")
    if stated:
        return str(stated).removeprefix("MGRS-")
    return "".join(
        str(properties.get(f"mgrs:{part}", "?"))
        for part in ("utm_zone", "latitude_band", "grid_square")
    )


def _clip(area: BaseGeometry, crs: str, granule: tuple[float, float, float, float]) -> Clip | None:
    """The part of a granule within the bounds of an area, snapped outward to the 60 m grid."""
    utm = pyproj.CRS.from_user_input(crs)
    within = area & _reprojected(shapely.box(*granule), utm, DEGREES, 1e-6)
    if only_polygons(within) is None:
        return None
    left, bottom, right, top = granule
    low_x, low_y, high_x, high_y = _reprojected(within, DEGREES, utm, 0.01).bounds
    # 6 cm are forgiven, so that a bound on the grid stays there after two projections.
    extent = (
        max(left, left + SNAP * math.floor((low_x - left) / SNAP + 1e-3)),
        max(bottom, top - SNAP * math.ceil((top - low_y) / SNAP - 1e-3)),
        min(right, left + SNAP * math.ceil((high_x - left) / SNAP - 1e-3)),
        min(top, top - SNAP * math.floor((top - high_y) / SNAP + 1e-3)),
    )
    return Clip(extent, _reprojected(shapely.box(*extent), utm, DEGREES, 1e-6))


def _reprojected(
    shape: BaseGeometry, source: pyproj.CRS, target: pyproj.CRS, tolerance: float
) -> BaseGeometry:
    moved: BaseGeometry = reproject(np.array([shape], dtype=object), source, target, tolerance)[0]
    return moved
