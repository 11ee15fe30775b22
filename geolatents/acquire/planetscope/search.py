"""The search for PlanetScope scenes in Planet's catalogue.

Source: https://docs.planet.com/develop/apis/data/item-search/.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any

import shapely
from planet import data_filter  # type: ignore[import-untyped]
from shapely.geometry.base import BaseGeometry

from geolatents.acquire.area import read_area
from geolatents.acquire.planetscope.api import ITEM_TYPE, Api, connect
from geolatents.acquire.scene_list import SceneItem
from geolatents.errors import ConfigError, FetchError
from geolatents.geometry import DECIMALS, degrees_geojson, only_polygons
from geolatents.settings.planetscope import (
    LICENCE,
    PlanetScopeImagery,
    PlanetScopeProduct,
    PlanetScopeSearch,
)

KEPT = (
    "instrument", "satellite_id", "strip_id", "published", "publishing_stage", "quality_category",
    "cloud_cover", "clear_percent", "pixel_resolution", "sun_azimuth", "sun_elevation", "view_angle",
)  # fmt: skip
"""Properties of an item that are kept in the scene list."""

MOST_VERTICES = 1500
"""Of a polygon that is sent; Planet refuses more."""


def search(imagery: PlanetScopeImagery, data: Path, downloads: Path) -> list[SceneItem]:
    """Scenes of an area, sorted by name.

    Args:
        imagery: Settings.
        data: Data folder, where an area file lies.
        downloads: Downloads folder, where the pace of requests is kept.

    Raises:
        AccessError: There is no key, or it is refused.
        ConfigError: The area cannot be read, or has too many vertices to clip to.
        FetchError: Planet does not answer as documented.
    """
    area = read_area(imagery.search.area, data)
    api = connect(imagery.service, downloads)
    found = {}  # by name: pages may repeat an item when others are published meanwhile
    for feature in _features(api, _filter(imagery.search, imagery.product, area)):
        item = _scene_item(feature, area, imagery.product)
        if item is not None:
            found[item.scene] = item
    return [found[name] for name in sorted(found)]


def _filter(search: PlanetScopeSearch, product: PlanetScopeProduct, area: BaseGeometry) -> Any:
    simple = area if shapely.get_num_coordinates(area) <= MOST_VERTICES else area.envelope
    first, last = search.dates
    # Without a time zone: the SDK then writes the Z of Planet's own examples.
    start, after = (datetime.combine(day, time()) for day in (first, last + timedelta(days=1)))
    filters = [
        data_filter.geometry_filter(degrees_geojson(simple)),
        data_filter.date_range_filter("acquired", gte=start, lt=after),
        data_filter.range_filter("cloud_cover", lte=search.cloud_cover),
        data_filter.string_in_filter("instrument", list(search.instruments)),
        data_filter.string_in_filter("quality_category", list(search.quality)),
        # An asset filter means any of its types, so each needs one of its own.
        data_filter.asset_filter([f"ortho_analytic_{product.bands}b_sr"]),
        data_filter.asset_filter(["ortho_udm2"]),
    ]
    if search.downloadable:
        filters.append(data_filter.permission_filter())
    return data_filter.and_filter(filters)


def _features(api: Api, search_filter: Any) -> Iterator[dict[str, Any]]:
    """Items of all pages.

    The SDK's own search is not used: it asks a fixed address for the bundle specification first, and ends
    at the first empty page.
    """
    body = {"item_types": [ITEM_TYPE], "filter": search_filter}
    page = api.ask(
        f"{api.url}/data/v1/quick-search",
        method="POST",
        params={"_sort": "acquired asc"},
        body=body,
    )
    seen = set()
    while True:
        yield from page["features"]
        following = page.get("_links", {}).get("_next")
        if not following:
            return
        if following in seen:
            raise FetchError(
                "the pages of a search lead in a circle",
                where=f"{api.url}/data/v1/quick-search",
                fix="search again later",
            )
        seen.add(following)
        page = api.ask(following)


def _scene_item(
    feature: dict[str, Any], area: BaseGeometry, product: PlanetScopeProduct
) -> SceneItem | None:
    footprint = shapely.make_valid(shapely.geometry.shape(feature["geometry"]))
    within = _polygons(footprint & area)
    # Not the footprint itself: it may cut pixels at the edges of the scene. Not the whole area: a
    # wider one would then change scenes that lie within both, and order them again.
    clip = _polygons(footprint.envelope & area)
    if within is None or clip is None:
        return None
    if product.clip and shapely.get_num_coordinates(clip) > MOST_VERTICES:
        raise ConfigError(
            "the area has too many vertices to clip to",
            where=f"scene {feature['id']}",
            expected=f"at most {MOST_VERTICES} within a scene",
            found=shapely.get_num_coordinates(clip),
            fix="simplify `search.area`, or set `product.clip: false`",
        )
    properties = feature["properties"]
    return SceneItem(
        scene=feature["id"],
        # What a download will show: land cover is asked for this.
        geometry=degrees_geojson(within if product.clip else footprint),
        acquired=properties["acquired"],
        licence=LICENCE,
        properties={
            **{name: properties[name] for name in KEPT if name in properties},
            "clip": degrees_geojson(clip),
            "footprint": degrees_geojson(footprint),
        },
    )


def _polygons(shape: BaseGeometry) -> BaseGeometry | None:
    """The polygons of a shape on a fixed grid, in a fixed order: equal areas give equal orders."""
    found = only_polygons(shapely.set_precision(shape, 10.0**-DECIMALS))
    return None if found is None else shapely.orient_polygons(shapely.normalize(found))
