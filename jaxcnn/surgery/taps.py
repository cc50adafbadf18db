"""Inner activations, read and changed.

They travel out as part of the returned state, so `jit`, `vmap`, `grad` and `jax.checkpoint` see nothing unusual.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax

from jaxcnn.checking import expect, shown
from jaxcnn.layers.layer import Layer, Params, State, apply
from jaxcnn.surgery.tree import Around, paths_in, wrap_at

__all__ = ["Edited", "activations", "edit"]


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
    at = paths_in("activations", at)
    tapped = wrap_at("activations", net, dict.fromkeys(at, _Tap))
    y, out = apply(tapped, params, state, x, train=train, key=key)
    return y, {path: _read(out, path.split("/")) for path in at}


@functools.partial(jax.jit, static_argnames=("net", "at"))
def inside(params: Params, state: State, x: jax.Array, *, net: Layer, at: tuple[str, ...]) -> dict[str, jax.Array]:
    """Return what `activations` finds, compiled once for a net."""
    return activations(net, params, state, x, at)[1]


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
    paths_in("edit", list(edits))
    return wrap_at("edit", net, {path: lambda layer, fn=fn: Edited(layer, fn) for path, fn in edits.items()})


class _Tapped(NamedTuple):
    """A layer's state with its output beside it."""

    state: State
    output: jax.Array


@dataclass(frozen=True)
class _Tap(Around):
    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        y, new_state = apply(self.inner, params, state, x, train=train, key=key)
        return y, _Tapped(new_state, y)


@dataclass(frozen=True)
class Edited(Around):
    """A layer with a function applied to its output."""

    fn: Callable[[jax.Array], jax.Array]

    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        """Return the function of the output, and the state."""
        y, new_state = apply(self.inner, params, state, x, train=train, key=key)
        return self.fn(y), new_state


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
