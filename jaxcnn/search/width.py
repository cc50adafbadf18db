"""Narrow nets inside of the widest: the same function, with the same gradient, in arrays of one shape."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from jaxcnn.checking import expect, is_int, shown
from jaxcnn.layers.layer import Layer, apply, expect_net, leaf_name, named_leaves
from jaxcnn.surgery import paths

__all__ = ["Inside", "inside_the_widest"]

Place = tuple[np.ndarray, ...]  # where an array's rows lie in a wider array, axis by axis


@dataclass(frozen=True, eq=False)
class Inside:
    """Where the arrays of a net lie in those of a wider one.

    The wider net is the same function where its other parameters are 0: units that nothing reaches, and that reach
    nothing. They stay 0 where their gradient is taken as 0.
    """

    net: Layer
    wider: Layer
    spec: jax.ShapeDtypeStruct
    places: Mapping[str, Place]

    def put(self, params: Any, state: Any) -> tuple[Any, Any]:
        """Return parameters and running statistics of the net as those of the wider one."""
        wide, fresh = self.wider.init(jax.random.key(0), self.spec)
        return self._put(jax.tree.map(jnp.zeros_like, wide), params), self._put(fresh, state)

    def take(self, params: Any, state: Any) -> tuple[Any, Any]:
        """Return parameters and running statistics of the wider net as those of the net: `put`, undone."""
        return self._take(params), self._take(state)

    def live(self) -> Any:
        """Return which parameters of the wider net are the net's: a bool for each."""
        params, wide = (
            jax.eval_shape(lambda net=net: net.init(jax.random.key(0), self.spec)[0]) for net in (self.net, self.wider)
        )
        ones = jax.tree.map(lambda leaf: jnp.ones(leaf.shape, bool), params)
        return self._put(jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, bool), wide), ones)

    def _take(self, wide: Any) -> Any:
        return jax.tree_util.tree_map_with_path(lambda path, leaf: leaf[np.ix_(*self.places[leaf_name(path)])], wide)

    def _put(self, wide: Any, narrow: Any) -> Any:
        def put(path: Any, into: jax.Array, leaf: jax.Array) -> jax.Array:
            return into.at[np.ix_(*self.places[leaf_name(path)])].set(leaf)

        return jax.tree_util.tree_map_with_path(put, wide, narrow)


def inside_the_widest(
    where: str, make: Callable[[int], Layer], widths: Sequence[int], spec: jax.ShapeDtypeStruct
) -> list[Inside]:
    """Return, for each width, where the arrays of `make(width)` lie in those of the widest net.

    Args:
        where: the search that asks.
        make: width -> net.
        widths: positive ints.
        spec: of the images.

    Raises:
        ValueError: no widths, one that is no positive int; nets that differ in more than the number of their units; a
            net that is another function inside of a wider one, as some layer looks across units: a group norm, say.
    """
    ok = isinstance(widths, Sequence) and len(widths) > 0 and all(is_int(width, 1) for width in widths)
    expect(ok, where, "widths as positive ints", shown(widths), "Pass widths=(4, 8, 16), say.")
    fix = "Pass lambda width: Sequential(...)."
    what = "net as a function of width"
    expect(callable(make) and not isinstance(make, Layer), where, what, shown(make), fix, TypeError)
    nets = {int(width): make(int(width)) for width in widths}
    for net in nets.values():
        expect_net(where, net)
    wider = nets[max(nets)]
    found = {width: Inside(net, wider, spec, _places(where, net, wider, spec)) for width, net in nets.items()}
    for width, inside in found.items():
        _expect_same(where, width, inside)
    return [found[int(width)] for width in widths]


def _places(where: str, net: Layer, wider: Layer, spec: jax.ShapeDtypeStruct) -> dict[str, Place]:
    fix = "Let the number of units alone depend on width."
    expect(paths(net) == paths(wider), where, f"the layers {paths(wider)} at every width", shown(paths(net)), fix)
    narrow, wide = _shapes(net, spec), _shapes(wider, spec)
    ranks = [{name: len(shape) for name, shape in shapes.items()} for shapes in (narrow, wide)]
    expect(ranks[0] == ranks[1], where, "the same arrays at every width", shown(list(narrow)), fix)
    order = {path: number for number, path in enumerate(paths(wider))}
    layer_of = lambda name: order.get(name.rpartition("/")[0], -1)  # noqa: E731
    units: list[tuple[int, int]] = []  # how many the layers so far have: in the net, in the wider one
    places = {}
    for _, group in itertools.groupby(sorted(narrow, key=layer_of), layer_of):
        own, names = [], list(group)
        makes_units = any(len(narrow[name]) > 1 for name in names)  # or takes those that there are, as norms do
        for name in names:
            here, there = narrow[name], wide[name]
            axes = [np.arange(size) for size in here]
            taken = len(here) - 1 if makes_units else len(here)
            for axis, (size, more) in enumerate(zip(here[:taken], there[:taken], strict=True)):
                if size != more:
                    axes[axis] = _rows(where, size, more, units)
            places[name] = tuple(axes)
            own += [(here[-1], there[-1])] if makes_units and here and here[-1] != there[-1] else []
        units += own
    return places


def _rows(where: str, size: int, more: int, units: Sequence[tuple[int, int]]) -> np.ndarray:
    """Return where `size` inputs lie among `more`: units of the layer before, or of all pixels, flattened."""
    for few, many in reversed(units):
        if size % few == 0 and more % many == 0 and size // few == more // many:
            return (np.arange(size // few)[:, None] * many + np.arange(few)).ravel()
    what = "inputs of a layer that are the units of the one before"
    expect(False, where, what, f"{size} inside of {more}", "Let the number of units alone depend on width.")
    raise AssertionError


def _expect_same(where: str, width: int, inside: Inside) -> None:
    """Raise `ValueError` unless the net gives the same outputs inside of the wider one."""
    key = jax.random.key(0)

    @jax.jit
    def outputs(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        keys = jax.random.split(key, 3)
        params, state = inside.net.init(keys[0], inside.spec)
        # Not as they were drawn: what begins with 0 would hide what comes before it.
        flat, unravel = ravel_pytree(params)
        params = unravel(flat + 0.1 * jax.random.normal(keys[2], flat.shape, flat.dtype))
        x = jax.random.uniform(keys[1], (2, *inside.spec.shape[1:]))
        wide = inside.put(params, state)
        return apply(inside.net, params, state, x, train=False)[0], apply(inside.wider, *wide, x, train=False)[0]

    one, other = outputs(key)
    same = one.shape == other.shape and np.allclose(one, other, rtol=1e-3, atol=1e-4)
    fix = "Leave out layers that look across units: group and layer norms, softmax."
    expect(same, where, f"a net that is the same function inside of the widest, width {width}", "other outputs", fix)


def _shapes(net: Layer, spec: jax.ShapeDtypeStruct) -> dict[str, tuple[int, ...]]:
    trees = jax.eval_shape(lambda: net.init(jax.random.key(0), spec))
    return {name: leaf.shape for tree in trees for name, leaf in named_leaves(tree).items()}
