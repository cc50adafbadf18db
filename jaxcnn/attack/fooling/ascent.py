"""Gradient ascent to images that a net is sure of."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn.attack.fooling.fooled import Fooled, fooled, log_odds, prepared_spec
from jaxcnn.attack.given import broadcasts, expect_finite
from jaxcnn.attack.goal import Bounds, Goal
from jaxcnn.attack.objective import climbing, cross_entropy
from jaxcnn.checking import array, expect, expect_count, expect_key, scalar
from jaxcnn.classifier import LogitsFn
from jaxcnn.variants import chunk_of, over_variants

__all__ = ["ascent"]


def ascent(
    key: jax.Array,
    logits_fn: LogitsFn,
    spec: Any,
    *,
    classes: Any = None,
    confidence: float = 0.999,
    steps: int = 200,
    step_size: float = 0.02,
    start: Any = "noise",
    penalty: float = 0.0,
    bounds: Bounds = (0.0, 1.0),
    chunk: int | None = None,
) -> Fooled:
    """Return an image for each class of which the net is sure, by gradient ascent from noise.

    x <- clip(x + step_size (high - low) g / rms(g)),   g = d/dx (log p_k(x) - penalty mean((x - x_0)^2)),   where g
    is 0 for pixels that would leave the bounds.

    All classes climb side by side in one program. An image that has reached the confidence stays as it is; when all
    have, it ends. What was reached is looked at again: `.confidence`, `.above(0.99)`.

    Args:
        key: a PRNG key, of the noise.
        logits_fn: images (..., H, W, C) -> logits (..., classes).
        spec: of the images, the batch axis included, floating: `train.spec`, or an array of such images.
        classes: those that images are wanted of, (n,), perhaps some more than once; all unless given.
        confidence: the probability at which an image's climb ends, between 0 and 1. More than 0.99, so that as much is
            left when the image is rounded to 8 bits.
        steps: at most, at least 1.
        step_size: how far the pixels go in a step, root of the mean square, as a fraction of what the bounds span, > 0.
        start: "noise" (uniform within the bounds); or what broadcasts to the images (n, H, W, C): 0.0, or a mean image.
        penalty: weight of the mean squared distance from where the image began, >= 0; with start=0.0 it prefers dark
            images.
        bounds: the least and the largest value of a pixel.
        chunk: classes at once: memory for the gradients of so many images. As many as are fast unless given.

    Returns:
        `Fooled`: images (n, H, W, C), their confidence, and its history (1 + steps, n).

    Raises:
        ValueError: an option out of range, classes that are none, probabilities in the place of logits, a random
            function, gradients or logits that are not finite.
        TypeError: no key, a spec that is none or not floating.

    Source: Nguyen, Yosinski, Clune 2015, "Deep neural networks are easily fooled", section 3.4; there the step is the
    gradient of p_k itself, which vanishes where the net is sure of another class, and start is the mean image.
    """
    where = "ascent"
    expect_key(where, key)
    logits_fn, spec, classes, bounds = prepared_spec(where, logits_fn, spec, classes, bounds)
    steps = expect_count(where, "steps", steps)
    fix = "0.999, say, is sure enough to be so after rounding."
    confidence = scalar(where, "confidence between 0 and 1", confidence, lambda p: 0 < p < 1, fix)
    fix = "0.02 moves each pixel by 2 % of its range."
    step_size = scalar(where, "step_size above 0", step_size, lambda s: 0 < s < float("inf"), fix)
    fix = "0.0 has none."
    penalty = scalar(where, "penalty of at least 0", penalty, lambda w: 0 <= w < float("inf"), fix)
    shape = (len(classes), *spec.shape[1:])
    begin = None if isinstance(start, str) and start == "noise" else _start(where, start, shape, spec.dtype, bounds)
    chunk = chunk_of(where, chunk, spec)
    images, history, finite = _run(
        key, logits_fn, classes, begin, confidence, step_size, penalty,
        shape=shape, dtype=spec.dtype, steps=steps, bounds=bounds, chunk=chunk,
    )  # fmt: skip
    expect_finite(where, finite)
    return fooled(where, logits_fn, images, classes, history, chunk)


@functools.partial(jax.jit, static_argnames=("shape", "dtype", "steps", "bounds", "chunk"))
def _run(
    key, logits_fn, classes: jax.Array, begin: jax.Array | None, confidence, step_size, penalty, *,
    shape: tuple[int, ...], dtype: Any, steps: int, bounds: Bounds, chunk: int,
) -> tuple[jax.Array, jax.Array, jax.Array]:  # fmt: skip
    low, high = bounds
    if begin is None:
        begin = jax.random.uniform(key, shape, dtype, low, high)
    enough = jnp.log(confidence) - jnp.log1p(-confidence) + MARGIN

    def moved(x: jax.Array, slope: jax.Array, first: jax.Array) -> jax.Array:
        slope -= (2 * penalty / x.size * (x - first)).astype(x.dtype)
        slope = jnp.where((slope < 0) & (x <= low) | (slope > 0) & (x >= high), 0, slope)
        largest = jnp.abs(slope).max()
        unit = slope / jnp.where(largest == 0, 1, largest)
        size = jnp.sqrt(jnp.mean(jnp.square(unit), dtype=jnp.float32))
        step = step_size * (high - low) * unit / jnp.where(size == 0, 1, size)
        return jnp.clip(x + step.astype(x.dtype), low, high)

    def climb(variant: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        wanted, first = variant
        goal, first = Goal(wanted[None], wanted[None]), first[None]

        def on(carry: Any) -> jax.Array:
            step, _, _, sure, _, finite = carry
            return (step <= steps) & (sure < enough) & finite

        def step(carry: Any) -> Any:
            step, x, slope, _, history, _ = carry
            x = moved(x, slope, first)  # at first nowhere: then it is only looked at
            found, _, slope = climbing(logits_fn, x, goal, cross_entropy)
            sure = log_odds(found)[0, wanted].astype(jnp.float32)
            finite = jnp.isfinite(slope).all() & ~jnp.isnan(sure)
            return step + 1, x, slope, sure, history.at[step].set(sure), finite

        carry = 0, first, jnp.zeros_like(first), jnp.float32(-jnp.inf), jnp.zeros(steps + 1), jnp.bool(True)
        taken, x, _, sure, history, finite = jax.lax.while_loop(on, step, carry)
        return x[0], jnp.where(jnp.arange(steps + 1) < taken, history, sure), finite

    images, history, finite = over_variants(climb, (classes, begin), chunk)
    return images, jax.nn.sigmoid(history).T, finite.all()


def _start(where: str, start: Any, shape: tuple[int, ...], dtype: Any, bounds: Bounds) -> jax.Array:
    """Return the images to begin with."""
    fix = 'Pass "noise", a number, or an array that broadcasts to the images.'
    expect(not isinstance(start, str), where, "start as 'noise', a number or images", start, fix)
    start = array(where, "start", start)
    expect(broadcasts(start.shape, shape), where, f"start that broadcasts to {shape}", start.shape, fix)
    if not isinstance(start, jax.core.Tracer):
        inside = bool(jnp.all((start >= bounds[0]) & (start <= bounds[1])))
        expect(inside, where, f"start within bounds={bounds}", "others", "Scale it into the bounds.")
    return jnp.broadcast_to(start, shape).astype(dtype)


MARGIN = 0.01  # of log-odds: another program, which rounds otherwise, is to find the image as sure
