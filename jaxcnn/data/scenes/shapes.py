"""Ten shapes as signed distances, each of one or two parts."""

import functools
import itertools
import math
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

__all__ = ["CLASSES", "PARTS", "PARTS_OF", "outline"]

PARTS = ("background", "rim", "body", "core", "tip", "arm", "petal", "head", "stem")
# Within its rim a shape is of the first part where its seam is negative, and of the second elsewhere.
PARTS_OF: Mapping[str, tuple[str, str]] = {
    "disc": ("core", "body"),
    "ring": ("body", "body"),
    "square": ("tip", "body"),
    "triangle": ("tip", "body"),
    "star": ("core", "arm"),
    "cross": ("core", "arm"),
    "heart": ("tip", "body"),
    "crescent": ("tip", "body"),
    "arrow": ("head", "stem"),
    "flower": ("core", "petal"),
}
CLASSES = tuple(PARTS_OF)

Distances = tuple[jax.Array, jax.Array]
Point = tuple[float, float]


def outline(shape: jax.Array, x: jax.Array, y: jax.Array) -> Distances:
    """Return how far points are from a shape's outline and from the seam between its two parts.

    Args:
        shape: int32 (), an index into `CLASSES`.
        x, y: floating, of one shape; the shape lies within the unit disc, x to its right, y upwards.

    Returns:
        outline, seam: like x, negative inside the shape and in its first part. Near corners between curves (of
        heart, crescent and flower) the first may fall short of the distance; it never exceeds it.

    Source:
        Distances of points to segments and circles; symmetric shapes by mirroring the plane into one sector, as in
        Hart 1996, "Sphere tracing".
    """
    found = [_OUTLINES[name](x, y) for name in CLASSES]
    return jax.lax.select_n(shape, *(d for d, _ in found)), jax.lax.select_n(shape, *(s for _, s in found))


def _disc(x: jax.Array, y: jax.Array) -> Distances:
    return _length(x, y) - 0.86, _length(x, y) - 0.4


def _ring(x: jax.Array, y: jax.Array) -> Distances:
    return jnp.abs(_length(x, y) - 0.7) - 0.25, jnp.ones_like(x)


def _square(x: jax.Array, y: jax.Array) -> Distances:
    half = 0.7
    x, y = jnp.abs(x), jnp.abs(y)
    x, y = jnp.minimum(x, y), jnp.maximum(x, y)
    return _edge(x, y, (0.0, half), (half, half)), 0.64 - _length(x, y)


def _triangle(x: jax.Array, y: jax.Array) -> Distances:
    seam = 0.56 - _length(x, y)
    x, y = _folded(x, y, 3)
    return _edge(x, y, (0.0, 1.0), _at(0.5, math.pi / 3)), seam


def _star(x: jax.Array, y: jax.Array) -> Distances:
    seam = _length(x, y) - 0.42
    x, y = _folded(x, y, 5)
    return _edge(x, y, (0.0, 1.0), _at(0.47, math.pi / 5)), seam


def _cross(x: jax.Array, y: jax.Array) -> Distances:
    long, wide = 0.94, 0.32
    x, y = jnp.abs(x), jnp.abs(y)
    x, y = jnp.minimum(x, y), jnp.maximum(x, y)
    end, side = _segment(x, y, (0.0, long), (wide, long)), _segment(x, y, (wide, long), (wide, wide))
    inside = (x < wide) & (y < long)
    return _signed(jnp.minimum(end, side), inside), jnp.maximum(x, y) - wide


def _heart(x: jax.Array, y: jax.Array) -> Distances:
    # A square on its corner and two half discs on its upper sides.
    side, drop = 1.06, 0.1
    x, y = jnp.abs(x), y + drop
    square = (x + jnp.abs(y)) / math.sqrt(2) - side / 2
    disc = _length(x - side / math.sqrt(8), y - side / math.sqrt(8)) - side / 2
    return jnp.minimum(square, disc), y + 0.34


def _crescent(x: jax.Array, y: jax.Array) -> Distances:
    bite = 0.74 - _length(x - 0.45, y)
    return jnp.maximum(_length(x, y) - 0.95, bite), -0.25 - x


def _arrow(x: jax.Array, y: jax.Array) -> Distances:
    y = jnp.abs(y)
    tip, barb, neck, end = (0.98, 0.0), (0.0, 0.82), (0.0, 0.3), (-0.95, 0.0)
    corners = [tip, barb, neck, (end[0], neck[1]), end]
    squares = [_segment(x, y, a, b) for a, b in itertools.pairwise(corners)]
    head = (x > barb[0]) & (x / tip[0] + y / barb[1] < 1)
    stem = (x > end[0]) & (x <= neck[0]) & (y < neck[1])
    return _signed(functools.reduce(jnp.minimum, squares), head | stem), neck[0] - x


def _flower(x: jax.Array, y: jax.Array) -> Distances:
    centre = _length(x, y)
    x, y = _folded(x, y, 5)
    return jnp.minimum(_length(x, y - 0.6) - 0.36, centre - 0.46), centre - 0.3


_OUTLINES: Mapping[str, Callable[[jax.Array, jax.Array], Distances]] = {
    "disc": _disc,
    "ring": _ring,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "cross": _cross,
    "heart": _heart,
    "crescent": _crescent,
    "arrow": _arrow,
    "flower": _flower,
}


def _length(x: jax.Array, y: jax.Array) -> jax.Array:
    return jnp.sqrt(x * x + y * y)


def _at(radius: float, angle: float) -> Point:
    """The point at that distance from the origin, at that angle (clockwise) from the y axis."""
    return radius * math.sin(angle), radius * math.cos(angle)


def _folded(x: jax.Array, y: jax.Array, order: int) -> tuple[jax.Array, jax.Array]:
    """Mirror the plane into the sector of angles 0..pi/order from the y axis."""
    half = math.pi / order
    cos, sin = math.cos(half), math.sin(half)
    x, reach = jnp.abs(x), math.pi
    while reach > half * 1.001:
        beyond = 2 * jnp.maximum(x * cos - y * sin, 0)
        x, y = jnp.abs(x - beyond * cos), y + beyond * sin
        reach = max(half, reach - 2 * half)
    return x, y


def _segment(x: jax.Array, y: jax.Array, a: Point, b: Point) -> jax.Array:
    """The squared distance to the segment from a to b."""
    along = (b[0] - a[0], b[1] - a[1])
    x, y = x - a[0], y - a[1]
    t = jnp.clip((x * along[0] + y * along[1]) / (along[0] ** 2 + along[1] ** 2), 0, 1)
    return (x - t * along[0]) ** 2 + (y - t * along[1]) ** 2


def _edge(x: jax.Array, y: jax.Array, a: Point, b: Point) -> jax.Array:
    """The signed distance to the outline whose part in the folded sector is the segment from a to b."""
    inside = (b[0] - a[0]) * (y - a[1]) < (b[1] - a[1]) * (x - a[0])
    return _signed(_segment(x, y, a, b), inside)


def _signed(square: jax.Array, inside: jax.Array) -> jax.Array:
    distance = jnp.sqrt(square)
    return jnp.where(inside, -distance, distance)
