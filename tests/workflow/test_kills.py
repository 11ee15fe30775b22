"""Every rule survives `kill -9` at any moment, and what it leaves equals what an undisturbed run leaves."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geolatents.files import read_json
from tests.makers import BANDS, make_config, make_landcover, make_scene
from tests.workflow import test_downloads
from tests.workflow.conftest import Workspace
from tests.workflow.killing import (
    Event,
    Kill,
    Killer,
    artifacts,
    assert_whole,
    events_by_rule,
    figures,
    leftovers,
)
from tests.workflow.test_downloads import KEYS, Services

pytestmark = pytest.mark.workflow
services = test_downloads.services


def unbuilt(source: Workspace, folder: Path) -> Workspace:
    """The inputs and configuration of another workspace, and nothing built.

    Copied, since a GeoPackage that is written again has another date in it.
    """
    shutil.copytree(source.data, folder / "data")
    shutil.copy(source.folder / "config.yaml", folder)
    return Workspace(folder)


def rules_of(space: Workspace) -> list[str]:
    """Rules that made a workspace's results, from their benchmarks."""
    return sorted(
        {
            file.stem if file.parent.name == "benchmarks" else file.parent.name
            for file in space.results.rglob("benchmarks/**/*.tsv")
        }
    )


def test_each_rule_survives_the_kill_of_its_job(finished: Workspace, tmp_path: Path) -> None:
    """Each rule dies once, before or after its first output gets its name, and is tried again in the same run."""
    space = unbuilt(finished, tmp_path / "space")
    killer = Killer(space, tmp_path / "kills")
    rules = rules_of(finished)
    moments = {rule: ("whole", "named")[place % 2] for place, rule in enumerate(rules)}
    run = killer.run({rule: [("job", moments[rule])] for rule in rules}, "--retries", "2")

    assert run.code == 0, run.output
    assert killer.kills() == [f"{rule}.0" for rule in rules]
    assert_whole(space, artifacts(finished))
    assert figures(space) == figures(finished)


@pytest.mark.parametrize("when", [5, "end"], ids=["while it writes", "before its record"])
def test_the_whole_run_is_killed_and_goes_on(
    when: int | str, finished: Workspace, tmp_path: Path
) -> None:
    """Snakemake's lock stays and says so; after `--unlock` the same command completes."""
    space = unbuilt(finished, tmp_path / "space")
    killer = Killer(space, tmp_path / "kills")
    killed = killer.run({"cut_tiles": [("run", when)]}, "tiles")
    assert killed.code == -9
    assert killer.kills() == ["cut_tiles.0"]

    locked = space.run("tiles")
    assert locked.code != 0
    assert "--unlock" in locked.output
    assert space.run("--unlock").code == 0
    again = space.run("tiles")

    assert again.code == 0, again.output
    assert again.jobs.get("cut_tiles", 0) >= 1
    expected = artifacts(finished)
    assert {name: expected[name] for name in artifacts(space)} == artifacts(space)
    assert set(read_json(space.results / "small/tiles/scene-1.json")) == {"arrays", "attributes"}
    assert leftovers(space) == []
    assert space.run("--dry-run", "tiles").jobs == {}


# ---- at random


@pytest.fixture(scope="module")
def seed() -> int:
    """Another one each time, printed by a failing test; GEOLATENTS_TEST_SEED repeats it."""
    found = int(os.environ.get("GEOLATENTS_TEST_SEED") or random.SystemRandom().randrange(10**6))
    print(f"GEOLATENTS_TEST_SEED={found}")
    return found


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, list[Event]]:
    """An undisturbed run of every rule that needs no service, and what its scripts did to files."""
    space = Workspace(tmp_path_factory.mktemp("everything"))
    configure_everything(space)
    run, events = Killer(space, space.folder / "marks").record(*EVERYTHING)
    assert run.code == 0, run.output
    return space, events


EVERYTHING = ("all", "results/small/legacy/randomized-standard")


