"""A failed run ends with a digest: each failed job once, its error first, where its log is, what to do."""

from __future__ import annotations

import re

import pytest

from tests.makers import make_config, make_scene
from tests.workflow.conftest import Workspace

pytestmark = pytest.mark.workflow


def digest(output: str) -> str:
    """The digest in what a run said."""
    return output[re.search(r"^\d+ jobs? failed:$", output, flags=re.M).start() :]  # type: ignore[union-attr]


def test_two_failed_jobs_are_told_once_each_and_the_rest_is_done(workspace: Workspace) -> None:
    make_scene(workspace.data / "scene-0.tif", crs=None, seed=7)
    scene = make_scene(workspace.data / "scene-1.tif", column=1, seed=8)
    scene.write_bytes(scene.read_bytes()[: scene.stat().st_size // 2])
    make_scene(workspace.data / "scene-2.tif", column=2, seed=9)

    run = workspace.run("--keep-going")

    assert run.code != 0
    text = digest(run.output)
    assert text.startswith("2 jobs failed:")
    blocks = re.split(r"\n\n(?=\d+\. )", text)[1:]
    assert len(blocks) == 2
    for number, block in enumerate(blocks):
        lines = block.splitlines()
        assert lines[0] == f"{number + 1}. check_scene (dataset=small, scene=scene-{number})"
        assert f"log: results/small/logs/check_scene/scene-{number}.log" in block
        assert "what to do:" in block
        assert run.output.count(lines[1].strip()) == 1, "the message is printed once"
    assert "coordinate reference system" in blocks[0] or "CRS" in blocks[0]
    assert "Traceback" not in text
    assert "other jobs were not done" in text
    assert "--keep-going" in text
    assert (workspace.results / "small/checks/scenes/scene-2.json").exists()


def test_a_finished_run_says_what_it_took_and_what_it_cost(workspace: Workspace) -> None:
    make_config(workspace.folder, experiments={"small": {"threshold": 0.2}})
    run = workspace.run()
    assert run.code == 0, run.output
    assert re.search(r"^Estimate: 4 jobs, about .* with 2 cores, .* files", run.output, flags=re.M)
    table = run.output.partition("Cost of this run:")[2]
    assert set(re.findall(r"^(\w+) +1 ", table, flags=re.M)) == {
        "run_experiment", "draw_agreement", "summarise", "write_report",
    }  # fmt: skip
    assert "failed:" not in run.output
