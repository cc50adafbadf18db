"""Frost on the lens: crystals that branch, and a haze between them."""

import math

import jax
import jax.numpy as jnp

from jaxcnn.attack.corruptions.plasma import plasma
from jaxcnn.attack.corruptions.severity import corruption

__all__ = ["crystals", "frost"]

STEMS, TWIGS = 9, 7  # of a picture; of a stem, on each side
TINT = (0.86, 0.94, 1.0)  # of ice, in RGB


@corruption(
    small=((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
    large=((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
    source="There the ice is cut out of six photographs; here it is drawn: `crystals`, bluish on images with colours.",
)
def frost(key: jax.Array, image: jax.Array, kept: float, ice: float) -> jax.Array:
    """Return the image behind frost.

    y = clip(kept x + ice f, 0, 1),    f the frost, in [0, 1]
    """
    drawn = crystals(key, (image.shape[0], image.shape[1]))[..., None]
    return kept * image + ice * drawn * (jnp.asarray(TINT) if image.shape[-1] == 3 else 1)


def crystals(key: jax.Array, frame: tuple[int, int]) -> jax.Array:
    """Return frost (H, W) in [0, 1]: straight stems with twigs at 60 degrees on both sides, on a cloud of haze.

    Places, angles and lengths of the stems are uniform; twigs become shorter towards the tip. A line is bright in its
    middle and falls off like a Gaussian. Lengths are fractions of the shorter side.

    Args:
        key: a typed key.
        frame: (H, W).
    """
    haze_key, stem_key = jax.random.split(key)
    height, width = frame
    side = min(frame)
    place_y, place_x, angle, long, wide = jax.random.uniform(stem_key, (5, STEMS))
    tail = jnp.stack([place_y * height / side, place_x * width / side], -1)
    angle, long = 2 * math.pi * angle, 0.35 + 0.5 * long
    along = (jnp.arange(TWIGS) + 0.5) / TWIGS
    roots = tail[:, None] + (along * long[:, None])[..., None] * _direction(angle)[:, None]
    twig = 0.4 * long[:, None] * (1 - along)
    parts = [(tail, angle, long)]
    parts += [(roots.reshape(-1, 2), jnp.repeat(angle + turn, TWIGS), twig.ravel()) for turn in (1.05, -1.05)]
    starts, angles, lengths = (jnp.concatenate(column) for column in zip(*parts, strict=True))
    widths = jnp.concatenate([wide, jnp.repeat(wide, 2 * TWIGS)])
    widths = jnp.maximum(0.008 + 0.012 * widths, 0.5 / side)
    y, x = jnp.meshgrid(*((jnp.arange(n) + 0.5) / side for n in frame), indexing="ij")

    def brighter(light: jax.Array, line: tuple[jax.Array, ...]) -> tuple[jax.Array, None]:
        start, ahead, length, wide = line
        down, right = y - start[0], x - start[1]
        t = jnp.clip(down * ahead[0] + right * ahead[1], 0, length)
        distance = jnp.hypot(down - t * ahead[0], right - t * ahead[1])
        return jnp.maximum(light, jnp.exp(-((distance / wide) ** 2))), None

    lines = (starts, _direction(angles), lengths, widths)
    light, _ = jax.lax.scan(brighter, jnp.zeros(frame), lines)
    haze = plasma(haze_key, frame, 1.6)
    return jnp.clip(0.6 * haze + (0.35 + 0.5 * haze) * light, 0, 1)


def _direction(angle: jax.Array) -> jax.Array:
    return jnp.stack([jnp.sin(angle), jnp.cos(angle)], -1)
