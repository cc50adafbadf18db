"""A trained net with layers drawn anew: step by step from the output down, or one at a time."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax

from jaxcnn.checking import expect, expect_key, floating
from jaxcnn.layers.layer import Layer, Params, State, expect_net
from jaxcnn.surgery import paths
from jaxcnn.surgery.tree import children_of, paths_in

__all__ = ["Weights", "cascading_randomization", "independent_randomization", "initial"]

Weights = tuple[Params, State]


def cascading_randomization(
    key: jax.Array, net: Layer, params: Params, state: State, x: jax.Array, *, at: Sequence[str] | None = None
) -> dict[str, Weights]:
    """Return the weights of the net with ever more layers drawn anew, from the output down.

    Args:
        key: a PRNG key: of the new weights, which are those that `net.init` gives.
        net, params, state: the trained net.
        x: images (..., H, W, C), or one; their shape counts alone.
        at: the paths of the layers, at any depth, in the order in which they lose what they learned; the net's own
            parts that have weights unless given, the last first.

    Returns:
        {path: (params, state)}: after the layer at this path, and those before it, were drawn anew. Batch norm's
        running statistics are what they were before training, too.

    Raises:
        ValueError: an unknown path.

    Source: Adebayo et al. 2018, section 4.1.
    """
    fresh = _fresh("cascading_randomization", key, net, x)
    steps, weights = {}, (params, state)
    for path in _chosen("cascading_randomization", net, params, state, at):
        weights = _with(weights, path, fresh)
        steps[path] = weights
    return steps


def independent_randomization(
    key: jax.Array, net: Layer, params: Params, state: State, x: jax.Array, *, at: Sequence[str] | None = None
) -> dict[str, Weights]:
    """Return the weights of the net with one layer drawn anew, all others as they were trained.

    Args:
        key, net, params, state, x, at: as for `cascading_randomization`.

    Returns:
        {path: (params, state)}.

    Raises:
        ValueError: an unknown path.

    Source: Adebayo et al. 2018, section 4.2.
    """
    fresh = _fresh("independent_randomization", key, net, x)
    chosen = _chosen("independent_randomization", net, params, state, at)
    return {path: _with((params, state), path, fresh) for path in chosen}


def _fresh(where: str, key: jax.Array, net: Layer, x: Any) -> Weights:
    expect_net(where, net)
    expect_key(where, key)
    x = floating(where, "x", x)
    return initial(net, key, x.shape[-3:], x.dtype)


@partial(jax.jit, static_argnames=("net", "shape", "dtype"))
def initial(net: Layer, key: jax.Array, shape: tuple[int, ...], dtype: Any) -> Weights:
    """Return what `net.init` does for images of a shape; compiled, as nets are drawn many times."""
    return net.init(key, jax.ShapeDtypeStruct((1, *shape), dtype))


def _chosen(where: str, net: Layer, params: Params, state: State, at: Sequence[str] | None) -> list[str]:
    if at is None:
        owned = {name for tree in (params, state) for name, part in tree.items() if jax.tree.leaves(part)}
        return [name for name in reversed(list(children_of(net))) if name in owned]
    known, at = paths(net), paths_in(where, at)
    for path in at:
        expect(path in known, where, f"paths of {known[:12]} ...", repr(path), "See jaxcnn.surgery.paths(net).")
    return at


def _with(weights: Weights, path: str, fresh: Weights) -> Weights:
    """Return the weights with those of the layer at a path the fresh ones."""
    params, state = (_put(mine, path.split("/"), new) for mine, new in zip(weights, fresh, strict=True))
    return params, state


def _put(mine: Any, names: Sequence[str], new: Any) -> Any:
    if not names:
        return new
    if not (isinstance(new, Mapping) and names[0] in new):
        return mine  # the layer has nothing of this kind
    return {**mine, names[0]: _put(mine[names[0]], names[1:], new[names[0]])}
