"""What a window sees of the image: by slices, one for each of its taps, or at once, where windows tile the image.

XLA fuses either into one loop over the positions of the window.
"""

import itertools
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
from jax import lax

__all__ = ["padded", "taps", "taps_along", "tiles"]


def taps(
    x: jax.Array, window: Sequence[int], stride: Sequence[int], dilation: Sequence[int] | None = None
) -> Iterator[jax.Array]:
    """Yield for each tap of the window, in row-major order, the pixels that it meets, (..., *positions, C).

    Args:
        x: padded images (..., *size, C).
        window, stride, dilation: one entry for each axis of the size, of which there may be any number.
    """
    rank = len(window)
    dilation = dilation or (1,) * rank
    for tap in itertools.product(*map(range, window)):
        axes = zip(tap, x.shape[-rank - 1 : -1], window, stride, dilation, strict=True)
        yield x[(..., *(slice(u * d, n - (w - 1 - u) * d, s) for u, n, w, s, d in axes), slice(None))]


def taps_along(x: jax.Array, axis: int, window: int, stride: int) -> list[jax.Array]:
    """Return what each tap sees of a window that slides along one axis alone: -3 for rows, -2 for columns."""
    others = (1,) * (-2 - axis)
    return list(taps(x, (window, *others), (stride, *others)))


def tiles(x: jax.Array, window: tuple[int, int], pads: Sequence[tuple[int, int]]) -> jax.Array:
    """Return the pixels of windows that tile the image, (..., H', h, W', w, C).

    Args:
        x: images (..., H, W, C).
        window: (h, w).
        pads: pixels (before, after) on each axis, zeros; what is left beyond the last whole window is cut off.
    """
    sides = list(zip(x.shape[-3:-1], window, pads, strict=True))
    rows, columns = ((n + before + after - w) // w + 1 for n, w, (before, after) in sides)
    ends = [(before, m * w - n - before) for m, (n, w, (before, _)) in zip((rows, columns), sides, strict=True)]
    x = padded(x, ends)
    return x.reshape(*x.shape[:-3], rows, window[0], columns, window[1], x.shape[-1])


def padded(x: jax.Array, pads: Sequence[tuple[int, int]], fill: float = 0.0) -> jax.Array:
    """Return images (..., *size, C) with `fill` around them, or cropped where pads are negative."""
    sides = [(before, after, 0) for before, after in pads]
    return lax.pad(x, jnp.asarray(fill, x.dtype), [(0, 0, 0)] * (x.ndim - 1 - len(sides)) + [*sides, (0, 0, 0)])
