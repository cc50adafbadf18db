"""A new last layer for a trained net."""

from typing import Any

import jax

from jaxcnn.checking import expect, expect_key, shown
from jaxcnn.layers.composition import Sequential
from jaxcnn.layers.layer import Module, Spec, expect_arrays, is_module, named_leaves

__all__ = ["swap_head"]


def swap_head(
    net: Sequential, params: Any, state: Any, head: Module, *, at: str | None = None, key: jax.Array, spec: Spec
) -> tuple[Sequential, Any, Any]:
    """Return the net with another layer in the place of one, and its weights: new ones there, the others as they were.

    Args:
        net: a Sequential.
        params, state: its trained weights; they are not changed.
        head: the layer that comes in, such as `Dense(classes)`.
        at: the name of the layer that goes; the last one unless given.
        key: of the new weights.
        spec: of the images, the batch axis included.

    Returns:
        net, params, state.

    Raises:
        ValueError: no such layer (the message lists the names); the weights of the others do not fit any more.
        TypeError: net is no Sequential, or head no layer.
    """
    where = "swap_head"
    expect(isinstance(net, Sequential), where, "a Sequential", shown(net), "Wrap it in one.", TypeError)
    expect(is_module(head), where, "a layer as head", shown(head), "Pass layers.Dense(10), say.", TypeError)
    expect_arrays(where, "params", params)
    expect_arrays(where, "state", state)
    expect_key(where, key)
    names = list(net.layers)
    at = names[-1] if at is None else at
    known = isinstance(at, str) and at in names
    expect(known, where, f"the name of one of the net's own layers, {names}", shown(at), "Choose one of them.")
    new = Sequential(**{name: head if name == at else layer for name, layer in net.layers.items()})
    fresh = new.init(key, spec)
    kept = [{name: value for name, value in tree.items() if name != at} for tree in (params, state)]
    wanted = [named_leaves({name: value for name, value in tree.items() if name != at}) for tree in fresh]
    fits = lambda held, asked: held.keys() == asked.keys() and all(held[n].shape == asked[n].shape for n in held)  # noqa: E731
    ok = all(fits(named_leaves(held), asked) for held, asked in zip(kept, wanted, strict=True))
    fix = "Let it give what the layers after it take, and pass the params and the state of this net."
    expect(ok, where, f"a layer as {at!r} after which the weights of the others fit", shown(head), fix)
    params, state = (old | {n: own[n] for n in (at,) if n in own} for old, own in zip(kept, fresh, strict=True))
    return new, params, state
