"""An environment from `envs/` gives the same results as `make run`'s: its list is installed as conda would, and compared."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.makers import make_config
from tests.workflow.conftest import ROOT, Workspace

pytestmark = [pytest.mark.workflow, pytest.mark.slow, pytest.mark.soak]

MODEL = "results/small/models/small-classifier/seed-0/model.keras"
TARGETS = ["tiles", "labels", "batches", MODEL]
OFFLINE = ("error sending request", "dns error", "Temporary failure", "Failed to fetch")


def pip_list(purpose: str) -> list[str]:
    """What conda would hand to pip: the list below `pip:`."""
    text = (ROOT / f"envs/{purpose}.yaml").read_text()
    return re.findall(r"^      - (.+)$", text.partition("  - pip:\n")[2], flags=re.M)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new environment with exactly the list of envs/cpu.yaml."""
    folder = tmp_path_factory.mktemp("environment")
    (folder / "list.txt").write_text("\n".join(pip_list("cpu")) + "\n")
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder / "env"], check=True)
    found = folder / "env/bin/python"
    done = subprocess.run(
        [uv, "pip", "install", "--quiet", "--python", found, "--compile-bytecode", "-r", folder / "list.txt"],
        env={**os.environ, "GEOLATENTS_HOME": str(ROOT)}, capture_output=True, text=True, cwd=folder,
    )  # fmt: skip
    if done.returncode and any(text in done.stderr for text in OFFLINE):
        pytest.skip("no package index is reachable")
    assert done.returncode == 0, done.stderr[-3000:]
    return found


def run(python: Path, space: Workspace) -> None:
    command = [
        python, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--directory", space.folder,
        "--profile", ROOT / "profiles/default", "--cores", "2", *TARGETS, "--configfile", space.folder / "config.yaml",
    ]  # fmt: skip
    path = f"{python.parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "VIRTUAL_ENV": str(python.parent.parent)}
    done = subprocess.run(
        [*map(str, command)], capture_output=True, text=True, cwd=space.folder, env=environment
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]


def weights(file: Path) -> list[np.ndarray]:
    """Arrays of a model, in the order of its layers."""
    import keras

    import geolatents.learning.networks  # noqa: F401  (registers the layers)

    return keras.models.load_model(file, compile=False).get_weights()  # type: ignore[no-any-return]


def test_the_list_of_the_environment_gives_equal_data_and_weights(
    python: Path, workspace: Workspace, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """From empty results each; data artifacts by identity, a deterministic training by its weights."""
    make_config(workspace.folder, models={"small-classifier": {"deterministic": True}})
    other = workspace.copy(tmp_path_factory.mktemp("other"))
    found = []
    for interpreter, space in ((Path(sys.executable), workspace), (python, other)):
        subprocess.run(["rm", "-rf", space.results, space.folder / ".snakemake"], check=True)
        run(interpreter, space)
        found.append(space.hashes())
    here, there = found
    manifests = [
        name for name in here if name.endswith((".json", ".parquet")) and ".zarr" not in name
    ]
    assert len(manifests) >= 10
    assert {name: there[name] for name in manifests} == {name: here[name] for name in manifests}
    assert here.keys() == there.keys()
    for one, same in zip(
        weights(workspace.folder / MODEL), weights(other.folder / MODEL), strict=True
    ):
        np.testing.assert_array_equal(one, same)


def test_the_environment_is_the_lists_and_not_this_one(python: Path) -> None:
    """The test above compares two environments: other interpreter, same versions of what can change a result."""
    script = "import json, sys, geolatents.provenance as p; print(json.dumps([sys.prefix, p.library_versions()]))"
    told = [
        subprocess.run(
            [exe, "-c", script], capture_output=True, text=True, check=True, cwd="/"
        ).stdout
        for exe in (sys.executable, python)
    ]
    (here, versions), (there, others) = map(json.loads, told)
    assert here != there
    assert versions == others
