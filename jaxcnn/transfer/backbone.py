"""The layers of a classifier inside another net: one that segments or detects, say."""

from collections.abc import Iterator, Mapping
from typing import Any

from jaxcnn.checking import expect, shown
from jaxcnn.layers.layer import expect_arrays
from jaxcnn.transfer.loading import Loaded, names_of, replaced

__all__ = ["load_backbone"]

_Path = tuple[str, ...]


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
    own, other = names_of(into), names_of(given)
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
    return replaced(into, {name: other[there] for name, there in source.items()}), found


def _arrays_of_layers(pair: tuple[Any, Any]) -> dict[_Path, dict[tuple[str, str], tuple[int, ...]]]:
    """Return the shapes of the arrays in each layer at any depth: (part of the pair, name inside) -> shape."""
    found: dict[_Path, dict[tuple[str, str], tuple[int, ...]]] = {}
    for name, leaf in names_of(pair).items():
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
