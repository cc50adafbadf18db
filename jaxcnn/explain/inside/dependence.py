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
from jax.extend.core import Literal

from jaxcnn.explain.inside.operations import ELEMENTWISE, NOWHERE, RULES, Value, filled, least, lesser

__all__ = ["places"]

_CALLS = frozenset(
    ("jit", "pjit", "call", "core_call", "closed_call", "checkpoint", "remat", "remat2", "custom_jvp_call",
     "custom_vjp_call", "custom_vjp_call_jaxpr")
)  # fmt: skip


def places(program: Any, given: Sequence[jax.Array | None]) -> list[jax.Array]:
    """Return the places of a program's outputs, int32 of their shapes.

    Args:
        program: what `jax.make_jaxpr` returns.
        given: of each input the numbers of its pixels, int32 of its shape, or None where it holds weights.
    """
    found = _follow(program, [Value(numbers) for numbers in given])
    return [filled(value, out) for value, out in zip(found, program.jaxpr.outvars, strict=True)]


def _follow(program: Any, given: Sequence[Value]) -> list[Value]:
    body, constants = getattr(program, "jaxpr", program), getattr(program, "consts", ())
    values = dict(zip(body.constvars, (Value(None, constant) for constant in constants), strict=True))
    values |= dict(zip(body.invars, given, strict=True))

    def read(atom: Any) -> Value:
        return Value(None, atom.val) if isinstance(atom, Literal) else values[atom]

    for eqn in body.eqns:
        values |= dict(zip(eqn.outvars, _step(eqn, [read(atom) for atom in eqn.invars]), strict=True))
    return [read(atom) for atom in body.outvars]


def _step(eqn: Any, given: list[Value]) -> list[Value]:
    name = eqn.primitive.name
    if name in _CALLS:
        return _follow(eqn.params["jaxpr" if "jaxpr" in eqn.params else "call_jaxpr"], given)
    if name == "cond":
        branches = [_follow(branch, given[1:]) for branch in eqn.params["branches"]]
        return [least([given[0], *values], out) for *values, out in zip(*branches, eqn.outvars, strict=True)]
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
    found = eqn.primitive.bind(*known, **eqn.primitive.get_bind_params(eqn.params))
    return [Value(None, each) for each in (found if eqn.primitive.multiple_results else [found])]
