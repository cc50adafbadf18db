"""Nonlinearities, each one elementwise: any shape in, the same shape and dtype out."""

import math

import jax
import jax.numpy as jnp

from jaxcnn.checking import expect_flag, floating, scalar

__all__ = ["elu", "gelu", "hard_sigmoid", "hard_silu", "hard_tanh", "selu", "sigmoid", "silu", "softplus", "tanh"]


def sigmoid(x: jax.Array) -> jax.Array:
    """Return 1 / (1 + exp(-x)), the logistic function, in (0, 1).

    Args:
        x: any shape, floating.

    Returns:
        The shape and dtype of x.

    Raises:
        TypeError: x is not floating.

    Source: agrees with `jax.nn.sigmoid`.
    """
    return jax.nn.sigmoid(floating("sigmoid", "x", x))


def hard_sigmoid(x: jax.Array) -> jax.Array:
    """Return min(max(x + 3, 0), 6) / 6, the sigmoid in three straight pieces, in [0, 1].

    Args:
        x: any shape, floating.

    Returns:
        The shape and dtype of x.

    Raises:
        TypeError: x is not floating.

    Source: Howard et al. 2019 (MobileNetV3), section 5.2; agrees with `jax.nn.hard_sigmoid` and PyTorch.
    """
    return jax.nn.hard_sigmoid(floating("hard_sigmoid", "x", x))


def tanh(x: jax.Array) -> jax.Array:
    """Return tanh(x), in (-1, 1).

    Args:
        x: any shape, floating.

    Returns:
        The shape and dtype of x.

    Raises:
        TypeError: x is not floating.

    Source: agrees with `jax.numpy.tanh`.
    """
    return jnp.tanh(floating("tanh", "x", x))


def hard_tanh(x: jax.Array) -> jax.Array:
    """Return min(max(x, -1), 1), the tanh in three straight pieces, with derivative 1 at -1 and at 1.

    Args:
        x: any shape, floating.

    Returns:
        The shape and dtype of x.

    Raises:
        TypeError: x is not floating.

    Source: Collobert 2004; agrees with `jax.nn.hard_tanh`. PyTorch's derivative is 0 at both corners.
    """
    return jax.nn.hard_tanh(floating("hard_tanh", "x", x))


def softplus(x: jax.Array) -> jax.Array:
    """Return log(1 + exp(x)), a smooth relu, positive.

    Args:
        x: any shape, floating.

    Returns:
        The shape and dtype of x.

    Raises:
        TypeError: x is not floating.

    Source: Dugas et al. 2001; agrees with `jax.nn.softplus` and PyTorch.
    """
    return jax.nn.softplus(floating("softplus", "x", x))


def elu(x: jax.Array, alpha: float = 1.0) -> jax.Array:
    """Return x where x > 0 and alpha * (exp(x) - 1) elsewhere.

    Args:
        x: any shape, floating.
        alpha: minus the limit at minus infinity.

    Returns:
        The shape and dtype of x.

    Raises:
        ValueError: alpha that is no finite number.
        TypeError: x is not floating.

    Source: Clevert et al. 2016; agrees with `jax.nn.elu`.
    """
    x = floating("elu", "x", x)
    fix = "1.0 makes the derivative continuous."
    alpha = scalar("elu", "a finite alpha", alpha, math.isfinite, fix)
    return jax.nn.elu(x, jnp.asarray(alpha, x.dtype))


def selu(x: jax.Array) -> jax.Array:
    """Return 1.0507 * elu(x, 1.6733): mean 0 and variance 1 are its fixed point.

    Args:
        x: any shape, floating.

    Returns:
        The shape and dtype of x.

    Raises:
        TypeError: x is not floating.

    Source: Klambauer et al. 2017, equation 2; agrees with `jax.nn.selu` and PyTorch.
    """
    return jax.nn.selu(floating("selu", "x", x))


def gelu(x: jax.Array, *, approximate: bool = True) -> jax.Array:
    """Return x * Phi(x), Phi the distribution function of the standard normal.

    Args:
        x: any shape, floating.
        approximate: use the tanh formula (Flax's default); PyTorch's default is the exact one.

    Returns:
        The shape and dtype of x.

    Raises:
        TypeError: x is not floating.

    Source: Hendrycks and Gimpel 2016; agrees with `jax.nn.gelu`.
    """
    x, approximate = floating("gelu", "x", x), expect_flag("gelu", "approximate", approximate)
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))  # float16 overflows in x**3
    return jax.nn.gelu(wide, approximate=approximate).astype(x.dtype)


def silu(x: jax.Array) -> jax.Array:
    """Return x * sigmoid(x), also called swish.

    Args:
        x: any shape, floating.

    Returns:
        The shape and dtype of x.

    Raises:
        TypeError: x is not floating.

    Source: Ramachandran et al. 2017; agrees with `jax.nn.silu`.
    """
    return jax.nn.silu(floating("silu", "x", x))


def hard_silu(x: jax.Array) -> jax.Array:
    """Return x * hard_sigmoid(x), also called hard swish.

    Args:
        x: any shape, floating.

    Returns:
        The shape and dtype of x.

    Raises:
        TypeError: x is not floating.

    Source: Howard et al. 2019 (MobileNetV3), section 5.2; agrees with `jax.nn.hard_silu` and PyTorch's hardswish.
    """
    return jax.nn.hard_silu(floating("hard_silu", "x", x))
