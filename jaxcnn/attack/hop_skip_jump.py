"""HopSkipJump: down to the smallest change that fools a net of which only the class is seen, by votes on gradients."""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxcnn.attack.decision import Ask, beyond, given_start, start, to_boundary, whether
from jaxcnn.attack.given import prepared
from jaxcnn.attack.goal import Bounds, Goal, image_axes, per_image
from jaxcnn.attack.norms import expect_norm, size
from jaxcnn.checking import expect_count, expect_flag, expect_key
from jaxcnn.classifier import LogitsFn
from jaxcnn.variants import chunk_of

__all__ = ["hop_skip_jump"]

SHORTENINGS = 16  # of a step that does not end in an adversarial image
FINEST = 1e-6  # the least change of a value, as a part of the bounds, that float32 tells apart well


def hop_skip_jump(
    key: jax.Array,
    logits_fn: LogitsFn,
    x: Any,
    y: Any,
    *,
    norm: str = "l2",
    steps: int = 64,
    samples: int = 100,
    most_samples: int = 10_000,
    start: Any = None,
    target: Any = None,
    bounds: Bounds = (0.0, 1.0),
    chunk: int | None = None,
    return_queries: bool = False,
) -> Any:
    """Return the nearest adversarial images met on a way along the decision boundary, seeing nothing but classes.

    From an adversarial image on the boundary, at distance r from x, in step t:
    g = sum_b (v_b - mean v) u_b,   v_b = +1 if x' + delta u_b is adversarial, else -1,   delta = r / d,
    for B = min(samples sqrt(t), most_samples) random directions u_b of length 1, d the number of values;
    x' <- x' + (r / sqrt(t)) 2^-j g / ||g||, or sign(g) in "linf", with the least j that ends in an adversarial image;
    then by bisection towards x back to the boundary.

    An image costs B + j + 1 + log2(d^1.5) queries in each step (d^2 in "linf"; 12 at least and 22 at most), and some 50
    to 150 before; 1 where it is misclassified as it is.

    Args:
        key: a PRNG key.
        logits_fn: images (..., H, W, C) -> logits or probabilities (..., classes).
        x: images (..., H, W, C), floating, within the bounds.
        y: their true classes, one for all or one each.
        norm: of the change that is to be small, "l2" or "linf".
        steps: along the boundary.
        samples: directions of the first step.
        most_samples: directions of a step at most.
        start: images of x's shape, such as ones of the wanted class; where they are not adversarial, or none are given,
            uniform noise is tried 100 times.
        target: the classes that are wanted instead, one for all or one each; None for any but y.
        bounds: the least and the largest value of a pixel.
        chunk: directions at once: memory for `chunk` times x. As many as are fast unless given.
        return_queries: return how often the net was asked, too.

    Returns:
        Adversarial images (..., H, W, C), moved 0.1 % beyond the boundary; x itself where none were found, or the goal
        is reached without a change. With `return_queries`, these and the queries of each image, int32 (...).

    Raises:
        ValueError: images out of bounds, an unknown norm, no steps, a start of another shape.
        TypeError: x is not floating, no key.

    Source: Chen, Jordan, Wainwright 2020, algorithm 2; beside foolbox's `HopSkipJumpAttack`, which gives
    the last image.
    """
    where = "hop_skip_jump"
    expect_key(where, key)
    logits_fn, x, goal, bounds = prepared(where, logits_fn, x, y, target=target, bounds=bounds, decision=True)
    expect_norm(where, norm, ("l2", "linf"))
    given = given_start(where, start, x, bounds)
    counts = {"steps": steps, "samples": samples, "most_samples": most_samples}
    counts = {name: expect_count(where, name, value) for name, value in counts.items()}
    return_queries = expect_flag(where, "return_queries", return_queries)
    found, asked = _run(
        key, logits_fn, x, goal, given, norm=norm, **counts, bounds=bounds, chunk=chunk_of(where, chunk, x)
    )
    return (found, asked) if return_queries else found


class _State(NamedTuple):
    image: jax.Array  # on the boundary
    best: jax.Array
    distance: jax.Array  # of the best
    queries: jax.Array


