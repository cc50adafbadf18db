"""The forms options come in: an interval to draw from, a number for each axis, what lies outside an image."""

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from jaxcnn.checking import expect, expect_choice, is_int, is_number, number, plain, shown

__all__ = [
    "Outside",
    "Padding",
    "brightness_of",
    "concentration",
    "expect_functions",
    "interval",
    "odds_of",
    "outside_of",
    "pixels",
    "probability",
    "whole_interval",
    "whole_pixels",
]

Padding = Literal["constant", "reflect", "edge"]


def interval(where: str, name: str, value: float | tuple[float, float]) -> tuple[float, float]:
    """Return the interval (low, high) that `value` stands for: itself, or (-value, value) for one number."""
    what, fix = f"{name} (low, high) with low <= high", "Put the smaller bound first."
    pair = isinstance(value, tuple | list)
    ok = len(value) == 2 and all(map(is_number, value)) if pair else is_number(value)
    expect(ok, where, what, shown(value), fix)
    low, high = map(plain, value) if pair else (-plain(value), plain(value))
    expect(-(2**31) < low <= high < 2**31, where, what, (low, high), fix)
    return low, high


def whole_interval(where: str, what: str, value: int | tuple[int, int], least: int, most: int) -> tuple[int, int]:
    """Return the interval (low, high) of whole numbers that `value` stands for: itself, or one number twice."""
    pair = value if isinstance(value, tuple | list) else (value, value)
    ok = len(pair) == 2 and all(is_int(v, least, most) for v in pair) and int(pair[0]) <= int(pair[1])
    expect(ok, where, what, shown(value), "Pass (low, high), or one number.")
    return int(pair[0]), int(pair[1])


def odds_of(where: str, weights: Any, count: int, fix: str) -> tuple[float, ...]:
    """Return `count` weights as floats, equal ones for None."""
    weights = (1,) * count if weights is None else weights
    several = isinstance(weights, Sequence | np.ndarray) and not isinstance(weights, str)
    expect(several, where, f"{count} weights", shown(weights), fix)
    expect(len(weights) == count, where, f"{count} weights", len(weights), fix)
    what = "weights of at least 0, not all 0"
    ok = all(is_number(weight) and 0 <= float(weight) < math.inf for weight in weights)
    expect(ok and 0 < sum(map(float, weights)) < math.inf, where, what, shown(weights), fix)
    return tuple(map(float, weights))


def expect_functions(where: str, *fns: Any) -> None:
    """Raise `TypeError` unless all are functions."""
    for fn in fns:
        fix = "Bind options with functools.partial, do not call it."
        if isinstance(fn, list | tuple):
            fix = "Pass them one by one."
        expect(callable(fn), where, "a function", shown(fn), fix, TypeError)


def concentration(where: str, alpha: float) -> float:
    """Return `alpha` of a Beta or Dirichlet distribution as a float, where float32 can draw from it."""
    fix = "1 makes all proportions equally likely."
    alpha = number(where, "alpha above 0", alpha, lambda a: 0 < a < math.inf, fix)
    return number(where, "alpha in [1e-6, 1e6]", alpha, lambda a: 1e-6 <= a <= 1e6, fix)


def pixels(where: str, name: str, value: float | tuple[float, float]) -> tuple[float, float]:
    """Return `value` as lengths for (rows, columns), finite and at least 0; one number stands for both."""
    both = value if isinstance(value, tuple | list) else (value, value)
    ok = len(both) == 2 and all(is_number(side) and 0 <= float(side) < 2**31 for side in both)
    expect(ok, where, f"{name} of at least 0 pixels", shown(value), "Pass one number or (rows, columns).")
    return plain(both[0]), plain(both[1])


def whole_pixels(where: str, name: str, value: int | tuple[int, int]) -> tuple[int, int]:
    """Return `value` as `pixels` does, but only if it is whole."""
    rows, columns = pixels(where, name, value)
    ok = is_int(rows) and is_int(columns)
    expect(
        ok, where, f"{name} in whole pixels", shown(value), "Pass an int; jaxcnn.augment.affine shifts by fractions."
    )
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
    modes = get_args(Padding)
    expect_choice(where, f"padding_mode to be one of {modes}", padding_mode, modes)
    fill = brightness_of(where, fill)
    fix = "Pass the label of what lies outside."
    expect(is_int(mask_fill), where, "mask_fill to be an integer", shown(mask_fill), fix)
    return Outside(padding_mode, fill, int(mask_fill))


def brightness_of(where: str, fill: float) -> float:
    """Return `fill` as a float in [0, 1]."""
    fix = "Images are in [0, 1]: divide values of 0 to 255 by 255."
    return number(where, "fill in [0, 1]", fill, lambda f: 0 <= f <= 1, fix)


def probability(where: str, p: float, fix: str) -> float:
    """Return `p` as a float in [0, 1]."""
    return number(where, "p in [0, 1]", p, lambda p: 0 <= p <= 1, fix)
