"""JPEG files that Pillow opened, decoded by libjpeg-turbo while other threads run, which Pillow keeps waiting."""

import functools
from typing import Any

import numpy as np

__all__ = ["decoded", "is_jpeg", "orientation"]

ORIENTATION = 0x0112  # the EXIF tag; from 5 on width and height are swapped
COLOURS = {"L": ("GRAY", 1), "RGB": ("RGB", 3)}  # what simplejpeg calls a mode of Pillow, and its channels


def is_jpeg(image: Any) -> bool:
    """Return whether a Pillow image is of a JPEG file, or of one that holds several."""
    return image.format in ("JPEG", "MPO")


def orientation(image: Any) -> int:
    """Return how a camera was held, 1 for upright; other formats than JPEG would be decoded to find out."""
    return image.getexif().get(ORIENTATION, 1) if is_jpeg(image) else 1


def decoded(image: Any, data: bytes, by: int = 1) -> Any:
    """Return the Pillow image that was opened from `data`, a JPEG reduced by 1, 2, 4 or 8; other files as they are.

    The pixels are those of Pillow, bit by bit; files that libjpeg-turbo finds any fault with are left to Pillow.
    """
    from PIL import Image

    if not is_jpeg(image):
        return image
    turbo = _turbo()
    if turbo is not None and image.mode in COLOURS:
        colours, channels = COLOURS[image.mode]
        shape = height, width, channels = -(-image.height // by), -(-image.width // by), channels
        try:
            # The buffer has the size that Pillow read: a file that says another one elsewhere does not fit.
            array = turbo.decode_jpeg(
                data, colours, min_height=height, min_width=width, min_factor=by, buffer=np.empty(shape, np.uint8)
            )
        except ValueError:
            array = np.empty(0)
        if array.shape == shape:
            picture = Image.frombuffer(image.mode, (width, height), array, "raw", image.mode, 0, 1)
            if (held := orientation(image)) > 1:
                picture.format, picture.getexif()[ORIENTATION] = image.format, held
            return picture
    if by > 1:
        image.draft(None, (image.width // by, image.height // by))
    return image


@functools.cache
def _turbo() -> Any:
    """Return `simplejpeg`, or None: it cannot be had for every machine."""
    try:
        import simplejpeg
    except ImportError:
        return None
    return simplejpeg
