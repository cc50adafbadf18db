"""One training among many: pure functions of a lane, which `vmap` makes functions of all lanes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxcnn import surgery
from jaxcnn.data.dataset import to_float
from jaxcnn.layers.layer import Layer
from jaxcnn.training.early_stopping import EarlyStopping, Patience
from jaxcnn.training.evaluation import TOGETHER, masked_sums
from jaxcnn.training.feed import numbered, order_of
from jaxcnn.training.optimizer import except_frozen
from jaxcnn.training.state import TrainState, run_keys
from jaxcnn.training.step import Attack, Augment, PerExample, compares, make_train_step

__all__ = ["Lane", "Own", "Program"]

Arrays = Mapping[str, jax.Array]


class Own(NamedTuple):
    """What is a lane's own: all that lanes may differ in.

    `key` decides everything random, as in `fit`. `numbers` are hyperparameters by name. `examples` are the indices of
    its training examples, (n,), and `held` those of its validation examples, (v,), with `real` saying which of them
    count, all of them for a loss that compares examples; None where all lanes share the sets. `live` has the structure
    of the parameters, True where a parameter exists; None where all do. `start` are parameters and running statistics
    to begin with, or None.
    """

    key: jax.Array
    numbers: Mapping[str, Any] = {}
    examples: jax.Array | None = None
    held: jax.Array | None = None
    real: jax.Array | None = None
    live: Any = None
    start: Any = None


class Lane(NamedTuple):
    """A training under way: its state, the best one so far, and what decides when it ends."""

    state: TrainState
    best: Any  # the best state so far; None while the steps of an epoch run, which leave it as it is
    best_epoch: jax.Array
    watched: Patience
    in_a_row: jax.Array  # steps skipped just now, one after another
    going: jax.Array
    diverged: jax.Array
    totals: Any  # of the epoch under way
    counted: jax.Array


@dataclass(frozen=True, eq=False)
class Program:
    """What all lanes do: `create`, then for each epoch `order`, `advance` over its steps, and `finish`.

    Args:
        net, optimizer: functions of a lane's numbers.
        loss, metrics, augment, attack, dtype: as for `make_train_step`.
        spec: of an image.
        size: training examples of a lane.
        batch_size: of a step.
        stopping: watches the value.
        monitor: the value.
        skip_limit: a lane has diverged after so many skipped steps one after another.
        freeze: paths of layers that stay as they are.
        keep_last: the last state is kept as the best one, whatever the validation set says.
    """

    net: Callable[[Mapping[str, jax.Array]], Layer]
    optimizer: Callable[[Mapping[str, jax.Array]], optax.GradientTransformation]
    loss: PerExample
    metrics: Mapping[str, PerExample]
    augment: Augment | None
    dtype: Any
    spec: jax.ShapeDtypeStruct
    size: int
    batch_size: int
    stopping: EarlyStopping
    monitor: str
    skip_limit: int
    attack: Attack | None = None
    freeze: Sequence[str] = ()
    keep_last: bool = False

    @property
    def per_epoch(self) -> int:
        """Steps of an epoch."""
        return self.size // self.batch_size

    def create(self, own: Own) -> Lane:
        """Return the lane before its first step."""
        net, optimizer = self._built(own)
        state = TrainState.create(net, optimizer, run_keys(own.key).init, self.spec, start=own.start)
        zero = jnp.int32(0)
        totals = dict.fromkeys(("loss", *self.metrics), jnp.float32(0))
        false = jnp.bool_(False)
        return Lane(state, state, zero, self.stopping.init(), zero, ~false, false, totals, jnp.float32(0))

    def order(self, own: Own, epoch: jax.Array) -> jax.Array:
        """Return the examples of each step of an epoch, (steps, batch_size), numbered within the lane's own."""
        order = order_of(run_keys(own.key).order, epoch, self.size)
        return order[: self.per_epoch * self.batch_size].reshape(self.per_epoch, self.batch_size)

    def advance(self, lane: Lane, own: Own, arrays: Arrays, index: jax.Array, epoch: jax.Array) -> Lane:
        """Return the lane after a step on the examples `index`; one that has ended stays as it is."""
        net, optimizer = self._built(own)
        step = make_train_step(
            net,
            optimizer,
            self.loss,
            metrics=self.metrics,
            augment=self.augment,
            attack=self.attack,
            dtype=self.dtype,
        )
        rows = index if own.examples is None else own.examples[index]
        batch = numbered({name: array[rows] for name, array in arrays.items()}, index, epoch)
        state, measured = step(lane.state, batch)
        skipped = measured.pop("skipped")
        totals = {name: total + jnp.where(skipped, 0, measured[name]) for name, total in lane.totals.items()}
        in_a_row = jnp.where(skipped > 0, lane.in_a_row + 1, 0)
        diverged = lane.diverged | (in_a_row >= self.skip_limit)
        after = lane._replace(
            state=state, in_a_row=in_a_row, diverged=diverged, totals=totals, counted=lane.counted + 1 - skipped
        )
        return _chosen(lane.going & ~lane.diverged, after, lane)

    def finish(
        self, lane: Lane, own: Own, validation: Arrays | None, epoch: jax.Array
    ) -> tuple[Lane, dict[str, jax.Array]]:
        """Return the lane after an epoch, and the epoch's figures; the validation set decides what is best."""
        line = {f"train_{name}": total / lane.counted for name, total in lane.totals.items()}
        line |= {"skipped": self.per_epoch - lane.counted}
        ended = ~lane.going | lane.diverged
        watched, improved = lane.watched, jnp.bool_(True)
        if validation is not None:
            means = self._means(lane.state, own, validation, own.held, own.real)
            line |= {f"validation_{name}": value for name, value in means.items()}
            value = means[self.monitor] if self.monitor == "loss" else -means[self.monitor]
            watched = self.stopping.update(watched, value)
            improved = watched.improved | self.keep_last
            watched = watched._replace(best=value) if self.keep_last else watched
        line = {name: jnp.where(ended, jnp.nan, value) for name, value in line.items()} | {"going": ~ended}
        best = _chosen(improved, lane.state, lane.best)
        after = lane._replace(
            best=best,
            best_epoch=jnp.where(improved, epoch + 1, lane.best_epoch),
            watched=watched,
            going=~watched.stop,
            totals=jax.tree.map(jnp.zeros_like, lane.totals),
            counted=jnp.float32(0),
        )
        return _chosen(~ended, after, lane), line

    def training_error(self, lane: Lane, own: Own, arrays: Arrays) -> dict[str, jax.Array]:
        """Return the means over the training examples, with `train=False`."""
        return self._means(lane.best, own, arrays, own.examples, None)

    def _means(
        self, state: TrainState, own: Own, arrays: Arrays, rows: jax.Array | None, real: jax.Array | None
    ) -> dict[str, jax.Array]:
        """Return the mean loss and metrics over the rows, all of them unless given, that are real."""
        net, _ = self._built(own)
        functions = {"loss": self.loss, **self.metrics}
        size = len(arrays["image"]) if rows is None else len(rows)
        together = min(TOGETHER, size)
        # The last batch is padded; but what compares examples would take padding for partners.
        count = size // together if compares(*functions.values()) else -(-size // together)
        at = jnp.arange(max(count * together, size))
        index = jnp.minimum(at, size - 1)
        mask = (at < size) if real is None else (at < size) & real[index]
        rows = index if rows is None else rows[index]

        def add(totals: Any, chosen: tuple[jax.Array, jax.Array]) -> tuple[Any, None]:
            rows, mask = chosen
            batch = {name: array[rows] for name, array in arrays.items()}
            batch |= {"image": to_float(batch["image"])}
            outputs, _ = net.apply(state.params, state.model_state, batch["image"], train=False)
            return jax.tree.map(jnp.add, totals, masked_sums(functions, outputs, batch, mask)), None

        full = count * together
        parts = rows[:full].reshape(count, -1), mask[:full].reshape(count, -1)
        totals, _ = jax.lax.scan(add, dict.fromkeys(functions, jnp.float32(0)), parts)
        if full < size:
            totals, _ = add(totals, (rows[full:], mask[full:]))
        return {name: total / jnp.sum(mask) for name, total in totals.items()}

    def _built(self, own: Own) -> tuple[Layer, optax.GradientTransformation]:
        # As `make_train_step` freezes, but for the masks of widths, which are of all parameters.
        net = surgery.freeze(self.net(own.numbers), self.freeze)
        optimizer = except_frozen(self.optimizer(own.numbers), self.freeze)
        if own.live is not None:
            optimizer = optax.chain(_only(own.live), optimizer)
        return net, optimizer


def _only(live: Any) -> optax.GradientTransformation:
    """Return the transformation that makes the gradient zero where `live` is False."""

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        return jax.tree.map(lambda update, there: jnp.where(there, update, 0), updates, live), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def _chosen(first: jax.Array, one: Any, other: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(first, a, b), one, other)
