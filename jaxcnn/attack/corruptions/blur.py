"""Blur: out of focus, behind frosted glass, in motion, approaching."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn import functional as F
from jaxcnn.attack.corruptions.severity import corruption
from jaxcnn.augment.affine import linear_motion, turn_matrix
from jaxcnn.augment.filtering import blur
from jaxcnn.augment.options import Outside

__all__ = ["defocus_blur", "glass_blur", "motion_blur", "trail", "zoom_blur", "zoomed"]


@corruption(
    small=((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
    large=((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
)
def defocus_blur(key: jax.Array, image: jax.Array, radius: float, edge: float) -> jax.Array:
    """Return the image out of focus: filtered by a disc of `radius` pixels.

    y(p) = sum_q d(q) x(p + q), d constant on |q| <= radius and smoothed by a Gaussian of deviation `edge` on 3 x 3
    pixels; the image is mirrored about its outermost pixels.
    """
    kernel = _disc(radius, edge)
    reach = len(kernel) // 2
    padded = jnp.pad(image, ((reach, reach), (reach, reach), (0, 0)), "reflect")
    planes = jnp.moveaxis(padded, -1, 0)[..., None]
    filtered = F.conv(planes, jnp.asarray(kernel)[:, :, None, None], padding="VALID")
    return jnp.moveaxis(filtered[..., 0], 0, -1)


@corruption(
    small=((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
    large=((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    source="`augment.blur` mirrors the image, where the code repeats its outermost pixels.",
)
def glass_blur(key: jax.Array, image: jax.Array, sigma: float, reach: float, passes: float) -> jax.Array:
    """Return the image as through frosted glass: blurred, its pixels shuffled, and blurred again.

    In `passes` passes from the last pixel to the first each is exchanged with that at a distance drawn from
    {-reach, ..., reach - 1} along each axis; `sigma` is the Gaussian's deviation.
    """
    first, shuffle, second = jax.random.split(key, 3)
    height, width, channels = image.shape
    order = _shuffled(shuffle, (height, width), round(reach), round(passes))
    pixels = blur(first, image, sigma=(sigma, sigma)).reshape(-1, channels)
    moved = pixels.at[order].get(mode="promise_in_bounds").reshape(image.shape)
    return blur(second, moved, sigma=(sigma, sigma))


@corruption(
    small=((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
    large=((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
)
def motion_blur(key: jax.Array, image: jax.Array, radius: float, sigma: float) -> jax.Array:
    """Return the image as if the camera had moved, by an angle uniform on -45 to 45 degrees: see `trail`."""
    degrees = jax.random.uniform(key, (), minval=-45.0, maxval=45.0)
    return trail(image, degrees, radius=radius, sigma=sigma)


@corruption(
    small=((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
    large=((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
    source="Zooms are exactly about the centre, where the code cuts and enlarges by whole pixels.",
)
def zoom_blur(key: jax.Array, image: jax.Array, end: float, step: float) -> jax.Array:
    """Return the image as if the camera approached: the mean of itself and of itself enlarged by several factors.

    y = (x + sum_z zoomed(x, z)) / (1 + n),    z in 1, 1 + step, ..., below `end`
    """
    factors = jnp.asarray(np.arange(1, end, step), jnp.float32)
    total, _ = jax.lax.scan(lambda total, factor: (total + zoomed(image, factor), None), image, factors)
    return total / (1 + len(factors))


def trail(image: jax.Array, degrees: jax.Array, *, radius: float, sigma: float) -> jax.Array:
    """Return the image with a trail behind each pixel, to one side, that fades like half a Gaussian.

        y(p) = sum_k w_k x(p + ceil(k (sin a, cos a) - 1/2)),    w_k ~ exp(-k^2 / (2 sigma^2)), k in 0..2 radius

    Args:
        image: floating (H, W, C); outside its outermost pixels are repeated.
        degrees: the angle a, floating (), from the first axis of columns towards that of rows.
        radius: half the longest trail, in pixels.
        sigma: its deviation in pixels, above 0.

    Source: ImageMagick's MotionBlurImage.
    """
    weights = np.exp(-0.5 * (np.arange(2 * math.ceil(radius) + 1) / sigma) ** 2)
    weights = weights[weights > 1e-4]
    margin, angle = len(weights), jnp.deg2rad(degrees)
    padded = jnp.pad(image, ((margin, margin), (margin, margin), (0, 0)), "edge")
    places = jnp.ceil(jnp.arange(margin)[:, None] * jnp.stack([jnp.sin(angle), jnp.cos(angle)]) - 0.5)

    def add(total: jax.Array, tap: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        weight, (row, column) = tap
        return total + weight * jax.lax.dynamic_slice(padded, (row, column, jnp.int32(0)), image.shape), None

    taps = jnp.asarray(weights / weights.sum(), image.dtype), margin + places.astype(jnp.int32)
    return jax.lax.scan(add, jnp.zeros_like(image), taps)[0]


def zoomed(image: jax.Array, factor: float | jax.Array) -> jax.Array:
    """Return the image (H, W, C) enlarged about its centre, bilinearly: y(p) = x(c + (p - c) / factor)."""
    height, width, _ = image.shape
    centre = ((height - 1) / 2, (width - 1) / 2)
    outside = Outside("edge", 0.0, 0)
    return linear_motion((height, width), turn_matrix(0.0, factor), centre, (0.0, 0.0), outside).pixels(image)


def _disc(radius: float, edge: float) -> np.ndarray:
    """Return the kernel of `defocus_blur`, float32 (2 n + 1, 2 n + 1)."""
    place = np.arange(-int(radius) - 1, int(radius) + 2)
    disc = (place[:, None] ** 2 + place**2 <= radius**2) / np.float64(1)
    side = math.exp(-0.5 / edge**2)
    for axis in (0, 1):  # beyond the disc there is a margin of one pixel
        disc = (disc + side * (np.roll(disc, 1, axis) + np.roll(disc, -1, axis))) / (1 + 2 * side)
    return np.asarray(disc / disc.sum(), np.float32)


def _shuffled(key: jax.Array, frame: tuple[int, int], reach: int, passes: int) -> jax.Array:
    """Return which pixel of (H W) comes to each place."""
    height, width = frame
    rows, columns = (np.arange(side - reach, reach, -1) for side in frame)
    here = np.tile((rows[:, None] * width + columns).ravel(), passes)
    moves = jax.random.randint(key, (len(here), 2), -reach, reach)
    there = here + moves[:, 0] * width + moves[:, 1]

    def swap(order: jax.Array, pair: jax.Array) -> tuple[jax.Array, None]:
        return order.at[pair].set(order.at[pair[::-1]].get(mode="promise_in_bounds"), mode="promise_in_bounds"), None

    return jax.lax.scan(swap, jnp.arange(height * width), jnp.stack([jnp.asarray(here), there], 1))[0]
