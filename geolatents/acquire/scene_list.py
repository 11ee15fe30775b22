"""The list of scenes that a search found: a file that the user keeps, and all that the workflow's graph reads of a provider.

It is GeoJSON, so that it opens in QGIS; a user may delete features from it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from geolatents.errors import FetchError
from geolatents.files import read_json, write_json
from geolatents.settings.base import Name, Section

SEARCH_AGAIN = "run `snakemake search`"


def search_values(settings: Any) -> dict[str, Any]:
    """Settings of a search as its list keeps them: defaults left out.

    Args:
        settings: Imagery or photo source, with ``search``, and with ``LISTED`` where what is listed
            depends on settings of the product too.
    """
    values: dict[str, Any] = settings.search.model_dump(mode="json", exclude_defaults=True)
    listed = {name: getattr(settings.product, name) for name in getattr(settings, "LISTED", ())}
    return values | ({"product": listed} if listed else {})


class SceneItem(Section):
    """A scene as a provider announced it, with everything that its download needs."""

    scene: Name = Field(description="Name of the scene.")
    geometry: dict[str, Any] = Field(
        description="Footprint within the area, as GeoJSON in EPSG:4326."
    )
    acquired: str | None = Field(None, description="Acquisition date or time, ISO 8601.")
    licence: str = Field("unknown", description="Licence of the image.")
    properties: dict[str, Any] = Field(
        {}, description="What the provider needs for the download: ids, windows, bands."
    )


class SceneList(Section):
    """Scenes of a dataset, with the search that found them."""

    provider: str = Field(description="Provider that was asked.")
    search: dict[str, Any] = Field(description="Search settings, defaults left out.")
    searched: str = Field(description="When, in UTC.")
    scenes: list[SceneItem] = Field(description="Scenes in the order of their names.")

    @property
    def names(self) -> list[str]:
        """Names of the scenes."""
        return [item.scene for item in self.scenes]


def write_scene_list(
    items: Sequence[SceneItem], provider: str, search: dict[str, Any], output: Path
) -> None:
    """Write a list of scenes as GeoJSON, sorted by name.

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
            "provider": provider,
            "search": search,
            "searched": datetime.now(UTC).isoformat(timespec="seconds"),
            "features": [_feature(item) for item in sorted(items, key=lambda item: item.scene)],
        },
    )


def read_list(file: Path, search: dict[str, Any] | None = None) -> dict[str, Any]:
    """Read what a search of any kind left.

    Args:
        file: The list.
        search: Search settings of the configuration, defaults left out; None: of any search.

    Raises:
        FetchError: It is missing, or of another search.
    """
    if not file.is_file():
        raise FetchError(
            "the search of the configuration was not made yet", where=file, fix=SEARCH_AGAIN
        )
    values = read_json(file)
    if search is not None and values.get("search") != search:
        raise FetchError(
            "the list of a search is not of the search that the configuration states",
            where=file,
            expected=search,
            found=values.get("search"),
            fix=f"{SEARCH_AGAIN}, or undo the change of `search`",
        )
    return dict(values)


def check_list(file: Path, search: str, output: Path) -> None:
    """Check that the list of a search is there and of the search that the configuration states.

    Args:
        file: The list.
        search: JSON of the search settings, defaults left out.
        output: JSON with the time of the search.

    Raises:
        FetchError: There is none, or it is of another search.
    """
    values = read_list(file, json.loads(search))
    write_json(output, {"searched": values["searched"]})


def read_scene_list(file: Path, search: dict[str, Any] | None = None) -> SceneList:
    """Read a list of scenes.

    Raises:
        FetchError: It is missing or damaged, of another search, or names a scene twice.
    """
    values = read_list(file, search)
    try:
        found = SceneList(
            provider=values["provider"],
            search=values["search"],
            searched=values["searched"],
            scenes=[_item(feature) for feature in values["features"]],
        )
    except (KeyError, TypeError, AttributeError, ValidationError) as error:
        raise FetchError(
            "this is no list of scenes",
            where=file,
            expected="GeoJSON as `snakemake search` writes it; features may be deleted",
            found=f"{type(error).__name__}: {error}",
            fix=f"undo the change, or {SEARCH_AGAIN}",
        ) from None
    if len(set(found.names)) < len(found.names):
        raise FetchError(
            "the list of scenes names a scene twice",
            where=file,
            found=", ".join(sorted({n for n in found.names if found.names.count(n) > 1})),
            fix="delete one of the features",
        )
    return found


def _feature(item: SceneItem) -> dict[str, Any]:
    values = item.model_dump(mode="json")
    geometry, name = values.pop("geometry"), values.pop("scene")
    return {"type": "Feature", "id": name, "geometry": geometry, "properties": values}


def _item(feature: dict[str, Any]) -> SceneItem:
    return SceneItem(scene=feature["id"], geometry=feature["geometry"], **feature["properties"])
