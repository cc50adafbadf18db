"""Convolution and its gradients as `jax.lax` has them."""

import jax
from jax import lax

from jaxcnn.functional.primitives.geometry import Forms, Geometry
from jaxcnn.functional.primitives.taps import padded

__all__ = ["LIBRARY", "library"]


def library(x: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    """Return the maps (N, *positions, features)."""
    axes = "HWD"[: len(geometry.size)]
    if min(min(sides) for sides in geometry.padding) < 0:
        # Cut off here: XLA on CPU reads beyond the array there in jax 0.10.
        x = padded(x, [(min(before, 0), min(after, 0)) for before, after in geometry.padding])
        geometry = geometry._replace(
            size=x.shape[1:-1], padding=tuple((max(before, 0), max(after, 0)) for before, after in geometry.padding)
        )
    return lax.conv_general_dilated(
        x,
        kernel,
        geometry.stride,
        geometry.padding,
        rhs_dilation=geometry.dilation,
        dimension_numbers=(f"N{axes}C", f"{axes}IO", f"N{axes}C"),
        feature_group_count=geometry.groups,
        precision=geometry.precision,
    )


def _input_gradient(g: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    x = jax.ShapeDtypeStruct((g.shape[0], *geometry.size, geometry.channels), g.dtype)
    return jax.linear_transpose(lambda x: library(x, kernel, geometry), x)(g)[0]


def _kernel_gradient(x: jax.Array, g: jax.Array, geometry: Geometry) -> jax.Array:
    kernel = jax.ShapeDtypeStruct(geometry.kernel, x.dtype)
    return jax.linear_transpose(lambda kernel: library(x, kernel, geometry), kernel)(g)[0]


LIBRARY = Forms(library, _input_gradient, _kernel_gradient)
