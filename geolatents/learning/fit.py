"""One training loop for every system: explicit state, early stopping, best weights.

The loop knows nothing of labels or images. A system gives it a loss of a batch, an iterator of
batches per epoch and a function that measures the validation part; :class:`TrainingState`, the
model's weights and the optimiser are all that a resumed training needs.
"""

from __future__ import annotations

import csv
import math
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from geolatents.errors import TrainingError
from geolatents.files import atomic_path
from geolatents.logs import LOG, progress
from geolatents.seeds import derived_seed

Tensor = Any  # tensorflow ships no types
Batch = tuple[npt.NDArray[Any], ...]
BatchLoss = Callable[[tuple[Tensor, ...], Tensor], Tensor]
"""Scalar loss of a batch of tensors; the second argument is the number of the step."""

T = TypeVar("T")

WARM_UP_SHARE = 0.05
AHEAD = 4
"""Batches that are read ahead in the background."""


@dataclass
class TrainingState:
    """Everything that changes while a model is trained, beside its weights and its optimiser.

    Attributes:
        epoch: Epochs done.
        step: Steps done, over all epochs.
        best: Best value of the monitored figure so far.
        best_epoch: Epoch of that value, counted from 1; 0 before the first.
        best_weights: All weights of the model at that epoch.
        rows: One row of figures per epoch: the history.
    """

    epoch: int = 0
    step: int = 0
    best: float = -math.inf
    best_epoch: int = 0
    best_weights: list[npt.NDArray[Any]] = field(default_factory=list)
    rows: list[dict[str, float]] = field(default_factory=list)


def fit(
    model: keras.Model,
    batch_loss: BatchLoss,
    optimizer: keras.optimizers.Optimizer,
    batches: Callable[[int], Iterable[Batch]],
    *,
    epochs: int,
    steps_per_epoch: int,
    validate: Callable[[], Mapping[str, float]],
    monitor: str,
    patience: int | None = None,
    state: TrainingState | None = None,
    what: str = "training",
) -> TrainingState:
    """Train until the last epoch or until the monitored figure stops rising; restore the best.

    Args:
        model: Model whose trainable weights are changed.
        batch_loss: Scalar loss of a batch, called with tensors and the step's number; traced once.
        optimizer: Optimiser; a schedule inside it counts steps.
        batches: Batches of an epoch, counted from 0; all of one shape. Read ahead in a thread.
        epochs: Most epochs.
        steps_per_epoch: Batches per epoch, for the progress bar.
        validate: Figures of the validation part after each epoch; of ``monitor``, more is better.
        monitor: Name of the figure that decides which weights are best.
        patience: Epochs without a better figure before training stops; None: never.
        state: Where to go on; new by default. The caller sets weights and optimiser to match.
        what: What is trained, for messages.

    Returns:
        The state after the last epoch; ``rows`` have epoch, loss, the validation figures,
        learning_rate (at the end of the epoch) and seconds.

    Raises:
        TrainingError: The loss is no longer finite.
    """
    state = state or TrainingState()
    optimizer.build(model.trainable_variables)
    step = _train_step(model, batch_loss, optimizer)
    while state.epoch < epochs and not _waited_long_enough(state, patience):
        clock = time.perf_counter()
        ahead = read_ahead(batches(state.epoch))
        losses = []
        bar = f"{what}, epoch {state.epoch + 1}"
        for batch in progress(ahead, total=steps_per_epoch, what=bar, unit="step", in_log=False):
            tensors = tuple(tf.convert_to_tensor(values) for values in batch)
            losses.append(step(tensors, tf.constant(state.step)))
            state.step += 1
        row = {"loss": _mean_loss(losses, state, what), **validate()}
        row["learning_rate"] = float(keras.ops.convert_to_numpy(optimizer.learning_rate))
        _end_epoch(model, state, row, monitor, time.perf_counter() - clock)
        LOG.info("%s: epoch %d of %d: %s", what, state.epoch, epochs, _figures(state.rows[-1]))
    if state.best_weights:
        model.set_weights(state.best_weights)
    LOG.info("%s: best %s %.4f in epoch %d", what, monitor, state.best, state.best_epoch)
    return state


