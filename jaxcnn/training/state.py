"""All that changes while a net is trained, as one value."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct

from jaxcnn.checking import expect_key
from jaxcnn.layers.layer import Layer, Spec, expect_net
from jaxcnn.training.optimizer import expect_optimizer

__all__ = ["RunKeys", "TrainState", "run_keys"]


class RunKeys(NamedTuple):
    """What the key of a run is split into: for the state, for the part that is held out, for the order."""

    init: jax.Array
    split: jax.Array
    order: jax.Array


def run_keys(key: jax.Array) -> RunKeys:
    """Return the keys that a run draws from."""
    return RunKeys(*jax.random.split(key, 3))


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
        where = "TrainState.create"
        expect_net(where, net)
        expect_optimizer(where, optimizer)
        expect_key(where, key)
        init_key, step_key = jax.random.split(key)
        params, model_state = net.init(init_key, spec)
        return cls(jnp.zeros((), jnp.int32), params, model_state, optimizer.init(params), step_key)
