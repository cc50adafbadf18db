"""Rotation, zoom and shifts by fractions of a pixel: one affine map of the plane, one interpolation."""

import math

import jax
import jax.numpy as jnp

from jaxcnn.augment.example import augmentation
from jaxcnn.augment.interpolation import bilinear
from jaxcnn.augment.options import Padding, check_padding, interval, pixels
from jaxcnn.checking import expect

__all__ = ["affine", "rotate", "scale"]


@augmentation
def affine(
    key: jax.Array,
    image: jax.Array,
    *,
    degrees: float | tuple[float, float] = 0.0,
    factor: tuple[float, float] = (1.0, 1.0),
    max_shift: float | tuple[float, float] = 0.0,
    padding_mode: Padding = "constant",
    fill: float = 0.0,
) -> jax.Array:
    """Return the image rotated, zoomed and shifted at random, in one bilinear interpolation.

        y(p) = x(c + R(-angle) (p - c - t) / zoom)

    with the centre c = ((H-1)/2, (W-1)/2) and R(a) the rotation by a; composing `rotate` and `scale` instead
    would blur the image twice.

    Args:
        key: a typed key.
        image: floating (H, W, C), or an example.
        degrees: the angle is uniform on (low, high); one number d stands for (-d, d). Positive angles turn
            the picture counter-clockwise as displayed, the first row on top.
        factor: the zoom is uniform on (low, high), low > 0; above 1 things grow, below 1 they shrink,
            without an antialiasing filter.
        max_shift: t, added to (row, column), is uniform on [-max_shift, max_shift] for each of the two, in
            pixels, at least 0; one number, or (rows, columns).
        padding_mode: what lies outside the image: "constant" (fill), "reflect" (mirrored about the outermost
            pixels, which are not repeated) or "edge" (the outermost pixels).
        fill: the value outside for "constant", in [0, 1]; within a pixel of the frame it blends with the
            image.

    Returns:
        An image of the same shape and dtype, interpolated in float32.

    Raises:
        ValueError: bounds not finite or in the wrong order; factor not above 0; max_shift negative; another
            padding_mode; fill outside [0, 1].

    Source:
        torchvision's RandomAffine, but angles have the sign of its `rotate`, of PIL's `Image.rotate` and of
        `numpy.rot90`. Interpolation as scipy.ndimage's of order 1, "grid-constant", "mirror" or "nearest"
        outside.
    """
    return _affine("affine", key, image, degrees, factor, max_shift, padding_mode, fill)


@augmentation
def rotate(
    key: jax.Array,
    image: jax.Array,
    *,
    degrees: float | tuple[float, float],
    padding_mode: Padding = "constant",
    fill: float = 0.0,
) -> jax.Array:
    """Return the image turned about its centre by a random angle, bilinearly interpolated.

        y(p) = x(c + R(-angle) (p - c)),    c = ((H-1)/2, (W-1)/2)

    Args:
        key: a typed key.
        image: floating (H, W, C), or an example.
        degrees: the angle is uniform on (low, high); one number d stands for (-d, d). Positive angles turn
            the picture counter-clockwise.
        padding_mode: what lies outside the image, as in `affine`.
        fill: the value outside for "constant", in [0, 1].

    Returns:
        An image of the same shape and dtype; what leaves the frame is lost.

    Raises:
        ValueError: bounds not finite or in the wrong order; another padding_mode; fill outside [0, 1].

    Source:
        `numpy.rot90` at 90 degrees on square images; torchvision's RandomRotation, bilinear.
    """
    return _affine("rotate", key, image, degrees, (1.0, 1.0), 0.0, padding_mode, fill)


@augmentation
def scale(
    key: jax.Array,
    image: jax.Array,
    *,
    factor: tuple[float, float],
    padding_mode: Padding = "constant",
    fill: float = 0.0,
) -> jax.Array:
    """Return the image zoomed about its centre by a random factor, bilinearly interpolated.

        y(p) = x(c + (p - c) / zoom),    c = ((H-1)/2, (W-1)/2)

    Args:
        key: a typed key.
        image: floating (H, W, C), or an example.
        factor: the zoom is uniform on (low, high), low > 0; above 1 things grow, below 1 they shrink,
            without an antialiasing filter.
        padding_mode: what lies outside the image, as in `affine`.
        fill: the value outside for "constant", in [0, 1].

    Returns:
        An image of the same shape and dtype; what leaves the frame is lost.

    Raises:
        ValueError: bounds not finite or in the wrong order; factor not above 0; another padding_mode; fill
            outside [0, 1].

    Source:
        torchvision's RandomAffine(degrees=0, scale=factor), bilinear.
    """
    return _affine("scale", key, image, 0.0, factor, 0.0, padding_mode, fill)


def _affine(
    where: str,
    key: jax.Array,
    image: jax.Array,
    degrees: float | tuple[float, float],
    factor: tuple[float, float],
    max_shift: float | tuple[float, float],
    padding_mode: Padding,
    fill: float,
) -> jax.Array:
    angles = interval(where, "degrees", degrees)
    zooms = interval(where, "factor", factor)
    expect(zooms[0] > 0, where, "factor above 0", zooms, "Pass (low, high), 1 being the image's own size.")
    rows, columns = pixels(where, "max_shift", max_shift)
    check_padding(where, padding_mode, fill)

    low = jnp.array([math.radians(angles[0]), zooms[0], -rows, -columns], jnp.float32)
    high = jnp.array([math.radians(angles[1]), zooms[1], rows, columns], jnp.float32)
    angle, zoom, down, right = jax.random.uniform(key, (4,), jnp.float32, low, high)
    cos, sin = jnp.cos(angle) / zoom, jnp.sin(angle) / zoom
    centre_y, centre_x = (image.shape[0] - 1) / 2, (image.shape[1] - 1) / 2
    y = (jnp.arange(image.shape[0]) - centre_y - down)[:, None]
    x = (jnp.arange(image.shape[1]) - centre_x - right)[None, :]
    from_y, from_x = cos * y + sin * x + centre_y, cos * x - sin * y + centre_x
    return bilinear(image, from_y, from_x, padding_mode=padding_mode, fill=fill)
