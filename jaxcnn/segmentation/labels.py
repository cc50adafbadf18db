"""Which labels pixels may have: classes, and marks of pixels that do not count."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jaxcnn.checking import expect, is_int, shown

__all__ = ["VOID", "expect_labels", "void_labels"]

VOID = (-1, 255)
"""The usual marks of pixels without a class."""


def void_labels(where: str, void: Any) -> tuple[int, ...]:
    """Return the marks of pixels that do not count as ints; raise `ValueError` unless they are some."""
    ok = isinstance(void, Sequence) and all(map(is_int, void))
    expect(ok, where, "void as a tuple of ints", shown(void), "Pass (255,), say.")
    return tuple(int(label) for label in void)


def expect_labels(where: str, labels: Any, classes: int, void: Any = (), name: str = "labels") -> None:
    """Raise `ValueError` if labels that are known, not traced, are neither classes nor `void`, or void ones classes."""
    void = void_labels(where, void)
    inside = [label for label in void if 0 <= label < classes]
    fix = "Take numbers that no class has, void=(-1,), say."
    expect(not inside, where, f"void labels outside 0..{classes - 1}", shown(inside), fix)
    if isinstance(labels, jax.core.Tracer):
        return
    others = [label for label in np.unique(np.asarray(labels)).tolist() if not 0 <= label < classes]
    others = [label for label in others if label not in void]
    fix = "Number the classes from 0" + (", and name the labels that do not count: void=(255,)." if void else ".")
    expect(not others, where, f"{name} in 0..{classes - 1} for {classes} classes", shown(others), fix)
