"""What an initializer is, and the shape of what most of them fill."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn.checking import expect, expect_dtype, expect_key, sizes

__all__ = ["Initializer", "call", "centre", "drawn", "kernel_shape"]

Initializer = Callable[..., jax.Array]
"""`(key, shape, dtype) -> array`."""


def kernel_shape(where: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return `shape`, or raise `ValueError` if it is not that of a kernel."""
    shape = sizes(where, "shape", shape)
    expect(
        len(shape) >= 2 and math.prod(shape) > 0,
        where,
        "a kernel's shape (..., C_in, C_out) without zeros",
        shape,
        "Use zeros, ones, Constant or Normal for vectors.",
    )
    return shape


def drawn(where: str, key: jax.Array, shape: tuple[int, ...], dtype: Any) -> tuple[tuple[int, ...], Any]:
    """Return shape and dtype of what is drawn with `key`, all three checked."""
    expect_key(where, key)
    return sizes(where, "shape", shape), expect_dtype(where, dtype, jnp.inexact)


def centre(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the tap of a kernel that sees the output's own pixel under "SAME" padding: (k - 1) // 2 on each axis."""
    return tuple((k - 1) // 2 for k in shape[:-2])


def call(scheme: Any) -> str:
    """Return the constructor's call of a dataclass that holds initializers: functions by their names."""
    values = {field.name: getattr(scheme, field.name) for field in dataclasses.fields(scheme)}
    shown = (f"{name}={getattr(value, '__name__', repr(value))}" for name, value in values.items())
    return f"{type(scheme).__name__}({', '.join(shown)})"
