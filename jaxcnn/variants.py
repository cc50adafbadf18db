"""Many variants of the same images, some of them at once, so that memory stays bounded."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn.checking import expect_count

__all__ = ["chunk_of", "over_variants", "total_over_variants"]

PIXELS = 2**15  # of images at once on a CPU: what lies between two layers is to stay in its caches
MANY_PIXELS = 2**22  # on what is faster, the more it has to do


def chunk_of(where: str, chunk: int | None, x: jax.Array) -> int:
    """Return how many variants of x are computed at once: what was asked for, or as many as have so many pixels."""
    if chunk is not None:
        return expect_count(where, "chunk", chunk)
    most = PIXELS if jax.default_backend() == "cpu" else MANY_PIXELS
    return max(1, most // max(1, math.prod(x.shape[:-1])))


def over_variants(fn: Callable[[Any], Any], variants: Any, chunk: int) -> Any:
    """Return fn of each variant, stacked along a new leading axis; at most `chunk` are in memory at a time.

    Args:
        fn: one variant -> a tree of arrays.
        variants: a tree of arrays whose leading axes count the variants.
        chunk: how many are `vmap`ped; the chunks, all of one size, follow each other in a loop that is compiled once.
    """
    count, index = _chunks(variants, chunk)
    found = jax.lax.map(lambda at: _some(fn, variants, at, count), index)
    return jax.tree.map(lambda y: y.reshape(y.shape[0] * y.shape[1], *y.shape[2:])[:count], found)


def total_over_variants(fn: Callable[[Any], Any], variants: Any, chunk: int) -> Any:
    """Return the sum of fn of each variant, added up in float32 or wider.

    Args:
        fn, variants, chunk: as for `over_variants`.
    """
    count, index = _chunks(variants, chunk)

    def add(total: Any, at: jax.Array) -> tuple[Any, None]:
        real = lambda y: (at < count).reshape(-1, *(1,) * (y.ndim - 1))  # noqa: E731
        part = jax.tree.map(lambda y: jnp.where(real(y), _wide(y), 0).sum(0), _some(fn, variants, at, count))
        return jax.tree.map(jnp.add, total, part), None

    one = jax.eval_shape(lambda variants: fn(jax.tree.map(lambda leaf: leaf[0], variants)), variants)
    return jax.lax.scan(add, jax.tree.map(lambda y: _wide(jnp.zeros(y.shape, y.dtype)), one), index)[0]


def _chunks(variants: Any, chunk: int) -> tuple[int, jax.Array]:
    """Return how many variants there are, and the numbers of those of each chunk; beyond the last they go on."""
    count = len(jax.tree.leaves(variants)[0])
    rounds = -(-count // chunk)
    return count, jnp.arange(rounds * -(-count // rounds)).reshape(rounds, -1)


def _some(fn: Callable[[Any], Any], variants: Any, at: jax.Array, count: int) -> Any:
    some = jax.tree.map(lambda leaf: leaf[jnp.minimum(at, count - 1)], variants)
    if len(at) > 1:
        return jax.vmap(fn)(some)
    # Under `vmap` a loop that ends by itself copies its state, to keep what has ended beside what goes on.
    return jax.tree.map(lambda y: jnp.expand_dims(y, 0), fn(jax.tree.map(lambda leaf: leaf[0], some)))


def _wide(y: jax.Array) -> jax.Array:
    return y.astype(jnp.promote_types(y.dtype, jnp.float32))
