"""The table of all tiles of a dataset: one row each, readable by GeoPandas, QGIS and STAC tools."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely
from pyproj import CRS, Transformer

from geolatents.errors import NoTilesError, StoreError
from geolatents.files import atomic_path, sha256_file, write_json
from geolatents.stores import open_store, read_array, read_strings

Coordinates = npt.NDArray[np.float64]

STAC_VERSION = "1.1.0"
SIDES = ("left", "bottom", "right", "top")


@dataclass(frozen=True)
class _Store:
    """What the index takes from one store; vectors have one entry per tile."""

    path: Path
    scene: str
    bands: list[str]
    dtype: str
    shape: tuple[int, ...]
    crs: str | None
    resolution: list[float] | None
    acquired: str | None
    ids: npt.NDArray[np.str_]
    valid_share: npt.NDArray[np.float32]
    group: list[str | None]
    position: dict[str, npt.NDArray[Any]]


def index_tiles(
    dataset: str, stores: Sequence[Path], manifests: Sequence[Path], table: Path, output: Path
) -> None:
    """Write the table of a dataset's tiles and the small summary that later rules depend on.

    Args:
        dataset: Name of the dataset; the STAC collection.
        stores: Tile stores, one per scene; rows follow their order, then the order in the store.
        manifests: Their manifests, in the same order.
        table: GeoParquet in EPSG:4326 to write: id, scene, position (row in its store),
            valid_share, group, column, row, proj_code, left, bottom, right, top (in the scene's
            CRS), datetime and the columns of STAC-GeoParquet. Footprints have as many points as it
            takes to be true to half a pixel. Packed images have no place: null geometries.
        output: Summary (JSON) to write: n_tiles, bands, dtype, size [width, height], crs and the
            sha256 of each scene's manifest.

    Raises:
        StoreError: Stores differ in bands, type or tile size, or a store cannot be read.
        NoTilesError: No store has a tile.
    """
    opened = [_read(Path(path)) for path in stores]
    _require_alike(opened)
    _require_unique(opened)
    frame = _frame(dataset, opened, Path(table))
    with atomic_path(Path(table)) as part:
        # The covering is STAC-GeoParquet's `bbox` column, too; a table without places has none.
        has_places = bool(frame.geometry.notna().any())
        frame.to_parquet(part, index=False, write_covering_bbox=has_places, schema_version="1.1.0")
    write_json(output, _summary(opened, manifests))


def _read(path: Path) -> _Store:
    store = open_store(path)
    ids = read_strings(store, "ids")
    attributes = dict(store.attrs)
    names = [name for name in ("column", "row", "bounds") if name in store]
    grouped = "group" in store
    groups = read_strings(store, "group") if grouped else np.array([], dtype=np.str_)
    images: Any = store["images"]
    return _Store(
        path=path,
        scene=str(attributes["scene"]),
        bands=list(attributes["bands"]),  # type: ignore[arg-type]
        dtype=images.dtype.name,
        shape=tuple(images.shape[1:]),
        crs=attributes.get("crs"),  # type: ignore[arg-type]
        resolution=attributes.get("resolution"),  # type: ignore[arg-type]
        acquired=attributes.get("acquired"),  # type: ignore[arg-type]
        ids=ids,
        valid_share=read_array(store, "valid_share"),
        group=[str(value) or None for value in groups] if grouped else [None] * len(ids),
        position={name: read_array(store, name) for name in names},
    )


def _require_alike(stores: Sequence[_Store]) -> None:
    if not any(len(store.ids) for store in stores):
        raise NoTilesError(
            "no scene has a tile",
            found=", ".join(store.scene for store in stores) or "no scenes",
            fix="choose a smaller tiles.size or tiles.min_valid, or tiles.edges: pad",
        )
    first = stores[0]
    for store in stores[1:]:
        for what in ("bands", "dtype", "shape"):
            if getattr(store, what) != getattr(first, what):
                raise StoreError(
                    f"scenes differ in {'tile shape (y, x, band)' if what == 'shape' else what}",
                    where=store.path,
                    expected=f"{getattr(first, what)} as in scene {first.scene!r}",
                    found=getattr(store, what),
                    fix="make datasets of their own of them, or name common bands in `use_bands`",
                )


def _require_unique(stores: Sequence[_Store]) -> None:
    ids = pd.Series(np.concatenate([store.ids for store in stores]))
    twice = ids[ids.duplicated()]
    if len(twice):
        places = [str(store.path) for store in stores if np.any(store.ids == twice.iloc[0])]
        raise StoreError(
            f"tile id {twice.iloc[0]!r} occurs twice",
            where=" and ".join(places),
            found=f"{len(twice)} ids in all that are not unique",
            fix="name the scenes differently",
        )


def _frame(dataset: str, stores: Sequence[_Store], table: Path) -> gpd.GeoDataFrame:
    parts = [_rows(dataset, store, table) for store in stores if len(store.ids)]
    frame = pd.concat(parts, ignore_index=True)
    return gpd.GeoDataFrame(frame, geometry="geometry", crs="EPSG:4326")


def _rows(dataset: str, store: _Store, table: Path) -> pd.DataFrame:
    count = len(store.ids)
    missing = np.full(count, np.nan)
    bounds = store.position.get("bounds", np.full((count, 4), np.nan))
    columns: dict[str, Any] = {
        "id": store.ids.astype(object),
        "scene": store.scene,
        "position": np.arange(count, dtype=np.int32),
        "valid_share": store.valid_share,
        "group": pd.array(store.group, dtype="string"),
        "column": pd.array(store.position.get("column", missing), dtype="Int32"),
        "row": pd.array(store.position.get("row", missing), dtype="Int32"),
        "proj_code": pd.array([store.crs] * count, dtype="string"),
        **dict(zip(SIDES, bounds.T, strict=True)),
        "datetime": pd.Series([_moment(store.acquired)] * count, dtype="datetime64[ms, UTC]"),
        **_stac_columns(dataset, store, table),
        "geometry": _footprints(store, bounds),
    }
    return pd.DataFrame(columns)


def _stac_columns(dataset: str, store: _Store, table: Path) -> dict[str, Any]:
    """Columns of STAC-GeoParquet 1.0 that the table does not have anyway."""
    count = len(store.ids)
    data = Path(os.path.relpath(store.path, table.parent)).as_posix()
    links = [_link("collection", table.with_suffix(".json").name)]
    if store.crs is not None:  # packed images have no scene record
        links.append(_link("derived_from", f"scenes/{store.scene}.json"))
    assets = {
        "images": {"href": data, "type": "application/vnd.zarr; version=3", "roles": ["data"]}
    }
    return {
        "type": "Feature",
        "stac_version": STAC_VERSION,
        "collection": dataset,
        "links": [links] * count,
        "assets": [assets] * count,
    }


def _link(relation: str, href: str) -> dict[str, str]:
    return {"href": href, "rel": relation, "type": "application/json"}


def _moment(acquired: str | None) -> datetime | None:
    if acquired is None:
        return None
    moment = datetime.fromisoformat(acquired)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _footprints(store: _Store, bounds: Coordinates) -> npt.NDArray[np.object_]:
    if store.crs is None or "bounds" not in store.position:
        return np.full(len(bounds), None, dtype=object)
    pixel = min(store.resolution or [1.0])
    return footprints(bounds, CRS.from_user_input(store.crs), tolerance=pixel / 2)


def footprints(bounds: Coordinates, crs: CRS, tolerance: float) -> npt.NDArray[np.object_]:
    """Polygons of tiles in EPSG:4326, with as many points per side as the tolerance asks for.

    Tiles across the antimeridian become two polygons (RFC 7946, section 3.1.9).

    Args:
        bounds: left, bottom, right, top in ``crs``, float64 (tile, 4).
        crs: CRS of the bounds.
        tolerance: Largest distance of a side that is straight in degrees from the true one, in
            units of ``crs``.

    Returns:
        Shapely polygons, (tile,).
    """
    forward = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    backward = Transformer.from_crs("EPSG:4326", crs, always_xy=True)
    segments = 1
    while segments < 64 and _sag(bounds, segments, forward, backward) > tolerance:
        segments *= 2
    ring = _ring(bounds, segments)
    lon, lat = forward.transform(ring[..., 0], ring[..., 1])
    across = np.ptp(lon, axis=1) > 180
    polygons = np.asarray(shapely.polygons(np.stack([lon, lat], axis=-1)), dtype=object)
    for index in np.flatnonzero(across):
        polygons[index] = _split_at_antimeridian(lon[index], lat[index])
    return polygons


def _sag(bounds: Coordinates, segments: int, forward: Transformer, backward: Transformer) -> float:
    """Largest distance between the middles of straight segments in degrees and of the true ones."""
    ring = _ring(bounds, segments)
    middle = (ring[:, 1:] + ring[:, :-1]) / 2
    lon, lat = forward.transform(ring[..., 0], ring[..., 1])
    straight = [
        (values[:, 1:] + values[:, :-1]) / 2 for values in (np.unwrap(lon, period=360), lat)
    ]
    x, y = backward.transform(*straight)
    return float(np.max(np.hypot(x - middle[..., 0], y - middle[..., 1]), initial=0.0))


def _ring(bounds: Coordinates, segments: int) -> Coordinates:
    """Closed rings of points along the sides, counter-clockwise, (tile, 4 segments + 1, 2)."""
    left, bottom, right, top = bounds.T[..., None]
    t = np.arange(segments) / segments
    x = [left + t * (right - left), right + 0 * t, right - t * (right - left), left + 0 * t]
    y = [bottom + 0 * t, bottom + t * (top - bottom), top + 0 * t, top - t * (top - bottom)]
    ring = np.stack([np.concatenate(x, axis=1), np.concatenate(y, axis=1)], axis=-1)
    return np.concatenate([ring, ring[:, :1]], axis=1)


def _split_at_antimeridian(lon: Coordinates, lat: Coordinates) -> Any:
    east = shapely.polygons(np.stack([np.where(lon < 0, lon + 360, lon), lat], axis=-1))
    first: Any = shapely.intersection(east, shapely.box(0, -90, 180, 90))
    second = shapely.intersection(east, shapely.box(180, -90, 360, 90))
    moved: Any = shapely.transform(second, lambda xy: xy - [360, 0])
    return shapely.MultiPolygon([first, moved])


def _summary(stores: Sequence[_Store], manifests: Sequence[Path]) -> dict[str, Any]:
    first = stores[0]
    return {
        "n_tiles": sum(len(store.ids) for store in stores),
        "bands": first.bands,
        "dtype": first.dtype,
        "size": [first.shape[1], first.shape[0]],
        "crs": sorted({store.crs for store in stores if store.crs is not None}),
        "scenes": {
            store.scene: sha256_file(Path(manifest))
            for store, manifest in zip(stores, manifests, strict=True)
        },
    }
