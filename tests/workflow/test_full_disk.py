"""A full disk ends in one message, harms nothing that was built, and when there is room again the run completes."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from geolatents.files import remove
from tests.workflow.conftest import Workspace
from tests.workflow.killing import artifacts, leftovers

pytestmark = pytest.mark.workflow

MODEL = "small/models/small-classifier/seed-0"
STAGES: dict[str, tuple[str, tuple[str, ...], int]] = {
    "acquire: check": ("small/checks/scenes/scene-0.json", (), 0),
    "acquire: record": ("small/scenes/scene-0.json", (), 0),
    "acquire: land cover": ("small/landcover.parquet", (), 0),
    "tiles": ("small/tiles/scene-0.json", ("small/tiles/scene-0.zarr",), 32),
    "tiles: index": ("small/tiles.json", ("small/tiles.parquet",), 8),
    "labels: cover": ("small/cover/scene-0.json", ("small/cover/scene-0.zarr",), 8),
    "labels: set": ("small/labels/standard.json", ("small/labels/standard.zarr",), 8),
    "labels: figure": ("small/labels/standard/cooccurrence-chance.png", (), 8),
    "batches: split": ("small/splits/chance.json", ("small/splits/chance.parquet",), 4),
    "batches: order": ("small/batches/randomized.json", ("small/batches/randomized.zarr",), 4),
    "olr: training": (
        f"{MODEL}/predictions.zarr",
        (f"{MODEL}/model.keras", f"{MODEL}/history.csv"),
        24,
    ),
    "olr: measures": (f"{MODEL}/metrics.json", (f"{MODEL}/model_card.md",), 4),
    "olr: experiment": (
        "small/experiments/small/agreement.json",
        ("small/experiments/small/per-label.csv",),
        4,
    ),
    "report: summary": ("summary.csv", (), 0),
    "report: page": ("report/index.html", (), 8),
}
"""Target of each stage, its other outputs, and kilobytes that are left on the disk."""

QUICK = {"tiles"}


@pytest.fixture
def small_disk(workspace: Workspace) -> Iterator[Workspace]:
    """A finished run whose results lie on a file system of their own with two free megabytes or so."""
    built = workspace.folder / "built"
    workspace.results.rename(built)
    workspace.results.mkdir()
    used = sum(file.lstat().st_blocks * 512 for file in built.rglob("*"))
    size = f"size={used + 3 * 2**20}"
    mount = ["mount", "-t", "tmpfs", "-o", size, "none", str(workspace.results)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"file systems cannot be mounted here: {done.stderr.strip()}")
    try:
        shutil.copytree(built, workspace.results, dirs_exist_ok=True)
        yield workspace
    finally:
        subprocess.run(["umount", "--lazy", str(workspace.results)], check=True)


@pytest.mark.parametrize(
    "stage",
    [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in STAGES],
)
def test_a_full_disk_is_said_and_nothing_is_lost(stage: str, small_disk: Workspace) -> None:
    space = small_disk
    target, others, kilobytes = STAGES[stage]
    expected = artifacts(space)
    for name in (target, *others):
        remove(space.results / name)
    filler = fill(space.results, kilobytes * 1024)
    before = artifacts(space)

    run = space.run(f"results/{target}")

    assert run.code != 0
    assert "the disk is full" in run.output, run.output
    assert "what to do: make room, and run the same command again" in run.output
    assert str(space.results) in run.output or "results/" in run.output
    assert "Traceback" not in run.output
    assert "Logging error" not in run.output
    assert artifacts(space) == before

    filler.unlink()
    again = space.run(f"results/{target}")

    assert again.code == 0, again.output
    assert artifacts(space) == expected
    assert leftovers(space) == []


def fill(folder: Path, left: int) -> Path:
    """Fill a file system to the last page but for some bytes."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as stream:
        while (free := shutil.disk_usage(folder).free - left) > 0:
            stream.write(os.urandom(min(free, 2**20)))
    return filler
