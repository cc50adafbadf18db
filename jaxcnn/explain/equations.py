"""A function evaluated equation by equation, each by a rule: other derivatives, or what depends on what.

What JAX traces of a function is the same whoever wrote it and however it is wrapped: a rectifier is an equation `max`
with a zero in it, in a layer, in a user's own function, in a rematerialised block or in a net of another library.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
from jax.extend.core import Literal, jaxprs_in_params

from jaxcnn.checking import expect, is_number

__all__ = ["CALLS", "ELEMENTWISE", "LINEAR", "MAXIMA", "WEIGHTS", "Rule", "bound", "evaluated", "followed", "leaves"]

Rule = Callable[[Any, list[Any], list[float | None]], Sequence[Any] | None]
"""(equation, its inputs, those of them that are known numbers, as floats) -> its outputs.

None stands for the equations inside of a call; of all else it says that there is no rule. Inputs and outputs are
arrays, or what the rule itself made of such.
"""

CALLS = {"jit", "pjit", "call", "closed_call", "core_call", "checkpoint", "remat", "remat2", "custom_jvp_call"}
CALLS |= {"custom_vjp_call", "custom_vjp_call_jaxpr", "custom_lin"}

WEIGHTS = {"dot_general", "conv_general_dilated", "convolve", "convolve_input_gradient", "convolve_kernel_gradient"}
"""Linear in each of two."""

LINEAR = {"reshape", "squeeze", "expand_dims", "broadcast_in_dim", "transpose", "rev", "slice", "dynamic_slice"}
LINEAR |= {"gather", "concatenate", "pad", "split", "copy", "copy_p", "convert_element_type", "reduce_precision"}
LINEAR |= {"name", "optimization_barrier", "sharding_constraint", "pvary", "pcast", "tile", "stack", "unstack"}
LINEAR |= {"neg", "add", "add_any", "sub", "reduce_sum", "reduce_window_sum", "cumsum", "psum", "select_n"}
LINEAR |= {"dynamic_update_slice", "scatter-add", "scatter_add", "real", "device_put", "reshard"}
"""Linear in all that is no constant or index."""

MAXIMA = {"max", "min", "reduce_max", "reduce_min", "reduce_window_max", "reduce_window_min", "cummax", "cummin"}
"""One of the inputs wins."""

ELEMENTWISE = {"exp", "exp2", "expm1", "log", "log1p", "tanh", "logistic", "erf", "erfc", "erf_inv", "lgamma"}
ELEMENTWISE |= {"sqrt", "rsqrt", "cbrt", "square", "integer_pow", "pow", "abs", "sign", "clamp", "max", "min", "div"}
ELEMENTWISE |= {"sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh"}
ELEMENTWISE |= {"floor", "ceil", "round", "rem", "digamma"}
"""A number for each number, whatever the others are, if one input alone is no constant."""

# What hands on a known number.
_ALIKE = {"broadcast_in_dim", "convert_element_type", "reshape", "copy", "squeeze"}


def evaluated(where: str, fn: Callable[..., Any], rule: Rule, specs: Sequence[Any], inputs: Sequence[Any]) -> Any:
    """Return what fn gives, every equation of it evaluated by the rule.

    Args:
        where: the function that was called.
        fn: a function of arrays -> a tree of arrays.
        rule: see `Rule`.
        specs: arrays like those that fn takes.
        inputs: what takes their place.

    Raises:
        ValueError: an equation for which there is no rule; the message says in which layer.
    """
    traced, shapes = jax.make_jaxpr(fn, return_shape=True)(*specs)
    return jax.tree.unflatten(jax.tree.structure(shapes), followed(where, traced, rule, inputs))


def followed(where: str, traced: Any, rule: Rule, inputs: Sequence[Any]) -> list[Any]:
    """Return the outputs of what `jax.make_jaxpr` returned, or of a branch inside of it; see `evaluated`."""
    return _run(where, traced, inputs, [None] * len(inputs), rule, "")


def bound(eqn: Any, inputs: Sequence[Any]) -> list[Any]:
    """Return the outputs of one equation as it is."""
    outputs = eqn.primitive.bind(*inputs, **eqn.primitive.get_bind_params(eqn.params))
    return list(outputs) if eqn.primitive.multiple_results else [outputs]


def leaves(eqn: Any) -> Iterator[Any]:
    """Yield the equation, or those inside of it at any depth."""
    inner = list(jaxprs_in_params(eqn.params))
    if not inner:
        yield eqn
    for jaxpr in inner:
        for each in jaxpr.eqns:
            yield from leaves(each)


def _run(
    where: str, traced: Any, inputs: Sequence[Any], known: Sequence[float | None], rule: Rule, layer: str
) -> list[Any]:
    """Return the outputs of a traced program, closed over its constants or not, which is in a layer."""
    jaxpr, constants = getattr(traced, "jaxpr", traced), getattr(traced, "consts", ())
    values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*constants, *inputs], strict=True))
    numbers = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*map(_number, constants), *known], strict=True))
    for eqn in jaxpr.eqns:
        given = [v.val if isinstance(v, Literal) else values[v] for v in eqn.invars]
        facts = [_number(v.val) if isinstance(v, Literal) else numbers.get(v) for v in eqn.invars]
        outputs = rule(eqn, given, facts)
        if outputs is None:
            # Of equations inside of a call JAX knows the layers inside of the call alone.
            path = "/".join(filter(None, (layer, str(eqn.source_info.name_stack))))
            fix = "Choose another explanation, such as integrated_gradients."
            what = "a net of which every equation has a rule"
            expect(eqn.primitive.name in CALLS, where, what, f"{eqn.primitive.name!r} in {path!r}", fix)
            outputs = _run(where, _body(eqn), given, facts, rule, path)
        values.update(zip(eqn.outvars, outputs, strict=True))
        if eqn.primitive.name in _ALIKE:
            numbers[eqn.outvars[0]] = facts[0]
    return [v.val if isinstance(v, Literal) else values[v] for v in jaxpr.outvars]


def _body(eqn: Any) -> Any:
    """Return the program that a call calls."""
    return next(inner for inner in eqn.params.values() if hasattr(inner, "eqns"))


def _number(value: Any) -> float | None:
    return float(value) if is_number(value) else None
