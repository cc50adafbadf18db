"""Any net as a classifier of two classes: is there what it is asked about? Every attack is then one on that."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn.attack.given import expect_function
from jaxcnn.attack.goal import wide
from jaxcnn.checking import array, expect, is_number, shown
from jaxcnn.classifier import LogitsFn, as_tree

__all__ = ["binary"]


def binary(logits_fn: LogitsFn, score: Callable[[Any], jax.Array], *, threshold: Any = 0.0) -> LogitsFn:
    """Return a net as a classifier of two classes: 1 where a score of its outputs is above a threshold, else 0.

    z = (-d / 2, d / 2),   d = score(logits_fn(x)) - threshold

        there = attack.binary(logits_fn, detection.object_score(boxes, stride=4), threshold=logit(0.3))
        attack.pgd(key, there, x, 1, epsilon=8 / 255)              # the object is not found any more
        there = attack.binary(logits_fn, segmentation.class_margin(label, region))
        attack.pgd(key, there, x, 1, epsilon=8 / 255)              # no pixel of the region has the class any more

    Args:
        logits_fn: images (..., H, W, C) -> outputs, of whatever task.
        score: outputs -> (...), one number an image; what is to fall, or, of class 0, to rise.
        threshold: a number, or one an image (...).

    Returns:
        Images (..., H, W, C) -> logits (..., 2), a pytree as `training.predictor`'s: compiled once for scores of other
        objects and other thresholds.

    Raises:
        TypeError: what is no function; from the call, a score that is not floating.
        ValueError: a threshold that is no number; from the call, not one score an image.

    Source: as Chow et al. 2020 put it for detectors: an object is there where its confidence is above a threshold.
    """
    where = "binary"
    expect_function(where, logits_fn)
    fix = "Pass detection.object_score(boxes, stride=4), say."
    expect(callable(score), where, "score as a function of outputs", shown(score), fix, TypeError)
    ok = is_number(threshold) or hasattr(threshold, "dtype")
    expect(ok, where, "threshold as a number, or an array of one an image", shown(threshold), "Pass 0.0, say.")
    return jax.tree_util.Partial(_binary, as_tree(logits_fn), as_tree(score), array(where, "threshold", threshold))


def _binary(logits_fn: LogitsFn, score: Callable[[Any], jax.Array], threshold: jax.Array, x: jax.Array) -> jax.Array:
    found = score(logits_fn(x))
    shape = getattr(found, "shape", None)
    ok = shape is not None and x.shape[: len(shape)] == shape and len(shape) < x.ndim
    ok = ok and jnp.issubdtype(found.dtype, jnp.floating)
    fix = "Sum over the outputs' other axes."
    expect(ok, "binary", "a score that gives one number an image", shown(found), fix)
    ok, fix = threshold.shape in ((), shape), "Pass one for all, or one an image."
    expect(ok, "binary", f"threshold of shape () or {shape}", threshold.shape, fix)
    half = (wide(found) - threshold) / 2
    return jnp.stack([-half, half], -1)
