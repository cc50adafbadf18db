"""Rotation, zoom and shear about the centre, each alone: `affine` with the others at rest."""

import jax

from jaxcnn.augment.affine import Shear, affine_motion, shears_of
from jaxcnn.augment.example import geometric
from jaxcnn.augment.motion import Motion
from jaxcnn.augment.options import Padding, outside_of

__all__ = ["rotate", "scale", "shear"]


@geometric
def rotate(
    key: jax.Array,
    frame: tuple[int, int],
    *,
    degrees: float | tuple[float, float],
    padding_mode: Padding = "constant",
    fill: float = 0.0,
    mask_fill: int = 0,
) -> Motion:
    """Return the image turned about its centre by a random angle, bilinearly interpolated.

        y(p) = x(c + R(-angle) (p - c)),    c = ((H-1)/2, (W-1)/2)

    Args:
        key: a typed key.
        image: floating (H, W, C), or an example.
        degrees: the angle is uniform on (low, high); one number d stands for (-d, d). Positive angles turn
            the picture counter-clockwise.
        padding_mode, fill, mask_fill: what lies outside the image, as in `affine`.

    Returns:
        An image of the same shape and dtype; what leaves the frame is lost.

    Raises:
        ValueError: bounds not finite or in the wrong order; another padding_mode; fill outside [0, 1];
            mask_fill no integer.

    Source:
        `numpy.rot90` at 90 degrees on square images; torchvision's RandomRotation, bilinear.
    """
    return affine_motion("rotate", key, frame, outside_of("rotate", padding_mode, fill, mask_fill), degrees=degrees)


@geometric
def scale(
    key: jax.Array,
    frame: tuple[int, int],
    *,
    factor: tuple[float, float],
    padding_mode: Padding = "constant",
    fill: float = 0.0,
    mask_fill: int = 0,
) -> Motion:
    """Return the image zoomed about its centre by a random factor, bilinearly interpolated.

        y(p) = x(c + (p - c) / zoom),    c = ((H-1)/2, (W-1)/2)

    Args:
        key: a typed key.
        image: floating (H, W, C), or an example.
        factor: the zoom is uniform on (low, high), low > 0; above 1 things grow, below 1 they shrink,
            without an antialiasing filter.
        padding_mode, fill, mask_fill: what lies outside the image, as in `affine`.

    Returns:
        An image of the same shape and dtype; what leaves the frame is lost.

    Raises:
        ValueError: bounds not finite or in the wrong order; factor not above 0; another padding_mode; fill
            outside [0, 1]; mask_fill no integer.

    Source:
        torchvision's RandomAffine(degrees=0, scale=factor), bilinear.
    """
    return affine_motion("scale", key, frame, outside_of("scale", padding_mode, fill, mask_fill), factor=factor)


@geometric
def shear(
    key: jax.Array,
    frame: tuple[int, int],
    *,
    degrees: Shear,
    padding_mode: Padding = "constant",
    fill: float = 0.0,
    mask_fill: int = 0,
) -> Motion:
    """Return the image slanted about its centre by random angles, bilinearly interpolated.

        y(p) = x(c + S (p - c)),    S (row, column) = (r, column + tan(a) r),    r = row + tan(b) column

    Args:
        key: a typed key.
        image: floating (H, W, C), or an example.
        degrees: a is uniform on (low, high); one number d stands for (-d, d), and b is 0. Of four numbers the
            last two are the interval of b. All lie between -90 and 90. With a positive a upright things lean
            to the right, with a positive b level ones rise to the right.
        padding_mode, fill, mask_fill: what lies outside the image, as in `affine`.

    Returns:
        An image of the same shape and dtype; what leaves the frame is lost.

    Raises:
        ValueError: bounds not finite or in the wrong order; angles of 90 degrees or more; another
            padding_mode; fill outside [0, 1]; mask_fill no integer.

    Source:
        torchvision's RandomAffine(degrees=0, shear=degrees), bilinear.
    """
    outside = outside_of("shear", padding_mode, fill, mask_fill)
    return affine_motion("shear", key, frame, outside, shears=shears_of("shear", "degrees", degrees))
