"""Adversarial patches: a small picture that makes a net see its class wherever it lies in an image, and how it lies."""

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxcnn.attack.given import expect_bounds
from jaxcnn.attack.goal import Bounds
from jaxcnn.attack.universal import clamped_loss, prepared_set, shuffled
from jaxcnn.augment.affine import linear_motion, turn_matrix
from jaxcnn.augment.options import Outside, interval
from jaxcnn.checking import expect, expect_choice, expect_count, expect_key, floating, scalar
from jaxcnn.classifier import LogitsFn

__all__ = ["Patch", "adversarial_patch", "paste"]

SHAPES = ("circle", "square")
NOTHING = Outside("constant", 0.0, 0)
CLAMP = 9.0  # nats: of an image that is fooled as well as that the loss no longer counts

Interval = float | tuple[float, float]


class Patch(NamedTuple):
    """A picture to paste into images."""

    values: jax.Array  # (size, size, C), within the bounds
    mask: jax.Array  # (size, size, 1), 1 where it hides what is behind it, 0 where nothing of it is


def adversarial_patch(
    key: jax.Array,
    logits_fn: LogitsFn,
    x: jax.Array,
    y: Any,
    *,
    target: Any = None,
    size: int,
    shape: str = "circle",
    degrees: Interval = 22.5,
    factor: tuple[float, float] = (0.9, 1.1),
    steps: int = 500,
    batch_size: int = 32,
    learning_rate: float = 0.05,
    bounds: Bounds = (0.0, 1.0),
) -> Patch:
    """Return the patch that makes the net see the target, wherever it is pasted into whatever image.

        min over patches of the mean of L(f(paste(x, patch, t)), target)    over images x and places t

    with the cross-entropy L; without a target its own is to be seen no more. By Adam on the values of the patch, which
    are kept within the bounds; each step has a batch of images and a place, an angle and a zoom for each of them.

        patch = attack.adversarial_patch(key, logits_fn, train_images, train_labels, target=3, size=10)
        attack.judge(logits_fn, x, attack.paste(key, x, patch), y, target=3).success.mean()     # of images of others

    Args:
        key: a PRNG key.
        logits_fn: images -> logits, of any number of images.
        x: images (N, H, W, C), within the bounds; all are kept on the device.
        y: their true classes, one for all or one each.
        target: the class to be seen (or one for each image); None for any but y.
        size: pixels along each side of the patch, at most the image's.
        shape: "circle" or "square".
        degrees: the interval (low, high) of its angle; one number d stands for (-d, d).
        factor: the interval (low, high) of its zoom, low > 0; what is larger than the image is cut off.
        steps: gradients.
        batch_size: images of each, at most N.
        learning_rate: of Adam, as a fraction of the range of the pixels, above 0.
        bounds: the least and the largest value of a pixel.

    Returns:
        `Patch`, of x's dtype.

    Raises:
        ValueError: an option out of range, images out of bounds, classes that are none.
        TypeError: no key, x is not floating.

    Source: Brown et al. 2017, section 2 (the mean over transformations: Athalye et al. 2018).
    """
    where = "adversarial_patch"
    expect_key(where, key)
    logits_fn, x, goal, bounds, batch_size = prepared_set(
        where, logits_fn, x, y, target=target, bounds=bounds, batch_size=batch_size
    )
    expect_choice(where, f"shape as one of {SHAPES}", shape, SHAPES)
    size, steps = expect_count(where, "size", size, most=min(x.shape[1:3])), expect_count(where, "steps", steps)
    fix = "Pass 0.05, say: a fraction of the range of the pixels."
    learning_rate = scalar(where, "learning_rate above 0", learning_rate, lambda r: 0 < r < math.inf, fix)
    limits = _limits(where, degrees, factor)
    mask = jnp.asarray(_mask(size, shape), x.dtype)
    options = {"steps": steps, "batch_size": batch_size, "bounds": bounds}
    return Patch(_run(key, logits_fn, x, goal, mask, limits, learning_rate, **options), mask)


