"""Planet's Data API v1 and Orders API v2, imitated after their published documentation.

Sources, named again beside each answer:

* [search] https://docs.planet.com/develop/apis/data/item-search/
* [filters] https://developers.planet.com/docs/apis/data/searches-filtering/
* [mechanics] https://docs.planet.com/develop/apis/data/ (links, paging) and
  https://docs.planet.com/develop/rate-limiting/ (429 with and without Retry-After)
* [orders] https://docs.planet.com/develop/apis/orders/ (states, limits), .../orders/sources/ (order types),
  .../orders/tools/ (clip, harmonize), .../orders/delivery/ (layout, manifest)
* [clip] https://support.planet.com/hc/en-us/articles/6075850477213 (what an AOI must be)
* [sdk] repository planetlabs/planet-client-python: tests/data/data_item_20220125_075509_67_1061.json,
  tests/data/order_description_b0cb3448-0a74-11eb-92a1-a3d779bb08e0.json,
  tests/integration/test_data_api.py and test_orders_api.py (shapes of items, assets, orders, errors)
* [annotations] names of the annotations in an order's manifest, file names: seen in client code only
* [quota] https://imathworks.com/gis/gis-download-quota-for-open-california-dataset (body of an exhausted quota)

Not documented, and chosen: status 202 and 204 of activation, 401 for an expired address, hosts of addresses.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import rasterio
import rasterio.mask
import shapely
from rasterio.io import MemoryFile
from rasterio.warp import transform_geom

from tests.services.base import Answer, Call, LocalService

BUNDLES = {  # GET /compute/ops/bundles/spec, PSScene only
    "analytic_sr_udm2": ["ortho_analytic_4b_sr", "ortho_analytic_4b_xml", "ortho_udm2"],
    "analytic_8b_sr_udm2": ["ortho_analytic_8b_sr", "ortho_analytic_8b_xml", "ortho_udm2"],
}
NO_KEY = Answer.json({"message": "Please enter your API key.", "errors": []}, 401)
TOO_MANY = Answer.json({"message": "Rate limit exceeded"}, 429)
QUOTA = Answer.json(  # [quota]
    {"field": {}, "general": [{"message": "Download quota has been exceeded."}]}, 429
)
PAGE_SIZE = 250
MOST_ITEMS = 500
MOST_VERTICES = 1500

Scene = tuple[bytes, bytes, Mapping, Mapping]
"""Reflectance and UDM2 (GeoTIFF; empty: none), properties, footprint (GeoJSON)."""


def scene(reflectance: bytes, udm2: bytes, acquired: str, **properties) -> Scene:
    """A scene with the properties that Planet gives its items [sdk], and its footprint."""
    with rasterio.open(io.BytesIO(reflectance)) as image:
        outline = shapely.geometry.mapping(shapely.box(*image.bounds))
        footprint = transform_geom(image.crs, "EPSG:4326", outline)
    defaults = {
        "acquired": acquired, "published": acquired, "updated": acquired,
        "anomalous_pixels": 0, "clear_percent": 100, "cloud_cover": 0, "cloud_percent": 0,
        "ground_control": True, "gsd": 3.6, "instrument": "PS2.SD", "pixel_resolution": 3,
        "publishing_stage": "finalized", "quality_category": "standard", "satellite_id": "1061",
        "strip_id": "5321496", "sun_azimuth": 148, "sun_elevation": 57.8, "view_angle": 1.1,
    }  # fmt: skip
    return reflectance, udm2, defaults | properties, footprint


@dataclass
class Order:
    """An order with the number of times that it was looked at."""

    id: str
    request: dict
    files: dict[str, bytes]
    hints: list[str]
    created: datetime
    polls: int = 0
    cancelled: bool = False
    final: str = "success"


@dataclass
class Asset:
    """An activation; ``polls`` counts from its start."""

    polls: int | None = None


@dataclass(eq=False)
class PlanetService(LocalService):
    """The service.

    Args:
        scenes: Scenes by item id. The reflectance's band count says which assets there are.
        key: The API key that is accepted.
        polls: Looks at an order or asset until it is finished; None: never.
        lifetime: Seconds for which an address is valid.
        page_size: Items of a page where the client asks for none.
        empty_pages: Put an empty page between pages; that there are none is not documented.
        forbidden: Items that the account may not download.
        failing: Error hints by item: its order fails.
        storage: Another service that the addresses redirect to; None: this one.
        annotated: Whether the manifest of an order has annotations.
        gone: Orders whose files are no longer kept: their addresses have expired from the first.
    """

    scenes: Mapping[str, Scene]
    key: str = "PLAK0123456789abcdef"
    polls: int | None = 2
    lifetime: float = 3600.0
    page_size: int = PAGE_SIZE
    empty_pages: bool = False
    forbidden: set[str] = field(default_factory=set)
    failing: dict[str, list[str]] = field(default_factory=dict)
    storage: LocalService | None = None
    annotated: bool = True
    gone: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()
        self.orders: dict[str, Order] = {}
        self.activations: dict[tuple[str, str], Asset] = {}
        self.tokens: dict[str, tuple[float, bytes, str]] = {}  # until, file, name
        self._pages: dict[str, tuple[list[dict], int, int]] = {}
        data, item = r"/data/v1", r"/data/v1/item-types/PSScene/items/([\w.-]+)"
        self.route(f"{data}/quick-search", self._private(self._quick_search))
        self.route(rf"{data}/searches/\w+/results", self._private(self._page))
        self.route(item, self._private(self._item))
        self.route(rf"{item}/assets/?", self._private(self._assets))
        self.route(rf"{data}/assets/([\w=-]+)", self._private(self._asset))
        self.route(rf"{data}/assets/([\w=-]+)/activate", self._private(self._activate))
        orders = r"/compute/ops/orders/v2"
        self.route(orders, self._private(self._orders))
        self.route(rf"{orders}/([\w-]+)", self._private(self._order))
        self.route(r"/compute/ops/bundles/spec", lambda _call: Answer.json(_spec()))
        self.route(r"/(?:data/v1|compute/ops)/download/?", self._download)
        self.route(r"/storage/(\w+)", self._stored)

    # ---- access: HTTP Basic with the key as user, or `Authorization: api-key KEY` [mechanics]

    def _private(self, handler):
        basic = base64.b64encode(f"{self.key}:".encode()).decode()

        def checked(call: Call, *groups: str) -> Answer:
            given = call.headers.get("authorization")
            if given not in {f"api-key {self.key}", f"Basic {basic}"}:
                return Answer(NO_KEY.status, NO_KEY.body, dict(NO_KEY.headers))
            return handler(call, *groups)

        return checked

    # ---- search

    def _quick_search(self, call: Call) -> Answer:
        body = call.json
        if call.method != "POST" or "filter" not in body or "item_types" not in body:
            return _bad("field", "filter and item_types are required")
        if body["item_types"] != ["PSScene"]:
            return _bad("field", "unknown item type")
        size = min(int(call.query.get("_page_size", self.page_size)), PAGE_SIZE)
        field_name, _, direction = call.query.get("_sort", "published desc").partition(" ")
        if field_name not in {"acquired", "published"} or direction not in {"asc", "desc"}:
            return _bad("_sort", "unsupported value")
        found = [self._feature(name) for name in self.scenes]
        found = [feature for feature in found if self._matches(feature, body["filter"])]
        found.sort(key=lambda f: f["properties"][field_name], reverse=direction == "desc")
        return self._answer_page(found, 0, size)

    def _page(self, call: Call) -> Answer:
        if call.query.get("_page") not in self._pages:
            return Answer.json({"message": "unknown page", "errors": []}, 404)
        return self._answer_page(*self._pages[call.query["_page"]])

    def _answer_page(self, found: list[dict], start: int, size: int) -> Answer:
        """``_next`` is absent on the last page [mechanics]; its token is opaque."""
        search = hashlib.md5(json.dumps(found).encode()).hexdigest()
        results = f"{self.url}/data/v1/searches/{search}/results"
        links = {"_self": results, "_first": results}
        empty = self.empty_pages and start > 0 and not self._was_empty(search, start)
        end = start if empty else start + size
        if end < len(found):
            token = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
            self._pages[token] = (found, end, size)
            links["_next"] = f"{results}?_page={token}"
        page = {"_links": links, "features": found[start:end], "type": "FeatureCollection"}
        return Answer.json(page)

    def _was_empty(self, search: str, start: int) -> bool:
        done = self.__dict__.setdefault("_empty", set())
        known = (search, start) in done
        done.add((search, start))
        return known

    def _matches(self, feature: dict, rule: dict) -> bool:
        """The filters [filters]; an unknown one is an error, not a match."""
        kind, config = rule["type"], rule["config"]
        if kind == "AndFilter":
            return all(self._matches(feature, nested) for nested in config)
        if kind == "OrFilter":
            return any(self._matches(feature, nested) for nested in config)
        if kind == "NotFilter":
            return not self._matches(feature, config)
        if kind == "AssetFilter":
            return bool(set(config) & set(feature["assets"]))
        if kind == "PermissionFilter":
            return config == ["assets:download"] and bool(feature["_permissions"])
        if kind == "GeometryFilter":
            relation = rule.get("relation", "intersects")
            footprint = shapely.geometry.shape(feature["geometry"])
            return bool(getattr(footprint, relation)(shapely.geometry.shape(config)))
        value = feature["properties"].get(rule["field_name"])
        if kind == "StringInFilter":
            return value in config
        if kind == "NumberInFilter":
            return value in config
        if kind == "RangeFilter":
            return value is not None and _in_range(value, config)
        assert kind == "DateRangeFilter", kind
        limits = {name: datetime.fromisoformat(text) for name, text in config.items()}
        return _in_range(datetime.fromisoformat(value), limits)

    # ---- items and assets [sdk]

    def _feature(self, name: str) -> dict:
        item = f"{self.url}/data/v1/item-types/PSScene/items/{name}"
        assets = sorted(self._files(name))
        return {
            "_links": {"_self": item, "assets": f"{item}/assets/", "thumbnail": f"{item}/thumb"},
            "_permissions": []
            if name in self.forbidden
            else [f"assets.{asset}:download" for asset in assets],
            "assets": assets,
            "geometry": dict(self.scenes[name][3]),
            "id": name,
            "properties": {"item_type": "PSScene", "provider": "planetscope"}
            | dict(self.scenes[name][2]),
            "type": "Feature",
        }

    def _files(self, name: str) -> dict[str, bytes]:
        """Files by asset type."""
        reflectance, udm2, properties, _ = self.scenes[name]
        bands = _count(reflectance)
        files = {
            f"ortho_analytic_{bands}b_sr": reflectance,
            f"ortho_analytic_{bands}b_xml": _xml(name, properties),
        }
        return files | ({"ortho_udm2": udm2} if udm2 else {})

    def _item(self, _call: Call, name: str) -> Answer:
        return Answer.json(self._feature(name)) if name in self.scenes else _no_item()

    def _assets(self, _call: Call, name: str) -> Answer:
        """``{}`` where nothing is permitted."""
        if name not in self.scenes:
            return _no_item()
        if name in self.forbidden:
            return Answer.json({})
        return Answer.json({asset: self._described(name, asset) for asset in self._files(name)})

    def _described(self, name: str, asset: str) -> dict:
        link = f"{self.url}/data/v1/assets/{_encoded(name, asset)}"
        state = self.activations.setdefault((name, asset), Asset())
        file = self._files(name)[asset]
        done = state.polls is not None and self.polls is not None and state.polls >= self.polls
        described = {
            "_links": {
                "_self": link,
                "activate": f"{link}/activate",
                "type": f"{self.url}/data/v1/asset-types/{asset}",
            },
            "_permissions": ["download"],
            "md5_digest": None,
            "status": "inactive" if state.polls is None else "active" if done else "activating",
            "type": asset,
        }
        if done:
            until, location = self._signed("/data/v1/download", file, asset, self.lifetime)
            described["md5_digest"] = hashlib.md5(file).hexdigest()
            described["location"] = location
            described["expires_at"] = until.replace(tzinfo=None).isoformat()  # no Z [sdk]
        return described

    def _asset(self, _call: Call, code: str) -> Answer:
        name, asset = _decoded(code)
        state = self.activations.setdefault((name, asset), Asset())
        if state.polls is not None:
            state.polls += 1
        return Answer.json(self._described(name, asset))

    def _activate(self, _call: Call, code: str) -> Answer:
        """Activated by GET, answered without a body [sdk]."""
        state = self.activations.setdefault(_decoded(code), Asset())
        active = state.polls is not None
        state.polls = state.polls or 0
        return Answer(204 if active else 202)

    # ---- orders

    def _orders(self, call: Call) -> Answer:
        if call.method == "POST":
            return self._create(call.json)
        listed = sorted(self.orders.values(), key=lambda order: order.created, reverse=True)
        name = call.query.get("name")
        listed = [order for order in listed if name in {None, order.request["name"]}]
        orders = [self._order_description(order, results=False) for order in listed]
        return Answer.json({"_links": {"_self": f"{self.url}{call.path}"}, "orders": orders})

    def _create(self, request: dict) -> Answer:
        for product in request["products"]:
            if product["product_bundle"] not in BUNDLES or product["item_type"] != "PSScene":
                kinds = f"{product['item_type']!r} for bundle type {product['product_bundle']!r}"
                return _bad("Products", f"Bad item type {kinds}")
            if len(product["item_ids"]) > MOST_ITEMS:
                return _bad("Products", f"more than {MOST_ITEMS} items")
            unknown = [item for item in product["item_ids"] if item not in self.scenes]
            if unknown:
                return _bad("Details", f"Item ID {unknown[0]} / Item Type PSScene doesn't exist")
        aoi = _tool(request, "clip")
        if aoi and shapely.get_num_coordinates(shapely.geometry.shape(aoi["aoi"])) > MOST_VERTICES:
            return _bad("Details", "AOI has too many vertices")
        order = self._placed(request)
        self.orders[order.id] = order
        return Answer.json(self._order_description(order, results=False), 202)

    def _placed(self, request: dict) -> Order:
        files: dict[str, tuple[bytes, dict]] = {}
        hints: list[str] = []
        for product in request["products"]:
            for item in product["item_ids"]:
                lacking = set(BUNDLES[product["product_bundle"]]) - set(self._files(item))
                if item in self.failing:
                    hints += self.failing[item]
                elif item in self.forbidden:
                    hints.append(f"Unable to download {item}: no access to assets")
                elif lacking:
                    hints.append(f"{item} has no assets {sorted(lacking)}")
                else:
                    files |= self._delivered(item, product["product_bundle"], request)
        order_id = str(uuid.uuid4())
        partial = request.get("order_type") == "partial" and bool(files)
        final = ("partial" if partial else "failed") if hints else "success"
        contents = {path: body for path, (body, _) in files.items()}
        if final != "failed":
            contents["manifest.json"] = self._manifest(files)
        else:
            contents = {}
        return Order(order_id, request, contents, hints, datetime.now(UTC), final=final)

    def _delivered(self, item: str, bundle: str, request: dict) -> dict[str, tuple[bytes, dict]]:
        """Files by path within the order [orders: delivery], with their annotations."""
        clip = _tool(request, "clip")
        ending = "_clip" if clip else ""
        harmonized = "_harmonized" if _tool(request, "harmonize") else ""
        eight = "_8b" if "8b" in bundle else ""
        names = {
            "sr": f"AnalyticMS_SR{eight}{harmonized}{ending}.tif",
            "xml": f"AnalyticMS{eight}_metadata{ending}.xml",
            "udm2": f"udm2{ending}.tif",
        }
        delivered = {f"PSScene/{item}_metadata.json": (self._metadata(item), {})}
        for asset in BUNDLES[bundle]:
            body, kind = self._files(item)[asset], asset.rpartition("_")[2]
            if clip and kind != "xml":
                body = _clipped(body, clip["aoi"])
            annotations = {
                "planet/asset_type": asset,
                "planet/bundle_type": bundle,
                "planet/item_id": item,
                "planet/item_type": "PSScene",
            }
            delivered[f"PSScene/{item}_3B_{names[kind]}"] = (body, annotations)
        return delivered

    def _metadata(self, item: str) -> bytes:
        feature = self._feature(item)
        return json.dumps(
            {name: feature[name] for name in ("id", "geometry", "properties")}
        ).encode()

    def _manifest(self, files: dict[str, tuple[bytes, dict]]) -> bytes:
        entries = [
            {
                "path": path,
                "media_type": "image/tiff" if path.endswith(".tif") else "application/json",
                "size": len(body),
                "digests": {
                    "md5": hashlib.md5(body).hexdigest(),
                    "sha256": hashlib.sha256(body).hexdigest(),
                },
            }
            | ({"annotations": annotations} if self.annotated else {})
            for path, (body, annotations) in files.items()
        ]
        return json.dumps({"name": "", "files": entries}).encode()

    def _order(self, call: Call, order_id: str) -> Answer:
        order = self.orders.get(order_id)
        if order is None:
            return Answer.json({"message": f"Could not load order ID: {order_id}"}, 404)
        if call.method == "PUT":
            if self._state(order) != "queued":
                return Answer.json({"message": "Order not in a cancellable state"}, 409)
            order.cancelled = True
            return Answer.json(self._order_description(order, results=False))
        described = self._order_description(order, results=True)
        order.polls += 1
        return Answer.json(described)

    def _state(self, order: Order) -> str:
        if order.cancelled:
            return "cancelled"
        if self.polls is not None and order.polls >= self.polls:
            return order.final
        return "running" if order.polls else "queued"

    def _order_description(self, order: Order, results: bool) -> dict:
        state = self._state(order)
        link = f"{self.url}/compute/ops/orders/v2/{order.id}"
        final = state not in {"queued", "running"}
        described = {
            "_links": {"_self": link},
            "created_on": f"{order.created.replace(tzinfo=None).isoformat()}Z",
            "error_hints": order.hints if final else [],
            "id": order.id,
            "last_message": "Manifest delivery completed" if final else "Preparing order",
            "last_modified": f"{datetime.now(UTC).replace(tzinfo=None).isoformat()}Z",
            "name": order.request["name"],
            "products": order.request["products"],
            "state": state,
        }
        if results and state != "queued":
            described["_links"]["results"] = self._results(order, final)
        return described

    def _results(self, order: Order, final: bool) -> list[dict]:
        """What is delivered so far: one file more at each look while the order runs [orders]."""
        paths = list(order.files)
        results = []
        for path in paths if final else paths[: order.polls]:
            lifetime = -86400.0 if order.id in self.gone else self.lifetime
            until, location = self._signed(
                "/compute/ops/download/", order.files[path], path, lifetime
            )
            results.append(
                {
                    "delivery": "success",
                    "expires_at": f"{until.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z",
                    "location": location,
                    "name": f"{order.id}/{path}",
                }
            )
        return results

    # ---- addresses: no key is needed, the token is in the query

    def _signed(self, path: str, file: bytes, name: str, lifetime: float) -> tuple[datetime, str]:
        claims = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        token = f"eyJhbGciOiJIUzUxMiJ9.{claims}.sig"
        self.tokens[token] = (time.time() + lifetime, file, name)
        until = datetime.now(UTC) + timedelta(seconds=lifetime)
        return until, f"{self.url}{path}?token={token}"

    def _download(self, call: Call) -> Answer:
        """Redirects to storage [sdk: test_download_asset_md]."""
        until, file, name = self.tokens.get(call.query.get("token", ""), (0.0, b"", ""))
        if until < time.time():
            return Answer.json({"message": "token is expired", "errors": []}, 401)
        place = f"/storage/{hashlib.sha256(name.encode() + file).hexdigest()}"
        root = (self.storage or self).url
        return Answer.redirect(f"{root}{place}?signature={uuid.uuid4().hex}")

    def _stored(self, call: Call, digest: str) -> Answer:
        return stored(self, call, digest)


def stored(service: PlanetService, call: Call, digest: str) -> Answer:
    """A file of the storage that addresses redirect to, with ETag and ranges."""
    for _, file, name in service.tokens.values():
        if hashlib.sha256(name.encode() + file).hexdigest() == digest:
            answer = Answer.file(call, file)
            answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
            return answer
    return Answer.text("NoSuchKey", 404)


class Storage(LocalService):
    """The same storage on a host of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.planet: PlanetService | None = None
        self.route(r"/storage/(\w+)", lambda call, digest: stored(self.planet, call, digest))


