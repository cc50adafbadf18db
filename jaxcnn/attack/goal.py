"""What an attack is given and what it wants: images that a net takes for another class, or for a chosen one."""

import functools
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import expect, floating, is_number, shown
from jaxcnn.classifier import LogitsFn, as_tree, classes, expect_logits, logits_of, outputs

__all__ = [
    "Bounds",
    "Goal",
    "epsilons",
    "expect_finite",
    "expect_inside",
    "expect_no_probabilities",
    "image_axes",
    "is_trusted",
    "logits",
    "margin",
    "per_image",
    "prepared",
    "reached",
    "repeated",
    "trusted",
]

Bounds = tuple[float, float]
"""The least and the largest value of a pixel."""


class Goal(NamedTuple):
    """What the attack wants of each image; a pytree."""

    label: jax.Array  # (...), the true classes
    target: jax.Array | None = None  # (...), the classes that are wanted; None for any but the true ones

    def of(self, index: Any) -> "Goal":
        """Return the goal of some of the images."""
        return jax.tree.map(lambda leaf: leaf[index], self)


def prepared(
    where: str,
    logits_fn: LogitsFn,
    x: Any,
    y: Any,
    *,
    target: Any = None,
    bounds: Any = (0.0, 1.0),
    decision: bool = False,
) -> tuple[Any, jax.Array, Goal, Bounds]:
    """Return the arguments of an attack, as those of a jitted function; raise an error unless they fit one another.

    What is known only with the values of arrays (pixels, labels, what the net gives) is checked outside of `jit` only.

    Args:
        where: the attack.
        logits_fn: images -> logits; compiled again for another function, not for other weights of a predictor.
        x: images, floating, within the bounds.
        y: their true classes, one for all or one each.
        target: the classes that are wanted instead, or None for any other.
        bounds: the least and the largest value of a pixel.
        decision: whether the attack sees only which class has the largest output, so that probabilities do, too.
    """
    x = floating(where, "x", x)
    expect(callable(logits_fn), where, "logits_fn as a function of images", shown(logits_fn), _PREDICTOR, TypeError)
    logits_fn = as_tree(logits_fn)
    low, high = _bounds(where, bounds)
    shape = expect_logits(where, logits_of(outputs.eval_shape(logits_fn, x)), x, "Attacks are of classifiers.")
    expect(shape[-1] > 1, where, "logits of at least 2 classes", f"{shape[-1]}", "A net of one class cannot err.")
    label = jnp.broadcast_to(classes(where, "y", y, shape), shape[:-1])
    if target is not None:
        target = jnp.broadcast_to(classes(where, "target", target, shape), shape[:-1])
    known = not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((logits_fn, x)))
    if known and not is_trusted(logits_fn):
        expect_inside(where, x, (low, high))
        _expect_classifier(where, logits_fn, x, decision)
    return logits_fn, x, Goal(label, target), (low, high)


def expect_inside(where: str, x: jax.Array, bounds: Bounds) -> None:
    """Raise `ValueError` unless known images are within the bounds; NaN never is."""
    held = np.asarray(x)
    inside = bool(np.all((held >= bounds[0]) & (held <= bounds[1])))
    got = f"values from {held.min()} to {held.max()}" if held.size else "none"
    expect(inside, where, f"images within bounds=({bounds[0]}, {bounds[1]})", got, _RESCALE)


def trusted(logits_fn: LogitsFn) -> jax.tree_util.Partial:
    """Return a function that `prepared` takes as it is, with its images: who made it has looked, and reports."""
    return jax.tree_util.Partial(_as_it_is, as_tree(logits_fn))


def is_trusted(logits_fn: jax.tree_util.Partial) -> bool:
    """Return whether it is what `trusted` made, of which attacks raise no errors either."""
    return logits_fn.func is _as_it_is


def _as_it_is(logits_fn: LogitsFn, x: jax.Array) -> Any:
    return logits_fn(x)


def repeated(logits_fn: jax.tree_util.Partial, x: jax.Array) -> np.ndarray | None:
    """Return the logits in float32, or None where the function gives others the second time."""
    one, other = (np.asarray(logits_of(outputs(logits_fn, x)), np.float32) for _ in range(2))
    return one if np.array_equal(one, other, equal_nan=True) and _traces_alike(logits_fn, x) else None


def epsilons(where: str, epsilon: Any) -> jax.Array:
    """Return how far an attack may go as a float32 array of any shape; raise `ValueError` unless all are >= 0."""
    fix = "Pass epsilon=8 / 255, or an array of several: it has the unit of the pixels."
    ok = is_number(epsilon) or hasattr(epsilon, "dtype") or isinstance(epsilon, Sequence)
    expect(ok and not isinstance(epsilon, str), where, "epsilon as a number or an array", shown(epsilon), fix)
    if not isinstance(epsilon, jax.core.Tracer):
        held = np.asarray(epsilon)
        ok = held.dtype.kind in "iuf" and bool(np.all((held >= 0) & np.isfinite(held)))
        expect(ok, where, "epsilon >= 0", shown(held.tolist()), fix)
    return jnp.asarray(epsilon, jnp.float32)


