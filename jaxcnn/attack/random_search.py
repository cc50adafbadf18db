"""Random search without gradients: proposals one after the other, of which each image keeps what is better."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxcnn.attack.goal import Goal, logits, per_image, reached
from jaxcnn.attack.objective import Objective
from jaxcnn.classifier import LogitsFn

__all__ = ["Found", "Given", "asking", "first_look", "in_rows", "random_search"]


class Given(NamedTuple):
    """Images, and what is wanted of them, in rows: two axes in front, the last of those that there were and the others.

    What is in one row may change places: the net is to treat images along their last axis alike.
    """

    x: jax.Array  # (sets, images, H, W, C)
    goal: Goal  # (sets, images)


class Found(NamedTuple):
    """The best that was found, (sets, images, ...)."""

    image: jax.Array
    value: jax.Array  # the objective
    reached: jax.Array  # whether the goal is
    queries: jax.Array  # how often the net was asked
    turn: jax.Array  # the number of the next proposal


Ask = Callable[[jax.Array, Goal], tuple[jax.Array, jax.Array]]
"""`(images, goal) -> (objective, whether the goal is reached)`, in rows."""
Propose = Callable[[jax.Array, jax.Array, jax.Array, jax.Array], jax.Array]
"""`(key, x, best image so far, turn) -> images`, in rows."""


def in_rows(x: jax.Array, goal: Goal) -> Given:
    """Return images and their goal in rows."""
    lead = goal.label.shape
    rows = math.prod(lead[:-1]), lead[-1] if lead else 1
    return Given(*jax.tree.map(lambda a: a.reshape(*rows, *a.shape[len(lead) :]), (x, goal)))


def asking(logits_fn: LogitsFn, x: jax.Array, loss: Objective) -> Ask:
    """Return the question to a net that takes images of x's shape, for images in rows."""

    def ask(image: jax.Array, goal: Goal) -> tuple[jax.Array, jax.Array]:
        found = logits(logits_fn, image.reshape(x.shape))
        found = found.reshape(*goal.label.shape, found.shape[-1])
        value = loss(found, goal)
        return jnp.where(jnp.isnan(value), -jnp.inf, value), reached(found, goal)

    return ask


def first_look(ask: Ask, image: jax.Array, goal: Goal) -> Found:
    """Return where a search begins: images in rows, asked about once."""
    value, hit = ask(image, goal)
    one = jnp.ones_like(goal.label)
    return Found(image, value, hit, one, jnp.zeros_like(one))


def random_search(
    key: jax.Array, ask: Ask, propose: Propose, given: Given, found: Found, queries: int, *, stride: int = 1
) -> Found:
    """Return what is found when each image asks `queries` times at most, or until its goal is reached.

    A proposal is kept if the objective rises or the goal is reached. When images have reached theirs, their places in
    the batch go to the next proposals of those that still stand, made as if those before would be rejected; of them
    the first that is kept counts, and those behind it were not asked. The outcome is distributed as if each image was
    asked one proposal at a time, but the last image of a batch is asked a whole batch at once.

    Args:
        key: a PRNG key; each step draws from a key of its own.
        ask: the question to the net.
        propose: the next images.
        given, found: the images, and from where to go on.
        queries: how often each image is asked at most, those that it has been asked included.
        stride: proposals come in groups of so many, of which one at most is kept.
    """
    sets, size = found.value.shape
    # Counts are int32 as those of `Found`, which a loop carries, whatever the default is.
    place, row = jnp.arange(size, dtype=jnp.int32), jnp.arange(sets)[:, None]

    def standing(found: Found) -> jax.Array:
        return ~found.reached & (found.queries < queries)

    def step(carry: tuple[jax.Array, Found]) -> tuple[jax.Array, Found]:
        draw, found = carry
        stands = standing(found)
        count = jnp.maximum(stands.sum(-1, keepdims=True, dtype=jnp.int32), 1)
        which = jnp.argsort(~stands, -1, stable=True)[row, place % count]  # the image that a place serves
        ahead = place // count  # how many other proposals for that image come before
        x, goal, image, value, asked, turn, real = jax.tree.map(
            lambda leaf: leaf[row, which], (*given, found.image, found.value, found.queries, found.turn, stands)
        )
        image = propose(jax.random.fold_in(key, draw), x, image, turn + ahead)
        reward, hit = ask(image, goal)
        better = (hit | (reward > value)) & real & (asked + ahead < queries)
        first = jnp.full((sets, size), size, jnp.int32).at[row, which].min(jnp.where(better, ahead, size))
        rank = jnp.cumsum(stands, -1, dtype=jnp.int32) - 1
        kept = first < size
        source = jnp.where(kept, rank + count * first, 0)

        def choose(new: jax.Array, old: jax.Array) -> jax.Array:
            return jnp.where(per_image(kept, old), new[row, source], old)

        rejected = jnp.minimum((size - 1 - rank) // count + 1, queries - found.queries)
        spent = jnp.where(stands, jnp.where(kept, first + 1, rejected), 0)
        next_group = (found.turn + first) // stride * stride + stride
        return draw + 1, Found(
            choose(image, found.image),
            choose(reward, found.value),
            choose(hit, found.reached),
            found.queries + spent,
            jnp.where(kept, next_group, found.turn + spent),
        )

    return jax.lax.while_loop(lambda carry: standing(carry[1]).any(), step, (jnp.zeros((), jnp.int32), found))[1]
