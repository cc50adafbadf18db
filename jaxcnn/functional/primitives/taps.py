"""What the taps of a window see: strided slices of the image, which XLA fuses into one loop over the positions."""

import itertools
from collections.abc import Iterator, Sequence

import jax

__all__ = ["taps"]


def taps(
    x: jax.Array, window: Sequence[int], stride: Sequence[int], dilation: Sequence[int] | None = None
) -> Iterator[tuple[tuple[int, ...], jax.Array]]:
    """Yield each tap of the window, in row-major order, and the pixels that it meets, (N, *positions, C).

    Args:
        x: padded images (N, *size, C).
        window, stride, dilation: one entry for each axis of the size.
    """
    dilation = dilation or (1,) * len(window)
    for tap in itertools.product(*map(range, window)):
        axes = zip(tap, x.shape[1:-1], window, stride, dilation, strict=True)
        yield tap, x[(slice(None), *(slice(u * d, n - (w - 1 - u) * d, s) for u, n, w, s, d in axes))]