def adamw(
    learning_rate: float,
    weight_decay: float,
    schedule: Literal["constant", "cosine"],
    steps: int,
    precision: str,
) -> keras.optimizers.Optimizer:
    """AdamW (Loshchilov and Hutter 2019) that spares normalisation and biases from decay."""
    rate = learning_rate if schedule == "constant" else cosine_schedule(learning_rate, steps)
    optimizer = keras.optimizers.AdamW(rate, weight_decay=weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return scaled_for(optimizer, precision)


def cosine_schedule(peak: float, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Linear warm-up over 5 % of the steps, then half a cosine to 0 (Loshchilov, Hutter 2017)."""
    warm_up = max(1, round(WARM_UP_SHARE * steps))
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=peak / (10 * warm_up),
        decay_steps=max(1, steps - warm_up),
        warmup_target=peak,
        warmup_steps=warm_up,
    )


def scaled_for(optimizer: keras.optimizers.Optimizer, precision: str) -> keras.optimizers.Optimizer:
    """Loss scaling where the arithmetic needs it: float16 underflows, bfloat16 does not."""
    if precision == "mixed_float16":
        return keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


def seed_everything(seed: int, deterministic: bool, *names: object) -> int:
    """Seed Python, NumPy and TensorFlow, and ask for bitwise repeatable kernels.

    Determinism is a switch of the process: once on, it stays on.

    Returns:
        The seed, a pure function of ``seed`` and ``names``, below 2**31.
    """
    derived = derived_seed(seed, *names) % (2**31 - 1)
    keras.utils.set_random_seed(derived)
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    return derived


def full_batches(order: npt.NDArray[np.int64], batch_size: int) -> npt.NDArray[np.int64]:
    """Regroup a sequence of samples into full batches, so that every step has one shape.

    Args:
        order: Samples of an epoch in their order, ``(sample,)``.
        batch_size: Wanted size; a shorter sequence is one batch.

    Returns:
        ``(step, item)``; the last, smaller batch is dropped.
    """
    size = min(batch_size, len(order))
    if not size:
        return order.reshape(0, 0)
    return order[: len(order) // size * size].reshape(-1, size)


def read_ahead(items: Iterable[T], ahead: int = AHEAD) -> Iterator[T]:
    """Iterate with a thread that makes the next items while the present one is used.

    An error in the thread is raised here; a consumer that stops early ends the thread.
    """
    buffer: queue.Queue[tuple[bool, Any]] = queue.Queue(maxsize=ahead)
    stopped = threading.Event()

    def put(entry: tuple[bool, Any]) -> bool:
        while not stopped.is_set():
            try:
                buffer.put(entry, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def fill() -> None:
        try:
            for item in items:
                if not put((True, item)):
                    return
            put((False, None))
        except BaseException as error:  # handed to the consumer
            put((False, error))

    thread = threading.Thread(target=fill, name="read-ahead", daemon=True)
    thread.start()
    try:
        while True:
            is_item, value = buffer.get()
            if not is_item:
                if value is not None:
                    raise value
                return
            yield value
    finally:
        stopped.set()
        thread.join()


def write_history(rows: Sequence[Mapping[str, float]], path: Path) -> None:
    """Write the rows of a training as CSV."""
    with atomic_path(path) as part, part.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]) if rows else ["epoch"])
        writer.writeheader()
        writer.writerows({key: _short(value) for key, value in row.items()} for row in rows)


def _train_step(
    model: keras.Model, batch_loss: BatchLoss, optimizer: keras.optimizers.Optimizer
) -> Callable[[tuple[Tensor, ...], Tensor], Tensor]:
    variables = model.trainable_variables

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator, unused-ignore]
    def step(batch: tuple[Tensor, ...], number: Tensor) -> Tensor:
        with tf.GradientTape() as tape:
            loss = batch_loss(batch, number)
            scaled = optimizer.scale_loss(loss)
        optimizer.apply(tape.gradient(scaled, variables), variables)
        return loss

    return step  # type: ignore[no-any-return, unused-ignore]


def _mean_loss(losses: Sequence[Tensor], state: TrainingState, what: str) -> float:
    if not losses:
        raise TrainingError(
            f"{what} got no batch", where=f"epoch {state.epoch + 1}", fix="use a smaller batch size"
        )
    loss = float(np.mean([float(value) for value in losses]))
    if not math.isfinite(loss):
        raise TrainingError(
            f"{what} diverged: the loss is no longer finite",
            where=f"epoch {state.epoch + 1}",
            found=loss,
            fix="lower `learning_rate`, or use `precision: float32`",
        )
    return loss


def _end_epoch(
    model: keras.Model,
    state: TrainingState,
    row: dict[str, float],
    monitor: str,
    seconds: float,
) -> None:
    state.epoch += 1
    state.rows.append({"epoch": state.epoch, **row, "seconds": seconds})
    # A figure that is not defined (NaN) is never the best, but the first epoch always has weights.
    if row[monitor] > state.best or not state.best_weights:
        state.best = row[monitor] if math.isfinite(row[monitor]) else -math.inf
        state.best_epoch = state.epoch
        state.best_weights = model.get_weights()


def _figures(row: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in row.items() if name != "epoch")


def _waited_long_enough(state: TrainingState, patience: int | None) -> bool:
    return patience is not None and state.epoch - state.best_epoch >= patience > 0


def _short(value: float) -> str:
    return f"{value:.6g}"
