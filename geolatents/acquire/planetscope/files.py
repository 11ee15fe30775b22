"""What is downloaded of a PlanetScope scene: asset types, names, keys and sizes.

Names are Planet's own ("seen in client code"), so that the folder of a scene can also be read with
``provider: files``, by any program that knows them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pyproj
import shapely
from planet import order_request  # type: ignore[import-untyped]

from geolatents.acquire.fetch.content import Content, ContentError, anything, tiff_content
from geolatents.acquire.fetch.fetcher import Item
from geolatents.acquire.planetscope.api import ITEM_TYPE
from geolatents.acquire.scene_list import SceneItem
from geolatents.files import canonical_json, content_key
from geolatents.settings.planetscope import PlanetScopeProduct

REFLECTANCE, UDM2, METADATA = "reflectance", "udm2", "metadata"

PROVIDER = "planetscope"

CATALOGUE = "https://api.planet.com"
"""Names files in the manifest wherever they came from: another `service.url` must not buy them again."""

PIXEL = 3.0
"""Metres per pixel of orthorectified products."""

UDM2_BANDS = 8
UDM2_RATE = 0.05
"""Size of a compressed UDM2 as a share of its pixels; an estimate."""

XML_BYTES = 20_000


@dataclass(frozen=True)
class Kind:
    """One of the files of a scene.

    Attributes:
        asset: Asset type of the Data API; also the annotation in an order's manifest.
        name: File name as Planet gives it.
        content: Check of the file.
        estimate: Expected bytes.
    """

    asset: str
    name: str
    content: Content
    estimate: int


def kinds(item: SceneItem, product: PlanetScopeProduct) -> dict[str, Kind]:
    """Files of a scene by role."""
    eight = "_8b" if product.bands == 8 else ""
    clip = "_clip" if product.clip else ""
    harmonized = "_harmonized" if product.harmonize else ""
    stem, pixels = f"{item.scene}_3B", _pixels(item, product)
    return {
        REFLECTANCE: Kind(
            f"ortho_analytic_{product.bands}b_sr",
            f"{stem}_AnalyticMS_SR{eight}{harmonized}{clip}.tif",
            tiff_content,
            pixels * product.bands * 2,
        ),
        UDM2: Kind(
            "ortho_udm2",
            f"{stem}_udm2{clip}.tif",
            tiff_content,
            int(pixels * UDM2_BANDS * UDM2_RATE),
        ),
        # Surface reflectance has no XML of its own; that of the radiance product serves.
        METADATA: Kind(
            f"ortho_analytic_{product.bands}b_xml",
            f"{stem}_AnalyticMS{eight}_metadata{clip}.xml",
            xml_content,
            XML_BYTES,
        ),
    }


def tools(item: SceneItem, product: PlanetScopeProduct) -> list[dict[str, Any]]:
    """Tools of an order, in the order in which they are applied."""
    chain = []
    if product.harmonize:
        chain.append(order_request.harmonize_tool("Sentinel-2"))
    if product.clip:
        chain.append(order_request.clip_tool(item.properties["clip"]))
    return chain


def scene_key(item: SceneItem, product: PlanetScopeProduct) -> str:
    """Key of everything that determines the files of a scene; also names its order."""
    wanted = {"item": item.scene, "bands": product.bands, "tools": tools(item, product)}
    return content_key(wanted)


def folder(item: SceneItem, product: PlanetScopeProduct) -> str:
    """Folder of a scene below the downloads folder."""
    return f"{PROVIDER}/{scene_key(item, product)}"


def base_items(item: SceneItem, product: PlanetScopeProduct) -> dict[str, Item]:
    """The files of a scene by role, before it is known where they can be had.

    The identity of the request is the asset and what is done to it, whichever way it is delivered.
    """
    where = f"{CATALOGUE}/data/v1/item-types/{ITEM_TYPE}/items/{item.scene}/assets/"
    done = canonical_json(tools(item, product))
    return {
        role: Item(
            path=f"{folder(item, product)}/{kind.name}",
            url=where,
            params={"asset": kind.asset, "tools": done},
            estimate=kind.estimate,
            content=kind.content,
            licence=item.licence,
        )
        for role, kind in kinds(item, product).items()
    }


def addressed(
    item: Item, location: str, renew: Callable[[], str], digests: dict[str, str], size: int | None
) -> Item:
    """An item with its signed address.

    Whether an address has expired is left to the server that gave it: no clock of ours is compared.

    Args:
        item: The item.
        location: Address to use first.
        renew: Gives a new address.
        digests: Digests that the service states.
        size: Exact bytes, if stated.
    """
    known = iter([location])
    return replace(item, address=lambda: next(known, None) or renew(), digests=digests, size=size)


def xml_content(file: Path) -> None:
    """A well-formed XML document.

    Raises:
        ContentError: It is none.
    """
    anything(file)
    try:
        ElementTree.parse(file)
    except ElementTree.ParseError as error:
        raise ContentError(
            "a file is not what was asked for",
            where=file,
            expected="XML",
            found=error,
            fix="try again later",
        ) from None


def _pixels(item: SceneItem, product: PlanetScopeProduct) -> int:
    # Not the item's geometry: its list may have been made for another `product.clip`.
    shape = shapely.geometry.shape(item.properties["footprint"])
    if product.clip:
        shape &= shapely.geometry.shape(item.properties["clip"])
    square_metres, _ = pyproj.Geod(ellps="WGS84").geometry_area_perimeter(shape)
    return int(abs(square_metres) / PIXEL**2)
