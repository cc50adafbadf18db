"""A hash of the contents of a pytree: equal if and only if names, shapes, dtypes and every bit are equal."""

import hashlib
from typing import Any

import jax
import numpy as np

__all__ = ["fingerprint"]


def fingerprint(tree: Any) -> str:
    """Return the SHA-256, in hex, of a pytree of arrays: of the paths, dtypes, shapes and bytes of its leaves.

    Args:
        tree: a pytree of JAX or NumPy arrays; PRNG keys count by their data.
    """
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        if isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        array = np.asarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)}:{array.dtype}:{array.shape};".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
