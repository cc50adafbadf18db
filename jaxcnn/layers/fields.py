"""The fields of a layer, checked and made plain when it is made: what means the same is equal, and can be saved."""

import dataclasses
from collections.abc import Callable
from typing import Any

from jaxcnn.checking import expect, expect_count, expect_flag, number, shown

__all__ = ["expect_initializers", "settle_counts", "settle_flags", "settle_number"]


def settle_flags(layer: Any) -> None:
    """Make the layer's fields whose default is True or False Python bools; raise `TypeError` unless they are bools."""
    for field in dataclasses.fields(layer):
        if isinstance(field.default, bool):
            value = expect_flag(type(layer).__name__, field.name, getattr(layer, field.name))
            object.__setattr__(layer, field.name, value)


def settle_number(layer: Any, name: str, what: str, holds: Callable[[float], bool], fix: str) -> None:
    """Make the layer's field a Python float; raise `ValueError` unless it is one number for which `holds`."""
    value = number(type(layer).__name__, what, getattr(layer, name), holds, fix)
    object.__setattr__(layer, name, value)


def settle_counts(layer: Any, *names: str) -> None:
    """Make the layer's fields of these names Python ints; raise `ValueError` unless they are positive integers."""
    for name in names:
        object.__setattr__(layer, name, expect_count(type(layer).__name__, name, getattr(layer, name)))


def expect_initializers(layer: Any) -> None:
    """Raise `TypeError` unless the layer's initializers, its fields called ..._init, are functions."""
    where = type(layer).__name__
    for name in (field.name for field in dataclasses.fields(layer) if field.name.endswith("_init")):
        value = getattr(layer, name)
        expect(
            callable(value),
            where,
            f"{name} as a function (key, shape, dtype) -> array",
            shown(value),
            "Pass one of jaxcnn.initializers.",
            TypeError,
        )
