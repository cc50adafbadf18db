"""A trained net on data: mean loss and metrics, outputs, and the net as a function of images."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from jaxcnn.augment.views import View, test_time
from jaxcnn.checking import expect
from jaxcnn.data.dataset import Dataset, to_float
from jaxcnn.data.stream import Stream, on_device
from jaxcnn.layers.layer import Layer, apply
from jaxcnn.training.mesh import mesh_of, placed, replicated, rows
from jaxcnn.training.step import Batch, PerExample, per_example, with_defaults

__all__ = ["evaluate", "predict", "predictor"]

Views = tuple[View, ...]


def evaluate(
    net: Layer,
    params: Any,
    state: Any,
    dataset: Dataset | Stream,
    *,
    loss: PerExample | None = None,
    metrics: Mapping[str, PerExample] | None = None,
    views: Sequence[View] = (),
    batch_size: int = 256,
) -> dict[str, float]:
    """Return the mean loss and metrics over a data set, with `train=False`, on the devices that the parameters are on.

    The compute dtype is float32, whatever the training's was.

    Args:
        net, params, state: the trained net.
        dataset: a `data.Dataset`, a `Stream`, or any mapping of arrays with one example per row.
        loss, metrics: as for `make_train_step`.
        views: functions of images, such as `augment.mirrored`, over which outputs are averaged: see
            `augment.test_time`.
        batch_size: images at once, made a multiple of the number of devices; the last batch is padded and masked, so
            that one program serves all.

    Returns:
        {"loss": ..., "accuracy": ...}.

    Raises:
        ValueError: no examples, a batch_size below 1.
    """
    loss, metrics = with_defaults(loss, metrics)
    run = _evaluation(_Forward(net, tuple(views)), loss, tuple(metrics.items()))
    batches = _padded_batches("evaluate", dataset, batch_size, mesh_of(params))
    totals = [run(params, state, batch, mask) for batch, mask in batches]
    size = _size(dataset)
    return jax.tree.map(lambda *values: sum(map(float, values)) / size, *totals)


def predict(
    net: Layer,
    params: Any,
    state: Any,
    dataset: Stream | Mapping[str, Any],
    *,
    views: Sequence[View] = (),
    batch_size: int = 256,
) -> np.ndarray:
    """Return the outputs for every image of a data set, with `train=False`, in order.

    Args:
        net, params, state: the trained net.
        dataset: a `Stream`, or anything with `["image"]`, (N, H, W, C).
        views: as for `evaluate`.
        batch_size: images at once; the last batch is padded, so that one program serves all.

    Returns:
        (N, ...) on the host.

    Raises:
        ValueError: no examples, a batch_size below 1.
    """
    mesh = mesh_of(params)
    forward = _prediction(_Forward(net, tuple(views)), mesh)
    parts = []
    images = dataset if isinstance(dataset, Stream) else {"image": dataset["image"]}
    for batch, _ in _padded_batches("predict", images, batch_size, mesh):
        parts.append(np.asarray(forward(params, state, batch["image"])))
    return np.concatenate(parts)[: _size(dataset)]  # the last batch alone is padded


def _padded_batches(
    where: str, dataset: Stream | Mapping[str, Any], batch_size: int, mesh: Mesh
) -> Iterator[tuple[Batch, jax.Array]]:
    """Yield batches of one size in order, their rows spread over the devices, and which of the rows are real."""
    size = _size(dataset)
    expect(size > 0, where, "at least one example", "none", "Pass a data set with examples.")
    expect(batch_size >= 1, where, "a batch_size >= 1", batch_size, "256 suits most nets.")
    batch_size = -(-min(batch_size, size) // mesh.size) * mesh.size
    starts, sharding = range(0, size, batch_size), rows(mesh)
    batches: Iterator[Any]
    if isinstance(dataset, Stream):
        batches = dataset.batches(batch_size)
    else:
        batches = ({name: array[i : i + batch_size] for name, array in dataset.items()} for i in starts)

    def filled(batch: Mapping[str, Any]) -> Batch:
        # Padding repeats the last example, so that padded rows are as harmless as real ones.
        index = np.minimum(np.arange(batch_size), len(batch["image"]) - 1)
        return {name: placed(np.asarray(array)[index], sharding) for name, array in batch.items()}

    for start, batch in zip(starts, on_device(batches, filled), strict=True):
        yield batch, placed(start + np.arange(batch_size) < size, sharding)


def _size(dataset: Stream | Mapping[str, Any]) -> int:
    return dataset.size if isinstance(dataset, Stream) else len(dataset["image"])


def predictor(net: Layer, params: Any, state: Any) -> Callable[[jax.Array], jax.Array]:
    """Return the trained net as a function of images, with `train=False`: what explanations and attacks take.

    Args:
        net, params, state: the trained net.

    Returns:
        `images -> outputs`, for floating images in [0, 1] or uint8 ones in 0..255, any leading axes. It is a pytree
        that holds params and state, so it passes through `jit` as an argument without being compiled in.
    """
    return jax.tree_util.Partial(_Forward(net), params, state)


@dataclass(frozen=True)
class _Forward:
    net: Layer
    views: Views = ()

    def __call__(self, params: Any, state: Any, image: jax.Array) -> jax.Array:
        def outputs(image: jax.Array) -> jax.Array:
            return apply(self.net, params, state, image, train=False)[0]

        return (test_time(outputs, self.views) if self.views else outputs)(to_float(image))


@functools.lru_cache(maxsize=32)
def _evaluation(forward: _Forward, loss: PerExample, metrics: tuple[tuple[str, PerExample], ...]):
    """Return the compiled sums over one batch; cached, as nets are hashable, so that epochs share it."""

    @jax.jit
    def run(params: Any, state: Any, batch: Batch, mask: jax.Array) -> dict[str, jax.Array]:
        batch = dict(batch, image=to_float(batch["image"]))
        outputs = forward(params, state, batch["image"])
        measured = {"loss": loss(outputs, batch)} | {name: metric(outputs, batch) for name, metric in metrics}
        return {name: jnp.sum(jnp.where(mask, per_example(name, v, batch), 0.0)) for name, v in measured.items()}

    return run


@functools.lru_cache(maxsize=32)
def _prediction(forward: _Forward, mesh: Mesh):
    """Return the compiled outputs of one batch, whole on every device; cached as above."""
    return jax.jit(forward, out_shardings=replicated(mesh))
