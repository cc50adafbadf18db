"""Random numbers of 8 or 16 bits, several from each 32-bit word: drawing bits is what noise costs on a CPU."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

__all__ = ["random_bits", "random_halves"]


def random_bits(key: jax.Array, dtype: Any, shape: tuple[int, ...]) -> jax.Array:
    """Return an array of `shape` of random numbers of all the bits of `dtype`: `jnp.uint8` or `jnp.uint16`.

    `jax.random.bits` takes a word for each and throws the rest of it away.
    """
    words = jax.random.bits(key, (-(-math.prod(shape) * jnp.dtype(dtype).itemsize // 4),), jnp.uint32)
    return _unpacked(words, dtype, shape)


def random_halves(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Return random uint16 numbers, at half the price of `random_bits` where the key is a threefry one.

    A threefry block is two words, of which `jax.random.bits` keeps one and a split both.
    """
    threefry = jax.eval_shape(jax.random.key_data, key).shape == (2,)
    if not threefry:
        return random_bits(key, jnp.uint16, shape)
    words = jax.random.key_data(jax.random.split(key, -(-math.prod(shape) // 4)))
    return _unpacked(words, jnp.uint16, shape)


def _unpacked(words: jax.Array, dtype: Any, shape: tuple[int, ...]) -> jax.Array:
    return lax.bitcast_convert_type(words, dtype).reshape(-1)[: math.prod(shape)].reshape(shape)
