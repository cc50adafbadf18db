"""What attacks share that see the class alone: where they start, how they come to the boundary, and where they end."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.attack.goal import Bounds, Goal, logits, per_image, reached
from jaxcnn.attack.norms import size
from jaxcnn.checking import expect, shaped, shown
from jaxcnn.classifier import LogitsFn

__all__ = ["MARGIN", "Ask", "Start", "beyond", "given_start", "start", "to_boundary", "whether"]

Ask = Callable[[jax.Array], jax.Array]
"""Images -> (...), whether their goals are reached."""

DRAWS = 100  # of noise, until one is adversarial
BLENDS = 50  # of it with the image
MARGIN = 1e-3  # by which a change is made larger in the end, so that rounding does not undo it


class Start(NamedTuple):
    """Where an attack starts."""

    image: jax.Array  # adversarial; x where there is nothing to do
    active: jax.Array  # (...), whether there is
    queries: jax.Array  # (...), how often the net was asked


def whether(logits_fn: LogitsFn, goal: Goal) -> Ask:
    """Return the one question of these attacks."""
    return lambda images: reached(logits(logits_fn, images), goal)


def given_start(where: str, start: Any, x: jax.Array, bounds: Bounds) -> jax.Array | None:
    """Return the images to start from in x's dtype; raise an error unless they are such."""
    if start is None:
        return None
    start = shaped(where, "start", start, x.shape).astype(x.dtype)
    if not isinstance(start, jax.core.Tracer):
        ok = bool(np.all((np.asarray(start) >= bounds[0]) & (np.asarray(start) <= bounds[1])))
        expect(ok, where, f"start within bounds=({bounds[0]}, {bounds[1]})", shown(start), "Scale them as the images.")
    return start


def start(key: jax.Array, ask: Ask, x: jax.Array, given: jax.Array | None, bounds: Bounds) -> Start:
    """Return adversarial images on the way to the given ones or, where those are not, to uniform noise that is.

    The first of 50 evenly spaced blends that is adversarial. The net is asked once about x and the given image, up to
    100 times about noise, and up to 49 times about blends.
    """
    settled = ask(x)
    image, found, queries = x, settled, jnp.ones_like(settled, jnp.int32)
    if given is not None:
        found = settled | ask(given)
        image = jnp.where(per_image(found & ~settled, x), given, x)
        queries = queries + ~settled

    def draw(carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        number, image, found, queries = carry
        noise = jax.random.uniform(jax.random.fold_in(key, number), x.shape, x.dtype, *bounds)
        hit = ask(noise) & ~found
        return number + 1, jnp.where(per_image(hit, x), noise, image), found | hit, queries + ~found

    def blend(carry: tuple[jax.Array, ...], share: jax.Array) -> tuple[tuple[jax.Array, ...], None]:
        nearest, done, queries = carry
        moved = jnp.clip(x + share.astype(x.dtype) * (image - x), *bounds)
        hit = ask(moved) & ~done
        return (jnp.where(per_image(hit, x), moved, nearest), done | hit, queries + ~done), None

    goes_on = lambda carry: (carry[0] < DRAWS) & ~carry[2].all()  # noqa: E731
    _, image, found, queries = jax.lax.while_loop(goes_on, draw, (jnp.zeros((), jnp.int32), image, found, queries))
    active = found & ~settled
    shares = jnp.arange(1, BLENDS) / BLENDS
    image, _, queries = jax.lax.scan(blend, (image, ~active, queries), shares)[0]
    return Start(image, active, queries)


def to_boundary(
    ask: Ask, x: jax.Array, image: jax.Array, norm: str, bounds: Bounds, axes: tuple[int, ...], halvings: int
) -> jax.Array:
    """Return what lies between x and adversarial images, on the far side of the boundary and close to it.

    Between them lie x + s (image - x), or in "linf" what the ball of radius s max |image - x| leaves of the image; s is
    found by bisection, known to 2^-halvings.
    """
    reach = per_image(size(image - x, "linf", axes), x).astype(x.dtype)

    def halve(_: jax.Array, carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        low, high, best = carry
        middle = (low + high) / 2
        share = per_image(middle, x).astype(x.dtype)
        if norm == "linf":
            moved = jnp.clip(image, x - share * reach, x + share * reach)
        else:
            moved = jnp.clip(x + share * (image - x), *bounds)
        hit = ask(moved)
        return jnp.where(hit, low, middle), jnp.where(hit, middle, high), jnp.where(per_image(hit, x), moved, best)

    low = jnp.zeros(x.shape[: axes[0]])
    return jax.lax.fori_loop(0, halvings, halve, (low, jnp.ones_like(low), image))[2]


def beyond(ask: Ask, x: jax.Array, image: jax.Array, bounds: Bounds) -> jax.Array:
    """Return adversarial images a little farther from x, where they are adversarial there, too."""
    pushed = jnp.clip(x + (1 + MARGIN) * (image - x), *bounds).astype(x.dtype)
    return jnp.where(per_image(ask(pushed), x), pushed, image)
