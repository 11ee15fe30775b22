"""Orders: placed once, found again after an interruption, and followed until Planet has delivered.

One order per scene, although Planet takes up to 500 items in one: a scene is one job of the workflow, which
may be cancelled, repeated or added alone, and in a full order one scene that cannot be delivered fails all. The
cost is requests, of which three per second are allowed.

An order is paid, so it is never placed twice: its id is kept in ``order.json`` beside the files, and its name
holds the key of its content, by which an order is found whose answer was lost.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock
from planet import exceptions, order_request  # type: ignore[import-untyped]

from geolatents.acquire.fetch.content import json_content
from geolatents.acquire.fetch.fetcher import Fetcher, Item
from geolatents.acquire.planetscope.api import (
    ITEM_TYPE,
    Api,
    MissingError,
    signed,
    storage_client,
    waited,
)
from geolatents.acquire.planetscope.files import (
    CATALOGUE,
    Kind,
    addressed,
    base_items,
    folder,
    kinds,
    scene_key,
    tools,
)
from geolatents.acquire.scene_list import SceneItem
from geolatents.errors import FetchError, StoreError
from geolatents.files import read_json, write_json
from geolatents.logs import LOG
from geolatents.settings.planetscope import PlanetScopeProduct, PlanetScopeService

BUNDLES = {4: "analytic_sr_udm2", 8: "analytic_8b_sr_udm2"}

ORDER_FILE = "order.json"
MANIFEST = "manifest.json"

Order = dict[str, Any]


def ordered_items(
    api: Api,
    item: SceneItem,
    product: PlanetScopeProduct,
    service: PlanetScopeService,
    downloads: Path,
) -> list[Item]:
    """The files of a scene as its order delivers them, with addresses, sizes and digests.

    Raises:
        AccessError, FetchError: Planet refuses the order, fails it, or takes longer than the time limit.
    """
    order_id = _placed(api, item, product, downloads)
    order = _delivered(api, order_id, item.scene, service)

    def from_order(target: Item, path: str, digests: dict[str, str], size: int | None) -> Item:
        def renewed() -> str:
            return _location(api.sdk.orders.get_order(order_id), path)

        return addressed(target, _location(order, path), renewed, digests, size)

    manifest = Item(
        path=f"{folder(item, product)}/{order_id}_{MANIFEST}",
        url=f"{CATALOGUE}/compute/ops/orders/v2/{order_id}",
        params={"file": MANIFEST},
        content=json_content,
        licence=item.licence,
    )
    fetcher = Fetcher(downloads, storage_client(service, downloads))
    fetched = fetcher.fetch_one(from_order(manifest, MANIFEST, {}, None))
    entries = read_json(fetched.path)["files"]
    bases = base_items(item, product)
    items = []
    for role, kind in kinds(item, product).items():
        entry = _entry(entries, kind, order_id)
        items.append(from_order(bases[role], entry["path"], entry["digests"], entry.get("size")))
    return items


def _placed(api: Api, item: SceneItem, product: PlanetScopeProduct, downloads: Path) -> str:
    """Id of the order of a scene: the kept one, one of this name, or a new one."""
    file = downloads / folder(item, product) / ORDER_FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_name(".order.lock")):
        kept = _kept(file)
        if kept is not None and _usable(api, kept):
            LOG.info("%s: order %s goes on", item.scene, kept)
            return kept
        order_id = _found_or_created(api, item, product)
        write_json(file, {"id": order_id, "scene": item.scene, "tools": tools(item, product)})
        return order_id


def _kept(file: Path) -> str | None:
    if not file.is_file():
        return None
    try:
        return str(read_json(file)["id"])
    except (StoreError, KeyError, TypeError):
        return None  # damaged; the order is found by its name


def _found_or_created(api: Api, item: SceneItem, product: PlanetScopeProduct) -> str:
    name = f"geolatents-{scene_key(item, product)}"
    bundle = {
        "item_ids": [item.scene],
        "item_type": ITEM_TYPE,
        "product_bundle": BUNDLES[product.bands],
    }
    request = {
        **order_request.build_request(name, [bundle], tools=tools(item, product)),
        "source_type": "scenes",  # required by the documentation; the SDK leaves it out
    }

    def once() -> str:
        for order in api.sdk.orders.list_orders(name=name):
            if order["name"] == name and _usable(api, order["id"]):
                LOG.info("%s: order %s was placed before and goes on", item.scene, order["id"])
                return str(order["id"])
        order_id = str(api.sdk.orders.create_order(request)["id"])
        LOG.info("%s: order %s", item.scene, order_id)
        return order_id

    placed: str = api.client.tried(once, f"order of {item.scene}")
    return placed


def _usable(api: Api, order_id: str) -> bool:
    """Whether an order is under way, or has files that can still be had."""
    try:
        order = api.sdk.orders.get_order(order_id)
    except (MissingError, exceptions.ClientError):  # of another account, or no id at all
        return False
    if order["state"] in {"queued", "running"}:
        return True
    results = _results(order)
    return order["state"] == "success" and bool(results) and not any(map(_expired, results))


def _expired(result: dict[str, Any]) -> bool:
    """Whether an address has expired that Planet has just given: then the file itself is gone."""
    if not result.get("expires_at"):
        return False
    moment = datetime.fromisoformat(result["expires_at"])
    if moment.tzinfo is None:  # seen with and without Z
        moment = moment.replace(tzinfo=UTC)
    return moment < datetime.now(UTC)


def _delivered(api: Api, order_id: str, scene: str, service: PlanetScopeService) -> Order:
    """The finished order."""
    where = f"order {order_id} of scene {scene}"
    waited(
        api.sdk.orders.wait,
        order_id,
        service,
        where=where,
        problem="Planet has not finished an order in time",
        expected="a result",
        going_on="it goes on with the same order",
    )
    order: Order = api.sdk.orders.get_order(order_id)
    if order["state"] != "success":
        hints = "; ".join(map(str, order.get("error_hints") or [])) or order.get("last_message")
        raise FetchError(
            f"Planet could not deliver an order (it is {order['state']})",
            where=where,
            found=hints,
            fix="correct what Planet says, or delete the scene from the list; the next run places a new order",
        )
    return order


def _results(order: Order) -> list[dict[str, Any]]:
    return [result for result in order["_links"].get("results") or [] if result]


def _location(order: Order, path: str) -> str:
    """Address of a file of an order; results are named ``{order id}/{path}``."""
    for result in _results(order):
        if result["name"].partition("/")[2] == path and result.get("location"):
            return signed(result["location"])
    raise FetchError(
        "an order lacks a file",
        where=f"order {order['id']}",
        expected=path,
        found=", ".join(result["name"].partition("/")[2] for result in _results(order)),
        fix=f"delete its {ORDER_FILE} in the downloads folder and order anew",
    )


def _entry(entries: list[dict[str, Any]], kind: Kind, order_id: str) -> dict[str, Any]:
    """Entry of a file in an order's manifest: by its annotation, else by its name.

    Planet leaves ``_clip`` out of the name where there was nothing to clip ("seen in client code").
    """
    for entry in entries:
        if entry.get("annotations", {}).get("planet/asset_type") == kind.asset:
            return entry
    for entry in entries:
        if _unclipped(entry["path"]) == _unclipped(kind.name):
            return entry
    raise FetchError(
        "an order lacks a file",
        where=f"order {order_id}",
        expected=kind.asset,
        found=", ".join(json.dumps(entry["path"]) for entry in entries),
        fix="choose the other `product.bands`, or delete the scene from the list",
    )


def _unclipped(path: str) -> str:
    return Path(path).name.replace("_clip", "")
