"""An archive of a real run, checked elsewhere, and a second run that reproduces it."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from geolatents.archive.__main__ import main
from geolatents.provenance import provenance_path
from tests.crates import problems
from tests.makers import make_config
from tests.workflow.conftest import ROOT, Workspace

pytestmark = [
    pytest.mark.workflow,
    pytest.mark.filterwarnings("ignore:ConjunctiveGraph:DeprecationWarning"),
]


def outputs(space: Workspace) -> list[Path]:
    """Every output of every job, as Snakemake lists them."""
    listed = space.run("--summary").output.splitlines()
    rows = [line.split("\t") for line in listed if line.startswith("results/")]
    return [space.folder / row[0] for row in rows]


def test_every_output_has_provenance_and_is_archived(workspace: Workspace, tmp_path: Path) -> None:
    made = outputs(workspace)
    assert len(made) > 35
    for output in made:
        record = json.loads(provenance_path(output).read_text())
        assert record["sha256"], output
        assert all(record["inputs"].values()), output
        assert not [name for name in record["inputs"] if name.startswith(("/", "elsewhere"))]
        assert record["host"]["cores"] >= 1

    (workspace.results / "summary.csv").unlink()
    run = workspace.run("archive")
    assert run.code == 0, run.output
    assert run.jobs == {"summarise": 1, "write_report": 1, "archive": 1}, "first it is finished"
    assert workspace.run("--dry-run", "archive").jobs == {}
    assert "archive" not in workspace.run("--dry-run", "--forceall").jobs, "no part of `all`"

    packed = workspace.results / "archive/run.crate.zip"
    with zipfile.ZipFile(packed) as file:
        names = file.namelist()
        for output in made:
            name = output.relative_to(workspace.folder).as_posix()
            stays_out = output.parent.name == "tiles" and output.suffix == ".zarr"
            assert any(n == name or n.startswith(f"{name}/") for n in names) is not stays_out, name
        for name in names:
            content = file.read(name)
            for private in (workspace.folder, ROOT, Path.home() / "x", Path(sys.prefix)):
                assert str(private).encode() not in content, name
    logs = {f.relative_to(workspace.folder).as_posix() for f in workspace.results.rglob("*.log")}
    benchmarks = {
        f.relative_to(workspace.folder).as_posix() for f in workspace.results.rglob("*.tsv")
    }
    assert (logs | benchmarks) - set(names) == {
        "results/logs/archive.log",
        "results/benchmarks/archive.tsv",
    }


def test_another_machine_checks_it_and_can_run_it_again(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = workspace.run("archive")
    assert run.code == 0, run.output
    elsewhere = tmp_path / "elsewhere"
    with zipfile.ZipFile(workspace.results / "archive/run.crate.zip") as file:
        file.extractall(elsewhere)

    command = [sys.executable, "-S", "-B", "-m", "geolatents.archive", "verify", ".."]
    done = subprocess.run(command, cwd=elsewhere / "workflow", capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    sums = subprocess.run(
        ["sha256sum", "--check", "--quiet", "manifest-sha256.txt"],
        cwd=elsewhere,
        capture_output=True,
    )
    assert sums.returncode == 0

    monkeypatch.setenv("GEOLATENTS_DATA", str(workspace.data))
    again = Workspace(tmp_path / "again")
    again.folder.mkdir()
    planned = again.run("--dry-run", config=elsewhere / "config.yaml")
    assert planned.code == 0, planned.output
    assert planned.jobs["cut_tiles"] == 2
    assert planned.jobs["train_classifier"] == 1

    (elsewhere / "results/summary.csv").write_text("changed")
    assert main(["verify", str(elsewhere)]) == 1


def deterministic(folder: Path, data: Path, results: Path) -> Workspace:
    """An empty workspace whose training is deterministic."""
    folder.mkdir()
    make_config(
        folder,
        data=str(data),
        results=str(results),
        models={"small-classifier": {"deterministic": True}},
        datasets={"small": {"imagery": {"licence": "CC0-1.0"}}},
    )
    return Workspace(folder)


def weights(model: Path) -> dict[str, np.ndarray]:
    """All arrays of a Keras file, of its optimizer too."""
    found: dict[str, np.ndarray] = {}
    with (
        zipfile.ZipFile(model) as file,
        h5py.File(io.BytesIO(file.read("model.weights.h5"))) as tree,
    ):
        tree.visititems(
            lambda name, item: found.update(
                {name: item[()]} if isinstance(item, h5py.Dataset) else {}
            )
        )
    return found


@pytest.mark.slow
@pytest.mark.soak
def test_runs_from_empty_state_are_equal_whatever_workers_and_order(
    finished: Workspace, tmp_path: Path
) -> None:
    """Two cores in Snakemake's order; one core, last scene first, splits and labels before tiles of others."""
    one = deterministic(tmp_path / "one", finished.data, Path("results"))
    run = one.run("archive", cores=2)
    assert run.code == 0, run.output
    packed = one.results / "archive/run.crate.zip"
    assert problems(packed, tmp_path) == []

    root = tmp_path / "far" / "away"
    two = deterministic(tmp_path / "two", finished.data, root)
    for targets in (
        [f"{root}/small/tiles/scene-1.json", f"{root}/small/landcover.parquet"],
        [f"{root}/small/cover/scene-1.json"],
        ["batches"],
        ["labels"],
        ["all"],
    ):
        run = two.run(*targets, cores=1)
        assert run.code == 0, run.output

    said = subprocess.run(
        [sys.executable, "-m", "geolatents.archive", "verify", str(packed), "--results", str(root)],
        capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    assert said.returncode == 0, said.stdout + said.stderr
    verdicts = dict(
        line.split(": ")[::-1] for line in said.stdout.splitlines() if ": results/" in line
    )
    for name in (
        "tiles/scene-0.zarr",
        "cover/scene-1.zarr",
        "labels/standard.zarr",
        "splits/chance.parquet",
    ):
        assert verdicts[f"results/small/{name}"] == "equal"
    for part in ("metrics.json", "predictions.zarr"):
        name = f"results/small/models/small-classifier/seed-0/{part}"
        assert [line for line in verdicts if line.startswith(name)]

    model = "small/models/small-classifier/seed-0/model.keras"
    first, second = weights(one.results / model), weights(root / model)
    assert first.keys() == second.keys()
    assert len(first) > 10
    for name, values in first.items():
        # Kernels share sums out among threads, oneDNN's and TensorFlow's own: bitwise equal with as many of them only.
        np.testing.assert_allclose(values, second[name], rtol=1e-4, atol=1e-5, err_msg=name)

    shutil.rmtree(root / "small/tiles/scene-0.zarr")
    assert main(["verify", str(packed), "--results", str(root)]) == 1
