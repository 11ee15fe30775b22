"""Lists that searches leave: scenes of a dataset, grid cells of a photo set.

They are files that the user keeps, and all that the workflow's graph reads of a provider. A list of
scenes is GeoJSON, so that it opens in QGIS; features may be deleted from it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field, ValidationError, field_validator

from geolatents.errors import FetchError, StoreError
from geolatents.files import read_json, sha256_file, write_json
from geolatents.paths import data_root
from geolatents.settings.base import Name, Section

SEARCH_AGAIN = "run `snakemake search`"
DELETE = "undo the change, or delete the file and run `snakemake search`"

CELL = r"[ns]\d+[ew]\d+"
"""Names of grid cells of photos."""


def search_values(settings: Any) -> dict[str, Any]:
    """What a list depends on, as the list keeps it: provider and search settings, defaults left out.

    An area file counts by its content.

    Args:
        settings: Imagery or photo source, with ``search``, and with ``LISTED`` (pairs of section and
            field) where what is listed depends on other settings too.
    """
    values: dict[str, Any] = settings.search.model_dump(mode="json", exclude_defaults=True)
    values["provider"] = settings.provider
    for section, field in getattr(settings, "LISTED", ()):
        values[f"{section}.{field}"] = getattr(getattr(settings, section), field)
    if isinstance(settings.search.area, str):
        file = data_root() / settings.search.area
        values["area_sha256"] = sha256_file(file) if file.is_file() else None
    return values


class SceneItem(Section):
    """A scene as a provider announced it, with everything that its download needs."""

    scene: Name = Field(description="Name of the scene.")
    geometry: dict[str, Any] = Field(
        description="Footprint within the area, as GeoJSON in EPSG:4326: polygon or multipolygon."
    )
    acquired: str | None = Field(None, description="Acquisition date or time, ISO 8601.")
    licence: str = Field("unknown", description="Licence of the image.")
    properties: dict[str, Any] = Field(
        {}, description="What the provider needs for the download: ids, windows, bands."
    )

    @field_validator("geometry")
    @classmethod
    def _is_polygon(cls, geometry: dict[str, Any]) -> dict[str, Any]:
        polygon = geometry.get("type") in {"Polygon", "MultiPolygon"}
        if not polygon or not geometry.get("coordinates"):
            raise ValueError("the geometry of a scene is a polygon or multipolygon")
        return geometry

    @field_validator("acquired")
    @classmethod
    def _as_gdal_writes_it(cls, acquired: str | None) -> str | None:
        """Times to milliseconds in UTC: QGIS saves no more, and a saved list must stay the same list."""
        if acquired is None or "T" not in acquired:
            return acquired
        moment = datetime.fromisoformat(acquired)
        moment = moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
        milliseconds = round(moment.timestamp() * 1000)
        whole = datetime.fromtimestamp(milliseconds // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        part = f".{milliseconds % 1000:03d}" if milliseconds % 1000 else ""
        return f"{whole}{part}Z"


class SceneList(NamedTuple):
    """Scenes of a dataset, and when they were searched for (UTC)."""

    searched: str
    scenes: dict[str, SceneItem]


def write_scene_list(items: Sequence[SceneItem], search: dict[str, Any], output: Path) -> None:
    """Write a list of scenes as GeoJSON, sorted by name.

    Args:
        items: Scenes.
        search: What the list depends on, see :func:`search_values`.
        output: The list.

    Raises:
        FetchError: Two scenes have one name.
    """
    names = [item.scene for item in items]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise FetchError(
            "two scenes of the search have one name",
            found=", ".join(twice),
            fix="narrow the search; and please report it",
        )
    write_json(
        output,
        {
            "type": "FeatureCollection",
            "search": search,
            "searched": datetime.now(UTC).isoformat(timespec="seconds"),
            "features": [_feature(item) for item in sorted(items, key=lambda item: item.scene)],
        },
    )


def read_scene_list(file: Path, search: dict[str, Any] | None = None) -> SceneList:
    """Read a list of scenes.

    Args:
        file: The list.
        search: What it should depend on, see :func:`search_values`; None: anything.

    Raises:
        FetchError: It is missing, damaged, empty, of another search, or names a scene twice.
    """
    values = _read_list(file, search)
    try:
        scenes = [_item(feature) for feature in values["features"]]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise _damaged(file, error) from None
    names = [item.scene for item in scenes]
    twice = sorted({name for name in names if names.count(name) > 1}) if names else []
    if twice or not names:
        raise FetchError(
            "the list names a scene twice" if twice else "the list holds no scene",
            where=file,
            found=", ".join(twice) or None,
            fix=DELETE,
        )
    return SceneList(str(values["searched"]), {item.scene: item for item in scenes})


def read_cells(file: Path, search: dict[str, Any] | None = None) -> dict[str, str]:
    """Read which grid cells hold photos, with what identifies the photos of each.

    Args:
        file: The list; the table of photos lies beside it.
        search: What it should depend on; None: anything.

    Raises:
        FetchError: List or table are missing, damaged or of another search.
    """
    values = _read_list(file, search)
    cells = values.get("cells")
    if not isinstance(cells, dict) or not all(
        re.fullmatch(CELL, name) and isinstance(content, str) for name, content in cells.items()
    ):
        raise _damaged(file, "`cells` does not name grid cells")
    if not photo_table(file).is_file():
        raise FetchError(
            "the table of photos beside the list is missing", where=photo_table(file), fix=DELETE
        )
    return cells


def photo_table(listing: Path) -> Path:
    """Where the photos of a list lie."""
    return listing.with_suffix(".parquet")


def refuse_list(file: Path, search: str) -> None:
    """Say what is wrong with the list of a search without which the graph of jobs could not be built.

    Args:
        file: The list: ``.geojson`` of scenes, ``.json`` of photos.
        search: JSON of what it should depend on.

    Raises:
        FetchError: Always; the message says what to do.
    """
    read = read_scene_list if file.suffix == ".geojson" else read_cells
    read(file, json.loads(search))
    raise FetchError("the list was written while jobs were planned", where=file, fix="run again")


def _read_list(file: Path, search: dict[str, Any] | None) -> dict[str, Any]:
    if not file.is_file():
        raise FetchError(
            "the search of the configuration was not made yet", where=file, fix=SEARCH_AGAIN
        )
    try:
        values = read_json(file)
    except StoreError as error:
        raise _damaged(file, error.problem) from None
    if not isinstance(values, dict) or not {"search", "searched"} <= set(values):
        raise _damaged(file, "no object with `search` and `searched`")
    if search is not None and values["search"] != search:
        raise FetchError(
            "the list of a search is not of the search that the configuration states",
            where=file,
            expected=search,
            found=values["search"],
            fix=f"{SEARCH_AGAIN}, or undo the change of the settings",
        )
    return values


def _damaged(file: Path, reason: object) -> FetchError:
    if isinstance(reason, ValidationError):
        reason = "; ".join(str(item["msg"]) for item in reason.errors())
    elif isinstance(reason, Exception):
        reason = f"{type(reason).__name__}: {reason}"
    return FetchError(
        "this is no list as `snakemake search` writes it", where=file, found=reason, fix=DELETE
    )


def _feature(item: SceneItem) -> dict[str, Any]:
    values = item.model_dump(mode="json")
    geometry, name = values.pop("geometry"), values.pop("scene")
    return {"type": "Feature", "id": name, "geometry": geometry, "properties": values}


def _item(feature: dict[str, Any]) -> SceneItem:
    return SceneItem(scene=feature["id"], geometry=feature["geometry"], **feature["properties"])
