"""The form of every error message: `<function>: expected <what>, got <value>. <what to do>.`"""

import difflib
import functools
import math
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp

__all__ = [
    "array",
    "did_you_mean",
    "expect",
    "expect_choice",
    "expect_count",
    "expect_dtype",
    "expect_flag",
    "expect_key",
    "expect_names",
    "expect_rate",
    "expect_size",
    "expect_train",
    "floating",
    "installed",
    "integral",
    "is_array",
    "is_int",
    "is_number",
    "number",
    "plain",
    "scalar",
    "shaped",
    "shown",
    "sizes",
]

LONGEST = 200  # characters of a value in a message
MOST = 2**31 - 1  # entries that 32 bits count: no kernel and no map has more


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
        raise error(f"{where}: expected {what}, got {got if isinstance(got, str) and got else shown(got)}. {fix}")


def did_you_mean(name: object, known: Iterable[str], otherwise: str, cutoff: float = 0.6) -> str:
    """Return the sentence that names what is known and nearly called so; `otherwise` where nothing is.

    Args:
        name: what was given.
        known: what there is.
        otherwise: the sentence where nothing is near.
        cutoff: how much two texts have to share, of [0, 1]; less is right for long paths.
    """
    near = difflib.get_close_matches(str(name), list(dict.fromkeys(known)), n=3, cutoff=cutoff)
    return f"Did you mean {' or '.join(map(repr, near))}?" if near else otherwise


@contextmanager
def installed(where: str, package: str, how: str) -> Iterator[None]:
    """Raise `ImportError` with the sentence that says how to install `package`, where importing it inside fails."""
    try:
        yield
    except ImportError as missing:
        fix = f"Install it with {how}."
        raise ImportError(f"{where}: expected {package} to be installed, got none. {fix}") from missing


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
        text = repr(value) if isinstance(value, str) else " ".join(str(value).split())  # nets have a line a layer
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def is_array(value: Any) -> bool:
    """Return whether `value` is an array of numbers or bools, or has the shape and dtype of one."""
    shape: Any = getattr(value, "shape", None)
    dtype: Any = getattr(value, "dtype", None)
    numeric = dtype is not None and (jnp.issubdtype(dtype, jnp.number) or dtype == jnp.bool)
    return isinstance(shape, tuple) and bool(numeric)


def is_int(value: Any, least: float = -math.inf, most: float = math.inf) -> bool:
    """Return whether `value` is a known integer in `least..most`, NumPy's and JAX's included, bools not."""
    if isinstance(value, jax.core.Tracer):  # JAX's message that it is not known takes long: it reads the whole program
        return False
    try:
        known = operator.index(value)
    except TypeError:  # what has no integer value: arrays of several numbers and traced ones among them
        return False
    return not isinstance(value, bool) and least <= known <= most


def plain(value: Any) -> Any:
    """Return a known number as a Python int or float, anything else as it is.

    A number that JAX holds is traced under `jit` as soon as it is compared or added to, known or not.
    """
    if is_int(value):
        return int(value)
    return float(value) if is_number(value) else value


def is_number(value: Any) -> bool:
    """Return whether `value` is one known real number, NumPy's and JAX's included, bools not."""
    if isinstance(value, jax.core.Tracer):  # as in `is_int`
        return False
    try:
        float(value)
    except (TypeError, ValueError, OverflowError):
        return False
    kind = getattr(getattr(value, "dtype", None), "kind", "f")  # of jax's own small floats "V"
    return (
        not isinstance(value, bool | str | bytes | bytearray) and getattr(value, "shape", ()) == () and kind in "iufV"
    )


def expect_count(where: str, name: str, value: Any, least: int = 1, most: float = math.inf) -> int:
    """Return `value` as a Python int; raise `ValueError` unless it is an integer in `least..most`."""
    what, fix = "a positive int" if least == 1 else f"an int >= {least}", f"Pass {name}=8, say."
    expect(is_int(value, least), where, f"{name} as {what}", shown(value), fix)
    expect(is_int(value, least, most), where, f"{name} of at most {most}", shown(value), fix)
    return int(value)


def expect_train(where: str, train: Any) -> None:
    """Raise `TypeError` unless `train`, which decides what is compiled, is a known bool."""
    fix = 'Mark it static, jax.jit(step, static_argnames="train"), and pass True or False.'
    expect_flag(where, "train", train, fix)


def expect_flag(where: str, name: str, value: Any, fix: str = "Pass True or False.") -> bool:
    """Return `value` as a Python bool; raise `TypeError` unless it is a known bool."""
    known = not isinstance(value, jax.core.Tracer) and getattr(value, "dtype", None) == jnp.bool and value.shape == ()
    expect(known or isinstance(value, bool), where, f"{name} as a Python bool", shown(value), fix, TypeError)
    return bool(value)


def number(where: str, what: str, value: Any, holds: Callable[[float], bool], fix: str) -> float:
    """Return `value` as a Python float; raise `ValueError` unless it is one known real number for which `holds`."""
    expect(is_number(value) and bool(holds(float(value))), where, what, shown(value), fix)
    return float(value)


def scalar(where: str, what: str, value: Any, holds: Callable[[float], bool], fix: str) -> Any:
    """Return what `number` does, or the traced scalar `value`, of which nobody knows whether it `holds`."""
    if not isinstance(value, jax.core.Tracer):
        return number(where, what, value, holds, fix)
    real = jnp.issubdtype(value.dtype, jnp.floating) or jnp.issubdtype(value.dtype, jnp.integer)
    expect(real and value.shape == (), where, what, shown(value), fix)
    return value


