"""Layer-wise relevance propagation: the score handed back from layer to layer, to what made it."""

import contextlib
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient

from jaxcnn.checking import expect, expect_choice, scalar
from jaxcnn.classifier import LogitsFn
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
from jaxcnn.explain.inner import at_layer, net_prepared
from jaxcnn.explain.score import Target, class_scores
from jaxcnn.explain.values import expect_finite, expect_pixels
from jaxcnn.layers.gate import Gate
from jaxcnn.layers.layer import Layer, Module, Params, State
from jaxcnn.surgery import edit, fold_batch_norm
from jaxcnn.surgery.tree import Around, children_of, unwrapped, wrap_at
from jaxcnn.training.evaluation import predictor

__all__ = ["lrp"]

RULES = ("epsilon", "z_plus", "composite")
FIRST = ("alike", "flat", "box")


def lrp(
    net: Layer,
    params: Params,
    state: State,
    x: jax.Array,
    target: Target,
    *,
    rule: str = "epsilon",
    epsilon: float = 1e-6,
    first: str = "alike",
    at: str | None = None,
) -> jax.Array:
    """Return the relevance of each number of x for the score, layer after layer shared out among what made a sum.

    R[i] = sum_j R[j] z[i, j] / sum_i z[i, j], from the score on. Where weights make sums, z is said by the rule:

    - "epsilon": z[i, j] = a[i] w[i, j], with epsilon, of the sign of the sum, added to it;
    - "z_plus": the positive ones of these alone;
    - "composite": "z_plus" for convolutions, "epsilon" for dense layers.

    Biases have their share, which is lost (with "z_plus" the positive ones). Everywhere else: sums of branches and
    means share out by contribution; activations hand on what they get; of a maximum the winner takes all; batch norm is
    folded into the convolution before it and is an affine layer elsewhere; gates and the deviations that norms divide
    by are taken as constants; a product of two others halves what it gets; what is affine before the first weights,
    such as `Normalize`, hands on what it gets.

    Args:
        net, params, state: the trained net.
        x: images (..., H, W, C), floating.
        target: whose score: a class for all images, one for each, or a function of the outputs -> scores (...).
        rule: see above.
        epsilon: > 0, of the unit of the sums; a large one leaves weak relevance out.
        first: how the first layer with weights shares out: "alike" all others; "flat", the same to each pixel of a
            window, black ones too; "box", by a w - l max(w, 0) - h min(w, 0), with l and h what 0 and 1 would be there.
            These two are for nets with nothing but what is affine, such as `Normalize`, before that layer.
        at: the path of an inner layer, for the relevance of what it gives (not with "box"). What leads around it has
            none.

    Returns:
        A map of x's shape and dtype, or of the inner layer's. The sum is the score less the shares of biases.

    Raises:
        ValueError: a target out of range, an unknown option, a path that is none, images out of [0, 1] for "box", a map
            that is not finite, a net that computes something for which there is no rule (the message says what and
            where).
        TypeError: x is not floating.

    Source: Bach et al. 2015, equations 56 and 58; Montavon et al. 2017 ("z_plus", "box") and 2019 (composites); Arras
    et al. 2019 (products); Ali et al. 2022 (norms). Agrees with `zennit.composites.EpsilonPlus` and `EpsilonPlusFlat`
    on merged batch norms, and with `captum.attr.LRP`.
    """
    x, target = net_prepared("lrp", net, params, state, x, target)
    expect_choice("lrp", f"rule as one of {RULES}", rule, RULES)
    expect_choice("lrp", f"first as one of {FIRST}", first, FIRST)
    epsilon = scalar("lrp", "epsilon > 0", epsilon, lambda e: e > 0, "It keeps sums from zero: 1e-6 is usual.")
    if first == "box":
        expect(at is None, "lrp", 'no inner layer with first="box", for pixels alone', repr(at), "Leave one out.")
        expect_pixels("lrp", "x", x)
    if at is not None:
        wrap_at("lrp", net, {at: Around})  # says which paths are unknown
    return expect_finite("lrp", "the map", _run(net, params, state, x, target, epsilon, rule, first, at))


@functools.partial(jax.jit, static_argnames=("net", "rule", "first", "at"))
def _run(net: Layer, params, state, x: jax.Array, target: Any, epsilon: Any, rule: str, first: str, at: str | None):
    if at is not None:
        net = edit(net, {at: _as_it_is})  # what has something around is not folded
    with contextlib.suppress(ValueError):  # nothing to fold
        net, params, state = fold_batch_norm(net, params, state)
    net = edit(net, {f"{path}/branch": stop_gradient for path in _gates(net, "")})
    logits_fn: LogitsFn = predictor(net, params, state)
    if at is not None:
        x, logits_fn = at_layer(net, params, state, x, at)
    return _relevance(logits_fn, x, target, _Options(rule, first, epsilon))


def _as_it_is(y: jax.Array) -> jax.Array:
    return y


