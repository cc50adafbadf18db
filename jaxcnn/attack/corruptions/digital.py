"""What happens to an image as it is processed: contrast, elastic deformation, pixels too large, JPEG."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn import augment
from jaxcnn.attack.corruptions.severity import corruption
from jaxcnn.augment.affine import linear_motion
from jaxcnn.augment.options import Outside

__all__ = ["contrast", "elastic_transform", "jpeg_compression", "pixelate"]

# The code's lengths at 224 pixels are fractions of 244.
_LARGE = np.array([(2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02)])


@corruption(small=(0.75, 0.5, 0.4, 0.3, 0.15), large=(0.4, 0.3, 0.2, 0.1, 0.05))
def contrast(key: jax.Array, image: jax.Array, factor: float) -> jax.Array:
    """Return the image with less contrast.

        y = mean + factor (x - mean),    of each channel

    It is `augment.contrast`.
    """
    return augment.contrast(key, image, factor=(factor, factor))


@corruption(
    small=((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
    large=tuple(map(tuple, (_LARGE * 244 / 224).round(4).tolist())),
)
def elastic_transform(key: jax.Array, image: jax.Array, alpha: float, sigma: float, corners: float) -> jax.Array:
    """Return the image moved by a random affine map, then stretched by a smooth random field.

    The map is that which moves three corners of a square of two thirds of the side by numbers uniform on
    [-corners, corners]. The field is `augment.elastic`'s: `alpha` times noise uniform on (-1, 1), smoothed by a
    Gaussian of deviation `sigma`. All three are fractions of the shorter side, also of small images.
    """
    corner_key, field_key = jax.random.split(key)
    height, width, _ = image.shape
    side, centre = min(height, width), ((height - 1) / 2, (width - 1) / 2)
    # Rows (row, column) from the centre, and 1: those that are moved, and the centre itself.
    square = side / 3 * np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
    moves = jax.random.uniform(corner_key, (3, 2), minval=-corners * side, maxval=corners * side)
    known = np.linalg.inv(np.concatenate([square, np.ones((3, 1))], 1)).astype(np.float32)
    forth = jnp.dot(known, square.astype(np.float32) + moves, precision="highest")  # (row, column, 1) -> moved
    (a, b), (c, d), (down, right) = forth
    area = a * d - b * c
    # What comes to q was at forth^-1 (q - move), with rows as vectors.
    back = ((d / area, -c / area), (-b / area, a / area))
    outside = Outside("reflect", 0.0, 0)
    moved = linear_motion((height, width), back, centre, (down, right), outside).pixels(image)
    return augment.elastic(field_key, moved, alpha=2 * alpha * side, sigma=sigma * side, padding_mode="reflect")


@corruption(
    small=(0.95, 0.9, 0.85, 0.75, 0.65),
    large=(0.6, 0.5, 0.4, 0.3, 0.25),
    source="As PIL's resize with the filter BOX, but for its rounding to 8 bits.",
)
def pixelate(key: jax.Array, image: jax.Array, share: float) -> jax.Array:
    """Return the image with a fraction `share` of its rows and columns: means of blocks, enlarged again."""
    down, across = (_blocks(n, max(1, int(share * n))) for n in image.shape[:2])
    return jnp.einsum("yi,ijc,xj->yxc", down, image, across, precision="highest")


@corruption(
    small=(80, 65, 58, 50, 40),
    large=(25, 18, 15, 10, 7),
    source="Colours keep their resolution, where the code halves it.",
)
def jpeg_compression(key: jax.Array, image: jax.Array, quality: float) -> jax.Array:
    """Return the image as JPEG gives it back at that quality, by `augment.jpeg`."""
    return augment.jpeg(key, image, quality=round(quality))


def _blocks(size: int, cells: int) -> np.ndarray:
    """Return the matrix (size, size) that takes the means of so many cells and gives each pixel that of its cell."""
    scale = size / cells
    centres = (np.arange(cells) + 0.5) * scale
    first, last = (np.floor(centres + half + 0.5).astype(int) for half in (-scale / 2, scale / 2))
    pixel = np.arange(size)
    means = (pixel >= first[:, None]) & (pixel < last[:, None])
    own = np.floor((pixel + 0.5) / scale).astype(int)
    return np.asarray((means / means.sum(1, keepdims=True))[own], np.float32)
