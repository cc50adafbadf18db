"""Draws scaled by the number of connections, and the scale that a nonlinearity asks for."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import expect, expect_choice, number, shown
from jaxcnn.initializers.kernel import Initializer, call, drawn, kernel_shape

__all__ = [
    "Normal",
    "Scaled",
    "VarianceScaling",
    "gain",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "lecun_uniform",
]


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


@dataclass(frozen=True)
class Normal:
    """A normal distribution of mean 0 and standard deviation `stddev`."""

    stddev: float = 0.01

    def __post_init__(self) -> None:
        """Check the range and make the number a float."""
        what, fix = "a finite stddev >= 0", "Pass a standard deviation."
        stddev = number("Normal", what, self.stddev, lambda s: 0 <= s < math.inf, fix)
        object.__setattr__(self, "stddev", stddev)

    def __call__(self, key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
        """Return a draw."""
        shape, dtype = drawn("Normal", key, shape, dtype)
        return self.stddev * jax.random.normal(key, (math.prod(shape),), dtype).reshape(shape)


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
        """Check the choices and make scale a float."""
        modes, laws = ("fan_in", "fan_out", "fan_avg"), ("truncated_normal", "normal", "uniform")
        where, fix = "VarianceScaling", "2.0 suits layers followed by a ReLU."
        scale = number(where, "a finite scale > 0", self.scale, lambda s: 0 < s < math.inf, fix)
        object.__setattr__(self, "scale", scale)
        expect_choice(where, f"mode in {modes}", self.mode, modes)
        expect_choice(where, f"distribution in {laws}", self.distribution, laws)

    def __call__(self, key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
        """Return a draw; shape is (..., C_in, C_out)."""
        return _scaled("VarianceScaling", self.scale, self.mode, self.distribution, key, shape, dtype)


@dataclass(frozen=True, repr=False)
class Scaled:
    """Another initializer's values times `factor`, the variance times its square.

    `Scaled(orthogonal, gain(functional.relu))` keeps variance through ReLU layers.
    """

    initializer: Initializer
    factor: float

    def __post_init__(self) -> None:
        """Check the parts and make the factor a float."""
        fix = "Pass one of jaxcnn.initializers."
        expect(
            callable(self.initializer), "Scaled", "an initializer (key, shape, dtype)", self.initializer, fix, TypeError
        )
        fix = "gain(functional.relu) suits layers followed by a ReLU."
        factor = number("Scaled", "a finite factor", self.factor, math.isfinite, fix)
        object.__setattr__(self, "factor", factor)

    def __repr__(self) -> str:
        return call(self)

    def __call__(self, key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
        """Return a draw."""
        return self.factor * self.initializer(key, shape, dtype)


def gain(fn: Callable[[jax.Array], jax.Array]) -> float:
    """Return what to multiply weights of variance 1 / fan_in by, so that a layer followed by `fn` keeps its scale.

    gain = 1 / sqrt(E[fn(z)^2]), z standard normal, by Gauss-Hermite quadrature: sqrt(2) for a ReLU (He's factor), 1
    for the identity. `VarianceScaling(gain(fn) ** 2)` draws such weights.

    Args:
        fn: an elementwise function; its values are computed at once, also where the caller is being traced.

    Returns:
        A Python float, to 1e-4 for functions that are smooth but for a kink at 0.

    Raises:
        ValueError: fn changes the shape, or E[fn(z)^2] is zero or not finite.

    Source: He et al. 2015, section 2.2, for any fn; for the ReLU, the leaky ReLU and the identity as
    `torch.nn.init.calculate_gain`, whose 5/3 for tanh (1.59 here) and 1 for sigmoid (1.85) are conventions.
    """
    fix = "Pass a function such as functional.relu."
    expect(callable(fn), "gain", "a function", shown(fn), fix, TypeError)
    # An even number of points: none at 0, so that kinks there cost nothing by symmetry.
    points, weights = np.polynomial.hermite_e.hermegauss(128)
    with jax.ensure_compile_time_eval():
        values = np.asarray(fn(jnp.asarray(points, jnp.float32)), np.float64)
    expect(values.shape == points.shape, "gain", "an elementwise function", f"values of shape {values.shape}", fix)
    power = float(np.sum(weights * values**2) / np.sum(weights))
    fix = "No factor keeps the scale of such a function."
    expect(0 < power < math.inf, "gain", "a function with a finite mean square above 0", power, fix)
    return 1 / math.sqrt(power)


def _scaled(
    where: str, scale: float, mode: str, distribution: Any, key: jax.Array, shape: tuple[int, ...], dtype: Any
) -> jax.Array:
    """Return what `jax.nn.initializers.variance_scaling` draws.

    They are drawn along one axis: random bits of four axes take XLA on CPU ten times as long to compile (22 kernels of
    a residual net: half a minute).
    """
    shape, dtype = drawn(where, key, kernel_shape(where, shape), dtype)
    *_, ins, outs = shape
    taps = math.prod(shape[:-2])
    fan = {"fan_in": taps * ins, "fan_out": taps * outs, "fan_avg": taps * (ins + outs) / 2}[mode]
    flat = jax.nn.initializers.variance_scaling(scale * math.prod(shape) / fan, "fan_in", distribution)
    return flat(key, (math.prod(shape), 1), dtype).reshape(shape)
