"""The part of a function that is affine: what is done to an image before the first nonlinearity.

Where many gradients of one function are added up, it is enough to go back through that part once: its transpose takes
the sum of the gradients behind it. Between two images it is a straight line, of which the ends alone are computed.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxcnn.explain.equations import LINEAR, WEIGHTS, bound, followed

__all__ = ["Front", "front_of"]

LARGEST = 8  # times the image: with more between the parts it is faster to go through both each time

INDEXED = {"dynamic_slice", "gather", "dynamic_update_slice", "scatter-add", "scatter_add", "select_n"}
"""Linear in some of their inputs alone, and not in those that say which."""

INLINED = {"jit", "pjit", "call", "closed_call", "core_call", "checkpoint", "remat", "remat2"}
"""Calls whose equations stand for them; those with derivatives of their own do not."""

Inside = Mapping[str, jax.Array]
"""What there is between the two parts, by the number of what gave it."""


class Front(NamedTuple):
    """A function in two parts, fn(x) = rest(front(x)), of which the first is affine."""

    front: Callable[[jax.Array], Inside]
    rest: Callable[[Inside], Any]


class _Affine(NamedTuple):
    """What is affine in x; without a value where nobody needs it."""

    number: int
    value: Any


class _Other(NamedTuple):
    """What depends on x otherwise."""

    value: Any


def front_of(fn: Callable[[jax.Array], Any], x: jax.Array) -> Front:
    """Return the two parts of a function of images like x.

    The first goes up to the first equations that are not affine in x, on each way that leads to one; where there would
    be too much between the two it does nothing. For use under `jit`, where what a part does not need is not computed.
    """
    traced, shapes = jax.make_jaxpr(fn, return_shape=True)(x)

    def parted(x: Any, inside: Inside | None) -> tuple[Any, dict[str, jax.Array]]:
        count, met = iter(range(10**9)), {}

        def beyond(value: Any) -> Any:
            """Return an input of an equation that is not affine: with what is affine the rest begins."""
            if not isinstance(value, _Affine):
                return value.value if isinstance(value, _Other) else value
            name = str(value.number)
            met[name] = value.value
            return met[name] if inside is None else inside[name]

        def rule(eqn: Any, given: list[Any], facts: list[float | None]) -> list[Any] | None:
            if eqn.primitive.name in INLINED:
                return None
            if _affine(eqn, given):
                values = [value.value if isinstance(value, _Affine) else value for value in given]
                found = bound(eqn, values) if inside is None else [None] * len(eqn.outvars)
                return [_Affine(next(count), value) for value in found]
            found = bound(eqn, [beyond(value) for value in given])
            return [_Other(value) for value in found] if any(map(_depends, given)) else found

        outputs = followed("front_of", traced, rule, [_Affine(next(count), x)])
        return jax.tree.unflatten(jax.tree.structure(shapes), [beyond(value) for value in outputs]), met

    front = Front(lambda x: parted(x, None)[1], lambda inside: parted(None, inside)[0])
    between = sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(front.front, x)))
    return front if between <= LARGEST * x.size else Front(lambda x: {"0": x}, lambda inside: fn(inside["0"]))


def _affine(eqn: Any, given: list[Any]) -> bool:
    """Return whether the outputs are affine in x, and not all constant, where the inputs are constant or affine."""
    name, moved = eqn.primitive.name, [isinstance(value, _Affine) for value in given]
    if not any(moved) or any(isinstance(value, _Other) for value in given):
        return False
    if not all(jnp.issubdtype(v.aval.dtype, jnp.floating) for v in eqn.outvars):
        return False
    if name in INDEXED:
        return moved[0] and not any(moved[1:]) if name != "select_n" else not moved[0]
    return name in LINEAR or (name in WEIGHTS | {"mul"} and sum(moved) == 1) or (name == "div" and not moved[1])


def _depends(value: Any) -> bool:
    return isinstance(value, _Affine | _Other)
