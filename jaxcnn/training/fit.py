"""The training loop."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxcnn.checking import expect, expect_count
from jaxcnn.data.dataset import Dataset
from jaxcnn.data.splitting import split
from jaxcnn.data.stream import Stream
from jaxcnn.functional.noise import expect_key
from jaxcnn.layers.layer import Layer
from jaxcnn.losses import Classification
from jaxcnn.training.checkpoint import save_checkpoint
from jaxcnn.training.early_stopping import early_stopping
from jaxcnn.training.feed import Feed, feed
from jaxcnn.training.files import RunFiles
from jaxcnn.training.optimizer import sgd, warmup_cosine
from jaxcnn.training.state import TrainState
from jaxcnn.training.step import Augment, PerExample, evaluate, make_train_step, with_defaults

__all__ = ["Event", "FitResult", "fit"]

CHECK_EVERY = 50
"""Steps between looks at the loss: each look waits for the device."""


@dataclass(frozen=True)
class Event:
    """What a callback is told.

    `kind` is "start" (nothing computed yet), "compiled" (the first step is done; `seconds` is what it took), "step"
    or "epoch". `metrics` are device scalars at a step (reading one waits for it) and floats at an epoch. `state` is
    given at an epoch, for the time of the call: the next step takes its memory over, so copy what you keep.
    """

    kind: str
    epoch: int
    step: int
    epochs: int
    steps_per_epoch: int
    batch_size: int
    seconds: float
    metrics: Mapping[str, Any] = field(default_factory=dict)
    state: TrainState | None = None


@dataclass(frozen=True)
class FitResult:
    """`state`: the best `TrainState` (the last one without validation); `history`: one dict per epoch.

    `best_epoch` is the epoch that `state` is from; `run_dir` where records were written, or None. `train` and
    `validation` are the parts that were used.
    """

    state: TrainState = field(repr=False)
    history: list[dict[str, Any]] = field(repr=False)
    best_epoch: int
    run_dir: Path | None
    train: Dataset | Stream
    validation: Dataset | Stream | None


def fit(
    net: Layer,
    train: Dataset | Stream,
    *,
    validation: Dataset | Stream | float | None = None,
    optimizer: optax.GradientTransformation | None = None,
    loss: PerExample | None = None,
    metrics: Mapping[str, PerExample] | None = None,
    epochs: int = 20,
    batch_size: int = 64,
    key: jax.Array,
    augment: Augment | None = None,
    patience: int | None = None,
    monitor: str = "loss",
    run_dir: Path | str | None = None,
    checkpoint_every: int = 10,
    callbacks: Sequence[Callable[[Event], None]] = (),
) -> FitResult:
    """Return the trained state and the history of training `net` on `train`.

    Every epoch goes through the training set in a new random order, in full batches (the ragged tail is left out of
    that epoch), then measures the validation set. The state with the best validation value is the result.

    Beside what the set holds a batch has "index", the number of each example, and "epoch", from 0, for augmentations
    that ask. Of a `Stream`, the entries of `history` also have "data_wait_ms", how long a step waited for its batch.

    Args:
        net: the net, from images in [0, 1] to outputs.
        train: the training set, in memory or a stream.
        validation: a data set; or a fraction of `train` to hold out, stratified; or None.
        optimizer: any optax transformation; `sgd(warmup_cosine(0.05, all steps))` unless given.
        loss, metrics, augment: as for `make_train_step`.
        epochs: passes through the training set.
        batch_size: images per step.
        key: decides everything random: initial values, held-out part, order, dropout, augmentation.
        patience: stop after so many epochs without improvement; None trains to the end.
        monitor: what is best: "loss" has its validation mean minimised, any other metric maximised.
        run_dir: a folder for `metrics.jsonl` (a line per epoch) and `checkpoints/` (the best state so far).
        checkpoint_every: epochs between checkpoints.
        callbacks: functions of an `Event`.

    Returns:
        A `FitResult`.

    Raises:
        ValueError: options out of range, a batch larger than the set, an unknown monitor.
        FloatingPointError: the loss became infinite or NaN; the message names the step. Checkpoints written before
            are kept. Likewise where the validation value never was finite.
        OSError: `run_dir` cannot be written.
    """
    epochs = expect_count("fit", "epochs", epochs)
    batch_size = expect_count("fit", "batch_size", batch_size)
    checkpoint_every = expect_count("fit", "checkpoint_every", checkpoint_every)
    for name, part in (("train", train), ("validation", validation)):
        kinds = Dataset | Stream if name == "train" else Dataset | Stream | float | int | None
        fix = "Make one with data.from_arrays(image, label)."
        expect(isinstance(part, kinds), "fit", f"{name} as a data.Dataset", type(part).__name__, fix, TypeError)
    expect(
        optimizer is None or (hasattr(optimizer, "init") and hasattr(optimizer, "update")),
        "fit",
        "an optax transformation as optimizer",
        repr(optimizer),
        "Pass training.sgd(0.1) or optax.adam(1e-3), say.",
        TypeError,
    )
    expect_key("fit", key)
    init_key, split_key, order_key = jax.random.split(key, 3)
    if isinstance(validation, int | float):
        whole: Any = train
        train, validation = split(whole, validation, key=split_key)
    steps_per_epoch = train.size // batch_size
    expect(
        steps_per_epoch >= 1,
        "fit",
        f"a batch_size of at most the {train.size} training examples",
        batch_size,
        "Lower batch_size.",
    )
    if optimizer is None:
        optimizer = sgd(warmup_cosine(0.05, epochs * steps_per_epoch))
    loss, metrics = with_defaults(loss, metrics)
    monitored = ["loss", *metrics]
    expect(monitor in monitored, "fit", f"monitor as one of {monitored}", repr(monitor), "Pass metrics with it.")
    expect(
        validation is not None or (patience is None and monitor == "loss"),
        "fit",
        f"validation with patience={patience} and monitor={monitor!r}",
        None,
        "Pass validation=0.1, say.",
    )
    stopping = early_stopping(patience)
    if isinstance(loss, Classification):
        outputs = jax.eval_shape(lambda k, x: net.apply(*net.init(k, x), x, train=False)[0], key, train.spec)
        parts: tuple[Any, ...] = (train, validation)
        for part in parts:
            if part is not None:
                loss.validate(outputs, part)
    create = jax.jit(lambda k: TrainState.create(net, optimizer, k, train.spec))
    jax.eval_shape(create, init_key)  # a net that does not take these images says so before anything is written
    files = None if run_dir is None else RunFiles.create(run_dir)
    began = time.perf_counter()

    def tell(kind: str, epoch: int, step: int, **more: Any) -> None:
        seconds = time.perf_counter() - began
        for callback in callbacks:
            callback(Event(kind, epoch, step, epochs, steps_per_epoch, batch_size, seconds, **more))

    tell("start", 0, 0)
    state = create(init_key)
    step = make_train_step(net, optimizer, loss, metrics=metrics, augment=augment)
    fed = feed(step, train, batch_size, order_key)

    history: list[dict[str, Any]] = []
    watched = stopping.init()
    best, best_epoch = None, 0
    try:
        for epoch in range(1, epochs + 1):
            epoch_began = time.perf_counter()
            waited = fed.waited
            state, means = _train_epoch(fed, state, steps_per_epoch, epoch, tell)
            seconds = time.perf_counter() - epoch_began
            entry = {"epoch": epoch, "step": epoch * steps_per_epoch}
            entry |= {f"train_{name}": value for name, value in means.items()}
            if validation is not None:
                held = evaluate(net, state.params, state.model_state, validation, loss=loss, metrics=metrics)
                entry |= {f"validation_{name}": value for name, value in held.items()}
                watched = stopping.update(watched, held[monitor] if monitor == "loss" else -held[monitor])
            if validation is None or bool(watched.improved):
                # A copy, as the step donates the state that it is given.
                best, best_epoch = jax.tree.map(jnp.copy, state), epoch
            entry |= {"seconds": seconds, "images_per_second": steps_per_epoch * batch_size / seconds}
            if isinstance(train, Stream):
                entry["data_wait_ms"] = 1e3 * (fed.waited - waited) / steps_per_epoch
            history.append(entry)
            if files is not None:
                files.add_epoch(entry, state.params)
                if epoch % checkpoint_every == 0 and best is not None:
                    save_checkpoint(files.checkpoints, net, best)
            tell("epoch", epoch, epoch * steps_per_epoch, metrics=entry, state=state)
            if bool(watched.stop):
                break
    finally:
        fed.close()
        # Also when interrupted, or when the loss is no longer finite: the best so far is kept.
        if files is not None and best is not None:
            save_checkpoint(files.checkpoints, net, best)
    if best is None:  # the training loss was finite, the validation never
        raise FloatingPointError(
            f"fit: expected a finite validation {monitor} in one epoch at least, got "
            f"{[entry[f'validation_{monitor}'] for entry in history]}. Lower the learning rate, or look at the data."
        )
    return FitResult(best, history, best_epoch, None if files is None else files.directory, train, validation)


def _train_epoch(
    fed: Feed, state: TrainState, steps: int, epoch: int, tell: Callable[..., None]
) -> tuple[TrainState, dict[str, float]]:
    """Return the state after one epoch and the means of its metrics."""
    pending: list[Mapping[str, jax.Array]] = []
    done: list[Mapping[str, Any]] = []
    for at in range(steps):
        step = (epoch - 1) * steps + at + 1
        state, measured = fed.advance(state, epoch - 1, at)
        pending.append(measured)
        if step == 1:
            jax.block_until_ready(measured)
            tell("compiled", epoch, step)
        tell("step", epoch, step, metrics=measured)
        if len(pending) == CHECK_EVERY or at == steps - 1:
            first = step - len(pending) + 1
            values = jax.device_get(pending)
            for number, value in enumerate(values, start=first):
                if not math.isfinite(value["loss"]):
                    raise FloatingPointError(
                        f"fit: expected a finite loss, got {value['loss']} at step {number} (epoch {epoch}). Lower the "
                        "learning rate, or look for bad values in the data."
                    )
            done += values
            pending = []
    return state, {name: math.fsum(value[name] for value in done) / len(done) for name in done[0]}
