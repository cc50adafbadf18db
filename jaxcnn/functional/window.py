"""Sizes, strides and paddings of a window that slides over an image."""

import math
from collections.abc import Sequence
from typing import Any

import jax

from jaxcnn.checking import MOST, expect, expect_flag, expect_size, floating, is_int, shown

__all__ = [
    "IMAGES_ONLY",
    "Padding",
    "Pads",
    "Size",
    "flat_batch",
    "images",
    "normalise_padding",
    "pair",
    "per_axis",
    "pool_windows",
    "positions",
    "resolve_padding",
    "some_pixels",
]

Size = int | Sequence[int]
"""One int for all axes, or one for each: (vertical, horizontal)."""

Padding = str | int | Sequence[int | Sequence[int]]
"""`"SAME"`, `"VALID"`, pixels on every side, or per axis pixels or (before, after)."""

Pads = tuple[tuple[int, int], ...]
"""Pixels (before, after) on each axis."""

IMAGES_ONLY = "Images only, (N, H, W, C): make signals (N, L, C) images of height 1, x[:, None], and kernels likewise."
"""What to do with signals where only images are taken."""


def pair(where: str, name: str, value: Size) -> tuple[int, int]:
    """Return `value` as two positive ints, (vertical, horizontal)."""
    vertical, horizontal = per_axis(where, name, value, 2)
    return vertical, horizontal


def per_axis(where: str, name: str, value: Size, rank: int) -> tuple[int, ...]:
    """Return `value` as a positive int for each of `rank` axes."""
    values: Any = (value,) * rank if is_int(value) else value
    ok = isinstance(values, Sequence) and len(values) == rank and all(is_int(v, 1) for v in values)
    many = {1: "one in a tuple", 2: "two of them", 3: "three of them"}[rank]
    example = f"{name}=({', '.join('234'[:rank])}{',' * (rank == 1)})"
    fix = f"Pass {name}=2 or {example}."
    expect(ok, where, f"{name} as a positive int or {many}", shown(value), fix)
    expect(all(is_int(v, 1, MOST) for v in values), where, f"{name} below 2^31", shown(value), fix)
    return tuple(int(v) for v in values)


def normalise_padding(where: str, padding: Padding, rank: int = 2) -> str | Pads:
    """Return "SAME", "VALID" or for each axis (before, after): ((top, bottom), (left, right))."""
    if isinstance(padding, str) and padding.upper() in ("SAME", "VALID"):
        return padding.upper()
    sides: Any = (padding,) * rank if is_int(padding) else padding
    if isinstance(sides, Sequence) and not isinstance(sides, str) and len(sides) == rank:
        axes = tuple((side, side) if is_int(side) else side for side in sides)
        if all(isinstance(a, Sequence) and len(a) == 2 and all(is_int(v, 0) for v in a) for a in axes):
            return tuple((int(before), int(after)) for before, after in axes)
    sides = {1: ("before, after",), 2: ("top, bottom", "left, right"), 3: ("front, back", "top, bottom", "left, right")}
    form = f"({', '.join(f'({side})' for side in sides[rank])}{',' * (rank == 1)})"
    expect(
        False,
        where,
        f'padding as "SAME", "VALID", an int >= 0 or {form}',
        shown(padding),
        'Pass padding="SAME" to keep the size at stride 1.',
    )
    raise AssertionError


def resolve_padding(
    where: str,
    padding: Padding,
    size: tuple[int, ...],
    window: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...] | None = None,
) -> Pads:
    """Return the pixels added (before, after) on each axis, having checked that the window fits.

    "SAME" gives ceil(size / stride) outputs, the odd pixel after, as TensorFlow and `jax.lax` do (PyTorch pads
    evenly: pass `padding=1` for its 3x3 convolutions of stride 2).
    """
    normal = normalise_padding(where, padding, len(size))
    span = [(w - 1) * d + 1 for w, d in zip(window, dilation or (1,) * len(size), strict=True)]
    pads = ((0, 0),) * len(size) if isinstance(normal, str) else normal
    if normal == "SAME":
        need = [max((-(-n // s) - 1) * s + w - n, 0) for n, s, w in zip(size, stride, span, strict=True)]
        pads = tuple((n // 2, n - n // 2) for n in need)
    padded = tuple(n + before + after for n, (before, after) in zip(size, pads, strict=True))
    expect(
        normal == "SAME" or all(n >= w for n, w in zip(padded, span, strict=True)),
        where,
        f"an image of at least {'x'.join(map(str, span))} pixels for a window of that span under "
        f"padding={shown(padding)}",
        "x".join(map(str, padded)),
        'Use a smaller window, a larger image or padding="SAME".',
    )
    expect_size(where, f"an image under padding={shown(padding)}", padded, "Use a smaller window, dilation or padding.")
    return pads


def positions(
    size: tuple[int, ...], window: tuple[int, ...], stride: tuple[int, ...], pads: Pads, dilation: tuple[int, ...]
) -> tuple[int, ...]:
    """Return how many positions a window has along each axis: the size of the maps."""
    axes = zip(size, window, stride, pads, dilation, strict=True)
    return tuple((n + before + after - (w - 1) * d - 1) // s + 1 for n, w, s, (before, after), d in axes)


def pool_windows(
    where: str, size: tuple[int, ...], window: Size, stride: Size | None, padding: Padding, ceil_mode: bool = False
) -> tuple[tuple[int, int], tuple[int, int], Pads]:
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
        f"padding={shown(padding)}",
        "A window that sees padding alone has nothing to pool.",
    )
    if expect_flag(where, "ceil_mode", ceil_mode):
        pads = tuple(_with_ragged_edge(*axis) for axis in zip(size, window, stride, pads, strict=True))
    return window, stride, pads


def _with_ragged_edge(n: int, window: int, stride: int, pads: tuple[int, int]) -> tuple[int, int]:
    before, after = pads
    rest = (before + n + after - window) % stride
    start = before + n + after - window - rest + stride  # of one more window
    return (before, after + stride - rest) if rest and start < before + n else pads


def images(where: str, x: Any, name: str = "x") -> jax.Array:
    """Return `x` as a floating array of shape (..., H, W, C)."""
    x = floating(where, name, x)
    expect(
        x.ndim >= 3,
        where,
        "images of shape (..., H, W, C)",
        x.shape,
        "Add the missing axes: a grey image has C = 1, last, a signal H = 1.",
    )
    return x


def some_pixels(where: str, x: Any) -> jax.Array:
    """Return `x` as floating images (..., H, W, C) of at least one pixel."""
    x = images(where, x)
    expect(min(x.shape[-3:-1]) >= 1, where, "images of at least one pixel", x.shape, "Leave empty images out.")
    return x


def flat_batch(x: jax.Array, rank: int = 2) -> tuple[jax.Array, tuple[int, ...]]:
    """Return `x` with the axes before its `rank` spatial ones and the channels as one batch axis, and those axes."""
    lead = x.shape[: -rank - 1]
    return (x, lead) if len(lead) == 1 else (x.reshape(math.prod(lead), *x.shape[-rank - 1 :]), lead)
