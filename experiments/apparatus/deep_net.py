"""A deep net of equal layers as one scan, and the variance of signal and gradient in each of its layers.

Its maps wrap around, so that no edge drains the signal.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxcnn import functional as F
from jaxcnn import initialization, initializers, surgery
from jaxcnn.layers import BatchNorm, Conv, Sequential

PLAIN = ("he_normal", "glorot_normal", "lecun_normal", "orthogonal", "delta_orthogonal")
SMALL = 0.01  # standard deviation of a signal for which tanh is nearly linear


def linear(x: jax.Array) -> jax.Array:
    return x


ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {"relu": F.relu, "tanh": F.tanh, "linear": linear}


@dataclass(frozen=True)
class Variances:
    """Of what enters each nonlinearity, and of the gradient of each layer's output: (seeds, depth) each."""

    forward: np.ndarray
    backward: np.ndarray

    def kept(self) -> tuple[np.ndarray, np.ndarray]:
        """Return log10 of what is left: forward last layer / first, back first layer / last; one a seed."""
        forward, backward = np.log10(self.forward), np.log10(self.backward)
        return forward[:, -1] - forward[:, 0], backward[:, 0] - backward[:, -1]

    def factors(self) -> tuple[float, float]:
        """Return what one layer multiplies the variance by, forward and back: the geometric mean."""
        steps = self.forward.shape[1] - 1
        forward, backward = self.kept()
        return float(10 ** (forward.mean() / steps)), float(10 ** (backward.mean() / steps))


def measured(
    key: jax.Array, shape: tuple[int, int, int, int], depth: int, seeds: int, names: Sequence[str]
) -> Iterator[tuple[str, str, Variances]]:
    """Yield activation, way to draw the weights, and variances, one after another as they are measured.

    Args:
        key: of the images, the last layer's gradient, and all weights.
        shape: of the images and of every map, (N, H, W, C).
        depth: layers.
        seeds: draws of all weights.
        names: of ACTIVATIONS.
    """
    image_key, gradient_key, weight_key = jax.random.split(key, 3)
    x, cotangent = jax.random.normal(image_key, shape), jax.random.normal(gradient_key, shape)
    keys = jax.random.split(weight_key, (seeds, depth))

    @functools.cache
    def drawn(scheme: str, norm: bool = False) -> Any:
        net = block(shape[-1], linear, norm=norm, kernel_init=getattr(initializers, scheme))
        spec = jax.ShapeDtypeStruct(shape, jnp.float32)
        return jax.jit(jax.vmap(jax.vmap(lambda key: net.init(key, spec)[0])))(keys)

    for name in names:
        act = ACTIVATIONS[name]
        net, gain = block(shape[-1], act), initializers.gain(act)
        run, run_normed = program(net, cotangent), program(block(shape[-1], act, norm=True), cotangent)
        for scheme in PLAIN:
            yield name, scheme, run(drawn(scheme), x)
        # What Scaled(orthogonal, gain(act)) draws.
        gained = jax.tree.map(functools.partial(jnp.multiply, gain), drawn("orthogonal"))
        yield name, "orthogonal, gain", run(gained, x)
        scaled = jax.jit(jax.vmap(unit_variance(net), in_axes=(0, None)))(drawn("orthogonal"), x)
        yield name, "LSUV", run(scaled, x)
        yield name, "he_normal, batch norm", run_normed(drawn("he_normal", norm=True), x)
        if name == "tanh":
            yield "tanh, small signal", "delta_orthogonal", run(drawn("delta_orthogonal"), SMALL * x)


def wrap(x: jax.Array) -> jax.Array:
    """Return the maps with a pixel more on each side, from the other side."""
    return jnp.pad(x, [(0, 0)] * (x.ndim - 3) + [(1, 1), (1, 1), (0, 0)], mode="wrap")


def block(width: int, act: Callable, *, norm: bool = False, **options: Any) -> Sequential:
    """Return one layer of the deep net."""
    conv = Conv(width, padding="VALID", use_bias=False, **options)
    return Sequential(wrap=wrap, sum=Sequential(conv=conv, **({"norm": BatchNorm()} if norm else {})), act=act)


def program(net: Sequential, cotangent: jax.Array) -> Callable[[Any, jax.Array], Variances]:
    """Return a function of the weights of all layers, for every seed, and of the images: all variances.

    The deep net is a scan over its layers. To each output something is added that is zero: the gradient for it is the
    gradient of that output.
    """

    @jax.jit
    def run(params: Any, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        state = net.init(jax.random.key(0), x)[1]

        def layer(x: jax.Array, inputs: tuple[Any, jax.Array]) -> tuple[jax.Array, jax.Array]:
            weights, nothing = inputs
            y, seen = surgery.activations(net, weights, state, x, ["sum"], train=True)
            return y + nothing, jnp.var(seen["sum"])

        def seed(params: Any) -> tuple[jax.Array, jax.Array]:
            depth = jax.tree.leaves(params)[0].shape[0]
            nothing = jnp.zeros((depth, *x.shape), x.dtype)
            _, back, forward = jax.vjp(lambda nothing: lax.scan(layer, x, (params, nothing)), nothing, has_aux=True)
            return forward, jnp.var(back(cotangent)[0], axis=(1, 2, 3, 4))

        return jax.vmap(seed)(params)

    def variances(params: Any, x: jax.Array) -> Variances:
        forward, backward = run(params, x)
        return Variances(np.asarray(forward, np.float64), np.asarray(backward, np.float64))

    return variances


def unit_variance(net: Sequential) -> Callable[[Any, jax.Array], Any]:
    """Return a function of all layers' weights and the images: the weights after LSUV."""

    def layer(x: jax.Array, weights: Any) -> tuple[jax.Array, Any]:
        weights = initialization.lsuv(net, weights, {}, x)
        return net.apply(weights, {}, x, train=True)[0], weights

    return lambda params, x: lax.scan(layer, x, params)[1]
