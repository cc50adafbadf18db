"""How a training set reaches the step: from the devices' memory, or from disk batch by batch."""

import dataclasses
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from jaxcnn.data.dataset import Dataset
from jaxcnn.data.stream import Stream, on_device
from jaxcnn.training.mesh import own_rows, placed, placed_rows, replicated, rows, state_shardings
from jaxcnn.training.state import TrainState
from jaxcnn.training.step import Batch

__all__ = ["STEPS_PER_CALL", "Feed", "feed", "numbered", "order_of"]

Metrics = dict[str, jax.Array]
Step = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]

# How many steps one call does, where it does several: a call costs accelerators more than the steps of a small net.
# XLA on CPU runs many operations faster outside of loops.
STEPS_PER_CALL = {"cpu": 1, "gpu": 16, "tpu": 16}


class Feed(Protocol):
    """The steps of a training, one after another; batches have "index" and "epoch" beside what the set holds.

    Steps and epochs are counted from 0: step t is the one at place t % steps_per_epoch of epoch t // steps_per_epoch.
    """

    waited: float
    """Seconds in all that a step waited for its batch."""
    replays: int
    """Steps in a row that each batch is for."""

    def advance(self, state: TrainState, step: int) -> tuple[TrainState, Metrics]:
        """Return the state after the step and its metrics, or after several, whose metrics have a first axis."""
        ...

    def batch(self, step: int) -> Batch:
        """Return the batch of a step."""
        ...

    def close(self) -> None:
        """Stop reading."""
        ...


def feed(
    step: Step,
    train: Dataset | Stream,
    batch_size: int,
    key: jax.Array,
    mesh: Mesh,
    start: int = 0,
    replays: int = 1,
) -> Feed:
    """Return the feed of a training set.

    Args:
        step: the pure step; it is compiled here, once, and takes over the state's memory.
        train: the examples.
        batch_size: of a step, on all devices together.
        key: decides the order of every epoch, and the crops of a stream.
        mesh: the devices.
        start: the step that comes first.
        replays: steps in a row that each batch is for; what they draw is of its number, not of theirs.
    """
    if isinstance(train, Stream):
        return _Streamed(_replayed(step, replays), train, batch_size, key, mesh, start, replays)
    return _InMemory(_replayed(step, replays), train, batch_size, key, mesh, replays)


