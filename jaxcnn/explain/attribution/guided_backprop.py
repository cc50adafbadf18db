"""Backpropagation that lets through only what speaks for an output: guided, and by a deconvolutional net."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Literal, jaxpr_as_fun, jaxprs_in_params

from jaxcnn import functional as F
from jaxcnn.checking import expect, shown
from jaxcnn.classifier import LogitsFn, as_tree
from jaxcnn.explain.equations import CALLS, bound, followed, leaves
from jaxcnn.explain.score import Target, prepared, score_gradient
from jaxcnn.explain.values import expect_finite
from jaxcnn.layers.layer import Layer, Params, State
from jaxcnn.training.evaluation import predictor

__all__ = ["deconvnet", "guided_backprop", "with_rectifier"]

Rectifier = Callable[[jax.Array], jax.Array]


def guided_backprop(net: Layer, params: Params, state: State, x: jax.Array, target: Target) -> jax.Array:
    """Return the score's gradient, every rectifier letting through the positive part of it where it was active alone.

    Backwards through each max(z, 0): dz = dy where z > 0 and dy > 0, else 0.

    Args:
        net, params, state: the trained net. Every rectifier of it counts, whoever computes it: see `with_rectifier`.
        x: images (..., H, W, C), floating.
        target: whose score: a class for all images, one for each, or a function of the outputs -> scores (...).

    Returns:
        A map of x's shape and dtype. Sharp pictures, which depend little on the target and on the upper layers: Adebayo
        et al. 2018 (Sanity checks for saliency maps).

    Raises:
        ValueError: a target out of range, a map that is not finite.
        TypeError: x is not floating.

    Source: Springenberg et al. 2015, section 3.4; agrees with `captum.attr.GuidedBackprop`.
    """
    return _gradient("guided_backprop", F.guided_relu, net, params, state, x, target)


def deconvnet(net: Layer, params: Params, state: State, x: jax.Array, target: Target) -> jax.Array:
    """Return what a deconvolutional net makes of the score: its gradient, rectified in the place of every rectifier.

    Backwards through each max(z, 0): dz = max(dy, 0), whatever z; through max-pooling: to where the maximum was.

    Args:
        net, params, state, x, target: as for `guided_backprop`.

    Returns:
        A map of x's shape and dtype.

    Raises:
        ValueError: a target out of range, a map that is not finite.
        TypeError: x is not floating.

    Source: Zeiler and Fergus 2014, section 2.1, the switches being the gradient of max-pooling; agrees with
    `captum.attr.Deconvolution`.
    """
    return _gradient("deconvnet", F.deconv_relu, net, params, state, x, target)


def with_rectifier(logits_fn: LogitsFn, rectifier: Rectifier) -> LogitsFn:
    """Return the function with another rectifier in the place of each of its own, wherever they are computed.

        guided = explain.with_rectifier(logits_fn, functional.guided_relu)
        explain.smoothgrad(key, guided, x, target)     # guided backpropagation, smoothed

    A rectifier is max(z, 0), however it is written: `functional.relu`, `jax.nn.relu`, `jnp.maximum(z, 0)`,
    `jnp.clip(z, 0, 6)`, relu6; in layers, in functions of one's own, inside of `jit`, `jax.checkpoint`, `lax.scan` and
    `lax.cond`. Those that a function with a derivative of its own (`jax.custom_jvp`) needs on its way are left alone,
    unless it is nothing but a rectifier; so are those of hard sigmoids, which squash, and of norms, which keep a
    variance from falling below 0.

    Args:
        logits_fn: a function of an array, of any library that JAX traces.
        rectifier: max(z, 0), with a derivative of its own.

    Returns:
        A function with the values of logits_fn, which passes through `jit` as an argument.

    Raises:
        TypeError: arguments that are no functions.
    """
    for name, fn in (("logits_fn", logits_fn), ("rectifier", rectifier)):
        fix = "Pass functional.guided_relu as rectifier, say."
        expect(callable(fn), "with_rectifier", f"{name} as a function", shown(fn), fix, TypeError)
    return jax.tree_util.Partial(_Rectified(rectifier), as_tree(logits_fn))


@dataclass(frozen=True)
class _Rectified:
    rectifier: Rectifier

    def __call__(self, logits_fn: LogitsFn, x: jax.Array) -> Any:
        return _rectified(self.rectifier, logits_fn, [x], [x])


def _rectified(rectifier: Rectifier, fn: Callable[..., Any], specs: Sequence[Any], inputs: Sequence[Any]) -> Any:
    """Return what a function of arrays like `specs` gives for inputs, with another rectifier."""
    traced, shapes = jax.make_jaxpr(fn, return_shape=True)(*specs)
    rule = functools.partial(_rule, rectifier, _scales(traced.jaxpr))
    return jax.tree.unflatten(jax.tree.structure(shapes), followed("with_rectifier", traced, rule, inputs))


def _scales(jaxpr: Any) -> set[Any]:
    """Return what a program, or one inside of it, has as a variance: all that comes of it is 1 / sqrt(v + a number)."""
    roles: dict[Any, set[str]] = {}

    def used(v: Any, may_be: set[str]) -> None:
        if not isinstance(v, Literal):
            roles[v] = roles.get(v, _ROLES) & may_be

    def read(jaxpr: Any, outputs: Sequence[set[str]]) -> list[set[str]]:
        """Return what the inputs of a program may be, by what its outputs may be."""
        for v, may_be in zip(jaxpr.outvars, outputs, strict=True):
            used(v, may_be)
        for eqn in reversed(jaxpr.eqns):
            name, found = eqn.primitive.name, [roles.get(v, _ROLES) for v in eqn.outvars]
            inner = list(jaxprs_in_params(eqn.params))
            if name in CALLS and len(inner) == 1 and len(inner[0].invars) == len(eqn.invars):
                inputs = read(inner[0], found)
            else:
                for each in inner:
                    read(each, [set()] * len(each.outvars))
                inputs = [_may_be(name, at, found) for at in range(len(eqn.invars))]
            for v, may_be in zip(eqn.invars, inputs, strict=True):
                used(v, may_be)
        return [roles.get(v, _ROLES) for v in jaxpr.invars]

    read(jaxpr, [set()] * len(jaxpr.outvars))
    return {v for v, may_be in roles.items() if "variance" in may_be}


def _may_be(name: str, at: int, outputs: Sequence[set[str]]) -> set[str]:
    """Return what an input of an equation may be: a variance, a root that something is divided by."""
    if not outputs or name in _PASSING or name == "add":
        return outputs[0] if outputs else _ROLES  # what is printed is nothing else for it
    if name == "rsqrt" or (name == "sqrt" and "divisor" in outputs[0]):
        return {"variance"}
    return {"divisor"} if name == "div" and at == 1 else set()


def _gradient(
    where: str, rectifier: Rectifier, net: Layer, params: Params, state: State, x: Any, target: Any
) -> jax.Array:
    logits_fn, x, target = prepared(where, predictor(net, params, state), x, target)
    return expect_finite(where, "the map", _run(with_rectifier(logits_fn, rectifier), x, target))


@jax.jit
def _run(logits_fn: LogitsFn, x: jax.Array, target: Any) -> jax.Array:
    return score_gradient(logits_fn, x, target)[1]


_SQUASHING = {"hard_sigmoid", "hard_silu", "hard_swish"}
# What a function may consist of that is nothing but a rectifier, with or without an upper bound.
_RECTIFYING = {"max", "min", "convert_element_type", "broadcast_in_dim", "copy"}


_ROLES = {"variance", "divisor"}
_PASSING = {"broadcast_in_dim", "reshape", "squeeze", "expand_dims", "convert_element_type", "copy"}


def _rule(
    rectifier: Rectifier, scales: set[Any], eqn: Any, inputs: list[Any], known: list[float | None]
) -> Sequence[Any] | None:
    name = eqn.primitive.name
    if name in ("max", "clamp") and eqn.outvars[0] in scales:
        return bound(eqn, inputs)
    if name == "max" and 0.0 in known and jnp.issubdtype(eqn.outvars[0].aval.dtype, jnp.floating):
        return [rectifier(inputs[1 - known.index(0.0)])]
    if name == "clamp" and known[0] == 0.0:
        return [jnp.minimum(rectifier(inputs[1]), inputs[2])]
    inside = {each.primitive.name for each in leaves(eqn)}
    if not inside & {"max", "clamp"} or eqn.params.get("name") in _SQUASHING:
        return bound(eqn, inputs)
    if name in ("custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr") and not inside <= _RECTIFYING:
        return bound(eqn, inputs)
    if name == "cond":
        return jax.lax.switch(inputs[0], [_called(rectifier, b) for b in eqn.params["branches"]], *inputs[1:])
    if name == "scan":
        return _scanned(rectifier, eqn, inputs)
    return None if name in CALLS else bound(eqn, inputs)


def _called(rectifier: Rectifier, traced: Any) -> Callable[..., Any]:
    """Return a traced program as a function with another rectifier."""
    plain = jaxpr_as_fun(traced)
    return lambda *inputs: _rectified(rectifier, plain, inputs, inputs)


def _scanned(rectifier: Rectifier, eqn: Any, inputs: list[Any]) -> Sequence[Any]:
    """Return the outputs of a loop with another body of the same inputs and outputs."""
    avals = [v.aval for v in eqn.params["jaxpr"].jaxpr.invars]
    specs = [jax.ShapeDtypeStruct(aval.shape, aval.dtype, weak_type=aval.weak_type) for aval in avals]
    body = jax.make_jaxpr(_called(rectifier, eqn.params["jaxpr"]))(*specs)
    return eqn.primitive.bind(*inputs, **{**eqn.params, "jaxpr": body})
