"""The bytes of an image file as an array, whoever wrote them."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from jaxcnn.checking import expect, installed, is_int, shown
from jaxcnn.data.cropping import Choose, reduction, resized
from jaxcnn.data.jpeg import decoded, is_jpeg, orientation
from jaxcnn.data.jpeg_scans import scans
from jaxcnn.data.plain_png import from_plain_png

__all__ = [
    "MODES",
    "SUFFIXES",
    "CostlyImageError",
    "Decoder",
    "Header",
    "class_numbers",
    "expect_shape",
    "require_pillow",
    "stretched",
]

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
# Pillow knows more formats, and some of them (EPS) start other programs.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
MOST_PIXELS = 2**28 // 3  # at which Pillow warns of a decompression bomb; here it is an error
MOST_SCANS = 100  # of a JPEG: encoders write about ten, and libtiff allows as many
GREY = ("1", "L", "LA")
MODES = {1: "L", 3: "RGB", 4: "RGBA"}


class CostlyImageError(ValueError):
    """An image that would take too much memory or time to decode: what is expected instead, and what it is."""

    def __init__(self, expected: str, got: str) -> None:
        super().__init__(expected, got)
        self.expected, self.got = expected, got

    def __str__(self) -> str:
        """Return both."""
        return f"expected {self.expected}, got {self.got}"


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
            CostlyImageError: too many pixels.
            Exception: whatever Pillow finds wrong with the file.
        """
        with _opened(file) as image:
            return cls(*_shown_size(image), image.mode in GREY)


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
            CostlyImageError: too many pixels, or scans of a JPEG.
            Exception: whatever Pillow finds wrong with the file.
        """
        plain = from_plain_png(data, self.channels) if self.image_size is None else None
        if plain is not None:
            return plain
        with _opened_whole(data) as image:
            shown = self._shown(decoded(image, data))
            if self.image_size is not None:
                shown = _fitted(shown, self.image_size)
            array = np.asarray(shown, np.uint8)
        return array.reshape(*array.shape[:2], self.channels)

    def part(self, data: bytes, choose: Choose, size: int) -> np.ndarray:
        """Return a part of the image, resized to uint8 (size, size, C), bilinear with antialiasing.

        It costs less than the whole image does: no array lies between, and large photographs are reduced (by 2, 4 or
        8, as far as twice the pixels that are asked for are left) while they are decoded.

        Args:
            data: the bytes of an image file.
            choose: which part, given height and width of the image as it is shown.
            size: H and W of what comes back, in pixels; `image_size` is not looked at.

        Raises:
            CostlyImageError: too many pixels, or scans of a JPEG.
            Exception: whatever Pillow finds wrong with the file.
        """
        plain = from_plain_png(data, self.channels)
        if plain is not None:
            return resized(plain, choose(*plain.shape[:2]), size)
        with _opened_whole(data) as image:
            left, top, right, bottom = box = choose(*_shown_size(image))
            by = reduction(box, size) if is_jpeg(image) else 1
            if orientation(image) > 1 and (image.width % by or image.height % by):
                by = 1  # turned, it would begin with a part of a pixel
            return resized(self._shown(decoded(image, data, by)), (left / by, top / by, right / by, bottom / by), size)

    def _shown(self, image: Any) -> Any:
        from PIL import ImageOps

        if orientation(image) > 1:
            image = ImageOps.exif_transpose(image)
        return image if image.mode == MODES[self.channels] else image.convert(MODES[self.channels])


def class_numbers(data: bytes) -> np.ndarray:
    """Return the values of a mask, the bytes of an image file, uint8 (H, W): shades of grey, or places in a palette.

    Raises:
        CostlyImageError: too many pixels, or scans of a JPEG.
        Exception: whatever Pillow finds wrong with the file; an image with several channels.
    """
    with _opened_whole(data) as image:
        if image.mode not in ("L", "P", "1"):
            raise ValueError(f"mode {image.mode}, where a mask has one channel of class numbers")
        return np.asarray(image, np.uint8)


def expect_shape(where: str, shape: Any) -> tuple[int, int] | None:
    """Return the size that images are resized to, None for none; raise `ValueError` unless it is two counts."""
    ok = shape is None or (isinstance(shape, Sequence) and len(shape) == 2 and all(is_int(side, 1) for side in shape))
    expect(ok, where, "shape as (height, width) in pixels", shown(shape), "Pass shape=(240, 320), say.")
    return None if shape is None else (int(shape[0]), int(shape[1]))


def stretched(image: np.ndarray, shape: tuple[int, int], *, numbers: bool = False) -> np.ndarray:
    """Return an image, uint8 (h, w, ...), resized to (H, W, ...), bilinear with antialiasing.

    Of `numbers`, such as classes, which have no mean, it takes the nearest.
    """
    from PIL import Image

    how = Image.Resampling.NEAREST if numbers else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(image).resize((shape[1], shape[0]), how))


def require_pillow() -> None:
    """Raise `ImportError` unless Pillow is installed."""
    with installed("load", "Pillow", 'pip install "jaxcnn[data]"'):
        import PIL  # noqa: F401


def _opened(file: BinaryIO) -> Any:
    """Open an image file that may be hostile: few formats, no bombs, 8 bits a channel."""
    from PIL import Image

    most = f"at most {MOST_PIXELS:,} pixels"
    try:
        image = Image.open(file, formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise CostlyImageError(most, "more") from error
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise CostlyImageError(most, f"{width} x {height}")
    if image.mode.startswith(("I", "F")):
        raise ValueError(f"mode {image.mode}, more than 8 bits a channel")
    return image


def _opened_whole(data: bytes) -> Any:
    """Open the bytes of an image file that may be hostile, to decode its pixels."""
    image = _opened(io.BytesIO(data))
    # The bytes of a marker are counted in no time; what they mean, only where there are many.
    if is_jpeg(image) and data.count(b"\xff\xda") > MOST_SCANS and (found := scans(data)) > MOST_SCANS:
        raise CostlyImageError(f"a JPEG of at most {MOST_SCANS} scans", str(found))
    return image


def _fitted(image: Any, size: int) -> Any:
    from PIL import Image, ImageOps

    return ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)


def _shown_size(image: Any) -> tuple[int, int]:
    """Return height and width of an image as it is shown."""
    width, height = image.size
    return (width, height) if orientation(image) >= 5 else (height, width)
