"""Saved states: whole or absent, kept apart by what determines a result, and resumed to the same end."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from training_data import write_files

from geolatents.errors import TrainingStopped
from geolatents.learning import checkpoints as module
from geolatents.learning.checkpoints import (
    ARRAYS,
    VALUES,
    Checkpoints,
    Saved,
    clear_states,
    open_checkpoints,
)
from geolatents.learning.fit import Objective, fit, seed_everything
from geolatents.learning.prepare import read_order, read_tiles
from geolatents.olr.classifier import fit_classifier, save_model
from geolatents.olr.siamese import fit_siamese, load_teacher
from geolatents.settings.models import Augmentation, Classifier, Network, Siamese

WHAT = "toy/models/toy-classifier/seed-0"


def state(number):
    return Saved({"step": number, "figure": float("nan")}, {"weights": np.full(3, number)})


@pytest.fixture
def states(tmp_path):
    return Checkpoints(tmp_path / ".state" / "key", WHAT)


# ---- what lies on the disk


def test_keeps_the_last_two_and_finds_the_newest(states):
    for step in (5, 10, 100):
        states.save(step, state(step))
    assert sorted(p.name for p in states.folder.glob("step-*")) == [
        "step-000000010",
        "step-000000100",
    ]
    found = states.latest()
    assert found.values["step"] == 100
    assert np.isnan(found.values["figure"])
    np.testing.assert_array_equal(found.arrays["weights"], [100, 100, 100])


def test_there_is_none_at_first(states):
    assert states.latest() is None


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: (folder / ARRAYS).write_bytes((folder / ARRAYS).read_bytes()[:-10]),
        lambda folder: (folder / ARRAYS).unlink(),
        lambda folder: (folder / VALUES).write_text('{"values": {'),
        lambda folder: (folder / VALUES).write_text("{}"),
        lambda folder: (folder / VALUES).unlink(),
    ],
)
def test_a_damaged_state_is_passed_over(states, harm, caplog):
    module.LOG.propagate = True
    states.save(1, state(1))
    states.save(2, state(2))
    harm(states.folder / "step-000000002")
    assert states.latest().values["step"] == 1
    assert "damaged and not used" in caplog.text
    harm(states.folder / "step-000000001")
    assert states.latest() is None


def test_a_failed_save_leaves_earlier_states_and_nothing_half_written(states, monkeypatch):
    states.save(1, state(1))
    monkeypatch.setattr(np, "savez", failing_after_some_bytes)
    with pytest.raises(OSError, match="No space"):
        states.save(2, state(2))
    assert [p.name for p in states.folder.iterdir() if p.is_dir()] == ["step-000000001"]
    assert states.latest().values["step"] == 1


def failing_after_some_bytes(path, **arrays):
    path.write_bytes(b"PK")
    raise OSError(errno.ENOSPC, "No space left on device")


def test_what_a_killed_save_left_is_removed(states):
    states.save(1, state(1))
    leftover = states.folder / ".step-000000002.123.partial"
    leftover.mkdir()
    with states.listening():
        assert not leftover.exists()
    assert states.latest().values["step"] == 1


def test_other_settings_never_find_a_state(tmp_path):
    settings = {"params": {"config": "{}", "code": "a"}, "inputs": {"tiles.json": "1"}}
    first = open_checkpoints(tmp_path, WHAT, settings, 3)
    first.save(1, state(1))
    assert open_checkpoints(tmp_path, WHAT, dict(reversed(settings.items())), 3).latest()
    for changed in (
        {**settings, "params": {"config": "{}", "code": "b"}},
        {**settings, "inputs": {"tiles.json": "2"}},
        {**settings, "libraries": {"keras": "4"}},
    ):
        assert open_checkpoints(tmp_path, WHAT, changed, 3).latest() is None
    assert open_checkpoints(tmp_path, WHAT.replace("-0", "-1"), settings, 3).latest() is None


def test_clearing_takes_all_states_of_a_model_and_seed_and_no_others(tmp_path):
    (tmp_path / "hashes.json").write_text("{}")
    for settings in ("old", "new"):
        open_checkpoints(tmp_path, WHAT, settings, 3).save(1, state(1))
    other = open_checkpoints(tmp_path, "toy/models/toy-classifier/seed-1", "new", 3)
    other.save(1, state(1))

    assert clear_states(tmp_path, [WHAT]) == [WHAT, WHAT]

    assert other.latest()
    assert {p.name for p in tmp_path.iterdir()} == {"hashes.json", other.folder.name}
    other.clear()
    assert {p.name for p in tmp_path.iterdir()} == {"hashes.json"}


# ---- when it is saved


def line(checkpoints, epochs=4, hurt=lambda step: None, validate=lambda: {"figure": 1.0}):
    """Fit a line; ``hurt`` is called before each of its twelve steps."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    values = np.random.default_rng(0).normal(size=(3, 8, 2)).astype(np.float32)

    def batches(epoch, start):
        for number in range(start, 3):
            hurt(epoch * 3 + number)
            yield values[number], values[number, :, :1]

    objective = Objective(
        lambda batch, step: batch, lambda rows: keras.ops.mean((model(rows[0]) - rows[1]) ** 2)
    )
    found = fit(
        model,
        objective,
        keras.optimizers.Adam(0.1),
        batches,
        epochs=epochs,
        steps_per_epoch=3,
        validate=validate,
        monitor="figure",
        checkpoints=checkpoints,
    )
    return model, found


