"""All that changes while a net is trained, as one value."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct

from jaxcnn.checking import expect, expect_key
from jaxcnn.layers.layer import Layer, Spec, expect_net, named_leaves
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
    def create(
        cls,
        net: Layer,
        optimizer: optax.GradientTransformation,
        key: jax.Array,
        spec: Spec,
        *,
        start: tuple[Any, Any] | None = None,
    ) -> "TrainState":
        """Return the state before the first step.

        Args:
            net: the net; optimizer: an optax transformation.
            key: a PRNG key, consumed: one part initialises, the other is kept for the steps.
            spec: shape (batch axis included) and dtype of the images as the net sees them.
            start: parameters and running statistics to begin with, in the place of new ones.

        Raises:
            TypeError: no net, optimizer, key or spec.
            ValueError: a start of another net.
        """
        where = "TrainState.create"
        expect_net(where, net)
        expect_optimizer(where, optimizer)
        expect_key(where, key)
        init_key, step_key = jax.random.split(key)
        params, model_state = net.init(init_key, spec)
        if start is not None:
            params, model_state = _like(where, (params, model_state), start)
        return cls(jnp.zeros((), jnp.int32), params, model_state, optimizer.init(params), step_key)


def _like(where: str, own: Any, start: Any) -> Any:
    """Return `start`, having checked that it has the structure, the shapes and the dtypes of `own`."""
    described = [
        {
            f"{part}/{name}": (jnp.shape(leaf), jnp.result_type(leaf))
            for part, tree in zip(("params", "state"), pair, strict=True)
            for name, leaf in named_leaves(tree).items()
        }
        for pair in (own, start)
    ]
    differ = sorted({name for name, _ in described[0].items() ^ described[1].items()})
    fix = "transfer.load takes over what matches."
    expect(not differ, where, "a start (params, state) of this net", f"other arrays at {differ[:6]}", fix)
    return jax.tree.map(lambda leaf, given: jnp.asarray(given), own, start)
