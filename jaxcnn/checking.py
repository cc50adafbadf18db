"""The form of every error message: `<function>: expected <what>, got <value>. <what to do>.`"""

import operator
from typing import Any

import jax
import jax.numpy as jnp

__all__ = ["expect", "expect_count", "floating", "is_int", "shaped"]


def expect(ok: bool, where: str, what: str, got: object, fix: str, error: type[Exception] = ValueError) -> None:
    """Raise `error` with the one form of message unless `ok`.

    Args:
        ok: a Python bool, known before any array work (static shapes, dtypes, options).
        where: the function or layer that was called.
        what: what it expects.
        got: what it was given.
        fix: a sentence saying what to do.
        error: `ValueError` for values and shapes, `TypeError` for dtypes.
    """
    if not ok:
        raise error(f"{where}: expected {what}, got {got}. {fix}")


def is_int(value: Any) -> bool:
    """Return whether `value` is a known integer, NumPy's and JAX's included, bools not."""
    try:
        operator.index(value)
    except TypeError:  # what has no integer value: arrays of several numbers and traced ones among them
        return False
    return not isinstance(value, bool)


def expect_count(where: str, name: str, value: Any) -> int:
    """Return `value` as a Python int; raise `ValueError` unless it is a positive integer."""
    expect(is_int(value) and value >= 1, where, f"{name} as a positive int", repr(value), f"Pass {name}=8, say.")
    return int(value)


def shaped(where: str, name: str, x: Any, shape: tuple[int, ...]) -> jax.Array:
    """Return `x` as an array of exactly `shape`; raise `ValueError` if it has another."""
    x = jnp.asarray(x)
    expect(x.shape == shape, where, f"{name} of shape {shape}", x.shape, f"Pass {name} with that shape.")
    return x


def floating(where: str, name: str, x: Any) -> jax.Array:
    """Return `x` as an array of a floating dtype; raise `TypeError` if it has another."""
    try:
        x = jnp.asarray(x)
    except (TypeError, ValueError):
        expect(False, where, f"{name} to be an array", type(x).__name__, "Pass a JAX or NumPy array.", TypeError)
    expect(
        jnp.issubdtype(x.dtype, jnp.floating),
        where,
        f"{name} of a floating dtype",
        x.dtype,
        "Convert it first, uint8 images with jaxcnn.data.to_float.",
        TypeError,
    )
    return x
