"""The plan of a configuration: what it refuses before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from geolatents.errors import ConfigError
from geolatents.paths import DATA_VARIABLE
from geolatents.plan import Plan
from geolatents.settings.config import load_config
from tests.makers import make_config, make_landcover, make_scene


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(DATA_VARIABLE, "data")  # set by the plan; put back afterwards
    make_scene(tmp_path / "data" / "scene-0.tif")
    make_landcover(tmp_path / "data" / "landcover.gpkg")
    return tmp_path


def test_a_scene_to_map_is_one_of_the_dataset(folder: Path) -> None:
    known = make_config(folder, experiments={"small": {"map_scene": "scene-0"}})
    assert "results/small/experiments/small/map.tif" in Plan(load_config(known)).targets("olr")
    unknown = make_config(folder, experiments={"small": {"map_scene": "scene-9"}})
    with pytest.raises(ConfigError, match=r"no scene 'scene-9'[\s\S]*one of scene-0"):
        Plan(load_config(unknown))


def test_packed_images_are_not_mapped(folder: Path) -> None:
    (folder / "data" / "pictures").mkdir()
    (folder / "data" / "table.txt").touch()
    imagery = {"provider": "images", "images": "pictures", "table": "table.txt"}
    for key in ("files", "bands"):
        imagery[key] = None  # type: ignore[assignment]
    config = make_config(
        folder,
        datasets={"small": {"imagery": imagery, "landcover": None}},
        experiments={"small": {"map_scene": "images"}},
    )
    with pytest.raises(ConfigError, match="without position cannot be mapped"):
        Plan(load_config(config))
