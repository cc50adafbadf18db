"""DeepLIFT: what the difference of each pixel from a baseline does to the difference of the score."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient

from jaxcnn.classifier import LogitsFn
from jaxcnn.explain.baseline import baseline_of
from jaxcnn.explain.equations import (
    CALLS,
    ELEMENTWISE,
    LINEAR,
    MAXIMA,
    WEIGHTS,
    bound,
    evaluated,
    leaves,
)
from jaxcnn.explain.inner import net_prepared
from jaxcnn.explain.score import Target, class_scores
from jaxcnn.explain.values import expect_finite
from jaxcnn.layers.layer import Layer, Params, State
from jaxcnn.training.evaluation import predictor

__all__ = ["deeplift"]


def deeplift(
    net: Layer,
    params: Params,
    state: State,
    x: jax.Array,
    target: Target,
    *,
    baseline: float | jax.Array | str = 0.0,
) -> jax.Array:
    """Return each number's share of the difference between the scores of x and of a baseline, by the rescale rule.

    A[i] = (x[i] - b[i]) m[i], m the score's gradient with every derivative of a nonlinear f in the place of
    (f(z) - f(z')) / (z - z'), z of x and z' of b. So sum_i A[i] = score(x) - score(b), to rounding: that is large where
    a norm is given nothing by the baseline, such as black by a net without biases, and divides by the root of its eps.

    A product changes by the change of each factor times the mean of the other; a maximum by what the winner of x, or
    that of b, changes.

    Args:
        net, params, state: the trained net.
        x: images (..., H, W, C), floating.
        target: whose score: a class for all images, one for each, or a function of the outputs -> scores (...).
        baseline: what stands for the absence of everything: a number, an array that broadcasts to x, or "blur".

    Returns:
        A map of x's shape and dtype.

    Raises:
        ValueError: a target out of range, a baseline of another shape, a map that is not finite, a net that computes
            something for which there is no rule (the message says what and where).
        TypeError: x is not floating.

    Source: Shrikumar et al. 2017, section 3.5.1; agrees with `captum.attr.DeepLift`.
    """
    x, target = net_prepared("deeplift", net, params, state, x, target)
    baseline = baseline_of("deeplift", baseline, x)
    return expect_finite("deeplift", "the map", _run(predictor(net, params, state), x, target, baseline))


@jax.jit
def _run(logits_fn: LogitsFn, x: jax.Array, target: Any, baseline: jax.Array) -> jax.Array:
    def total(x: jax.Array) -> jax.Array:
        def scores(x: jax.Array) -> jax.Array:
            return class_scores(logits_fn(x), target)

        found = evaluated("deeplift", scores, _rule, [x], [_Both(x, baseline)])
        return jnp.sum(found.x if isinstance(found, _Both) else found)

    return jax.grad(total)(x) * (x - baseline)


@dataclass(frozen=True, eq=False)
class _Both:
    """What the net computes of x, with the multipliers as derivatives, and of the baseline."""

    x: Any
    base: Any

    @property
    def delta(self) -> jax.Array:
        return stop_gradient(self.x) - self.base

    @property
    def mean(self) -> jax.Array:
        return (stop_gradient(self.x) + self.base) / 2

    @property
    def move(self) -> jax.Array:
        """Zero, with the multipliers as derivatives."""
        return self.x - stop_gradient(self.x)


def _rule(eqn: Any, inputs: list[Any], known: list[float | None]) -> Sequence[Any] | None:
    name = eqn.primitive.name
    active = [i for i, v in enumerate(inputs) if isinstance(v, _Both)]
    if name in CALLS and active:
        return None
    if not active:
        return bound(eqn, inputs)
    if name == "stop_gradient":
        return inputs
    if name == "select_n" and 0 in active and len(inputs) == 3:
        return [_selected(*inputs)]
    if name == "div" and 1 in active:
        inverse = _rescaled(lambda v: 1 / v, inputs[1])
        return [_product(jnp.multiply, inputs[0], inverse)]
    if name in WEIGHTS | {"mul"} and len(active) == 2:
        return [_product(lambda a, b: bound(eqn, [a, b])[0], *inputs)]
    inside = {each.primitive.name for each in leaves(eqn)}
    numbers = any(jnp.issubdtype(v.aval.dtype, jnp.floating) for v in eqn.outvars)
    if not numbers or inside <= LINEAR or name in WEIGHTS | {"mul", "div"}:
        of_x = bound(eqn, [v.x if isinstance(v, _Both) else v for v in inputs])
        of_base = bound(eqn, [v.base if isinstance(v, _Both) else v for v in inputs])
        return [_Both(*both) for both in zip(of_x, of_base, strict=True)]
    if len(active) == 1 and name in ELEMENTWISE:
        at = active[0]
        return [_rescaled(lambda v: bound(eqn, [*inputs[:at], v, *inputs[at + 1 :]])[0], inputs[at])]
    if inside <= MAXIMA | LINEAR and len(eqn.outvars) == 1:
        return [_won(eqn, inputs, active, jnp.minimum if any("min" in each for each in inside) else jnp.maximum)]
    return None


def _rescaled(f: Callable[[jax.Array], jax.Array], z: _Both) -> _Both:
    """Return f of each number: the multiplier is the slope between the two, or f's derivative where they meet."""
    y, base = f(z.x), f(z.base)
    meet = jnp.abs(z.delta) <= 1e-6 * (jnp.abs(stop_gradient(z.x)) + jnp.abs(z.base))
    slope = (stop_gradient(y) - base) / jnp.where(meet, 1, z.delta)
    return _Both(jnp.where(meet, y, stop_gradient(y) + z.move * slope), base)


def _product(f: Callable[[Any, Any], jax.Array], a: Any, b: Any) -> _Both:
    """Return a product, of any kind: f(a, b) - f(a', b') = f(a - a', (b + b') / 2) + f((a + a') / 2, b - b')."""
    a, b = (v if isinstance(v, _Both) else _Both(v, v) for v in (a, b))
    y = stop_gradient(f(a.x, b.x))
    return _Both(y + f(a.move, b.mean) + f(a.mean, b.move), f(a.base, b.base))


def _selected(which: _Both, no: Any, yes: Any) -> _Both:
    """Return one or the other; where x and the baseline choose differently, both have a part in the difference."""
    no, yes = (v if isinstance(v, _Both) else _Both(v, v) for v in (no, yes))
    y, base = jnp.where(which.x, yes.x, no.x), jnp.where(which.base, yes.base, no.base)
    apart = yes.delta - no.delta
    part = _ratio(stop_gradient(y) - base - no.delta, apart)
    part = jnp.where((which.x == which.base) | (apart == 0), which.x, part)
    return _Both(stop_gradient(y) + part * yes.move + (1 - part) * no.move, base)


def _won(eqn: Any, inputs: list[Any], active: list[int], best: Callable[[Any, Any], jax.Array]) -> _Both:
    """Return maxima (or minima): from the baseline's to the better one by the winner of x, on by the baseline's."""
    signals = [inputs[i] for i in active]

    def f(*values: jax.Array) -> jax.Array:
        given = list(inputs)
        for i, value in zip(active, values, strict=True):
            given[i] = value
        return bound(eqn, given)[0]

    sides = [stop_gradient(v.x) for v in signals], [v.base for v in signals]
    (y, of_x), (base, of_base) = (jax.linearize(f, *side) for side in sides)
    deltas, moves = [v.delta for v in signals], [v.move for v in signals]
    middle = best(y, base)
    there, on = _ratio(middle - base, of_x(*deltas)), _ratio(y - middle, of_base(*deltas))
    return _Both(y + of_x(*moves) * there + of_base(*moves) * on, base)


def _ratio(above: jax.Array, below: jax.Array) -> jax.Array:
    return jnp.where(below == 0, 0, above / jnp.where(below == 0, 1, below))
