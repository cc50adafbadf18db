"""Where infinite or NaN values came from: the first array of a step that holds one."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn.data.dataset import to_float
from jaxcnn.layers.layer import Layer, named_leaves
from jaxcnn.surgery import activations
from jaxcnn.surgery.tree import leaf_paths
from jaxcnn.training.state import TrainState
from jaxcnn.training.step import Attack, Augment, Batch, PerExample, attacked

__all__ = ["first_not_finite"]


def first_not_finite(
    net: Layer,
    loss: PerExample,
    augment: Augment | None,
    attack: Attack | None,
    dtype: Any,
    accumulate: int,
    state: TrainState,
    batch: Batch,
) -> str:
    """Return in words which array of the step from `state` on `batch` is the first with an infinite or NaN value.

    Args:
        net, loss, augment, attack, dtype, accumulate: of the step.
        state: before the step.
        batch: of the step.
    """
    net_key, augment_key = jax.random.split(jax.random.fold_in(state.key, state.step))
    batch = dict(batch, image=to_float(batch["image"], dtype))
    bad = _bad("the images", batch["image"])
    if augment is not None and not bad:
        batch = jax.jit(augment)(augment_key, batch)
        bad = _bad("the augmented images", batch["image"])
    bad = bad or _bad("the parameter", state.params)
    under_attack = jax.jit(functools.partial(attacked, net, attack))
    leaves = leaf_paths(net)
    names = [*(f"the activations of {path!r}" for path in leaves), "the loss", "the statistics of", "the gradient of"]

    @jax.jit
    def arrays(params: Any, model_state: Any, batch: Batch, key: jax.Array) -> tuple[list[Any], Any]:
        _, inner = activations(net, params, model_state, batch["image"], leaves, train=True, key=key)

        def objective(params: Any) -> tuple[jax.Array, Any]:
            outputs, after = net.apply(params, model_state, batch["image"], train=True, key=key)
            values = loss(outputs, batch)
            return jnp.mean(values), (values, after)

        gradient, (values, after) = jax.grad(objective, has_aux=True)(params)
        return [*inner.values(), values, after, gradient], after

    model_state = state.model_state
    for number in range(accumulate):  # the parts of the step
        if bad:
            return bad
        key = net_key if accumulate == 1 else jax.random.fold_in(net_key, number)
        part = {name: rows[number::accumulate] for name, rows in batch.items()}
        part, key = under_attack(state.params, model_state, part, key)
        if bad := _bad("the attacked images", part["image"]):
            return bad
        found, model_state = arrays(state.params, model_state, part, key)
        bad = next(filter(None, map(_bad, names, found)), "")
    return bad or "what the optimizer makes of them"


def _bad(name: str, tree: Any) -> str:
    """Return the name of the first array of the tree that is not finite, or nothing."""
    for path, leaf in named_leaves(tree).items():
        if jnp.issubdtype(leaf.dtype, jnp.inexact) and not bool(jnp.all(jnp.isfinite(leaf))):
            return f"{name} {path}".strip()
    return ""
