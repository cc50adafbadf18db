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
from jaxcnn.checking import expect, expect_count, shown
from jaxcnn.data.dataset import Dataset, to_float
from jaxcnn.data.stream import Stream, on_device
from jaxcnn.layers.layer import Layer, apply, expect_arrays, expect_net
from jaxcnn.training.mesh import mesh_of, own_rows, placed, placed_rows, replicated, rows
from jaxcnn.training.step import Batch, PerExample, compares, expect_batch, per_example, summarized, with_defaults

__all__ = ["TOGETHER", "evaluate", "expect_hashes", "masked_sums", "padded_batches", "predict", "predictor"]

Views = tuple[View, ...]
TOGETHER = 256  # images that are evaluated at once, unless the caller says otherwise


def evaluate(
    net: Layer,
    params: Any,
    state: Any,
    dataset: Dataset | Stream,
    *,
    loss: PerExample | None = None,
    metrics: Mapping[str, PerExample] | None = None,
    views: Sequence[View] = (),
    batch_size: int = TOGETHER,
) -> dict[str, float]:
    """Return the mean loss and metrics over a data set, with `train=False`, on the devices that the parameters are on.

    The compute dtype is float32, whatever the training's was. A loss that compares the examples of a batch, such as
    `matching.pair_loss`'s, sees `batch_size` images at once, in order, and at last those that are left: its mean over
    all images is that of these comparisons, and depends on `batch_size`.

    Args:
        net, params, state: the trained net.
        dataset: a `data.Dataset`, a `Stream`, or any mapping of arrays with one example per row.
        loss, metrics: as for `make_train_step`.
        views: functions of images, such as `augment.mirrored`, over which outputs are averaged, maps moved back: see
            `augment.test_time`.
        batch_size: images at once, made a multiple of the number of devices; the last batch is padded and masked, so
            that one program serves all; what compares examples sees the real ones alone, in a program of its own.

    Returns:
        {"loss": ..., "accuracy": ...}.

    Raises:
        ValueError: no examples, a batch_size below 1, maps of views that have no inverse.
    """
    loss, metrics = with_defaults("evaluate", loss, metrics)
    expect_hashes("evaluate", loss, metrics)
    run = _evaluation(_forward("evaluate", net, params, state, views), loss, tuple(metrics.items()))
    _expect_known("evaluate", (params, state))
    compared, totals = compares(loss, *metrics.values()), []
    for batch, mask in padded_batches("evaluate", dataset, batch_size, mesh_of(params)):
        rows = len(batch["image"])
        real = min(rows, _size(dataset) - rows * len(totals)) if compared else rows
        totals.append(run(params, state, batch, mask, real))
    size = _size(dataset)
    # On the host in float64: there may be many batches.
    means = jax.tree.map(lambda *values: sum(np.asarray(value, np.float64) for value in values) / size, *totals)
    return summarized(metrics, means)


def predict(
    net: Layer,
    params: Any,
    state: Any,
    dataset: Stream | Mapping[str, Any],
    *,
    views: Sequence[View] = (),
    batch_size: int = TOGETHER,
) -> Any:
    """Return the outputs for every image of a data set, with `train=False`, in order.

    Args:
        net, params, state: the trained net.
        dataset: a `Stream`, or anything with `["image"]`, (N, H, W, C).
        views: as for `evaluate`.
        batch_size: images at once; the last batch is padded, so that one program serves all.

    Returns:
        (N, ...) on the host; of a net that gives several by name, such as `layers.Auxiliary`, a dict of these.

    Raises:
        ValueError: no examples, a batch_size below 1, maps of views that have no inverse.
    """
    forward = _forward("predict", net, params, state, views)
    _expect_known("predict", (params, state))
    mesh = mesh_of(params)
    run = _prediction(forward, mesh)
    parts = []
    if isinstance(dataset, Mapping) and "image" in dataset:
        dataset = {"image": dataset["image"]}
    for batch, _ in padded_batches("predict", dataset, batch_size, mesh):
        parts.append(jax.tree.map(np.asarray, run(params, state, batch["image"])))
    size = _size(dataset)  # the last batch alone is padded
    return jax.tree.map(lambda *rows: np.concatenate(rows)[:size], *parts)


