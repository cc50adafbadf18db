"""DeepFool: over the nearest boundary of a net that is taken for linear, again and again."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn.attack.given import prepared
from jaxcnn.attack.goal import Bounds, Goal, image_axes, logits, per_image, rivals, wide
from jaxcnn.attack.hyperplane import DUAL, nearest_plane
from jaxcnn.attack.norms import expect_norm, size, steepest
from jaxcnn.attack.smallest import clearly_reached, slack
from jaxcnn.checking import expect_count, scalar
from jaxcnn.classifier import LogitsFn
from jaxcnn.variants import chunk_of

__all__ = ["deepfool"]

BEYOND = 1e-4  # a step's additional length, as a fraction of the bounds' width


def deepfool(
    logits_fn: LogitsFn,
    x: jax.Array,
    y: Any,
    *,
    norm: str = "l2",
    steps: int = 50,
    overshoot: float = 0.02,
    candidates: int = 10,
    target: Any = None,
    bounds: Bounds = (0.0, 1.0),
    chunk: int | None = None,
) -> jax.Array:
    """Return images a little beyond the nearest decision boundary, a few steps away.

    x_i+1 = clip(x + (1 + overshoot) sum_{j <= i} d_j), with d the shortest step onto the nearest plane z_k = z_y of the
    net's linear model at x_i, k over the candidates: d = |f| w / ||w||_2^2 in L2 and |f| sign(w) / ||w||_1 in L-inf,
    where f = z_k - z_y has the gradient w. Each is longer by 1e-4 of the bounds' width: where pixels are clipped, the
    steps would end on the boundary.

    Args:
        logits_fn: images (..., H, W, C) -> logits (..., classes).
        x: images (..., H, W, C), floating, within the bounds.
        y: their true classes, one for all or one each.
        norm: "l2" or "linf", in which the steps are short.
        steps: at most so many; the loop ends when every image is over.
        overshoot: how much farther than the planes, as a fraction: of a linear net the result is so much too large.
        candidates: the classes that are looked at, those with the largest logits at x, y among them, at least 2; each
            costs a gradient a step.
        target: the classes that are wanted instead, or None for any other.
        bounds: the least and the largest value of a pixel.
        chunk: gradients at once: memory for `chunk` times x. As many as are fast unless given.

    Returns:
        Adversarial images of x's shape, by more than rounding over the boundary; x itself where none was reached, and
        where the net errs without help.

    Raises:
        ValueError: another norm, an option out of range, images out of bounds, classes that are none.
        TypeError: x is not floating.

    Source: Moosavi-Dezfooli, Fawzi, Frossard 2016, algorithm 2 and section 3.3; agrees with
    `foolbox.attacks.L2DeepFoolAttack` and `LinfDeepFoolAttack`. (A target's plane is that of its best rival.)
    """
    where = "deepfool"
    logits_fn, x, goal, bounds = prepared(where, logits_fn, x, y, target=target, bounds=bounds)
    expect_norm(where, norm, ("l2", "linf"))
    overshoot = scalar(where, "overshoot >= 0", overshoot, lambda a: a >= 0, "Pass overshoot=0.02, say.")
    options = {"steps": expect_count(where, "steps", steps), "chunk": chunk_of(where, chunk, x)}
    candidates = expect_count(where, "candidates", candidates, 2)
    return _run(logits_fn, x, goal, overshoot, norm=norm, candidates=candidates, bounds=bounds, **options)


@functools.partial(jax.jit, static_argnames=("norm", "steps", "candidates", "bounds", "chunk"))
def _run(
    logits_fn,
    x: jax.Array,
    goal: Goal,
    overshoot,
    *,
    norm: str,
    steps: int,
    candidates: int,
    bounds: Bounds,
    chunk: int,
) -> jax.Array:
    axes = image_axes(x, goal)
    found = logits(logits_fn, x)
    others, clear = rivals(found, goal, candidates - 1), slack(found, x.dtype)

    def step(state):
        count, total, image, done = state
        passed, slope = nearest_plane(logits_fn, image, goal, others, clear, norm, chunk)
        length = -passed / jnp.maximum(size(slope, DUAL[norm], axes), 1e-12) + BEYOND * (bounds[1] - bounds[0])
        total += per_image(length, x) * steepest(slope, norm, axes)
        moved = jnp.clip(x + (1 + overshoot) * total, *bounds).astype(x.dtype)
        image = jnp.where(per_image(done, x), image, moved)
        return count + 1, total, image, done | clearly_reached(logits(logits_fn, image), goal, clear)

    going = lambda state: (state[0] < steps) & ~jnp.all(state[3])  # noqa: E731
    start = (0, jnp.zeros_like(wide(x)), x, clearly_reached(found, goal, clear))
    _, _, image, done = jax.lax.while_loop(going, step, start)
    return jnp.where(per_image(done, x), image, x)
