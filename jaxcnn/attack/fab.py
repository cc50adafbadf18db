"""FAB, the fast adaptive boundary attack: along the decision boundary, towards the image."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn.attack.given import prepared
from jaxcnn.attack.goal import Bounds, Goal, image_axes, logits, per_image, rivals, wide
from jaxcnn.attack.hyperplane import nearest_plane, onto_plane
from jaxcnn.attack.norms import expect_norm, farthest, random_start, size
from jaxcnn.attack.smallest import Smallest, clearly_reached, none_but, slack, smaller
from jaxcnn.checking import expect, expect_count, expect_key, scalar
from jaxcnn.classifier import LogitsFn, classes, logits_of, outputs
from jaxcnn.variants import chunk_of

__all__ = ["fab"]


def fab(
    key: jax.Array,
    logits_fn: LogitsFn,
    x: jax.Array,
    y: Any,
    *,
    norm: str = "linf",
    steps: int = 100,
    restarts: int = 1,
    target: Any = None,
    toward: Any = None,
    epsilon: float | None = None,
    alpha_max: float = 0.1,
    eta: float = 1.05,
    beta: float = 0.9,
    candidates: int = 10,
    bounds: Bounds = (0.0, 1.0),
    chunk: int | None = None,
) -> jax.Array:
    """Return the smallest adversarial images on a way along the decision boundary that is drawn towards x.

    x_i+1 = (1 - a) (x_i + eta d_i) + a (x + eta d_x), with d the shortest steps from x_i and from x, within the bounds,
    onto the nearest plane z_k = z_y of the net's linear model at x_i, and a = min(|d_i| / (|d_i| + |d_x|), alpha_max).
    From what is adversarial it goes on at x + beta (x_i+1 - x).

    Args:
        key: a PRNG key, for where the restarts begin.
        logits_fn: images (..., H, W, C) -> logits (..., classes).
        x: images (..., H, W, C), floating, within the bounds.
        y: their true classes, one for all or one each.
        norm: "linf", "l2" or "l1", in which the result is small.
        steps: of each restart.
        restarts: the first begins at x, the others at random within half of what has been found.
        target: the classes that are wanted instead, or None for any other.
        toward: the only classes k whose planes are followed, one for all or one each, while any class but y is a
            success: with the second largest logit, then the third, ..., this is FAB-T. None for all candidates.
        epsilon: of interest is what is no larger: restarts begin within half of it. None for no such limit.
        alpha_max: how strongly it is drawn towards x at most, 0 to 1.
        eta: how far the steps go, 1 for onto the planes.
        beta: how far from x it goes on from what is adversarial, above 0 and below 1.
        candidates: the classes that are looked at, those with the largest logits at x, y among them, at least 2; each
            costs a gradient a step.
        bounds: the least and the largest value of a pixel.
        chunk: gradients at once: memory for `chunk` times x. As many as are fast unless given.

    Returns:
        Adversarial images of x's shape, by more than rounding over the boundary; x itself where none was found, and
        where the net errs without help. Whatever epsilon is, they may be larger.

    Raises:
        ValueError: another norm, an option out of range, images out of bounds, classes that are none.
        TypeError: x is not floating, no key.

    Source: Croce & Hein 2020 (Minimally distorted adversarial examples with a fast adaptive boundary attack),
    algorithm 1 without its final search; agrees with AutoAttack's `FABAttack`.
    """
    where = "fab"
    expect_key(where, key)
    logits_fn, x, goal, bounds = prepared(where, logits_fn, x, y, target=target, bounds=bounds)
    expect_norm(where, norm)
    if toward is not None:
        expect(target is None, where, "target or toward", "both", "Leave one of them out.")
        shape = logits_of(outputs.eval_shape(logits_fn, x)).shape
        toward = jnp.broadcast_to(classes(where, "toward", toward, shape), shape[:-1])
    if epsilon is not None:
        fix = "Leave it out, or pass epsilon=8 / 255, say."
        epsilon = scalar(where, "epsilon >= 0", epsilon, lambda a: a >= 0, fix)
    alpha_max = scalar(where, "alpha_max in 0..1", alpha_max, lambda a: 0 <= a <= 1, "Pass alpha_max=0.1, say.")
    eta = scalar(where, "eta >= 1", eta, lambda a: a >= 1, "Pass eta=1.05, say.")
    beta = scalar(where, "beta between 0 and 1", beta, lambda a: 0 < a < 1, "Pass beta=0.9, say.")
    counts = {"steps": expect_count(where, "steps", steps), "restarts": expect_count(where, "restarts", restarts)}
    counts |= {"candidates": expect_count(where, "candidates", candidates, 2), "chunk": chunk_of(where, chunk, x)}
    return _run(key, logits_fn, x, goal, toward, epsilon, (alpha_max, eta, beta), norm=norm, bounds=bounds, **counts)


@functools.partial(jax.jit, static_argnames=("norm", "steps", "restarts", "candidates", "bounds", "chunk"))
def _run(
    key,
    logits_fn,
    x: jax.Array,
    goal: Goal,
    toward,
    epsilon,
    pulls,
    *,
    norm: str,
    steps: int,
    restarts: int,
    candidates: int,
    bounds: Bounds,
    chunk: int,
) -> jax.Array:
    alpha_max, eta, beta = pulls
    axes, center = image_axes(x, goal), wide(x)
    found = logits(logits_fn, x)
    others = rivals(found, goal, candidates - 1) if toward is None else toward[None]
    clear = slack(found, x.dtype)

    def step(_, state: tuple[jax.Array, Smallest]) -> tuple[jax.Array, Smallest]:
        point, best = state
        passed, slope = nearest_plane(logits_fn, point.astype(x.dtype), goal, others, clear, norm, chunk)
        way = jnp.sum(slope * (point - center), axes)
        onto = onto_plane(point, slope, -passed, norm, bounds, axes)
        straight = onto_plane(center, slope, way - passed, norm, bounds, axes)
        near, far = size(onto, norm, axes), size(straight, norm, axes)
        pull = per_image(jnp.minimum(near / jnp.maximum(near + far, 1e-12), alpha_max), x)
        point = (1 - pull) * (point + eta * onto) + pull * (center + eta * straight)
        point = jnp.clip(point, *bounds)
        image = point.astype(x.dtype)
        hit = clearly_reached(logits(logits_fn, image), goal, clear)
        best = smaller(best, x, image, hit, norm, goal)
        return jnp.where(per_image(hit, x), center + beta * (point - center), point), best

    most = farthest(x, norm, bounds, axes)
    most = most if epsilon is None else jnp.minimum(most, epsilon)

    def restart(best: Smallest, at: tuple[jax.Array, jax.Array]) -> tuple[Smallest, None]:
        key, first = at
        start = random_start(key, center, jnp.minimum(best.size, most) / 2, norm, bounds, axes)
        return jax.lax.fori_loop(0, steps, step, (jnp.where(first, center, start), best))[1], None

    keys, first = jax.random.split(key, restarts), jnp.arange(restarts) == 0
    return jax.lax.scan(restart, none_but(x, clearly_reached(found, goal, clear)), (keys, first))[0].image
