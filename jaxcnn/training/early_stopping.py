"""When to stop: patience with the error on held-out examples, as pure functions."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxcnn.checking import expect, is_int, number, shaped, shown

__all__ = ["EarlyStopping", "Patience", "early_stopping"]


class Patience(NamedTuple):
    """State: the best value, how many values ago it was, and what the last one said."""

    best: jax.Array
    since: jax.Array
    improved: jax.Array
    stop: jax.Array


class EarlyStopping(NamedTuple):
    """`init() -> Patience` and `update(state, value) -> Patience`, both pure, for `jit`, `vmap` and `scan`."""

    init: Callable[[], Patience]
    update: Callable[[Patience, jax.Array | float], Patience]


def early_stopping(patience: int | None, *, min_delta: float = 0.0) -> EarlyStopping:
    """Return the two functions that watch a value which should fall, such as the validation loss.

    A value counts as an improvement when it is below best - min_delta; NaN never does. `stop` is True once
    `patience` values in a row were none.

    Args:
        patience: values without improvement that are borne, >= 1, or None to never stop.
        min_delta: the least improvement, >= 0, in units of the value.

    Raises:
        ValueError: a value out of range.

    Source: Prechelt 1998, criterion UP in its simplest form.
    """
    expect(
        patience is None or is_int(patience, 1, 2**31 - 1),
        "early_stopping",
        "patience >= 1 or None",
        shown(patience),
        "10 epochs, say.",
    )
    fix = "0.0 takes any improvement."
    min_delta = number("early_stopping", "min_delta >= 0", min_delta, lambda d: d >= 0, fix)

    def init() -> Patience:
        return Patience(jnp.float32(jnp.inf), jnp.int32(0), jnp.bool_(False), jnp.bool_(False))

    def update(state: Patience, value: jax.Array | float) -> Patience:
        value = shaped("early_stopping", "a value", value, ()).astype(jnp.float32)
        improved = value < state.best - min_delta
        since = jnp.where(improved, 0, state.since + 1)
        stop = jnp.bool_(False) if patience is None else since >= patience
        return Patience(jnp.where(improved, value, state.best), since, improved, stop)

    return EarlyStopping(init, update)
