"""All that changes while a net is trained, as one value."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from jaxcnn.checking import expect, expect_key, shown
from jaxcnn.layers.layer import Layer, Spec

__all__ = ["TrainState"]


@struct.dataclass
class TrainState:
    """Parameters, running statistics, optimizer state, the number of steps done, and the key of all randomness.

    The key never changes: step t uses `fold_in(key, t)`, so that randomness depends on (seed, t) alone and a resumed
    run replays exactly.
    """

    step: jax.Array
    params: Any
    model_state: Any
    opt_state: Any
    key: jax.Array

    @classmethod
    def create(cls, net: Layer, optimizer: optax.GradientTransformation, key: jax.Array, spec: Spec) -> "TrainState":
        """Return the state before the first step.

        Args:
            net: the net; optimizer: an optax transformation.
            key: a PRNG key, consumed: one part initialises, the other is kept for the steps.
            spec: shape (batch axis included) and dtype of the images as the net sees them.

        Raises:
            TypeError: no net, optimizer, key or spec.
        """
        where, fix = "TrainState.create", "Pass training.sgd(0.1) or optax.adam(1e-3), say."
        expect(isinstance(net, Layer), where, "a layer", shown(net), "Pass a net such as Sequential(...).", TypeError)
        transforms = hasattr(optimizer, "init") and hasattr(optimizer, "update")
        expect(transforms, where, "an optax transformation as optimizer", shown(optimizer), fix, TypeError)
        expect_key(where, key)
        init_key, step_key = jax.random.split(key)
        params, model_state = net.init(init_key, spec)
        return cls(jnp.zeros((), jnp.int32), params, model_state, optimizer.init(params), step_key)
