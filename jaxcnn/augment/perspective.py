"""Perspective: an image seen from another side, its frame becoming any convex quadrilateral."""

import jax
import jax.numpy as jnp

from jaxcnn.augment.example import geometric
from jaxcnn.augment.interpolation import resampling
from jaxcnn.augment.motion import Motion
from jaxcnn.augment.options import Padding, outside_of
from jaxcnn.checking import number

__all__ = ["perspective"]


@geometric
def perspective(
    key: jax.Array,
    frame: tuple[int, int],
    *,
    distortion_scale: float = 0.5,
    padding_mode: Padding = "constant",
    fill: float = 0.0,
    mask_fill: int = 0,
) -> Motion:
    """Return the image with its four corners moved inwards at random, bilinearly interpolated.

        (x, y) -> (a x + b y + c, d x + e y + f) / (g x + h y + 1)

    the map of the plane that takes lines to lines and each corner of the frame to its place, uniform on the
    rectangle that reaches from the corner `distortion_scale` of the way to the centre, along each axis.

    Args:
        key: a typed key.
        image: floating (H, W, C), or an example.
        distortion_scale: in [0, 2/3): from there on a corner could pass the line between its neighbours.
        padding_mode: what lies outside the image: "constant" (fill), "reflect" (mirrored about the outermost
            pixels, which are not repeated) or "edge" (the outermost pixels).
        fill: the value outside for "constant", in [0, 1]; within a pixel of the frame it blends with the
            image.
        mask_fill: the label outside for "constant", in masks.

    Returns:
        An image of the same shape and dtype, interpolated in float32. Keypoints so far outside the frame that
        they would pass the horizon come to lie far away.

    Raises:
        ValueError: distortion_scale out of range; another padding_mode; fill outside [0, 1]; mask_fill no
            integer.

    Source:
        torchvision's RandomPerspective(distortion_scale, p=1), which draws whole pixels and allows all scales up
        to 1; values as its `perspective`. The matrix as Heckbert 1989 (Fundamentals of texture mapping and
        image warping), section 2.2.3.
    """
    what, fix = "distortion_scale in [0, 2/3)", "From 2/3 on the picture could fold over."
    distortion_scale = number("perspective", what, distortion_scale, lambda d: 0 <= d < 2 / 3, fix)
    outside = outside_of("perspective", padding_mode, fill, mask_fill)

    height, width = frame
    corners = jnp.array([[0, 0], [width, 0], [width, height], [0, height]], jnp.float32)
    inwards = distortion_scale * (jnp.array([[width, height]]) / 2 - corners)
    forth = _homography(frame, corners + inwards * jax.random.uniform(key, (4, 2)))
    (a, b, c), (d, e, f), (g, h, _) = forth
    # The inverse up to a factor, which is all that counts.
    back = [[e - f * h, c * h - b, b * f - c * e], [f * g - d, a - c * g, c * d - a * f]]
    back = [*back, [d * h - e * g, b * g - a * h, a * e - b * d]]
    y, x = jnp.arange(height)[:, None] + 0.5, jnp.arange(width)[None, :] + 0.5
    from_x, from_y = _mapped(back, x, y)

    def points(xy: jax.Array) -> jax.Array:
        return jnp.stack(_mapped(forth, xy[:, 0], xy[:, 1]), -1)

    return resampling(from_y - 0.5, from_x - 0.5, points, outside=outside)


Matrix = list[list[jax.Array]]


def _homography(frame: tuple[int, int], corners: jax.Array) -> Matrix:
    """Return the matrix that takes the frame's corners, clockwise from (0, 0), to `corners` (4, 2)."""
    height, width = frame
    start, right, across, down = corners
    excess = start - right + across - down  # nothing for a parallelogram
    along, up = right - across, down - across

    def cross(p: jax.Array, q: jax.Array) -> jax.Array:
        return p[0] * q[1] - p[1] * q[0]

    g, h = cross(excess, up) / cross(along, up), cross(along, excess) / cross(along, up)
    by_x, by_y = (right - start + g * right) / width, (down - start + h * down) / height
    return [
        [by_x[0], by_y[0], start[0]],
        [by_x[1], by_y[1], start[1]],
        [g / width, h / height, jnp.ones(())],
    ]


def _mapped(matrix: Matrix, x: jax.Array, y: jax.Array) -> list[jax.Array]:
    across, down, depth = (row[0] * x + row[1] * y + row[2] for row in matrix)
    depth = jnp.maximum(depth, 1e-6)  # beyond the horizon there is nothing to see
    return [across / depth, down / depth]