def steps_of(states):
    return [int(p.name.removeprefix("step-")) for p in sorted(states.folder.glob("step-*"))]


def test_saves_when_it_is_time_and_at_the_end(tmp_path):
    rare, often = (Checkpoints(tmp_path / str(n), WHAT, minutes=n) for n in (60, 0))
    line(rare)
    assert steps_of(rare) == [12]
    line(often)
    assert steps_of(often) == [11, 12]


def test_sigterm_saves_and_stops(states):
    def kill(number=signal.SIGTERM):
        os.kill(os.getpid(), number)
        return {"figure": 1.0}

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(TrainingStopped, match="SIGTERM; its state at step 3 is saved"):
        line(states, validate=kill)
    assert steps_of(states) == [3]
    assert signal.getsignal(signal.SIGTERM) == before
    with pytest.raises(KeyboardInterrupt):
        line(states, validate=lambda: kill(signal.SIGINT))
    assert steps_of(states) == [3, 6]
    model, found = line(states)
    assert (found.epoch, found.step) == (4, 12)
    undisturbed, _ = line(None)
    np.testing.assert_array_equal(model.get_weights()[0], undisturbed.get_weights()[0])


def test_sigusr1_saves_and_goes_on(states):
    def warn():
        os.kill(os.getpid(), signal.SIGUSR1)
        return {"figure": 1.0}

    _, found = line(states, validate=warn)
    assert found.epoch == 4
    assert steps_of(states) == [9, 12]


def test_a_warning_after_sigterm_does_not_undo_it(states):
    with states.listening():
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGUSR1)
        with pytest.raises(TrainingStopped):
            states.keep(1, lambda: state(1))


def test_a_full_disk_ends_no_training(tmp_path, monkeypatch, caplog):
    module.LOG.propagate = True
    states = Checkpoints(tmp_path / "key", WHAT, minutes=0)
    monkeypatch.setattr(np, "savez", failing_after_some_bytes)
    _, found = line(states)
    assert found.epoch == 4
    assert "could not be saved: [Errno 28] No space left" in caplog.text


def test_a_finished_training_trains_no_more(states):
    model, found = line(states)
    again, resumed = line(states, hurt=lambda step: pytest.fail(f"step {step} done again"))
    assert (resumed.epoch, resumed.rows) == (4, found.rows)
    np.testing.assert_array_equal(again.get_weights()[0], model.get_weights()[0])


def test_patience_counts_across_an_interruption(states):
    figures = iter([0.1, 0.5, 0.4])

    def validate():
        return {"figure": next(figures)}

    with pytest.raises(StopIteration):  # as good as any crash
        line(Checkpoints(states.folder, WHAT, minutes=0), epochs=9, validate=validate)
    figures = iter([0.3, 0.45, 0.2])
    found = fit_with_patience(states, validate)
    assert (found.epoch, found.best_epoch, found.best) == (4, 2, 0.5)


def fit_with_patience(states, validate):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    values = np.ones((3, 8, 2), np.float32)
    return fit(
        model,
        Objective(lambda batch, step: batch, lambda rows: keras.ops.mean(model(rows[0]) ** 2)),
        keras.optimizers.Adam(0.1),
        lambda epoch, start: ((value,) for value in values[start:]),
        epochs=9,
        steps_per_epoch=3,
        validate=validate,
        monitor="figure",
        patience=2,
        checkpoints=states,
    )


