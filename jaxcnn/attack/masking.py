"""Signs of gradient masking: that attacks fail at a net which is not robust."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.attack.given import repeated
from jaxcnn.attack.goal import Bounds, Goal, image_axes, logits, per_image
from jaxcnn.attack.norms import ascended, random_start
from jaxcnn.attack.objective import climbing, cross_entropy, negative_margin
from jaxcnn.classifier import LogitsFn

__all__ = ["sign_of_black_box", "signs_of_net", "signs_of_standing"]

STEP = 1e-3  # of the bounds' width, along which a gradient is held to its word
VANISHED = 1e-19  # the square of a smaller gradient is 0 in float32
WORD = (0.1, 10.0)  # what a gradient foretells, times these, at least and at most
DRAWS = 10  # random images in the ball
SHARE = 0.1  # of the images, from which on a sign is one: a few of any net are odd
FEW = 0.05  # of the images may withstand where anything can be reached
GAINED = 0.5  # of what one step gains; two climbs of an honest net may well end on two hills, a quarter apart
ROUNDING = 1e-5  # of the logits


class Probed(NamedTuple):
    """What a net does at images, (...) each."""

    finite: Any  # the logits are
    slope: Any  # the largest value of the gradient of the margin
    entropy_slope: Any  # and of that of the cross-entropy
    apart: Any  # the largest difference of its logits
    foretold: Any  # how the margin was to change along a small step
    happened: Any  # and did
    influenced: Any  # by how much logits change where the image has another place, and other neighbours


def signs_of_net(logits_fn: jax.tree_util.Partial, x: jax.Array, goal: Goal, bounds: Bounds, count: int) -> list[str]:
    """Return the signs that the net itself gives, a sentence each.

    Args:
        logits_fn: images -> logits, as a tree.
        x: images (n, H, W, C), n >= 2.
        goal: their true classes.
        bounds: the least and the largest value of a pixel.
        count: how many of the images are real; the others only fill the batch.
    """
    found = _probe(logits_fn, x, goal, bounds=bounds)
    # Of every other image the batch was changed around it.
    influenced = np.asarray(found.influenced)[:count:2]
    found = Probed(*(np.asarray(values)[:count] for values in found))
    of, signs = f"of {count} images", []
    if repeated(logits_fn, x) is None:
        signs.append(
            "The net gives other logits when it is asked again: attacks climb one draw of its randomness and are "
            "judged on another. Average over it inside of logits_fn, with a key of its own."
        )
    elif (influenced > ROUNDING * found.apart[::2]).any():
        signs.append(
            "The logits of an image change with its place in the batch or with the other images there, as batch norm's "
            "in training do: pass a net in evaluation, such as training.predictor gives."
        )
    if not found.finite.all():
        signs.append(
            f"The logits of {np.sum(~found.finite)} {of} are infinite or NaN, which never counts as fooled: the net "
            "may be less robust than it seems."
        )
    known = np.isfinite(found.slope)
    if not known.all():
        signs.append(f"The gradient at {np.sum(~known)} {of} is infinite or NaN: no attack can follow it.")
    flat = known & (found.slope <= VANISHED)
    if flat.any():
        signs.append(
            f"The net has no gradient at {flat.sum()} {of}: attacks that climb stand still there. Attack what it "
            "rounds or cuts off by a smooth function in its place (BPDA)."
        )
    saturated = known & ~flat & (found.entropy_slope <= VANISHED)
    if saturated.any():
        signs.append(
            f"The cross-entropy has no gradient at {saturated.sum()} {of}, where logits are up to "
            f"{found.apart[saturated].max():.2g} apart and softmax is as good as 1: what climbs it stands still there, "
            "what climbs differences of logits does not."
        )
    visible = known & ~flat & (np.abs(found.foretold) > 10 * ROUNDING * np.maximum(found.apart, 1e-30))
    ratio = found.happened[visible] / found.foretold[visible]
    broken = int(np.sum(~((ratio > WORD[0]) & (ratio < WORD[1]))))
    if broken > SHARE * count:
        signs.append(
            f"At {broken} {of} the logits do not change as their gradient foretells, along a step of {STEP:g} of the "
            "pixels' range: gradients are shattered or random."
        )
    return signs


def signs_of_standing(
    key: jax.Array,
    logits_fn: LogitsFn,
    x: jax.Array,
    goal: Goal,
    climb: Callable[[jax.Array, float], jax.Array],
    *,
    epsilon: float,
    norm: str,
    bounds: Bounds,
    count: int,
) -> list[str]:
    """Return the signs that images give which withstood every attack, a sentence each.

    Args:
        key: a PRNG key.
        logits_fn, x, goal, bounds, count: as for `signs_of_net`.
        climb: (key, epsilon) -> the images of an attack with many steps that follows the gradient.
        epsilon, norm: of the attacks.
    """
    climb_key, draw_key, large_key = jax.random.split(key, 3)
    signs, of = [], f"of {count} images that withstood every attack"
    simple = _simple(draw_key, logits_fn, x, goal, jnp.float32(epsilon), norm=norm, bounds=bounds)
    values = (_objective(logits_fn, x, goal), *simple, _objective(logits_fn, climb(climb_key, epsilon), goal))
    clean, one, drawn, reached = (np.asarray(each)[:count] for each in values)
    for what, values in (("one step along the gradient", one), (f"{DRAWS} random images in the ball", drawn)):
        if np.sum(values > 0) > 1:  # one may lie on the boundary
            signs.append(f"{np.sum(values > 0)} {of} fall to {what}: more steps do not help.")
        least = clean + GAINED * (values - clean) - ROUNDING * np.abs(clean)
        behind = int(np.sum((values > clean) & (reached < least)))
        if behind > max(1, SHARE * count):
            signs.append(
                f"At {behind} {of} many steps get not even {GAINED:g} times as much nearer to an error as {what}: more "
                "steps do not help."
            )
    large = unrecognisable(x, goal, norm, bounds)
    left = int(np.sum(~(np.asarray(_objective(logits_fn, climb(large_key, large), goal))[:count] > 0)))
    if left > max(1, FEW * count):
        signs.append(
            f"With epsilon={large:.3g}, enough to turn any image into plain grey, {left} {of} still withstand: the "
            "accuracy does not go to 0 as epsilon grows."
        )
    return signs


def sign_of_black_box(fell: int, of: int) -> list[str]:
    """Return a sentence where many images fell to an attack without gradients that withstood those with."""
    if fell < 2 or fell <= 0.002 * of:
        return []
    return [
        f"Square, which sees no gradient, fooled {fell} of all {of} images after the others had failed at them: "
        "gradients may be masked. Give it more queries, and attack what masks them."
    ]


def unrecognisable(x: jax.Array, goal: Goal, norm: str, bounds: Bounds) -> float:
    """Return an epsilon with which any image can become the grey one between the bounds."""
    pixels = np.prod([x.shape[axis] for axis in image_axes(x, goal)])
    return float({"linf": 1.0, "l2": pixels**0.5, "l1": pixels}[norm] * (bounds[1] - bounds[0]) / 2)


@functools.partial(jax.jit, static_argnames="bounds")
def _probe(logits_fn: LogitsFn, x: jax.Array, goal: Goal, *, bounds: Bounds) -> Probed:
    low, high = bounds
    axes = image_axes(x, goal)
    found, values, slope = climbing(logits_fn, x, goal, negative_margin)
    entropy_slope = climbing(logits_fn, x, goal, cross_entropy)[2]
    moved = jnp.clip(x + STEP * (high - low) * jnp.sign(slope), low, high)
    odd = per_image(jnp.arange(len(x)) % 2 == 1, x)  # of a batch these change, and all move on by one place
    around = jnp.roll(jnp.where(odd, low + high - x, x), 1, 0)
    return Probed(
        jnp.isfinite(found).all(-1),
        jnp.abs(slope).max(axes),
        jnp.abs(entropy_slope).max(axes),
        found.max(-1) - found.min(-1),
        jnp.sum(slope.astype(values.dtype) * (moved - x), axes),
        negative_margin(logits(logits_fn, moved), goal) - values,
        jnp.abs(jnp.roll(logits(logits_fn, around), -1, 0) - found).max(-1),
    )


@functools.partial(jax.jit, static_argnames=("norm", "bounds"))
def _simple(
    key: jax.Array, logits_fn: LogitsFn, x: jax.Array, goal: Goal, epsilon: jax.Array, *, norm: str, bounds: Bounds
) -> tuple[jax.Array, jax.Array]:
    """Return the objective after one step along its gradient, and the largest of random images in the ball."""
    axes = image_axes(x, goal)
    slope = climbing(logits_fn, x, goal, negative_margin)[2]
    one = _objective(logits_fn, ascended(slope, x, epsilon, norm, bounds, axes), goal)
    draw = lambda key: _objective(logits_fn, random_start(key, x, epsilon, norm, bounds, axes), goal)  # noqa: E731
    return one, jax.lax.map(draw, jax.random.split(key, DRAWS)).max(0)


@jax.jit
def _objective(logits_fn: LogitsFn, x: jax.Array, goal: Goal) -> jax.Array:
    return negative_margin(logits(logits_fn, x), goal)
