"""Every stage and system is a target, and so is every artifact by its path."""

from __future__ import annotations

import shutil

import pytest

from tests.makers import make_config
from tests.workflow.conftest import Workspace

pytestmark = pytest.mark.workflow


STAGES = {
    "tiles": ({"cut_tiles"}, {"index_tiles", "measure_cover"}),
    "labels": ({"make_label_set", "measure_cooccurrence"}, {"make_order", "check_training"}),
    "batches": ({"make_order", "count_labels"}, {"check_training", "measure_cooccurrence"}),
    "olr": ({"train_classifier", "evaluate_model", "run_experiment"}, {"summarise"}),
    "report": ({"summarise", "write_report"}, set()),
}
"""What a stage must and must not run, from nothing."""


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_runs_what_it_needs_and_no_more(stage: str, workspace: Workspace) -> None:
    shutil.rmtree(workspace.results)
    jobs = workspace.run("--dry-run", stage).jobs
    needed, others = STAGES[stage]
    assert needed <= set(jobs)
    assert not others & set(jobs)
    assert jobs[stage] == 1


@pytest.mark.parametrize("stage", STAGES)
def test_a_finished_stage_has_nothing_to_do(stage: str, workspace: Workspace) -> None:
    run = workspace.run(stage)
    assert run.code == 0, run.output
    assert "Nothing to be done" in run.output


@pytest.mark.parametrize("system", ["vae", "landuse", "ground"])
def test_a_system_that_nobody_asks_for_says_so_and_succeeds(
    system: str, workspace: Workspace
) -> None:
    before = workspace.hashes()
    run = workspace.run(system)
    assert run.code == 0, run.output
    assert run.jobs == {system: 1}
    assert f"Nothing to do: the configuration asks for nothing of {system}" in run.output
    assert workspace.hashes() == before
    assert not (workspace.results / system).exists()


def test_olr_without_models_says_so(workspace: Workspace) -> None:
    config = make_config(workspace.folder, models=None, experiments=None)
    run = workspace.run("olr", config=config)
    assert run.code == 0, run.output
    assert "Nothing to do: the configuration asks for nothing of olr" in run.output


MODEL = "small/models/small-classifier/seed-0"


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        (f"{MODEL}/metrics.json", "evaluate_model"),
        ("small/labels/standard/cooccurrence-chance.png", "draw_cooccurrence"),
        ("small/experiments/small/agreement.png", "draw_agreement"),
    ],
)
def test_a_single_artifact_is_made_by_its_path(path: str, rule: str, workspace: Workspace) -> None:
    artifact = workspace.results / path
    artifact.unlink()
    run = workspace.run(f"results/{path}")
    assert run.code == 0, run.output
    assert run.jobs == {rule: 1}
    assert artifact.exists()