@functools.partial(jax.jit, static_argnames=("norm", "steps", "samples", "most_samples", "bounds", "chunk"))
def _run(
    key: jax.Array,
    logits_fn: LogitsFn,
    x: jax.Array,
    goal: Goal,
    given: jax.Array | None,
    *,
    norm: str,
    steps: int,
    samples: int,
    most_samples: int,
    bounds: Bounds,
    chunk: int,
) -> tuple[jax.Array, jax.Array]:
    ask, axes = whether(logits_fn, goal), image_axes(x, goal)
    values = max(1, math.prod(x.shape[axis] for axis in axes))
    halvings = min(22, max(12, math.ceil((1.5 if norm == "l2" else 2) * math.log2(values))))
    span = bounds[1] - bounds[0]
    start_key, key = jax.random.split(key)
    first = start(start_key, ask, x, given, bounds)

    def bisected(image: jax.Array) -> jax.Array:
        return to_boundary(ask, x, image, norm, bounds, axes, halvings)

    def step(state: _State, number: jax.Array) -> tuple[_State, None]:
        radius = size(state.image - x, norm, axes)
        delta = jnp.where(number == 1, 0.1 * span, jnp.maximum(radius / values, FINEST * math.sqrt(values) * span))
        count = jnp.minimum(jnp.floor(samples * jnp.sqrt(number)), most_samples).astype(jnp.int32)
        vote = _vote(jax.random.fold_in(key, number), ask, state.image, delta, count, norm, bounds, axes, chunk)
        length = radius / jnp.sqrt(number)
        moved, tries = _shortened(ask, state.image, vote, length, first.active, bounds)
        image = bisected(moved)
        distance = size(image - x, norm, axes)
        nearer = first.active & (distance < state.distance)
        best = jnp.where(per_image(nearer, x), image, state.best)
        queries = state.queries + jnp.where(first.active, count + tries + halvings, 0)
        return _State(image, best, jnp.where(nearer, distance, state.distance), queries), None

    image = bisected(first.image)
    queries = first.queries + jnp.where(first.active, halvings + 1, 0)
    state = _State(image, image, size(image - x, norm, axes), queries)
    state = jax.lax.scan(step, state, jnp.arange(1, steps + 1))[0]
    return beyond(ask, x, state.best, bounds), state.queries


def _vote(
    key: jax.Array,
    ask: Ask,
    image: jax.Array,
    delta: jax.Array,
    count: jax.Array,
    norm: str,
    bounds: Bounds,
    axes: tuple[int, ...],
    chunk: int,
) -> jax.Array:
    """Return the direction in which most of `count` random neighbours are adversarial: unit vectors, or signs."""
    delta = per_image(jnp.broadcast_to(delta, image.shape[: axes[0]]), image)
    draw = jax.random.normal if norm == "l2" else functools.partial(jax.random.uniform, minval=-1.0)

    def probe(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        way = draw(key, image.shape)
        way = way / per_image(size(way, "l2", axes), image)
        moved = jnp.clip(image + (delta * way).astype(image.dtype), *bounds)
        return (moved - image) / delta, jnp.where(ask(moved), 1.0, -1.0)

    def add(index: jax.Array, totals: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        ways, votes = jax.vmap(probe)(jax.random.split(jax.random.fold_in(key, index), chunk))
        real = (index * chunk + jnp.arange(chunk) < count).reshape(-1, *(1,) * (votes.ndim - 1))
        votes = jnp.where(real, votes, 0)
        real, weight = (per_image(jnp.broadcast_to(a, votes.shape), ways) for a in (real, votes))
        parts = (weight * ways).sum(0), (real * ways).sum(0), votes.sum(0)
        return tuple(total + part for total, part in zip(totals, parts, strict=True))

    zeros = jnp.zeros(image.shape), jnp.zeros(image.shape), jnp.zeros(image.shape[: axes[0]])
    along, every, votes = jax.lax.fori_loop(0, (count + chunk - 1) // chunk, add, zeros)
    mean = votes / count
    mean = jnp.where(jnp.abs(mean) == 1, 0, mean)  # where all agree, they are all that is known
    vote = along - per_image(mean, image) * every
    if norm == "linf":
        return jnp.sign(vote)
    return vote / jnp.maximum(per_image(size(vote, "l2", axes), image), 1e-30)


def _shortened(
    ask: Ask, image: jax.Array, vote: jax.Array, length: jax.Array, active: jax.Array, bounds: Bounds
) -> tuple[jax.Array, jax.Array]:
    """Return the images a step ahead, halved until they are adversarial, and how many were tried; else as they were."""

    def shorten(carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        number, length, moved, done, tries = carry
        ahead = jnp.clip(image + (per_image(length, image) * vote).astype(image.dtype), *bounds)
        hit = ask(ahead) & ~done
        return number + 1, length / 2, jnp.where(per_image(hit, image), ahead, moved), done | hit, tries + ~done

    goes_on = lambda carry: (carry[0] < SHORTENINGS) & ~carry[3].all()  # noqa: E731
    zero = jnp.zeros((), jnp.int32)
    carry = (zero, length, image, ~active, jnp.zeros_like(active, jnp.int32))
    _, _, moved, _, tries = jax.lax.while_loop(goes_on, shorten, carry)
    return moved, tries
