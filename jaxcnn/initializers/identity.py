"""Kernels that start as something known: the image as it is, or enlarged."""

import functools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import expect, expect_count, expect_dtype, shown
from jaxcnn.initializers.fill import zeros
from jaxcnn.initializers.kernel import Initializer, call, centre, kernel_shape

__all__ = ["Dirac", "bilinear", "dirac"]


@dataclass(frozen=True, repr=False)
class Dirac:
    """The identity in the first outputs of each group, which hand on their inputs; the other outputs from `rest`.

    Of the C_out / groups outputs of a group the first C_in / groups, or all where there are fewer, have a single 1, at
    the centre; they keep the variance of their inputs exactly. Under "SAME" padding and stride 1 they copy the image.

    `Dirac(rest=VarianceScaling(1 / 3, "fan_in", "uniform"))` is PyTorch's default draw with an identity in front, as in
    Jordan's airbench.

    Args:
        groups: the groups of the convolution.
        rest: an initializer for the outputs left over; zeros unless given.

    Raises:
        ValueError: groups that do not divide the outputs.

    Source: Zagoruyko and Komodakis 2017; agrees with `torch.nn.init.dirac_` for kernels of odd size. In those of even
    size the 1 is at (k - 1) // 2, where "SAME" padding has the output's pixel (PyTorch: at k // 2).
    """

    groups: int = 1
    rest: Initializer = zeros

    def __post_init__(self) -> None:
        """Check the parts and make groups an int."""
        object.__setattr__(self, "groups", expect_count("Dirac", "groups", self.groups))
        fix = "Pass one of jaxcnn.initializers."
        expect(callable(self.rest), "Dirac", "rest as an initializer", shown(self.rest), fix, TypeError)

    def __repr__(self) -> str:
        return call(self)

    def __call__(self, key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
        """Return the kernel; shape is (..., C_in / groups, C_out)."""
        *_, ins, outs = shape = kernel_shape("Dirac", shape)
        dtype = expect_dtype("Dirac", dtype, jnp.number)
        fix = "Choose a divisor of the last axis."
        expect(outs % self.groups == 0, "Dirac", f"groups that divide {outs} outputs", self.groups, fix)
        copies = jnp.tile(jnp.eye(ins, outs // self.groups, dtype=dtype), (1, self.groups))
        delta = jnp.zeros(shape, dtype).at[centre(shape)].set(copies)
        return jnp.where(copies.any(axis=0), delta, self.rest(key, shape, dtype))


def dirac(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    """Return the identity in the first outputs and zeros in the others: `Dirac()`; the key is not used."""
    return Dirac()(key, shape, dtype)


def bilinear(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    """Return the kernel with which a transposed convolution enlarges maps by bilinear interpolation.

    w[u, v] = (1 - |u - c| / f) (1 - |v - c| / f), f = ceil(k / 2), c the centre. To enlarge f times take stride f and
    k = 2 f - f mod 2 taps: then the weights that meet in a pixel sum to 1, and constant maps keep their value.

    Args:
        key: not used.
        shape: (..., C_in / groups, C_out) with C_in = C_out (channel c to channel c, zeros between channels), or with
            one input channel, as for a depthwise kernel or a grey image (that channel to all).
        dtype: of the result.

    Raises:
        ValueError: another shape.

    Source: Long et al. 2015, section 3.3; agrees with `interp` and `upsample_filt` of their reference code.
    """
    *taps, ins, outs = kernel_shape("bilinear", shape)
    dtype = expect_dtype("bilinear", dtype, jnp.inexact)
    fix = "Interpolation does not mix channels."
    expect(ins in (1, outs), "bilinear", "as many inputs as outputs, or one", f"shape {shape}", fix)
    weights = functools.reduce(np.multiply.outer, map(_triangle, taps), np.ones(()))
    between = np.ones((1, outs)) if ins == 1 else np.eye(outs)
    return jnp.asarray(np.multiply.outer(weights, between), dtype)


def _triangle(taps: int) -> np.ndarray:
    factor = (taps + 1) // 2
    return 1 - np.abs(np.arange(taps) - (taps - 1) / 2) / factor
