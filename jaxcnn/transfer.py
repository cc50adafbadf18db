"""What one training has learned, for another: new heads, frozen parts, features computed once, partial loading.

net, params, state = swap_head(net, params, state, Dense(2), key=jax.random.key(0), spec=train.spec)
result = training.fit(net, train, start=(params, state), freeze=["stage1", "stage2"], key=jax.random.key(1))
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxcnn.checking import expect, expect_key, is_int, number, shown
from jaxcnn.data.dataset import Dataset, sealed
from jaxcnn.data.stream import Stream
from jaxcnn.layers.composition import Sequential
from jaxcnn.layers.layer import Layer, Module, Spec, expect_arrays, leaf_name, named_leaves
from jaxcnn.surgery import cut
from jaxcnn.training.evaluation import predict
from jaxcnn.training.optimizer import expect_optimizer, trainable

__all__ = [
    "Loaded",
    "features",
    "freeze",
    "layerwise",
    "load",
    "load_backbone",
    "scale_updates",
    "swap_head",
    "unfreeze_at",
]


def swap_head(
    net: Sequential, params: Any, state: Any, head: Module, *, at: str | None = None, key: jax.Array, spec: Spec
) -> tuple[Sequential, Any, Any]:
    """Return the net with another layer in the place of one, and its weights: new ones there, the others as they were.

    Args:
        net: a Sequential.
        params, state: its trained weights; they are not changed.
        head: the layer that comes in, such as `Dense(classes)`.
        at: the name of the layer that goes; the last one unless given.
        key: of the new weights.
        spec: of the images, the batch axis included.

    Returns:
        net, params, state.

    Raises:
        ValueError: no such layer (the message lists the names); the weights of the others do not fit any more.
        TypeError: net is no Sequential, or head no layer.
    """
    where = "swap_head"
    expect(isinstance(net, Sequential), where, "a Sequential", shown(net), "Wrap it in one.", TypeError)
    ok = isinstance(head, Layer) or (callable(head) and not isinstance(head, type))
    expect(ok, where, "a layer as head", shown(head), "Pass layers.Dense(10), say.", TypeError)
    expect_arrays(where, "params", params)
    expect_arrays(where, "state", state)
    expect_key(where, key)
    names = list(net.layers)
    at = names[-1] if at is None else at
    expect(at in names, where, f"the name of one of the net's own layers, {names}", shown(at), "Choose one of them.")
    new = Sequential(**{name: head if name == at else layer for name, layer in net.layers.items()})
    fresh = new.init(key, spec)
    kept = [{name: value for name, value in tree.items() if name != at} for tree in (params, state)]
    wanted = [named_leaves({name: value for name, value in tree.items() if name != at}) for tree in fresh]
    fits = lambda held, asked: held.keys() == asked.keys() and all(held[n].shape == asked[n].shape for n in held)  # noqa: E731
    ok = all(fits(named_leaves(held), asked) for held, asked in zip(kept, wanted, strict=True))
    fix = "Let it give what the layers after it take, and pass the params and the state of this net."
    expect(ok, where, f"a layer as {at!r} after which the weights of the others fit", shown(head), fix)
    params, state = (old | {n: own[n] for n in (at,) if n in own} for old, own in zip(kept, fresh, strict=True))
    return new, params, state


def freeze(params: Any, *at: str) -> Any:
    """Return which parameters train while the layers at the paths are frozen: a bool for each, a mask for optax.

    `optax.masked(optimizer, freeze(params, "stage1"))` keeps no slots for what is frozen, and leaves it alone where the
    net is `surgery.freeze(net, ["stage1"])`, whose gradient is 0 there. `fit(..., freeze=["stage1"])` does both.

    Args:
        params: of a net.
        at: paths of layers, such as "stage1" or "stage2/conv1".

    Raises:
        ValueError: a path without parameters.
    """
    expect_arrays("freeze", "params", params)
    _expect_paths("freeze", params, at)
    return trainable(params, at)


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


@dataclass(frozen=True)
class Loaded:
    """What was taken over: the names of arrays that `matched`, and of those that did not.

    `missing` ones were not there, `unexpected` ones not here, and those of `another_shape` in both. `layers` are the
    paths of those that `load_backbone` found.
    """

    matched: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    another_shape: tuple[str, ...]
    layers: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return the counts, the layers, and the names of what did not match."""
        parts = [f"{len(self.matched)} arrays matched" + (f" in {', '.join(self.layers)}" if self.layers else "")]
        for what in ("missing", "unexpected", "another_shape"):
            names = getattr(self, what)
            more = " ..." if len(names) > 6 else ""
            parts += [f"{len(names)} {what.replace('_', ' ')}: {', '.join(names[:6])}{more}"] if names else []
        return "; ".join(parts)


def load(into: Any, given: Any) -> tuple[Any, Loaded]:
    """Return `into` with the arrays of `given` that have the same name and shape in the place of its own.

    Args:
        into: nested dicts of arrays, or a tuple of such: `(params, state)` of a new net, say.
        given: others, of a trained net.

    Returns:
        The same structure as `into`, in its dtypes, and what was taken over.

    Raises:
        TypeError: trees that are not made of arrays.
        ValueError: nothing matches.
    """
    for name, tree in (("into", into), ("given", given)):
        for part in tree if isinstance(tree, tuple) else (tree,):
            expect_arrays("load", name, part)
    own, other = named_leaves(into), named_leaves(given)
    both = [name for name in own if name in other]
    matched = tuple(name for name in both if own[name].shape == other[name].shape)
    found = Loaded(
        matched,
        tuple(name for name in own if name not in other),
        tuple(name for name in other if name not in own),
        tuple(name for name in both if name not in matched),
    )
    expect(bool(matched), "load", "arrays of the same name and shape", str(found), "Look at the names of both.")
    return _replaced(into, {name: other[name] for name in matched}), found


