"""DeepDream: an image with more of whatever a layer sees in it, at several sizes."""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn.checking import expect_count, expect_key, number
from jaxcnn.explain.maximization.objective import Objective, Seen, settled
from jaxcnn.explain.maximization.seeing import images_of, looking, seen_of
from jaxcnn.explain.values import expect_finite
from jaxcnn.layers.layer import Layer, Params, State

__all__ = ["deep_dream"]


def deep_dream(
    key: jax.Array,
    net: Layer,
    params: Params,
    state: State,
    x: jax.Array,
    objective: Objective,
    *,
    octaves: int = 3,
    octave_scale: float = 1.4,
    steps: int = 20,
    step_size: float = 0.01,
    jitter: float = 0.1,
) -> jax.Array:
    """Return the images after gradient ascent on their pixels, begun at a small size, its detail carried on to larger.

        x <- clip(x + step_size g / mean|g|, 0, 1),    g = d/dx objective(x)

    At each octave the image is its own, resized, plus what was changed so far, resized.

        deep_dream(key, net, params, state, photo, WholeLayer("stage2"))

    Args:
        key: a PRNG key: of the jitter.
        net, params, state: the trained net, which is applied with `train=False`; of a Sequential only what lies
            before the last layer that the objective reads, which takes images of any size if it is convolutional.
        x: images (..., H, W, C) in [0, 1]; small ones may be enlarged first by `jax.image.resize`.
        objective: such as `WholeLayer("stage2")`, or any that `maximize` takes; one that reads the outputs of a net
            for images of one size allows one octave.
        octaves: sizes, at least 1, the last one that of x.
        octave_scale: ratio of one size to the one before, above 1.
        steps: of the ascent at each size, at least 1.
        step_size: how far a pixel moves on average, in the images' unit, above 0.
        jitter: the largest move along each axis before each step, which is undone after it (what leaves on one side
            comes in at the other), as a fraction of the side, in [0, 1].

    Returns:
        Images (..., H, W, C) in [0, 1].

    Raises:
        ValueError: an unknown layer (the message has near ones), images out of [0, 1], an option out of range, an
            octave too small for the net, slopes that are not finite.

    Source: Mordvintsev, Olah, Tyka 2015, "Inceptionism", and the notebook that was published with it.
    """
    where = "deep_dream"
    expect_key(where, key)
    x = images_of(where, "x", x)
    octaves, steps = expect_count(where, "octaves", octaves), expect_count(where, "steps", steps)
    ratio = number(where, "octave_scale above 1", octave_scale, lambda s: 1 < s < math.inf, "Pass 1.4, say.")
    step_size = number(where, "step_size above 0", step_size, lambda s: 0 < s < math.inf, "Pass 0.01, say.")
    jitter = number(where, "jitter in [0, 1]", jitter, lambda j: 0 <= j <= 1, "Pass 0.1, say.")
    look, objective = looking(where, net, params, state, objective), settled(where, objective)
    height, width = x.shape[-3:-1]
    frames = [(round(height / ratio**k), round(width / ratio**k)) for k in range(octaves)][::-1]
    for frame in frames:
        spec = jax.ShapeDtypeStruct((*x.shape[:-3], *frame, x.shape[-1]), x.dtype)
        seen_of(where, look, objective, spec, fix="Use octaves=1, or an objective of an earlier layer")
    found = _dream(key, look, objective, x, step_size, frames=tuple(frames), steps=steps, jitter=jitter)
    return expect_finite(where, "the images", found)


@partial(jax.jit, static_argnames=("frames", "steps", "jitter"))
def _dream(
    key: jax.Array, look: Any, objective: Objective, x: jax.Array, step_size: jax.Array | float, *,
    frames: tuple[tuple[int, int], ...], steps: int, jitter: float,
) -> jax.Array:  # fmt: skip
    def score(images: jax.Array) -> jax.Array:
        return jnp.sum(jnp.broadcast_to(objective.scores(Seen(images, *look(images))), images.shape[:-3]))

    def step(images: jax.Array, key: jax.Array) -> tuple[jax.Array, None]:
        most = jnp.array([round(jitter * side) for side in images.shape[-3:-1]])
        move = jax.random.randint(key, (2,), -most, most + 1)
        slope = jnp.roll(jax.grad(score)(jnp.roll(images, move, (-3, -2))), -move, (-3, -2))
        size = jnp.mean(jnp.abs(slope), axis=(-3, -2, -1), keepdims=True)
        return jnp.clip(images + step_size * slope / jnp.where(size > 0, size, 1), 0, 1), None

    dreamt, detail = x, jnp.zeros((*x.shape[:-3], *frames[0], x.shape[-1]), x.dtype)
    for octave_key, frame in zip(jax.random.split(key, len(frames)), frames, strict=True):
        shape = (*x.shape[:-3], *frame, x.shape[-1])
        base = jax.image.resize(x, shape, "linear")
        dreamt = jnp.clip(base + jax.image.resize(detail, shape, "linear"), 0, 1)
        dreamt, _ = jax.lax.scan(step, dreamt, jax.random.split(octave_key, steps))
        detail = dreamt - base
    return dreamt
