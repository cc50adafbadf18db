"""Operations on nets as values: cut in two, replace layers, read and edit inner activations.

A path names a layer at any depth: "stage2/block1/act". All of it is pure: activations travel out as part of the
returned state, so `jit`, `vmap`, `grad` and `jax.checkpoint` see nothing unusual.
"""

import dataclasses
import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax

from jaxcnn.checking import expect, shown
from jaxcnn.layers.composition import Sequential
from jaxcnn.layers.layer import Layer, Module, Params, Spec, State, apply, expect_net, init, rebuild

__all__ = ["activations", "cut", "edit", "paths", "rematerialize", "replace"]


def paths(net: Module) -> list[str]:
    """Return the path of every layer in the net, a composite before its parts, in order of definition."""
    fix = "Pass a net such as Sequential(...)."
    ok = isinstance(net, Layer) or callable(net)
    expect(ok, "paths", "a layer or a function", shown(net), fix, TypeError)
    found = []
    for name, child in _children(net).items():
        found += [name, *(f"{name}/{path}" for path in paths(child))]
    return found


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
    ok = isinstance(replacements, Mapping) and all(map(_is_module, (*replacements, *replacements.values())))
    fix = "Pass {functional.relu: functional.gelu}, say."
    expect(ok, "replace", "a dict from layers or functions to others", shown(replacements), fix, TypeError)
    missed = set(replacements)

    def swap(module: Module) -> Module:
        if module in replacements:
            missed.discard(module)
            return replacements[module]
        if isinstance(module, _Around):
            return dataclasses.replace(module, inner=swap(module.inner))
        children = _children(module)
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


