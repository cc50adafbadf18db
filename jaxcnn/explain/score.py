"""The number that an explanation is about: what a net gives one class of one image."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import expect, expect_choice, floating, shown
from jaxcnn.classifier import LogitsFn, as_tree, classes, expect_logits, logits_of, most_axes, outputs_like

__all__ = [
    "Target",
    "class_scores",
    "expect_score",
    "image_axes",
    "outcome",
    "prepared",
    "score",
    "score_gradient",
]

SCORES = ("probability", "score")

Target = int | jax.Array | np.ndarray | Callable[[Any], jax.Array]
"""Whose score is explained: a class for all images, one for each, or a function of the outputs -> scores (...)."""


def prepared(where: str, logits_fn: LogitsFn, x: Any, target: Target) -> tuple[Any, jax.Array, Any]:
    """Return the three as arguments of a jitted function; raise an error unless they fit one another.

    A function becomes a `jax.tree_util.Partial`, which `jit` takes: compiled again for another function, not for other
    weights inside of `training.predictor`'s, nor for another target.
    """
    x = floating(where, "x", x)
    expect(callable(logits_fn), where, "logits_fn as a function of images", logits_fn, _PREDICTOR, TypeError)
    logits_fn = as_tree(logits_fn)
    given = outputs_like(where, logits_fn, x)
    if callable(target):
        target = as_tree(target)
        # Not as an argument, which would be traced: what a target holds is known here, and can be looked at.
        scores = jax.eval_shape(lambda given: target(given), given)
        shape = getattr(scores, "shape", None)
        ok = shape is not None and len(shape) <= most_axes(x) and x.shape[: len(shape)] == shape
        ok = ok and jnp.issubdtype(scores.dtype, jnp.floating)
        expect(ok, where, "a target that gives one score an image", shown(scores), "Sum over the outputs' other axes.")
        return logits_fn, x, target
    fix = "Pass a function of the outputs as target, such as lambda y: y[..., 3].mean((-2, -1))."
    shape = expect_logits(where, given, x, fix)
    return logits_fn, x, classes(where, "target", target, shape, "a class, an array of classes, or a function")


def score(logits_fn: LogitsFn, x: jax.Array, target: Any) -> jax.Array:
    """Return the score (...) of each image, of arguments that `prepared` has seen."""
    return class_scores(logits_fn(x), target)


def class_scores(outputs: Any, target: Any) -> jax.Array:
    """Return the score (...) of each image, read from the net's outputs."""
    if callable(target):
        return target(outputs)
    logits = logits_of(outputs)
    at = jnp.broadcast_to(target, logits.shape[:-1])[..., None]
    return jnp.take_along_axis(logits, at, axis=-1)[..., 0]


def outcome(logits_fn: LogitsFn, x: jax.Array, target: Any, score: str) -> jax.Array:
    """Return the probability or the score (...) of the target; a function of the outputs counts as it is."""
    outputs = logits_fn(x)
    if score == "probability" and not callable(target):
        outputs = jax.tree.map(jax.nn.softmax, outputs)
    return class_scores(outputs, target)


def expect_score(where: str, score: Any) -> None:
    """Raise `ValueError` unless `score` says what is measured."""
    expect_choice(where, f"score as one of {SCORES}", score, SCORES)


def score_gradient(logits_fn: LogitsFn, x: jax.Array, target: Any) -> tuple[jax.Array, jax.Array]:
    """Return the scores (...) and their gradient, of x's shape: each image's own, as no image sees another."""

    def total(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        scores = score(logits_fn, x, target)
        return scores.sum(), scores

    (_, scores), slope = jax.value_and_grad(total, has_aux=True)(x)
    return scores, slope


def image_axes(logits_fn: LogitsFn, x: jax.Array, target: Any) -> tuple[int, ...]:
    """Return the axes of x that are one image's: those behind the axes that the scores have."""
    return tuple(range(len(jax.eval_shape(score, logits_fn, x, target).shape), x.ndim))


_PREDICTOR = "Pass training.predictor(net, params, state), say."
