"""Which images a layer takes to be most alike."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import expect, expect_count, floating

__all__ = ["Neighbours", "nearest"]

AT_ONCE = 2**24  # distances in memory


class Neighbours(NamedTuple):
    """`index` (..., count): rows of the features, the nearest first; `distance` (..., count): how far they are."""

    index: np.ndarray
    distance: np.ndarray


def nearest(features: Any, query: Any, count: int = 5) -> Neighbours:
    """Return the rows of `features` that are nearest to each query, by |q - f|.

    Args:
        features: (N, F), floating: `embedding` of the training images, say.
        query: (..., F): the same layer's features of other images. For the cosine divide all rows by their norm.
        count: neighbours of each, at most N.

    Returns:
        `Neighbours`; of equally near ones the first row comes first.

    Raises:
        ValueError: features of another rank, queries of another length, more neighbours than there are rows.
        TypeError: they are not floating.
    """
    where = "nearest"
    features, query = floating(where, "features", features), floating(where, "query", query)
    expect(features.ndim == 2 and len(features) > 0, where, "features (N, F)", features.shape, "Give each image a row.")
    width = features.shape[1]
    ok = query.ndim >= 1 and query.shape[-1] == width
    expect(ok, where, f"a query (..., {width})", query.shape, "Take the features of the same layer.")
    count = expect_count(where, "count", count, most=len(features))
    chunk = max(1, AT_ONCE // max(len(features), 1))
    index, distance = _nearest(features, query.reshape(-1, width), count=count, chunk=chunk)
    shape = (*query.shape[:-1], count)
    return Neighbours(np.asarray(index).reshape(shape), np.asarray(distance).reshape(shape))


@partial(jax.jit, static_argnames=("count", "chunk"))
def _nearest(features: jax.Array, query: jax.Array, *, count: int, chunk: int) -> tuple[jax.Array, jax.Array]:
    features, query = (rows.astype(jnp.float32) for rows in (features, query))
    middle = features.mean(axis=0)
    features, query = features - middle, query - middle  # smaller numbers: their squares cancel less
    norms = jnp.square(features).sum(axis=1)

    def of_one(row: jax.Array) -> tuple[jax.Array, jax.Array]:
        # |f|^2 - 2 q f finds a few more than asked for; the true distances put them in order.
        roughly = norms - 2 * jnp.matmul(features, row, precision="highest")
        _, index = jax.lax.top_k(-roughly, min(2 * count + 8, len(features)))
        index = jnp.sort(index)
        distance = jnp.sqrt(jnp.square(features[index] - row).sum(axis=1))
        order = jnp.argsort(distance, stable=True)[:count]
        return index[order], distance[order]

    return jax.lax.map(of_one, query, batch_size=chunk)
