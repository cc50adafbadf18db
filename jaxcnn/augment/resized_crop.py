"""Crops of random area and shape, resized: the standard augmentation of ImageNet."""

import math

import jax
import jax.numpy as jnp

from jaxcnn.augment.example import geometric
from jaxcnn.augment.motion import Motion
from jaxcnn.augment.options import interval, whole_pixels
from jaxcnn.checking import expect, expect_size

__all__ = ["random_resized_crop"]

_TRIES = 10


@geometric
def random_resized_crop(
    key: jax.Array,
    frame: tuple[int, int],
    *,
    size: int | tuple[int, int] | None = None,
    area: tuple[float, float] = (0.08, 1.0),
    aspect: tuple[float, float] = (3 / 4, 4 / 3),
) -> Motion:
    """Return a window of random area, shape and place, resized.

        w = round(sqrt(a H W r)),  h = round(sqrt(a H W / r)),    a uniform on area, log r on log(aspect)

    The first of ten such draws that fits into the image is taken, else the largest central window whose shape is
    nearest to the drawn ones; its place is uniform among all. Values are interpolated linearly between the window's
    pixels; where it shrinks, the interpolating triangle widens with it (antialiasing).

    Args:
        key: a typed key.
        image: floating (H, W, C) in [0, 1], or an example.
        size: of the result in pixels, at least 1; one int, or (height, width). None stands for (H, W).
        area: the interval (low, high) of the window's area as a fraction of the image's, in (0, 1].
        aspect: the interval (low, high), low > 0, of the window's width divided by its height.

    Returns:
        An image (height, width, C) of the same dtype, interpolated in float32.

    Raises:
        ValueError: size below 1 or not whole; area outside (0, 1], aspect not above 0; bounds not finite or in
            the wrong order.

    Source:
        Szegedy et al. 2015 (Going deeper with convolutions), section 6, as torchvision's RandomResizedCrop defines
        the draw: all ten are drawn at once here, so that shapes are static, and the distribution is the same.
        Values as `resized_crop` of torchvision (bilinear, antialias=True), masks as its "nearest-exact".
    """
    areas, aspects = (
        interval("random_resized_crop", name, value) for name, value in (("area", area), ("aspect", aspect))
    )
    ok = areas[0] > 0 and areas[1] <= 1
    expect(ok, "random_resized_crop", "area in (0, 1]", areas, "Pass fractions (low, high) of the image's area.")
    fix = "Pass (low, high) of width / height, 1 being a square."
    expect(aspects[0] > 0, "random_resized_crop", "aspect above 0", aspects, fix)
    out = frame if size is None else whole_pixels("random_resized_crop", "size", size)
    expect(min(out) >= 1, "random_resized_crop", "a size of at least (1, 1)", out, "Pass the size of the result.")
    expect_size("random_resized_crop", "an image", out, "Pass a smaller size.")

    (top, left), (height, width) = _window(key, frame, areas, aspects)

    def pixels(image: jax.Array) -> jax.Array:
        # Rows, then columns, each as a sum of as many gathers as a pixel of the result has sources. Of 512
        # 32x32x3 images on CPU products with matrices of weights took x1.3, of 32 256x256x3 ones x6.
        rows = _resized(image.astype(jnp.float32), 0, top, height, out[0])
        both = _resized(jax.lax.optimization_barrier(rows), 1, left, width, out[1])
        return jnp.clip(both, 0, 1).astype(image.dtype)  # the weights add up to 1 within rounding

    def labels(mask: jax.Array) -> jax.Array:
        rows, columns = _centres(top, height, out[0]), _centres(left, width, out[1])
        return mask.at[rows[:, None], columns].get(mode="promise_in_bounds")

    def points(xy: jax.Array) -> jax.Array:
        zoom = jnp.stack([out[1] / width, out[0] / height])
        return (xy - jnp.stack([left, top])[None, :]) * zoom[None, :]

    return Motion(out, pixels, labels, points)


def _window(
    key: jax.Array, frame: tuple[int, int], areas: tuple[float, float], aspects: tuple[float, float]
) -> tuple[jax.Array, jax.Array]:
    """Draw a window: int32 (top, left) and (height, width)."""
    shape_key, place_key = jax.random.split(key)
    low, high = (jnp.array([areas[n], math.log(aspects[n])], jnp.float32) for n in (0, 1))
    area, log_aspect = jax.random.uniform(shape_key, (_TRIES, 2), jnp.float32, low, high).T
    pixels, ratio = area * (frame[0] * frame[1]), jnp.exp(log_aspect)
    sizes = jnp.round(jnp.sqrt(jnp.stack([pixels / ratio, pixels * ratio], 1))).astype(jnp.int32)
    fits = ((sizes >= 1) & (sizes <= jnp.array([frame]))).all(1)

    height, width = frame
    shape = min(max(width / height, aspects[0]), aspects[1])
    central = jnp.array([max(1, min(height, round(width / shape))), max(1, min(width, round(height * shape)))])
    size = jnp.where(fits.any(), sizes[fits.argmax()], central)
    rest = jnp.array(frame) - size
    return jnp.where(fits.any(), jax.random.randint(place_key, (2,), 0, rest + 1), rest // 2), size


def _resized(x: jax.Array, axis: int, start: jax.Array, length: jax.Array, size: int) -> jax.Array:
    """Return `x` with `length` of its places along an axis, from `start` on, resized to `size`."""
    step = length / size
    reach = jnp.maximum(step, 1)
    centre = start + (jnp.arange(size) + 0.5) * step - 0.5
    first = jnp.floor(centre - reach).astype(jnp.int32) + 1
    sources = max(2, math.ceil(2 * x.shape[axis] / size))
    place = first[:, None] + jnp.arange(sources)[None, :]
    weight = jnp.maximum(0, 1 - jnp.abs(place - centre[:, None]) / reach)
    weight = jnp.where((place >= start) & (place < start + length), weight, 0)
    weight = weight / weight.sum(1, keepdims=True)
    place = jnp.clip(place, 0, x.shape[axis] - 1)
    shape = (*(1,) * axis, size, *(1,) * (x.ndim - 1 - axis))

    def term(n: int) -> jax.Array:
        taken = x.at[(slice(None),) * axis + (place[:, n],)].get(mode="promise_in_bounds")
        return weight[:, n].reshape(shape) * taken

    return sum((term(n) for n in range(1, sources)), term(0))


def _centres(start: jax.Array, length: jax.Array, size: int) -> jax.Array:
    """Return the places in which the centres of the `size` parts of `length` places, from `start` on, lie."""
    return start + (2 * jnp.arange(size) + 1) * length // (2 * size)
