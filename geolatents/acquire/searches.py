"""What all searches of a configuration left: scenes of datasets, grid cells of photo sets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from geolatents.acquire.landcover.margin import widened
from geolatents.acquire.scene_list import SceneItem, read_cells, read_scene_list, search_values
from geolatents.errors import GeolatentsError
from geolatents.settings.config import Config
from geolatents.settings.imagery import DOWNLOADED


class Searches:
    """Lists of scenes and photos, read when the workflow's graph is built; asks no service.

    Attributes:
        scenes: Scenes by name of each dataset that has a list.
        cells: Grid cells of each photo set that has a list, with what identifies their content.
        missing: Names without a usable list.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self.scenes: dict[str, dict[str, SceneItem]] = {}
        self.cells: dict[str, dict[str, str]] = {}
        self.missing: list[str] = []
        for name, section in self.sections():
            try:
                self._read(name, search_values(section))
            except GeolatentsError:
                self.missing.append(name)  # the rule `check_search` says why

    def sections(self) -> Iterator[tuple[str, Any]]:
        """Datasets and photo sets that are searched for, by name."""
        for name, dataset in self._config.datasets.items():
            if isinstance(dataset.imagery, DOWNLOADED):
                yield name, dataset.imagery
        for name, photos in self._config.photos.items():
            yield name, photos.source

    def section(self, name: str) -> Any:
        """The imagery or photo source of a dataset or photo set."""
        return dict(self.sections())[name]

    def file(self, name: str) -> Path:
        """Where the list of a dataset or photo set lies."""
        ending = "json" if name in self._config.photos else "geojson"
        return Path(self._config.searches) / f"{name}.{ending}"

    def search(self, name: str) -> str:
        """JSON of the search settings of a dataset or photo set."""
        return json.dumps(search_values(self.section(name)))

    def area(self, dataset: str) -> list[float]:
        """``[west, south, east, north]`` of a dataset's scenes in degrees, with a margin."""
        coordinates = [item.geometry["coordinates"] for item in self.scenes[dataset].values()]
        longitudes, latitudes = zip(*_points(coordinates), strict=True)
        return widened(min(longitudes), min(latitudes), max(longitudes), max(latitudes))

    def _read(self, name: str, search: dict[str, Any]) -> None:
        file = self.file(name)
        if name in self._config.photos:
            self.cells[name] = read_cells(file, search)
        else:
            self.scenes[name] = read_scene_list(file, search).scenes


def _points(coordinates: Any) -> Iterator[tuple[float, float]]:
    if coordinates and isinstance(coordinates[0], int | float):
        yield coordinates[0], coordinates[1]
        return
    for part in coordinates:
        yield from _points(part)
