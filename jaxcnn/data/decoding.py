"""The bytes of an image file as an array, whoever wrote them."""

import io
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from jaxcnn.data.plain_png import from_plain_png

__all__ = ["SUFFIXES", "Decoder", "Header", "require_pillow"]

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
# Pillow knows more formats, and some of them (EPS) start other programs.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
MOST_PIXELS = 2**28 // 3  # at which Pillow warns of a decompression bomb; here it is an error
GREY = ("1", "L", "LA")
ORIENTATION = 0x0112  # the EXIF tag; from 5 on width and height are swapped
MODES = {1: "L", 3: "RGB", 4: "RGBA"}


@dataclass(frozen=True)
class Header:
    """What the beginning of an image file says: the size as it is shown, and whether it is grey."""

    height: int
    width: int
    grey: bool

    @classmethod
    def read(cls, file: BinaryIO) -> "Header":
        """Return the header of an open file, without decoding the pixels.

        Raises:
            Exception: whatever Pillow finds wrong with the file.
        """
        with _opened(file) as image:
            width, height = image.size
            if _orientation(image) >= 5:
                width, height = height, width
            return cls(height, width, image.mode in GREY)


@dataclass(frozen=True)
class Decoder:
    """A function of the bytes of an image file that returns uint8 (H, W, C).

    Photographs are turned as their EXIF entry says; of an animation the first picture is taken.

    Args:
        channels: C: 1 (grey), 3 (RGB) or 4 (RGBA); other images are converted.
        image_size: None for the size of the file, else H = W = `image_size`: the short side is resized (bilinear,
            with antialiasing, as `PIL.ImageOps.fit`) and the middle is kept.
    """

    channels: int
    image_size: int | None = None

    def __call__(self, data: bytes) -> np.ndarray:
        """Return the image.

        Raises:
            Exception: whatever Pillow finds wrong with the file.
        """
        plain = from_plain_png(data, self.channels) if self.image_size is None else None
        if plain is not None:
            return plain
        with _opened(io.BytesIO(data)) as image:
            array = np.asarray(self._shown(image), np.uint8)
        return array.reshape(*array.shape[:2], self.channels)

    def _shown(self, image: Any) -> Any:
        from PIL import Image, ImageOps

        if _orientation(image) > 1:
            image = ImageOps.exif_transpose(image)
        if image.mode != MODES[self.channels]:
            image = image.convert(MODES[self.channels])
        if self.image_size is not None:
            image = ImageOps.fit(image, (self.image_size, self.image_size), Image.Resampling.BILINEAR)
        return image


def require_pillow() -> None:
    """Raise `ImportError` unless Pillow is installed."""
    try:
        import PIL  # noqa: F401
    except ImportError as error:
        raise ImportError('load: Pillow decodes the images. Install it: pip install "jaxcnn[data]".') from error


def _opened(file: BinaryIO) -> Any:
    """Open an image file that may be hostile: few formats, no bombs, 8 bits a channel."""
    from PIL import Image

    image = Image.open(file, formats=FORMATS)
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise ValueError(f"{width}x{height} pixels, more than {MOST_PIXELS:,}")
    if image.mode.startswith(("I", "F")):
        raise ValueError(f"mode {image.mode}, more than 8 bits a channel")
    return image


def _orientation(image: Any) -> int:
    """Return how a camera was held, 1 for upright; other formats than JPEG would be decoded to find out."""
    return image.getexif().get(ORIENTATION, 1) if image.format in ("JPEG", "MPO") else 1
