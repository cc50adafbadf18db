"""Max pooling that remembers where each maximum was, and the way back."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import expect, expect_size, integral, shaped
from jaxcnn.functional.primitives.taps import taps_along
from jaxcnn.functional.primitives.window_max import overtakes
from jaxcnn.functional.window import Padding, Size, flat_batch, images, pair, pool_windows, some_pixels

__all__ = ["max_pool_with_switches", "max_unpool"]


def max_pool_with_switches(
    x: jax.Array, window: Size = 2, *, stride: Size | None = None, padding: Padding = "VALID", ceil_mode: bool = False
) -> tuple[jax.Array, jax.Array]:
    """Return the maximum of each window and its position in the image, the first one in row-major order.

    y[i, j, c] = x[h, w, c], switches[i, j, c] = h W + w.

    Args:
        x: images (..., H, W, C), or one (H, W, C), floating.
        window: pixels, one int or (vertical, horizontal).
        stride: pixels between windows; the window's size unless given, so that windows tile the image.
        padding: "VALID" (no padding), "SAME", pixels, or ((top, bottom), (left, right)).
        ceil_mode: keep the ragged edge, which is dropped otherwise, as one more, smaller window.

    Returns:
        y: (..., H', W', C) of x's dtype, that of `max_pool`, with its gradient; switches: likewise, int32.

    Raises:
        ValueError: wrong rank, a window larger than the padded image, padding as large as the window.
        TypeError: x is not floating.

    Source: Zeiler and Fergus 2014, section 2.1; agrees with `torch.nn.functional.max_pool2d` with `return_indices`.
    """
    where = "max_pool_with_switches"
    x = some_pixels(where, x)
    image = x.shape[-3:-1]
    size, step, pads = pool_windows(where, image, window, stride, padding, ceil_mode)
    # Padding repeats the edge, which every window that reaches the padding sees: the maximum stays where it is.
    rows, columns = (np.arange(-sides[0], n + sides[1]).clip(0, n - 1) for n, sides in zip(image, pads, strict=True))
    y = jnp.pad(x, ((0, 0),) * (x.ndim - 3) + (*pads, (0, 0)), mode="edge")
    switches = jnp.asarray((rows[:, None] * image[1] + columns)[..., None], jnp.int32)
    for axis in (1, 0):  # the first maximum of each row, then of these
        values, places = (taps_along(a, axis - 3, size[axis], step[axis]) for a in (y, switches))
        y, switches = _first_maximum(values, places)
    return y, switches


def max_unpool(y: jax.Array, switches: jax.Array, size: Size, window: Size | None = None) -> jax.Array:
    """Return images of zeros with each value at its switch, the transpose of the max-pooling that set the switches.

    x[switches[i, j, c], c] = y[i, j, c] with pixels counted in row-major order. Values that meet at one pixel, as
    those of overlapping windows may, are added, which makes this the gradient of `max_pool` with respect to x.

    Args:
        y: values (..., H', W', C), or those of one image (H', W', C), floating.
        switches: positions h W + w in the image, integers of y's shape; what lies outside the image is dropped.
        size: (H, W) of the image, or one int for both.
        window: that of the pooling, if its windows tiled the image (stride = window, no padding). Saying so saves the
            scatter, and drops what lies outside its own tile.

    Returns:
        (..., H, W, C) of y's dtype.

    Raises:
        ValueError: wrong rank, switches of another shape, a window that does not pool `size` to (H', W').
        TypeError: y is not floating, switches are no integers.

    Source: Zeiler and Fergus 2014, section 2.1; agrees with `torch.nn.functional.max_unpool2d` where no values meet.
    """
    y = images("max_unpool", y, "y")
    switches = integral("max_unpool", "switches", switches, "Pass those of max_pool_with_switches.")
    switches = shaped("max_unpool", "switches", switches, y.shape).astype(jnp.int32)
    height, width = pair("max_unpool", "size", size)
    expect_size("max_unpool", "images", (height, width, y.shape[-1]), "Pass the size of the image that was pooled.")
    if window is not None:
        return _onto_tiles(y, switches, (height, width), pair("max_unpool", "window", window))
    batch, lead = flat_batch(y)
    channels = y.shape[-1]
    switches = flat_batch(switches)[0]
    places = switches * channels + jax.lax.broadcasted_iota(jnp.int32, switches.shape, switches.ndim - 1)
    inside = (switches >= 0) & (switches < height * width)  # of others the product may wrap around
    places = jnp.where(inside, places, height * width * channels)

    def one(values: jax.Array, places: jax.Array) -> jax.Array:
        empty = jnp.zeros(height * width * channels, y.dtype)
        return empty.at[places].add(values, mode="drop", wrap_negative_indices=False)

    return jax.vmap(one)(batch, places).reshape(*lead, height, width, channels)


def _first_maximum(values: list[jax.Array], places: list[jax.Array]) -> tuple[jax.Array, jax.Array]:
    """The largest of the values and its place; of equal ones the first."""
    best, place = values[0], jnp.broadcast_to(places[0], values[0].shape)
    for value, its_place in zip(values[1:], places[1:], strict=True):
        wins = overtakes(value, best)
        best, place = jnp.where(wins, value, best), jnp.where(wins, its_place, place)
    return best, place


def _onto_tiles(y: jax.Array, switches: jax.Array, size: tuple[int, int], window: tuple[int, int]) -> jax.Array:
    """Each value offered to all pixels of its tile and taken by the one that the switch names."""
    pooled = y.shape[-3:-1]
    expect(
        all(count in (n // w, -(-n // w)) for count, n, w in zip(pooled, size, window, strict=True)),
        "max_unpool",
        f"values of the windows {window} that tile an image of size {size}",
        f"y of shape {y.shape}",
        "Leave window out if the windows of the pooling overlapped or were padded.",
    )
    (rows, height), (columns, width) = zip(pooled, window, strict=True)
    pixels = np.arange(rows * height)[:, None] * size[1] + np.arange(columns * width)
    pixels = pixels.reshape((1,) * (y.ndim - 3) + (rows, height, columns, width, 1))
    mine = switches[..., None, :, None, :] == pixels
    x = jnp.where(mine, y[..., None, :, None, :], 0)
    x = x.reshape(*y.shape[:-3], rows * height, columns * width, y.shape[-1])[..., : size[0], : size[1], :]
    ragged = [(0, n - seen) for n, seen in zip(size, x.shape[-3:-1], strict=True)]
    return jnp.pad(x, ((0, 0),) * (x.ndim - 3) + (*ragged, (0, 0)))
