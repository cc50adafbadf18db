"""Flax and back: the same arrays under the same names, a net as a linen or nnx module, and modules as layers.

variables = interop.flax.to_linen_variables(params, state)
module = interop.flax.as_linen(net)                 # module.apply(variables, x, train=False)
layer = interop.flax.Linen(nn.Dense(10))            # a layer like any other
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn import functional as F
from jaxcnn.checking import expect, expect_train, shown
from jaxcnn.layers.layer import Layer, Params, Spec, State, expect_arrays, expect_net, expect_spec, key_for

__all__ = ["Linen", "Nnx", "as_linen", "as_nnx", "from_linen_variables", "to_linen_variables"]

STATS = ("mean", "var")


def to_linen_variables(params: Params, state: State) -> dict[str, Any]:
    """Return `{"params": ..., "batch_stats": ...}` as Flax has them; names and arrays are the same.

    Args:
        params, state: as `net.init` or a training returned them.

    Raises:
        TypeError: they are no nested dicts of arrays.
    """
    expect_arrays("to_linen_variables", "params", params)
    expect_arrays("to_linen_variables", "state", state)
    variables = {"params": params, "batch_stats": _as_dicts(state)}
    return {name: tree for name, tree in variables.items() if tree or name == "params"}


def from_linen_variables(variables: Mapping[str, Any]) -> tuple[Params, State]:
    """Return params and state of `{"params": ..., "batch_stats": ...}`, the inverse of `to_linen_variables`.

    Raises:
        ValueError: other collections of variables.
        TypeError: no dict of arrays.
    """
    where, fix = "from_linen_variables", "Pass what module.init returned."
    expect(isinstance(variables, Mapping), where, "variables as a dict", shown(variables), fix, TypeError)
    others = sorted(set(variables) - {"params", "batch_stats"})
    expect(not others, where, "params and batch_stats", shown(others), "Leave other collections out.")
    params, stats = variables.get("params", {}), variables.get("batch_stats", {})
    expect_arrays(where, "params", params)
    expect_arrays(where, "batch_stats", stats)
    return _plain(params), _as_stats(stats)


def as_linen(net: Layer) -> Any:
    """Return the net as a `flax.linen.Module`: `module.apply(variables, x, train=False)`.

    Its variables are those of `to_linen_variables`. While training pass `train=True`, `mutable=["batch_stats"]` and
    `rngs={"dropout": key}`.

    Raises:
        TypeError: net is no layer.
    """
    expect_net("as_linen", net)
    return _linen_class()(net=net)


def as_nnx(net: Layer, params: Params, state: State) -> Any:
    """Return the net with its weights as a `flax.nnx.Module`: `module(x, train=False)`.

    Parameters are `nnx.Param`, running statistics `nnx.BatchStat`, which a call with `train=True` moves; such a call
    takes a key as `key=`.

    Raises:
        TypeError: net is no layer, params or state no nested dicts of arrays.
    """
    expect_net("as_nnx", net)
    expect_arrays("as_nnx", "params", params)
    expect_arrays("as_nnx", "state", state)
    return _nnx_class()(net, params, state)


@dataclass(frozen=True)
class Linen(Layer):
    """A `flax.linen.Module` as a layer; its collections besides "params" are the state.

    A module whose call takes `train` or `training` is given it, one that takes `deterministic` or `use_running_average`
    the contrary. Random modules have their keys from the layer's, under the name "dropout". A net with such a layer
    trains and is resumed, but cannot be saved as JSON, and so not by `jaxcnn.save`: keep params and state alone.
    """

    module: Any

    def __post_init__(self) -> None:
        """Check the module."""
        from flax import linen

        fix = "Pass flax.linen.Dense(10), say."
        expect(isinstance(self.module, linen.Module), "Linen", "a linen module", shown(self.module), fix, TypeError)

    def init(self, key: jax.Array, spec: Spec) -> tuple[Params, State]:
        """Return the module's parameters, and its other collections."""
        expect_spec("Linen", spec, one=True)
        keys = {name: key_for(key, name) for name in ("params", "dropout")}
        variables = self.module.init(keys, jnp.zeros(spec.shape, spec.dtype), **_mode(self.module, False))
        return variables.get("params", {}), {n: tree for n, tree in variables.items() if n != "params"}

    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        """Return the module's output, and its other collections."""
        expect_train("Linen", train)
        variables, rngs = {"params": params, **state}, None if key is None else {"dropout": key_for(key, "dropout")}
        mode = _mode(self.module, train)
        if not train or not state:
            return self.module.apply(variables, x, rngs=rngs, **mode), state
        y, moved = self.module.apply(variables, x, rngs=rngs, mutable=list(state), **mode)
        return y, {**state, **moved}


