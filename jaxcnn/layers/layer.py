"""What a layer is, and how a net gives each of its layers a name, a key and its part of the parameters."""

import dataclasses
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn.checking import expect, expect_key, is_array, shown
from jaxcnn.functional.window import images

__all__ = [
    "Layer",
    "Module",
    "Spec",
    "apply",
    "channels_last",
    "channels_of",
    "expect_arrays",
    "expect_net",
    "expect_spec",
    "hyperparameters",
    "init",
    "is_module",
    "key_for",
    "leaf_name",
    "name_of",
    "named_leaves",
    "parameter",
    "part",
    "rebuild",
    "show",
]

Spec = jax.ShapeDtypeStruct | jax.Array
Params = Any
State = Any


class Layer:
    """A frozen dataclass of hyperparameters with `init` and `apply`; it holds no arrays.

    A subclass without parameters or state overrides `apply` alone. A layer made of layers also overrides `children`,
    its constructor takes them by name, and its `apply` returns what each part returns as state under the part's name
    (`Residual` is an example): that is all that saving and surgery need.
    """

    def init(self, key: jax.Array, spec: Spec) -> tuple[Params, State]:
        """Return initial parameters and state for inputs like `spec`.

        Args:
            key: a PRNG key.
            spec: `jax.ShapeDtypeStruct` or array with the shape (batch axis included) and dtype of the input.

        Returns:
            params: what the optimizer may change; state: what `apply` returns anew (running statistics). Nested
            dicts; `{}` where there is none.
        """
        return {}, {}

    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        """Return the output for `x`, and the state that belongs to the next call.

        Args:
            params: parameters, as from `init`.
            state: state, as from `init` or the last `apply`.
            x: input, batch axes first.
            train: whether this is a training step (batch statistics, dropout) or not.
            key: a PRNG key for layers that need one while training.
        """
        raise NotImplementedError

    def children(self) -> "Mapping[str, Module]":
        """Return the layers this one is made of, by name."""
        return {}

    def __init_subclass__(cls, **options: Any) -> None:
        """Give the subclass this repr: `dataclass` keeps one that it finds in the class."""
        super().__init_subclass__(**options)
        if "__repr__" not in cls.__dict__:
            cls.__repr__ = Layer.__repr__

    def __repr__(self) -> str:
        """Return the constructor's call, without the options that are at their defaults."""
        shown = []
        for field in dataclasses.fields(self) if dataclasses.is_dataclass(self) else ():
            value, default = getattr(self, field.name), field.default
            if isinstance(value, jax.Array) or (value != default and value != (default, default)):  # or traced
                shown.append(f"{field.name}={show(value)}")
        return f"{type(self).__name__}({', '.join(shown)})"


Module = Layer | Callable[[jax.Array], jax.Array]
"""A layer, or a plain function of an array, which is a layer without parameters."""


def is_module(thing: Any) -> bool:
    """Return whether `thing` is a layer or a function, not a class of one."""
    return (isinstance(thing, Layer) or callable(thing)) and not isinstance(thing, type)


def init(module: Module, key: jax.Array, spec: Spec) -> tuple[Params, State]:
    """Return `module.init(key, spec)`; a plain function has neither parameters nor state."""
    if not isinstance(module, Layer):
        return {}, {}
    given = module.init(key, spec)
    _expect_pair(module, "init to return (params, state)", given, "Return {} for what there is none of.")
    return given


def apply(
    module: Module, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
) -> tuple[jax.Array, State]:
    """Return `module.apply(...)`, or a plain function's value and the state as it was."""
    if isinstance(module, Layer):
        given = module.apply(params, state, x, train=train, key=key)
        fix = "Return x, state where there is none of its own."
        _expect_pair(module, "apply to return (outputs, state)", given, fix)
        return given
    y = module(x)
    fix = "Use functions of an array that return one."
    expect(is_array(y), "apply", f"an array from {name_of(module)}", y, fix, TypeError)
    return y, state


def _expect_pair(module: Layer, what: str, given: Any, fix: str) -> None:
    """Raise `TypeError` unless a layer of one's own returned a pair; an array of two rows would come apart as well."""
    got = "an array alone" if is_array(given) else type(given).__name__
    expect(isinstance(given, tuple) and len(given) == 2, type(module).__name__, what, got, fix, TypeError)


def key_for(key: Any, name: str) -> Any:
    """Return the key of the part called `name`: the CRC-32 of the name folded into `key`; None of None.

    Names, not positions, so that inserting a named layer leaves the initial values of the others as they were.
    """
    if key is None:
        return None
    expect_key("key_for", key)
    return jax.random.fold_in(key, zlib.crc32(name.encode()))


