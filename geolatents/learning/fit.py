"""One training loop for every system: explicit state, early stopping, best weights.

The loop knows nothing of labels or images. A system gives it an objective, an iterator of batches
per epoch and a function that measures the validation part; :class:`TrainingState` and the variables
of model and optimiser are all that a resumed training needs.
"""

from __future__ import annotations

import csv
import math
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from geolatents.errors import TrainingError
from geolatents.files import atomic_path
from geolatents.learning.checkpoints import Checkpoints, Saved
from geolatents.learning.rates import RatedAdamW
from geolatents.logs import LOG, progress
from geolatents.seeds import derived_seed

Tensor = Any  # tensorflow ships no types
Batch = tuple[npt.NDArray[Any], ...]
Tensors = tuple[Tensor, ...]

T = TypeVar("T")

WARM_UP_SHARE = 0.05
AHEAD = 4
"""Batches that are read ahead in the background."""

PLAIN = ("epoch", "step", "best", "best_epoch", "rows", "seconds")
"""Fields of the training state that are saved as they are."""


@dataclass(frozen=True)
class Objective:
    """What a training lowers.

    Attributes:
        prepare: Turns a batch and the number of its step into tensors, each with one row per item;
            everything random happens here, on the whole batch.
        loss: Scalar loss, a mean over rows of such tensors. With several devices each takes its share
            of the rows, so it must not mix them.
    """

    prepare: Callable[[Tensors, Tensor], Tensors]
    loss: Callable[[Tensors], Tensor]


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
        losses: Loss of each step of the epoch that has begun.
        seconds: Time spent in that epoch.
    """

    epoch: int = 0
    step: int = 0
    best: float = -math.inf
    best_epoch: int = 0
    best_weights: list[npt.NDArray[Any]] = field(default_factory=list)
    rows: list[dict[str, float]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0


def fit(
    model: keras.Model,
    objective: Objective,
    optimizer: keras.optimizers.Optimizer,
    batches: Callable[[int, int], Iterable[Batch]],
    *,
    epochs: int,
    steps_per_epoch: int,
    validate: Callable[[], Mapping[str, float]],
    monitor: str,
    patience: int | None = None,
    checkpoints: Checkpoints | None = None,
    what: str = "training",
) -> TrainingState:
    """Train until the last epoch or until the monitored figure stops rising; restore the best.

    With several devices, model and optimiser are made in the scope of their strategy, and ``fit`` is
    called in it: each step is the same as on one device.

    Args:
        model: Model whose trainable weights are changed.
        objective: What is lowered; traced once.
        optimizer: Optimiser; a schedule inside it counts steps.
        batches: Batches of an epoch, counted from 0, from a step of it on; all of one shape. Read
            ahead in a thread.
        epochs: Most epochs.
        steps_per_epoch: Batches per epoch, for the progress bar.
        validate: Figures of the validation part after each epoch; of ``monitor``, more is better.
        monitor: Name of the figure that decides which weights are best.
        patience: Epochs without a better figure before training stops; None: never.
        checkpoints: Where the whole state is saved every few minutes and at the end, and where an
            interrupted training goes on.
        what: What is trained, for messages.

    Returns:
        The state after the last epoch; ``rows`` have epoch, loss, the validation figures,
        learning_rate (at the end of the epoch) and seconds.

    Raises:
        TrainingError: The loss is no longer finite.
        TrainingStopped: A signal asked for it; the state is saved.
    """
    optimizer.build(model.trainable_variables)
    state = _resumed(model, optimizer, checkpoints, what)
    step = _train_step(model, objective, optimizer)
    save = partial(_save, checkpoints, model, optimizer, state)
    with checkpoints.listening() if checkpoints else nullcontext():
        while state.epoch < epochs and not _waited_long_enough(state, patience):
            clock = time.perf_counter() - state.seconds
            _run_steps(state, batches, step, save, steps_per_epoch, what, clock)
            with _averaged(model, optimizer):
                row = {"loss": _mean_loss(state, what), **validate()}
                row["learning_rate"] = float(keras.ops.convert_to_numpy(optimizer.learning_rate))
                state.seconds = time.perf_counter() - clock
                _end_epoch(model, state, row, monitor)
            LOG.info("%s: epoch %d of %d: %s", what, state.epoch, epochs, _figures(state.rows[-1]))
            save()
        save(now=True)
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
    shares: Mapping[str, float] | None = None,
    average: float = 0.0,
) -> keras.optimizers.Optimizer:
    """AdamW (Loshchilov and Hutter 2019) that spares normalisation and biases from decay.

    With ``average`` above 0 it keeps the exponential moving average of the weights (Polyak and Juditsky
    1992), which :func:`fit` measures and returns. ``shares`` give variables, by their path, a share of
    the learning rate.
    """
    rate = learning_rate if schedule == "constant" else cosine_schedule(learning_rate, steps)
    averaged = {"use_ema": average > 0, "ema_momentum": average or 0.99}
    if shares:
        optimizer = RatedAdamW(rate, weight_decay, shares, **averaged)
    else:
        optimizer = keras.optimizers.AdamW(rate, weight_decay=weight_decay, **averaged)
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


def as_tensor(values: npt.NDArray[Any]) -> Tensor:
    """A tensor; of stored (unsigned) integers in float32.

    Left to a graph, the cast moves behind flips and turns, for which oneDNN has no integer kernels.
    """
    tensor = tf.convert_to_tensor(values)
    return tf.cast(tensor, tf.float32) if tensor.dtype.is_unsigned else tensor


def read_ahead(items: Iterable[T], ahead: int = AHEAD) -> Generator[T, None, None]:
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
    model: keras.Model, objective: Objective, optimizer: keras.optimizers.Optimizer
) -> Callable[[Tensors, Tensor], Tensor]:
    variables = model.trainable_variables
    strategy = tf.distribute.get_strategy()

    def learn(prepared: Tensors) -> Tensor:
        rows, weight = _share(prepared)
        with tf.GradientTape() as tape:
            loss = objective.loss(rows) * weight
            scaled = optimizer.scale_loss(loss)
        optimizer.apply(tape.gradient(scaled, variables), variables)
        return loss

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator, unused-ignore]
    def step(batch: Tensors, number: Tensor) -> Tensor:
        losses = strategy.run(learn, args=(objective.prepare(batch, number),))
        return strategy.reduce(tf.distribute.ReduceOp.SUM, losses, axis=None)

    return step  # type: ignore[no-any-return, unused-ignore]


def _share(prepared: Tensors) -> tuple[Tensors, Tensor]:
    """This device's rows of a batch and their share of all; gradients are summed over devices."""
    here = tf.distribute.get_replica_context()
    if here.num_replicas_in_sync == 1:
        return prepared, 1.0
    n_rows, number = tf.shape(prepared[0])[0], here.replica_id_in_sync_group
    first = number * n_rows // here.num_replicas_in_sync
    last = (number + 1) * n_rows // here.num_replicas_in_sync
    share = tf.cast((last - first) / n_rows, tf.float32)
    return tuple(rows[first:last] for rows in prepared), share


