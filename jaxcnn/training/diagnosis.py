"""Where infinite or NaN values came from: the first array of a step that holds one."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn.data.dataset import to_float
from jaxcnn.layers.layer import Layer
from jaxcnn.surgery import activations, paths
from jaxcnn.training.state import TrainState
from jaxcnn.training.step import Augment, Batch, PerExample

__all__ = ["first_not_finite"]


def first_not_finite(
    net: Layer, loss: PerExample, augment: Augment | None, dtype: Any, state: TrainState, batch: Batch
) -> str:
    """Return in words which array of the step from `state` on `batch` is the first with an infinite or NaN value.

    Args:
        net, loss, augment, dtype: of the step.
        state: before the step.
        batch: of the step.
    """
    for name, tree in jax.jit(lambda state, batch: list(_arrays(net, loss, augment, dtype, state, batch)))(
        state, batch
    ):
        for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
            if jnp.issubdtype(leaf.dtype, jnp.inexact) and not bool(jnp.all(jnp.isfinite(leaf))):
                return f"{name} {jax.tree_util.keystr(path, simple=True, separator='/')}".strip()
    return "what the optimizer makes of them"


def _arrays(
    net: Layer, loss: PerExample, augment: Augment | None, dtype: Any, state: TrainState, batch: Batch
) -> Iterator[tuple[Any, Any]]:
    """Yield the arrays of a step in the order in which they are computed, each with its name."""
    net_key, augment_key = jax.random.split(jax.random.fold_in(state.key, state.step))
    batch = dict(batch, image=to_float(batch["image"], dtype))
    yield _Name("the images"), batch["image"]
    if augment is not None:
        batch = augment(augment_key, batch)
        yield _Name("the augmented images"), batch["image"]
    yield _Name("the parameter"), state.params
    known = paths(net)
    leaves = [path for path in known if not any(other.startswith(f"{path}/") for other in known)]
    _, inner = activations(net, state.params, state.model_state, batch["image"], leaves, train=True, key=net_key)
    yield from ((_Name(f"the activations of {path!r}"), array) for path, array in inner.items())

    def objective(params: Any) -> tuple[jax.Array, Any]:
        outputs, model_state = net.apply(params, state.model_state, batch["image"], train=True, key=net_key)
        values = loss(outputs, batch)
        return jnp.mean(values), (values, model_state)

    gradient, (values, model_state) = jax.grad(objective, has_aux=True)(state.params)
    yield _Name("the loss"), values
    yield _Name("the statistics of"), model_state
    yield _Name("the gradient of"), gradient


@jax.tree_util.register_static
class _Name(str):
    """A text that passes through `jit`."""