def expect_rate(where: str, name: str, value: Any) -> float:
    """Return `value` as a Python float; raise `ValueError` unless it is a known number in [0, 1]."""
    return number(where, f"{name} in [0, 1]", value, lambda rate: 0 <= rate <= 1, "It is a rate.")


def expect_size(where: str, what: str, shape: Sequence[int], fix: str) -> None:
    """Raise `ValueError` if an array of that shape, which an option asks for, has more than 2^31 - 1 entries."""
    expect(math.prod(shape) <= MOST, where, f"{what} of fewer than 2^31 entries", f"shape {shown(tuple(shape))}", fix)


def sizes(where: str, name: str, shape: Any) -> tuple[int, ...]:
    """Return `shape` as a tuple of ints; raise `ValueError` unless it is the shape of an array that there can be."""
    ok = isinstance(shape, Sequence) and all(is_int(n, 0) for n in shape)
    expect(ok, where, f"{name} as a tuple of ints >= 0", shown(shape), f"Pass {name}=(3, 3, 16, 32), say.")
    expect_size(where, "an array", shape, "Ask for fewer.")
    return tuple(int(n) for n in shape)


def expect_choice(where: str, what: str, value: Any, choices: Sequence[Any]) -> None:
    """Raise `ValueError` unless `value` is one of the names or numbers."""
    known = (isinstance(value, str) or is_int(value)) and plain(value) in choices
    expect(known, where, what, shown(value), "Choose one of them.")


def expect_dtype(where: str, dtype: Any, kind: Any = jnp.floating) -> Any:
    """Return `dtype` as one of JAX's; raise `TypeError` unless it is one, and of that kind."""
    what = {jnp.floating: "a floating dtype", jnp.inexact: "a floating or complex dtype"}.get(kind, "a numeric dtype")
    try:
        known = None if dtype is None else jax.dtypes.canonicalize_dtype(dtype)
    except (TypeError, ValueError, AttributeError):
        known = None
    ok = known is not None and jnp.issubdtype(known, kind)
    expect(ok, where, f"dtype as {what}", shown(dtype), "Pass jax.numpy.float32, say.", TypeError)
    return known


def expect_key(where: str, key: Any, *, known: bool = False) -> None:
    """Raise `TypeError` unless `key` is one PRNG key, typed or raw, and, if `known`, no traced one."""
    dtype, shape = getattr(key, "dtype", None), getattr(key, "shape", None)
    typed = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key) and shape == ()
    raw = dtype == jnp.uint32 and shape == _raw_key_shape(jax.config.jax_default_prng_impl)
    fix = "Pass jax.random.key(0), or one key of a split."
    expect(typed or raw, where, "one PRNG key", shown(key), fix, TypeError)
    traced = known and isinstance(key, jax.core.Tracer)
    expect(not traced, where, "a known PRNG key", shown(key), "Call it outside of jax.jit.", TypeError)


@functools.cache
def _raw_key_shape(implementation: str) -> tuple[int, ...]:
    return jax.eval_shape(lambda: jax.random.key_data(jax.random.key(0, impl=implementation))).shape


def expect_names(where: str, what: str, entries: dict[Any, Any]) -> None:
    """Raise `TypeError` unless the names of the entries are texts: JAX cannot sort others among them."""
    odd = [name for name in entries if not isinstance(name, str)]
    expect(not odd, where, f"{what} with texts as names", shown(odd), "Rename the entry.", TypeError)


def shaped(where: str, name: str, x: Any, shape: tuple[int, ...]) -> jax.Array:
    """Return `x` as an array of exactly `shape`, of real numbers; raise an error if it has another."""
    x = array(where, name, x)
    real = jnp.issubdtype(x.dtype, jnp.floating) or jnp.issubdtype(x.dtype, jnp.integer)
    expect(real, where, f"{name} of a floating dtype", x.dtype, "Pass an array of floats.", TypeError)
    expect(x.shape == shape, where, f"{name} of shape {shape}", x.shape, f"Pass {name} with that shape.")
    return x


def floating(where: str, name: str, x: Any) -> jax.Array:
    """Return `x` as an array of a floating dtype of 16 bits or more; raise `TypeError` if it has another."""
    given, x = x, array(where, name, x)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        got, fix = x.dtype, f"Convert it first: {name}.astype(jax.numpy.float32)."
        if not hasattr(given, "dtype"):
            got, fix = shown(given), "Pass an array of floats."
        elif jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            fix = "It is a PRNG key, which comes before the arrays."
        elif x.dtype == jnp.uint8 and name in ("x", "image"):
            fix = "Convert it first, uint8 images with jaxcnn.data.to_float."
        expect(False, where, f"{name} of a floating dtype", got, fix, TypeError)
    # float8 is to store: it has no infinity, and sums of it no digits.
    fix = f"Convert it first: {name}.astype(jax.numpy.bfloat16)."
    expect(x.dtype.itemsize > 1, where, f"{name} of a floating dtype of 16 bits or more", x.dtype, fix, TypeError)
    return x


def integral(where: str, name: str, x: Any, fix: str) -> jax.Array:
    """Return `x` as an array of an integer dtype; raise `TypeError` if it has another."""
    x = array(where, name, x)
    expect(jnp.issubdtype(x.dtype, jnp.integer), where, f"{name} of an integer dtype", x.dtype, fix, TypeError)
    return x


def array(where: str, name: str, x: Any) -> jax.Array:
    """Return `x` as an array; raise `TypeError` if it is none."""
    try:
        return jnp.asarray(x)
    except (TypeError, ValueError, OverflowError, AssertionError, SyntaxError):  # the last of a text
        fix = "Pass a JAX or NumPy array."
        expect(False, where, f"{name} to be an array", type(x).__name__, fix, TypeError)
        raise
