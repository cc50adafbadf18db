"""Initial values of parameters: functions `(key, shape, dtype=float32) -> array`.

Kernels are (..., C_in, C_out). With fan_in = the inputs of one output (kh * kw * C_in for a convolution) and fan_out
likewise, an initializer of variance 1 / fan_in keeps the variance of activations through linear layers, 2 / fan_in
through layers followed by a ReLU.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxcnn.checking import expect

__all__ = [
    "Constant",
    "Normal",
    "VarianceScaling",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "lecun_uniform",
    "ones",
    "orthogonal",
    "zeros",
]

Initializer = Callable[..., jax.Array]
"""`(key, shape, dtype) -> array`."""


def zeros(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    """Return zeros; the key is not used."""
    return jnp.zeros(shape, dtype)


def ones(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    """Return ones; the key is not used."""
    return jnp.ones(shape, dtype)


def he_normal(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    """Return a truncated normal of variance 2 / fan_in: keeps variance through ReLU layers (He et al. 2015)."""
    return _scaled("he_normal", 2.0, "fan_in", "truncated_normal", key, shape, dtype)


def he_uniform(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    """Return a uniform of variance 2 / fan_in: keeps variance through ReLU layers (He et al. 2015)."""
    return _scaled("he_uniform", 2.0, "fan_in", "uniform", key, shape, dtype)


def glorot_normal(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    """Return a truncated normal of variance 2 / (fan_in + fan_out) (Glorot and Bengio 2010)."""
    return _scaled("glorot_normal", 1.0, "fan_avg", "truncated_normal", key, shape, dtype)


def glorot_uniform(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    """Return a uniform of variance 2 / (fan_in + fan_out) (Glorot and Bengio 2010)."""
    return _scaled("glorot_uniform", 1.0, "fan_avg", "uniform", key, shape, dtype)


def lecun_normal(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    """Return a truncated normal of variance 1 / fan_in: keeps variance through linear layers (LeCun et al. 1998)."""
    return _scaled("lecun_normal", 1.0, "fan_in", "truncated_normal", key, shape, dtype)


def lecun_uniform(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    """Return a uniform of variance 1 / fan_in: keeps variance through linear layers (LeCun et al. 1998)."""
    return _scaled("lecun_uniform", 1.0, "fan_in", "uniform", key, shape, dtype)


def orthogonal(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    """Return a random (semi-)orthogonal map from inputs to outputs, uniform over all such (Saxe et al. 2014)."""
    return jax.nn.initializers.orthogonal()(key, _kernel("orthogonal", shape), dtype)


@dataclass(frozen=True)
class Constant:
    """Every entry equal to `value`."""

    value: float

    def __call__(self, key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
        """Return the constant array; the key is not used."""
        return jnp.full(shape, self.value, dtype)


@dataclass(frozen=True)
class Normal:
    """A normal distribution of mean 0 and standard deviation `stddev`."""

    stddev: float = 0.01

    def __post_init__(self) -> None:
        """Check the range."""
        expect(self.stddev >= 0, "Normal", "stddev >= 0", self.stddev, "Pass a standard deviation.")

    def __call__(self, key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
        """Return a draw."""
        return self.stddev * jax.random.normal(key, shape, dtype)


@dataclass(frozen=True)
class VarianceScaling:
    """Variance scale / n, with n = fan_in, fan_out or their mean: the family of He, Glorot and LeCun.

    Args:
        scale: the numerator, > 0.
        mode: "fan_in", "fan_out" or "fan_avg".
        distribution: "truncated_normal", "normal" or "uniform".
    """

    scale: float = 1.0
    mode: Literal["fan_in", "fan_out", "fan_avg"] = "fan_in"
    distribution: Literal["truncated_normal", "normal", "uniform"] = "truncated_normal"

    def __post_init__(self) -> None:
        """Check the choices."""
        modes, laws = ("fan_in", "fan_out", "fan_avg"), ("truncated_normal", "normal", "uniform")
        expect(self.scale > 0, "VarianceScaling", "scale > 0", self.scale, "2.0 suits layers followed by a ReLU.")
        expect(self.mode in modes, "VarianceScaling", f"mode in {modes}", repr(self.mode), "Choose one of them.")
        expect(
            self.distribution in laws,
            "VarianceScaling",
            f"distribution in {laws}",
            repr(self.distribution),
            "Choose one of them.",
        )

    def __call__(self, key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
        """Return a draw; shape is (..., C_in, C_out)."""
        return _scaled("VarianceScaling", self.scale, self.mode, self.distribution, key, shape, dtype)


def _scaled(
    where: str, scale: float, mode: str, distribution: Any, key: jax.Array, shape: tuple[int, ...], dtype: Any
) -> jax.Array:
    """Return what `jax.nn.initializers.variance_scaling` draws.

    They are drawn along one axis: random bits of four axes take XLA on CPU ten times as long to compile (22 kernels of
    a residual net: half a minute).
    """
    *_, ins, outs = _kernel(where, shape)
    taps = math.prod(shape[:-2])
    fan = {"fan_in": taps * ins, "fan_out": taps * outs, "fan_avg": taps * (ins + outs) / 2}[mode]
    flat = jax.nn.initializers.variance_scaling(scale * math.prod(shape) / fan, "fan_in", distribution)
    return flat(key, (math.prod(shape), 1), dtype).reshape(shape)


def _kernel(where: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    expect(
        len(shape) >= 2 and math.prod(shape) > 0,
        where,
        "a kernel's shape (..., C_in, C_out) without zeros",
        shape,
        "Use zeros, ones, Constant or Normal for vectors.",
    )
    return shape
