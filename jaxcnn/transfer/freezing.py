"""Which layers of a net learn, how fast, and from which step on."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxcnn.checking import expect, is_int, number, shown
from jaxcnn.layers.composition import Sequential
from jaxcnn.layers.layer import expect_arrays, leaf_name
from jaxcnn.surgery.tree import paths_in
from jaxcnn.training.optimizer import expect_optimizer, trainable

__all__ = ["layerwise", "scale_updates", "trainable_mask", "unfreeze_at"]


def trainable_mask(params: Any, frozen: Sequence[str]) -> Any:
    """Return which parameters train while the layers at the paths are frozen: a bool for each, a mask for optax.

    `optax.masked(optimizer, trainable_mask(params, ["stage1"]))` keeps no slots for what is frozen, and leaves it alone
    where the net is `surgery.freeze(net, ["stage1"])`, whose gradient is 0 there. `fit(..., freeze=["stage1"])` does
    both.

    Args:
        params: of a net.
        frozen: paths of layers, such as ["stage1", "stage2/conv1"].

    Raises:
        ValueError: a path without parameters.
        TypeError: params that are no nested dicts of arrays, paths that are no texts.
    """
    expect_arrays("trainable_mask", "params", params)
    frozen = paths_in("trainable_mask", frozen)
    _expect_paths("trainable_mask", params, frozen)
    return trainable(params, frozen)


def scale_updates(factors: Mapping[str, float]) -> optax.GradientTransformation:
    """Return the transformation that multiplies the updates of some layers: a learning rate for each of them.

    `optax.chain(training.sgd(0.1), scale_updates({"stage1": 0.1, "stage2": 0.3}))`. Of several paths that hold a
    parameter the longest counts; where there is none, 1.

    Args:
        factors: path -> factor, >= 0.

    Raises:
        ValueError: a factor below 0; where it is used, a path without parameters.
    """
    fix = 'Pass {"stage1": 0.1}, say.'
    ok = isinstance(factors, Mapping) and all(isinstance(path, str) for path in factors)
    expect(ok, "scale_updates", "a dict from paths to factors", shown(factors), fix, TypeError)
    known = {
        path: number("scale_updates", "factors >= 0", factor, lambda f: 0 <= f < np.inf, fix)
        for path, factor in sorted(factors.items(), key=lambda item: len(item[0]))
    }

    def init(params: Any) -> optax.EmptyState:
        _expect_paths("scale_updates", params, known)
        return optax.EmptyState()

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        def scaled(path: Any, leaf: jax.Array) -> jax.Array:
            name = leaf_name(path)
            held = [factor for layer, factor in known.items() if name.startswith(f"{layer}/")]
            return leaf * held[-1] if held else leaf

        return jax.tree_util.tree_map_with_path(scaled, updates), state

    return optax.GradientTransformation(init, update)


def layerwise(net: Sequential, params: Any, decay: float) -> dict[str, float]:
    """Return a factor for each of the net's own layers with parameters, for `scale_updates`: the last has 1.

    factor = decay^(how many such layers come after it).

    Args:
        net: a Sequential.
        params: its parameters.
        decay: in (0, 1].

    Raises:
        ValueError: decay out of range.

    Source: Howard and Ruder 2018 (discriminative fine-tuning), with decay 1 / 2.6.
    """
    expect(isinstance(net, Sequential), "layerwise", "a Sequential", shown(net), "Wrap it in one.", TypeError)
    decay = number("layerwise", "decay in (0, 1]", decay, lambda d: 0 < d <= 1, "0.5 halves the rate with each layer.")
    expect_arrays("layerwise", "params", params)
    names = [name for name in net.layers if jax.tree.leaves(params.get(name))]
    return {name: decay ** (len(names) - 1 - at) for at, name in enumerate(names)}


def unfreeze_at(optimizer: optax.GradientTransformation, steps: Mapping[str, int]) -> optax.GradientTransformation:
    """Return the optimizer that leaves some layers alone for so many steps: gradual unfreezing.

    Before that their gradient is taken as 0 and their update is 0, weight decay included. Gradients are computed all
    the same, and batch norm's statistics move: where a part stays frozen to the end, `fit(..., freeze=...)` is faster.
    Of several paths that hold a parameter the one that waits longest counts. Adam's first updates after a long wait are
    some times its rate, as its averages of squares begin at 0: let the rate be low then.

    Args:
        optimizer: any optax transformation.
        steps: path -> how many steps its layers are left alone.

    Raises:
        ValueError: a number that is no int >= 0; where it is used, a path without parameters.

    Source: Howard and Ruder 2018, section 3.3.
    """
    where, fix = "unfreeze_at", 'Pass {"stage1": 400, "stage2": 200}, say.'
    expect_optimizer(where, optimizer)
    ok = isinstance(steps, Mapping) and all(isinstance(path, str) for path in steps)
    expect(ok, where, "a dict from paths to steps", shown(steps), fix, TypeError)
    for count in steps.values():
        expect(is_int(count, 0), where, "steps as ints >= 0", shown(count), fix)

    def gated(tree: Any, done: jax.Array) -> Any:
        def gate(path: Any, leaf: jax.Array) -> jax.Array:
            name = leaf_name(path)
            held = [count for layer, count in steps.items() if name.startswith(f"{layer}/")]
            return jnp.where(done >= max(held), leaf, 0) if held else leaf

        return jax.tree_util.tree_map_with_path(gate, tree)

    def init(params: Any) -> tuple[jax.Array, Any]:
        _expect_paths("unfreeze_at", params, steps)
        return jnp.int32(0), optimizer.init(params)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        done, inner = state
        updates, inner = optimizer.update(gated(updates, done), inner, None if params is None else gated(params, done))
        return gated(updates, done), (done + 1, inner)

    return optax.GradientTransformation(init, update)


def _expect_paths(where: str, params: Any, paths: Iterable[str]) -> None:
    """Raise `ValueError` unless all are paths of layers with parameters, frozen ones too, which optax masks."""
    is_masked = lambda node: isinstance(node, optax.MaskedNode)  # noqa: E731
    names = [leaf_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(params, is_leaf=is_masked)]
    idle = [path for path in paths if not any(name.startswith(f"{path}/") for name in names)]
    known = sorted({name.rpartition("/")[0] for name in names})
    expect(not idle, where, "paths of layers with parameters", shown(idle), f"There are {known[:12]}.")
