"""A training on SLURM: it is requeued in the middle, goes on where it stopped, and says which device it uses."""

from __future__ import annotations

import copy
import re
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.cluster.conftest import ROOT, ClusterRun, Job, eventually
from tools.slurm.cluster import PrivateSlurm

pytestmark = pytest.mark.cluster

MODEL = "demo-a/models/demo-classifier/seed-0"
EPOCHS = 12


@pytest.fixture(scope="module")
def training(
    slurm: PrivateSlurm,
    demo: ClusterRun,
    demo_config: dict[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ClusterRun]:
    """One longer training that asks for a device, on the data of the finished demo."""
    demo.wait()
    folder = tmp_path_factory.mktemp("training")
    shutil.copytree(demo.folder, folder, dirs_exist_ok=True, symlinks=True)
    config = copy.deepcopy(demo_config) | {"environment": "gpu"}
    config["models"]["demo-classifier"] |= {"epochs": EPOCHS, "patience": EPOCHS}
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    target = f"results/{MODEL}/model.keras"
    run = ClusterRun(slurm, folder, ROOT / "Snakefile", target, "--configfile", "config.yaml")
    yield run
    run.process.kill()


def log(run: ClusterRun) -> str:
    """What the training has said so far; Snakemake removes the log of an earlier one."""
    file = run.folder / "results/demo-a/logs/train_classifier/demo-classifier-seed-0.log"
    return file.read_text() if file.exists() else ""


def jobs(run: ClusterRun) -> list[Job]:
    """The training's jobs; sacct knows the comment of a job only when it has ended."""
    return [job for job in run.jobs() if job.comment.startswith("rule_train") or not job.comment]


def test_a_requeued_training_resumes(slurm: PrivateSlurm, training: ClusterRun) -> None:
    eventually(lambda: re.search(rf"epoch [2-9] of {EPOCHS}", log(training)), "it trains")
    (job,) = jobs(training)
    slurm.command("scontrol", "requeue", job.id)
    slurm.hurry(job.id)
    run = training.wait()
    assert run.code == 0, run.output[-8000:]
    assert re.search(r"resumed at epoch ([2-9]|\d\d)", log(training)), log(training)
    assert "Incomplete" not in run.output
    history = (training.folder / "results" / MODEL / "history.csv").read_text().splitlines()
    assert len(history) == 1 + EPOCHS, "each epoch once"
    assert [job.state for job in jobs(training)] == ["COMPLETED"]


def test_it_ran_where_devices_are_and_names_its_own(training: ClusterRun) -> None:
    """The private cluster's devices are files, so that TensorFlow finds none and trains on the processor."""
    training.wait()
    assert [job.partition for job in jobs(training)] == ["gpu"]
    assert "device: " in log(training)