def activations(
    net: Layer,
    params: Params,
    state: State,
    x: jax.Array,
    at: Sequence[str],
    *,
    train: bool = False,
    key: jax.Array | None = None,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Return the net's output and the outputs of the layers at the given paths.

    Args:
        net: a layer; params, state, x: as for its `apply`.
        at: paths such as "stage2/block1/act", any depth; a composite's path gives the composite's output.
        train, key: as for `apply`; the new state is dropped.

    Returns:
        y, {path: array}, in the order of `at`.

    Raises:
        ValueError: an unknown path; the message names the near ones.
    """
    at = _paths_in("activations", at)
    tapped = _wrap_at("activations", net, dict.fromkeys(at, _Tap))
    y, out = apply(tapped, params, state, x, train=train, key=key)
    return y, {path: _read(out, path.split("/")) for path in at}


def edit(net: Layer, edits: Mapping[str, Callable[[jax.Array], jax.Array]]) -> Any:
    """Return the net with functions applied to the outputs of layers, parameters and names as before.

    Args:
        net: a layer.
        edits: path -> function of that layer's output: ablation, perturbation, forcing a unit.

    Returns:
        A net that takes the same params and state.

    Raises:
        ValueError: an unknown path; the message names the near ones.
    """
    ok = isinstance(edits, Mapping) and all(callable(fn) for fn in edits.values())
    fix = 'Pass {"stage1/act": jax.numpy.zeros_like}, say.'
    expect(ok, "edit", "a dict from paths to functions", shown(edits), fix, TypeError)
    _paths_in("edit", list(edits))
    return _wrap_at("edit", net, {path: lambda layer, fn=fn: _Edited(layer, fn) for path, fn in edits.items()})


def rematerialize(net: Layer, at: Sequence[str]) -> Any:
    """Return the net whose layers at the given paths are computed a second time in the backward pass.

    Their inner activations need not be kept until then: the memory of a deep net falls to the outputs of its blocks
    and what is inside of one of them, for about a third more computing. Values, gradients and names are as before.

    Args:
        net: a layer.
        at: paths of composites, such as ["stage1", "stage2"].

    Returns:
        A net that takes the same params and state.

    Raises:
        ValueError: an unknown path; the message names the near ones.

    Source: Chen et al. 2016 (sublinear memory cost); `jax.checkpoint`.
    """
    return _wrap_at("rematerialize", net, dict.fromkeys(_paths_in("rematerialize", at), _Rematerialized))


def freeze(net: Layer, at: Sequence[str]) -> Any:
    """Return the net whose layers at the given paths are what they were trained to be, in training as in evaluation.

    Their parameters have the gradient 0, for which nothing is computed; batch norm uses its running statistics, which
    stay as they are; dropout does nothing.

    Args:
        net: a layer.
        at: paths of layers, such as ["stage1", "stage2/conv1"].

    Returns:
        A net that takes the same params and state.

    Raises:
        ValueError: an unknown path; the message names the near ones.

    Source: Yosinski et al. 2014 ("frozen" layers).
    """
    return _wrap_at("freeze", net, dict.fromkeys(_paths_in("freeze", at), _Frozen))


def _paths_in(where: str, at: Any) -> list[str]:
    at = [at] if isinstance(at, str) else at
    ok = isinstance(at, Sequence) and all(isinstance(path, str) for path in at)
    expect(ok, where, "a sequence of paths", shown(at), 'Pass ["stage1", "stage2/act1"], say.', TypeError)
    return list(at)


def _is_module(thing: Any) -> bool:
    return (isinstance(thing, Layer) or callable(thing)) and not isinstance(thing, type)


class _Tapped(NamedTuple):
    """A layer's state with its output beside it."""

    state: State
    output: jax.Array


@dataclass(frozen=True)
class _Around(Layer):
    """A layer around another one, whose names it leaves as they are."""

    inner: Module

    def children(self) -> Mapping[str, Module]:
        return _children(self.inner)

    def init(self, key: jax.Array, spec: Spec) -> tuple[Params, State]:
        return init(self.inner, key, spec)


@dataclass(frozen=True)
class _Tap(_Around):
    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        y, new_state = apply(self.inner, params, state, x, train=train, key=key)
        return y, _Tapped(new_state, y)


@dataclass(frozen=True)
class _Edited(_Around):
    fn: Callable[[jax.Array], jax.Array]

    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        y, new_state = apply(self.inner, params, state, x, train=train, key=key)
        return self.fn(y), new_state


@dataclass(frozen=True)
class _Rematerialized(_Around):
    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        run = partial(apply, self.inner, train=train)
        return jax.checkpoint(lambda p, s, x, k: run(p, s, x, key=k))(params, state, x, key)


@dataclass(frozen=True)
class _Frozen(_Around):
    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        return apply(self.inner, jax.lax.stop_gradient(params), state, x, train=False)[0], state


def unwrapped(module: Module) -> Module:
    """Return the layer without what `edit`, `freeze` and `rematerialize` have put around it."""
    return unwrapped(module.inner) if isinstance(module, _Around) else module


def _children(module: Module) -> Mapping[str, Module]:
    return module.children() if isinstance(module, Layer) else {}


def _rebuild(module: Any, children: dict[str, Module]) -> Any:
    """Return the composite with other children, through any wrapper around it."""
    if isinstance(module, _Around):
        return dataclasses.replace(module, inner=_rebuild(module.inner, children))
    return rebuild(module, children)


def _wrap_at(where: str, net: Layer, wrappers: Mapping[str, Callable[[Module], Layer]]) -> Any:
    expect_net(where, net)
    known = paths(net)
    for path in wrappers:
        near = difflib.get_close_matches(path, known, n=5, cutoff=0.3) or known
        expect(path in known, where, "the path of a layer", repr(path), f"Near ones are {near[:12]}.")

    def walk(module: Module, prefix: str) -> Module:
        children = _children(module)
        if children:
            module = _rebuild(module, {name: walk(child, f"{prefix}{name}/") for name, child in children.items()})
        wrapper = wrappers.get(prefix[:-1])
        return module if wrapper is None else wrapper(module)

    return walk(net, "")


def _read(state: Any, names: Sequence[str]) -> jax.Array:
    for name in names:
        parts = state.state if isinstance(state, _Tapped) else state
        expect(
            isinstance(parts, Mapping) and name in parts,
            "activations",
            f"every layer on the way to {'/'.join(names)!r} to return the state of its parts by name",
            "one that does not",
            "See how Residual.apply hands on what its parts return.",
        )
        state = parts[name]
    return state.output
