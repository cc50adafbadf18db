"""A net as a tree of layers, each under a path such as "stage2/block1/act"."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax

from jaxcnn.checking import did_you_mean, expect, shown
from jaxcnn.layers.auxiliary import Auxiliary
from jaxcnn.layers.composition import Concat, Residual, Sequential
from jaxcnn.layers.gate import Gate
from jaxcnn.layers.layer import Layer, Module, Params, Spec, State, expect_net, init, is_module, rebuild

__all__ = [
    "COMPOSED",
    "Around",
    "children_of",
    "leaf_paths",
    "modules",
    "paths",
    "paths_in",
    "rebuilt",
    "unwrapped",
    "wrap_at",
]

COMPOSED = Sequential | Auxiliary | Residual | Concat | Gate
"""The composites of which it is known what their parts are given."""


def paths(net: Module) -> list[str]:
    """Return the path of every layer in the net, a composite before its parts, in order of definition."""
    fix = "Pass a net such as Sequential(...)."
    expect(is_module(net), "paths", "a layer or a function", shown(net), fix, TypeError)
    return list(modules(net))


def leaf_paths(net: Module) -> list[str]:
    """Return the paths of the layers that are not made of layers, in order of definition."""
    return [path for path, module in modules(net).items() if not children_of(module)]


def modules(net: Module) -> dict[str, Module]:
    """Return every layer of the net by its path, a composite before its parts, in order of definition."""
    found: dict[str, Module] = {}
    for name, child in children_of(net).items():
        found |= {name: child} | {f"{name}/{path}": module for path, module in modules(child).items()}
    return found


def unwrapped(module: Module) -> Module:
    """Return the layer without what `edit`, `freeze` and `rematerialize` have put around it."""
    return unwrapped(module.inner) if isinstance(module, Around) else module


@dataclass(frozen=True)
class Around(Layer):
    """A layer around another one, whose names it leaves as they are."""

    inner: Module

    def children(self) -> Mapping[str, Module]:
        """Return those of the layer inside."""
        return children_of(self.inner)

    def init(self, key: jax.Array, spec: Spec) -> tuple[Params, State]:
        """Return what the layer inside does."""
        return init(self.inner, key, spec)


def children_of(module: Module) -> Mapping[str, Module]:
    """Return the parts of a layer by name; a function has none."""
    return module.children() if isinstance(module, Layer) else {}


def rebuilt(module: Any, children: dict[str, Module]) -> Any:
    """Return the composite with other children, through any wrapper around it."""
    if isinstance(module, Around):
        return dataclasses.replace(module, inner=rebuilt(module.inner, children))
    return rebuild(module, children)


def paths_in(where: str, at: Any) -> list[str]:
    """Return the paths as a list; raise `TypeError` unless they are some."""
    at = [at] if isinstance(at, str) else at
    ok = isinstance(at, Sequence) and all(isinstance(path, str) for path in at)
    expect(ok, where, "a sequence of paths", shown(at), 'Pass ["stage1", "stage2/act1"], say.', TypeError)
    return list(at)


def wrap_at(where: str, net: Layer, wrappers: Mapping[str, Callable[[Module], Layer]]) -> Any:
    """Return the net with something around the layers at some paths; raise `ValueError` for a path that is none."""
    expect_net(where, net)
    known = paths(net)
    for path in wrappers:
        fix = did_you_mean(path, known, f"There are {shown(known)}.", cutoff=0.3)
        expect(path in known, where, "the path of a layer", repr(path), fix)

    def walk(module: Module, prefix: str) -> Module:
        children = children_of(module)
        if children:
            module = rebuilt(module, {name: walk(child, f"{prefix}{name}/") for name, child in children.items()})
        wrapper = wrappers.get(prefix[:-1])
        return module if wrapper is None else wrapper(module)

    return walk(net, "")
