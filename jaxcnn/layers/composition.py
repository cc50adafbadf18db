"""Nets from layers: one after another, side by side, around."""

import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn.checking import expect, shown
from jaxcnn.layers.layer import (
    Layer,
    Module,
    Params,
    Spec,
    State,
    apply,
    expect_spec,
    init,
    is_module,
    key_for,
    name_of,
    show,
)
from jaxcnn.layers.serialization import register

__all__ = ["Concat", "Residual", "Sequential"]


@register
@dataclass(frozen=True, init=False)
class Sequential(Layer):
    """Layers one after another: f(x) = f_L(... f_2(f_1(x))).

    `Sequential(conv1=Conv(8), act1=F.relu)` names its layers; `Sequential(Conv(8), F.relu)` calls them `conv1`,
    `relu1` (the kind and a count), so that inserting one kind leaves the names of the others. A net is sliced like a
    list (`net[:2]`), read by name (`net["conv1"]`), and `net.layers` is the mapping of names to layers.
    """

    pairs: tuple[tuple[str, Module], ...] = field(init=False)

    def __init__(self, /, *unnamed: Module, **named: Module) -> None:
        """Make the net; raise `ValueError` for positional and named layers together, or two of one name."""
        expect(
            not (unnamed and named),
            "Sequential",
            "layers either all named or all positional",
            f"{len(unnamed)} positional and {len(named)} named",
            "Name all of them or none.",
        )
        pairs = tuple(named.items()) if named else _numbered(unnamed)
        twice = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]
        fix = "Name the layers: Sequential(conv1=Conv(8), act1=relu)."
        expect(not twice, "Sequential", "layers whose kinds and counts make different names", shown(twice), fix)
        object.__setattr__(self, "pairs", pairs)
        check_children("Sequential", self.layers)

    @property
    def layers(self) -> Mapping[str, Module]:
        """The layers by name, in order, read-only."""
        return MappingProxyType(dict(self.pairs))

    def children(self) -> Mapping[str, Module]:
        """Return `layers`."""
        return self.layers

    def init(self, key: jax.Array, spec: Spec) -> tuple[Params, State]:
        """Return parameters and state by layer name, for layers that have any."""
        expect_spec("Sequential", spec)
        params: dict[str, Any] = {}
        state: dict[str, Any] = {}
        for name, layer in self.pairs:
            with _located(name, layer, spec):
                p, s = init(layer, key_for(key, name), spec)
                spec = _output(layer, p, s, spec)
            keep(params, name, p)
            keep(state, name, s)
        return params, state

    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        """Return the last layer's output and the state by layer name."""
        new_state: dict[str, Any] = {}
        for name, layer in self.pairs:
            x, s = _apply_child(name, layer, params, state, x, train=train, key=key)
            keep(new_state, name, s)
        return x, new_state

    def __len__(self) -> int:
        """Return the number of layers."""
        return len(self.pairs)

    def __iter__(self) -> Iterator[Module]:
        """Iterate over the layers, in order."""
        return (layer for _, layer in self.pairs)

    def __getitem__(self, at: int | str | slice) -> Any:
        """Return one layer by position or name, or the net of a slice."""
        if isinstance(at, slice):
            return Sequential(**dict(self.pairs[at]))
        if isinstance(at, str):
            expect(
                at in self.layers,
                "Sequential",
                f"one of {list(self.layers)}",
                repr(at),
                "Choose a layer's name.",
            )
            return self.layers[at]
        return self.pairs[at][1]

    def __repr__(self) -> str:
        """Return the net, a layer a line."""
        return lines("Sequential", self.layers)


@register
@dataclass(frozen=True)
class Residual(Layer):
    """A branch added to its own input: y = branch(x) + shortcut(x), shortcut the identity unless given.

    Source: He et al. 2016, equation 1 (and 2 with a shortcut).
    """

    branch: Module
    shortcut: Module | None = None

    def __post_init__(self) -> None:
        """Check the parts."""
        check_children("Residual", self.children())

    def children(self) -> Mapping[str, Module]:
        """Return the branch, and the shortcut where there is one."""
        parts: dict[str, Module] = {"branch": self.branch}
        return parts if self.shortcut is None else parts | {"shortcut": self.shortcut}

    def init(self, key: jax.Array, spec: Spec) -> tuple[Params, State]:
        """Return parameters and state under `branch` and `shortcut`."""
        return init_parallel("Residual", self.children(), key, spec)

    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        """Return the sum of both and their state."""
        outputs, new_state = apply_parallel(self.children(), params, state, x, train=train, key=key)
        y, around = outputs["branch"], outputs.get("shortcut", x)
        expect(
            y.shape == around.shape,
            "Residual",
            f"a branch and a shortcut of one shape, {around.shape}",
            f"a branch of shape {y.shape}",
            "Give a shortcut that changes the shape likewise, such as a 1x1 Conv with the branch's stride; or, where "
            "maps are enlarged again, images whose sides the strides divide.",
        )
        return y + around, new_state

    def __repr__(self) -> str:
        """Return the layer, a part a line."""
        return lines("Residual", self.children())


