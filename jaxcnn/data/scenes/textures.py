"""Ten textures of two tones, antialiased."""

import jax
import jax.numpy as jnp

__all__ = ["TEXTURES", "texture"]

TEXTURES = ("plain", "stripes", "checks", "dots", "rings", "waves", "zigzag", "bricks", "grid", "clouds")


def texture(kind: jax.Array, u: jax.Array, v: jax.Array, *, pixel: jax.Array, seed: jax.Array) -> jax.Array:
    """Return how much of the second of two tones each point of a texture has.

        y = clip(d / pixel + 1/2, 0, 1),    d the distance into the second tone, negative in the first

    Args:
        kind: int32 (), an index into `TEXTURES`.
        u, v: floating, of one shape, in periods of the texture.
        pixel: floating (), the width of a pixel, in periods.
        seed: uint32 (), which clouds.

    Returns:
        floating in [0, 1], like u.

    Source:
        Distances to stripes, squares and circles. Clouds are value noise: hashed numbers at the points of a lattice,
        smoothly interpolated (Perlin 1985, "An image synthesizer").
    """
    tu, tv = _triangle(u), _triangle(v)
    a, b = tu - 0.25, tv - 0.25
    row = jnp.floor(2 * v)
    joint = jnp.minimum(_triangle(u + 0.5 * row), 0.5 * _triangle(2 * v))
    slow = 2 * _triangle(0.5 * u)
    depth = {
        "plain": jnp.ones_like(u),
        "stripes": a,
        "checks": jnp.maximum(jnp.minimum(a, b), -jnp.maximum(a, b)),
        "dots": 0.32 - jnp.sqrt(tu * tu + tv * tv),
        "rings": _triangle(jnp.sqrt(u * u + v * v)) - 0.25,
        "waves": _triangle(v + 0.6 * slow * slow * (3 - 2 * slow)) - 0.25,
        "zigzag": (_triangle(v + tu) - 0.25) * 0.7,
        "bricks": joint - 0.06,
        "grid": jnp.minimum(tu, tv) - 0.12,
        "clouds": (_clouds(1.5 * u, 1.5 * v, seed) - 0.5) * 1.6 * pixel,
    }
    return jnp.clip(jax.lax.select_n(kind, *(depth[name] for name in TEXTURES)) / pixel + 0.5, 0, 1)


def _triangle(u: jax.Array) -> jax.Array:
    """The distance to the nearest integer."""
    return jnp.abs(u - jnp.floor(u + 0.5))


def _clouds(u: jax.Array, v: jax.Array, seed: jax.Array) -> jax.Array:
    left, top = jnp.floor(u), jnp.floor(v)
    s, t = u - left, v - top
    s, t = s * s * (3 - 2 * s), t * t * (3 - 2 * t)
    column, row = left.astype(jnp.int32), top.astype(jnp.int32)
    upper = (1 - s) * _hashed(column, row, seed) + s * _hashed(column + 1, row, seed)
    lower = (1 - s) * _hashed(column, row + 1, seed) + s * _hashed(column + 1, row + 1, seed)
    return (1 - t) * upper + t * lower


def _hashed(column: jax.Array, row: jax.Array, seed: jax.Array) -> jax.Array:
    """A number in [0, 1) for each point of the lattice: a multiplicative hash."""
    bits = column.astype(jnp.uint32) * jnp.uint32(0x9E3779B1) ^ row.astype(jnp.uint32) * jnp.uint32(0x85EBCA77) ^ seed
    bits = (bits ^ (bits >> 15)) * jnp.uint32(0x2C1B3C6D)
    bits = (bits ^ (bits >> 12)) * jnp.uint32(0x297A2D39)
    return (bits >> 8).astype(jnp.int32).astype(jnp.float32) * 2.0**-24
