"""Devices: a job uses those it was given, says which, and shares a machine's GPUs; several learn as one."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from geolatents.learning import devices as module
from geolatents.learning.devices import claim, described, mirrored

GPUS = [SimpleNamespace(name=f"/physical_device:GPU:{number}") for number in range(3)]


@pytest.fixture(autouse=True)
def no_scheduler(monkeypatch):
    monkeypatch.setattr(module, "_held", [])
    monkeypatch.setattr(module, "POLL_SECONDS", 0.1)
    for name in ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)


CLAIM = """
import sys, time
from pathlib import Path
from types import SimpleNamespace
from geolatents.learning.devices import claim
gpus = [SimpleNamespace(name=f"/physical_device:GPU:{n}") for n in range(3)]
print([d.name[-1] for d in claim(gpus, 2, Path(sys.argv[1]))], flush=True)
time.sleep(120)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds two of three devices."""
    process = subprocess.Popen(
        [sys.executable, "-c", CLAIM, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline().strip() == "['0', '1']"
    yield process
    process.kill()
    process.wait()


def test_jobs_on_one_machine_take_different_devices(holder, tmp_path):
    assert claim(GPUS, 1, tmp_path) == GPUS[2:]


def test_waits_for_devices_until_a_killed_job_frees_them(holder, tmp_path):
    waiter = subprocess.Popen(
        [sys.executable, "-c", CLAIM.replace("120", "0"), str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with pytest.raises(subprocess.TimeoutExpired):
        waiter.wait(timeout=15)
    holder.kill()
    holder.wait()
    assert waiter.communicate(timeout=60)[0].strip() == "['0', '1']"


def test_too_few_free_devices_hold_none(holder, tmp_path):
    assert module._free(GPUS, 2, tmp_path) == []
    assert claim(GPUS, 1, tmp_path) == GPUS[2:]


def test_a_scheduler_that_gave_just_these_needs_no_locks(tmp_path):
    assert claim(GPUS[:2], 2, tmp_path) == GPUS[:2]
    assert claim(GPUS, 0, tmp_path) == []
    assert not list(tmp_path.iterdir())


def test_locks_are_named_by_the_machines_numbers(tmp_path, monkeypatch):
    """Two processes that see different parts of the machine mean different devices by 0."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,7")
    claim(GPUS, 2, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["4.lock", "5.lock"]


def test_the_log_names_the_devices(monkeypatch):
    assert described([], 0, 2) == "processor, 2 threads"
    assert described([], 1, 1) == "processor, 1 thread; asked for 1 GPU, TensorFlow sees none"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setattr(
        module.tf.config.experimental, "get_device_details", lambda device: {"device_name": "H200"}
    )
    expected = "GPU 3 H200 (CUDA_VISIBLE_DEVICES=3, SLURM_JOB_ID=17)"
    assert described(GPUS[:1], 1, 2) == expected


def test_one_device_needs_no_mirrors():
    assert mirrored(0) is mirrored(1)
    assert mirrored(1).num_replicas_in_sync == 1


TWO_REPLICAS = """
import json, sys
sys.path[:0] = [{tests!r}]
from pathlib import Path
import keras, numpy as np, tensorflow as tf
processor = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
from training_data import write_files
from geolatents.learning.checkpoints import Checkpoints
from geolatents.learning.prepare import read_order, read_tiles
from geolatents.olr.classifier import fit_classifier
from geolatents.olr.siamese import fit_siamese
from geolatents.settings.models import Augmentation, Classifier, Network, Siamese

files = write_files(Path({folder!r}), batch_size=18)
tiles = read_tiles(files.stores, files.labels, files.split)
order = read_order(files.order, tiles)
classifier = Classifier(
    kind="classifier", dataset="toy", network=Network(widths=[4, 8], stem_stride=1, dropout=0),
    epochs=3, learning_rate=1e-2, augmentation=Augmentation(shift=0.1, mixup=0.2, occlusion=0.3),
    precision="float32",
)
predecessor = Siamese(
    kind="siamese", method="predecessor", teacher="toy-classifier", k=3, epochs=3, widths=[4], precision="float32"
)
polar = Siamese(kind="siamese", teacher="toy-classifier", k=3, epochs=3, precision="float32")

def classified(strategy, states=None):
    with strategy.scope():
        return fit_classifier(classifier, 1, tiles, order, states)

def paired(settings, strategy, teacher):
    teacher.trainable = False
    described = tiles.labels.astype("float32")
    with strategy.scope():
        return fit_siamese(settings, 1, teacher, tiles, order, described)[1]

class Cut(Checkpoints):
    def keep(self, step, state, *, now=False):
        super().keep(step, state, now=now)
        if step == 10 and not now:
            raise ConnectionAbortedError

one = tf.distribute.get_strategy()
two = tf.distribute.MirroredStrategy(["/CPU:0", "/CPU:1"])
assert two.num_replicas_in_sync == 2
model, expected = classified(one)
states = Path({folder!r}) / "states"
try:
    classified(two, Cut(states, "toy", minutes=0))
except ConnectionAbortedError:
    mirrored, found = classified(two, Checkpoints(states, "toy"))
pairs = [(expected, found)]
pairs += [(paired(s, one, model), paired(s, two, mirrored)) for s in (predecessor, polar)]
found = [[[row["loss"] for row in state.rows] for state in pair] for pair in pairs]
print("FOUND", json.dumps(found))
"""


def test_two_replicas_have_the_losses_of_one_at_the_same_batch(tmp_path):
    """Two virtual processors, also with an interruption, and with uneven shares of nine pairs; also all pairs over both."""
    code = TWO_REPLICAS.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.partition("FOUND ")[2])
    for one, two in found:
        assert len(one) == 3
        assert two == pytest.approx(one, rel=2e-3)
        assert abs(one[0] - one[2]) > 0.01 * one[0], "it learns, so equality says something"
