"""How a training set reaches the step: from the device's memory, or from disk batch by batch."""

import time
from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from jaxcnn.data.dataset import Dataset
from jaxcnn.data.stream import Stream, on_device
from jaxcnn.training.state import TrainState
from jaxcnn.training.step import Batch

__all__ = ["Feed", "feed"]

Step = Callable[[TrainState, Batch], tuple[TrainState, dict[str, jax.Array]]]


class Feed(Protocol):
    """The steps of a training, one after another; batches have "index" and "epoch" beside what the set holds."""

    waited: float
    """Seconds in all that a step waited for its batch."""

    def advance(self, state: TrainState, epoch: int, at: int) -> tuple[TrainState, dict[str, jax.Array]]:
        """Return the state and the metrics of the step at place `at` of an epoch, both counted from 0."""
        ...

    def close(self) -> None:
        """Stop reading."""
        ...


def feed(step: Step, train: Dataset | Stream, batch_size: int, key: jax.Array) -> Feed:
    """Return the feed of a training set.

    Args:
        step: the pure step; it is compiled here, once, and takes over the state's memory.
        train: the examples.
        batch_size: of a step.
        key: decides the order of every epoch, and the crops of a stream.
    """
    return (_Streamed if isinstance(train, Stream) else _InMemory)(step, train, batch_size, key)


class _InMemory:
    """The arrays that the step uses stay on the device, and a step gathers its own batch: one program.

    Steps are called from Python, not scanned: XLA on CPU runs many operations faster outside of loops.
    """

    waited = 0.0

    def __init__(self, step: Step, train: Any, batch_size: int, key: jax.Array) -> None:
        self.arrays = dict(train.items())
        self.placed = False
        self.shuffle = jax.jit(lambda epoch: jax.random.permutation(jax.random.fold_in(key, epoch), train.size))
        self.order = jnp.zeros(0, jnp.int32)

        def indexed(state: TrainState, arrays: Any, order: jax.Array, epoch: jax.Array, at: jax.Array):
            index = jax.lax.dynamic_slice_in_dim(order, at * batch_size, batch_size)
            batch = {name: array[index] for name, array in arrays.items()}
            return step(state, _numbered(batch, index, epoch))

        self.run = jax.jit(indexed, donate_argnums=0)

    def advance(self, state: TrainState, epoch: int, at: int):
        if at == 0:
            self.order = self.shuffle(jnp.int32(epoch + 1))
        place = (self.order, jnp.int32(epoch), jnp.int32(at))
        if not self.placed:
            # What neither loss nor metrics depend on, the masks of a classification perhaps, stays on the host.
            used = self.run.lower(state, self.arrays, *place).compile().input_shardings[0][1]
            self.arrays = {n: a if used[n] is None else jax.device_put(a) for n, a in self.arrays.items()}
            self.placed = True
        return self.run(state, self.arrays, *place)

    def close(self) -> None:
        pass


class _Streamed:
    """Batches come from disk, the next ones already on their way while the device computes."""

    def __init__(self, step: Step, train: Any, batch_size: int, key: jax.Array) -> None:
        self.batches: Any = on_device(train.batches(batch_size, key=key))
        self.waited = 0.0

        def numbered(state: TrainState, batch: Any, epoch: jax.Array):
            return step(state, _numbered(batch, batch["index"], epoch))

        self.run = jax.jit(numbered, donate_argnums=0)

    def advance(self, state: TrainState, epoch: int, at: int):
        began = time.perf_counter()
        batch = next(self.batches)
        self.waited += time.perf_counter() - began
        return self.run(state, batch, jnp.int32(epoch))

    def close(self) -> None:
        self.batches.close()


def _numbered(batch: dict[str, jax.Array], index: jax.Array, epoch: jax.Array) -> dict[str, jax.Array]:
    """Return the batch with what an augmentation may ask for: the number of each example, and that of the epoch."""
    return batch | {"index": index.astype(jnp.int32), "epoch": jnp.broadcast_to(epoch, index.shape)}
