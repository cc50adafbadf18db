"""A training under way: it goes on from where it is, and can be written down between any two steps."""

import contextlib
import dataclasses
import itertools
import math
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.data.dataset import Dataset
from jaxcnn.data.stream import Stream
from jaxcnn.layers.layer import Layer
from jaxcnn.training.checkpoint import Checkpoint, save_checkpoint
from jaxcnn.training.early_stopping import EarlyStopping, Patience
from jaxcnn.training.evaluation import evaluate
from jaxcnn.training.feed import Feed
from jaxcnn.training.files import RunFiles
from jaxcnn.training.interruption import Preempted
from jaxcnn.training.mesh import whole
from jaxcnn.training.processes import largest
from jaxcnn.training.state import TrainState
from jaxcnn.training.step import PerExample, summarized

__all__ = ["Event", "FitResult", "Plan", "Run"]

LOOK_EVERY = 20
"""Calls, of one step each or of several, between looks at the loss: each look waits for the device."""
SAVE_SECONDS = 60.0
"""Between checkpoints, unless the caller says how many steps."""


@dataclass(frozen=True)
class Event:
    """What a callback is told.

    `kind` is "start" (nothing computed yet; a finished run has none), "compiled" (the first step is done), "step" or
    "epoch"; `seconds` those since the start. `step` counts the steps that are done, and `epoch` is the one they belong
    to. `metrics` are device arrays at a step, a number for each of the steps that one call did (reading one waits for
    it), and floats at an epoch. `state` is given at an epoch, for the time of the call: the next step takes its memory
    over, so copy what you keep.
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


class Plan(NamedTuple):
    """What is to be done: `fit`'s arguments, checked. `settings` are those that a run which goes on must share."""

    net: Layer
    train: Dataset | Stream
    validation: Dataset | Stream | None
    loss: PerExample
    metrics: Mapping[str, PerExample]
    epochs: int
    batch_size: int
    steps_per_epoch: int
    monitor: str
    stopping: EarlyStopping
    save_every: int | None
    keep: int
    skip_limit: int
    callbacks: Sequence[Callable[[Event], None]]
    diagnose: Callable[[TrainState, Any], str]
    settings: dict[str, Any]


@dataclass
class Epoch:
    """What the steps of the epoch under way have said so far."""

    totals: dict[str, Any] = field(default_factory=dict)  # floats, or nested lists, as JSON has them
    counted: int = 0
    skipped: int = 0
    seconds: float = 0.0
    waited: float = 0.0


