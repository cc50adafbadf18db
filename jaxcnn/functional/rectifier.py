"""Rectifiers: the identity right of zero. Elementwise: any shape in, the same shape and dtype out."""

import math

import jax
import jax.numpy as jnp

from jaxcnn.checking import expect, floating, scalar
from jaxcnn.functional.spread import spread

__all__ = ["deconv_relu", "guided_relu", "leaky_relu", "prelu", "relu", "relu6", "squared_relu"]


def relu(x: jax.Array) -> jax.Array:
    """Return max(x, 0), with derivative 0 at 0.

    Args:
        x: any shape, floating.

    Returns:
        The shape and dtype of x.

    Raises:
        TypeError: x is not floating.

    Source: Nair and Hinton 2010; agrees with `jax.nn.relu`.
    """
    return _relu(floating("relu", "x", x))


@jax.custom_jvp
def _relu(x: jax.Array) -> jax.Array:
    return jnp.maximum(x, 0)


@_relu.defjvp
def _relu_jvp(primals, tangents):
    # Of y and not of x, which need not be kept then: the next layer keeps y in any case.
    y = _relu(*primals)
    return y, jnp.where(y > 0, tangents[0], 0)


def leaky_relu(x: jax.Array, negative_slope: float = 0.1) -> jax.Array:
    """Return x where x >= 0 and negative_slope * x elsewhere.

    Args:
        x: any shape, floating.
        negative_slope: the slope left of zero; `jax.nn` and PyTorch default to 0.01.

    Returns:
        The shape and dtype of x.

    Raises:
        ValueError: negative_slope that is no finite number.
        TypeError: x is not floating.

    Source: Maas et al. 2013; agrees with `jax.nn.leaky_relu`.
    """
    x = floating("leaky_relu", "x", x)
    fix = "One slope for each channel is prelu's."
    negative_slope = scalar("leaky_relu", "a finite negative_slope", negative_slope, math.isfinite, fix)
    return jax.nn.leaky_relu(x, jnp.asarray(negative_slope, x.dtype))


def prelu(x: jax.Array, negative_slope: jax.Array) -> jax.Array:
    """Return x where x >= 0 and negative_slope * x elsewhere, the slope learned.

    Args:
        x: any shape, floating.
        negative_slope: (), or (C,) for one slope a channel; cast to the dtype of x.

    Returns:
        The shape and dtype of x.

    Raises:
        ValueError: slopes that do not match the last axis of x.
        TypeError: x or negative_slope is not floating.

    Source: He et al. 2015, equation 1; agrees with `flax.linen.PReLU`, and with PyTorch,
    whose derivative at 0 is the slope, not 1.
    """
    x, slope = floating("prelu", "x", x), floating("prelu", "negative_slope", negative_slope)
    expect(
        slope.shape in ((), x.shape[-1:]),
        "prelu",
        f"negative_slope of shape () or {x.shape[-1:]} for x of shape {x.shape}",
        slope.shape,
        "Give one slope for all, or one per channel.",
    )
    return jnp.where(x >= 0, x, spread(slope, x) * x)


def relu6(x: jax.Array) -> jax.Array:
    """Return min(max(x, 0), 6), with derivative 0 at 0 and at 6.

    Args:
        x: any shape, floating.

    Returns:
        The shape and dtype of x.

    Raises:
        TypeError: x is not floating.

    Source: Krizhevsky 2010; agrees with `jax.nn.relu6` and PyTorch.
    """
    return jax.nn.relu6(floating("relu6", "x", x))


def squared_relu(x: jax.Array) -> jax.Array:
    """Return max(x, 0)^2, whose derivative is continuous.

    Args:
        x: any shape, floating.

    Returns:
        The shape and dtype of x.

    Raises:
        TypeError: x is not floating.

    Source: So et al. 2021 (Primer), section 4.1.
    """
    return jnp.square(relu(floating("squared_relu", "x", x)))


def guided_relu(x: jax.Array) -> jax.Array:
    """Return max(x, 0), with a gradient that passes where x > 0 and the gradient itself is positive.

    Reverse mode: dx = dy where x > 0 and dy > 0, else 0. No derivative of anything: a rule that shows what speaks
    for an output. `surgery.replace(net, {F.relu: F.guided_relu})` puts it into a net.

    Args:
        x: any shape, floating.

    Returns:
        The shape and dtype of x.

    Raises:
        TypeError: x is not floating; under forward-mode differentiation, which has no such rule.

    Source: Springenberg et al. 2015, section 3.4 (guided backpropagation).
    """
    return _guided_relu(floating("guided_relu", "x", x))


def deconv_relu(x: jax.Array) -> jax.Array:
    """Return max(x, 0), with a gradient that passes where it is positive, whatever x.

    Reverse mode: dx = max(dy, 0). No derivative of anything: the rule of a deconvolutional net, which rectifies what
    it sends back. `surgery.replace(net, {F.relu: F.deconv_relu})` puts it into a net.

    Args:
        x: any shape, floating.

    Returns:
        The shape and dtype of x.

    Raises:
        TypeError: x is not floating; under forward-mode differentiation, which has no such rule.

    Source: Zeiler and Fergus 2014, section 2.1.
    """
    return _deconv_relu(floating("deconv_relu", "x", x))


@jax.custom_vjp
def _guided_relu(x: jax.Array) -> jax.Array:
    return relu(x)


_guided_relu.defvjp(lambda x: (relu(x), x > 0), lambda active, dy: (jnp.where(active, relu(dy), 0),))


@jax.custom_vjp
def _deconv_relu(x: jax.Array) -> jax.Array:
    return relu(x)


_deconv_relu.defvjp(lambda x: (relu(x), None), lambda _, dy: (relu(dy),))
