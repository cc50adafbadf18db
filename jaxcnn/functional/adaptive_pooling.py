"""Pooling to a given number of values, whatever the image's size."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import expect, expect_flag, expect_size, is_int, shown
from jaxcnn.functional.linear import flatten
from jaxcnn.functional.pooling import avg_pool, max_pool
from jaxcnn.functional.window import Size, images, pair, some_pixels

__all__ = ["adaptive_avg_pool", "adaptive_max_pool", "global_avg_pool", "global_max_pool", "spatial_pyramid_pool"]

MOST = 2**24  # entries of the matrix that takes the means along an axis


def global_avg_pool(x: jax.Array) -> jax.Array:
    """Return the mean of each channel over the whole image: (..., H, W, C) -> (..., C).

    Args:
        x: images (..., H, W, C), or one (H, W, C), floating; sums are accumulated in float32.

    Returns:
        (..., C) of x's dtype.

    Raises:
        ValueError: fewer than three axes.
        TypeError: x is not floating.

    Source: Lin et al. 2014 (Network in Network), section 3.2.
    """
    x = images("global_avg_pool", x)
    return jnp.mean(x, axis=(-3, -2), dtype=jnp.promote_types(x.dtype, jnp.float32)).astype(x.dtype)


def global_max_pool(x: jax.Array) -> jax.Array:
    """Return the maximum of each channel over the whole image: (..., H, W, C) -> (..., C).

    Pixels that share the maximum share the gradient equally.

    Args:
        x: images (..., H, W, C), or one (H, W, C), of at least one pixel, floating.

    Returns:
        (..., C) of x's dtype.

    Raises:
        ValueError: fewer than three axes, an image without pixels.
        TypeError: x is not floating.

    Source: Oquab et al. 2015 (Is object localization for free?), section 3; agrees with `torch.amax`.
    """
    x = some_pixels("global_max_pool", x)
    return jnp.max(x, axis=(-3, -2))


def adaptive_avg_pool(x: jax.Array, size: Size) -> jax.Array:
    """Return the means of windows spread evenly over the image, exactly as many as asked for.

    y[i, j, c] = mean of x[a_i:b_i, a'_j:b'_j, c], a_i = floor(i H / H'), b_i = ceil((i + 1) H / H'); likewise along W.
    Neighbouring windows share a pixel where H' does not divide H.

    Args:
        x: images (..., H, W, C), or one (H, W, C), of at least one pixel, floating; sums are accumulated in float32.
        size: (H', W') of the output, or one int for both; it may exceed the image's.

    Returns:
        (..., H', W', C) of x's dtype.

    Raises:
        ValueError: wrong rank, a size that is not positive, an image without pixels.
        TypeError: x is not floating.

    Source: agrees with `torch.nn.functional.adaptive_avg_pool2d`, for finite pixels: others reach all windows, times
    zero.
    """
    x = some_pixels("adaptive_avg_pool", x)
    size = _windows_of("adaptive_avg_pool", x, size)
    tiles = _tiles(x, size)
    if tiles is not None:
        return avg_pool(x, tiles)
    wide = jnp.promote_types(x.dtype, jnp.float32)
    rows, columns = (_means(n, s).astype(wide) for n, s in zip(x.shape[-3:-1], size, strict=True))
    y = jnp.einsum("ih,...hwc->...iwc", rows, x.astype(wide), precision="highest")
    return jnp.einsum("jw,...iwc->...ijc", columns, y, precision="highest").astype(x.dtype)


def adaptive_max_pool(x: jax.Array, size: Size) -> jax.Array:
    """Return the maxima of windows spread evenly over the image, exactly as many as asked for.

    y[i, j, c] = max of x[a_i:b_i, a'_j:b'_j, c], a_i = floor(i H / H'), b_i = ceil((i + 1) H / H'); likewise along W.
    The gradient goes to the first maximum of each window in row-major order.

    Args:
        x: images (..., H, W, C), or one (H, W, C), of at least one pixel, floating.
        size: (H', W') of the output, or one int for both; it may exceed the image's.

    Returns:
        (..., H', W', C) of x's dtype.

    Raises:
        ValueError: wrong rank, a size that is not positive, an image without pixels.
        TypeError: x is not floating.

    Source: agrees with `torch.nn.functional.adaptive_max_pool2d`.
    """
    x = some_pixels("adaptive_max_pool", x)
    size = _windows_of("adaptive_max_pool", x, size)
    tiles = _tiles(x, size)
    if tiles is None:
        # Windows side by side, the shorter ones filled up with their last pixel: what is left is tiles.
        windows = [_padded_windows(n, s) for n, s in zip(x.shape[-3:-1], size, strict=True)]
        for axis, places in zip((-3, -2), windows, strict=True):
            x = jnp.take(x, places.ravel(), axis=axis)
        tiles = (windows[0].shape[1], windows[1].shape[1])
    return max_pool(x, tiles)


def spatial_pyramid_pool(x: jax.Array, levels: Sequence[int] = (1, 2, 4), *, average: bool = False) -> jax.Array:
    """Return one vector for each image, of the same length whatever the image's size.

    y = the images pooled to l x l for each level l, flattened (channels fastest) and put one after the other.

    Args:
        x: images (..., H, W, C), or one (H, W, C), of at least one pixel, floating.
        levels: windows along each axis, level by level.
        average: the means of the windows in the place of their maxima.

    Returns:
        (..., C * sum of l^2) of x's dtype.

    Raises:
        ValueError: wrong rank, levels that are not positive ints, an image without pixels.
        TypeError: x is not floating.

    Source: He et al. 2014 (Spatial pyramid pooling in deep convolutional networks), section 2.2. The windows are those
    of `adaptive_max_pool`; the paper's, of ceil(H / l) pixels every floor(H / l), are the same where l divides H.
    """
    x = some_pixels("spatial_pyramid_pool", x)
    levels = pyramid_levels("spatial_pyramid_pool", levels)
    pool = adaptive_avg_pool if expect_flag("spatial_pyramid_pool", "average", average) else adaptive_max_pool
    return jnp.concatenate([flatten(pool(x, level)) for level in levels], axis=-1)


def pyramid_levels(where: str, levels: Sequence[int]) -> tuple[int, ...]:
    """Return `levels` as a tuple of at least one positive int."""
    ok = isinstance(levels, Sequence) and len(levels) >= 1 and all(is_int(level, 1) for level in levels)
    expect(ok, where, "levels as a sequence of positive ints", shown(levels), "Pass levels=(1, 2, 4).")
    return tuple(int(level) for level in levels)


def _windows_of(where: str, x: jax.Array, size: Size) -> tuple[int, int]:
    size, sides = pair(where, "size", size), x.shape[-3:-1]
    expect_size(where, "maps", size, "Ask for fewer windows.")
    few = all(windows * pixels <= MOST for windows, pixels in zip(size, sides, strict=True))
    fix = "Ask for fewer windows, or for smaller images."
    expect(few, where, f"at most {MOST:,} windows times pixels along an axis", f"{size} over {sides}", fix)
    return size


def _tiles(x: jax.Array, size: tuple[int, int]) -> tuple[int, int] | None:
    """The window that tiles the image into `size`, where there is one."""
    height, width = x.shape[-3:-1]
    return None if height % size[0] or width % size[1] else (height // size[0], width // size[1])


def _windows(n: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The first pixel of each of `size` windows over n pixels, and the one after the last."""
    i = np.arange(size)
    return i * n // size, -(-(i + 1) * n // size)


def _means(n: int, size: int) -> np.ndarray:
    """The matrix (size, n) that takes the means of the windows."""
    start, stop = (bound[:, None] for bound in _windows(n, size))
    pixel = np.arange(n)
    return ((start <= pixel) & (pixel < stop)) / (stop - start)


def _padded_windows(n: int, size: int) -> np.ndarray:
    """The pixels of each window, the last one again where a window is shorter than the longest: (size, longest)."""
    start, stop = (bound[:, None] for bound in _windows(n, size))
    return np.minimum(start + np.arange((stop - start).max()), stop - 1)