def _gates(module: Module, prefix: str) -> Iterator[str]:
    """Yield the paths of the gates in a net."""
    if isinstance(unwrapped(module), Gate):
        yield prefix[:-1]
    for name, child in children_of(module).items():
        yield from _gates(child, f"{prefix}{name}/")


@dataclass(frozen=True)
class _Options:
    rule: str
    first: str
    epsilon: Any


def _relevance(logits_fn: LogitsFn, x: jax.Array, target: Any, options: _Options) -> jax.Array:
    """Return the relevance by a gradient: that of the score in ones by which x is multiplied.

    Relevance divided by activation goes backwards like a gradient: through linear equations as it is, and through the
    others by a derivative that makes R[i] = a[i] dscore/da[i] what the rule says.
    """
    bounds = (jnp.zeros_like(x), jnp.ones_like(x)) if options.first == "box" else ()

    def total(ones: jax.Array) -> jax.Array:
        def scores(x: jax.Array) -> jax.Array:
            return class_scores(logits_fn(x), target)

        faced = []  # equations of weights that see the image

        def rule(eqn: Any, inputs: list[Any], known: list[float | None]) -> Sequence[Any] | None:
            faced.extend(v for v in inputs if isinstance(v, _Image) and eqn.primitive.name in WEIGHTS)
            return _rule(options, eqn, inputs, known)

        found = evaluated("lrp", scores, rule, [x], [_Image((x, *bounds), ones)])
        ok, fix = options.first == "alike" or bool(faced), "What comes before the first weights has to be affine."
        expect(ok, "lrp", 'first="alike" for a net whose weights do not see the image', repr(options.first), fix)
        return jnp.sum(_value(found))

    return jax.grad(total)(jnp.ones_like(x))


# What stands in the place of the arrays that depend on x


@dataclass(frozen=True, eq=False)
class _Signal:
    value: jax.Array
    parents: tuple[Any, ...] = ()  # of which it is a function number by number, the nearest first
    weighs: bool = False  # whether it is made to weigh another: a gate, the deviation of a norm, attention


@dataclass(frozen=True, eq=False)
class _Image:
    """The images, or an affine function of them; with the bounds of the pixels, if they are needed."""

    faces: tuple[jax.Array, ...]
    ones: jax.Array
    parents: tuple[Any, ...] = ()
    weighs: bool = False

    @property
    def value(self) -> jax.Array:
        return self.faces[0] * self.ones


@dataclass(frozen=True, eq=False)
class _Sum:
    """What weights made, whose relevance is shared out like `part`; biases may come yet."""

    z: jax.Array
    part: jax.Array
    bias: str
    epsilon: Any
    parents: tuple[Any, ...] = ()
    weighs: bool = False

    @property
    def value(self) -> jax.Array:
        safe = self.part + jnp.where(self.part >= 0, self.epsilon, -self.epsilon).astype(self.part.dtype)
        return _as_if(self.z, self.part, self.z / safe)

    def plus(self, bias: jax.Array) -> "_Sum":
        share = {"all": bias, "positive": jnp.maximum(bias, 0), "none": jnp.zeros_like(bias)}[self.bias]
        return _Sum(self.z + bias, self.part + share, self.bias, self.epsilon, (self, *self.parents))


_Node = _Signal | _Image | _Sum
_ARRANGING = LINEAR - {"add", "add_any", "sub", "neg", "concatenate", "select_n", "dynamic_update_slice"}
_ARRANGING -= {"reduce_sum", "reduce_window_sum", "cumsum", "psum", "scatter-add", "scatter_add"}
_AFFINE = {"add", "add_any", "sub", "mul", "div", "neg"}
_ALIKE = _AFFINE | {"convert_element_type", "copy", "select_n"}  # a number for each number
_WEIGHING = {"rsqrt", "logistic", "exp", "pow"}


def _rule(options: _Options, eqn: Any, inputs: list[Any], known: list[float | None]) -> Sequence[Any] | None:
    name = eqn.primitive.name
    active = [i for i, v in enumerate(inputs) if isinstance(v, _Node)]
    if name in CALLS and active:
        return None
    if not active or name == "stop_gradient" or not _floating(eqn):
        return bound(eqn, [stop_gradient(v.value) if isinstance(v, _Node) else v for v in inputs])
    if len(active) == 1:
        kept = _kept(eqn, inputs, active[0])
        if kept is not None:
            return [kept]
        if name in WEIGHTS:
            return [_weighted(options, eqn, inputs, active[0])]
    if name in WEIGHTS or (name == "mul" and len(active) == 2):
        return [_product(eqn, *inputs)]
    if name == "div" and active[0] == 0:
        inputs = [inputs[0], stop_gradient(_value(inputs[1]))]
        active = [0]
    if name in LINEAR or name == "mul" or (name == "div" and active == [0]):
        return _natural(eqn, inputs, active)
    if len(active) == 1 and name in ELEMENTWISE:
        source, z = inputs[active[0]], bound(eqn, [stop_gradient(_value(v)) for v in inputs])[0]
        return [_through(source, z, source.weighs or name in _WEIGHING)]
    if {each.primitive.name for each in leaves(eqn)} <= LINEAR | MAXIMA:
        return _natural(eqn, inputs, active)
    return None


