"""Assets: whole files of the catalogue, activated, followed and downloaded one by one."""

from __future__ import annotations

from typing import Any

from geolatents.acquire.fetch.fetcher import Item
from geolatents.acquire.planetscope.api import ITEM_TYPE, KEY, Api, signed, waited
from geolatents.acquire.planetscope.files import Kind, addressed, base_items, kinds
from geolatents.acquire.scene_list import SceneItem
from geolatents.errors import AccessError, FetchError
from geolatents.settings.planetscope import PlanetScopeProduct, PlanetScopeService

Asset = dict[str, Any]


def activated_items(
    api: Api, item: SceneItem, product: PlanetScopeProduct, service: PlanetScopeService
) -> list[Item]:
    """The files of a scene as active assets, with addresses and digests.

    Activation goes on at Planet when this process ends, so that the next run finds it.

    Raises:
        AccessError, FetchError: The scene may not be downloaded, lacks an asset, or takes longer than the
            time limit.
    """
    offered = api.sdk.data.list_item_assets(ITEM_TYPE, item.scene)
    assets = {
        role: _permitted(offered, kind, item.scene) for role, kind in kinds(item, product).items()
    }
    for asset in assets.values():
        api.sdk.data.activate_asset(asset)
    bases = base_items(item, product)
    return [
        _item(api, bases[role], _active(api, asset, item.scene, service))
        for role, asset in assets.items()
    ]


def _permitted(offered: dict[str, Asset], kind: Kind, scene: str) -> Asset:
    asset = offered.get(kind.asset)
    if not offered or (asset is not None and "download" not in asset.get("_permissions", [])):
        raise AccessError(
            "the account may not download a scene",
            where=f"{kind.asset} of {scene}",
            fix=f"search again with `search.downloadable: true`, or ask Planet for access; {KEY.help()}",
        )
    if asset is None:
        raise FetchError(
            "a scene lacks an asset",
            where=scene,
            expected=kind.asset,
            found=", ".join(sorted(offered)),
            fix="try again later, reflectance is published some hours after the scene; or choose other `product.bands`",
        )
    return asset


def _active(api: Api, asset: Asset, scene: str, service: PlanetScopeService) -> Asset:
    active: Asset = waited(
        api.sdk.data.wait_asset,
        asset,
        service,
        where=f"{asset['type']} of scene {scene}",
        problem="Planet has not activated an asset in time",
        expected="an active asset",
        going_on="the activation goes on",
    )
    return active


def _item(api: Api, base: Item, asset: Asset) -> Item:
    def renewed() -> str:
        fresh = api.ask(asset["_links"]["_self"])
        if "location" not in fresh:
            raise FetchError(
                "an asset is no longer active",
                where=base.path,
                found=fresh.get("status"),
                fix="run again: it is activated anew",
            )
        return signed(fresh["location"])

    digest = asset.get("md5_digest")
    return addressed(
        base, signed(asset["location"]), renewed, {"md5": digest} if digest else {}, None
    )