def expect_net(where: str, net: Any) -> None:
    """Raise `TypeError` unless `net` is a layer."""
    expect(isinstance(net, Layer), where, "a layer", shown(net), "Pass a net such as Sequential(...).", TypeError)


def expect_arrays(where: str, name: str, tree: Any) -> None:
    """Raise `TypeError` unless `tree` is a dict made of arrays of numbers."""
    leaves = _leaves(tree)
    ok = isinstance(tree, Mapping) and leaves is not None and all(map(is_array, leaves))
    fix = f"Pass the {name} that init returned for this net."
    expect(ok, where, f"{name} as nested dicts of arrays", shown(tree), fix, TypeError)


def _leaves(tree: Any) -> list[Any] | None:
    try:
        return jax.tree.leaves(tree)
    except (TypeError, ValueError):  # dicts whose keys have no order
        return None


def leaf_name(path: Any) -> str:
    """Return the name of an array of parameters or state, "stage1/conv1/kernel" say, of its path as JAX gives it."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def named_leaves(tree: Any) -> dict[str, Any]:
    """Return the arrays of a tree by name."""
    return {leaf_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def expect_spec(where: str, spec: Any, *, one: bool = False) -> None:
    """Raise `TypeError` unless `spec` has the shape and dtype of an input, or, if not `one`, is made of such."""
    leaves = _leaves(spec) or []
    right = len(leaves) == 1 and leaves[0] is spec if one else len(leaves) > 0
    expect(
        right and all(map(is_array, leaves)),
        where,
        "spec as a jax.ShapeDtypeStruct or an array, after the key",
        shown(spec),
        "Pass the input itself, or jax.ShapeDtypeStruct(x.shape, x.dtype).",
        TypeError,
    )


def channels_last(where: str, spec: Spec) -> int:
    """Return the length of the last axis of anything like `spec`."""
    expect_spec(where, spec, one=True)
    expect(len(spec.shape) >= 1, where, "an input of shape (..., C)", spec.shape, "Add a channel axis, last.")
    return spec.shape[-1]


def channels_of(where: str, spec: Spec) -> int:
    """Return the channels of images like `spec`, checking rank and dtype without any array work."""
    expect_spec(where, spec, one=True)
    return jax.eval_shape(lambda x: images(where, x), spec).shape[-1]


def part(where: str, params: Params, name: str) -> Any:
    """Return `params[name]`, or raise the design's error where the parameters are of another layer."""
    if not (isinstance(params, Mapping) and name in params):
        found = sorted(params, key=str) if isinstance(params, Mapping) else params
        fix = "Pass the params that init returned for this net."
        expect(False, where, f"params with {name!r}", shown(found), fix)
    return params[name]


def parameter(where: str, params: Params, name: str, features: int | None = None) -> jax.Array:
    """Return the array `params[name]`, or raise the design's error where the parameters are of another layer.

    Args:
        where: the layer.
        params: its parameters.
        name: of the parameter.
        features: what its last axis has to be, if the layer says so.
    """
    value = part(where, params, name)
    fix = "Pass the params that init returned for this net; of int8 kernels what surgery.dequantize makes of them."
    expect(is_array(value), where, f"{name} as an array", type(value).__name__, fix, TypeError)
    expect(
        features is None or jnp.shape(value)[-1:] == (features,),
        where,
        f"{name} of {features} features",
        f"shape {jnp.shape(value)}",
        "Pass the params that init returned for this net.",
    )
    return value


def hyperparameters(layer: Any) -> dict[str, Any]:
    """Return what the constructor of a dataclass takes besides the layer's children."""
    children = layer.children() if isinstance(layer, Layer) else {}
    return {f.name: getattr(layer, f.name) for f in dataclasses.fields(layer) if f.init and f.name not in children}


def rebuild(layer: Any, children: Mapping[str, "Module"]) -> Any:
    """Return the composite layer with other children under the same names."""
    return type(layer)(**hyperparameters(layer), **children)


def show(value: Any) -> str:
    """Return `repr(value)`, functions by their name, pairs of equal numbers as one."""
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], int) and value[0] == value[1]:
        return repr(value[0])
    return getattr(value, "__name__", repr(value))


def name_of(module: Module) -> str:
    """Return a short lower-case name: the class of a layer, the name of a function."""
    if isinstance(module, Layer):
        return type(module).__name__.lower()
    return getattr(module, "__name__", type(module).__name__).strip("<>").lower()
