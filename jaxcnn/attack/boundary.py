"""The boundary attack: a random walk along the decision boundary towards the image, seeing nothing but classes."""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxcnn.attack.decision import beyond, given_start, start, whether
from jaxcnn.attack.given import prepared
from jaxcnn.attack.goal import Bounds, Goal, image_axes, per_image
from jaxcnn.attack.norms import size
from jaxcnn.checking import expect_count, expect_flag, expect_key, scalar
from jaxcnn.classifier import LogitsFn

__all__ = ["boundary"]

EVERY = 10  # steps, it is looked at whether the walk along the sphere stays adversarial
ALONG, TOWARDS = 0.35, 0.2  # of these steps, along the sphere and towards the image, so many are to succeed
SMALLEST = 1e-6  # step towards the image, as a part of the distance, that is worth a query


def boundary(
    key: jax.Array,
    logits_fn: LogitsFn,
    x: Any,
    y: Any,
    *,
    steps: int = 25_000,
    spherical_step: float = 0.01,
    source_step: float = 0.01,
    adaptation: float = 1.5,
    start: Any = None,
    target: Any = None,
    bounds: Bounds = (0.0, 1.0),
    return_queries: bool = False,
) -> Any:
    """Return the nearest adversarial images, in L2, that a random walk along the decision boundary has come to.

    A step from x' at distance r: along the sphere around x, to a place s r away in a random direction, then a part e of
    r towards x. It is taken if the image is adversarial there and nearer. Each image has its own s and e, which grow
    by little when such steps succeed and shrink when they fail, so that 35 % and 20 % do.

    An image costs `steps` queries and a tenth more, fewer when e has become 1e-6, and some 50 to 150 before;
    1 where it is misclassified as it is.

    Args:
        key: a PRNG key.
        logits_fn: images (..., H, W, C) -> logits or probabilities (..., classes).
        x: images (..., H, W, C), floating, within the bounds.
        y: their true classes, one for all or one each.
        steps: at most.
        spherical_step: s in the beginning, as a part of the distance.
        source_step: e in the beginning.
        adaptation: ten steps multiply s and e by adaptation^(share that succeeds - share that is to), above 1.
        start: images of x's shape, such as ones of the wanted class; where they are not adversarial, or none are given,
            uniform noise is tried 100 times.
        target: the classes that are wanted instead, one for all or one each; None for any but y.
        bounds: the least and the largest value of a pixel.
        return_queries: return how often the net was asked, too.

    Returns:
        Adversarial images (..., H, W, C), moved 0.1 % beyond where the walk ended; x itself where none were found, or
        the goal is reached without a change. With `return_queries`, these and the queries of each image, int32 (...).

    Raises:
        ValueError: images out of bounds, no steps, a step or an adaptation out of range, a start of another shape.
        TypeError: x is not floating, no key.

    Source: Brendel, Rauber, Bethge 2018, section 2; beside foolbox's `BoundaryAttack`, where steps change by a factor
    when enough of the last 30 or 100 that were looked at have succeeded or failed.
    """
    where = "boundary"
    expect_key(where, key)
    logits_fn, x, goal, bounds = prepared(where, logits_fn, x, y, target=target, bounds=bounds, decision=True)
    given, steps = given_start(where, start, x, bounds), expect_count(where, "steps", steps)
    fix = "It is a part of the distance."
    spherical, source = (
        scalar(where, f"{name} between 0 and 1", value, lambda s: 0 < s < 1, fix)
        for name, value in (("spherical_step", spherical_step), ("source_step", source_step))
    )
    adaptation = scalar(where, "adaptation above 1", adaptation, lambda a: 1 < a < math.inf, "Pass 1.5, say.")
    return_queries = expect_flag(where, "return_queries", return_queries)
    found, asked = _run(key, logits_fn, x, goal, given, spherical, source, adaptation, steps=steps, bounds=bounds)
    return (found, asked) if return_queries else found


class _State(NamedTuple):
    step: jax.Array
    image: jax.Array
    spherical: jax.Array  # (...)
    source: jax.Array
    queries: jax.Array


@functools.partial(jax.jit, static_argnames=("steps", "bounds"))
def _run(
    key: jax.Array,
    logits_fn: LogitsFn,
    x: jax.Array,
    goal: Goal,
    given: jax.Array | None,
    spherical: Any,
    source: Any,
    adaptation: Any,
    *,
    steps: int,
    bounds: Bounds,
) -> tuple[jax.Array, jax.Array]:
    ask, axes = whether(logits_fn, goal), image_axes(x, goal)
    start_key, key = jax.random.split(key)
    first = start(start_key, ask, x, given, bounds)
    rate = jnp.log(adaptation)

    def walks(state: _State) -> jax.Array:
        return first.active & (state.source > SMALLEST)

    def walk(state: _State) -> _State:
        proposals = _proposals(jax.random.fold_in(key, state.step), x, state, bounds, axes)
        on_sphere, moved = jax.lax.optimization_barrier(proposals)  # what is kept is what the net was asked about
        going = walks(state)
        hit = ask(moved)
        taken = going & hit & (size(moved - x, "l2", axes) < size(state.image - x, "l2", axes))
        looks = state.step % EVERY == 0
        change = jax.lax.cond(looks, lambda: rate * (ask(on_sphere) - ALONG), lambda: jnp.zeros_like(state.spherical))
        return _State(
            state.step + 1,
            jnp.where(per_image(taken, x), moved, state.image),
            jnp.minimum(state.spherical * jnp.exp(change), 1),
            jnp.where(going, jnp.minimum(state.source * jnp.exp(rate / EVERY * (hit - TOWARDS)), 0.5), state.source),
            state.queries + jnp.where(going, 1 + looks, 0),
        )

    lead = jnp.zeros(goal.label.shape)
    state = _State(jnp.ones((), jnp.int32), first.image, lead + spherical, lead + source, first.queries)
    goes_on = lambda state: (state.step <= steps) & walks(state).any()  # noqa: E731
    state = jax.lax.while_loop(goes_on, walk, state)
    return beyond(ask, x, state.image, bounds), state.queries + first.active


def _proposals(
    key: jax.Array, x: jax.Array, state: _State, bounds: Bounds, axes: tuple[int, ...]
) -> tuple[jax.Array, jax.Array]:
    """Return the images a step along the sphere, and from there a step towards x."""

    def length(a: jax.Array) -> jax.Array:
        return jnp.maximum(per_image(size(a, "l2", axes), x), 1e-30)

    spherical, source = per_image(state.spherical, x), per_image(state.source, x)
    inwards = (x - state.image).astype(jnp.float32)
    distance = length(inwards)
    way = jax.random.normal(key, x.shape)
    way = way - inwards * (jnp.sum(way * inwards, axes, keepdims=True) / distance**2)
    way = way * (spherical * distance / length(way))
    on_sphere = jnp.clip(x + (way - inwards) / jnp.sqrt(1 + spherical**2), *bounds)
    left = x - on_sphere
    far = length(left)
    ahead = jnp.maximum(source * distance + far - distance, 0) / far
    moved = jnp.clip(on_sphere + ahead * left, *bounds)
    return on_sphere.astype(x.dtype), moved.astype(x.dtype)
