"""SimBA: one direction of an orthonormal basis after the other, forwards or else backwards, kept where it helps."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.attack.best import over_radii
from jaxcnn.attack.given import epsilons, prepared
from jaxcnn.attack.goal import Bounds, Goal, image_axes
from jaxcnn.attack.norms import expect_norm, project
from jaxcnn.attack.objective import Objective, objective
from jaxcnn.attack.random_search import asking, first_look, in_rows, random_search
from jaxcnn.checking import expect, expect_choice, expect_count, expect_flag, expect_key, scalar
from jaxcnn.classifier import LogitsFn
from jaxcnn.variants import chunk_of

__all__ = ["simba"]

BASES = ("dct", "pixel")


def simba(
    key: jax.Array,
    logits_fn: LogitsFn,
    x: Any,
    y: Any,
    *,
    epsilon: Any,
    norm: str = "l2",
    basis: str = "dct",
    frequencies: int = 28,
    step_size: float = 0.2,
    queries: int = 5000,
    loss: str | Objective = "cross_entropy",
    target: Any = None,
    bounds: Bounds = (0.0, 1.0),
    return_queries: bool = False,
) -> Any:
    """Return images in the ball to which steps along basis vectors were added that made them more adversarial.

    d <- d + a q or, if the objective did not rise, d - a q, if it rises: q goes through the basis in random order, each
    once, and then again. After T steps ||d||_2 <= a sqrt(T), before the ball cuts it.

    An image costs 1 query and `queries` more at most: it is left alone as soon as its goal is reached, and its place
    in the batch serves the others. So logits_fn is to treat the images along the last batch axis alike.

    Args:
        key: a PRNG key; the order of the basis is that of all images.
        logits_fn: images (..., H, W, C) -> logits (..., classes).
        x: images (..., H, W, C), floating, within the bounds; with the basis "pixel" vectors as well.
        y: their true classes, one for all or one each.
        epsilon: the radius in units of the pixels, or an array (E...) of several; the paper has none: pass a large one,
            for "linf" the width of the bounds.
        norm: "l2" or "linf".
        basis: "dct", the cosines of low frequency, or "pixel", single values of the image.
        frequencies: how many of the lowest along each side the basis "dct" has; the paper takes 28 of 224.
        step_size: a, in units of the pixels.
        queries: for each image after the first.
        loss: the objective: "cross_entropy" (the paper's), "margin", "dlr" (of 3 classes at least, with a
            target 4) or a function.
        target: the classes that are wanted instead, one for all or one each; None for any but y.
        bounds: the least and the largest value of a pixel.
        return_queries: return how often the net was asked, too.

    Returns:
        Adversarial images (E..., ..., H, W, C): with the goal reached, else the largest objective that was met. With
        `return_queries`, these and the queries of each image, int32 (E..., ...).

    Raises:
        ValueError: images out of bounds, epsilon below 0 or for "linf" beyond the width of the bounds, an unknown norm,
            basis or loss, a step that is not positive.
        TypeError: x is not floating, no key.

    Source: Guo, Gardner, You, Wilson, Weinberger 2019, algorithm 1, and section 3.1 for the basis.
    """
    where = "simba"
    expect_key(where, key)
    logits_fn, x, goal, bounds = prepared(where, logits_fn, x, y, target=target, bounds=bounds)
    expect_norm(where, norm, ("l2", "linf"))
    expect_choice(where, f"basis as one of {BASES}", basis, BASES)
    axes, fix = image_axes(x, goal), 'Pass basis="pixel" for what is flat.'
    expect(basis == "pixel" or len(axes) == 3, where, "x of shape (..., H, W, C)", x.shape, fix)
    frequencies, queries = (
        expect_count(where, name, value) for name, value in (("frequencies", frequencies), ("queries", queries))
    )
    step_size = scalar(where, "step_size above 0", step_size, lambda a: a > 0, "It has the unit of the pixels.")
    loss, chunk = objective(where, loss, logits_fn, x, target), chunk_of(where, None, x)
    epsilon = epsilons(where, epsilon, norm, bounds)
    return_queries = expect_flag(where, "return_queries", return_queries)
    options = {"norm": norm, "basis": basis, "frequencies": frequencies, "queries": queries, "loss": loss}
    found, asked = _run(key, logits_fn, x, goal, epsilon, step_size, **options, bounds=bounds, chunk=chunk)
    return (found, asked) if return_queries else found


@functools.partial(jax.jit, static_argnames=("norm", "basis", "frequencies", "queries", "loss", "bounds", "chunk"))
def _run(
    key: jax.Array,
    logits_fn: LogitsFn,
    x: jax.Array,
    goal: Goal,
    epsilon: jax.Array,
    step_size: Any,
    *,
    norm: str,
    basis: str,
    frequencies: int,
    queries: int,
    loss: Objective,
    bounds: Bounds,
    chunk: int,
) -> tuple[jax.Array, jax.Array]:
    ask, given = asking(logits_fn, x, loss), in_rows(x, goal)
    shape = given.x.shape[2:]
    sides = [min(frequencies, n) for n in shape[:2]] if basis == "dct" else []
    count = math.prod(sides) * shape[-1] if basis == "dct" else math.prod(shape)
    order_key, key = jax.random.split(key)
    rounds = -(-queries // count)  # a direction costs a query at least
    order = jax.vmap(lambda key: jax.random.permutation(key, count))(jax.random.split(order_key, rounds)).reshape(-1)

    def attacked(epsilon: jax.Array) -> tuple[jax.Array, jax.Array]:
        def propose(key: jax.Array, x: jax.Array, image: jax.Array, turn: jax.Array) -> jax.Array:
            direction = (_wave if basis == "dct" else _unit)(order[turn // 2], shape, sides)
            way = jnp.where(turn % 2 == 0, step_size, -step_size).reshape(*turn.shape, *(1,) * len(shape))
            moved = image + (way * direction).astype(x.dtype)
            return project(moved, x, epsilon, norm, bounds, tuple(range(2, x.ndim)))

        begun = first_look(ask, given.x, given.goal)
        found = random_search(key, ask, propose, given, begun, 1 + queries, stride=2)
        return found.image.reshape(x.shape), found.queries.reshape(goal.label.shape)

    return over_radii(attacked, epsilon, chunk)


def _unit(index: jax.Array, shape: tuple[int, ...], sides: list[int]) -> jax.Array:
    """Return images (..., H, W, C) of which one value is 1."""
    values = jnp.arange(math.prod(shape)) == index[..., None]
    return values.reshape(*index.shape, *shape).astype(jnp.float32)


def _wave(index: jax.Array, shape: tuple[int, ...], sides: list[int]) -> jax.Array:
    """Return images (..., H, W, C) of which one channel is a product of cosines, of length 1."""
    rest, channel = jnp.divmod(index, shape[-1])
    down, across = (jnp.asarray(_cosines(n))[at] for n, at in zip(shape[:2], jnp.divmod(rest, sides[1]), strict=True))
    own = jax.nn.one_hot(channel, shape[-1])
    return jnp.einsum("...h,...w,...c->...hwc", down, across, own)


def _cosines(size: int) -> np.ndarray:
    """Return the orthonormal cosines of the DCT-II, (frequencies, places)."""
    place, wave = np.arange(size) + 0.5, np.arange(size)[:, None]
    scale = np.where(wave == 0, math.sqrt(1 / size), math.sqrt(2 / size))
    return np.asarray(scale * np.cos(np.pi * wave * place / size), np.float32)
