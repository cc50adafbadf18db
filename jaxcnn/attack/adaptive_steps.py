"""The climb of APGD: steps that are halved, or sparser, at checkpoints, for each image by itself."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.attack.best import Best, better, met
from jaxcnn.attack.goal import Bounds, Goal, image_axes, per_image
from jaxcnn.attack.norms import project, size, steepest
from jaxcnn.attack.objective import Objective, climbing
from jaxcnn.classifier import LogitsFn

__all__ = ["ascent", "rounds"]

AHEAD = 0.75  # of a step, beside a quarter of the one before
RISES = 0.75  # of the steps since a checkpoint: with fewer the step is too long
# In percent of all steps: the first checkpoint, by how much the next come sooner, and how far two are apart at least.
FIRST, SOONER, LEAST = 22, 3, 6
EVERY = 4  # percent of the steps, for "l1"
SPARSER = 0.95  # times as many changed values as at the last checkpoint: then steps are long again
DENSER = 1.5  # times fewer values are those of a step, and a step that finds nothing sparser is so much shorter
SHORTEST = 10  # times shorter than the first, the last steps of "l1" at least are not


class Point(NamedTuple):
    """Images with what is known there."""

    image: jax.Array  # (..., H, W, C)
    values: jax.Array  # (...), the objective
    slope: jax.Array  # its gradient


class Climb(NamedTuple):
    """How far a climb is; arrays (...) of one value an image, unless said."""

    steps: jax.Array  # () int32, how many were made
    at: Point
    before: jax.Array  # the images before the last step
    top: Point  # where the objective was the largest
    eta: jax.Array  # how long a step is
    rises: jax.Array  # of the objective since the last checkpoint
    checked: jax.Array  # the largest objective at the last checkpoint
    halved: jax.Array  # whether eta was, then
    sparsity: jax.Array  # which part of the values a step changes, for "l1"
    support: jax.Array  # how many values were changed, where the objective was the largest, at the last checkpoint
    best: Best


def ascent(
    logits_fn: LogitsFn,
    start: jax.Array,
    x: jax.Array,
    goal: Goal,
    aim: Goal,
    epsilon: jax.Array,
    done: jax.Array | None,
    *,
    steps: int,
    norm: str,
    bounds: Bounds,
    loss: Objective,
) -> tuple[jax.Array, Best]:
    """Return the images with the largest objective, and the best for the goal.

    Args:
        logits_fn, x, norm, bounds: as for `apgd`.
        start: where to start, in the ball.
        goal: what counts as a success.
        aim: what the objective is of.
        epsilon: the radius, ().
        done: images (...) that need nothing any more; it ends when all others have reached the goal. With
            None all steps are made.
        steps: at most.
        loss: the objective.
    """
    axes = image_axes(x, goal)
    values = math.prod(x.shape[axis] for axis in axes)
    windows = jnp.asarray(_windows(steps, norm))
    each = lambda value: jnp.broadcast_to(value, goal.label.shape)  # noqa: E731

    def near(image: jax.Array) -> jax.Array:
        return project(image, x, epsilon, norm, bounds, axes)

    def look(image: jax.Array) -> tuple[Point, Best]:
        found, height, slope = climbing(logits_fn, image, aim, loss)
        height = jnp.where(jnp.isnan(height), -jnp.inf, height)
        return Point(image, height, slope), met(image, found, loss(found, goal), goal, slope)

    def step(climb: Climb) -> Climb:
        old = climb.at.image
        new = near(old + per_image(climb.eta, x) * steepest(climb.at.slope, norm, axes, climb.sparsity))
        if norm != "l1":
            ahead = jnp.where(climb.steps == 0, 1, AHEAD)
            new = near(old + ahead * (new - old) + (1 - ahead) * (old - climb.before))
        at, seen = look(new)
        climb = climb._replace(
            steps=climb.steps + 1,
            at=at,
            before=old,
            top=_chosen(at.values > climb.top.values, at, climb.top),
            rises=climb.rises + (at.values > climb.at.values),
            best=better(climb.best, seen),
        )
        window = windows[climb.steps - 1]
        if norm != "l1":
            return _halved(climb, window)
        return _sparser(climb, window > 0, size(climb.top.image - x, "l0", axes), values, epsilon)

    def going(climb: Climb) -> jax.Array:
        left = climb.steps < steps
        return left if done is None else left & ~(climb.best.reached | done).all()

    at, seen = look(start)
    support = size(start - x, "l0", axes)
    begin = Climb(
        steps=jnp.zeros((), jnp.int32),
        at=at,
        before=start,
        top=at,
        eta=each(epsilon if norm == "l1" else 2 * epsilon),
        rises=each(jnp.zeros((), jnp.int32)),
        checked=at.values,
        halved=each(True),
        sparsity=support / (DENSER * values),
        support=support,
        best=seen,
    )
    end = jax.lax.while_loop(going, step, begin)
    return end.top.image, end.best


def _halved(climb: Climb, window: jax.Array) -> Climb:
    """Return the climb after a checkpoint at the end of `window` steps, or as it is where there are 0."""
    due = window > 0
    stuck = ~climb.halved & (climb.top.values <= climb.checked)
    halve = due & ((climb.rises <= RISES * window) | stuck)
    return climb._replace(
        at=_chosen(halve, climb.top, climb.at),
        eta=jnp.where(halve, climb.eta / 2, climb.eta),
        rises=jnp.where(due, 0, climb.rises),
        checked=jnp.where(due, climb.top.values, climb.checked),
        halved=jnp.where(due, halve, climb.halved),
    )


def _sparser(climb: Climb, due: jax.Array, support: jax.Array, values: int, epsilon: jax.Array) -> Climb:
    """Return the climb in the ball of "l1" after a checkpoint, or as it is where none is due."""
    sparser = due & (support < SPARSER * climb.support)
    shorter = jnp.maximum(climb.eta / DENSER, epsilon / SHORTEST)
    return climb._replace(
        at=_chosen(sparser, climb.top, climb.at),
        eta=jnp.where(due, jnp.where(sparser, epsilon, shorter), climb.eta),
        sparsity=jnp.where(due, support / (DENSER * values), climb.sparsity),
        support=jnp.where(due, support, climb.support),
    )


def _chosen(first: jax.Array, a: Point, b: Point) -> Point:
    """Return, for each image, the first point or the second."""
    return jax.tree.map(lambda left, right: jnp.where(per_image(first, left), left, right), a, b)


def _windows(steps: int, norm: str) -> np.ndarray:
    """Return for each step how many there were since the last checkpoint if there is one after it, else 0."""
    percent = lambda part: max(1, part * steps // 100)  # noqa: E731
    windows, window = np.zeros(steps, np.int32), percent(EVERY if norm == "l1" else FIRST)
    end = window
    while end <= steps:
        windows[end - 1] = window
        if norm != "l1":
            window = max(window - percent(SOONER), percent(LEAST))
        end += window
    return windows


def rounds(norm: str, steps: int) -> list[tuple[Any, int]]:
    """Return radii, as multiples of epsilon, and how many steps are made in each."""
    if norm != "l1":
        return [(1, steps)]
    wide = 3 * steps // 10
    return [(share, count) for share, count in ((3, wide), (2, wide), (1, steps - 2 * wide)) if count]
