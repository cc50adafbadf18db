"""What JPEG takes from an image."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.augment.colour import expect_colours
from jaxcnn.augment.example import augmentation
from jaxcnn.augment.options import whole_interval

__all__ = ["jpeg", "steps"]

# How finely each frequency of a block is kept at quality 50, rows down: ITU-T T.81, annex K.1.
_LUMINANCE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
_CHROMINANCE = np.full((8, 8), 99)
_CHROMINANCE[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]
# The luma and the two differences from it, blue's and red's, of R, G and B: JFIF, clause 7.
_TO_YCC = np.array(
    [[0.299, 0.587, 0.114], [-0.299 / 1.772, -0.587 / 1.772, 0.5], [0.5, -0.587 / 1.402, -0.114 / 1.402]]
)


@augmentation
def jpeg(key: jax.Array, image: jax.Array, *, quality: int | tuple[int, int]) -> jax.Array:
    """Return the image as JPEG gives it back at a random quality: with blocks, ringing and washed out colours.

        F = D block D^T,    F -> t round(F / t),    t = clip(floor((s T + 50) / 100), 1, 255)

    for every block of 8x8 pixels of the luma and, in colour, of the two colour differences, with D the orthonormal
    cosine transform, T the standard's table, and s = 5000 / q below quality q = 50, else 200 - 2 q. Pixels and colours
    are rounded to 8 bits before and after. The colour differences keep their resolution, as with subsampling 4:4:4;
    the entropy coding, which loses nothing, is left out.

    Args:
        key: a typed key.
        image: floating (H, W, 3), or grey (H, W, 1), in [0, 1], or an example. The outermost pixels are repeated up
            to whole blocks.
        quality: 1 to 100, uniform on the whole numbers of an interval (low, high), or one number.

    Returns:
        An image of the same shape and dtype, in [0, 1]. Its gradient is zero.

    Raises:
        ValueError: quality not whole, outside 1..100 or in the wrong order; neither 1 nor 3 channels.

    Source:
        ITU-T T.81, annexes A and K; torchvision's JPEG. Agrees with PIL (libjpeg, subsampling=0) but where libjpeg's
        transforms in whole numbers round to another step: on average within half a level of 8 bits.
    """
    low, high = whole_interval("jpeg", "quality from 1 to 100", quality, 1, 100)
    expect_colours("jpeg", image)
    height, width, channels = image.shape
    step = steps(jax.random.randint(key, (), low, high + 1))[None, :channels]
    to_planes = _TO_YCC if channels == 3 else np.ones((1, 1))

    centre = np.array([[[128, 0, 0][:channels]]])
    planes = jnp.round(_mixed(to_planes, jnp.round(255 * image.astype(jnp.float32)))) - centre
    down, across = math.ceil(height / 8), math.ceil(width / 8)
    planes = jnp.pad(planes, ((0, 8 * down - height), (0, 8 * across - width), (0, 0)), "edge")
    blocks = planes.reshape(down, 8, across, 8, channels).transpose(0, 2, 4, 1, 3).reshape(-1, channels, 64)
    # One product with D x D, 64x64, for all blocks.
    product = jnp.matmul(blocks, _TRANSFORM.T, precision="highest")
    blocks = jnp.matmul(step * jnp.round(product / step), _TRANSFORM, precision="highest")
    planes = blocks.reshape(down, across, channels, 8, 8).transpose(0, 3, 1, 4, 2)
    planes = planes.reshape(8 * down, 8 * across, channels)[:height, :width]
    planes = jnp.clip(jnp.round(planes), -128, 127) + centre
    return (jnp.clip(jnp.round(_mixed(np.linalg.inv(to_planes), planes)), 0, 255) / 255).astype(image.dtype)


def steps(quality: jax.Array) -> jax.Array:
    """Return the steps, int32 (3, 64), of the frequencies of luma and colour differences at an int32 quality."""
    scale = jnp.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    tables = np.stack([_LUMINANCE, _CHROMINANCE, _CHROMINANCE]).reshape(3, 64)
    return jnp.clip((tables * scale + 50) // 100, 1, 255)


def _mixed(matrix: np.ndarray, image: jax.Array) -> jax.Array:
    """The channels of the image multiplied by a matrix, term by term: on some devices products are rounded."""
    weights = jnp.asarray(matrix, jnp.float32)
    return functools.reduce(
        jnp.add, (weights[None, None, :, c] * image[..., c : c + 1] for c in range(image.shape[-1]))
    )


def _cosines() -> np.ndarray:
    frequency, place = np.meshgrid(np.arange(8), np.arange(8), indexing="ij")
    waves = np.cos((2 * place + 1) * frequency * math.pi / 16) / 2
    waves[0] /= math.sqrt(2)
    return waves


_TRANSFORM = np.kron(_cosines(), _cosines()).astype(np.float32)
