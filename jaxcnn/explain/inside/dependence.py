"""What each value of a traced program depends on: not numbers run through it but places.

A value's place is the least number among the pixels that it depends on: of a sum the lesser of the summands' places,
of a convolution's output the least under its window. With pixels that bear the number of their row, places are the
first rows that values see; with its negative, the last ones. Weights count as not 0, whatever they are; a constant 0
in a matrix product (beyond the borders of an uneven pooling) cuts off. An operation that is not known here is taken to
mix all that it is given.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn.explain.equations import CALLS, bound, followed
from jaxcnn.explain.inside.operations import ELEMENTWISE, NOWHERE, RULES, Value, filled, least, lesser

__all__ = ["places"]


def places(program: Any, given: Sequence[jax.Array | None]) -> list[jax.Array]:
    """Return the places of a program's outputs, int32 of their shapes.

    Args:
        program: what `jax.make_jaxpr` returns.
        given: of each input the numbers of its pixels, int32 of its shape, or None where it holds weights.
    """
    found = followed("receptive_fields", program, _rule, [Value(numbers) for numbers in given])
    return [filled(_value(each), out) for each, out in zip(found, program.jaxpr.outvars, strict=True)]


def _value(given: Any) -> Value:
    """Return constants of a program, which come as they are, as values too."""
    return given if isinstance(given, Value) else Value(None, given)


def _rule(eqn: Any, inputs: list[Any], _: Any) -> list[Value] | None:
    name, given = eqn.primitive.name, [_value(each) for each in inputs]
    if name in CALLS:
        return None
    if name == "cond":
        branches = [followed("receptive_fields", branch, _rule, given[1:]) for branch in eqn.params["branches"]]
        merged = zip(*branches, eqn.outvars, strict=True)
        return [least([given[0], *map(_value, values)], out) for *values, out in merged]
    if all(value.places is None for value in given):
        return _constants(eqn, [value.known for value in given])
    if name in ELEMENTWISE:
        return [least(given, out) for out in eqn.outvars]
    found = RULES.get(name, lambda *_: None)(eqn, given)
    if found is None:
        everything = Value(lesser([jnp.min(v.places, initial=NOWHERE) for v in given if v.places is not None]))
        return [least([everything], out) for out in eqn.outvars]
    return [Value(each) for each in (found if isinstance(found, list | tuple) else [found])]


def _constants(eqn: Any, known: list[Any]) -> list[Value]:
    """Return constants of constants; of weights nothing is known."""
    if any(value is None for value in known):
        return [Value()] * len(eqn.outvars)
    return [Value(None, each) for each in bound(eqn, known)]
