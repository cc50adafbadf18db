"""Initial values that are not drawn."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn.checking import expect_dtype, number, sizes

__all__ = ["Constant", "ones", "zeros"]


def zeros(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    """Return zeros; the key is not used."""
    return jnp.zeros(sizes("zeros", "shape", shape), expect_dtype("zeros", dtype, jnp.number))


def ones(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    """Return ones; the key is not used."""
    return jnp.ones(sizes("ones", "shape", shape), expect_dtype("ones", dtype, jnp.number))


@dataclass(frozen=True)
class Constant:
    """Every entry equal to `value`."""

    value: float

    def __post_init__(self) -> None:
        """Make the number a float."""
        value = number("Constant", "value as a number", self.value, lambda v: True, "Pass Constant(0.1), say.")
        object.__setattr__(self, "value", value)

    def __call__(self, key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
        """Return the constant array; the key is not used."""
        shape, dtype = sizes("Constant", "shape", shape), expect_dtype("Constant", dtype, jnp.number)
        return jnp.full(shape, self.value, dtype)
