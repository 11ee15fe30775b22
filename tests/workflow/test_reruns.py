"""What runs again, and what does not: each of Snakemake's sharp edges that the workflow relies on."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.makers import make_config, make_scene
from tests.workflow.conftest import Workspace

pytestmark = pytest.mark.workflow


def test_nothing_to_do_after_a_finished_run(workspace: Workspace) -> None:
    assert workspace.run("--dry-run").jobs == {}


def test_a_deleted_store_is_rebuilt_alone_and_nothing_trains(workspace: Workspace) -> None:
    tiles = workspace.results / "small" / "tiles"
    before = workspace.hashes()
    shutil.rmtree(tiles / "scene-0.zarr")
    (tiles / "scene-0.json").unlink()

    run = workspace.run("tiles")

    assert run.code == 0, run.output
    assert run.jobs == {"cut_tiles": 1, "tiles": 1}
    manifest = "small/tiles/scene-0.json"
    assert workspace.hashes()[manifest] == before[manifest]
    assert workspace.run("--dry-run").jobs == {}


def test_a_touched_scene_changes_nothing(workspace: Workspace) -> None:
    (workspace.data / "scene-0.tif").touch()
    (workspace.data / "landcover.gpkg").touch()
    assert workspace.run("--dry-run").jobs == {}


def test_a_changed_scene_reruns_its_own_tiles_only(workspace: Workspace) -> None:
    make_scene(workspace.data / "scene-0.tif", seed=99)
    jobs = workspace.run("--dry-run", "tiles").jobs
    assert jobs["check_scene"] == jobs["record_scene"] == jobs["cut_tiles"] == 1


def test_a_new_scene_and_new_settings_rerun_together(workspace: Workspace) -> None:
    """With `ancient` inputs that the workflow makes, Snakemake would overlook the old scenes' jobs."""
    make_scene(workspace.data / "scene-2.tif", column=1, seed=5)
    make_config(workspace.folder, datasets={"small": {"tiles": {"size": 32}}})
    assert workspace.run("--dry-run", "tiles").jobs["cut_tiles"] == 3


def test_a_new_scene_leaves_the_tiles_of_others_alone(workspace: Workspace) -> None:
    make_scene(workspace.data / "scene--first.tif", column=1, seed=5)
    jobs = workspace.run("--dry-run").jobs
    assert jobs["check_scene"] == jobs["record_scene"] == jobs["cut_tiles"] == 1
    assert jobs["index_tiles"] == 1


def test_min_cover_reruns_labels_and_not_tiles(workspace: Workspace) -> None:
    make_config(workspace.folder, datasets={"small": {"labels": {"standard": {"min_cover": 0.2}}}})
    jobs = workspace.run("--dry-run").jobs
    assert jobs["make_label_set"] == jobs["train_classifier"] == 1
    assert not {"cut_tiles", "measure_cover", "make_split", "make_order", "check_scene"} & set(jobs)


def test_a_threshold_trains_nothing(workspace: Workspace) -> None:
    make_config(workspace.folder, experiments={"small": {"threshold": 0.2}})
    jobs = workspace.run("--dry-run").jobs
    assert jobs["run_experiment"] == 1
    assert not {"train_classifier", "evaluate_model", "cut_tiles"} & set(jobs)


def test_another_seed_trains_that_seed_alone(workspace: Workspace) -> None:
    make_config(workspace.folder, models={"small-classifier": {"seeds": [0, 1]}})
    assert workspace.run("--dry-run").jobs["train_classifier"] == 1


def test_stating_a_default_changes_nothing(workspace: Workspace) -> None:
    make_config(
        workspace.folder, datasets={"small": {"tiles": {"min_valid": 0.95, "edges": "drop"}}}
    )
    assert workspace.run("--dry-run").jobs == {}


def test_results_may_lie_outside(workspace: Workspace) -> None:
    make_config(workspace.folder, results=str(workspace.folder / "elsewhere" / "out"))
    run = workspace.run("tiles")
    assert run.code == 0, run.output
    assert (workspace.folder / "elsewhere/out/small/tiles/scene-0.json").exists()


TOLERANCE = 0.02
"""Stated in the guide: how far a metric of a training without `deterministic` may differ."""


@pytest.mark.slow
def test_one_and_two_workers_give_the_same_artifacts_and_metrics(workspace: Workspace) -> None:
    before, metrics = workspace.hashes(), macro_ap(workspace)
    shutil.rmtree(workspace.results)
    shutil.rmtree(workspace.folder / ".snakemake")
    run = workspace.run(cores=1)
    assert run.code == 0, run.output
    after = workspace.hashes()
    stages = ("tiles/", "cover/", "labels/", "splits/", "batches/")
    manifests = [
        name
        for name in before
        if name.endswith(".json") and name.removeprefix("small/").startswith(stages)
    ]
    assert len([name for name in manifests if "zarr" not in name]) >= 8
    assert {name: after[name] for name in manifests} == {name: before[name] for name in manifests}
    assert macro_ap(workspace) == pytest.approx(metrics, abs=TOLERANCE)


def macro_ap(space: Workspace) -> float:
    """Test macro AP of the small classifier."""
    file = space.results / "small/models/small-classifier/seed-0/metrics.json"
    return float(json.loads(file.read_text())["split"]["test"]["macro_ap"])