def padded_batches(
    where: str, dataset: Stream | Mapping[str, Any], batch_size: int, mesh: Mesh
) -> Iterator[tuple[Batch, jax.Array]]:
    """Yield batches of one size in order, their rows spread over the devices, and which of the rows are real."""
    if not isinstance(dataset, Stream):
        expect_batch(where, dataset)
        _expect_known(where, dict(dataset))
    size = _size(dataset)
    expect(size > 0, where, "at least one example", "none", "Pass a data set with examples.")
    batch_size = expect_count(where, "batch_size", batch_size)
    batch_size = -(-min(batch_size, size) // mesh.size) * mesh.size
    starts = range(0, size, batch_size)
    mine = own_rows(mesh, batch_size)
    # Padding repeats the last example, so that padded rows are as harmless as real ones.
    index = np.minimum(np.arange(len(starts) * batch_size), size - 1).reshape(-1, batch_size)[:, mine]
    batches: Iterator[Any]
    if isinstance(dataset, Stream):
        batches = dataset.take(index.ravel()).batches(index.shape[1])
    else:
        arrays = {name: np.asarray(array) for name, array in dataset.items()}
        batches = ({name: array[chosen] for name, array in arrays.items()} for chosen in index)

    on_devices = on_device(batches, functools.partial(placed_rows, mesh=mesh))
    for start, batch in zip(starts, on_devices, strict=True):
        yield batch, placed(start + np.arange(batch_size) < size, rows(mesh))


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
    return jax.tree_util.Partial(_forward("predictor", net, params, state), params, state)


@dataclass(frozen=True)
class _Forward:
    net: Layer
    views: Views = ()

    def __call__(self, params: Any, state: Any, image: jax.Array) -> jax.Array:
        def outputs(image: jax.Array) -> jax.Array:
            return apply(self.net, params, state, image, train=False)[0]

        return (test_time(outputs, self.views) if self.views else outputs)(to_float(image))


def _forward(where: str, net: Layer, params: Any, state: Any, views: Sequence[View] = ()) -> _Forward:
    """Return the net as a function, having looked at all that it is made of."""
    expect_net(where, net)
    expect_arrays(where, "params", params)
    expect_arrays(where, "state", state)
    fix = "Pass (augment.mirrored, lambda images: images), say."
    ok = isinstance(views, Sequence) and all(map(callable, views))
    expect(ok, where, "views as a list of functions of images", shown(views), fix, TypeError)
    _expect_hash(where, "views", tuple(views))
    return _Forward(net, tuple(views))


def expect_hashes(where: str, loss: PerExample, metrics: Mapping[str, PerExample]) -> None:
    """Raise `TypeError` where `evaluate` could not find the compiled program of a loss or a metric again."""
    for name, fn in {"loss": loss, **metrics}.items():
        _expect_hash(where, name, fn)


def _expect_hash(where: str, name: str, given: Any) -> None:
    try:
        hash(given)
    except TypeError:
        what = f"{name} with a hash, by which its compiled program is found again"
        fix = "Freeze its dataclass, with tuples in the place of arrays, or pass eq=False to it."
        expect(False, where, what, shown(given), fix, TypeError)


def _expect_known(where: str, tree: Any) -> None:
    traced = [leaf for leaf in jax.tree.leaves(tree) if isinstance(leaf, jax.core.Tracer)]
    fix = "Call it outside of jax.jit: predictor is for inside."
    expect(not traced, where, "arrays that are known", shown(traced), fix, TypeError)


@functools.lru_cache(maxsize=32)
def _evaluation(forward: _Forward, loss: PerExample, metrics: tuple[tuple[str, PerExample], ...]):
    """Return the compiled sums over one batch; cached, as nets are hashable, so that epochs share it."""

    @functools.partial(jax.jit, static_argnums=4)
    def run(params: Any, state: Any, batch: Batch, mask: jax.Array, real: int) -> dict[str, jax.Array]:
        batch = dict(batch, image=to_float(batch["image"]))
        outputs = forward(params, state, batch["image"])
        if real < len(mask):  # padding would be partners that do not exist
            outputs, batch, mask = jax.tree.map(lambda rows: rows[:real], (outputs, batch, mask))
        return masked_sums({"loss": loss, **dict(metrics)}, outputs, batch, mask)

    return run


def masked_sums(
    functions: Mapping[str, PerExample], outputs: jax.Array, batch: Batch, mask: jax.Array
) -> dict[str, jax.Array]:
    """Return the sum of each loss or metric over the rows of a batch that count."""

    def total(values: jax.Array) -> jax.Array:
        real = mask.reshape(-1, *(1,) * (values.ndim - 1))
        return jnp.sum(jnp.where(real, values, 0.0), axis=0)

    return {name: total(per_example(name, fn, outputs, batch)) for name, fn in functions.items()}


@functools.lru_cache(maxsize=32)
def _prediction(forward: _Forward, mesh: Mesh):
    """Return the compiled outputs of one batch, whole on every device; cached as above."""
    return jax.jit(forward, out_shardings=replicated(mesh))
