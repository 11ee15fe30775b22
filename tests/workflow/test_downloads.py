"""Whole runs in which everything is downloaded, from local services: scenes and land cover, photos and maps."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import yaml
from pyproj import Transformer

from geolatents.files import read_json
from tests import archive_makers
from tests.makers import LEFT, PIXEL, TOP, make_config, make_landcover, make_scene, merge
from tests.services.arcgis_features import ArcgisFeatures
from tests.services.planet import PlanetService
from tests.services.planet import scene as planet_scene
from tests.services.vk import VkService
from tests.services.vk import photo as vk_photo
from tests.services.yandex import Yandex
from tests.workflow.conftest import Workspace

pytestmark = pytest.mark.workflow

KEYS = {
    "PL_API_KEY": "PLAKsecretOfTheTest0123456789",
    "VK_TOKEN": "vk1.a.SecretTokenOfTheTest",
    "YANDEX_STATIC_KEY": "yandex-secret-of-the-test-42",
    "GEOLATENTS_SALT": "salt of the test, long enough",
}
SCENES = ("20230601_080000_11_2450", "20230602_080000_12_2450")
OWNERS = (912345678, 998877665, -77665544)
SIDE = 256
FAST = {"rate": 1000}


@dataclass
class Services:
    """The local services of a run, and what they were asked."""

    planet: PlanetService
    corine: ArcgisFeatures
    vk: VkService
    yandex: Yandex

    @property
    def all(self) -> list[Any]:
        return [self.planet, self.corine, self.vk, self.yandex]

    @property
    def calls(self) -> int:
        return sum(len(service.calls) for service in self.all)


def degrees(column: float, row: float) -> tuple[float, float]:
    """Longitude and latitude of a position in pixels of the scenes."""
    to_degrees = Transformer.from_crs("EPSG:32636", "EPSG:4326", always_xy=True)
    longitude, latitude = to_degrees.transform(LEFT + column * PIXEL, TOP - row * PIXEL)
    return float(longitude), float(latitude)


def scenes(folder: Path) -> dict[str, Any]:
    """Two scenes side by side; a corner of the first is unusable by its UDM2."""
    found = {}
    for column, name in enumerate(SCENES):
        file = make_scene(folder / f"{name}.tif", column=column, seed=column)
        with rasterio.open(file) as image:
            profile = image.profile | {"count": 8, "dtype": "uint8", "nodata": None}
        mask = np.zeros((8, SIDE, SIDE), np.uint8)
        mask[0] = 1
        if column == 0:
            mask[0, :64, :64] = 0
        udm2 = folder / f"{name}_udm2.tif"
        with rasterio.open(udm2, "w", **profile) as image:
            image.write(mask)
        acquired = f"2023-06-0{column + 1}T08:00:00Z"
        found[name] = planet_scene(file.read_bytes(), udm2.read_bytes(), acquired)
    return found


def photos() -> list[dict[str, Any]]:
    """Nine photos of three accounts within the scenes, one of them without a position."""
    moment = int(datetime(2023, 7, 1, 12, tzinfo=UTC).timestamp())
    found = [
        vk_photo(1000 + i, *degrees(40 + 50 * i, 128), moment + i * 3600, owner=OWNERS[i % 3])
        for i in range(8)
    ]
    return [*found, vk_photo(1999, *degrees(9, 9), moment, owner=OWNERS[0], lat=None)]


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    folder = tmp_path_factory.mktemp("served")
    land = geopandas.read_file(make_landcover(folder / "land.gpkg"))
    made = Services(
        PlanetService(scenes(folder), key=KEYS["PL_API_KEY"]),
        ArcgisFeatures(land.rename(columns={"CODE_18": "Code_18"}), cap=7),
        VkService(photos(), token=KEYS["VK_TOKEN"]),
        Yandex(key=KEYS["YANDEX_STATIC_KEY"]),
    )
    with made.planet.running(), made.corine.running(), made.vk.running(), made.yandex.running():
        yield made


def configure(space: Workspace, services: Services) -> None:
    west, south = degrees(-20, SIDE + 20)
    east, north = degrees(2 * SIDE + 20, -20)
    area = [round(value, 5) for value in (west, south, east, north)]
    space.data.mkdir(parents=True, exist_ok=True)
    file = make_config(
        space.folder,
        datasets={
            "small": {
                "imagery": None,
                "landcover": None,
                "tiles": {"size": 16, "min_valid": 0.9},
            }
        },
        photos={
            "views": {
                "source": {
                    "provider": "vk_photos",
                    "search": {"area": area, "dates": ["2023-06-01", "2023-08-31"], "min_side": 75},
                    "service": {"url": services.vk.url, **FAST},
                },
                "maps": {
                    "provider": "yandex_static",
                    "accept_terms": True,
                    "size": [120, 90],
                    "service": {"url": services.yandex.url, **FAST},
                },
            }
        },
    )
    config = yaml.safe_load(file.read_text())
    config["datasets"]["small"] |= {
        "imagery": {
            "provider": "planetscope",
            "search": {"area": area, "dates": ["2023-06-01", "2023-06-30"]},
            "service": {"url": services.planet.url, "poll_interval": 0.05, **FAST},
        },
        "landcover": {
            "source": "corine",
            "service": {"url": f"{services.corine.url}/arcgis/rest/services/Corine", **FAST},
            "minimum_unit_ha": 0,
        },
    }
    file.write_text(yaml.safe_dump(config, sort_keys=False))


@pytest.fixture(scope="module")
def downloaded(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """A finished run; its first steps are checked on the way."""
    space = Workspace(tmp_path_factory.mktemp("downloaded"))
    configure(space, services)
    with pytest.MonkeyPatch.context() as patch:
        for variable, key in KEYS.items():
            patch.setenv(variable, key)

        before = space.run()
        assert before.code != 0
        assert "run `snakemake search`" in before.output
        assert "Traceback" not in before.output
        assert services.calls == 0, "nothing is asked before a search"

        searched = space.run("search")
        assert searched.code == 0, searched.output
        asked = services.calls
        kept = space.run("search")
        assert kept.code == 0, kept.output
        assert "is kept" in kept.output
        dry = space.run("--dry-run")
        assert dry.jobs["download_scene"] == 2
        preview = space.run("preview")
        assert preview.code == 0, preview.output
        assert re.search(r"^small +\d+ +0 +\d+ ", preview.output, flags=re.M), preview.output
        assert services.calls == asked, "lists are kept, and a dry run asks nobody"

        done = space.run()
        assert done.code == 0, done.output
        yield space


def test_scenes_and_corine_end_in_an_agreement_figure(downloaded: Workspace) -> None:
    experiment = downloaded.results / "small/experiments/small"
    assert (experiment / "agreement.png").stat().st_size > 10_000
    assert read_json(experiment / "agreement.json")
    record = read_json(downloaded.results / f"small/scenes/{SCENES[0]}.json")
    assert record["provider"] == "planetscope"
    assert record["acquired"].startswith("2023-06-01")
    assert "Planet" in record["licence"]
    assert record["bands"] == ["blue", "green", "red", "nir"]


def test_downloaded_pixels_and_land_cover_are_the_served_ones(
    downloaded: Workspace, services: Services
) -> None:
    with rasterio.open(downloaded.results / f"small/scenes/{SCENES[1]}.tif") as made:
        pixels, descriptions = made.read(), made.descriptions
    with rasterio.MemoryFile(services.planet.scenes[SCENES[1]][0]) as file, file.open() as truth:
        np.testing.assert_array_equal(pixels[:4], truth.read())
    assert descriptions == ("blue", "green", "red", "nir", "clear")
    land = geopandas.read_parquet(downloaded.results / "small/source/landcover.parquet")
    assert len(land) == len(services.corine.frame)
    assert sorted(land["code"]) == sorted(services.corine.frame["Code_18"])


def test_photos_and_maps_are_two_folders_and_one_table(downloaded: Workspace) -> None:
    folder = downloaded.results / "views"
    table = geopandas.read_parquet(folder / "photos.parquet")
    assert len(table) == 8, "the photo without a position is none"
    assert table.crs == "EPSG:4326"
    assert {path.name for path in (folder / "photos").glob("[!.]*")} == set(table["photo"])
    assert {path.name for path in (folder / "maps").glob("[!.]*")} == set(table["map"])
    assert table["owner"].nunique() == 3
    assert np.allclose(table["metres_per_pixel"], 0.98, atol=0.01), "zoom 17 at 35 degrees north"


def test_a_second_run_asks_nobody_and_does_nothing(
    downloaded: Workspace, services: Services
) -> None:
    asked = services.calls
    assert downloaded.run("--dry-run").jobs == {}
    again = downloaded.run("download")
    assert again.code == 0, again.output
    assert services.calls == asked


def test_after_the_results_are_lost_nothing_is_asked_again(
    downloaded: Workspace, services: Services, tmp_path: Path
) -> None:
    space = downloaded.copy(tmp_path)
    shutil.rmtree(space.results)
    asked = services.calls

    run = space.run("tiles", "results/views/photos.parquet")

    assert run.code == 0, run.output
    assert services.calls == asked
    old, new = downloaded.hashes(), space.hashes()
    for scene in SCENES:
        assert new[f"small/tiles/{scene}.json"] == old[f"small/tiles/{scene}.json"]


def test_a_new_scene_downloads_itself_alone(
    downloaded: Workspace, services: Services, tmp_path: Path
) -> None:
    """A user takes a scene out of the list, and later puts it back."""
    space = downloaded.copy(tmp_path)
    file = space.folder / "searches/small.geojson"
    whole = file.read_text()
    values = json.loads(whole)
    values["features"] = values["features"][:1]
    file.write_text(json.dumps(values))
    assert "download_scene" not in space.run("--dry-run", "tiles").jobs
    file.write_text(whole)
    for stale in [*(space.results / "small").rglob(f"{SCENES[1]}*")]:
        shutil.rmtree(stale) if stale.is_dir() else stale.unlink()

    jobs = space.run("--dry-run", "tiles").jobs

    assert jobs["download_scene"] == jobs["assemble_scene"] == jobs["cut_tiles"] == 1


def test_a_list_of_another_search_stops_before_anything_changes(
    downloaded: Workspace, services: Services, tmp_path: Path
) -> None:
    space = downloaded.copy(tmp_path)
    before, asked = space.hashes(), services.calls
    config = space.folder / "config.yaml"
    config.write_text(config.read_text().replace("2023-06-30", "2023-06-29"))

    run = space.run()

    assert run.code != 0
    assert "not of the search that the configuration states" in run.output
    assert "Traceback" not in run.output
    assert space.hashes() == before
    assert services.calls == asked


@pytest.mark.parametrize(
    "patience",
    [
        {"datasets": {"small": {"imagery": {"service": {"workers": 2, "timeout": 99}}}}},
        {"datasets": {"small": {"landcover": {"service": {"rate": 999}}}}},
        {"photos": {"views": {"source": {"service": {"contact": "me@example.org"}}}}},
        {"photos": {"views": {"maps": {"service": {"attempts": 9}}}}},
    ],
    ids=["scenes", "land cover", "photos", "maps"],
)
def test_how_patiently_a_service_is_asked_runs_nothing_again(
    patience: dict[str, Any], downloaded: Workspace, tmp_path: Path
) -> None:
    space = downloaded.copy(tmp_path)
    config = yaml.safe_load((space.folder / "config.yaml").read_text())
    merge(config, patience)
    (space.folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))

    run = space.run("--dry-run")

    assert run.code == 0, run.output
    assert run.jobs == {}


def test_a_damaged_list_stops_before_anything_changes(
    downloaded: Workspace, tmp_path: Path
) -> None:
    space = downloaded.copy(tmp_path)
    before = space.hashes()
    file = space.folder / "searches/small.geojson"
    values = json.loads(file.read_text())
    values["features"][0]["id"] = "a/b"
    file.write_text(json.dumps(values))

    for target in ([], ["results/small/tiles.json"]):
        run = space.run(*target)
        assert run.code != 0, run.output
        assert "no list as `snakemake search` writes it" in run.output
        assert "Traceback" not in run.output
    preview = space.run("preview")
    assert preview.code == 0
    assert "no list as" in preview.output
    assert space.hashes() == before


def test_a_configuration_of_photos_alone_is_not_the_demo(
    services: Services, tmp_path: Path
) -> None:
    space = Workspace(tmp_path)
    configure(space, services)
    config = yaml.safe_load((space.folder / "config.yaml").read_text())
    for section in ("datasets", "models", "experiments"):
        del config[section]
    (space.folder / "config.yaml").write_text(yaml.safe_dump(config))

    run = space.run("--dry-run")

    assert run.code == 0, run.output
    assert run.jobs == {"check_search": 1, "all": 1}


def test_an_archive_without_address_says_where_to_put_it_and_is_packed_from_there(
    tmp_path: Path,
) -> None:
    space = Workspace(tmp_path)
    space.data.mkdir()
    config = {
        "data": "data",
        "datasets": {
            "buildings": {
                "imagery": {"provider": "images", "archive": "terrassa", "size": 16},
                "splits": {"chance": {"kind": "random"}},
            }
        },
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    folder = tmp_path / "downloads/archives/terrassa"

    missing = space.run("labels")
    assert missing.code != 0
    assert "TerrassaBuildings900.zip" in missing.output
    assert f"put them into {folder}" in missing.output
    assert "Traceback" not in missing.output

    archive_makers.terrassa(folder / "TerrassaBuildings900.zip")
    run = space.run("labels")
    assert run.code == 0, run.output
    assert {"download_archive", "check_images", "pack_images"} <= set(run.jobs)
    record = read_json(space.results / "buildings/downloads/archive.json")
    assert record["files"]["TerrassaBuildings900.zip"]["path"].startswith("downloads:archives/")
    assert space.run("--dry-run", "labels").jobs == {}


def test_no_secret_is_in_anything_that_the_run_left(downloaded: Workspace) -> None:
    """Every file of the run: logs, manifests, records, report, artifacts, Snakemake's own state."""
    values = [*KEYS.values(), *(str(abs(owner)) for owner in OWNERS)]
    searched = 0
    for path in downloaded.folder.rglob("*"):
        if not path.is_file():
            continue
        content = path.read_bytes()
        searched += 1
        for value in values:
            assert value.encode() not in content, f"{value} in {path}"
    assert searched > 100
    provenance = [p for p in downloaded.results.rglob("*.prov.json") if "download" in p.as_posix()]
    assert provenance
    assert list(downloaded.folder.glob("downloads/*/manifest.jsonl"))


def test_a_missing_key_names_its_variable(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = Workspace(tmp_path)
    configure(space, services)
    for variable in KEYS:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))

    run = space.run("search")

    assert run.code != 0
    assert "PL_API_KEY" in run.output
    assert "VK_TOKEN" in run.output
    assert "Traceback" not in run.output
