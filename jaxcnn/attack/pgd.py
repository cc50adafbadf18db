"""Many small steps along the gradient, back into the ball after each: PGD, and BIM, which starts at the image."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn.attack.best import Best, Radius, better, image_of, looked_at, met, over_radii, over_starts, radii
from jaxcnn.attack.given import prepared
from jaxcnn.attack.goal import Bounds, Goal, image_axes, wide
from jaxcnn.attack.norms import expect_norm, project, random_start, scaled, steepest
from jaxcnn.attack.objective import Objective, climbing, cross_entropy, objective
from jaxcnn.checking import expect_count, expect_key
from jaxcnn.classifier import LogitsFn
from jaxcnn.variants import chunk_of

__all__ = ["bim", "checked", "climb", "from_the_image", "pgd"]

REACH = 2.5  # times epsilon is the length of all steps: from any point of the ball to any other and back (Madry)


def pgd(
    key: jax.Array,
    logits_fn: LogitsFn,
    x: jax.Array,
    y: Any,
    *,
    epsilon: Any,
    steps: int = 40,
    step_size: Any = None,
    restarts: int = 1,
    norm: str = "linf",
    target: Any = None,
    loss: str | Objective = "cross_entropy",
    bounds: Bounds = (0.0, 1.0),
) -> jax.Array:
    """Return images after projected gradient ascent of the loss, from random places in the ball.

    x_0 even in the ball,   x_{t+1} = P(x_t + step_size s(dJ/dx (x_t)))

    P: to the nearest point in ball and bounds. s: the step of size 1 that raises the loss most: sign(g); g / ||g||;
    for "l1" sign(g) / k on the hundredth of the values with the largest gradient. Of all images on the way, x too, one
    that reaches the goal, or else the one with the largest loss, is returned.

    Args:
        key: a PRNG key.
        logits_fn: images (..., H, W, C) -> logits (..., classes).
        x: images (..., H, W, C), floating, within the bounds.
        y: the true classes, one for all or one each.
        epsilon: the radius, in the unit of the pixels: a number, or an array of several, all in one program.
        steps: gradients of each attempt.
        step_size: in the unit of epsilon, one for all or an array that broadcasts to epsilon; 2.5 epsilon / steps
            unless given.
        restarts: attempts, each from a place of its own.
        norm: "linf", "l2" or "l1".
        target: the classes that are wanted, one for all or one each; None for any but y.
        loss: what is climbed: "cross_entropy", "margin", "dlr" (of 3 classes at least, with a target 4), or a
            function (logits, goal) -> (...).
        bounds: the least and the largest value of a pixel.

    Returns:
        The images, of x's shape with epsilon's axes in front.

    Raises:
        ValueError: images out of bounds, classes that are none, an epsilon below 0 or for "linf" beyond the width of
            the bounds, an unknown norm or loss, no steps or restarts, probabilities for logits, gradients that are not
            finite.
        TypeError: x is not floating, no key.

    Source: Madry et al. 2018, section 2.1; Tramer & Boneh 2019 for "l1". With the same start and steps agrees with
    `foolbox.attacks.LinfPGD` and, where no pixel meets its bounds, `L2PGD`.
    """
    where = "pgd"
    expect_key(where, key)
    restarts = expect_count(where, "restarts", restarts)
    arguments, options = checked(where, logits_fn, x, y, epsilon, steps, step_size, norm, target, loss, bounds)
    return image_of(where, arguments[0], _from_anywhere(key, *arguments, restarts=restarts, **options))


def bim(
    logits_fn: LogitsFn,
    x: jax.Array,
    y: Any,
    *,
    epsilon: Any,
    steps: int = 10,
    step_size: Any = None,
    norm: str = "linf",
    target: Any = None,
    loss: str | Objective = "cross_entropy",
    bounds: Bounds = (0.0, 1.0),
) -> jax.Array:
    """Return images after iterated FGSM: `pgd` that starts at x, without chance.

    Args:
        logits_fn, x, y, epsilon, steps, step_size, norm, target, loss, bounds: as for `pgd`.

    Returns:
        The images, of x's shape with epsilon's axes in front.

    Raises:
        ValueError, TypeError: as for `pgd`.

    Source: Kurakin, Goodfellow, Bengio 2017, section 2.2; agrees with `foolbox.attacks.LinfBasicIterativeAttack`.
    """
    where = "bim"
    arguments, options = checked(where, logits_fn, x, y, epsilon, steps, step_size, norm, target, loss, bounds)
    return image_of(where, arguments[0], from_the_image(*arguments, **options))


def climb(
    key: jax.Array | None,
    logits_fn: LogitsFn,
    x: jax.Array,
    goal: Goal,
    *,
    epsilon: Any,
    steps: int,
    step_size: Any = None,
    norm: str = "linf",
    bounds: Bounds = (0.0, 1.0),
    loss: Objective = cross_entropy,
) -> jax.Array:
    """Return the images at the end of the climb, checked by nobody: what a training step calls, inside of its program.

    Args:
        key: from where to start: anywhere in the ball, or with None at x.
        logits_fn, x, epsilon, steps, step_size, norm, bounds: as for `pgd`; one epsilon.
        goal: what is climbed for.
        loss: the function.

    Returns:
        The last images, of x's shape: no gradient flows back through them.
    """
    epsilon = jnp.asarray(epsilon, jnp.float32)
    start = x if key is None else random_start(key, x, epsilon, norm, bounds, image_axes(x, goal))
    radius = Radius(epsilon, jnp.asarray(REACH * epsilon / steps if step_size is None else step_size, jnp.float32))
    last, _ = _climbed(logits_fn, start, x, goal, radius, None, steps=steps, norm=norm, bounds=bounds, loss=loss)
    return jax.lax.stop_gradient(last)


_STATIC = ("steps", "norm", "bounds", "loss", "chunk")


@functools.partial(jax.jit, static_argnames=("restarts", *_STATIC))
def _from_anywhere(key, logits_fn, x: jax.Array, goal: Goal, radii: Radius, *, restarts: int, chunk: int, **how: Any):
    original = looked_at(logits_fn, x, goal, how["loss"])

    def attempt(key: jax.Array, radius: Radius) -> Best:
        start = random_start(key, x, radius.epsilon, how["norm"], how["bounds"], image_axes(x, goal))
        return better(original, _best(logits_fn, start, x, goal, radius, None, **how))

    return over_starts(attempt, jax.random.split(key, restarts), radii, chunk)


@functools.partial(jax.jit, static_argnames=_STATIC)
def from_the_image(
    logits_fn, x: jax.Array, goal: Goal, radii: Radius, decay: jax.Array | None = None, *, chunk: int, **how: Any
) -> Best:
    """Return the best images of climbs that start at x; the arguments as `bim` and `momentum_iterative` check them."""
    return over_radii(lambda radius: _best(logits_fn, x, x, goal, radius, decay, **how), radii, chunk)


def _best(logits_fn, start: jax.Array, x: jax.Array, goal: Goal, radius: Radius, decay: Any, **how: Any) -> Best:
    last, best = _climbed(logits_fn, start, x, goal, radius, decay, **how)
    return better(best, looked_at(logits_fn, last, goal, how["loss"]))


def _climbed(
    logits_fn,
    start: jax.Array,
    x: jax.Array,
    goal: Goal,
    radius: Radius,
    decay: jax.Array | None,
    *,
    steps: int,
    norm: str,
    bounds: Bounds,
    loss: Objective,
) -> tuple[jax.Array, Best]:
    """Return the last image and the best of those before it; with a decay the gradients have momentum."""
    axes, (low, high) = image_axes(x, goal), bounds

    def step(carry: tuple[jax.Array, jax.Array, Best], _: Any) -> tuple[tuple[jax.Array, jax.Array, Best], None]:
        image, velocity, best = carry
        found, values, slope = climbing(logits_fn, image, goal, loss)
        best = better(best, met(image, found, values, goal, slope))
        if decay is not None:
            slope = scaled(slope, axes)
            velocity = decay * velocity + slope / jnp.maximum(jnp.sum(jnp.abs(slope), axes, keepdims=True), 1)
            slope = velocity
        if norm != "linf":  # what the bounds hold takes no share of the step
            slope = jnp.where(((image <= low) & (slope < 0)) | ((image >= high) & (slope > 0)), 0, slope)
        moved = image + (radius.step * steepest(slope, norm, axes)).astype(x.dtype)
        return (project(moved, x, radius.epsilon, norm, bounds, axes), velocity, best), None

    nothing = Best(start, jnp.full(goal.label.shape, -jnp.inf), jnp.zeros(goal.label.shape, bool), jnp.array(True))
    velocity = jnp.zeros_like(wide(x))
    (last, _, best), _ = jax.lax.scan(step, (start, velocity, nothing), length=steps)
    return last, best


def checked(
    where: str,
    logits_fn: Any,
    x: Any,
    y: Any,
    epsilon: Any,
    steps: Any,
    step_size: Any,
    norm: Any,
    target: Any,
    loss: Any,
    bounds: Any,
    reach: float = REACH,
) -> tuple[tuple[Any, jax.Array, Goal, Radius], dict[str, Any]]:
    """Return the arguments and the static options of the programs."""
    logits_fn, x, goal, bounds = prepared(where, logits_fn, x, y, target=target, bounds=bounds)
    expect_norm(where, norm)
    steps = expect_count(where, "steps", steps)
    climbed = objective(where, loss, logits_fn, x, target)
    options = {"steps": steps, "norm": norm, "bounds": bounds, "loss": climbed, "chunk": chunk_of(where, None, x)}
    return (logits_fn, x, goal, radii(where, epsilon, step_size, steps, reach, norm, bounds)), options
