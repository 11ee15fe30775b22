"""PlanetScope: scenes of Planet's catalogue, ordered or activated, downloaded and assembled.

Source: https://docs.planet.com/develop/apis/data/ and https://docs.planet.com/develop/apis/orders/.
"""

from __future__ import annotations

from pathlib import Path

from geolatents.acquire.fetch.fetcher import Fetcher, Item, preview
from geolatents.acquire.planetscope.api import connect, storage_client
from geolatents.acquire.planetscope.assemble import assemble
from geolatents.acquire.planetscope.assets import activated_items
from geolatents.acquire.planetscope.files import base_items
from geolatents.acquire.planetscope.orders import ordered_items
from geolatents.acquire.planetscope.search import search
from geolatents.acquire.scene_list import SceneItem
from geolatents.settings.planetscope import PlanetScopeProduct, PlanetScopeService

__all__ = ["assemble", "download", "planned", "search"]


def planned(
    item: SceneItem, product: PlanetScopeProduct, service: PlanetScopeService
) -> list[Item]:
    """The files of a scene with estimated sizes; makes no request."""
    return list(base_items(item, product).values())


def download(
    item: SceneItem, product: PlanetScopeProduct, service: PlanetScopeService, downloads: Path
) -> dict[str, Path]:
    """Files of a scene by role; makes no request, and needs no key, where they are there.

    Args:
        item: The scene.
        product: What is fetched.
        service: Where, and how patiently.
        downloads: Downloads folder.

    Returns:
        ``reflectance`` and ``udm2`` (GeoTIFF) and ``metadata`` (XML).

    Raises:
        AccessError: There is no key, no permission, or no quota left.
        FetchError: Planet does not deliver, or not in time.
    """
    items = planned(item, product, service)
    if preview(downloads, items).there < len(items):
        api = connect(service, downloads)
        if product.delivery == "order":
            items = ordered_items(api, item, product, service, downloads)
        else:
            items = activated_items(api, item, product, service)
    fetcher = Fetcher(downloads, storage_client(service, downloads), service.workers)
    fetched = fetcher.fetch(items, item.scene)
    roles = base_items(item, product)
    return {role: file.path for role, file in zip(roles, fetched, strict=True)}
