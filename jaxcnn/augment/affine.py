"""Rotation, zoom, shear and shifts by fractions of a pixel in one: an affine map of the plane."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn.augment.example import geometric
from jaxcnn.augment.interpolation import resampling
from jaxcnn.augment.motion import Motion
from jaxcnn.augment.options import Outside, Padding, interval, outside_of, pixels
from jaxcnn.checking import expect, is_number, plain, shown

__all__ = ["Shear", "affine", "affine_motion", "linear_motion", "shears_of", "turn_matrix"]

Shear = float | tuple[float, float] | tuple[float, float, float, float]


@geometric
def affine(
    key: jax.Array,
    frame: tuple[int, int],
    *,
    degrees: float | tuple[float, float] = 0.0,
    factor: tuple[float, float] = (1.0, 1.0),
    shear_degrees: Shear = 0.0,
    max_shift: float | tuple[float, float] = 0.0,
    padding_mode: Padding = "constant",
    fill: float = 0.0,
    mask_fill: int = 0,
) -> Motion:
    """Return the image sheared, rotated, zoomed and shifted at random, in one bilinear interpolation.

        y(p) = x(c + S R(-angle) (p - c - t) / zoom)

    with the centre c = ((H-1)/2, (W-1)/2), R(a) the rotation by a, and S as in `shear`; composing `rotate`, `scale`
    and `shear` instead would blur the image more than once.

    Args:
        key: a typed key.
        image: floating (H, W, C), or an example.
        degrees: the angle is uniform on (low, high); one number d stands for (-d, d). Positive angles turn
            the picture counter-clockwise as displayed, the first row on top.
        factor: the zoom is uniform on (low, high), low > 0; above 1 things grow, below 1 they shrink,
            without an antialiasing filter.
        shear_degrees: the angles of the shear, as in `shear`.
        max_shift: t, added to (row, column), is uniform on [-max_shift, max_shift] for each of the two, in
            pixels, at least 0; one number, or (rows, columns).
        padding_mode: what lies outside the image: "constant" (fill), "reflect" (mirrored about the outermost
            pixels, which are not repeated) or "edge" (the outermost pixels).
        fill: the value outside for "constant", in [0, 1]; within a pixel of the frame it blends with the
            image.
        mask_fill: the label outside for "constant", in masks.

    Returns:
        An image of the same shape and dtype, interpolated in float32.

    Raises:
        ValueError: bounds not finite or in the wrong order; factor not above 0; max_shift negative; shear of
            90 degrees or more; another padding_mode; fill outside [0, 1]; mask_fill no integer.

    Source:
        torchvision's RandomAffine, but angles have the sign of its `rotate`, of PIL's `Image.rotate` and of
        `numpy.rot90`. Interpolation as scipy.ndimage's of order 1, "grid-constant", "mirror" or "nearest"
        outside.
    """
    outside = outside_of("affine", padding_mode, fill, mask_fill)
    shears = shears_of("affine", "shear_degrees", shear_degrees)
    return affine_motion(
        "affine", key, frame, outside, degrees=degrees, factor=factor, shears=shears, max_shift=max_shift
    )


def shears_of(where: str, name: str, degrees: Shear) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the intervals of the two angles that `degrees` stands for, as in `jaxcnn.augment.shear`."""
    given: Any = [plain(bound) for bound in degrees] if isinstance(degrees, tuple | list) else plain(degrees)
    single = (-given, given) if is_number(given) else ()
    bounds: tuple[Any, ...] = tuple(given) if isinstance(given, list) else single
    fix = "Pass d, (low, high), or (low, high, low, high) for both axes."
    ok = len(bounds) in (2, 4) and all(map(is_number, bounds))
    expect(ok, where, f"{name} of one, two or four numbers", shown(degrees), fix)
    ok = all(-90 < bound < 90 for bound in bounds)
    expect(ok, where, f"{name} between -90 and 90", degrees, "At 90 degrees a shear has no end.")
    lean_low, lean_high, rise_low, rise_high = (*bounds, 0.0, 0.0)[:4]
    return interval(where, name, (lean_low, lean_high)), interval(where, name, (rise_low, rise_high))


def affine_motion(
    where: str,
    key: jax.Array,
    frame: tuple[int, int],
    outside: Outside,
    *,
    degrees: float | tuple[float, float] = 0.0,
    factor: tuple[float, float] = (1.0, 1.0),
    shears: tuple[tuple[float, float], tuple[float, float]] = ((0.0, 0.0), (0.0, 0.0)),
    max_shift: float | tuple[float, float] = 0.0,
) -> Motion:
    """Return the motion of `affine`, drawn for the function `where`."""
    angles = interval(where, "degrees", degrees)
    zooms = interval(where, "factor", factor)
    expect(zooms[0] > 0, where, "factor above 0", zooms, "Pass (low, high), 1 being the image's own size.")
    rows, columns = pixels(where, "max_shift", max_shift)

    turns, leans, rises = ([math.radians(bound) for bound in bounds] for bounds in (angles, *shears))
    intervals = [turns, zooms, (-rows, rows), (-columns, columns), leans, rises]
    low, high = jnp.array(intervals, jnp.float32).T
    turn, zoom, down, right, lean, rise = jax.random.uniform(key, (6,), jnp.float32, low, high)

    # Back goes first the turn with the zoom, then the shear along y, then the one along x.
    cos, sin, slant, slope = jnp.cos(turn) / zoom, jnp.sin(turn) / zoom, jnp.tan(lean), jnp.tan(rise)
    yy, yx = cos - slope * sin, sin + slope * cos
    xy, xx = slant * yy - sin, slant * yx + cos
    centre = (frame[0] - 1) / 2, (frame[1] - 1) / 2
    return linear_motion(frame, ((yy, yx), (xy, xx)), centre, (down, right), outside)


Pair = tuple[jax.Array | float, jax.Array | float]


def turn_matrix(angle: jax.Array | float, zoom: jax.Array | float = 1.0) -> tuple[Pair, Pair]:
    """Return the matrix that leads back from a picture turned counter-clockwise and zoomed, for `linear_motion`.

    Args:
        angle: in degrees.
        zoom: above 1 things grow.
    """
    cos, sin = (f(angle * (math.pi / 180)) / zoom for f in (jnp.cos, jnp.sin))
    return (cos, sin), (-sin, cos)


def linear_motion(
    frame: tuple[int, int], back: tuple[Pair, Pair], centre: Pair, move: Pair, outside: Outside
) -> Motion:
    """Return the motion that fetches what comes to p from centre + back (p - centre - move).

    All are (row, column), counted between the centres of pixels: the frame's upper left corner is (-1/2, -1/2).
    """
    (yy, yx), (xy, xx) = back
    y = (jnp.arange(frame[0]) - centre[0] - move[0])[:, None]
    x = (jnp.arange(frame[1]) - centre[1] - move[1])[None, :]

    def points(places: jax.Array) -> jax.Array:
        middle = jnp.array([[centre[1] + 0.5, centre[0] + 0.5]])
        forth = jnp.array([[yy, -xy], [-yx, xx]]) / (yy * xx - yx * xy)
        moved = jnp.dot(places - middle, forth.T, precision="highest")
        return moved + middle + jnp.array([[move[1], move[0]]])

    return resampling(yy * y + yx * x + centre[0], xx * x + xy * y + centre[1], points, outside=outside)