@register
@dataclass(frozen=True, init=False)
class Concat(Layer):
    """Branches side by side, their outputs concatenated along the channels.

    Source: Szegedy et al. 2015 (Inception).
    """

    pairs: tuple[tuple[str, Module], ...] = field(init=False)

    def __init__(self, /, **branches: Module) -> None:
        """Make the layer from one branch or more, by name."""
        expect(bool(branches), "Concat", "at least one branch", "none", "Pass branches by name.")
        object.__setattr__(self, "pairs", tuple(branches.items()))
        check_children("Concat", branches)

    def children(self) -> Mapping[str, Module]:
        """Return the branches."""
        return dict(self.pairs)

    def init(self, key: jax.Array, spec: Spec) -> tuple[Params, State]:
        """Return parameters and state by branch."""
        return init_parallel("Concat", self.children(), key, spec)

    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        """Return the branches' outputs, concatenated in order, and their state."""
        outputs, new_state = apply_parallel(self.children(), params, state, x, train=train, key=key)
        shapes = {name: y.shape for name, y in outputs.items()}
        expect(
            len({shape[:-1] for shape in shapes.values()}) == 1,
            "Concat",
            "branches whose outputs differ in channels alone",
            shapes,
            "Give the branches the same stride and padding; or, where one enlarges maps again, images whose sides its "
            "strides divide.",
        )
        return jnp.concatenate(list(outputs.values()), axis=-1), new_state

    def __repr__(self) -> str:
        """Return the layer, a branch a line."""
        return lines("Concat", self.children())


def init_parallel(where: str, children: Mapping[str, Module], key: jax.Array, spec: Spec) -> tuple[Params, State]:
    """Return parameters and state of layers side by side, by name."""
    expect_spec(where, spec)
    params: dict[str, Any] = {}
    state: dict[str, Any] = {}
    for name, layer in children.items():
        with _located(name, layer, spec):
            p, s = init(layer, key_for(key, name), spec)
        keep(params, name, p)
        keep(state, name, s)
    return params, state


def apply_parallel(
    children: Mapping[str, Module], params, state, x, *, train, key
) -> tuple[dict[str, jax.Array], State]:
    """Return outputs and state of layers side by side, by name."""
    outputs: dict[str, jax.Array] = {}
    new_state: dict[str, Any] = {}
    for name, layer in children.items():
        outputs[name], s = _apply_child(name, layer, params, state, x, train=train, key=key)
        keep(new_state, name, s)
    return outputs, new_state


def _apply_child(name: str, layer: Module, params, state, x, *, train, key) -> tuple[jax.Array, State]:
    with _located(name, layer, x), jax.named_scope(name):
        return apply(layer, kept(params, name), kept(state, name), x, train=train, key=key_for(key, name))


def kept(tree: Any, name: str) -> Any:
    """Return what `keep` has entered for a layer."""
    return tree.get(name, {}) if isinstance(tree, Mapping) else {}


def keep(tree: dict[str, Any], name: str, value: Any) -> None:
    """Enter what a layer owns; a layer that owns nothing has no entry."""
    if not (isinstance(value, Mapping) and not value):
        tree[name] = value


def _output(layer: Module, params: Params, state: State, spec: Spec) -> jax.ShapeDtypeStruct:
    """Return what the layer's output is like, having checked that its next state is like its first."""
    y, moved = jax.eval_shape(lambda p, s, x: apply(layer, p, s, x, train=False), params, state, spec)
    if jax.tree.structure(moved) != jax.tree.structure(state):  # no text is made for the layers that do it right
        what, fix = f"apply to return a state like {_outline(state)}", "Return every entry, changed or not."
        expect(False, type(layer).__name__, what, _outline(moved), fix, TypeError)
    return y


def _outline(tree: Any) -> str:
    """Return nested dicts as text, with the shape of each array."""
    if isinstance(tree, Mapping):
        return f"{{{', '.join(f'{name!r}: {_outline(value)}' for name, value in tree.items())}}}"
    return str(tree.shape) if hasattr(tree, "shape") else shown(tree)


def _numbered(layers: tuple[Module, ...]) -> tuple[tuple[str, Module], ...]:
    counts: dict[str, int] = {}
    pairs = []
    for layer in layers:
        kind = name_of(layer)
        counts[kind] = counts.get(kind, 0) + 1
        pairs.append((f"{kind}{counts[kind]}", layer))
    return tuple(pairs)


def check_children(where: str, children: Mapping[str, Any]) -> None:
    """Raise `TypeError` or `ValueError` unless all are layers under names that paths can have."""
    for name, layer in children.items():
        flax = next((base.__module__ for base in type(layer).__mro__ if base.__module__.startswith("flax.")), "")
        fix = f"Put it into interop.flax.{'Nnx' if 'nnx' in flax else 'Linen'}(...), which is a layer."
        expect(not flax, where, f"{name!r} to be a layer or a function of an array", "a module of Flax", fix, TypeError)
        expect(
            is_module(layer),
            where,
            f"{name!r} to be a layer or a function of an array",
            shown(layer),
            "Pass an instance such as Conv(8), or a function such as functional.relu.",
            TypeError,
        )
        frozen = getattr(getattr(type(layer), "__dataclass_params__", None), "frozen", not isinstance(layer, Layer))
        kind, fix = type(layer).__name__, "Write @dataclass(frozen=True) above its class."
        expect(frozen, where, f"{name!r} to be a frozen dataclass", f"a {kind}, which is none", fix, TypeError)
        expect(
            "/" not in name and name != "",
            where,
            "names without '/'",
            repr(name),
            "'/' separates names in paths.",
        )


def lines(kind: str, children: Mapping[str, Module]) -> str:
    """Return the repr of a composite, a part a line."""
    inner = "".join(f"{name}={show(layer)},\n" for name, layer in children.items())
    return f"{kind}(\n{textwrap.indent(inner, '  ')})" if inner else f"{kind}()"


class _located:
    """Adds the name of the layer to errors that pass through; the innermost message stays as it is."""

    def __init__(self, name: str, layer: Module, x: Any) -> None:
        self.name, self.layer, self.shape = name, layer, getattr(x, "shape", None)

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, ValueError | TypeError):
            error.add_note(f"in layer {self.name!r}, {type(self.layer).__name__} given an input of shape {self.shape}")
