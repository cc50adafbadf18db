"""What is in a scene, and where: all that is drawn from the key but the noise."""

from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxcnn.data.scenes.palette import COLOURS, tones
from jaxcnn.data.scenes.textures import TEXTURES

__all__ = ["Layout", "Objects", "Surfaces", "layout"]

CANDIDATES = 3  # places tried for each object


class Objects(NamedTuple):
    """K objects, the one of the largest radius first; all of shape (K,), lengths in heights of the image."""

    exists: jax.Array  # bool, true of the first ones
    label: jax.Array  # int32
    x: jax.Array
    y: jax.Array
    radius: jax.Array
    angle: jax.Array  # radians
    depth: jax.Array  # the smaller hides the larger


class Surfaces(NamedTuple):
    """How the ground and K objects look; the leading axis is 1 + K."""

    colour: jax.Array  # int32, index into COLOURS
    texture: jax.Array  # int32, index into TEXTURES
    first: jax.Array  # (1 + K, 3), the two tones in sRGB
    second: jax.Array
    angle: jax.Array  # of the texture, radians
    period: jax.Array  # of the texture, and where it begins, in heights of the image
    x: jax.Array
    y: jax.Array
    seed: jax.Array  # uint32


class Layout(NamedTuple):
    """A scene before it is painted."""

    objects: Objects
    surfaces: Surfaces
    sun: jax.Array  # (2,), the direction (x, y) in which shadows fall, of length 1
    slope: jax.Array  # how much brighter the light is in the middle than half a height along the sun
    grain: jax.Array  # in [0, 1), how much of the largest noise there is


def layout(key: jax.Array, *, objects: tuple[int, int], classes: int, bias: float, biased: str) -> Layout:
    """Return a random scene.

    Args:
        key: a typed key.
        objects: the smallest and the largest number of objects.
        classes: how many classes there are.
        bias: the probability that an object's colour or texture is that of its class, or the ground's that of object 1.
        biased: which of them, "colour", "texture" or "ground" for both of the ground.
    """
    most = objects[1]
    # All random numbers in one draw: each row has one number for the scene or its ground and one for each object.
    draw = iter(jax.random.uniform(key, (18 + 2 * CANDIDATES, 1 + most)))
    number = objects[0] + _choice(next(draw)[0], objects[1] - objects[0] + 1)
    label, size, angle, depth = _choice(next(draw)[1:], classes), next(draw), next(draw), next(draw)
    radius = 0.23 + 0.14 * size[0]
    radius = jnp.where(jnp.arange(most) == 0, radius, radius * (0.45 + 0.35 * size[1:]))
    x, y = _places(jnp.stack([jnp.stack([next(draw)[1:], next(draw)[1:]], -1) for _ in range(CANDIDATES)], 1), radius)
    turn = 2 * jnp.pi * angle
    return Layout(
        Objects(jnp.arange(most) < number, label, x, y, radius, turn[1:], depth[1:]),
        _surfaces(draw, label, x, y, bias, biased),
        sun=jnp.stack([jnp.cos(turn[0]), jnp.sin(turn[0])]),
        slope=0.25 * depth[0],
        grain=next(draw)[0],
    )


def _choice(draw: jax.Array, number: int) -> jax.Array:
    """Numbers uniform in [0, 1) as uniform choices of 0..number-1."""
    return jnp.minimum((draw * number).astype(jnp.int32), number - 1)


def _places(candidates: jax.Array, radius: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Of each object's candidates, (K, n, 2) in [0, 1), the farthest from the objects before it (Mitchell 1991)."""
    # Of the first object little lies outside the image, of the others more.
    margin = jnp.where(jnp.arange(len(radius)) == 0, 0.9, 0.6) * radius
    candidates = margin[:, None, None] + (1 - 2 * margin)[:, None, None] * candidates
    places = [candidates[0, 0]]
    for k in range(1, len(radius)):
        gaps = jnp.linalg.norm(candidates[k][:, None] - jnp.stack(places), axis=-1) - radius[:k]
        places.append(candidates[k, jnp.argmax(jnp.min(gaps, 1))])
    x, y = jnp.stack(places).T
    return x, y


def _surfaces(
    draw: Iterator[jax.Array], label: jax.Array, x: jax.Array, y: jax.Array, bias: float, biased: str
) -> Surfaces:
    ground = jnp.arange(1 + len(label)) == 0
    colour, texture = _choice(next(draw), len(COLOURS)), _choice(next(draw), len(TEXTURES))
    own, of_class = next(draw) < bias, jnp.concatenate([label[:1], label])
    own = own & (ground if biased == "ground" else ~ground)
    colour = jnp.where(own & (biased != "texture"), of_class, colour)
    texture = jnp.where(own & (biased != "colour"), of_class, texture)
    first, second = tones(colour, jnp.stack([next(draw) for _ in range(4)]), ground=ground)
    angle, period = 2 * jnp.pi * next(draw), 0.1 + 0.08 * next(draw)
    seed = (next(draw) * 2**24).astype(jnp.uint32)
    # Textures begin within a period of their object's centre, the ground's anywhere.
    x, y = (jnp.where(ground, by, jnp.pad(at, (1, 0)) + period * by) for at, by in ((x, next(draw)), (y, next(draw))))
    return Surfaces(colour, texture, first, second, angle, period, x, y, seed)
