"""Nonlinearities, each one elementwise: any shape in, the same shape and dtype out."""

import jax
import jax.numpy as jnp

from jaxcnn.checking import floating

__all__ = ["elu", "gelu", "leaky_relu", "relu", "sigmoid", "silu", "tanh"]


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
    return jax.nn.relu(floating("relu", "x", x))


def leaky_relu(x: jax.Array, negative_slope: float = 0.1) -> jax.Array:
    """Return x where x >= 0 and negative_slope * x elsewhere.

    Args:
        x: any shape, floating.
        negative_slope: the slope left of zero; `jax.nn` and PyTorch default to 0.01.

    Returns:
        The shape and dtype of x.

    Raises:
        TypeError: x is not floating.

    Source: Maas et al. 2013; agrees with `jax.nn.leaky_relu`.
    """
    return jax.nn.leaky_relu(floating("leaky_relu", "x", x), negative_slope)


def elu(x: jax.Array, alpha: float = 1.0) -> jax.Array:
    """Return x where x > 0 and alpha * (exp(x) - 1) elsewhere.

    Args:
        x: any shape, floating.
        alpha: minus the limit at minus infinity.

    Returns:
        The shape and dtype of x.

    Raises:
        TypeError: x is not floating.

    Source: Clevert et al. 2016; agrees with `jax.nn.elu`.
    """
    return jax.nn.elu(floating("elu", "x", x), alpha)


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
    return jax.nn.gelu(floating("gelu", "x", x), approximate=approximate)


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
