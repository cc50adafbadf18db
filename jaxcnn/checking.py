"""The form of every error message: `<function>: expected <what>, got <value>. <what to do>.`"""

import operator
from typing import Any

import jax
import jax.numpy as jnp

__all__ = ["expect", "expect_count", "expect_train", "floating", "is_int", "is_number", "shaped", "shown"]

LONGEST = 200  # characters of a value in a message


def expect(ok: bool, where: str, what: str, got: object, fix: str, error: type[Exception] = ValueError) -> None:
    """Raise `error` with the one form of message unless `ok`.

    Args:
        ok: a Python bool, known before any array work (static shapes, dtypes, options).
        where: the function or layer that was called.
        what: what it expects.
        got: what it was given: a text, or anything that `shown` makes one of.
        fix: a sentence saying what to do.
        error: `ValueError` for values and shapes, `TypeError` for dtypes.
    """
    if not ok:
        raise error(f"{where}: expected {what}, got {got if isinstance(got, str) else shown(got)}. {fix}")


def shown(value: Any) -> str:
    """Return a short text for `value`: arrays by shape and dtype, of what is long the beginning."""
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and hasattr(value, "dtype") and not (shape == () and is_number(value)):
        kind = "a traced array" if isinstance(value, jax.core.Tracer) else "an array"
        return f"{kind} of shape {tuple(shape)} and dtype {value.dtype}"
    if isinstance(value, tuple):
        text = f"({', '.join(map(shown, value))}{',' * (len(value) == 1)})"
    elif isinstance(value, list):
        text = f"[{', '.join(map(shown, value))}]"
    elif isinstance(value, dict):
        text = f"{{{', '.join(f'{key!r}: {shown(held)}' for key, held in value.items())}}}"
    else:
        text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def is_int(value: Any) -> bool:
    """Return whether `value` is a known integer, NumPy's and JAX's included, bools not."""
    try:
        operator.index(value)
    except TypeError:  # what has no integer value: arrays of several numbers and traced ones among them
        return False
    return not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Return whether `value` is one known real number, NumPy's and JAX's included."""
    try:
        float(value)
    except (TypeError, ValueError):  # of traced ones, among others
        return False
    return not isinstance(value, str) and getattr(value, "shape", ()) == ()


def expect_count(where: str, name: str, value: Any, least: int = 1) -> int:
    """Return `value` as a Python int; raise `ValueError` unless it is an integer, positive or at least `least`."""
    what = "a positive int" if least == 1 else f"an int >= {least}"
    expect(is_int(value) and value >= least, where, f"{name} as {what}", shown(value), f"Pass {name}=8, say.")
    return int(value)


def expect_train(where: str, train: Any) -> None:
    """Raise `TypeError` unless `train`, which decides what is compiled, is a known bool."""
    known = not isinstance(train, jax.core.Tracer) and getattr(train, "dtype", None) == jnp.bool and train.shape == ()
    fix = 'Mark it static, jax.jit(step, static_argnames="train"), and pass True or False.'
    expect(known or isinstance(train, bool), where, "train as a Python bool", shown(train), fix, TypeError)


def shaped(where: str, name: str, x: Any, shape: tuple[int, ...]) -> jax.Array:
    """Return `x` as an array of exactly `shape`; raise `ValueError` if it has another."""
    x = _array(where, name, x)
    expect(x.shape == shape, where, f"{name} of shape {shape}", x.shape, f"Pass {name} with that shape.")
    return x


def floating(where: str, name: str, x: Any) -> jax.Array:
    """Return `x` as an array of a floating dtype; raise `TypeError` if it has another."""
    given, x = x, _array(where, name, x)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        got, fix = x.dtype, f"Convert it first: {name}.astype(jax.numpy.float32)."
        if not hasattr(given, "dtype"):
            got, fix = shown(given), "Pass an array of floats."
        elif jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            fix = "It is a PRNG key, which comes before the arrays."
        elif x.dtype == jnp.uint8 and name in ("x", "image"):
            fix = "Convert it first, uint8 images with jaxcnn.data.to_float."
        expect(False, where, f"{name} of a floating dtype", got, fix, TypeError)
    return x


def _array(where: str, name: str, x: Any) -> jax.Array:
    try:
        return jnp.asarray(x)
    except (TypeError, ValueError):
        expect(False, where, f"{name} to be an array", type(x).__name__, "Pass a JAX or NumPy array.", TypeError)
        raise
