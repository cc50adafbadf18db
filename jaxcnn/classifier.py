"""A net as a function of images, images -> logits, of whatever library: what explanations and attacks take."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import expect, is_int, shown

__all__ = ["LogitsFn", "as_tree", "classes", "expect_logits", "logits_of", "most_axes", "outputs", "outputs_like"]

LogitsFn = Callable[[jax.Array], Any]
"""Images (..., H, W, C) -> logits (..., classes): `training.predictor(net, params, state)`, or any such function.

It is only ever called with as many images as x has, in the same axes; variants of them are `vmap`ped.
"""


def as_tree(fn: Callable) -> jax.tree_util.Partial:
    """Return a function as what `jit` takes as an argument, compiled anew for another function alone."""
    return fn if isinstance(fn, jax.tree_util.Partial) else jax.tree_util.Partial(fn)


@jax.jit
def outputs(logits_fn: LogitsFn, x: jax.Array) -> Any:
    """Return what the net gives for images, compiled; the function is one that `as_tree` made."""
    return logits_fn(x)


def logits_of(outputs: Any) -> Any:
    """Return the logits of a net with further heads, which are given by name, too."""
    return outputs["logits"] if isinstance(outputs, Mapping) else outputs


def outputs_like(where: str, logits_fn: LogitsFn, x: jax.Array) -> Any:
    """Return the shapes and dtypes of what the net gives; raise `TypeError` where it is no function of JAX arrays."""
    try:
        return outputs.eval_shape(logits_fn, x)
    except jax.errors.TracerArrayConversionError as error:
        fix = "Compute with jax.numpy inside of it."
        what = "logits_fn as a function of JAX arrays"
        raise TypeError(f"{where}: expected {what}, got one that makes NumPy arrays of them. {fix}") from error


def expect_logits(where: str, outputs: Any, x: jax.Array, fix: str) -> tuple[int, ...]:
    """Return the shape of the logits; raise `ValueError` unless the outputs have one row of them for each image."""
    logits = logits_of(outputs)
    shape = getattr(logits, "shape", ())
    ok = 0 < len(shape) <= most_axes(x) + 1 and x.shape[: len(shape) - 1] == shape[:-1]
    if isinstance(outputs, tuple):
        fix = "Return the first alone: net.apply gives (logits, state), training.predictor(net, params, state) logits."
    expect(ok, where, "outputs (..., classes), one row an image", shown(logits), fix)
    return shape


def most_axes(x: jax.Array) -> int:
    """Return how many axes of x may be counted as axes of images, so that no pixel is taken for an image."""
    return max(x.ndim - 3, min(x.ndim - 1, 1))


def classes(where: str, name: str, given: Any, shape: tuple[int, ...], what: str = "a class, an array of classes"):
    """Return classes as an int32 array, one for all images or one for each; raise an error unless they are some.

    Args:
        where: the function that was called.
        name: the argument's name.
        given: an int, or an integer array of shape () or (...).
        shape: of the logits, (..., classes).
        what: the argument may be, in words.
    """
    fix = f"Pass a class from 0 to {shape[-1] - 1}, or an integer array with one for each image."
    known = is_int(given) or (hasattr(given, "dtype") and jnp.issubdtype(given.dtype, jnp.integer))
    if getattr(given, "shape", None) == shape:
        fix = f"Of one-hot rows pass {name}.argmax(-1)."
    expect(known, where, f"{name} as {what}", shown(given), fix, TypeError)
    expect(jnp.shape(given) in ((), shape[:-1]), where, f"{name} of shape () or {shape[:-1]}", jnp.shape(given), fix)
    if not isinstance(given, jax.core.Tracer):
        values = np.asarray(given)
        ok = bool(np.all((values >= 0) & (values < shape[-1])))
        expect(ok, where, f"{name} in 0..{shape[-1] - 1}", shown(values.tolist()), fix)
    return jnp.asarray(given).astype(jnp.int32)
