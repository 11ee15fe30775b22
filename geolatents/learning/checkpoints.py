"""Saved states of a training: whole or absent, the last two kept, never those of another training.

A training's folder is named by everything that determines its result (configuration, inputs, code,
libraries, seed), so that a state of another configuration is never found. Snakemake deletes a
rule's outputs before a job; the folder is no output of a rule, so that a retried job finds it.
"""

from __future__ import annotations

import json
import signal
import threading
import time
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from geolatents.errors import GeolatentsError, TrainingStopped
from geolatents.files import (
    Json,
    atomic_path,
    content_key,
    read_json,
    remove,
    sha256_file,
    write_json,
)
from geolatents.logs import LOG

Arrays = Mapping[str, npt.NDArray[Any]]

KEPT = 2
"""States that stay: the newest, and the one before, should the newest be damaged."""

MINUTES = 3.0
"""Time between two states where nothing else is asked for."""

ABOUT, VALUES, ARRAYS = "about.json", "state.json", "arrays.npz"

SAVE_AND_STOP = (signal.SIGTERM, signal.SIGINT)
SAVE_AND_GO_ON = (signal.SIGUSR1,)


@dataclass(frozen=True)
class Saved:
    """One saved state.

    Attributes:
        values: Plain values: counters, history.
        arrays: Arrays by name: weights, optimiser.
    """

    values: Mapping[str, Json]
    arrays: Arrays


class Checkpoints:
    """The folder of one training's states.

    Args:
        folder: ``results/.state/{key}``.
        what: Which model and seed it is, such as ``demo-a/models/demo-classifier/seed-0``.
        minutes: Least time between two states; 0 saves after every step.
    """

    def __init__(self, folder: Path, what: str, minutes: float = MINUTES) -> None:
        self.folder = Path(folder)
        self.what = what
        self._seconds = 60.0 * minutes
        self._last = time.monotonic()
        self._signal: int | None = None

    # ---- states

    def latest(self) -> Saved | None:
        """The newest state that is whole, or None; a damaged one is passed over with a warning."""
        for folder in reversed(self._states()):
            try:
                return _read(folder)
            except (GeolatentsError, OSError, ValueError, KeyError) as error:
                LOG.warning("%s: a saved state is damaged and not used: %s", folder, error)
        return None

    def save(self, step: int, state: Saved) -> None:
        """Save a state; older ones than the last two are deleted.

        Args:
            step: Steps done; names the state.
            state: What to save.

        Raises:
            OSError: The disk is full, say; earlier states stay.
        """
        write_json(self.folder / ABOUT, {"what": self.what})
        with atomic_path(self.folder / f"step-{step:09d}") as part:
            part.mkdir()
            np.savez(part / ARRAYS, **state.arrays)  # type: ignore[arg-type]
            content = {"values": state.values, "sha256": sha256_file(part / ARRAYS)}
            # Not canonical JSON: a figure that is not defined is NaN in a history.
            (part / VALUES).write_text(json.dumps(content), encoding="utf-8")
        for old in self._states()[:-KEPT]:
            remove(old)

    def clear(self) -> None:
        """Delete the states of this model and seed, also those of other configurations: it is trained."""
        clear_states(self.folder.parent, [self.what])

    def _states(self) -> list[Path]:
        return sorted(self.folder.glob("step-*"))

    # ---- when to save

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take SIGTERM, SIGINT and SIGUSR1 as requests, which :meth:`keep` answers.

        SLURM sends SIGTERM at a time limit or preemption, and any signal before the limit where
        ``--signal`` asks for it. Outside the main thread signals are left as they are.
        """
        for leftover in self.folder.glob(".*.partial"):  # of a training that was killed
            remove(leftover)
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {n: signal.signal(n, self._heard) for n in (*SAVE_AND_STOP, *SAVE_AND_GO_ON)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def keep(self, step: int, state: Callable[[], Saved], *, now: bool = False) -> None:
        """Save where it is time or a signal asks for it; stop where the signal asks for that.

        A state that cannot be written, as on a full disk, ends no training.

        Args:
            step: Steps done.
            state: Makes what is saved; called only where something is saved.
            now: Save in any case.

        Raises:
            TrainingStopped: SIGTERM was received.
            KeyboardInterrupt: SIGINT was received.
        """
        if not (now or self._signal or time.monotonic() - self._last >= self._seconds):
            return
        try:
            self.save(step, state())
            outcome = f"its state at step {step} is saved"
        except OSError as error:
            outcome = f"its state at step {step} could not be saved: {error}"
            LOG.warning("%s: %s", self.what, outcome)
        self._last = time.monotonic()
        self._answer(outcome)

    def _answer(self, outcome: str) -> None:
        heard, self._signal = self._signal, None
        if heard is None:
            return
        name = signal.Signals(heard).name
        LOG.info("%s: got %s; %s", self.what, name, outcome)
        if heard == signal.SIGINT:
            raise KeyboardInterrupt
        if heard in SAVE_AND_STOP:
            raise TrainingStopped(
                f"the training was stopped by {name}; {outcome}",
                where=self.what,
                fix="run again; it goes on from its last saved state",
            )

    def _heard(self, number: int, frame: types.FrameType | None) -> None:
        if self._signal not in SAVE_AND_STOP:  # a request to stop is not forgotten
            self._signal = number


def open_checkpoints(root: Path, what: str, determined_by: Json, minutes: float) -> Checkpoints:
    """The states of a training, in a folder named by what determines its result.

    Args:
        root: ``results/.state``.
        what: Which model and seed it is.
        determined_by: Configuration, hashes of inputs, code, libraries, seed; any plain values.
        minutes: Least time between two states.
    """
    return Checkpoints(Path(root) / content_key([what, determined_by]), what, minutes)


def clear_states(root: Path, trained: Iterable[str]) -> list[str]:
    """Delete all states of the given models and seeds.

    Args:
        root: ``results/.state``.
        trained: Models and seeds, such as ``demo-a/models/demo-classifier/seed-0``.

    Returns:
        Those that had a state.
    """
    wanted, found = set(trained), []
    for about in sorted(Path(root).glob(f"*/{ABOUT}")):
        try:
            what = read_json(about).get("what")
        except (GeolatentsError, AttributeError):
            what = None  # half-written by a power cut: of no use to anyone
        if what is None or what in wanted:
            remove(about.parent)
            found.append(str(what))
    return found


def _read(folder: Path) -> Saved:
    content = read_json(folder / VALUES)
    found = sha256_file(folder / ARRAYS)
    if found != content["sha256"]:
        raise ValueError(f"{ARRAYS} has sha256 {found}, expected {content['sha256']}")
    with np.load(folder / ARRAYS, allow_pickle=False) as arrays:
        return Saved(content["values"], {name: arrays[name] for name in arrays.files})