def load_backbone(into: tuple[Any, Any], given: tuple[Any, Any]) -> tuple[tuple[Any, Any], Loaded]:
    """Return the weights of a new net with those of a classifier in its backbone, wherever its layers stand.

        net = models.fcn(21, backbone=classifier)
        start, found = transfer.load_backbone(net.init(key, spec), (params, state))
        training.fit(net, train, start=start, freeze=found.layers, ...)  # or without freeze

    A layer of the classifier goes, whole, to where one of its name has its arrays, "stage4" to "fuse/branch/stage4";
    of several such places to the one nearest to the top, and never into another layer of the classifier. Of one whose
    arrays are others the layers inside are looked for in the same way, inside the one that has its name.

    Args:
        into: params and state of the new net; they are not changed.
        given: params and state of the classifier, as a training or `interop.torch.load` gives them.

    Returns:
        `(params, state)`, of the structure and the dtypes of `into`, and what was taken over: `layers` of it are the
        paths to freeze.

    Raises:
        TypeError: no pairs of nested dicts of arrays.
        ValueError: no layer was found.
    """
    where = "load_backbone"
    for name, pair in (("into", into), ("given", given)):
        ok = isinstance(pair, tuple) and len(pair) == 2
        expect(ok, where, f"{name} as (params, state)", shown(pair), "Pass the two that init returns, say.", TypeError)
        for kind, tree in zip(("params", "state"), pair, strict=True):
            expect_arrays(where, kind, tree)
    layers = _arrays_of_layers(given)
    places = list(_places(_arrays_of_layers(into), layers, (), ()))
    source = {
        "/".join((part, *here, rest)): "/".join((part, *there, rest))
        for there, here in places
        for part, rest in layers[there]
    }
    own, other = named_leaves(into), named_leaves(given)
    left = set(other) - set(source.values())
    found = Loaded(
        tuple(name for name in own if name in source),
        tuple(name for name in own if name not in source),
        tuple(name for name in other if name in left),
        (),
        tuple("/".join(here) for _, here in places),
    )
    fix = 'Look at the names of both; of a classifier in a wrapper pass params["net"] and state["net"], say.'
    expect(bool(places), where, "a layer with the name and the arrays of one of the classifier's", str(found), fix)
    return _replaced(into, {name: other[there] for name, there in source.items()}), found


_Path = tuple[str, ...]


def _arrays_of_layers(pair: tuple[Any, Any]) -> dict[_Path, dict[tuple[str, str], tuple[int, ...]]]:
    """Return the shapes of the arrays in each layer at any depth: (part of the pair, name inside) -> shape."""
    found: dict[_Path, dict[tuple[str, str], tuple[int, ...]]] = {}
    for name, leaf in named_leaves(pair).items():
        part, *layers, last = name.split("/")
        for depth in range(1, len(layers) + 1):
            inside = "/".join((*layers[depth:], last))
            found.setdefault(tuple(layers[:depth]), {})[part, inside] = leaf.shape
    return found


def _places(own: Mapping[_Path, Any], other: Mapping[_Path, Any], here: _Path, there: _Path) -> Iterator[Any]:
    """Yield the path of each layer below `there` that has a place below `here`, and that place."""
    names = dict.fromkeys(path[len(there)] for path in other if len(path) > len(there) and path[: len(there)] == there)
    for name in names:
        named = (path for path in own if path[: len(here)] == here and path[len(here) :][-1:] == (name,))
        mine = sorted((path for path in named if not names.keys() & set(path[len(here) : -1])), key=len)
        whole = next((path for path in mine if own[path] == other[(*there, name)]), None)
        if whole is not None:
            yield (*there, name), whole
        elif mine:
            yield from _places(own, other, mine[0], (*there, name))


def _replaced(tree: Any, leaves: Mapping[str, Any]) -> Any:
    """Return the tree with other arrays under some of its names, in its dtypes."""

    def chosen(path: Any, leaf: Any) -> Any:
        name = leaf_name(path)
        return jnp.asarray(leaves[name], leaf.dtype) if name in leaves else leaf

    return jax.tree_util.tree_map_with_path(chosen, tree)


def features(
    net: Sequential, params: Any, state: Any, dataset: Dataset | Stream, *, at: str, batch_size: int = 256
) -> tuple[Dataset, Sequential]:
    """Return a data set of what a layer gives for each image, and the rest of the net, which takes it.

    Where the front of a net is frozen and nothing is augmented, its outputs are the same in every epoch: compute them
    once, and train the rest on them.

    Args:
        net: a Sequential.
        params, state: its weights.
        dataset: images.
        at: the name of one of the net's own layers.
        batch_size: images at once.

    Returns:
        The data set, whose "image" is the layer's output, (N, ...) float32, an image or not, with labels and all else
        as they were; and the layers after it, which take the params and the state of the whole net.

    Raises:
        ValueError: no such layer.
        TypeError: dataset is no set of images, net no Sequential.
    """
    ok, fix = isinstance(dataset, Dataset | Stream), "Make one with data.from_arrays(image, label)."
    expect(ok, "features", "a data.Dataset or a data.Stream", shown(dataset), fix, TypeError)
    front, back = cut(net, at)
    found = predict(front, params, state, dataset, batch_size=batch_size)
    others = {name: dataset[name] for name in dataset if name != "image"}
    info = replace(dataset.info, name=f"{dataset.info.name} at {at}", mean=(), std=())
    return sealed({"image": np.asarray(found), **others}, info), back
