"""Land cover from vector files: GeoPackage, shapefile, file geodatabase, GeoJSON, GeoParquet."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fiona
import geopandas
import numpy as np
import numpy.typing as npt
import pyarrow
import pyarrow.parquet
import pyogrio
import pyproj

from geolatents.acquire.landcover.area import Scenes
from geolatents.acquire.landcover.codes import (
    decode,
    find_code_field,
    looks_like_code_field,
    value_text,
)
from geolatents.acquire.landcover.polygons import (
    Polygons,
    chosen_crs,
    no_overlap,
    valid_polygons,
    within,
)
from geolatents.errors import LandCoverError
from geolatents.geometry import Box
from geolatents.nomenclature import Nomenclature
from geolatents.settings.landcover import LandCover


@dataclass(frozen=True)
class Layer:
    """What a layer says of itself before any feature is read."""

    name: str | None
    field: str
    crs: pyproj.CRS | None


def read_vector(
    file: Path,
    settings: LandCover,
    nomenclature: Nomenclature,
    scenes: Scenes,
) -> Polygons | LandCoverError:
    """Read the polygons of one vector file around the scenes.

    Args:
        file: Any format that GDAL reads, or GeoParquet.
        settings: `layer`, `code_field`, `crs`, `values`, `unknown` and `repair` are used.
        nomenclature: Whose codes are meant.
        scenes: Where land cover is wanted.

    Returns:
        The polygons, cut at the margin; or, where none is there, the error that says so: the caller
        knows whether another file has some.

    Raises:
        LandCoverError: The file cannot be read or used.
    """
    layer = find_layer(file, settings, scenes)
    crs = chosen_crs(layer.crs, settings, file)
    area = scenes.area(crs)
    if area is None:
        return no_overlap(file, None, crs, None)
    frame = _read_frame(file, layer, area.wanted)
    geometries = np.asarray(frame.geometry.array, dtype=object)
    values = _value_texts(frame[layer.field])
    labels = np.array(
        [
            f"feature {row} ({layer.field} {value!r})"
            for row, value in zip(frame.index, values, strict=True)
        ]
    )
    valid, repaired = valid_polygons(geometries, labels, settings, file)
    details = {"field": layer.field, "layer": layer.name, "repaired": repaired}
    found = within(Polygons(crs, valid, values, details), area)
    if not len(found.codes):
        return no_overlap(file, _layer_bounds(file, layer), crs, area)
    meaning = decode(Counter(found.codes.tolist()), settings, nomenclature, file)
    found.details["values"] = meaning.reading
    known = np.flatnonzero([value in meaning.codes for value in found.codes])
    kept = found.take(known, found.geometries[known])
    codes = np.array([meaning.codes[value] for value in kept.codes], dtype=np.str_)
    return Polygons(crs, kept.geometries, codes, kept.details)


def find_layer(file: Path, settings: LandCover, scenes: Scenes) -> Layer:
    """The named layer, or the only one with polygons and a code field where land cover is wanted.

    The official files of CORINE hold overseas departments as layers of their own.

    Raises:
        LandCoverError: The file cannot be opened, the layer is missing, or there are none or
            several candidates.
    """
    if is_parquet(file):
        return _parquet_layer(file, settings)
    layers = _layers(file)
    if settings.layer is not None:
        if settings.layer not in layers:
            raise LandCoverError(
                "the land cover has no such layer",
                where=file,
                expected=f"layer {settings.layer!r}",
                found=", ".join(map(repr, layers)),
                fix="correct `landcover.layer`",
            )
        return _layer(file, settings.layer, layers[settings.layer], settings)
    names = [name for name, fields in layers.items() if _may_hold_codes(fields, settings)]
    if len(names) > 1:
        # Where none is, the first one makes the message.
        names = [name for name in names if _touches(file, name, settings, scenes)] or names[:1]
    if len(names) > 1:
        raise LandCoverError(
            "the land cover has several layers with a code field around the scenes",
            where=file,
            expected="one",
            found=", ".join(map(repr, names)),
            fix="name the layer in `landcover.layer`",
        )
    # With no candidate, the first layer's fields make the message.
    name = names[0] if names else next(iter(layers))
    return _layer(file, name, layers[name], settings)


def is_parquet(file: Path) -> bool:
    """Whether a file is (Geo)Parquet, by its ending."""
    return file.suffix.lower() in {".parquet", ".geoparquet", ".pq"}


def _layers(file: Path) -> dict[str, list[str]]:
    """Fields of every layer with geometries."""
    try:
        found: dict[str, list[str]] = {}
        for name in fiona.listlayers(file):
            with fiona.open(file, layer=name) as collection:
                if collection.schema["geometry"] != "None":
                    found[name] = list(collection.schema["properties"])
    except (fiona.errors.FionaError, OSError) as error:
        raise _unreadable(file, error) from None
    if not found:
        raise LandCoverError(
            "the land cover has no layer with geometries", where=file, fix="check `landcover.path`"
        )
    return found


def _may_hold_codes(fields: Sequence[str], settings: LandCover) -> bool:
    if settings.code_field is not None:
        return settings.code_field in fields
    return any(map(looks_like_code_field, fields))


def _touches(file: Path, name: str, settings: LandCover, scenes: Scenes) -> bool:
    """Whether a layer has a feature where land cover is wanted."""
    area = scenes.area(chosen_crs(_layer_crs(file, name), settings, file))
    if area is None:
        return False
    try:
        first = pyogrio.read_dataframe(
            file, layer=name, columns=[], mask=area.wanted, max_features=1
        )
    except pyogrio.errors.DataSourceError as error:
        raise _unreadable(file, error) from None
    return len(first) > 0


def _layer_crs(file: Path, name: str) -> pyproj.CRS | None:
    crs = pyogrio.read_info(file, layer=name)["crs"]
    return pyproj.CRS.from_user_input(crs) if crs else None


def _layer(file: Path, name: str, fields: Sequence[str], settings: LandCover) -> Layer:
    field = find_code_field(fields, settings, f"{file}, layer {name!r}")
    return Layer(name, field, _layer_crs(file, name))


def _parquet_layer(file: Path, settings: LandCover) -> Layer:
    try:
        schema = pyarrow.parquet.read_schema(file)
        geo = json.loads((schema.metadata or {})[b"geo"])
    except (OSError, ValueError, KeyError, pyarrow.ArrowException) as error:
        raise _unreadable(file, error) from None
    field = find_code_field([n for n in schema.names if n not in geo["columns"]], settings, file)
    # GeoParquet 1.1: an absent CRS means longitude and latitude, null means unknown.
    crs = geo["columns"][geo["primary_column"]].get("crs", "OGC:CRS84")
    return Layer(None, field, pyproj.CRS.from_user_input(crs) if crs else None)


def _read_frame(file: Path, layer: Layer, wanted: Any) -> Any:
    """Features that touch the wanted area, indexed by feature number."""
    if is_parquet(file):
        return _read_parquet(file, layer, wanted.bounds)
    try:
        return pyogrio.read_dataframe(
            file, layer=layer.name, columns=[layer.field], mask=wanted, fid_as_index=True
        )
    except pyogrio.errors.DataSourceError as error:
        raise _unreadable(file, error) from None


def _read_parquet(file: Path, layer: Layer, bounds: Box) -> Any:
    geometry = json.loads(pyarrow.parquet.read_schema(file).metadata[b"geo"])["primary_column"]
    columns = [layer.field, geometry]
    try:
        frame = geopandas.read_parquet(file, columns=columns, bbox=bounds)
    except ValueError:  # a file without a bounding-box column is read whole
        frame = geopandas.read_parquet(file, columns=columns)
    left, bottom, right, top = bounds
    extents = frame.bounds
    touching = (
        (extents["minx"] <= right)
        & (extents["maxx"] >= left)
        & (extents["miny"] <= top)
        & (extents["maxy"] >= bottom)
    )
    return frame[touching]


def _layer_bounds(file: Path, layer: Layer) -> Box | None:
    if is_parquet(file):
        bounds = geopandas.read_parquet(file).total_bounds
    else:
        bounds = pyogrio.read_info(file, layer=layer.name, force_total_bounds=True)["total_bounds"]
    if bounds is None or not np.isfinite(bounds).all():
        return None
    left, bottom, right, top = (float(value) for value in bounds)
    return left, bottom, right, top


def _value_texts(column: Any) -> npt.NDArray[np.str_]:
    return np.array([value_text(value) for value in column], dtype=np.str_)


def _unreadable(file: Path, error: Exception) -> LandCoverError:
    return LandCoverError(
        "the land cover cannot be read as a vector file",
        where=file,
        expected="gpkg, shp, gdb, geojson or geoparquet",
        found=error,
        fix="check `landcover.path` and `landcover.source`",
    )
