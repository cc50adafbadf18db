"""How a value is written on a page: few digits, thousands apart, columns aligned at the decimal point."""

import math
from collections.abc import Sequence
from typing import Any

__all__ = ["column", "shown"]


def shown(value: Any, *, plain: bool = False) -> str:
    """Return a value in few characters: four digits of a float, thousands apart unless `plain`."""
    value = scalar(value)
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if 1e4 <= abs(value) < 1e15 and not plain else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not plain else str(value)


def column(values: Sequence[Any]) -> tuple[list[str], bool]:
    """Return the values of a table's column as text, and whether all of them are numbers.

    Floats share a number of decimals that leaves the largest four digits and, within reason, the smallest two.
    """
    values = [scalar(value) for value in values]
    numeric = all(isinstance(value, int | float | None) and not isinstance(value, bool) for value in values)
    sizes = [abs(value) for value in values if isinstance(value, float) and math.isfinite(value) and value]
    if not numeric or not sizes or not 1e-5 < max(sizes) < 1e4:
        return [shown(value) for value in values], numeric
    decimals = max(3 - _magnitude(max(sizes)), min(1 - _magnitude(min(sizes)), 5))
    needed = max(len(f"{size:.{decimals}f}".rstrip("0").partition(".")[2]) for size in sizes)
    return [f"{v:.{needed}f}" if isinstance(v, float) and math.isfinite(v) and v else shown(v) for v in values], True


def scalar(value: Any) -> Any:
    """Return the Python value of an array without axes, anything else as it is."""
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", None) == 0 else value


def _magnitude(size: float) -> int:
    return math.floor(math.log10(size))