def _spec() -> dict:
    return {"bundles": {name: {"assets": {"PSScene": kinds}} for name, kinds in BUNDLES.items()}}


def _bad(name: str, message: str) -> Answer:
    """[sdk: test_create_order_bad_item_type]."""
    general = [{"message": "Unable to accept order"}]
    return Answer.json({"field": {name: [{"message": message}]}, "general": general}, 400)


def _no_item() -> Answer:
    return Answer.json({"message": "The requested item id does not exist", "errors": []}, 404)


def _tool(request: dict, name: str) -> dict | None:
    return next((tool[name] for tool in request.get("tools", []) if name in tool), None)


def _in_range(value, limits: Mapping) -> bool:
    tests = {
        "gt": lambda limit: value > limit, "gte": lambda limit: value >= limit,
        "lt": lambda limit: value < limit, "lte": lambda limit: value <= limit,
    }  # fmt: skip
    return all(tests[name](limit) for name, limit in limits.items())


def _encoded(name: str, asset: str) -> str:
    text = json.dumps({"i": name, "c": "PSScene", "t": asset, "ct": "item-type"})
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decoded(code: str) -> tuple[str, str]:
    values = json.loads(base64.urlsafe_b64decode(code + "=" * (-len(code) % 4)))
    return values["i"], values["t"]


