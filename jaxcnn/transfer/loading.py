"""Trained arrays in the place of new ones, by name and shape."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn.checking import expect, shown
from jaxcnn.layers.layer import expect_arrays, leaf_name, named_leaves

__all__ = ["Loaded", "load", "names_of", "replaced"]


@dataclass(frozen=True)
class Loaded:
    """What was taken over: the names of arrays that `matched`, and of those that did not.

    Of a pair of params and state the names begin with "params/" and "state/".
    `missing` ones were not there, `unexpected` ones not here, and those of `another_shape` in both. `layers` are the
    paths of those that `load_backbone` found.
    """

    matched: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    another_shape: tuple[str, ...]
    layers: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Return what `str` does: the names of all that matched would fill the screen."""
        return f"Loaded({self})"

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
        into: params as nested dicts of arrays, or `(params, state)`, of a new net.
        given: likewise, of a trained net.

    Returns:
        The same structure as `into`, in its dtypes, and what was taken over.

    Raises:
        TypeError: trees that are not made of arrays, a pair and none.
        ValueError: nothing matches.
    """
    pairs = [isinstance(tree, tuple) for tree in (into, given)]
    ok = pairs[0] == pairs[1] and all(len(tree) == 2 for tree in (into, given) if pairs[0])
    fix = "Pass both in one way; jaxcnn.load reads a file."
    what, got = "into and given as params, or as (params, state)", f"{shown(into)} and {shown(given)}"
    expect(ok, "load", what, got, fix, TypeError)
    for name, tree in (("into", into), ("given", given)):
        for part in tree if pairs[0] else (tree,):
            expect_arrays("load", name, part)
    own, other = names_of(into), names_of(given)
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


def names_of(tree: Any) -> dict[str, Any]:
    """Return the arrays of params, or of (params, state), by name."""
    return named_leaves(_by_part(tree))


def replaced(tree: Any, leaves: Mapping[str, Any]) -> Any:
    """Return params, or (params, state), with other arrays under some of their names, in their dtypes."""

    def chosen(path: Any, leaf: Any) -> Any:
        name = leaf_name(path)
        return jnp.asarray(leaves[name], leaf.dtype) if name in leaves else leaf

    found = jax.tree_util.tree_map_with_path(chosen, _by_part(tree))
    return tuple(found.values()) if isinstance(tree, tuple) else found


def _by_part(tree: Any) -> Any:
    return dict(zip(("params", "state"), tree, strict=True)) if isinstance(tree, tuple) else tree