def paste(
    key: jax.Array,
    x: jax.Array,
    patch: Patch,
    *,
    degrees: Interval = 22.5,
    factor: tuple[float, float] = (0.9, 1.1),
    bounds: Bounds = (0.0, 1.0),
) -> jax.Array:
    """Return images with the patch pasted into each at a place, an angle and a zoom of its own.

        x' = (1 - m) x + m p,    p and m the patch and its mask, moved, bilinearly interpolated

    The place is uniform among those at which the whole patch (but for the corners of a turned square) is in the image.

    Args:
        key: a PRNG key.
        x: images (..., H, W, C), within the bounds.
        patch: what `adversarial_patch` gives, or any picture with a mask.
        degrees, factor: as for `adversarial_patch`.
        bounds: the least and the largest value of a pixel.

    Returns:
        Images of x's shape.

    Raises:
        ValueError: an option out of range, a patch of other channels than the images', or larger than they are.
        TypeError: no key, x is not floating.

    Source: Brown et al. 2017, section 2.
    """
    where = "paste"
    expect_key(where, key)
    bounds = expect_bounds(where, bounds)
    x = floating(where, "x", x)
    expect(x.ndim >= 3, where, "x of shape (..., H, W, C)", x.shape, "Pass maps.")
    shapes = tuple(getattr(part, "shape", ()) for part in patch) if isinstance(patch, tuple) else ()
    side = shapes[0][0] if len(shapes) == 2 and len(shapes[0]) == 3 else 0
    ok = shapes == ((side, side, x.shape[-1]), (side, side, 1)) and 0 < side <= min(x.shape[-3:-1])
    what = f"a Patch of at most {min(x.shape[-3:-1])} pixels a side and {x.shape[-1]} channels"
    expect(ok, where, what, f"shapes {shapes}", "Pass what adversarial_patch gave for such images.")
    pasted = _pasted(key, x.reshape(-1, *x.shape[-3:]), patch, _limits(where, degrees, factor))
    return jnp.clip(pasted, *bounds).astype(x.dtype).reshape(x.shape)


@partial(jax.jit, static_argnames=("steps", "batch_size", "bounds"))
def _run(
    key, logits_fn, x: jax.Array, goal, mask: jax.Array, limits: jax.Array, learning_rate, *, steps: int,
    batch_size: int, bounds: Bounds,
) -> jax.Array:  # fmt: skip
    low, high = bounds
    order, moves = jax.random.split(key)
    adam = optax.adam(learning_rate * (high - low))

    def step(carry: tuple, at: tuple[jax.Array, jax.Array]) -> tuple[tuple, None]:
        values, memory = carry
        rows, key = at

        def loss(values: jax.Array) -> jax.Array:
            seen = _pasted(key, x[rows], Patch(values, mask), limits)
            return -clamped_loss(logits_fn, seen, goal.of(rows), CLAMP)

        slope = jax.grad(loss)(values)
        updates, memory = adam.update(jnp.where(jnp.isfinite(slope), slope, 0), memory)
        return (jnp.clip(values + updates, low, high), memory), None

    grey = jnp.full((*mask.shape[:2], x.shape[-1]), (low + high) / 2, x.dtype)
    batches = shuffled(order, len(x), steps, batch_size)
    return jax.lax.scan(step, (grey, adam.init(grey)), (batches, jax.random.split(moves, steps)))[0][0]


@jax.jit
def _pasted(key: jax.Array, x: jax.Array, patch: Patch, limits: jax.Array) -> jax.Array:
    """Return the images (N, H, W, C) with the patch, its angles and zooms within the limits."""
    height, width = x.shape[1:3]
    frame, side = jnp.array([height, width]), len(patch.mask)
    middle = (side - 1) / 2
    cut_out = jnp.concatenate([patch.values * patch.mask, patch.mask], -1)

    def one(draw: jax.Array, image: jax.Array) -> jax.Array:
        angle, zoom = limits[0] + (limits[1] - limits[0]) * draw[:2]
        room = jnp.maximum(frame - zoom * side, 0)
        place = (frame - 1) / 2 + room * (draw[2:] - 0.5)
        down, right = place - middle
        motion = linear_motion((height, width), turn_matrix(angle, zoom), (middle, middle), (down, right), NOTHING)
        moved = motion.pixels(cut_out)
        return (1 - moved[..., -1:]) * image + moved[..., :-1]

    return jax.vmap(one)(jax.random.uniform(key, (len(x), 4)), x)


def _mask(size: int, shape: str) -> np.ndarray:
    """Return 1 for the pixels (size, size, 1) whose centres lie in the shape, else 0."""
    away = np.arange(size) - (size - 1) / 2
    inside = away[:, None] ** 2 + away**2 <= size**2 / 4
    return np.where(inside | (shape == "square"), 1.0, 0.0)[..., None]


def _limits(where: str, degrees: Any, factor: Any) -> jax.Array:
    """Return the least angle and zoom, and the largest."""
    turns, zooms = interval(where, "degrees", degrees), interval(where, "factor", factor)
    expect(zooms[0] > 0, where, "factor above 0", zooms, "Pass (low, high), 1 being the patch's own size.")
    return jnp.array([turns, zooms], jnp.float32).T
