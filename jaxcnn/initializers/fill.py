"""Initial values that are not drawn."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

__all__ = ["Constant", "ones", "zeros"]


def zeros(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    """Return zeros; the key is not used."""
    return jnp.zeros(shape, dtype)


def ones(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    """Return ones; the key is not used."""
    return jnp.ones(shape, dtype)


@dataclass(frozen=True)
class Constant:
    """Every entry equal to `value`."""

    value: float

    def __post_init__(self) -> None:
        """Make the number a float."""
        object.__setattr__(self, "value", float(self.value))

    def __call__(self, key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
        """Return the constant array; the key is not used."""
        return jnp.full(shape, self.value, dtype)
