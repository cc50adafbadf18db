"""What the measures of trust agree on: one number a pixel, an order of pixels, and what stands where one is removed."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn.checking import array, expect, expect_choice, floating, shown
from jaxcnn.explain.score import LogitsFn, class_scores

__all__: list[str] = []

SCORES = ("probability", "score")


def pixel_map(where: str, attribution: Any, x: jax.Array | jax.ShapeDtypeStruct) -> jax.Array:
    """Return the attribution of each pixel, (..., H, W), summed over channels; raise an error unless it fits x."""
    attribution = floating(where, "attribution", attribution)
    shapes = (x.shape, x.shape[:-1], (*x.shape[:-1], 1))
    fix = "Enlarge smaller maps first: explain.grad_cam(..., upsample=True), say."
    what = f"an attribution of shape {x.shape} or {x.shape[:-1]}"
    expect(attribution.shape in shapes, where, what, attribution.shape, fix)
    expect_finite(where, "attribution", attribution)
    return attribution if attribution.ndim < x.ndim else attribution.sum(axis=-1)


def expect_finite(where: str, name: str, values: jax.Array) -> None:
    """Raise `ValueError` if values that are known are not all finite."""
    if not isinstance(values, jax.core.Tracer):
        lost = int((~jnp.isfinite(values)).sum())
        expect(lost == 0, where, f"finite values in {name}", f"{lost} that are not", "Look at the net's weights.")


def rank_of_pixels(maps: jax.Array) -> jax.Array:
    """Return the place of each pixel of (..., H, W) in the order from the largest on, 0 first, int32.

    Of equal ones the first in reading order comes first.
    """
    flat = maps.reshape(*maps.shape[:-2], -1)
    order = jnp.argsort(flat, axis=-1, stable=True, descending=True)
    return jnp.argsort(order, axis=-1).astype(jnp.int32).reshape(maps.shape)


def baseline_of(where: str, baseline: Any, x: jax.Array) -> jax.Array:
    """Return what stands in the place of removed pixels, of x's shape: a number, an array, or "blur"."""
    what = 'baseline as a number, an array that fits x, or "blur"'
    if isinstance(baseline, str):
        expect_choice(where, what, baseline, ("blur",))
        return blurred(x)
    given = array(where, "baseline", baseline)
    ends = x.shape[x.ndim - given.ndim :] if given.ndim <= x.ndim else None
    ok = ends is not None and all(g in (1, n) for g, n in zip(given.shape, ends, strict=True))
    expect(ok, where, what, shown(given), f"x is of shape {x.shape}.")
    return jnp.broadcast_to(given.astype(x.dtype), x.shape)


@jax.jit
def blurred(x: jax.Array) -> jax.Array:
    """Return the images (..., H, W, C) as a Gaussian with the deviation of an eighth of the longer side leaves them."""
    height, width = x.shape[-3:-1]
    rows, columns = (_smoothing(side, max(height, width) / 8).astype(x.dtype) for side in (height, width))
    return jnp.einsum("hi,...ijc,wj->...hwc", rows, x, columns)


def outcome(logits_fn: LogitsFn, x: jax.Array, target: Any, score: str) -> jax.Array:
    """Return the probability or the score (...) of the target; a function of the outputs counts as it is."""
    outputs = logits_fn(x)
    if score == "probability" and not callable(target):
        outputs = jax.tree.map(jax.nn.softmax, outputs)
    return class_scores(outputs, target)


def expect_score(where: str, score: Any) -> None:
    """Raise `ValueError` unless `score` says what is measured."""
    expect_choice(where, f"score as one of {SCORES}", score, SCORES)


def _smoothing(size: int, deviation: float) -> jax.Array:
    """Return the matrix of the blur along one axis, in which what lies outside of the image does not count."""
    apart = jnp.arange(size)[:, None] - jnp.arange(size)
    weights = jnp.exp(-(apart**2) / (2 * deviation**2))
    return weights / weights.sum(axis=1, keepdims=True)
