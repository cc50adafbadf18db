"""One perturbation for all images: added to nearly any of them, also to those it was not made on, it fools the net."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn.attack.best import over_radii
from jaxcnn.attack.given import epsilons, expect_bounds, expect_inside, expect_maps, prepared
from jaxcnn.attack.goal import Bounds, Goal, logits
from jaxcnn.attack.norms import expect_norm, project, steepest
from jaxcnn.attack.objective import cross_entropy
from jaxcnn.checking import expect, expect_count, expect_key, floating, scalar
from jaxcnn.classifier import LogitsFn, classes, logits_of, outputs
from jaxcnn.variants import chunk_of

__all__ = ["apply_universal", "clamped_loss", "prepared_set", "shuffled", "universal"]


def universal(
    key: jax.Array,
    logits_fn: LogitsFn,
    x: jax.Array,
    y: Any,
    *,
    epsilon: Any,
    norm: str = "linf",
    steps: int = 500,
    batch_size: int = 128,
    clamp: float = 9.0,
    target: Any = None,
    bounds: Bounds = (0.0, 1.0),
    chunk: int | None = None,
) -> jax.Array:
    """Return one perturbation that fools the net on as many of the images as possible.

    d <- P(d + s_k epsilon g / ||g||),    g = d/dd mean over a batch of min(L(f(clip(x + d)), y), clamp)

    with the cross-entropy L, the sign of g for "linf", P the projection onto the ball and s_k falling evenly from 1/4
    to 0. Where the loss of an image is beyond `clamp`, it is fooled for good and no longer counts, so that none counts
    more than many.

        d = attack.universal(key, logits_fn, train_images, train_labels, epsilon=10 / 255)
        attack.judge(logits_fn, x, attack.apply_universal(x, d), y).success.mean()      # of images it has not seen

    Args:
        key: a PRNG key, of the order of the images.
        logits_fn: images -> logits, of any number of images.
        x: images (N, H, W, C), within the bounds; all are kept on the device.
        y: their true classes, one for all or one each.
        epsilon: the ball's radius, in the unit of the pixels; one, or an array of them.
        norm: "linf" or "l2".
        steps: gradients; the images come in a random order, and again in another.
        batch_size: images of each gradient, at most N.
        clamp: the largest loss of an image, in nats, above 0.
        target: the class that all images are to be taken for, or one for each; None for any but y.
        bounds: the least and the largest value of a pixel.
        chunk: epsilons at once: memory for `chunk` batches.

    Returns:
        The perturbation (H, W, C), or (*epsilon's axes, H, W, C), of x's dtype; 0 where epsilon is.

    Raises:
        ValueError: epsilon below 0 or for "linf" beyond the width of the bounds, another norm, counts below 1, no
            images, images out of bounds, classes that are none.
        TypeError: no key, x is not floating.

    Source: Shafahi et al. 2020, algorithm 2 and equation 3; the question is that of Moosavi-Dezfooli et al. 2017.
    """
    where = "universal"
    expect_key(where, key)
    expect_norm(where, norm, ("linf", "l2"))
    steps = expect_count(where, "steps", steps)
    clamp = scalar(where, "clamp above 0", clamp, lambda c: c > 0, "It is a cross-entropy in nats: 9.0, say.")
    logits_fn, x, goal, bounds, batch_size = prepared_set(
        where, logits_fn, x, y, target=target, bounds=bounds, batch_size=batch_size
    )
    epsilon = epsilons(where, epsilon, norm, bounds)
    options = {"steps": steps, "batch_size": batch_size, "chunk": chunk_of(where, chunk, x[:batch_size])}
    return _run(key, logits_fn, x, goal, epsilon, clamp, norm=norm, bounds=bounds, **options)


def apply_universal(x: jax.Array, perturbation: jax.Array, *, bounds: Bounds = (0.0, 1.0)) -> jax.Array:
    """Return images with the perturbation added, cut off at the bounds.

    Args:
        x: images (..., H, W, C), within the bounds.
        perturbation: (H, W, C), or several of them, (E..., H, W, C).
        bounds: the least and the largest value of a pixel.

    Returns:
        (..., H, W, C), or (E..., ..., H, W, C).

    Raises:
        ValueError: a perturbation of another shape than the images', bounds that are none.
    """
    where = "apply_universal"
    bounds = expect_bounds(where, bounds)
    x, perturbation = floating(where, "x", x), floating(where, "perturbation", perturbation)
    ok = x.ndim >= 3 and perturbation.shape[-3:] == x.shape[-3:]
    fix = "Pass what universal gave for such images."
    expect(ok, where, f"a perturbation (..., {', '.join(map(str, x.shape[-3:]))})", perturbation.shape, fix)
    several = perturbation.shape[:-3]
    added = perturbation.reshape(*several, *(1,) * (x.ndim - 3), *x.shape[-3:])
    return jnp.clip(x + added, *bounds).astype(x.dtype)


@partial(jax.jit, static_argnames=("norm", "steps", "batch_size", "bounds", "chunk"))
def _run(
    key, logits_fn, x: jax.Array, goal, epsilon: jax.Array, clamp, *, norm: str, steps: int, batch_size: int,
    bounds: Bounds, chunk: int,
) -> jax.Array:  # fmt: skip
    low, high = bounds
    batches = shuffled(key, len(x), steps, batch_size)
    origin, axes = jnp.zeros(x.shape[1:], x.dtype), (0, 1, 2)

    def made(epsilon: jax.Array) -> jax.Array:
        def step(held: jax.Array, at: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
            rows, pace = at
            x_now, now = x[rows], goal.of(rows)
            slope = jax.grad(lambda held: clamped_loss(logits_fn, jnp.clip(x_now + held, low, high), now, clamp))(held)
            moved = held + (epsilon * pace).astype(held.dtype) * steepest(slope, norm, axes)
            return project(moved, origin, epsilon, norm, (low - high, high - low), axes), None

        paces = 0.25 * (1 - jnp.arange(steps) / steps)
        return jax.lax.scan(step, origin, (batches, paces))[0]

    return over_radii(made, epsilon, chunk)


def clamped_loss(logits_fn: LogitsFn, x: jax.Array, goal: Goal, clamp: jax.Array | float) -> jax.Array:
    """Return the mean of the images' objectives, none above `clamp`."""
    return jnp.minimum(cross_entropy(logits(logits_fn, x), goal), clamp).mean()


def shuffled(key: jax.Array, count: int, steps: int, batch_size: int) -> jax.Array:
    """Return places (steps, batch_size): all `count` in a random order, then in another, and so on."""
    rounds = -(-steps * batch_size // count)
    orders = jax.vmap(lambda key: jax.random.permutation(key, count))(jax.random.split(key, rounds))
    return orders.reshape(-1)[: steps * batch_size].reshape(steps, batch_size)


def prepared_set(
    where: str, logits_fn: Any, x: Any, y: Any, *, target: Any, bounds: Any, batch_size: Any
) -> tuple[Any, jax.Array, Goal, Bounds, int]:
    """Return images and what belongs to them as `prepared` does, having shown the net one batch, and a batch's size."""
    x = floating(where, "x", x)
    ok = x.ndim == 4 and x.size > 0
    expect(ok, where, "x of shape (N, H, W, C) with a pixel", x.shape, "Pass images of the training set.")
    batch_size = min(expect_count(where, "batch_size", batch_size), len(x))
    rows = x[:batch_size]
    logits_fn, _, goal, bounds = prepared(where, logits_fn, rows, 0, bounds=bounds)
    expect_maps(where, rows, goal)
    if not isinstance(x, jax.core.Tracer):
        expect_inside(where, x, bounds)
    shape = (len(x), logits_of(outputs.eval_shape(logits_fn, rows)).shape[-1])
    of = lambda name, given: jnp.broadcast_to(classes(where, name, given, shape), shape[:1])  # noqa: E731
    goal = Goal(of("y", y), None if target is None else of("target", target))
    return logits_fn, x, goal, bounds, batch_size
