"""The devices of one job: those it was given and no others, and a log line that names them.

SLURM gives a job its GPUs in ``CUDA_VISIBLE_DEVICES``. On a machine without a scheduler, jobs that run
at the same time share the GPUs by lock files, one per device, held until the process ends.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import filelock
import tensorflow as tf

from geolatents.logs import LOG

GIVEN = "CUDA_VISIBLE_DEVICES"
LOCKS = "geolatents-gpus"
POLL_SECONDS = 5.0

_held: list[filelock.BaseFileLock] = []
"""Locks of this process's devices; the system frees them when it ends, however it ends."""


def use_devices(gpus: int, threads: int) -> tf.distribute.Strategy:
    """Restrict TensorFlow to a job's devices; call it before anything is computed.

    Args:
        gpus: GPUs that the job asked for; 0 hides all. Where the machine has fewer, those are used;
            where it has none, the processor.
        threads: Processor cores of the job.

    Returns:
        The strategy to make models in: of one device, or mirrored over several GPUs.
    """
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    seen = tf.config.list_physical_devices("GPU")
    used = claim(seen, min(gpus, len(seen)))
    tf.config.set_visible_devices(used, "GPU")
    for device in used:
        tf.config.experimental.set_memory_growth(device, True)
    LOG.info("device: %s", described(used, gpus, threads))
    return mirrored(len(used))


def mirrored(n_gpus: int) -> tf.distribute.Strategy:
    """The strategy of so many visible GPUs; below two, TensorFlow's default."""
    if n_gpus < 2:
        return tf.distribute.get_strategy()
    return tf.distribute.MirroredStrategy([f"/GPU:{number}" for number in range(n_gpus)])


def scope_of(strategy: tf.distribute.Strategy | None) -> AbstractContextManager[Any]:
    """The scope of a strategy; without one, that of whoever calls."""
    return nullcontext() if strategy is None else strategy.scope()


def claim(devices: Sequence[Any], wanted: int, locks: Path | None = None) -> list[Any]:
    """Take free devices for this process; waits until there are enough.

    Args:
        devices: All that the process sees.
        wanted: How many to take, at most ``len(devices)``.
        locks: Folder of the lock files; default: in the machine's temporary folder.

    Returns:
        ``wanted`` of the devices, in their order. All of them are taken without locks: whoever gave
        just these to the process has done the sharing.
    """
    if wanted == len(devices) or not wanted:
        return list(devices[:wanted])
    folder = locks or Path(tempfile.gettempdir()) / LOCKS
    folder.mkdir(mode=0o777, parents=True, exist_ok=True)
    is_first = True
    while len(taken := _free(devices, wanted, folder)) < wanted:
        if is_first:
            LOG.info("waiting for %d of %d GPUs; others hold them", wanted, len(devices))
            is_first = False
        time.sleep(POLL_SECONDS)
    return taken


def described(used: Sequence[Any], gpus: int, threads: int) -> str:
    """The devices of a job in words, for its log."""
    cores = f"processor, {threads} {'thread' if threads == 1 else 'threads'}"
    if used:
        text = ", ".join(_name(device) for device in used)
    elif gpus:
        text = f"{cores}; asked for {gpus} GPU{'s' if gpus > 1 else ''}, TensorFlow sees none"
    else:
        text = cores
    given = {name: os.environ[name] for name in (GIVEN, "SLURM_JOB_ID") if name in os.environ}
    known = ", ".join(f"{name}={value}" for name, value in given.items())
    return f"{text} ({known})" if known else text


def _free(devices: Sequence[Any], wanted: int, folder: Path) -> list[Any]:
    """Devices whose locks could be taken; all are given back where there are too few."""
    found, held = [], []
    for device in devices:
        lock = filelock.FileLock(folder / f"{_physical(device)}.lock", mode=0o666)
        try:
            lock.acquire(blocking=False)
        except filelock.Timeout:
            continue
        found.append(device)
        held.append(lock)
        if len(found) == wanted:
            _held.extend(held)
            return found
    for lock in held:
        lock.release()
    return []


def _physical(device: Any) -> str:
    """What the machine calls a device, whichever part of its devices this process sees."""
    number = int(device.name.rsplit(":", 1)[1])
    names = [name for name in os.environ.get(GIVEN, "").split(",") if name]
    return names[number] if number < len(names) else str(number)


def _name(device: Any) -> str:
    details = tf.config.experimental.get_device_details(device)
    return f"GPU {_physical(device)} {details.get('device_name', '')}".rstrip()