# ---- the same end


class Stopping(Checkpoints):
    """Ends the training after given steps as a power cut would; only what was saved is left."""

    stops: tuple[int, ...] = ()

    def keep(self, step, state, *, now=False):
        super().keep(step, state, now=now)
        if step in self.stops:
            self.stops = tuple(s for s in self.stops if s != step)
            raise ConnectionAbortedError(step)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp("data"))


SETTINGS = Classifier(
    kind="classifier",
    dataset="toy",
    network=Network(widths=[4, 8], stem_stride=1, dropout=0.3),
    epochs=3,
    learning_rate=1e-2,
    average=0.9,
    augmentation=Augmentation(shift=0.1, mixup=0.2, occlusion=0.3),
    deterministic=True,
    precision="float32",
)


def interrupted(folder, train, stops, minutes=0.0):
    """Train with interruptions; a new process would build everything anew, and so does ``train``."""
    states = Stopping(folder / "key", WHAT, minutes)
    states.stops = stops
    for step in stops:
        with pytest.raises(ConnectionAbortedError, match=str(step)):
            train(states)
    return train(states)


def assert_same(one, two):
    (model, state), (other, expected) = one, two
    for found, wanted in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(found, wanted)
    histories = [
        [{k: v for k, v in row.items() if k != "seconds"} for row in s.rows]
        for s in (state, expected)
    ]
    assert histories[0] == histories[1]


def test_an_interrupted_classifier_ends_as_an_undisturbed_one(files, tmp_path):
    """In the middle of an epoch, at its end, and twice: weights, statistics, dropout, schedule, order."""
    tiles = read_tiles(files.stores, files.labels, files.split)
    order = read_order(files.order, tiles)

    def train(states):
        return fit_classifier(SETTINGS, 1, tiles, order, states)

    n_steps = len(order.rows(0))
    undisturbed = train(None)
    found = interrupted(tmp_path, train, (n_steps // 2, 2 * n_steps))
    assert_same(found, undisturbed)
    assert found[1].step == undisturbed[1].step == 3 * n_steps


def test_an_interrupted_siamese_network_ends_as_an_undisturbed_one(files, tmp_path):
    tiles = read_tiles(files.stores, files.labels, files.split)
    order = read_order(files.order, tiles)
    classifier, _ = fit_classifier(SETTINGS.model_copy(update={"epochs": 1}), 0, tiles, order)
    save_model(classifier, tmp_path / "teacher.keras")
    settings = Siamese(
        kind="siamese",
        teacher="toy-classifier",
        k=3,
        epochs=2,
        deterministic=True,
        precision="float32",
    )
    described = tiles.labels.astype("float32")

    def train(states):
        teacher = load_teacher(tmp_path / "teacher.keras", tiles)
        return fit_siamese(settings, 1, teacher, tiles, order, described, states)

    assert_same(interrupted(tmp_path, train, (4,)), train(None))


KILLED = """
import os, signal, sys
sys.path[:0] = [{tests!r}]
from pathlib import Path
import test_checkpoints as t
from geolatents.learning.checkpoints import Checkpoints
count = 0
def validate():
    global count
    count += 1
    if count == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return {{"figure": 1.0}}
t.line(Checkpoints(Path({folder!r}), t.WHAT, minutes=0), validate=validate)
"""


def test_a_killed_process_goes_on_in_another(states):
    code = KILLED.format(tests=str(Path(__file__).parent), folder=str(states.folder))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert steps_of(states) == [8, 9]
    model, found = line(states)
    undisturbed, _ = line(None)
    assert found.step == 12
    np.testing.assert_array_equal(model.get_weights()[0], undisturbed.get_weights()[0])


def test_a_damaged_last_state_costs_only_the_steps_since_the_one_before(tmp_path):
    states = Checkpoints(tmp_path / "key", WHAT, minutes=0)
    seed_everything(0, False)

    def crash(step):
        if step == 8:
            raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        line(states, hurt=crash)
    newest = sorted(states.folder.glob("step-*"))[-1]
    (newest / ARRAYS).write_bytes(b"")
    before = int(newest.name.removeprefix("step-")) - 1
    begun = []
    line(states, hurt=begun.append)
    assert begun[0] == before
