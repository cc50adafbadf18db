"""Each image for itself: loops over images where that is faster than dealing with a batch at once."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import custom_vmap

__all__ = ["one_by_one", "switch"]


def switch(index: jax.Array, branches: Sequence[Callable[[Any, Any], Any]], operand: Any, example: Any) -> Any:
    """Return branches[index](operand, example), under `vmap` on CPU without computing the other branches.

    Args:
        index: int32 scalar.
        branches: functions of the operand and the example that return the same shapes and dtypes.
        operand: a pytree of arrays, such as a key; not differentiated.
        example: an image or example; what is no array in it is handed to every branch, and comes back as it is.
    """
    leaves, tree = jax.tree.flatten(example)
    floats, others = _parts(leaves)
    # What is traced later holds on to no array.
    rest = [leaf if f is o is None else None for leaf, f, o in zip(leaves, floats, others, strict=True)]

    def merged(floats: list, others: list) -> Any:
        parts = zip(rest, floats, others, strict=True)
        return tree.unflatten([leaf if f is o is None else o if f is None else f for leaf, f, o in parts])

    def of_parts(branch: Callable[[Any, Any], Any]) -> Callable[..., tuple[list, list]]:
        return lambda floats, others, operand: _parts(tree.flatten_up_to(branch(operand, merged(floats, others))))

    def chosen(floats: list, arrays: tuple) -> tuple[list, list]:
        others, index, operand = arrays
        return jax.lax.switch(index, [of_parts(branch) for branch in branches], floats, others, operand)

    return merged(*one_by_one(chosen)(floats, (others, index, operand)))


def one_by_one(fn: Callable[[Any, Any], tuple[Any, Any]]) -> Callable[[Any, Any], tuple[Any, Any]]:
    """Return `fn`, a function of one image, of which `vmap` makes a loop over the images on CPU.

    Under `vmap` `jax.lax.switch` computes all branches for every image and then chooses: `rand_augment`, with its 14
    operations, then took x10 for 512 32x32x3 images on CPU, and no less with the operations merged into one formula as
    far as they go. In a loop each image goes through its own branch alone. Other devices deal with the batch at once.

    Args:
        fn: from (floats, arrays), both pytrees of arrays, to the same kind of pair; a pure function of them alone.
            Only the floats are differentiated, in reverse mode.
    """
    run = jax.custom_vjp(_looped(fn))

    def pulled_back(floats: Any, arrays: Any, cotangent: Any) -> Any:
        _, pullback = jax.vjp(lambda floats: fn(floats, arrays)[0], floats)
        return pullback(cotangent)[0]

    # `vmap` of a custom_vmap has no reverse mode; the pullback is therefore a function, and a loop, of its own.
    run.defvjp(
        lambda floats, arrays: (_looped(fn)(floats, arrays), (floats, arrays)),
        lambda residuals, cotangents: (_looped(pulled_back)(*residuals, cotangents[0]), None),
    )
    return run


def _looped(fn: Callable[..., Any]) -> Callable[..., Any]:
    looped = custom_vmap(fn)

    @looped.def_vmap
    def over_batch(size: int, mapped: list, *arrays: Any) -> tuple[Any, Any]:
        def spread(is_mapped: bool, array: jax.Array) -> jax.Array:
            return array if is_mapped else jnp.broadcast_to(array, (size, *array.shape))

        arrays = jax.tree.map(spread, tuple(mapped), arrays)
        out = jax.lax.platform_dependent(
            *arrays, cpu=lambda *arrays: jax.lax.map(lambda one: fn(*one), arrays), default=jax.vmap(fn)
        )
        return out, jax.tree.map(lambda _: True, out)

    return looped


def _parts(leaves: list) -> tuple[list, list]:
    """The list twice: its floating arrays, and its other arrays, with None for everything else."""
    arrays = [jnp.asarray(leaf) if isinstance(leaf, jax.Array | np.ndarray) else None for leaf in leaves]
    floating = [array is not None and jnp.issubdtype(array.dtype, jnp.floating) for array in arrays]
    floats = [array if is_floating else None for array, is_floating in zip(arrays, floating, strict=True)]
    others = [None if is_floating else array for array, is_floating in zip(arrays, floating, strict=True)]
    return floats, others