def _count(tif: bytes) -> int:
    with rasterio.open(io.BytesIO(tif)) as image:
        return int(image.count)


def _clipped(tif: bytes, aoi: dict) -> bytes:
    """Cropped to the AOI, 0 outside [orders: tools]."""
    with rasterio.open(io.BytesIO(tif)) as image:
        shape = transform_geom("EPSG:4326", image.crs, aoi)
        pixels, transform = rasterio.mask.mask(image, [shape], crop=True, nodata=0)
        profile = image.profile | {
            "height": pixels.shape[1], "width": pixels.shape[2], "transform": transform,
            "driver": "GTiff",
        }  # fmt: skip
        descriptions = image.descriptions
    with MemoryFile() as memory:
        with memory.open(**profile) as target:
            target.write(pixels)
            target.descriptions = descriptions
        return bytes(memory.read())


def _xml(name: str, properties: Mapping) -> bytes:
    """The few elements of the metadata that are read; names as in Planet's product specifications."""
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<ps:EarthObservation xmlns:ps="http://schemas.planet.com/ps/v1/planet_product_metadata_geocorrected_level"
 xmlns:eop="http://earth.esa.int/eop" xmlns:gml="http://www.opengis.net/gml">
 <gml:metaDataProperty><ps:EarthObservationMetaData><eop:identifier>{name}</eop:identifier>
 </ps:EarthObservationMetaData></gml:metaDataProperty>
 <gml:using><ps:Acquisition><ps:acquisitionDateTime>{properties["acquired"]}</ps:acquisitionDateTime>
 </ps:Acquisition></gml:using>
</ps:EarthObservation>
""".encode()
