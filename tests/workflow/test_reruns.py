"""What runs again and what does not: one test for each row of the table in docs/reruns.md, by its letter.

Beside them stand Snakemake's other sharp edges that the workflow relies on.
"""

from __future__ import annotations

import copy
import json
import os
import random
import re
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import rasterio

from tests.makers import make_config, make_scene, merge
from tests.workflow.conftest import ROOT, Workspace

pytestmark = pytest.mark.workflow

GROUPS = {"112": "Built", "211": "Fields", "312": "Forest", "523": "Water"}
SECOND: dict[str, Any] = {
    "datasets": {
        "small": {
            "labels": {"groups": {"kind": "combined", "mapping": "groups.csv", "min_cover": 0.1}}
        }
    },
    "models": {
        "grouped-classifier": {
            "kind": "classifier",
            "dataset": "small",
            "labels": "groups",
            "epochs": 1,
            "precision": "float32",
            "deterministic": True,
            "network": {"widths": [8], "stem_stride": 2},
        }
    },
    "experiments": {
        "grouped": {
            "classifier": "grouped-classifier",
            "agreement": {"permutations": 99, "folds": 20},
        }
    },
}
"""A second label set, model and experiment beside those of the finished run."""

ONE_MODEL = {
    "check_training": 1, "train_classifier": 1, "evaluate_model": 1, "run_experiment": 1,
    "draw_agreement": 1, "summarise": 1, "write_report": 1, "all": 1,
}  # fmt: skip
"""A model is trained again, and what reads it follows."""

ONE_LABEL_SET = {
    "check_labels": 1, "make_label_set": 1, "measure_cooccurrence": 1, "draw_cooccurrence": 1,
    "count_labels": 1, "draw_counts": 1, **ONE_MODEL,
}  # fmt: skip

BELOW_TILES = {
    "check_scenes": 1, "index_tiles": 1, "check_landcover": 1, "read_landcover": 1,
    "check_split": 1, "make_split": 1, "make_order": 1, "summarise": 1, "write_report": 1, "all": 1,
    **{rule: 2 * count for rule, count in ONE_LABEL_SET.items() if rule not in
       {"summarise", "write_report", "all"}},
}  # fmt: skip
"""All that reads tiles or land cover, for two label sets, two models and two experiments."""

RERUNS: dict[str, dict[str, int]] = {
    "a": {"check_scene": 1, "record_scene": 1, "cut_tiles": 1, "measure_cover": 3, **BELOW_TILES},
    "b": {"check_scene": 1, "record_scene": 1, "cut_tiles": 1, "measure_cover": 2, **BELOW_TILES},
    "c": ONE_LABEL_SET,
    "d": ONE_LABEL_SET,
    "e": {"run_experiment": 1, "draw_agreement": 1, "summarise": 1, "write_report": 1, "all": 1},
    "f": ONE_MODEL,
    "g": {"draw_cooccurrence": 2, "draw_counts": 2, "draw_agreement": 2, "write_report": 1, "all": 1},
    "h": {},
    "i": {"check_scene": 2, "record_scene": 2, "cut_tiles": 2, "measure_cover": 2, **BELOW_TILES},
    "j": {},
    "k": {},
    "l": {"run_experiment": 2, "draw_agreement": 2, "summarise": 1, "write_report": 1, "all": 1},
    "m": {},
}  # fmt: skip
"""Jobs of each row, all of them."""


def configure(space: Workspace, **changes: Any) -> None:
    """Write the configuration of two models with changes."""
    config = copy.deepcopy(SECOND)
    merge(config, changes)
    make_config(space.folder, **config)


def map_groups(space: Workspace, **groups: str) -> None:
    """Write the mapping of the second label set."""
    rows = [f"{code},{group}\n" for code, group in (GROUPS | groups).items()]
    (space.data / "groups.csv").write_text("".join(["code,group\n", *rows]))


