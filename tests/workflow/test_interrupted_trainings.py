"""Interrupted trainings in real runs: resumed, never from other settings, clean where they are forced."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from geolatents.stores import open_store, read_array
from tests.makers import make_config
from tests.workflow.conftest import Run, Workspace

pytestmark = pytest.mark.workflow

MODEL = "results/small/models/small-classifier/seed-0/model.keras"
LOG = "small/logs/train_classifier/small-classifier-seed-0.log"
LONG = {"epochs": 10, "patience": 10}
"""Long enough to be met while it runs."""


@pytest.fixture
def space(workspace: Workspace) -> Workspace:
    """A finished run whose classifier is to be trained again, saving after every step."""
    make_config(workspace.folder, checkpoint_minutes=0, models={"small-classifier": LONG})
    return workspace


def states(space: Workspace) -> list[Path]:
    return sorted((space.results / ".state").glob("*/step-*"))


def log(space: Workspace) -> str:
    return (space.results / LOG).read_text()


def scores(space: Workspace) -> np.ndarray:
    store = space.results / "small/models/small-classifier/seed-0/predictions.zarr"
    return read_array(open_store(store), "scores")


def signalled(space: Workspace, number: signal.Signals, *arguments: str) -> Run:
    """Start a run and signal its training once it has saved a state."""
    running = space.start(MODEL, *arguments)
    deadline = time.monotonic() + 500
    while not (states(space) and list(trainings(running.pid))):
        assert running.poll() is None, running.communicate()[0]
        assert time.monotonic() < deadline, "no state was saved"
        time.sleep(0.05)
    for process in trainings(running.pid):
        process.send_signal(number)
    output, _ = running.communicate(timeout=300)
    return Run(running.returncode, output)


def trainings(pid: int) -> Iterator[psutil.Process]:
    """Python processes of the training below a run."""
    for child in psutil.Process(pid).children(recursive=True):
        try:
            line = child.cmdline()
        except psutil.Error:
            continue
        if any("train_classifier.py" in word for word in line) and "python" in line[0]:
            yield child


def test_a_killed_training_goes_on_and_ends_as_an_undisturbed_one(space: Workspace) -> None:
    killed = signalled(space, signal.SIGKILL)
    assert killed.code != 0
    assert states(space)
    assert not (space.folder / MODEL).exists()

    run = space.run(MODEL)

    assert run.code == 0, run.output
    assert run.jobs == {"train_classifier": 1}
    assert "classifier: resumed at epoch" in log(space)
    assert not states(space), "deleted when all is written"
    resumed = scores(space)
    assert space.run(MODEL, "--forcerun", "train_classifier").code == 0
    assert "resumed" not in log(space)
    np.testing.assert_array_equal(scores(space), resumed)


def test_a_training_that_is_told_to_stop_says_so_and_goes_on(space: Workspace) -> None:
    stopped = signalled(space, signal.SIGTERM)
    assert stopped.code != 0
    assert "the training was stopped by SIGTERM; its state at step" in stopped.output
    assert "run again; it goes on from its last saved state" in stopped.output
    retried = signalled(space, signal.SIGTERM, "--retries", "1")
    assert retried.code == 0, retried.output
    assert "classifier: resumed at epoch" in log(space)


def test_no_state_of_other_settings_and_none_where_forced(space: Workspace) -> None:
    assert signalled(space, signal.SIGKILL).code != 0
    left = states(space)[-1].parent
    make_config(
        space.folder,
        checkpoint_minutes=5,
        models={"small-classifier": {**LONG, "epochs": 2, "learning_rate": 1e-4}},
    )
    assert space.run(MODEL).code == 0
    assert "resumed" not in log(space)
    assert not left.exists(), "the model is trained; its old states are of no use"

    make_config(space.folder, checkpoint_minutes=0, models={"small-classifier": LONG})
    assert signalled(space, signal.SIGKILL).code != 0
    assert states(space)
    forced = space.run(MODEL, "--forcerun", "train_classifier")
    assert forced.code == 0, forced.output
    assert "small/models/small-classifier/seed-0 starts clean" in forced.output
    assert "resumed" not in log(space)


def test_how_often_states_are_saved_trains_nothing_again(workspace: Workspace) -> None:
    make_config(workspace.folder, checkpoint_minutes=0.5)
    assert workspace.run("--dry-run").jobs == {}


def test_a_dry_run_that_forces_forgets_nothing(space: Workspace) -> None:
    assert signalled(space, signal.SIGKILL).code != 0
    before = states(space)
    assert space.run(MODEL, "--dry-run", "--forcerun", "train_classifier").code == 0
    assert states(space) == before


def test_the_log_names_the_device(finished: Workspace) -> None:
    assert "device: processor, 2 threads" in log(finished)