class Run:
    """The training: `go` returns its result. `state` is after `step` steps."""

    fed: Feed

    def __init__(self, plan: Plan, state: TrainState, files: RunFiles | None, interrupted: Callable[[], int]) -> None:
        """Stand before the first step; `interrupted` returns the signal that came, or 0."""
        self.plan, self.files, self.interrupted = plan, files, interrupted
        self.alone = jax.process_count() == 1
        self.compiled = False
        self.state, self.step = state, 0
        self.best: TrainState | None = None
        self.best_epoch = 0
        self.watched = plan.stopping.init()
        self.lines: list[dict[str, Any]] = []
        self.epoch = Epoch()
        self.in_a_row = 0  # steps skipped just now, one after another
        self.finished = False
        self.pending: list[Mapping[str, jax.Array]] = []
        self.saved_step, self.saved_at = 0, time.perf_counter()
        self.began = self.clock = time.perf_counter()
        self.waited = 0.0  # by the feed, when the clock was set

    def take_up(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint."""
        record = checkpoint.record
        self.state, self.step = checkpoint.state, int(checkpoint.state.step)
        self.best_epoch = record["best_epoch"]
        self.best = checkpoint.best if self.best_epoch else None
        best, since, improved, stop = record["watched"]
        self.watched = Patience(jnp.float32(best), jnp.int32(since), jnp.bool_(improved), jnp.bool_(stop))
        self.lines, self.epoch = record["lines"], Epoch(**record["epoch"])
        self.in_a_row, self.finished = record["in_a_row"], record["finished"]
        self.saved_step = self.step

    def record(self) -> dict[str, Any]:
        """Return what a checkpoint needs beside the state."""
        return {
            "best_epoch": self.best_epoch,
            "watched": [value.item() for value in jax.device_get(self.watched)],
            "lines": self.lines,
            "epoch": asdict(self.epoch),
            "in_a_row": self.in_a_row,
            "finished": self.finished,
            "settings": self.plan.settings,
        }

    def go(self) -> FitResult:
        """Train to the end, or until a signal comes, and return the result."""
        plan = self.plan
        if not self.finished:
            self.tell("start", len(self.lines) + 1)
        try:
            while not self.finished:
                self.one_epoch()
        except BaseException:
            self.rescue()
            raise
        if self.best is None:  # the training loss was finite, the validation never
            found = [line[f"validation_{plan.monitor}"] for line in self.lines]
            raise FloatingPointError(
                f"fit: expected a finite validation {plan.monitor} in one epoch at least, got {found}. Lower the "
                "learning rate, or look at the data."
            )
        directory = None if self.files is None else self.files.directory
        return FitResult(self.best, self.history(), self.best_epoch, directory, plan.train, plan.validation)

    def history(self) -> list[dict[str, Any]]:
        """Return the figures of the epochs that are done."""
        return [{name: value for name, value in line.items() if name != "params_sha256"} for line in self.lines]

    def one_epoch(self) -> None:
        """Do what is left of the epoch under way: steps, evaluation, figures."""
        plan, number = self.plan, len(self.lines) + 1
        end = number * plan.steps_per_epoch
        self.clock, self.waited = time.perf_counter(), self.fed.waited
        while self.step < end:
            state, measured = self.fed.advance(self.state, self.step)
            self.state, self.step = state, self.step + measured["loss"].size
            self.pending.append(measured)
            if not self.compiled:
                jax.block_until_ready(measured)
                self.compiled = True
                self.tell("compiled", number)
            self.tell("step", number, metrics=measured)
            hurry = self.files is not None and (self.enough() or (self.alone and bool(self.interrupted())))
            if len(self.pending) >= LOOK_EVERY or hurry or self.step == end:
                self.look()
                if self.step < end:
                    self.save_if_due()
                self.clock, self.waited = time.perf_counter(), self.fed.waited
        self.finish_epoch(number)
        self.save_if_due()

    def finish_epoch(self, number: int) -> None:
        """Evaluate, write the figures of the epoch, and say whether it is the last."""
        plan, epoch = self.plan, self.epoch
        line: dict[str, Any] = {"epoch": number, "step": self.step}
        means = {name: np.asarray(total) / max(epoch.counted, 1) for name, total in epoch.totals.items()}
        # Where all steps were skipped there is nothing to summarize.
        shown = summarized(plan.metrics, means) if epoch.counted else dict.fromkeys(means, math.nan)
        line |= {f"train_{name}": mean for name, mean in shown.items()}
        line["skipped"] = epoch.skipped
        watched, improved = self.watched, True
        if plan.validation is not None:
            params, state = self.state.params, self.state.model_state
            held = evaluate(plan.net, params, state, plan.validation, loss=plan.loss, metrics=plan.metrics)
            line |= {f"validation_{name}": value for name, value in held.items()}
            watched = plan.stopping.update(
                watched, held[plan.monitor] if plan.monitor == "loss" else -held[plan.monitor]
            )
            improved = bool(watched.improved)
        images = plan.steps_per_epoch * plan.batch_size
        line |= {"seconds": epoch.seconds, "images_per_second": images / epoch.seconds}
        if isinstance(plan.train, Stream):
            line["data_wait_ms"] = 1e3 * epoch.waited / plan.steps_per_epoch
        if self.files is not None:
            line = self.files.add_epoch(line, whole(self.state.params))
        if improved:
            # A copy, as the step donates the state that it is given.
            self.best, self.best_epoch = jax.tree.map(jnp.copy, self.state), number
        self.watched, self.epoch = watched, Epoch()
        self.lines.append(line)
        self.finished = number == plan.epochs or bool(watched.stop)
        self.tell("epoch", number, metrics=self.history()[-1], state=self.state)

    def look(self) -> None:
        """Read the metrics of the steps since the last look."""
        epoch, skipped_before = self.epoch, self.in_a_row
        found = jax.device_get(self.pending)
        self.pending = []
        epoch.seconds += time.perf_counter() - self.clock
        epoch.waited += self.fed.waited - self.waited
        # A call gives what one step measured, or what several did, one after the other.
        values = {
            name: [value for part in found for value in (part[name] if np.ndim(part["loss"]) else [part[name]])]
            for name in found[0]
        }
        skipped = [bool(value) for value in values.pop("skipped")]
        for name, of in values.items():
            finite = (np.asarray(value, np.float64) for value, skip in zip(of, skipped, strict=True) if not skip)
            epoch.totals[name] = sum(finite, np.asarray(epoch.totals.get(name, 0.0))).tolist()
        epoch.skipped += sum(skipped)
        epoch.counted += len(skipped) - sum(skipped)
        runs = list(itertools.accumulate(skipped, lambda run, skip: (run + 1) * skip, initial=skipped_before))[1:]
        self.in_a_row = runs[-1]
        for at, run in enumerate(runs):
            if run >= self.plan.skip_limit:
                self.give_up(self.step - len(runs) + at + 1 - run, run)

    def give_up(self, done: int, skipped: int) -> None:
        """Raise `FloatingPointError` for the steps that were skipped after the first `done` ones."""
        plan, drawn = self.plan, jnp.int32(done // self.fed.replays)  # the number by which the step drew
        array = plan.diagnose(dataclasses.replace(self.state, step=drawn), self.fed.batch(done))
        raise FloatingPointError(
            f"fit: expected finite values, got infinite or NaN ones at step {done + 1} (epoch "
            f"{done // plan.steps_per_epoch + 1}), first in {array}, and in {skipped} steps one after another. Lower "
            "the learning rate, or look for bad values in the data."
        )

    def enough(self) -> bool:
        """Return whether so many steps were done since the last checkpoint that it is time for another."""
        return self.plan.save_every is not None and self.step - self.saved_step >= self.plan.save_every

    def save_if_due(self) -> None:
        """Write a checkpoint where one is due in any process, and stop where a signal came to one."""
        if self.files is None:
            return
        late = self.plan.save_every is None and time.perf_counter() - self.saved_at >= SAVE_SECONDS
        signalled, due = largest(self.interrupted(), int(late or self.enough() or self.finished))
        if signalled or due:
            self.save()
        if signalled:
            folder = self.files.directory
            text = f"fit: stopped after step {self.step}; a checkpoint is in {folder}. Go on with resume=True."
            raise KeyboardInterrupt(text) if signalled == signal.SIGINT else Preempted(text)

    def save(self) -> None:
        """Write a checkpoint."""
        assert self.files is not None
        plan = self.plan
        save_checkpoint(
            self.files.checkpoints, plan.net, self.state, best=self.best, record=self.record(), keep=plan.keep
        )
        self.saved_step, self.saved_at = self.step, time.perf_counter()

    def rescue(self) -> None:
        """Write a checkpoint on the way out, if the state is whole: the step that failed may have taken it over."""
        gone = any(leaf.is_deleted() for leaf in jax.tree.leaves(self.state))
        saved = self.step == self.saved_step and not self.pending
        if self.files is None or gone or saved or not self.step or not self.alone:
            return
        # What comes first is what the user should read.
        with contextlib.suppress(Exception):
            if self.pending:
                self.look()
            self.save()

    def tell(self, kind: str, epoch: int, **more: Any) -> None:
        """Tell the callbacks."""
        plan, seconds = self.plan, time.perf_counter() - self.began
        event = Event(kind, epoch, self.step, plan.epochs, plan.steps_per_epoch, plan.batch_size, seconds, **more)
        for callback in plan.callbacks:
            callback(event)
