"""APGD: projected gradient ascent that chooses its own step sizes, on several losses and towards several classes."""

import functools
from typing import Any

import jax

from jaxcnn.attack.adaptive_steps import ascent, rounds
from jaxcnn.attack.best import Best, Radius, better, image_of, looked_at, over_starts
from jaxcnn.attack.given import epsilons, prepared
from jaxcnn.attack.goal import Bounds, Goal, image_axes, logits, rivals
from jaxcnn.attack.norms import expect_norm, project, random_start
from jaxcnn.attack.objective import Objective, objective
from jaxcnn.checking import expect, expect_count, expect_key, is_int, shown
from jaxcnn.classifier import LogitsFn, classes
from jaxcnn.variants import chunk_of

__all__ = ["apgd", "likeliest"]


def apgd(
    key: jax.Array,
    logits_fn: LogitsFn,
    x: jax.Array,
    y: Any,
    *,
    epsilon: Any,
    norm: str = "linf",
    steps: int = 100,
    restarts: int = 1,
    loss: str | Objective = "cross_entropy",
    target: Any = None,
    targets: Any = None,
    bounds: Bounds = (0.0, 1.0),
) -> jax.Array:
    """Return images after Auto-PGD, which has no step size to choose.

    z = P(x_t + eta s(dJ/dx (x_t))),   x_{t+1} = P(x_t + 0.75 (z - x_t) + 0.25 (x_t - x_{t-1}))

    from a random place in the ball, with eta = 2 epsilon at first. At checkpoints that come ever sooner eta is halved,
    for each image by itself, if the loss rose in fewer than 3 of 4 steps since the last one, or if it has no new
    maximum while eta stayed as it was; the climb then goes on from the best point. For "l1" there is no momentum, the
    steps are sparse, sparser as what they find is, and the first three tenths of them go through the ball of
    3 epsilon, the next of 2 epsilon. P and s are those of `pgd`.

    Of all images on the way, x too, one that reaches the goal, or else the one with the largest loss, is returned. It
    ends when all images have reached their goal.

    Args:
        key: a PRNG key.
        logits_fn: images (..., H, W, C) -> logits (..., classes).
        x: images (..., H, W, C), floating, within the bounds.
        y: the true classes, one for all or one each.
        epsilon: the radius, in the unit of the pixels: a number, or an array of several, all in one program.
        norm: "linf", "l2" or "l1".
        steps: gradients of each attempt.
        restarts: attempts, each from a place of its own.
        loss: what is climbed: "cross_entropy", "margin", "dlr" (of 3 classes at least, with a target 4), or a
            function (logits, goal) -> (...).
        target: the classes that are wanted, one for all or one each; None for any but y.
        targets: to climb towards several classes in turn while any but y is a success (APGD-T, with loss="dlr"): how
            many of each image's likeliest other classes, or an array (T, ...) of classes.
        bounds: the least and the largest value of a pixel.

    Returns:
        The images, of x's shape with epsilon's axes in front.

    Raises:
        ValueError: images out of bounds, classes that are none, an epsilon below 0 or for "linf" beyond the width of
            the bounds, an unknown norm or loss, no steps or restarts, both target and targets, probabilities for
            logits, gradients that are not finite.
        TypeError: x is not floating, no key.

    Source: Croce & Hein 2020, algorithm 1 and section 4 (APGD-T); Croce & Hein 2021, algorithm 1 and section 3.3, for
    "l1". Their own code, `autoattack`, is what its strength is compared with.
    """
    where = "apgd"
    expect_key(where, key)
    logits_fn, x, goal, bounds = prepared(where, logits_fn, x, y, target=target, bounds=bounds)
    expect_norm(where, norm)
    climbed = objective(where, loss, logits_fn, x, target if targets is None else targets)
    most = epsilons(where, epsilon, norm, bounds)
    aims = None if targets is None else _aims(where, logits_fn, x, goal, targets)
    counts = {"steps": expect_count(where, "steps", steps), "restarts": expect_count(where, "restarts", restarts)}
    options: dict[str, Any] = {"norm": norm, "bounds": bounds, "loss": climbed, "chunk": chunk_of(where, None, x)}
    return image_of(where, logits_fn, _run(key, logits_fn, x, goal, aims, most, **counts, **options))


@functools.partial(jax.jit, static_argnames="count")
def likeliest(logits_fn: LogitsFn, x: jax.Array, label: jax.Array, *, count: int) -> jax.Array:
    """Return for each image its `count` likeliest classes (count, ...), the likeliest first, without its label's."""
    return rivals(logits(logits_fn, x), Goal(label), count)


@functools.partial(jax.jit, static_argnames=("restarts", "steps", "norm", "bounds", "loss", "chunk"))
def _run(
    key: jax.Array,
    logits_fn: LogitsFn,
    x: jax.Array,
    goal: Goal,
    aims: jax.Array | None,
    epsilon: jax.Array,
    *,
    restarts: int,
    steps: int,
    norm: str,
    bounds: Bounds,
    loss: Objective,
    chunk: int,
) -> Best:
    original = looked_at(logits_fn, x, goal, loss)
    how: dict[str, Any] = {"norm": norm, "bounds": bounds, "loss": loss}
    axes = image_axes(x, goal)

    def attempt(key: jax.Array, radius: Radius) -> Best:
        def toward(best: Best, one: tuple[jax.Array, jax.Array | None]) -> tuple[Best, None]:
            (draw, wanted), found = one, best
            aim = goal if wanted is None else Goal(goal.label, wanted)
            if norm == "l1":
                point = x + (bounds[1] - bounds[0]) * jax.random.normal(draw, x.shape)
            else:
                point = random_start(draw, x, radius.epsilon, norm, bounds, axes)
            for wide, count in rounds(norm, steps):
                around = wide * radius.epsilon
                done = None if wide > 1 else best.reached
                point = project(point, x, around, norm, bounds, axes)
                point, found = ascent(logits_fn, point, x, goal, aim, around, done, steps=count, **how)
            return better(best, found), None

        draws = jax.random.split(key, 1 if aims is None else len(aims))
        return jax.lax.scan(toward, original, (draws, aims))[0]

    return over_starts(attempt, jax.random.split(key, restarts), Radius(epsilon, epsilon), chunk)


def _aims(where: str, logits_fn: LogitsFn, x: jax.Array, goal: Goal, targets: Any) -> jax.Array:
    """Return the classes (T, ...) to climb towards."""
    expect(goal.target is None, where, "target or targets", "both", "With targets any class but y is a success.")
    shape = jax.eval_shape(logits, logits_fn, x).shape
    if is_int(targets, 1):
        return likeliest(logits_fn, x, goal.label, count=int(targets))
    given: Any = getattr(targets, "shape", ())
    fix = "Pass targets=9, or one row of classes for each climb."
    ok = len(given) > 0 and given[0] > 0
    expect(ok, where, "targets as a count or an array (T, ...) of classes", shown(targets), fix)
    return classes(where, "targets", targets, (given[0], *shape))