def logits(logits_fn: LogitsFn, x: jax.Array) -> jax.Array:
    """Return the logits (..., classes), of a net with further heads too, in float32 or wider."""
    found = logits_of(logits_fn(x))
    return found.astype(jnp.promote_types(found.dtype, jnp.float32))


def reached(logits: jax.Array, goal: Goal) -> jax.Array:
    """Return for which images (...) the goal is reached: the one definition of success. NaN never is one."""
    found = logits.argmax(-1)
    ok = found != goal.label if goal.target is None else found == goal.target
    return ok & ~jnp.isnan(logits).any(-1)


def margin(logits: jax.Array, goal: Goal) -> jax.Array:
    """Return by how much (...) the goal is missed: what is to win minus the best other; below 0 it is reached."""
    wanted = goal.label if goal.target is None else goal.target
    own = jax.nn.one_hot(wanted, logits.shape[-1], dtype=bool)
    held = jnp.sum(jnp.where(own, logits, 0), -1)
    best = jnp.max(jnp.where(own, -jnp.inf, logits), -1)
    return held - best if goal.target is None else best - held


def image_axes(x: jax.Array, goal: Goal) -> tuple[int, ...]:
    """Return the axes of x that are one image's."""
    return tuple(range(goal.label.ndim, x.ndim))


def per_image(values: jax.Array, x: jax.Array) -> jax.Array:
    """Return one value an image (...) with axes for its pixels: (..., 1, 1, 1)."""
    return values.reshape(*values.shape, *(1,) * (x.ndim - values.ndim))


def expect_finite(where: str, gradient: jax.Array) -> None:
    """Raise `ValueError` where a known gradient is infinite or NaN: no attack can follow it."""
    if not isinstance(gradient, jax.core.Tracer):
        fix = "Attack it without gradients: attack.square, say."
        expect(bool(jnp.all(jnp.isfinite(gradient))), where, "finite gradients", "infinite or NaN ones", fix)


def _bounds(where: str, bounds: Any) -> Bounds:
    pair = isinstance(bounds, Sequence) and len(bounds) == 2 and all(map(is_number, bounds))
    ok = pair and -np.inf < float(bounds[0]) < float(bounds[1]) < np.inf
    expect(ok, where, "bounds as (least, largest) value of a pixel", shown(bounds), "Pass bounds=(0.0, 1.0), say.")
    return float(bounds[0]), float(bounds[1])


def _expect_classifier(where: str, logits_fn: jax.tree_util.Partial, x: jax.Array, decision: bool) -> None:
    """Raise `ValueError` where the function is random, or gives probabilities to an attack that needs logits."""
    found = repeated(logits_fn, x)
    fix = "Average over the randomness inside of logits_fn, and pass it a key of its own."
    expect(found is not None, where, "logits_fn to give the same logits twice", "others", fix)
    if not decision and found is not None:
        expect_no_probabilities(where, found)


def expect_no_probabilities(where: str, found: np.ndarray) -> None:
    """Raise `ValueError` where known outputs are probabilities."""
    probable = found.size > 0 and bool(np.all(found >= 0)) and bool(np.all(np.abs(found.sum(-1) - 1) < 1e-3))
    fix = "Pass logits: leave out the softmax, or take lambda x: jax.numpy.log(probabilities(x))."
    expect(not probable, where, "logits", "probabilities", fix)


def _traces_alike(logits_fn: jax.tree_util.Partial, x: jax.Array) -> bool:
    """Return whether the function is the same program when it is traced twice: `numpy.random` in it gives another."""
    leaves, structure = jax.tree.flatten((logits_fn, x))
    try:
        return _alike(structure, tuple((jnp.shape(leaf), jnp.result_type(leaf)) for leaf in leaves))
    except TypeError:  # of a function that has no hash
        return True


@functools.lru_cache(maxsize=64)
def _alike(structure: Any, leaves: tuple[tuple[tuple[int, ...], Any], ...]) -> bool:
    def program() -> tuple[str, list[np.ndarray]]:
        def call(leaves: Any) -> Any:  # a new function each time, as JAX remembers what it has traced
            logits_fn, x = jax.tree.unflatten(structure, leaves)
            return logits_fn(x)

        traced = jax.make_jaxpr(call)([jax.ShapeDtypeStruct(*leaf) for leaf in leaves])
        return re.sub(r"0x[0-9a-f]+", "", str(traced.jaxpr)), [np.asarray(const) for const in traced.consts]

    (first, firsts), (second, seconds) = program(), program()
    return first == second and all(np.array_equal(*pair) for pair in zip(firsts, seconds, strict=True))


_PREDICTOR = "Pass training.predictor(net, params, state), say."
_RESCALE = "Scale the images into the bounds, or pass the bounds that they have."