@dataclass(frozen=True)
class Nnx(Layer):
    """A `flax.nnx.Module` as a layer: `Nnx(lambda rngs: nnx.Linear(4, 10, rngs=rngs))`.

    Its `nnx.Param` are the parameters, all else, but for its streams of random numbers, the state. While training it
    is in the mode of `module.train()`, else in that of `module.eval()`; its streams begin anew from the layer's key.
    As one with a `Linen` layer, a net with it cannot be saved.
    """

    make: Callable[[Any], Any]

    def __post_init__(self) -> None:
        """Check the function."""
        fix = "Pass lambda rngs: nnx.Linear(4, 10, rngs=rngs), say."
        expect(callable(self.make), "Nnx", "a function of nnx.Rngs", shown(self.make), fix, TypeError)

    def init(self, key: jax.Array, spec: Spec) -> tuple[Params, State]:
        """Return the module's parameters, and its other variables."""
        from flax import nnx

        _, params, rest, _ = nnx.split(self.make(nnx.Rngs(key)), nnx.Param, nnx.Not(nnx.RngState), ...)
        return nnx.to_pure_dict(params), nnx.to_pure_dict(rest)

    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        """Return the module's output, and its other variables."""
        from flax import nnx

        expect_train("Nnx", train)
        module = self.make(nnx.Rngs(jax.random.key(0) if key is None else key))
        kept = nnx.state(module, nnx.Param), nnx.state(module, nnx.Not(nnx.Any(nnx.Param, nnx.RngState)))
        for mine, pure in zip(kept, (params, state), strict=True):
            nnx.replace_by_pure_dict(mine, pure)
            nnx.update(module, mine)
        (module.train if train else module.eval)()
        y = module(x)
        return y, nnx.to_pure_dict(nnx.state(module, nnx.Not(nnx.Any(nnx.Param, nnx.RngState)))) if train else state


@functools.cache
def _linen_class() -> Any:
    from flax import linen

    class JaxcnnNet(linen.Module):
        net: Layer

        @linen.compact
        def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
            def initial(which: int, name: str, key: jax.Array) -> Any:
                return _as_dicts(self.net.init(key, x))[which][name]

            def first(name: str) -> Any:
                return initial(1, name, self.make_rng("params"))

            names = _as_dicts(jax.eval_shape(lambda key: self.net.init(key, x), jax.random.key(0)))
            params = {name: self.param(name, functools.partial(initial, 0, name)) for name in names[0]}
            held = {name: self.variable("batch_stats", name, first, name) for name in names[1]}
            state = _as_stats({name: variable.value for name, variable in held.items()})
            key = self.make_rng("dropout") if train and self.has_rng("dropout") else None
            y, state = self.net.apply(params, state, x, train=train, key=key)
            if train and self.is_mutable_collection("batch_stats") and not self.is_initializing():
                for name, value in _as_dicts(state).items():
                    held[name].value = value
            return y

    JaxcnnNet.__qualname__ = "JaxcnnNet"  # in messages, no place inside of a function
    return JaxcnnNet


@functools.cache
def _nnx_class() -> Any:
    from flax import nnx

    class JaxcnnNet(nnx.Module):
        def __init__(self, net: Layer, params: Params, state: State) -> None:
            self.net = net
            self.params = nnx.data(jax.tree.map(nnx.Param, params))
            self.stats = nnx.data(jax.tree.map(nnx.BatchStat, _as_dicts(state)))

        def __call__(self, x: jax.Array, *, train: bool, key: jax.Array | None = None) -> jax.Array:
            is_variable = lambda leaf: isinstance(leaf, nnx.Variable)  # noqa: E731
            value = functools.partial(jax.tree.map, lambda v: v[...], is_leaf=is_variable)
            y, state = self.net.apply(value(self.params), _as_stats(value(self.stats)), x, train=train, key=key)
            if train:
                for held, new in zip(
                    jax.tree.leaves(self.stats, is_leaf=is_variable), jax.tree.leaves(_as_dicts(state)), strict=True
                ):
                    held[...] = new
            return y

    return JaxcnnNet


def _mode(module: Any, train: bool) -> dict[str, bool]:
    known = inspect.signature(type(module).__call__).parameters
    named = {"train": train, "training": train, "deterministic": not train, "use_running_average": not train}
    # What a module was built with holds where its call leaves it open.
    return {n: v for n, v in named.items() if n in known and getattr(module, n, None) is None}


def _as_dicts(state: Any) -> Any:
    if isinstance(state, F.BatchStats):
        return state._asdict()
    if isinstance(state, tuple):
        return tuple(map(_as_dicts, state))
    return {name: _as_dicts(part) for name, part in state.items()} if isinstance(state, Mapping) else state


def _as_stats(tree: Any) -> Any:
    if not isinstance(tree, Mapping):
        return tree
    if set(tree) == set(STATS) and not any(isinstance(part, Mapping) for part in tree.values()):
        return F.BatchStats(**tree)
    return {name: _as_stats(part) for name, part in tree.items()}


def _plain(tree: Any) -> Any:
    return {name: _plain(part) for name, part in tree.items()} if isinstance(tree, Mapping) else tree
