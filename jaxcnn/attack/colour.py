"""Changes of colour that fool a net: other light, found by gradients, and other hues, found by trying."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn import augment
from jaxcnn.attack.given import expect_maps, prepared
from jaxcnn.attack.goal import Bounds, logits, margin
from jaxcnn.attack.worst_of_k import worst_draw
from jaxcnn.augment.colour import expect_colours
from jaxcnn.augment.options import interval
from jaxcnn.checking import expect, expect_count, floating, number, scalar
from jaxcnn.classifier import LogitsFn

__all__ = ["colour_jitter", "colour_shift"]


def colour_shift(
    logits_fn: LogitsFn,
    x: jax.Array,
    y: Any,
    *,
    max_gain: float = 0.2,
    max_offset: float = 0.1,
    steps: int = 20,
    target: Any = None,
    bounds: Bounds = (0.0, 1.0),
) -> jax.Array:
    """Return images in another light: a gain and an offset for each channel, one for all pixels, that fool the net.

        x'_c = clip(low + (1 + g_c) (x_c - low) + o_c),    |g_c| <= max_gain,    |o_c| <= max_offset

    Of each image the margin of the net is descended in its 2 C numbers, by steps of 2 / `steps` of the limits along
    the signs of its gradient, from g = o = 0 on, and the best that was met is given.

    Args:
        logits_fn: images -> logits.
        x: images (..., H, W, C), within the bounds.
        y: their true classes, one for all or one each.
        max_gain: how much brighter or darker a channel may be, as a fraction, in [0, 1].
        max_offset: how much may be added to a channel, in the unit of the pixels, at least 0.
        steps: gradients.
        target: the classes that are wanted, or None for any but y.
        bounds: the least, "low", and the largest value of a pixel.

    Returns:
        Images of x's shape.

    Raises:
        ValueError: a limit out of range, steps below 1, images that are no maps or out of bounds, classes that are
            none.
        TypeError: x is not floating.

    Source: the semantic adversarial examples of Hosseini and Poovendran 2018, by the diagonal model of von Kries of
    what light does to colours, which has gradients; the ascent is that of Madry et al. 2018 in g and o.
    """
    where = "colour_shift"
    logits_fn, x, goal, bounds = prepared(where, logits_fn, x, y, target=target, bounds=bounds)
    expect_maps(where, x, goal)
    gain = scalar(where, "max_gain in [0, 1]", max_gain, lambda g: 0 <= g <= 1, "It is a fraction: 0.2, say.")
    fix = "It has the unit of the pixels: 0.1, say."
    offset = scalar(where, "max_offset of at least 0", max_offset, lambda o: 0 <= o < math.inf, fix)
    return _shifted(logits_fn, x, goal, gain, offset, steps=expect_count(where, "steps", steps), bounds=bounds)


@functools.partial(jax.jit, static_argnames=("steps", "bounds"))
def _shifted(logits_fn, x: jax.Array, goal, gain, offset, *, steps: int, bounds: Bounds) -> jax.Array:
    low, high = bounds
    lead = goal.label.shape

    def light(way: jax.Array) -> jax.Array:
        """`way` (..., 2, C) in [-1, 1]: gains and offsets as fractions of their limits."""
        gains, offsets = (a[..., None, None, :] for a in (gain * way[..., 0, :], offset * way[..., 1, :]))
        return jnp.clip(x + (gains * (x - low) + offsets), low, high).astype(x.dtype)

    def missed(way: jax.Array) -> tuple[jax.Array, jax.Array]:
        by = margin(logits(logits_fn, light(way)), goal)
        return by.sum(), by

    def step(carry: tuple, _: None) -> tuple[tuple, None]:
        way, best, least = carry
        (_, by), slope = jax.value_and_grad(missed, has_aux=True)(way)
        better = by < least
        best, least = jnp.where(better[..., None, None], way, best), jnp.where(better, by, least)
        slope = jnp.where(jnp.isfinite(slope), slope, 0)
        return (jnp.clip(way - 2 / steps * jnp.sign(slope), -1, 1), best, least), None

    start = jnp.zeros((*lead, 2, x.shape[-1]), jnp.float32)
    (way, best, least), _ = jax.lax.scan(step, (start, start, jnp.full(lead, jnp.inf)), length=steps)
    _, last = missed(way)
    return light(jnp.where((last < least)[..., None, None], way, best))


def colour_jitter(
    key: jax.Array,
    logits_fn: LogitsFn,
    x: jax.Array,
    y: Any,
    *,
    max_hue: float = 0.5,
    saturation: tuple[float, float] = (0.0, 2.0),
    max_brightness: float = 0.0,
    samples: int = 100,
    target: Any = None,
    bounds: Bounds = (0.0, 1.0),
    chunk: int | None = None,
) -> jax.Array:
    """Return images in other colours, shapes as they are: the worst of k random hues and saturations of each.

    The hues of all pixels are turned by one angle, then their differences from grey multiplied by one factor, then one
    amount is added (`augment.hue`, `saturation`, `brightness`); what fools most is kept, as by `worst_of_k`.

    Args:
        key: a PRNG key; each image has draws of its own.
        logits_fn: images -> logits.
        x: images (..., H, W, 3), within the bounds, red, green and blue; of grey ones (..., H, W, 1) the brightness
            alone changes.
        y: their true classes, one for all or one each.
        max_hue: the largest turn of the hues either way, in turns, in [0, 0.5].
        saturation: the interval (low, high) of the factor, low >= 0: 0 leaves the grey image, 1 it as it is.
        max_brightness: the largest amount added or taken, bounds being 0 and 1.
        samples: k, forward passes.
        target: the classes that are wanted, or None for any but y.
        bounds: the least and the largest value of a pixel.
        chunk: draws at once: memory for `chunk` times x. As many as are fast unless given.

    Returns:
        Images of x's shape; x itself where nothing is worse.

    Raises:
        ValueError: a limit out of range, samples below 1, neither 1 nor 3 channels, images out of bounds, classes that
            are none.
        TypeError: no key, x is not floating.

    Source: Hosseini and Poovendran 2018, algorithm 1, which draws up to 1000 times until the net errs, with small
    changes of saturation first.
    """
    where = "colour_jitter"
    x = floating(where, "x", x)
    expect(x.ndim >= 3, where, "x of shape (..., H, W, C)", x.shape, "Pass images, not vectors.")
    expect_colours(where, x)
    turn = number(where, "max_hue in [0, 0.5]", max_hue, lambda d: 0 <= d <= 0.5, "Pass turns: degrees divided by 360.")
    low, high = interval(where, "saturation", saturation)
    fix = "1 leaves colours as they are: pass (0.5, 2.0), say."
    expect(low >= 0, where, "saturation of at least 0", (low, high), fix)
    fix = "Pass a fraction of the range of the pixels."
    light = number(where, "max_brightness in [0, 1]", max_brightness, lambda b: 0 <= b <= 1, fix)
    return worst_draw(where, key, logits_fn, x, y, _jitter(turn, (low, high), light), samples, target, bounds, chunk)


@functools.lru_cache(maxsize=64)
def _jitter(hue: float, saturation: tuple[float, float], brightness: float) -> Callable:
    """Return one and the same function of the same limits, so that nothing is compiled again."""
    return augment.compose(
        functools.partial(augment.hue, delta=hue),
        functools.partial(augment.saturation, factor=saturation),
        functools.partial(augment.brightness, delta=brightness),
    )
