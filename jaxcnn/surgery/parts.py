"""Nets cut in two, and with other layers in the place of some."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from jaxcnn.checking import expect, shown
from jaxcnn.layers.composition import Sequential
from jaxcnn.layers.layer import Layer, Module, expect_net, is_module, rebuild
from jaxcnn.surgery.tree import Around, children_of

__all__ = ["cut", "replace"]


def cut(net: Sequential, at: str) -> tuple[Sequential, Sequential]:
    """Return the net up to and including its layer `at`, and the rest: net = back after front.

    Args:
        net: a Sequential.
        at: the name of one of its own layers. `front` gives that layer's output.

    Returns:
        front, back. Both take the params and state of the whole net, and return the state of their own layers.

    Raises:
        ValueError: no such layer; the message lists the names.
    """
    expect(isinstance(net, Sequential), "cut", "a Sequential", type(net).__name__, "Wrap it in one.", TypeError)
    names = list(net.layers)
    expect(
        isinstance(at, str) and at in names,
        "cut",
        f"one of the layers {names}",
        shown(at),
        "Choose a name of the top level.",
    )
    end = names.index(at) + 1
    return net[:end], net[end:]


def replace(net: Layer, replacements: Mapping[Module, Module]) -> Any:
    """Return the net with every layer that equals a key of `replacements` replaced by its value, at any depth.

    Args:
        net: a layer.
        replacements: old layer or function -> new one. `{F.relu: F.elu}` changes every ReLU of the net.

    Returns:
        A net with the same names. Parameters fit as long as the new layers have the old ones' parameters.

    Raises:
        ValueError: a key that does not occur in the net: nothing would have changed.
    """
    expect_net("replace", net)
    ok = isinstance(replacements, Mapping) and all(map(is_module, (*replacements, *replacements.values())))
    fix = "Pass {functional.relu: functional.gelu}, say."
    expect(ok, "replace", "a dict from layers or functions to others", shown(replacements), fix, TypeError)
    missed = set(replacements)

    def swap(module: Module) -> Module:
        if module in replacements:
            missed.discard(module)
            return replacements[module]
        if isinstance(module, Around):
            return dataclasses.replace(module, inner=swap(module.inner))
        children = children_of(module)
        return rebuild(module, {name: swap(child) for name, child in children.items()}) if children else module

    new = swap(net)
    expect(
        not missed,
        "replace",
        "layers that occur in the net",
        f"{sorted(map(repr, missed))}",
        "See print(net).",
    )
    return new