def _run_steps(
    state: TrainingState,
    batches: Callable[[int, int], Iterable[Batch]],
    step: Callable[[Tensors, Tensor], Tensor],
    save: Callable[[], None],
    steps_per_epoch: int,
    what: str,
    clock: float,
) -> None:
    """The steps of an epoch that are not done yet; ``clock`` is when the epoch began."""
    done, bar = len(state.losses), f"{what}, epoch {state.epoch + 1}"
    with closing(read_ahead(batches(state.epoch, done))) as ahead:
        for batch in progress(
            ahead, total=steps_per_epoch - done, what=bar, unit="step", in_log=False
        ):
            tensors = tuple(map(as_tensor, batch))
            state.losses.append(step(tensors, tf.constant(state.step)))
            state.step += 1
            state.seconds = time.perf_counter() - clock
            save()


@contextmanager
def _averaged(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> Iterator[None]:
    """Put the moving averages in place of the trained weights for a while, where there are any."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if not inner.use_ema:
        yield
        return
    trained = [keras.ops.copy(variable) for variable in model.trainable_variables]
    inner.finalize_variable_values(model.trainable_variables)
    try:
        yield
    finally:
        for variable, value in zip(model.trainable_variables, trained, strict=True):
            variable.assign(value)


def _mean_loss(state: TrainingState, what: str) -> float:
    if not state.losses:
        raise TrainingError(
            f"{what} got no batch", where=f"epoch {state.epoch + 1}", fix="use a smaller batch size"
        )
    loss = float(np.mean([float(value) for value in state.losses]))
    if not math.isfinite(loss):
        raise TrainingError(
            f"{what} diverged: the loss is no longer finite",
            where=f"epoch {state.epoch + 1}",
            found=loss,
            fix="lower `learning_rate`, or use `precision: float32`",
        )
    return loss


def _end_epoch(
    model: keras.Model, state: TrainingState, row: dict[str, float], monitor: str
) -> None:
    state.epoch += 1
    state.rows.append({"epoch": state.epoch, **row, "seconds": state.seconds})
    state.losses, state.seconds = [], 0.0
    # A figure that is not defined (NaN) is never the best, but the first epoch always has weights.
    if row[monitor] > state.best or not state.best_weights:
        state.best = row[monitor] if math.isfinite(row[monitor]) else -math.inf
        state.best_epoch = state.epoch
        state.best_weights = model.get_weights()


# ---- saved states: all variables (weights, seeds of dropout, optimiser) and the training state


def _save(
    checkpoints: Checkpoints | None,
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    state: TrainingState,
    *,
    now: bool = False,
) -> None:
    if checkpoints is not None:
        checkpoints.keep(state.step, lambda: _saved(model, optimizer, state), now=now)


def _saved(
    model: keras.Model, optimizer: keras.optimizers.Optimizer, state: TrainingState
) -> Saved:
    kinds: dict[str, Iterable[Any]] = {
        "model": map(keras.ops.convert_to_numpy, model.variables),
        "optimizer": map(keras.ops.convert_to_numpy, optimizer.variables),
        "best": state.best_weights,
    }
    values = {name: getattr(state, name) for name in PLAIN}
    return Saved(
        values={**values, "losses": [float(loss) for loss in state.losses]},
        arrays={
            f"{kind}/{number:05d}": np.asarray(array)
            for kind, arrays in kinds.items()
            for number, array in enumerate(arrays)
        },
    )


def _resumed(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    checkpoints: Checkpoints | None,
    what: str,
) -> TrainingState:
    """The last saved state, put into model and optimiser; a new one where there is none."""
    saved = checkpoints.latest() if checkpoints else None
    if saved is None:
        return TrainingState()
    for variable, value in zip(model.variables, _arrays(saved, "model"), strict=True):
        variable.assign(value)
    for variable, value in zip(optimizer.variables, _arrays(saved, "optimizer"), strict=True):
        variable.assign(value)
    state = TrainingState(**saved.values, best_weights=_arrays(saved, "best"))
    LOG.info("%s: resumed at epoch %d, step %d", what, state.epoch + 1, state.step)
    return state


def _arrays(saved: Saved, kind: str) -> list[npt.NDArray[Any]]:
    return [saved.arrays[name] for name in sorted(saved.arrays) if name.startswith(f"{kind}/")]


def _figures(row: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in row.items() if name != "epoch")


def _waited_long_enough(state: TrainingState, patience: int | None) -> bool:
    return patience is not None and state.epoch - state.best_epoch >= patience > 0


def _short(value: float) -> str:
    return f"{value:.6g}"
