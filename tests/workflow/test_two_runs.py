"""Two workflows at once: in one folder the second is refused, in two folders they share their data."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.makers import make_config
from tests.workflow.conftest import Workspace
from tests.workflow.killing import HOOKS, artifacts, leftovers

pytestmark = pytest.mark.workflow


def unbuilt(finished: Workspace, folder: Path) -> Workspace:
    """The configuration of the finished run on its data, and nothing built."""
    folder.mkdir()
    make_config(folder, data=str(finished.data))
    return Workspace(folder)


def tiles(space: Workspace) -> dict[str, object]:
    """Content of the tile stores and their manifests."""
    return {name: value for name, value in artifacts(space).items() if "/tiles/" in name}


def test_a_second_run_in_the_same_folder_is_refused_and_harms_nothing(
    finished: Workspace, tmp_path: Path
) -> None:
    space = unbuilt(finished, tmp_path / "space")
    used = tmp_path / "used"
    used.mkdir()
    hook = {
        "results": str(space.results), "used": str(used), "kills": {"cut_tiles": [("nobody", 3)]},
    }  # fmt: skip
    variables = {"PYTHONPATH": str(HOOKS), "GEOLATENTS_TEST_HOOK": json.dumps(hook)}
    first = space.start("tiles", variables=variables)
    held = used / "cut_tiles.0"
    for _ in range(1200):  # the first job waits in the middle of its work
        if held.exists() and held.read_text():
            break
        time.sleep(0.1)
    assert held.exists(), first.communicate()[0] if first.poll() is not None else "not started"

    second = space.run("tiles")
    before = artifacts(space)
    (used / "go").touch()
    output, _ = first.communicate(timeout=300)

    assert second.code != 0
    assert "cannot be locked" in second.output
    assert "--unlock" in second.output
    assert "Traceback" not in second.output
    assert first.returncode == 0, output
    assert before.items() <= artifacts(space).items()
    assert tiles(space) == tiles(finished)
    assert leftovers(space) == []


def test_two_runs_in_two_folders_share_their_data(finished: Workspace, tmp_path: Path) -> None:
    spaces = [unbuilt(finished, tmp_path / name) for name in ("one", "two")]
    runs = [space.start("tiles", cores=1) for space in spaces]
    outputs = [run.communicate(timeout=300)[0] for run in runs]
    for space, run, output in zip(spaces, runs, outputs, strict=True):
        assert run.returncode == 0, output
        assert tiles(space) == tiles(finished)
        assert leftovers(space) == []
