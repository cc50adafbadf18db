"""What an attack is given: refused with a sentence unless a net, images and classes fit one another."""

import functools
import re
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.attack.goal import Bounds, Goal, image_axes
from jaxcnn.checking import expect, floating, is_number, shown
from jaxcnn.classifier import LogitsFn, as_tree, classes, expect_logits, logits_of, outputs, outputs_like

__all__ = [
    "broadcasts",
    "epsilons",
    "expect_bounds",
    "expect_finite",
    "expect_function",
    "expect_inside",
    "expect_maps",
    "expect_no_probabilities",
    "expect_radius",
    "is_trusted",
    "prepared",
    "repeated",
    "trusted",
]


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
    expect_function(where, logits_fn)
    logits_fn = as_tree(logits_fn)
    low, high = expect_bounds(where, bounds)
    shape = expect_logits(where, outputs_like(where, logits_fn, x), x, "Attacks are of classifiers.")
    expect(shape[-1] > 1, where, "logits of at least 2 classes", f"{shape[-1]}", "A net of one class cannot err.")
    label = jnp.broadcast_to(classes(where, "y", y, shape), shape[:-1])
    if target is not None:
        target = jnp.broadcast_to(classes(where, "target", target, shape), shape[:-1])
    known = not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((logits_fn, x)))
    if known and not is_trusted(logits_fn):
        expect_inside(where, x, (low, high))
        _expect_classifier(where, logits_fn, x, decision)
    return logits_fn, x, Goal(label, target), (low, high)


def broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    """Return whether arrays of one shape broadcast to another one as it is."""
    return len(shape) <= len(to) and all(n in (1, m) for n, m in zip(shape[::-1], to[::-1], strict=False))


def expect_bounds(where: str, bounds: Any) -> Bounds:
    """Return the bounds as Python floats; raise `ValueError` unless they are two, the lesser first."""
    pair = isinstance(bounds, Sequence) and len(bounds) == 2 and all(map(is_number, bounds))
    ok = pair and -np.inf < float(bounds[0]) < float(bounds[1]) < np.inf
    expect(ok, where, "bounds as (least, largest) value of a pixel", shown(bounds), "Pass bounds=(0.0, 1.0), say.")
    return float(bounds[0]), float(bounds[1])


def expect_function(where: str, logits_fn: Any) -> None:
    """Raise `TypeError` unless it can be called."""
    fix = "Pass training.predictor(net, params, state), say."
    expect(callable(logits_fn), where, "logits_fn as a function of images", shown(logits_fn), fix, TypeError)


def expect_inside(where: str, x: jax.Array, bounds: Bounds) -> None:
    """Raise `ValueError` unless known images are within the bounds; NaN never is."""
    held = np.asarray(x)
    inside = bool(np.all((held >= bounds[0]) & (held <= bounds[1])))
    got = f"values from {held.min()} to {held.max()}" if held.size else "none"
    fix = "Scale the images into the bounds, or pass the bounds that they have."
    expect(inside, where, f"images within bounds=({bounds[0]}, {bounds[1]})", got, fix)


def expect_maps(where: str, x: jax.Array, goal: Goal) -> int:
    """Return how many images x holds; raise `ValueError` unless each is (H, W, C) with a pixel."""
    ok = len(image_axes(x, goal)) == 3 and min(x.shape[-3:]) > 0
    fix = "Pass images, not vectors."
    expect(ok, where, "x of shape (..., H, W, C), a row of logits for each (H, W, C)", x.shape, fix)
    return goal.label.size


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


def epsilons(where: str, epsilon: Any, norm: str, bounds: Bounds) -> jax.Array:
    """Return how far an attack may go as a float32 array of any shape; raise `ValueError` unless all are >= 0.

    What is known to be more than `expect_radius` allows is refused, too.
    """
    fix = "Pass epsilon=8 / 255, or an array of several: it has the unit of the pixels."
    ok = is_number(epsilon) or hasattr(epsilon, "dtype") or isinstance(epsilon, Sequence)
    expect(ok and not isinstance(epsilon, str), where, "epsilon as a number or an array", shown(epsilon), fix)
    if not isinstance(epsilon, jax.core.Tracer):
        held = np.asarray(epsilon)
        real = any(jnp.issubdtype(held.dtype, kind) for kind in (jnp.floating, jnp.integer))
        held = held.astype(np.float64) if real else held
        ok = real and held.size > 0 and bool(np.all((held >= 0) & np.isfinite(held)))
        expect(ok, where, "epsilon >= 0", shown(held.tolist()), fix)
        expect_radius(where, float(held.max()), norm, bounds)
    return jnp.asarray(epsilon, jnp.float32)


def expect_radius(where: str, epsilon: float, norm: str, bounds: Bounds) -> None:
    """Raise `ValueError` where a value may change by more than the bounds are apart: epsilon has another unit then."""
    width = bounds[1] - bounds[0]
    fix = "It has the unit of the pixels: of those from 0 to 1 pass 8 / 255, say."
    ok = norm != "linf" or epsilon <= width * (1 + 1e-6)  # but for rounding
    expect(ok, where, f"epsilon of at most {width:g}, the width of the bounds", f"{epsilon:g}", fix)


def expect_finite(where: str, finite: jax.Array) -> None:
    """Raise `ValueError` where it is known that gradients were not all `finite`: no attack can follow those."""
    if not isinstance(finite, jax.core.Tracer):
        fix = "Attack it without gradients: attack.square, say."
        expect(bool(np.all(np.asarray(finite))), where, "finite gradients", "infinite or NaN ones", fix)


def expect_no_probabilities(where: str, found: np.ndarray) -> None:
    """Raise `ValueError` where known outputs are probabilities."""
    probable = found.size > 0 and bool(np.all(found >= 0)) and bool(np.all(np.abs(found.sum(-1) - 1) < 1e-3))
    fix = "Pass logits: leave out the softmax, or take lambda x: jax.numpy.log(probabilities(x))."
    expect(not probable, where, "logits", "probabilities", fix)


def _expect_classifier(where: str, logits_fn: jax.tree_util.Partial, x: jax.Array, decision: bool) -> None:
    """Raise `ValueError` where the function is random, or gives NaN or probabilities to an attack that needs logits."""
    found = repeated(logits_fn, x)
    fix = "Average over the randomness inside of logits_fn, and pass it a key of its own."
    expect(found is not None, where, "logits_fn to give the same logits twice", "others", fix)
    if not decision and found is not None:  # to a decision alone, NaN is an error like any other
        fix = "Look at the net's weights, or at the classes and regions that a score is asked about."
        expect(not np.isnan(found).any(), where, "logits that are numbers", "NaN", fix)
        expect_no_probabilities(where, found)


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