def _replayed(step: Step, replays: int) -> Step:
    """Return the step that counts all steps, and draws by the number of the batch."""

    def run(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        after, metrics = step(dataclasses.replace(state, step=state.step // replays), batch)
        return dataclasses.replace(after, step=state.step + 1), metrics

    return step if replays == 1 else run


class _InMemory:
    """The arrays that the step uses stay on every device, and a step gathers its own batch: one program."""

    waited = 0.0

    def __init__(self, step: Step, train: Dataset, batch_size: int, key: jax.Array, mesh: Mesh, replays: int) -> None:
        self.arrays: dict[str, Any] = dict(train.items())
        self.per_epoch, self.replays = train.size // batch_size * replays, replays
        self.at_once = STEPS_PER_CALL.get(mesh.devices.flat[0].platform, 1)
        self.whole, self.rows, self.mesh = replicated(mesh), rows(mesh), mesh
        self.shuffle = jax.jit(partial(order_of, key, size=train.size), out_shardings=self.whole)
        self.epoch, self.order = -1, jnp.zeros(0, jnp.int32)

        def gathered(arrays: Any, order: jax.Array, step: jax.Array) -> Batch:
            epoch, at = step // self.per_epoch, step % self.per_epoch // replays
            index = jax.lax.dynamic_slice_in_dim(order, at * batch_size, batch_size)
            index = jax.lax.with_sharding_constraint(index, self.rows)
            return numbered({name: array[index] for name, array in arrays.items()}, index, epoch)

        def one(state: TrainState, arrays: Any, order: jax.Array):
            return step(state, gathered(arrays, order, state.step))

        def several(state: TrainState, arrays: Any, order: jax.Array):
            return jax.lax.scan(lambda state, _: one(state, arrays, order), state, length=self.at_once)

        self.gathered, self.one, self.several = jax.jit(gathered), one, several
        self.programs: dict[int, Any] = {}

    def shuffled(self, step: int) -> jax.Array:
        """Return the order of the step's epoch, drawn where it begins."""
        epoch = step // self.per_epoch
        if epoch != self.epoch:
            self.epoch, self.order = epoch, self.shuffle(jax.device_put(np.int32(epoch)))
        return self.order

    def advance(self, state: TrainState, step: int):
        # Which steps share a call depends on their numbers alone: so do the bits, wherever a run was resumed.
        at = step % self.per_epoch
        count = self.at_once if at % self.at_once == 0 and at + self.at_once <= self.per_epoch else 1
        order = self.shuffled(step)
        if count not in self.programs:
            self.programs[count] = self.compiled(self.one if count == 1 else self.several, state, order)
        return self.programs[count](state, self.arrays, order)

    def compiled(self, fn: Callable, state: TrainState, order: jax.Array) -> Callable:
        """Return the program of `fn`, and put the arrays that it uses onto the devices."""
        shardings = state_shardings(self.mesh, state), self.whole
        run = jax.jit(fn, donate_argnums=0, out_shardings=shardings)
        as_placed = jax.eval_shape(lambda: {n: jnp.asarray(a) for n, a in self.arrays.items()})
        there = {n: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=self.whole) for n, a in as_placed.items()}
        program = run.lower(state, there, order).compile()
        # What neither loss nor metrics depend on, the masks of a classification perhaps, stays on the host.
        used = program.input_shardings[0][1]
        self.arrays |= {n: placed(a, self.whole) for n, a in self.arrays.items() if used[n] is not None}
        return run if jax.config.jax_disable_jit else program

    def batch(self, step: int) -> Batch:
        return self.gathered(self.arrays, self.shuffled(step), jnp.int32(step))

    def close(self) -> None:
        pass


class _Streamed:
    """Batches come from disk, the next ones already on their way while the device computes."""

    def __init__(
        self, step: Step, train: Stream, batch_size: int, key: jax.Array, mesh: Mesh, start: int, replays: int
    ) -> None:
        self.per_epoch, self.replays = train.size // batch_size * replays, replays
        self.waited = 0.0
        mine = own_rows(mesh, batch_size)

        def read(first: int) -> Iterator[dict[str, jax.Array]]:
            batches = train.batches(batch_size, key=key, start=first // replays, rows=mine)
            return on_device(batches, partial(placed_rows, mesh=mesh))

        def one(state: TrainState, batch: Any):
            return step(state, numbered(batch, batch["index"], state.step // self.per_epoch))

        self.read, self.one, self.mesh = read, one, mesh
        self.batches: Any = read(start)
        self.held: Any = None
        self.run: Any = None

    def advance(self, state: TrainState, step: int):
        began = time.perf_counter()
        if self.held is None or step % self.replays == 0:
            self.held = next(self.batches)
        self.waited += time.perf_counter() - began
        if self.run is None:
            shardings = state_shardings(self.mesh, state), replicated(self.mesh)
            self.run = jax.jit(self.one, donate_argnums=0, out_shardings=shardings)
        return self.run(state, self.held)

    def batch(self, step: int) -> Batch:
        reading: Any = self.read(step)
        batch = next(reading)
        reading.close()
        return numbered(batch, batch["index"], jnp.int32(step // self.per_epoch))

    def close(self) -> None:
        self.batches.close()


def order_of(key: jax.Array, epoch: jax.Array, size: int) -> jax.Array:
    """Return the order of `size` examples in an epoch, counted from 0."""
    return jax.random.permutation(jax.random.fold_in(key, epoch + 1), size)


def numbered(batch: dict[str, jax.Array], index: jax.Array, epoch: jax.Array) -> dict[str, jax.Array]:
    """Return the batch with what an augmentation may ask for: the number of each example, and that of the epoch."""
    return batch | {"index": index.astype(jnp.int32), "epoch": jnp.broadcast_to(epoch, index.shape)}
