"""One step of training and one of evaluation, as pure functions; a trained net as a function of images."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxcnn.checking import expect
from jaxcnn.data.dataset import Dataset, to_float
from jaxcnn.data.stream import Stream, on_device
from jaxcnn.layers.layer import Layer, apply
from jaxcnn.losses import Classification, batch_accuracy, classification
from jaxcnn.training.state import TrainState

__all__ = ["evaluate", "make_train_step", "predict", "predictor"]

Batch = Mapping[str, jax.Array]
PerExample = Callable[[jax.Array, Batch], jax.Array]
"""`(outputs, batch) -> (N,)`: a loss or a metric."""
Augment = Callable[[jax.Array, Any], Any]
"""`(key, batch) -> batch`, on float images in [0, 1]; `augment.batched` makes one."""


def make_train_step(
    net: Layer,
    optimizer: optax.GradientTransformation,
    loss: PerExample | None = None,
    *,
    metrics: Mapping[str, PerExample] | None = None,
    augment: Augment | None = None,
    dtype: Any = jnp.float32,
) -> Callable[[TrainState, Batch], tuple[TrainState, dict[str, jax.Array]]]:
    """Return the function of one step: `(state, batch) -> (state, metrics)`, pure, for `jit`, `vmap` and `scan`.

    params <- params + optimizer(d/d params mean_n loss(net(augment(x_n)), batch_n)); the batch-norm statistics that
    the forward pass returns go into the new state; dropout and augmentation draw from `fold_in(state.key, step)`.

    Args:
        net: the net.
        optimizer: any optax transformation.
        loss: `(outputs, batch) -> (N,)`; `losses.classification()` unless given.
        metrics: more such functions by name; accuracy unless given, where the loss is `classification`'s.
        augment: `(key, batch) -> batch` on float images in [0, 1], such as `augment.batched(augment.shift)`.
        dtype: of the images that the net sees: its compute dtype.

    Returns:
        The step. `batch` is a dict of arrays with `["image"]`, uint8 0..255 or floating in [0, 1], (N, H, W, C). The
        metrics are scalars: means over the batch, `["loss"]` among them, before the update.
    """
    loss, metrics = with_defaults(loss, metrics)

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, jax.Array]]:
        net_key, augment_key = jax.random.split(jax.random.fold_in(state.key, state.step))
        batch = dict(batch, image=to_float(batch["image"], dtype))
        if augment is not None:
            batch = augment(augment_key, batch)

        def objective(params: Any) -> tuple[jax.Array, tuple[jax.Array, Any]]:
            outputs, model_state = net.apply(params, state.model_state, batch["image"], train=True, key=net_key)
            return jnp.mean(_per_example("loss", loss(outputs, batch), batch)), (outputs, model_state)

        (value, (outputs, model_state)), gradient = jax.value_and_grad(objective, has_aux=True)(state.params)
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        measured = {name: jnp.mean(_per_example(name, fn(outputs, batch), batch)) for name, fn in metrics.items()}
        new_state = dataclasses.replace(
            state,
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            model_state=model_state,
            opt_state=opt_state,
        )
        return new_state, {"loss": value, **measured}

    return step


def evaluate(
    net: Layer,
    params: Any,
    state: Any,
    dataset: Dataset | Stream,
    *,
    loss: PerExample | None = None,
    metrics: Mapping[str, PerExample] | None = None,
    batch_size: int = 256,
) -> dict[str, float]:
    """Return the mean loss and metrics over a data set, with `train=False`.

    Args:
        net, params, state: the trained net.
        dataset: a `data.Dataset`, a `Stream`, or any mapping of arrays with one example per row.
        loss, metrics: as for `make_train_step`.
        batch_size: images at once; the last batch is padded and masked, so that one program serves all.

    Returns:
        {"loss": ..., "accuracy": ...}.

    Raises:
        ValueError: no examples, a batch_size below 1.
    """
    loss, metrics = with_defaults(loss, metrics)
    run = _evaluation(net, loss, tuple(metrics.items()))
    totals = [run(params, state, batch, mask) for batch, mask in _padded_batches("evaluate", dataset, batch_size)]
    size = dataset.size if isinstance(dataset, Stream) else len(dataset["image"])
    return jax.tree.map(lambda *values: sum(map(float, values)) / size, *totals)


def predict(
    net: Layer, params: Any, state: Any, dataset: Stream | Mapping[str, Any], *, batch_size: int = 256
) -> np.ndarray:
    """Return the outputs for every image of a data set, with `train=False`, in order.

    Args:
        net, params, state: the trained net.
        dataset: a `Stream`, or anything with `["image"]`, (N, H, W, C).
        batch_size: images at once; the last batch is padded, so that one program serves all.

    Returns:
        (N, ...) on the host.

    Raises:
        ValueError: no examples, a batch_size below 1.
    """
    forward = jax.jit(_Forward(net))
    parts = []
    images = dataset if isinstance(dataset, Stream) else {"image": dataset["image"]}
    for batch, mask in _padded_batches("predict", images, batch_size):
        parts.append(np.asarray(forward(params, state, batch["image"]))[np.asarray(mask)])
    return np.concatenate(parts)


def _padded_batches(
    where: str, dataset: Stream | Mapping[str, Any], batch_size: int
) -> Iterator[tuple[Batch, jax.Array]]:
    """Yield batches of one size in order, and which of their rows are real."""
    size = dataset.size if isinstance(dataset, Stream) else len(dataset["image"])
    expect(size > 0, where, "at least one example", "none", "Pass a data set with examples.")
    expect(batch_size >= 1, where, "a batch_size >= 1", batch_size, "256 suits most nets.")
    batch_size = min(batch_size, size)
    if isinstance(dataset, Stream):
        for batch in on_device(dataset.batches(batch_size)):
            row = jnp.arange(batch_size)
            last = len(batch["image"]) - 1
            yield {name: array[jnp.minimum(row, last)] for name, array in batch.items()}, row <= last
        return
    arrays = {name: jnp.asarray(array) for name, array in dataset.items()}
    for start in range(0, size, batch_size):
        # Padding repeats the last example, so that padded rows are as harmless as real ones.
        index = jnp.minimum(jnp.arange(start, start + batch_size), size - 1)
        yield {name: array[index] for name, array in arrays.items()}, jnp.arange(start, start + batch_size) < size


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

    def __call__(self, params: Any, state: Any, image: jax.Array) -> jax.Array:
        return apply(self.net, params, state, to_float(image), train=False)[0]


def with_defaults(
    loss: PerExample | None, metrics: Mapping[str, PerExample] | None
) -> tuple[PerExample, Mapping[str, PerExample]]:
    """Return the loss and metrics to use: classification and its accuracy unless given."""
    loss = classification() if loss is None else loss
    if metrics is None:
        metrics = {"accuracy": batch_accuracy} if isinstance(loss, Classification) else {}
    return loss, metrics


def _per_example(name: str, values: jax.Array, batch: Batch) -> jax.Array:
    """Return `values`, having checked that there is one for each image: a mean could not be masked."""
    wanted, got = (len(batch["image"]),), jnp.shape(values)
    expect(got == wanted, name, f"one number per image, shape {wanted}", f"shape {got}", "Return it without .mean().")
    return values


@functools.lru_cache(maxsize=32)
def _evaluation(net: Layer, loss: PerExample, metrics: tuple[tuple[str, PerExample], ...]):
    """Return the compiled sums over one batch; cached, as nets are hashable, so that epochs share it."""

    @jax.jit
    def run(params: Any, state: Any, batch: Batch, mask: jax.Array) -> dict[str, jax.Array]:
        batch = dict(batch, image=to_float(batch["image"]))
        outputs, _ = net.apply(params, state, batch["image"], train=False)
        measured = {"loss": loss(outputs, batch)} | {name: metric(outputs, batch) for name, metric in metrics}
        return {name: jnp.sum(jnp.where(mask, _per_example(name, v, batch), 0.0)) for name, v in measured.items()}

    return run
