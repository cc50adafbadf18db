"""Deletion and insertion: how fast the class goes with the pixels that are said to matter, and how fast it comes."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import expect_count
from jaxcnn.classifier import LogitsFn
from jaxcnn.explain.baseline import baseline_of
from jaxcnn.explain.score import Target, expect_score, outcome, prepared
from jaxcnn.explain.trust.pixels import pixel_map, rank_of_pixels
from jaxcnn.variants import chunk_of, over_variants

__all__ = ["Curve", "deletion", "insertion"]


class Curve(NamedTuple):
    """What is left of a class by the fraction of pixels that were changed, and the area below that."""

    fraction: jax.Array  # (steps + 1,), from 0 to 1
    value: jax.Array  # (..., steps + 1)
    area: jax.Array  # (...), by the trapezoidal rule


def deletion(
    logits_fn: LogitsFn,
    x: jax.Array,
    attribution: jax.Array,
    target: Target,
    *,
    steps: int = 32,
    baseline: float | jax.Array | str = 0.0,
    score: str = "probability",
    chunk: int | None = None,
) -> Curve:
    """Return the curve of the target while the pixels go, those of the largest attribution first: small is good.

        value_t = p(target | x with its n_t first pixels replaced),   area = integral of value over n / (H W)

    Args:
        logits_fn: images (..., H, W, C) -> logits (..., classes).
        x: images (..., H, W, C), floating.
        attribution: (..., H, W, C), whose channels are summed, or (..., H, W). Larger is more important: pass
            `abs(gradient)` of a method whose sign tells something else. All channels of a pixel go together; of equal
            pixels the first in reading order goes first.
        target: a class, one for each image, or a function of the outputs, whose value then is what is drawn.
        steps: pixels go in so many equal parts, 1 to H W.
        baseline: what stands in their place: a number, an array that broadcasts to x, or "blur": the image blurred
            beyond recognition (a Gaussian with the deviation of an eighth of the longer side).
        score: "probability" after softmax, or "score" for the logit.
        chunk: steps at once; as many as suit the device unless given.

    Returns:
        A `Curve` of fractions (steps + 1,), values (..., steps + 1) and areas (...).

    Raises:
        ValueError: an attribution of another shape or with values that are not finite, steps, a score or a target
            out of range, a baseline that does not fit x.
        TypeError: x or the attribution is not floating.

    Source: Petsiuk, Das, Saenko 2018 (RISE), section 4.3. Images without pixels are unlike those that the net learned
    from; `road` is the measure that minds.
    """
    return _curve_of("deletion", logits_fn, x, attribution, target, baseline, steps, score, chunk)


def insertion(
    logits_fn: LogitsFn,
    x: jax.Array,
    attribution: jax.Array,
    target: Target,
    *,
    steps: int = 32,
    baseline: float | jax.Array | str = "blur",
    score: str = "probability",
    chunk: int | None = None,
) -> Curve:
    """Return the curve of the target while the pixels come, those of the largest attribution first: large is good.

        value_t = p(target | baseline with its n_t first pixels those of x),   area = integral of value over n / (H W)

    Args:
        logits_fn, x, attribution, target, steps, score, chunk: as for `deletion`.
        baseline: the image that the pixels come into, as for `deletion`.

    Returns:
        A `Curve`, as `deletion` does.

    Raises:
        ValueError, TypeError: as `deletion`.

    Source: Petsiuk, Das, Saenko 2018 (RISE), section 4.3, which begins with a blurred image.
    """
    return _curve_of("insertion", logits_fn, x, attribution, target, baseline, steps, score, chunk)


def _curve_of(
    where: str, logits_fn: Any, x: Any, attribution: Any, target: Any, baseline: Any, steps: int, score: str,
    chunk: int | None,
) -> Curve:  # fmt: skip
    logits_fn, x, target = prepared(where, logits_fn, x, target)
    maps = pixel_map(where, attribution, x)
    other = baseline_of(where, baseline, x)
    steps = expect_count(where, "steps", steps, most=maps.shape[-1] * maps.shape[-2])
    chunk = chunk_of(where, chunk, x)
    expect_score(where, score)
    before, after = (x, other) if where == "deletion" else (other, x)
    return _curve(logits_fn, before, after, maps, target, steps=steps, score=score, chunk=chunk)


@partial(jax.jit, static_argnames=("steps", "score", "chunk"))
def _curve(
    logits_fn: Any, before: jax.Array, after: jax.Array, maps: jax.Array, target: Any, *, steps: int, score: str,
    chunk: int,
) -> Curve:  # fmt: skip
    rank = rank_of_pixels(maps)[..., None]
    pixels = maps.shape[-1] * maps.shape[-2]
    counts = np.arange(steps + 1) * pixels // steps
    value = lambda count: outcome(logits_fn, jnp.where(rank < count, after, before), target, score)  # noqa: E731
    values = jnp.moveaxis(over_variants(value, jnp.asarray(counts, jnp.int32), chunk), 0, -1)
    fraction = jnp.asarray(counts / pixels, values.dtype)
    return Curve(fraction, values, jnp.trapezoid(values, fraction, axis=-1))