def _kept(eqn: Any, inputs: list[Any], at: int) -> _Node | None:
    """Return what stays an image, or a sum to which biases may come yet; None of all else."""
    name, node = eqn.primitive.name, inputs[at]

    def mapped(array: jax.Array) -> jax.Array:
        return bound(eqn, [*inputs[:at], array, *inputs[at + 1 :]])[0]

    if isinstance(node, _Image) and name in _ARRANGING:
        return _Image(tuple(map(mapped, node.faces)), mapped(node.ones))
    if isinstance(node, _Image) and name in _AFFINE and not (name == "div" and at == 1):
        z, *bounds = map(mapped, node.faces)
        ends = [jnp.minimum(*bounds), jnp.maximum(*bounds)] if bounds else []
        return _Image((z, *ends), node.ones)
    if isinstance(node, _Sum) and name in _ARRANGING:
        return _Sum(mapped(node.z), mapped(node.part), node.bias, node.epsilon)
    if isinstance(node, _Sum) and name == "add":
        return node.plus(inputs[1 - at])
    if isinstance(node, _Sum) and name == "sub" and at == 0:
        return node.plus(-inputs[1])
    return None


def _weighted(options: _Options, eqn: Any, inputs: list[Any], at: int) -> _Sum:
    node, weights = inputs[at], inputs[1 - at]
    a = node.value

    def summed(a: jax.Array, weights: jax.Array) -> jax.Array:
        return bound(eqn, [a, weights] if at == 0 else [weights, a])[0]

    z, more, less = summed(a, weights), jnp.maximum(weights, 0), jnp.minimum(weights, 0)
    if isinstance(node, _Image) and options.first == "flat":
        return _Sum(z, summed(node.ones, jnp.ones_like(weights)), "none", options.epsilon)
    if isinstance(node, _Image) and options.first == "box":
        low, high = (face * node.ones for face in node.faces[1:])
        return _Sum(z, z - summed(low, more) - summed(high, less), "none", options.epsilon)
    if options.rule == "epsilon" or (options.rule == "composite" and eqn.primitive.name == "dot_general"):
        return _Sum(z, z, "all", options.epsilon)
    part = summed(jnp.where(a > 0, a, 0), more) + summed(jnp.where(a < 0, a, 0), less)
    return _Sum(z, part, "positive", options.epsilon)


def _product(eqn: Any, a: _Node, b: _Node) -> _Signal:
    values = [a.value, b.value]
    constants = [stop_gradient(v) for v in values]
    z, common = bound(eqn, constants)[0], _common([a, b])
    if common and eqn.primitive.name == "mul":  # x sigmoid(x), say
        return _through(common[0], z, a.weighs and b.weighs)
    sides = [bound(eqn, [values[0], constants[1]])[0], bound(eqn, [constants[0], values[1]])[0]]
    if a.weighs != b.weighs:
        return _Signal(sides[a.weighs])
    return _Signal(_as_if(z, sides[0] + sides[1], jnp.asarray(0.5, z.dtype)))


def _natural(eqn: Any, inputs: list[Any], active: list[int]) -> list[Any]:
    """Return the outputs with the derivatives that they have."""
    sources = [inputs[i] for i in active]
    outputs = bound(eqn, [_value(v) for v in inputs])
    parents = _common(sources) if eqn.primitive.name in _ALIKE else ()
    grown = eqn.primitive.name == "broadcast_in_dim" and outputs[0].size > sources[0].value.size
    weighs = grown or (eqn.primitive.name in _ALIKE | _ARRANGING and all(node.weighs for node in sources))
    return [_Signal(y, parents, weighs) for y in outputs]


def _common(nodes: list[_Node]) -> tuple[_Node, ...]:
    """Return that of which all nodes are functions number by number, the nearest first."""
    first, *rest = ((node, *node.parents) for node in nodes)
    return tuple(node for node in first if all(any(node is other for other in line) for line in rest))


def _through(source: _Node, z: jax.Array, weighs: bool) -> _Signal:
    """Return an activation z, a function of the source number by number, which hands on what it gets."""
    a = source.value
    whole = jnp.abs(a) > 1e-30
    ratio = jnp.where(whole, z / jnp.where(whole, a, 1), 0)
    return _Signal(_as_if(z, a, ratio), (source, *source.parents), weighs)


def _as_if(z: jax.Array, part: jax.Array, ratio: jax.Array) -> jax.Array:
    """Return z, with the derivative of part times a ratio."""
    return stop_gradient(z) + (part - stop_gradient(part)) * stop_gradient(ratio)


def _value(thing: Any) -> Any:
    return thing.value if isinstance(thing, _Node) else thing


def _floating(eqn: Any) -> bool:
    return any(jnp.issubdtype(v.aval.dtype, jnp.floating) for v in eqn.outvars)
