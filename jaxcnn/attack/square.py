"""Square: random search whose proposals are squares; the strongest known attack that sees outputs alone."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.attack.best import over_radii
from jaxcnn.attack.given import epsilons, expect_maps, prepared
from jaxcnn.attack.goal import Bounds, Goal, per_image
from jaxcnn.attack.norms import expect_norm, linf_ends, project
from jaxcnn.attack.objective import Objective, objective
from jaxcnn.attack.random_search import Found, asking, first_look, in_rows, random_search
from jaxcnn.attack.square_windows import Hills, corner, hills, inside, moved_mass, scaled_to, tiles
from jaxcnn.checking import expect_count, expect_flag, expect_key, number
from jaxcnn.classifier import LogitsFn
from jaxcnn.variants import chunk_of

__all__ = ["square"]

# After how many of 10,000 queries squares have half the area that they had.
HALVED = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)


def square(
    key: jax.Array,
    logits_fn: LogitsFn,
    x: Any,
    y: Any,
    *,
    epsilon: Any,
    norm: str = "linf",
    queries: int = 5000,
    fraction: float = 0.8,
    restarts: int = 1,
    loss: str | Objective = "margin",
    target: Any = None,
    bounds: Bounds = (0.0, 1.0),
    return_queries: bool = False,
) -> Any:
    """Return images in the ball that random squares have made as adversarial as they could, without a gradient.

    "linf": x + epsilon s, s = +-1 constant along columns at first; then a square at random has one sign in each
    channel, which stays if the objective rises. "l2" and "l1": the size of the change is epsilon; a window gets a hill
    beside a valley, and another one gives up what it had. The area of squares starts at `fraction` of the image and is
    halved after 0.1, 0.5, 2, 5, 10, 20, 40, 60 and 80 % of the queries.

    An image costs 1 query and, unless it is misclassified as it is, for each restart 1 and `queries` at most: it is
    left alone as soon as its goal is reached, and its place in the batch serves the others. So logits_fn is to treat
    the images along the last batch axis alike.

    Args:
        key: a PRNG key.
        logits_fn: images (..., H, W, C) -> logits (..., classes).
        x: images (..., H, W, C), floating, within the bounds.
        y: their true classes, one for all or one each.
        epsilon: the radius in units of the pixels, or an array (E...) of several.
        norm: "linf", "l2" or "l1".
        queries: proposals for each image and restart.
        fraction: of the image that the first squares cover, in (0, 1].
        restarts: how often what still stands is attacked anew.
        loss: the objective: "margin", "cross_entropy" (the paper's with a target), "dlr" (of 3 classes at least, with a
            target 4) or a function.
        target: the classes that are wanted instead, one for all or one each; None for any but y.
        bounds: the least and the largest value of a pixel.
        return_queries: return how often the net was asked, too.

    Returns:
        Adversarial images (E..., ..., H, W, C): with the goal reached, else the largest objective that was met. With
        `return_queries`, these and the queries of each image, int32 (E..., ...).

    Raises:
        ValueError: images out of bounds, epsilon below 0 or for "linf" beyond the width of the bounds, an unknown norm
            or loss, no queries, x that is flat.
        TypeError: x is not floating, no key.

    Source: Andriushchenko, Croce, Flammarion, Hein 2020, algorithms 1 to 3, with the schedule of AutoAttack's
    `SquareAttack`, whose "l1" this is, too. There one draw serves a whole batch; here each image has its own, and in
    "linf" a draw that would change nothing is turned round, as in the authors' first code.
    """
    where = "square"
    expect_key(where, key)
    logits_fn, x, goal, bounds = prepared(where, logits_fn, x, y, target=target, bounds=bounds)
    expect_maps(where, x, goal)
    expect_norm(where, norm)
    queries, restarts = expect_count(where, "queries", queries), expect_count(where, "restarts", restarts)
    fix = "It is the part of the image that the first squares cover."
    fraction = number(where, "fraction in (0, 1]", fraction, lambda part: 0 < part <= 1, fix)
    loss, chunk = objective(where, loss, logits_fn, x, target), chunk_of(where, None, x)
    epsilon = epsilons(where, epsilon, norm, bounds)
    return_queries = expect_flag(where, "return_queries", return_queries)
    sides, windows = _schedule(queries, fraction, x.shape[-3:-1], norm)
    options = {"norm": norm, "restarts": restarts, "loss": loss, "bounds": bounds, "chunk": chunk}
    found, asked = _run(key, logits_fn, x, goal, epsilon, sides, windows, **options)
    return (found, asked) if return_queries else found


@functools.partial(jax.jit, static_argnames=("norm", "restarts", "loss", "bounds", "chunk"))
def _run(
    key: jax.Array,
    logits_fn: LogitsFn,
    x: jax.Array,
    goal: Goal,
    epsilon: jax.Array,
    sides: jax.Array,
    windows: Hills | None,
    *,
    norm: str,
    restarts: int,
    loss: Objective,
    bounds: Bounds,
    chunk: int,
) -> tuple[jax.Array, jax.Array]:
    ask, given = asking(logits_fn, x, loss), in_rows(x, goal)

    def attacked(epsilon: jax.Array) -> tuple[jax.Array, jax.Array]:
        def begin(key: jax.Array) -> jax.Array:
            if windows is None:
                stripes = (*given.x.shape[:2], 1, *given.x.shape[3:])
                return _end(given.x, epsilon, jax.random.rademacher(key, stripes, x.dtype), bounds)
            begun = tiles(key, given.x, _tile(x.shape[-3:-1]), windows, _power(norm))
            if norm == "l1":  # the nearest in the ball keeps but the tops of the hills: few changes weigh more
                return project(given.x + begun.astype(x.dtype), given.x, epsilon, norm, bounds, (2, 3, 4))
            return scaled_to(epsilon, given.x, begun, _power(norm), bounds)

        def propose(key: jax.Array, x: jax.Array, image: jax.Array, turn: jax.Array) -> jax.Array:
            side = sides[turn]
            if windows is None:
                return _turned_square(key, x, image, side, epsilon, bounds)
            return moved_mass(key, x, image, side, epsilon, windows, _power(norm), bounds)

        def restart(best: Found, key: jax.Array) -> tuple[Found, None]:
            start_key, search_key = jax.random.split(key)
            begun = first_look(ask, begin(start_key), given.goal)
            begun = begun._replace(reached=begun.reached | best.reached)  # what is reached already is left alone
            found = random_search(search_key, ask, propose, given, begun, 1 + len(sides))
            better = ~best.reached & (found.reached | (found.value > best.value))
            kept = jax.tree.map(lambda new, old: jnp.where(per_image(better, new), new, old), found, best)
            return kept._replace(queries=best.queries + jnp.where(best.reached, 0, found.queries)), None

        begun = first_look(ask, given.x, given.goal)
        best = jax.lax.scan(restart, begun, jax.random.split(key, restarts))[0]
        return best.image.reshape(x.shape), best.queries.reshape(goal.label.shape)

    return over_radii(attacked, epsilon, chunk)


def _turned_square(
    key: jax.Array, x: jax.Array, image: jax.Array, side: jax.Array, epsilon: jax.Array, bounds: Bounds
) -> jax.Array:
    """Return images of which one square has signs drawn at random, or their opposite where those are what it has."""
    place_key, sign_key = jax.random.split(key)
    shape = x.shape[-3:-1]
    square = inside(*corner(place_key, side, shape), side, shape)
    sign = jax.random.rademacher(sign_key, (*side.shape, 1, 1, x.shape[-1]), x.dtype)
    has = jnp.all(~square | (image == _end(x, epsilon, sign, bounds)), (-3, -2, -1))
    sign = jnp.where(per_image(has, x), -sign, sign)
    return jnp.where(square, _end(x, epsilon, sign, bounds), image)


def _end(x: jax.Array, epsilon: jax.Array, sign: jax.Array, bounds: Bounds) -> jax.Array:
    """Return x + epsilon sign, within the bounds."""
    least, largest = linf_ends(x, epsilon, bounds)
    return jnp.where(sign > 0, largest, least)


def _schedule(queries: int, fraction: float, shape: tuple[int, ...], norm: str) -> tuple[jax.Array, Hills | None]:
    """Return the side of each query's square, and what is known beforehand of windows of these sides."""
    halved = np.searchsorted(HALVED, np.arange(queries) * 10_000 // queries)
    sides = np.round(np.sqrt(fraction / 2.0**halved * shape[0] * shape[1])).astype(int)
    if norm != "linf":  # a hill and a valley need three pixels, and a middle
        sides = np.maximum(sides, 3)
        sides += 1 - sides % 2
    sides = np.clip(sides, 1, min(shape))
    known = None if norm == "linf" else hills({*sides.tolist(), _tile(shape)}, min(shape), _power(norm))
    return jnp.asarray(sides, jnp.int32), known


def _tile(shape: tuple[int, ...]) -> int:
    """Return the side of the windows at the start, about five along a side."""
    return max(1, min(shape) // 5)


def _power(norm: str) -> int:
    return 2 if norm == "l2" else 1
