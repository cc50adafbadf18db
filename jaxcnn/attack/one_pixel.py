"""The one-pixel attack: which pixel, in which colour, fools the net? Found by differential evolution."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxcnn.attack.best import looked_at
from jaxcnn.attack.given import expect_maps, prepared
from jaxcnn.attack.goal import Bounds, Goal, per_image
from jaxcnn.attack.objective import Objective, objective
from jaxcnn.checking import expect_count, expect_flag, expect_key, scalar
from jaxcnn.classifier import LogitsFn
from jaxcnn.variants import chunk_of, over_variants

__all__ = ["one_pixel"]


def one_pixel(
    key: jax.Array,
    logits_fn: LogitsFn,
    x: Any,
    y: Any,
    *,
    pixels: int = 1,
    population: int = 400,
    generations: int = 100,
    mutation: float = 0.5,
    loss: str | Objective = "cross_entropy",
    target: Any = None,
    bounds: Bounds = (0.0, 1.0),
    chunk: int | None = None,
    return_queries: bool = False,
) -> Any:
    """Return images with a few pixels of other colours, those that evolution found to fool the net best.

    A member m is `pixels` places and colours. In each generation every one has a child, m_a + F (m_b - m_c) of three
    others drawn at random, which takes its place if the objective is no lower: places that leave the image come in on
    the other side, colours are cut at the bounds. In the beginning places are uniform, colours normal around the
    middle.

    An image costs 1 query and `population` for each generation and the first: it is left alone when its goal is
    reached.

    Args:
        key: a PRNG key.
        logits_fn: images (..., H, W, C) -> logits (..., classes).
        x: images (..., H, W, C), floating, within the bounds.
        y: their true classes, one for all or one each.
        pixels: how many may change, with all their channels.
        population: members for each image, at least 4.
        generations: at most.
        mutation: F.
        loss: the objective: "cross_entropy" orders members as the paper's probability does; "margin", "dlr" or a
            function.
        target: the classes that are wanted instead, one for all or one each; None for any but y.
        bounds: the least and the largest value of a pixel.
        chunk: members at once: memory for `chunk` times x. As many as are fast unless given.
        return_queries: return how often the net was asked, too.

    Returns:
        Images (..., H, W, C) with the goal reached, else the largest objective that was met; x itself where its goal is
        reached. With `return_queries`, these and the queries of each image, int32 (...).

    Raises:
        ValueError: images out of bounds, an unknown loss, a population below 4, more pixels than there are.
        TypeError: x is not floating, no key.

    Source: Su, Vargas, Sakurai 2019, section III; beside torchattacks' `OnePixel`.
    """
    where = "one_pixel"
    expect_key(where, key)
    logits_fn, x, goal, bounds = prepared(where, logits_fn, x, y, target=target, bounds=bounds)
    expect_maps(where, x, goal)
    pixels = expect_count(where, "pixels", pixels, most=x.shape[-3] * x.shape[-2])
    population = expect_count(where, "population", population, 4)
    generations = expect_count(where, "generations", generations)
    mutation = scalar(where, "mutation above 0", mutation, lambda f: f > 0, "Pass 0.5, say.")
    return_queries = expect_flag(where, "return_queries", return_queries)
    loss = objective(where, loss, logits_fn, x, target)
    options = {"pixels": pixels, "population": population, "generations": generations, "loss": loss}
    options |= {"bounds": bounds, "chunk": chunk_of(where, chunk, x)}
    found, asked = _run(key, logits_fn, x, goal, mutation, **options)
    return (found, asked) if return_queries else found


class _Population(NamedTuple):
    members: jax.Array  # (population, ..., pixels, 2 + C)
    value: jax.Array  # (population, ...)
    reached: jax.Array


@functools.partial(jax.jit, static_argnames=("pixels", "population", "generations", "loss", "bounds", "chunk"))
def _run(
    key: jax.Array,
    logits_fn: LogitsFn,
    x: jax.Array,
    goal: Goal,
    mutation: Any,
    *,
    pixels: int,
    population: int,
    generations: int,
    loss: Objective,
    bounds: Bounds,
    chunk: int,
) -> tuple[jax.Array, jax.Array]:
    def ask(image: jax.Array) -> tuple[jax.Array, jax.Array]:
        found = looked_at(logits_fn, image, goal, loss)
        return found.value, found.reached

    def rated(members: jax.Array) -> _Population:
        return _Population(members, *over_variants(lambda member: ask(_painted(x, member)), members, chunk))

    def breed(carry: tuple[jax.Array, _Population, jax.Array]) -> tuple[jax.Array, _Population, jax.Array]:
        number, parents, queries = carry
        queries = queries + jnp.where(standing(parents), population, 0)
        # In a new order, the three that follow each are three others at random.
        order = jax.random.permutation(jax.random.fold_in(evolution_key, number), population)
        parents = jax.tree.map(lambda leaf: leaf[order], parents)
        a, b, c = (jnp.roll(parents.members, shift, 0) for shift in (1, 2, 3))
        children = rated(_valid(a + mutation * (b - c), x, bounds))
        better = children.reached | ((children.value >= parents.value) & ~parents.reached)
        survivors = jax.tree.map(lambda new, old: jnp.where(per_image(better, new), new, old), children, parents)
        return number + 1, survivors, queries

    def standing(found: _Population) -> jax.Array:
        return ~(settled | found.reached.any(0))

    place_key, colour_key, evolution_key = jax.random.split(key, 3)
    value, settled = ask(x)
    lead = (population, *goal.label.shape, pixels)
    places = jax.random.uniform(place_key, (*lead, 2)) * jnp.asarray(x.shape[-3:-1])
    low, high = bounds
    colours = (low + high) / 2 + (high - low) / 2 * jax.random.normal(colour_key, (*lead, x.shape[-1]))
    first = rated(_valid(jnp.concatenate([places, colours], -1), x, bounds))
    queries = 1 + jnp.where(settled, 0, population)
    goes_on = lambda carry: (carry[0] < generations) & standing(carry[1]).any()  # noqa: E731
    _, last, queries = jax.lax.while_loop(goes_on, breed, (jnp.zeros((), jnp.int32), first, queries))

    best = jnp.where(last.reached, jnp.inf, last.value).argmax(0)
    take = lambda leaf: jnp.take_along_axis(leaf, per_image(best, leaf[0])[None], 0)[0]  # noqa: E731
    member, found, hit = (take(leaf) for leaf in last)
    changed = ~settled & (hit | (found > value))
    return jnp.where(per_image(changed, x), _painted(x, member), x), queries


def _valid(members: jax.Array, x: jax.Array, bounds: Bounds) -> jax.Array:
    places = jnp.mod(members[..., :2], jnp.asarray(x.shape[-3:-1], members.dtype))
    return jnp.concatenate([places, jnp.clip(members[..., 2:], *bounds)], -1)


def _painted(x: jax.Array, member: jax.Array) -> jax.Array:
    """Return the images with the pixels of a member (..., pixels, 2 + C); of several at one place the last."""
    height, width = x.shape[-3:-1]
    place = jnp.minimum(member[..., :2].astype(jnp.int32), jnp.asarray([height - 1, width - 1]))

    def paint(number: jax.Array, image: jax.Array) -> jax.Array:
        row, column = (place[..., number, axis, None, None] for axis in (0, 1))
        here = (jnp.arange(height)[:, None] == row) & (jnp.arange(width) == column)
        return jnp.where(here[..., None], member[..., number, None, None, 2:].astype(x.dtype), image)

    return jax.lax.fori_loop(0, member.shape[-2], paint, x)
