"""Sizes, strides and paddings of a window that slides over an image."""

import operator
from collections.abc import Sequence
from typing import Any

import jax
from jax import lax

from jaxcnn.checking import expect, floating

__all__ = [
    "Padding",
    "Size",
    "flat_batch",
    "images",
    "is_int",
    "normalise_padding",
    "pair",
    "pool_windows",
    "resolve_padding",
    "some_pixels",
    "taps",
]

Size = int | Sequence[int]
"""One int for both axes, or (vertical, horizontal)."""

Padding = str | int | Sequence[int | Sequence[int]]
"""`"SAME"`, `"VALID"`, pixels on every side, or per axis pixels or (before, after)."""


def is_int(value: Any) -> bool:
    """Return whether `value` is a known integer, NumPy's and JAX's included, bools not."""
    try:
        operator.index(value)
    except TypeError:  # what has no integer value: arrays of several numbers and traced ones among them
        return False
    return not isinstance(value, bool)


def pair(where: str, name: str, value: Size) -> tuple[int, int]:
    """Return `value` as two positive ints, (vertical, horizontal)."""
    values: Any = (value, value) if is_int(value) else value
    ok = isinstance(values, Sequence) and len(values) == 2 and all(is_int(v) and v >= 1 for v in values)
    expect(ok, where, f"{name} as a positive int or two of them", repr(value), f"Pass {name}=2 or {name}=(2, 3).")
    return int(values[0]), int(values[1])


def normalise_padding(where: str, padding: Padding) -> str | tuple[tuple[int, int], tuple[int, int]]:
    """Return "SAME", "VALID" or ((top, bottom), (left, right))."""
    if isinstance(padding, str) and padding.upper() in ("SAME", "VALID"):
        return padding.upper()
    sides: Any = (padding, padding) if is_int(padding) else padding
    if isinstance(sides, Sequence) and not isinstance(sides, str) and len(sides) == 2:
        both = tuple((side, side) if is_int(side) else side for side in sides)
        if all(isinstance(b, Sequence) and len(b) == 2 and all(is_int(v) and v >= 0 for v in b) for b in both):
            (top, bottom), (left, right) = both
            return (int(top), int(bottom)), (int(left), int(right))
    expect(
        False,
        where,
        'padding "SAME", "VALID", an int >= 0 or ((top, bottom), (left, right))',
        repr(padding),
        'Pass padding="SAME" to keep the size at stride 1.',
    )
    raise AssertionError


def resolve_padding(
    where: str,
    padding: Padding,
    size: tuple[int, ...],
    window: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int] = (1, 1),
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the pixels added (before, after) on each axis, having checked that the window fits.

    "SAME" gives ceil(size / stride) outputs, the odd pixel after, as TensorFlow and `jax.lax` do (PyTorch pads
    evenly: pass `padding=1` for its 3x3 convolutions of stride 2).
    """
    normal = normalise_padding(where, padding)
    span = [(w - 1) * d + 1 for w, d in zip(window, dilation, strict=True)]
    if normal == "SAME":
        need = [max((-(-n // s) - 1) * s + w - n, 0) for n, s, w in zip(size, stride, span, strict=True)]
        top, left = need[0] // 2, need[1] // 2
        return (top, need[0] - top), (left, need[1] - left)
    pads = ((0, 0), (0, 0)) if isinstance(normal, str) else normal
    padded = tuple(n + before + after for n, (before, after) in zip(size, pads, strict=True))
    expect(
        all(n >= w for n, w in zip(padded, span, strict=True)),
        where,
        f"an image of at least {span[0]}x{span[1]} pixels for a window of that span under padding={padding!r}",
        f"{padded[0]}x{padded[1]}",
        'Use a smaller window, a larger image or padding="SAME".',
    )
    return pads


def pool_windows(
    where: str, size: tuple[int, ...], window: Size, stride: Size | None, padding: Padding, ceil_mode: bool = False
) -> tuple[tuple[int, int], tuple[int, int], tuple[tuple[int, int], tuple[int, int]]]:
    """Return window, stride and padding of a pool, all explicit, having checked that every window sees a pixel.

    `ceil_mode` pads after the image as far as one more window reaches, if that window starts before the padding
    after the image does (PyTorch's rule). "SAME" leaves no ragged edge to keep.
    """
    window = pair(where, "window", window)
    stride = window if stride is None else pair(where, "stride", stride)
    pads = resolve_padding(where, padding, size, window, stride)
    expect(
        all(max(sides) < w for sides, w in zip(pads, window, strict=True)),
        where,
        f"padding smaller than the window {window}",
        f"padding={padding!r}",
        "A window that sees padding alone has nothing to pool.",
    )
    if ceil_mode:
        both = [_with_ragged_edge(*axis) for axis in zip(size, window, stride, pads, strict=True)]
        pads = (both[0], both[1])
    return window, stride, pads


def _with_ragged_edge(n: int, window: int, stride: int, pads: tuple[int, int]) -> tuple[int, int]:
    before, after = pads
    rest = (before + n + after - window) % stride
    start = before + n + after - window - rest + stride  # of one more window
    return (before, after + stride - rest) if rest and start < before + n else pads


def taps(x: jax.Array, axis: int, window: int, stride: int) -> list[jax.Array]:
    """Return what each place of a window sees as the window slides along one axis."""
    last = x.shape[axis] - window
    return [lax.slice_in_dim(x, u, u + last + 1, stride, axis) for u in range(window)]


def images(where: str, x: Any, name: str = "x") -> jax.Array:
    """Return `x` as a floating array of shape (..., H, W, C)."""
    x = floating(where, name, x)
    expect(
        x.ndim >= 3,
        where,
        "images of shape (..., H, W, C)",
        x.shape,
        "Add the missing axes; a grey image has C = 1, last.",
    )
    return x


def some_pixels(where: str, x: Any) -> jax.Array:
    """Return `x` as floating images (..., H, W, C) of at least one pixel."""
    x = images(where, x)
    expect(min(x.shape[-3:-1]) >= 1, where, "images of at least one pixel", x.shape, "Leave empty images out.")
    return x


def flat_batch(x: jax.Array) -> tuple[jax.Array, tuple[int, ...]]:
    """Return `x` with its leading axes as one batch axis, and those axes."""
    lead = x.shape[:-3]
    if len(lead) == 1:
        return x, lead
    count = 1
    for n in lead:
        count *= n
    return x.reshape(count, *x.shape[-3:]), lead
