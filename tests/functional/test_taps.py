"""What windows see: slices and tiles against windows that NumPy slides."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.functional.primitives.taps import padded, taps, taps_along, tiles


def numbers(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def slid(x, window, stride, dilation):
    """Return what each tap sees, in row-major order, of images (..., *size, C)."""
    rank = len(window)
    axes = tuple(range(-rank - 1, -1))
    spans = [(w - 1) * d + 1 for w, d in zip(window, dilation, strict=True)]
    views = np.lib.stride_tricks.sliding_window_view(x, spans, axis=axes)  # (..., *positions, C, *spans)
    views = views[
        (..., *(slice(None, None, s) for s in stride), slice(None), *(slice(None, None, d) for d in dilation))
    ]
    return [views[(..., *tap)] for tap in np.ndindex(*window)]


@pytest.mark.parametrize(
    ("shape", "window", "stride", "dilation"),
    [
        ((2, 7, 9, 3), (3, 2), (2, 1), (1, 3)),
        ((7, 9, 1), (2, 4), (3, 2), None),  # no leading axis, a ragged edge
        ((2, 3, 8, 2), (3,), (2,), (2,)),  # of the last axis of the size alone
        ((2, 4, 5, 6, 1), (2, 1, 3), (1, 2, 2), (2, 1, 1)),
    ],
)
def test_taps_are_what_a_sliding_window_sees(shape, window, stride, dilation):
    x = numbers(*shape)
    expected = slid(x, window, stride, dilation or (1,) * len(window))
    found = list(taps(jnp.asarray(x), window, stride, dilation))
    assert len(found) == np.prod(window)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_taps_along_one_axis():
    x = jnp.asarray(numbers(2, 3, 7, 8, 2))
    for axis, window in ((-3, (3, 1)), (-2, (1, 3))):
        expected = slid(np.asarray(x), window, [2 if w > 1 else 1 for w in window], (1, 1))
        for one, other in zip(taps_along(x, axis, 3, 2), expected, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("shape", [(6, 6, 2), (2, 3, 7, 8, 1)])
@pytest.mark.parametrize("pads", [((0, 0), (0, 0)), ((1, 0), (1, 2)), ((0, 2), (2, 1))])
def test_tiles_are_the_taps_of_windows_side_by_side(shape, pads):
    x, window = jnp.asarray(numbers(*shape)) + 1, (3, 2)
    found = tiles(x, window, pads)
    pixels = slid(np.pad(x, [(0, 0)] * (x.ndim - 3) + [*pads, (0, 0)]), window, window, (1, 1))
    assert found.shape == (*shape[:-3], pixels[0].shape[-3], 3, pixels[0].shape[-2], 2, shape[-1])
    for (u, v), seen in zip(np.ndindex(*window), pixels, strict=True):
        np.testing.assert_array_equal(found[..., u, :, v, :], seen)


def test_padded_fills_and_crops():
    x = jnp.asarray(numbers(2, 3, 4, 1), jnp.bfloat16)
    y = padded(x, [(1, -1), (-2, 2)], -jnp.inf)
    assert y.dtype == x.dtype
    np.testing.assert_array_equal(y[:, 0], -jnp.inf)
    np.testing.assert_array_equal(y[:, 1:, :2], x[:, :2, 2:])
    np.testing.assert_array_equal(y[:, 1:, 2:], -jnp.inf)
    np.testing.assert_array_equal(padded(x, [(0, 1)])[:, :, -1], 0)  # the last axis of the size alone