def configure_everything(space: Workspace) -> None:
    """Scenes that are found and drawn, images that are packed; both kinds of models; another dataset, a map, an export."""
    for column in range(2):
        make_scene(space.data / f"scene-{column}.tif", column=column, seed=column)
    make_landcover(space.data / "landcover.gpkg")
    make_scene(space.data / "other.tif", column=1, seed=7)
    draw = np.random.default_rng(0)
    for number in range(24):
        picture = space.data / "pictures" / ("Field", "Water")[number % 2] / f"p{number:02d}.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(picture)
    landcover = {"source": "vector", "path": "landcover.gpkg", "year": None, "minimum_unit_ha": 0}
    make_config(
        space.folder,
        datasets={
            "other": {
                "imagery": {"provider": "files", "files": ["other.tif"], "bands": list(BANDS)},
                "landcover": landcover,
                "tiles": {"size": 16},
            },
            "drawn": {
                "imagery": {
                    "provider": "synthetic", "region": "A", "scenes": 1, "scene_size": 256,
                },
                "landcover": {"source": "synthetic", "minimum_unit_ha": 0},
                "tiles": {"size": 64},
            },
            "packed": {
                "imagery": {
                    "provider": "images", "layout": "folders", "images": "pictures", "size": 16,
                },
            },
        },
        models={
            "small-siamese": {
                "kind": "siamese", "teacher": "small-classifier", "epochs": 1, "k": 2,
                "weak_teacher": "use", "refine_steps": 20, "precision": "float32", "deterministic": True,
            },
        },
        experiments={
            "small": {"siamese": "small-siamese", "apply_to": ["other"], "map_scene": "scene-0"}
        },
        proofs={
            "first": {
                "title": "made", "experiments": ["small"], "primary": {"measure": "shifted_land"},
            }
        },
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.soak
def test_every_rule_survives_kills_of_its_jobs_at_random(
    everything: tuple[Workspace, list[Event]], seed: int, tmp_path: Path
) -> None:
    """Each rule dies before a random change of a file; some also after a random time, their last moment included."""
    finished, events = everything
    space = unbuilt(finished, tmp_path / "space")
    killer = Killer(space, tmp_path / "kills")
    draw = random.Random(seed)
    by_rule = events_by_rule(events)
    kills: dict[str, list[Kill]] = {
        rule: [("job", draw.randint(1, len(found)))] for rule, found in sorted(by_rule.items())
    }
    for rule in draw.sample(sorted(kills), len(kills) // 3):
        kills[rule].append(("job", late(finished, rule, draw)))
    run = killer.run(kills, "--retries", "4", *EVERYTHING)

    assert run.code == 0, run.output
    first = [mark for mark in killer.kills() if mark.endswith(".0")]
    assert first == [f"{rule}.0" for rule in sorted(by_rule)]
    assert len(killer.kills()) >= 30, (kills, killer.kills())
    assert_whole(space, artifacts(finished))
    assert figures(space) == figures(finished)


def late(space: Workspace, rule: str, draw: random.Random) -> str:
    """A random moment of a rule's job, by the clock; or its end, when everything is written."""
    seconds = [
        float(file.read_text().splitlines()[1].split("\t")[0])
        for file in space.results.rglob("benchmarks/**/*.tsv")
        if rule in (file.stem, file.parent.name)
    ]
    return "end" if draw.random() < 0.4 else f"{draw.uniform(0, 0.8 * max(seconds)):.3f} s"


@pytest.mark.slow
@pytest.mark.soak
def test_the_whole_run_survives_kills_at_random(
    everything: tuple[Workspace, list[Event]], seed: int, tmp_path: Path
) -> None:
    """A run dies again and again, each time a little further on, and goes on each time."""
    finished, events = everything
    space = unbuilt(finished, tmp_path / "space")
    killer = Killer(space, tmp_path / "kills")
    draw = random.Random(seed + 1)
    by_rule = events_by_rule(events)
    deaths = 0
    for rule in draw.sample(sorted(by_rule), 6):
        when = draw.choice([draw.randint(1, len(by_rule[rule])), "end"])
        run = killer.run({rule: [("run", when)]}, *EVERYTHING)
        if run.code == 0:
            continue  # what was drawn is finished already
        assert run.code == -9, run.output
        deaths += 1
        assert space.run("--unlock").code == 0

    assert deaths >= 2
    done = space.run(*EVERYTHING)
    assert done.code == 0, done.output
    assert_whole(space, artifacts(finished))
    assert figures(space) == figures(finished)


# ---- what needs the internet


@pytest.mark.slow
@pytest.mark.soak
def test_downloads_survive_kills(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Search, download, assembling and joining die twice each; local services answer."""
    for variable, key in KEYS.items():
        monkeypatch.setenv(variable, key)
    finished = Workspace(tmp_path / "finished")
    test_downloads.configure(finished, services)
    assert finished.run("search").code == 0
    run, events = Killer(finished, tmp_path / "marks").record(*DOWNLOADED)
    assert run.code == 0, run.output
    space = Workspace(tmp_path / "space")
    test_downloads.configure(space, services)
    killer = Killer(space, tmp_path / "kills")
    assert killer.run({"search": [("job", 1)]}, "search").code != 0
    assert space.run("search").code == 0
    draw = random.Random(seed + 2)
    kills: dict[str, list[Kill]] = {
        rule: [("job", draw.randint(1, len(found))), ("job", "end")]
        for rule, found in sorted(events_by_rule(events).items())
    }
    again = killer.run(kills, "--retries", "4", *DOWNLOADED)

    assert again.code == 0, again.output
    assert {f"{rule}.0" for rule in kills} <= set(killer.kills())
    assert set(kills) >= {
        "download_scene", "assemble_scene", "download_landcover", "combine_landcover",
        "download_photos", "download_maps", "join_photos",
    }  # fmt: skip
    expected, found = artifacts(finished), artifacts(space)
    assert {n: found.get(n) for n in expected} == expected
    assert leftovers(space) == []


DOWNLOADED = (
    "download",
    "photos",
    "results/small/checks/scenes.json",
    "results/small/checks/landcover.json",
)
