"""Trained arrays in the place of new ones, by name and shape."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn.checking import expect
from jaxcnn.layers.layer import expect_arrays, leaf_name, named_leaves

__all__ = ["Loaded", "load", "replaced"]


@dataclass(frozen=True)
class Loaded:
    """What was taken over: the names of arrays that `matched`, and of those that did not.

    `missing` ones were not there, `unexpected` ones not here, and those of `another_shape` in both. `layers` are the
    paths of those that `load_backbone` found.
    """

    matched: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    another_shape: tuple[str, ...]
    layers: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return the counts, the layers, and the names of what did not match."""
        parts = [f"{len(self.matched)} arrays matched" + (f" in {', '.join(self.layers)}" if self.layers else "")]
        for what in ("missing", "unexpected", "another_shape"):
            names = getattr(self, what)
            more = " ..." if len(names) > 6 else ""
            parts += [f"{len(names)} {what.replace('_', ' ')}: {', '.join(names[:6])}{more}"] if names else []
        return "; ".join(parts)


def load(into: Any, given: Any) -> tuple[Any, Loaded]:
    """Return `into` with the arrays of `given` that have the same name and shape in the place of its own.

    Args:
        into: nested dicts of arrays, or a tuple of such: `(params, state)` of a new net, say.
        given: others, of a trained net.

    Returns:
        The same structure as `into`, in its dtypes, and what was taken over.

    Raises:
        TypeError: trees that are not made of arrays.
        ValueError: nothing matches.
    """
    for name, tree in (("into", into), ("given", given)):
        for part in tree if isinstance(tree, tuple) else (tree,):
            expect_arrays("load", name, part)
    own, other = named_leaves(into), named_leaves(given)
    both = [name for name in own if name in other]
    matched = tuple(name for name in both if own[name].shape == other[name].shape)
    found = Loaded(
        matched,
        tuple(name for name in own if name not in other),
        tuple(name for name in other if name not in own),
        tuple(name for name in both if name not in matched),
    )
    expect(bool(matched), "load", "arrays of the same name and shape", str(found), "Look at the names of both.")
    return replaced(into, {name: other[name] for name in matched}), found


def replaced(tree: Any, leaves: Mapping[str, Any]) -> Any:
    """Return the tree with other arrays under some of its names, in its dtypes."""

    def chosen(path: Any, leaf: Any) -> Any:
        name = leaf_name(path)
        return jnp.asarray(leaves[name], leaf.dtype) if name in leaves else leaf

    return jax.tree_util.tree_map_with_path(chosen, tree)
