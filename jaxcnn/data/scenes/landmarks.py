"""Points of shapes that have a front: where in a scene each of them lies."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import expect, expect_key, shown
from jaxcnn.data.scenes.generator import Scenes, checked_indices
from jaxcnn.data.scenes.layout import layout

__all__ = ["LANDMARKS", "landmarks"]

Point = tuple[float, float]
_HEART, _DROP = 1.06, 0.1  # side of its square, and how far it hangs: see `shapes`
_BITE = (0.95**2 - 0.74**2 + 0.45**2) / (2 * 0.45)  # where the circles of a crescent meet
# On the outline, in the frame of `shapes.outline`: two on the axis, then the two sides. Shapes that look the same
# after a turn have no such points.
LANDMARKS: Mapping[str, Mapping[str, Point]] = {
    "arrow": {"tip": (0.98, 0.0), "end": (-0.95, 0.0), "barb 1": (0.0, 0.82), "barb 2": (0.0, -0.82)},
    "heart": {
        "point": (0.0, -_HEART / math.sqrt(2) - _DROP),
        "notch": (0.0, _HEART / math.sqrt(2) - _DROP),
        "side 1": (_HEART / math.sqrt(8) + _HEART / 2, _HEART / math.sqrt(8) - _DROP),
        "side 2": (-_HEART / math.sqrt(8) - _HEART / 2, _HEART / math.sqrt(8) - _DROP),
    },
    "crescent": {
        "back": (-0.95, 0.0),
        "hollow": (0.45 - 0.74, 0.0),
        "horn 1": (_BITE, math.sqrt(0.95**2 - _BITE**2)),
        "horn 2": (_BITE, -math.sqrt(0.95**2 - _BITE**2)),
    },
}


def landmarks(scenes: Scenes, key: jax.Array, indices: Sequence[int] | np.ndarray) -> jax.Array:
    """Return the landmarks of each object of the scenes that `scenes.batch(key, indices)` draws.

    Point (u, v) of a shape of radius r, at (x, y) and turned by a, lies at
    size (x + r (u cos a - v sin a), y + r (u sin a + v cos a)).

    Args:
        scenes: of classes that have landmarks: arrow, heart, crescent.
        key: a typed key.
        indices: integers (N,), as of `Scenes.batch`.

    Returns:
        (N, K, 4, 2) float32: x and y in pixels, pixel (i, j) covering [j, j + 1] x [i, i + 1], of each object's
        points in the order of `LANDMARKS`; also of what other objects hide or the frame cuts off. Those of objects
        that there are not have no meaning.

    Raises:
        ValueError: classes without landmarks; indices of another rank, none, or out of range.
        TypeError: indices that are not integers.
    """
    where = "landmarks"
    ok = isinstance(scenes, Scenes)
    expect(ok, where, "a jaxcnn.data.Scenes", shown(scenes), "Pass the scenes that the images are of.", TypeError)
    without = [name for name in scenes.classes if name not in LANDMARKS]
    expect(not without, where, f"classes out of {list(LANDMARKS)}", shown(without), "Other shapes have no front.")
    expect_key(where, key)
    return _program(scenes)(key, checked_indices(indices))


@functools.lru_cache(maxsize=32)
def _program(scenes: Scenes) -> Callable[..., Any]:
    table = jnp.array([list(LANDMARKS[name].values()) for name in scenes.classes], jnp.float32)

    def of_one(key: jax.Array) -> jax.Array:
        # Split as `Scenes.draw` does.
        drawn = layout(
            jax.random.split(key)[0],
            objects=scenes.objects,
            classes=len(scenes.classes),
            bias=scenes.bias,
            biased=scenes.biased,
        )
        one = drawn.objects
        u, v = jnp.moveaxis(table[one.label], -1, 0)
        cos, sin = (one.radius * turn(one.angle) for turn in (jnp.cos, jnp.sin))
        x = one.x[:, None] + cos[:, None] * u - sin[:, None] * v
        y = one.y[:, None] + sin[:, None] * u + cos[:, None] * v
        return scenes.size * jnp.stack([x, y], -1)

    return jax.jit(lambda key, indices: jax.vmap(lambda i: of_one(jax.random.fold_in(key, i)))(indices))
