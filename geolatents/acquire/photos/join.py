"""Two folders, photos and maps, and one table that joins them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd

from geolatents.acquire.downloads import found_again
from geolatents.errors import FetchError
from geolatents.files import atomic_path, read_json
from geolatents.logs import LOG

KEPT = ["id", "cell", "provider", "taken", "licence", "licence_url", "author", "owner", "page", "geometry"]  # fmt: skip
"""Columns of the search table that are published; the addresses of the images are not."""

TYPES = {
    "photo": "string", "photo_sha256": "string", "width": "Int32", "height": "Int32",
    "map": "string", "map_sha256": "string", "map_layer": "string", "map_zoom": "Int32",
    "metres_per_pixel": "float64", "map_width": "Int32", "map_height": "Int32",
    "map_width_m": "float64", "map_height_m": "float64", "map_crs": "string", "map_bounds": "string",
}  # fmt: skip


def join_photos(
    table: Path,
    photo_records: Sequence[Path],
    map_records: Sequence[Path],
    photos_folder: Path,
    maps_folder: Path | None,
    output: Path,
) -> None:
    """Gather downloaded photos and maps in two folders, and write one table that joins them.

    Where maps were wanted, photos without one are left out, and their number is logged. Files are
    hard links into the downloads where the file system allows it, else copies.

    Args:
        table: Table of the search.
        photo_records: Records of the photos of all cells.
        map_records: Records of their maps; none if no maps are wanted.
        photos_folder: Folder to write, ``{id}.jpg`` or another ending.
        maps_folder: Folder to write, ``{id}.png`` or ``.jpg``; empty without maps, None for no folder.
        output: GeoParquet to write, one row per photo sorted by id, points in EPSG:4326. Columns:
            id, cell, provider, taken, licence, licence_url, author, owner (keyed hash), page, photo
            (file name), photo_sha256, width, height (pixels), and with maps: map, map_sha256,
            map_layer, map_zoom, metres_per_pixel (on the ground), map_width, map_height (pixels),
            map_width_m, map_height_m (metres on the ground), map_crs, map_bounds (left, bottom,
            right, top in it).

    Raises:
        FetchError: A file is gone or has changed, or no photo is left.
    """
    photos = _entries(photo_records, "photos")
    maps = _entries(map_records, "maps")
    kept = sorted(photos.keys() & maps.keys()) if map_records else sorted(photos)
    LOG.info("%d photos; %d without a map are left out", len(kept), len(photos) - len(kept))
    if not kept:
        raise FetchError(
            "no photo is left",
            where=table,
            found=f"{len(photos)} photos, {len(maps)} maps",
            fix="search again, or look at `missing` in the records of the downloads",
        )
    rows = [{"id": name, **_photo_columns(photos[name][0])} for name in kept]
    if map_records:
        rows = [row | _map_columns(row["id"], maps[row["id"]][0]) for row in rows]
    _gather(photos_folder, {row["photo"]: photos[row["id"]] for row in rows})
    if maps_folder is not None:
        _gather(maps_folder, {row["map"]: maps[row["id"]] for row in rows if map_records})
    frame = _joined(table, rows)
    with atomic_path(output) as part:
        frame.to_parquet(
            part, index=False, write_covering_bbox=True, schema_version="1.1.0", compression="zstd"
        )


_Located = tuple[Mapping[str, Any], Path]
"""Entry of a record, and the record, which its path is relative to."""


def _entries(records: Sequence[Path], kind: str) -> dict[str, _Located]:
    return {
        entry["id"]: (entry, Path(record))
        for record in records
        for entry in read_json(record)[kind]
    }


def _photo_columns(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "photo": entry["id"] + Path(entry["path"]).suffix,
        "photo_sha256": entry["sha256"],
        "width": entry["width"],
        "height": entry["height"],
    }


def _map_columns(name: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    pixel = entry["metres_per_pixel"]
    return {
        "map": name + Path(entry["path"]).suffix,
        "map_sha256": entry["sha256"],
        "map_layer": entry["layer"],
        "map_zoom": entry["zoom"],
        "metres_per_pixel": pixel,
        "map_width": entry["width"],
        "map_height": entry["height"],
        "map_width_m": entry["width"] * pixel,
        "map_height_m": entry["height"] * pixel,
        "map_crs": entry["crs"],
        "map_bounds": ", ".join(map(str, entry["bounds"])),
    }


def _gather(folder: Path, files: Mapping[str, _Located]) -> None:
    with atomic_path(folder) as part:
        part.mkdir()
        for name, (entry, record) in files.items():
            source = found_again(entry, record)
            try:
                os.link(source, part / name)
            except OSError:  # another file system, or one without hard links
                shutil.copyfile(source, part / name)


def _joined(table: Path, rows: Sequence[Mapping[str, Any]]) -> gpd.GeoDataFrame:
    found = gpd.read_parquet(table, columns=KEPT)
    columns = pd.DataFrame(rows)
    columns = columns.astype({name: kind for name, kind in TYPES.items() if name in columns})
    columns["id"] = columns["id"].astype(found["id"].dtype)
    joined = found.merge(columns, on="id", how="inner", validate="one_to_one")
    absent = set(columns["id"]) - set(joined["id"])
    if absent:
        raise FetchError(
            "records name photos that the search does not",
            where=table,
            found=", ".join(sorted(absent)[:3]),
            fix="delete the records of the downloads, and run again",
        )
    return joined.sort_values("id", ignore_index=True)