@pytest.fixture(scope="module")
def two_models(finished: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The finished run with a second label set, model and experiment, which alone are made."""
    space = finished.copy(tmp_path_factory.mktemp("two"))
    map_groups(space)
    configure(space)
    run = space.run()
    assert run.code == 0, run.output
    assert run.jobs == ONE_LABEL_SET
    return space


@pytest.fixture
def space(two_models: Workspace, tmp_path: Path) -> Workspace:
    """A copy of that, to be changed at will."""
    return two_models.copy(tmp_path / "space")


def edited(space: Workspace, file: str = "", old: str = "", new: str = "") -> None:
    """Let a workspace run from a checkout of its own in which a text is replaced."""
    space.checkout = space.folder.parent / "checkout"
    space.checkout.mkdir()
    for name in ("Snakefile", "rules", "workflow_scripts", "geolatents", "envs", "profiles"):
        copied = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copied(ROOT / name, space.checkout / name)
    if file:
        text = (space.checkout / file).read_text()
        assert text.count(old) == 1
        (space.checkout / file).write_text(text.replace(old, new))


def rerun(space: Workspace) -> dict[str, int]:
    """Jobs that would run."""
    run = space.run("--dry-run")
    assert run.code == 0, run.output
    return run.jobs


def documented() -> dict[str, tuple[str, set[str]]]:
    """What the table says of each letter: what changes, and the rules that run again."""
    rows = re.findall(
        r"^\| ([a-z]) \| ([^|]+) \| ([^|]+) \|", (ROOT / "docs/reruns.md").read_text(), flags=re.M
    )
    return {letter: (change, set(re.findall(r"`(\w+)`", rules))) for letter, change, rules in rows}


def test_the_table_says_what_these_tests_expect() -> None:
    found = {letter: rules for letter, (_, rules) in documented().items()}
    assert found == {letter: set(jobs) - {"all"} for letter, jobs in RERUNS.items()}
    tests = {name[5] for name in globals() if re.match(r"test_[a-z]_", name)}
    assert tests == set(RERUNS)


# ---- the table, row by row


def test_a_one_scene_is_added(space: Workspace) -> None:
    make_scene(space.data / "scene--first.tif", column=1, seed=5)
    assert rerun(space) == RERUNS["a"]


def test_b_a_scenes_file_changes(space: Workspace) -> None:
    make_scene(space.data / "scene-0.tif", seed=99)
    assert rerun(space) == RERUNS["b"]


@pytest.mark.slow
def test_b_a_scenes_file_with_equal_pixels_trains_nothing_stage_by_stage(space: Workspace) -> None:
    """Compressed anew: the file differs, the tiles do not, and the chain ends where content is equal."""
    file = space.data / "scene-0.tif"
    with rasterio.open(file) as scene:
        pixels, profile, names = scene.read(), scene.profile, scene.descriptions
    with rasterio.open(file, "w", **(profile | {"compress": "deflate"})) as scene:
        scene.write(pixels)
        scene.descriptions = names
    before = space.hashes()

    tiles = space.run("tiles")
    assert tiles.jobs == {"check_scene": 1, "record_scene": 1, "cut_tiles": 1, "tiles": 1}
    assert space.run("labels", "batches").code == 0

    assert rerun(space) == {}
    changed = {name for name, value in space.hashes().items() if before[name] != value}
    assert changed == {"small/scenes/scene-0.json"}


def test_c_min_cover_changes(space: Workspace) -> None:
    configure(space, datasets={"small": {"labels": {"standard": {"min_cover": 0.2}}}})
    assert rerun(space) == RERUNS["c"]


def test_d_a_label_mapping_changes(space: Workspace) -> None:
    map_groups(space, **{"211": "Green", "312": "Green"})
    assert rerun(space) == RERUNS["d"]


def test_e_an_experiment_is_added(space: Workspace) -> None:
    configure(space, experiments={"again": {"classifier": "small-classifier", "threshold": 0.3}})
    assert rerun(space) == RERUNS["e"]


def test_f_a_loss_changes(space: Workspace) -> None:
    configure(space, models={"grouped-classifier": {"loss": {"name": "focal"}}})
    assert rerun(space) == RERUNS["f"]


def test_g_a_plotting_option_changes(space: Workspace) -> None:
    configure(space, figures={"dpi": 70, "colours": "PuOr_r", "order": "similar", "limit": 0.5})
    assert rerun(space) == RERUNS["g"]
    before, figure = space.hashes(), "small/experiments/small/agreement.png"
    run = space.run(f"results/{figure}")
    assert run.jobs == {"draw_agreement": 1}
    assert {name for name, value in space.hashes().items() if before[name] != value} == {figure}


def test_h_a_comment_a_docstring_and_a_description_change(space: Workspace) -> None:
    edited(space, "geolatents/settings/tiles.py", "Smallest share of", "The least share of")
    cut = space.checkout / "geolatents/tiles/cut.py"
    text = cut.read_text().replace(
        "    use_fast_codecs()\n", "    use_fast_codecs( )  # quick\n", 1
    )
    assert text != cut.read_text()
    cut.write_text(text.replace('"""Cut a scene into tiles', '"""Cut one scene into tiles', 1))
    assert rerun(space) == RERUNS["h"]


def test_i_a_line_of_the_tiling_changes(space: Workspace) -> None:
    edited(space, "geolatents/tiles/cut.py", "READ_ROWS = 512", "READ_ROWS = 256")
    assert rerun(space) == RERUNS["i"]


@pytest.mark.slow
def test_i_a_line_that_changes_no_tile_trains_nothing_stage_by_stage(space: Workspace) -> None:
    edited(space, "geolatents/tiles/cut.py", "READ_ROWS = 512", "READ_ROWS = 256")
    before = space.hashes()
    tiles = space.run("tiles")
    assert tiles.jobs == {"check_scene": 2, "record_scene": 2, "cut_tiles": 2, "tiles": 1}
    assert not {"train_classifier", "run_experiment"} & set(space.run("labels", "batches").jobs)
    assert rerun(space) == {}
    assert space.hashes() == before


def test_j_files_are_touched(space: Workspace) -> None:
    for file in [*space.data.rglob("*"), *space.results.rglob("*.json")]:
        file.touch()
    assert rerun(space) == RERUNS["j"]


def test_k_a_fresh_checkout_meets_old_results(space: Workspace) -> None:
    """Elsewhere, with the clocks of a fresh copy on checkout and data, results and records moved in."""
    edited(space)
    clocks = random.Random(1)
    moved = space.folder.rename(space.folder.parent / "another place")
    space = Workspace(moved, space.checkout)
    config = moved / "config.yaml"
    config.write_text(config.read_text())
    for file in [*space.data.rglob("*"), *space.checkout.rglob("*")]:
        moment = time.time() - clocks.random() * 1e6
        os.utime(file, (moment, moment))
    assert rerun(space) == RERUNS["k"]


def test_k_results_without_their_records(space: Workspace) -> None:
    """Without `.snakemake` clocks are all that is left: `--touch` puts them in order, and changes are not seen."""
    edited(space)
    shutil.rmtree(space.folder / ".snakemake")
    assert rerun(space) == {}
    clocks = random.Random(1)
    for file in space.results.rglob("*"):
        moment = time.time() - clocks.random() * 1e6
        os.utime(file, (moment, moment))
    assert "train_classifier" in rerun(space)
    assert space.run("--touch").code == 0
    assert rerun(space) == {}


def test_l_a_default_changes(space: Workspace) -> None:
    """Of two sections: one that experiments use, and one that nothing here uses."""
    fields = "geolatents/settings/{}.py"
    edited(space, fields.format("models"), "k: int = Field(16", "k: int = Field(12")
    assert rerun(space) == {}
    file = space.checkout / fields.format("experiments")
    text = file.read_text()
    assert text.count("noise_features: int = Field(512") == 1
    file.write_text(
        text.replace("noise_features: int = Field(512", "noise_features: int = Field(9")
    )
    assert rerun(space) == RERUNS["l"]
    stated = {"agreement": {"noise_features": 512}}
    configure(space, experiments={"small": stated, "grouped": stated})
    assert rerun(space) == {}


def test_m_nothing_changes(space: Workspace) -> None:
    assert rerun(space) == RERUNS["m"]


# ---- other edges


def test_deleted_store_is_rebuilt_alone_and_nothing_trains(workspace: Workspace) -> None:
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


def test_new_scene_and_new_settings_rerun_together(workspace: Workspace) -> None:
    """With `ancient` inputs that the workflow makes, Snakemake would overlook the old scenes' jobs."""
    make_scene(workspace.data / "scene-2.tif", column=1, seed=5)
    make_config(workspace.folder, datasets={"small": {"tiles": {"size": 32}}})
    assert workspace.run("--dry-run", "tiles").jobs["cut_tiles"] == 3


def test_threshold_trains_nothing(workspace: Workspace) -> None:
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
