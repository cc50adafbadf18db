"""The forms options come in: an interval to draw from, a number for each axis, what lies outside an image."""

import math
from typing import Literal, NamedTuple

from jaxcnn.checking import expect, is_int

__all__ = ["Outside", "Padding", "interval", "outside_of", "pixels", "whole_pixels"]

Padding = Literal["constant", "reflect", "edge"]


def interval(where: str, name: str, value: float | tuple[float, float]) -> tuple[float, float]:
    """Return the interval (low, high) that `value` stands for: itself, or (-value, value) for one number."""
    low, high = value if isinstance(value, tuple | list) else (-value, value)
    ok = math.isfinite(low) and math.isfinite(high) and low <= high
    expect(ok, where, f"{name} (low, high) with low <= high", (low, high), "Put the smaller bound first.")
    return low, high


def pixels(where: str, name: str, value: float | tuple[float, float]) -> tuple[float, float]:
    """Return `value` as lengths for (rows, columns), finite and at least 0; one number stands for both."""
    rows, columns = value if isinstance(value, tuple | list) else (value, value)
    ok = 0 <= rows < math.inf and 0 <= columns < math.inf
    expect(ok, where, f"{name} of at least 0 pixels", value, "Pass one number or (rows, columns).")
    return rows, columns


def whole_pixels(where: str, name: str, value: int | tuple[int, int]) -> tuple[int, int]:
    """Return `value` as `pixels` does, but only if it is whole."""
    rows, columns = pixels(where, name, value)
    ok = is_int(rows) and is_int(columns)
    expect(ok, where, f"{name} in whole pixels", value, "Pass an int; jaxcnn.augment.affine shifts by fractions.")
    return int(rows), int(columns)


class Outside(NamedTuple):
    """What lies outside an image: how it goes on there, and for "constant" with which value and which label."""

    padding_mode: Padding
    fill: float
    mask_fill: int


def outside_of(where: str, padding_mode: Padding, fill: float, mask_fill: int) -> Outside:
    """Return the options as `Outside`; raise `ValueError` for another mode, or a fill that can be none.

    Whether a mask can hold `mask_fill` is seen by `geometric`, which knows the masks.
    """
    modes = ("constant", "reflect", "edge")
    expect(
        padding_mode in modes,
        where,
        f"padding_mode to be one of {modes}",
        repr(padding_mode),
        "Choose one of them.",
    )
    expect(
        0 <= fill <= 1,
        where,
        "fill in [0, 1]",
        fill,
        "Images are in [0, 1]: divide values of 0 to 255 by 255.",
    )
    fix = "Pass the label of what lies outside."
    expect(is_int(mask_fill), where, "mask_fill to be an integer", repr(mask_fill), fix)
    return Outside(padding_mode, fill, mask_fill)
