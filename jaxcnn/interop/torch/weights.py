"""Weights of PyTorch nets: the same numbers under other names, and what did not match."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import did_you_mean, expect, expect_choice, expect_key, is_array, is_number, shown
from jaxcnn.interop.torch.axes import flattened, from_torch, module_at, to_torch
from jaxcnn.interop.torch.checkpoint import read
from jaxcnn.interop.torch.names import LAYOUTS
from jaxcnn.interop.torch.names.rules import Layout, dotted
from jaxcnn.layers.layer import Layer, Spec, expect_arrays, expect_net, leaf_name, named_leaves
from jaxcnn.surgery import paths
from jaxcnn.transfer import Loaded

__all__ = ["Imported", "load", "load_state_dict", "state_dict"]

LEAVES = {
    **dict.fromkeys(("kernel", "scale", "negative_slope"), "weight"),
    **{"bias": "bias", "mean": "running_mean", "var": "running_var"},
}
SIZES = (224, 32, 28)  # pixels across the images that nets are built for where no spec is given
COLUMN = "[:, None, None]"  # after the name of an array that PyTorch spreads over (C, H, W)
AS_CONV = " (conv)"  # after the name of a dense layer of ours that PyTorch writes as a convolution
COUNTERS = ".num_batches_tracked"  # batch norm's count of batches, which is used by none of the nets here
WRAPPERS = ("state_dict", "state_dict_ema", "model", "model_state_dict", "net")
PREFIXES = ("module.", "_orig_mod.", "model.")


class Imported(NamedTuple):
    """What has been loaded: the weights, what matched by our names, and what was done to their names and numbers."""

    params: Any
    state: Any
    report: Loaded
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        """Return the report and the notes: the weights would fill the screen."""
        return f"Imported({'; '.join((str(self.report), *self.notes))})"


def load(net: Layer, path: Path | str, **options: Any) -> Imported:
    """Return the weights in a file that PyTorch wrote, `.pth`, `.pt`, `.th` or `.bin`, or `.safetensors`.

    Nothing in the file is executed: what is no array of numbers under a name is refused. See `load_state_dict`.

    Raises:
        OSError: the file cannot be read.
        TypeError: net is no layer, path none.
        ValueError: a damaged file, or one that holds more than arrays and plain values; as `load_state_dict`.
    """
    expect_net("load", net)
    return load_state_dict(net, read(path), **options)


def load_state_dict(
    net: Layer,
    state_dict: Mapping[str, Any],
    *,
    spec: Spec | None = None,
    names: Mapping[str, str] | None = None,
    key: jax.Array | None = None,
) -> Imported:
    """Return the net's params and state with the numbers of a PyTorch net, and a report.

    The names are those of torchvision, of timm, or the net's own paths with dots, whichever fits best; "module." in
    front and a dict around are taken away, and the notes say so.

    Args:
        net: the same architecture.
        state_dict: names to arrays or CPU tensors, floating; they become float32.
        spec: of the images, batch axis included. Needed where a net flattens images of unusual size.
        names: path of a layer -> what PyTorch calls it, "stage1/conv" -> "features.0", for nets with other names.
        key: where arrays are missing or have another shape, of the new ones in their place; without it that is an
            error, and so are names left over, but for those of heads for training alone ("aux...").

    Returns:
        params, state, report, notes. The report has our names of what matched, was missing or had another shape, and
        PyTorch's names of what was unexpected.

    Raises:
        ValueError: a state dict of another architecture, a deeper one of the same family too; the message is the
            report. Heads for training alone, "aux...", may be left over.
        TypeError: net is no layer, state_dict no dict of arrays, names no dict of texts, key no key.
    """
    where = "load_state_dict"
    expect_net(where, net)
    theirs, notes = _arrays(where, state_dict, net)
    if key is not None:
        expect_key(where, key)
    known = paths(net)
    if names is not None:
        ok = isinstance(names, Mapping) and all(isinstance(n, str) for pair in names.items() for n in pair)
        fix = 'Pass {"stage1/conv": "features.0"}, say.'
        expect(ok, where, "names as a dict from paths to PyTorch's names", shown(names), fix, TypeError)
        lost = [path for path in names if path not in known]
        fix = did_you_mean(lost[0] if lost else "", known, f"There are {shown(known)}.", cutoff=0.3)
        expect(not lost, where, "names of the net's own layers", shown(lost), fix)
    layouts = _layouts() if names is None else {"the names given": lambda _: names}
    found: list[_Matched] = []
    for one in _specs(spec, [array.shape[1] for array in theirs.values() if array.ndim == 4]):
        target = _target(net, one, needed=spec is not None)
        if target is not None:
            found += [_Matched(target, label, layout(known), theirs) for label, layout in layouts.items()]
        if any(matched.whole for matched in found):
            break
    expect(bool(found), where, "a net for images", shown(net), "Pass the spec of its input.")
    best = max(found, key=lambda matched: len(matched.names))
    report, target = best.report, best.target
    fix = "Build the net that it was saved of, or pass names=, the spec, or, for new arrays in their place, a key."
    if best.resized_head():
        fix = "Only the head is of another size: build the net with its num_classes, or pass a key for a new head."
    left = [name for name in report.unexpected if not name.lower().startswith("aux")]
    if best.whole and left:
        fix = "Build the net that it was saved of, or take what is no weight of this net out of the dict."
    enough = bool(report.matched) and (key is not None or (best.whole and not left))
    expect(enough, where, "a state dict of this net", str(report), fix)
    fresh = target.template if key is None else net.init(key, target.spec)
    params, state = jax.tree_util.tree_map_with_path(lambda path, leaf: best.value(leaf_name(path[1:]), leaf), fresh)
    counters = [name for name in theirs if name.endswith(COUNTERS)]
    notes += [f"{len(counters)} counts of batches left out"] if counters else []
    return Imported(params, state, report, (*notes, f"names of {best.label}"))


def state_dict(
    net: Layer, params: Any, state: Any, *, layout: str = "torchvision", spec: Spec | None = None
) -> dict[str, np.ndarray]:
    """Return the weights under PyTorch's names, in its shapes: what `load_state_dict` takes, and PyTorch's own.

    `torch_net.load_state_dict({name: torch.from_numpy(a) for name, a in state_dict(...).items()}, strict=False)`, not
    strict because PyTorch also counts the batches of each batch norm.

    Args:
        net, params, state: a net and its weights.
        layout: "torchvision", "timm" or "akamaster" (of the published CIFAR ResNets), for the families that these have,
            or "paths", the net's own with dots.
        spec: of the images, as in `load_state_dict`.

    Raises:
        ValueError: a net that the library does not have; weights of another net; flattened images of unusual size, and
            no spec.
        TypeError: net is no layer, params or state no nested dicts of arrays.
    """
    where = "state_dict"
    expect_net(where, net)
    expect_arrays(where, "params", params)
    expect_arrays(where, "state", state)
    layouts = ["paths", *LAYOUTS]
    expect_choice(where, f"layout as one of {layouts}", layout, layouts)
    own = {name: np.array(leaf) for part in (params, state) for name, leaf in named_leaves(part).items()}
    layers = {name.rpartition("/")[0] for name in own}
    convolutions = [array.shape[2] for array in own.values() if array.ndim == 4]
    flat = _flat(net, spec, convolutions, own)
    # Names such as "classifier" alone say nothing: the libraries' nets have convolutions.
    choices = {"paths": dotted} if layout == "paths" else LAYOUTS[layout] if convolutions else {}
    tables = [table for table in (names(paths(net)) for names in choices.values()) if layers <= set(table)]
    fix = 'Pass layout="paths" for a net of your own.'
    expect(bool(tables), where, f"a net that {layout} has", f"other layers, such as {sorted(layers)[:4]}", fix)
    order = {path: number for number, path in enumerate(paths(net))}
    result = {}
    for name, array in sorted(own.items(), key=lambda item: order.get(item[0].rpartition("/")[0], -1)):
        layer, _, leaf = name.rpartition("/")
        theirs = tables[0][layer]
        conv = theirs.endswith(AS_CONV)
        array = to_torch(array, leaf, flat.get(layer), module_at(net, layer), conv=conv)
        result[_array_name(theirs, leaf)] = array[:, None, None] if theirs.endswith(COLUMN) else array
    return result


def _array_name(theirs: str, leaf: str) -> str:
    """Return the name of the array: the layer's and the array's, or what stands before an index, the array's own."""
    if "[" in theirs:
        return theirs.partition("[")[0]
    return f"{theirs.removesuffix(AS_CONV)}.{LEAVES.get(leaf, leaf)}"


def _flat(net: Layer, spec: Spec | None, channels: Sequence[int], own: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return what was flattened before the layers, as `flattened` does, of images whose sizes fit the weights."""
    tried = []
    for one in _specs(spec, channels):
        target = _target(net, one, needed=spec is not None)
        if target is None:
            continue
        lost, more = (sorted(a.keys() - b.keys()) for a, b in ((target.arrays, own), (own, target.arrays)))
        fix = "Pass what init or a training returned; of int8 kernels what surgery.dequantize makes of them."
        got = f"others ({shown(lost)} missing, {shown(more)} unexpected)"
        expect(not lost and not more, "state_dict", "weights of this net", got, fix)
        if target.takes_flattened(own):
            return target.flat
        tried.append(str(one.shape))
    got = ", ".join(tried)
    expect(not tried, "state_dict", "images of a size that fits the weights", got, "Pass their spec.")
    return {}


class _Target:
    """What a net asks for: arrays by name, and what was flattened before its dense layers."""

    def __init__(self, net: Layer, spec: Spec) -> None:
        self.net, self.spec = net, spec
        self.template = jax.eval_shape(lambda: net.init(jax.random.key(0), spec))
        self.arrays = {name: leaf for part in self.template for name, leaf in named_leaves(part).items()}
        self.flat = flattened(net, spec)

    def takes_flattened(self, own: Mapping[str, np.ndarray]) -> bool:
        """Return whether the layers that take flattened images have weights of that size."""
        taking = [name for name in self.arrays if name.rpartition("/")[0] in self.flat]
        return all(own[name].shape == self.arrays[name].shape for name in taking)


class _Matched:
    """What a table of names finds for a net in a state dict."""

    def __init__(self, target: _Target, label: str, table: Mapping[str, str], theirs: Mapping[str, np.ndarray]) -> None:
        self.target, self.label, self.theirs = target, label, theirs
        self.names: dict[str, str] = {}
        missing, reshaped, used = [], [], set()
        for name, leaf in target.arrays.items():
            layer, _, kind = name.rpartition("/")
            other = _array_name(table[layer], kind) if layer in table else ""
            if other not in theirs:
                missing.append(name)
                continue
            used.add(other)
            blank = np.broadcast_to(np.float32(0), theirs[other].shape)  # of which no view takes memory
            if self._turned(name, leaf.shape, blank) is None:
                reshaped.append(f"{name} {leaf.shape} for {other} {theirs[other].shape}")
            else:
                self.names[name] = other
        unexpected = [name for name in theirs if name not in used and not name.endswith(COUNTERS)]
        self.whole = not missing and not reshaped
        self.report = Loaded(tuple(self.names), tuple(missing), tuple(unexpected), tuple(reshaped))

    def resized_head(self) -> bool:
        """Return whether all fits but the last layer, which has another number of classes."""
        layers = {name.rpartition("/")[0] for name in self.target.arrays}
        last = next((path for path in reversed(paths(self.target.net)) if path in layers), None)
        others = {name for name in self.target.arrays if name not in self.names}
        return not self.report.missing and {name.rpartition("/")[0] for name in others} == {last}

    def value(self, name: str, leaf: Any) -> Any:
        """Return the array that goes by our name, or `leaf` where there is none."""
        if name not in self.names:
            return leaf
        return jnp.asarray(self._turned(name, leaf.shape, self.theirs[self.names[name]]), leaf.dtype)

    def _turned(self, name: str, shape: tuple[int, ...], array: np.ndarray) -> np.ndarray | None:
        layer, _, kind = name.rpartition("/")
        return from_torch(array, kind, self.target.flat.get(layer), shape, module_at(self.target.net, layer))


def _arrays(where: str, given: Any, net: Layer) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return arrays by name, without what is put around and in front of them, and what has been taken away."""
    fix = "Pass what PyTorch's state_dict() returns."
    notes = []
    while isinstance(given, Mapping) and (
        inside := next((w for w in WRAPPERS if isinstance(given.get(w), Mapping)), "")
    ):
        notes.append(f"taken from {inside!r}")
        given = given[inside]
    ok = isinstance(given, Mapping) and len(given) > 0 and all(isinstance(name, str) for name in given)
    if not ok:
        expect(False, where, "a dict of arrays by name", shown(given), fix, TypeError)
    found, halves = {}, set()
    for name, value in given.items():
        dtype = getattr(value, "dtype", None)
        if getattr(dtype, "itemsize", 0) == 2:
            halves.add(str(dtype).removeprefix("torch."))
        value = value.detach().cpu().float().numpy() if hasattr(value, "detach") else value
        known = is_array(value) or is_number(value)  # lists and texts can be made to fill the memory
        expect(known, where, "a dict of arrays by name", f"{name!r}, a {type(value).__name__}", fix, TypeError)
        found[name] = np.asarray(value)
    own = paths(net)
    around = [prefix for prefix in PREFIXES if prefix.removesuffix(".") not in own]
    while prefix := next((p for p in around if all(name.startswith(p) for name in found)), ""):
        notes.append(f"{prefix!r} taken away in front of every name")
        found = {name.removeprefix(prefix): value for name, value in found.items()}
    notes += [f"float32 made of {' and '.join(sorted(halves))}"] if halves else []
    return found, notes


def _layouts() -> dict[str, Layout]:
    known = {
        f"{library}'s {family}": layout for library, families in LAYOUTS.items() for family, layout in families.items()
    }
    return {"the net's own layers": dotted, **known}


def _specs(spec: Spec | None, channels: Sequence[int]) -> list[Spec]:
    """Return what the images may be like, of the channels that kernels take: the names are in no sure order."""
    if spec is not None:
        return [spec]
    colours = dict.fromkeys([*(c for c in (3, 1) if c in channels), *channels[:1]]) or (3, 1)
    return [jax.ShapeDtypeStruct((1, size, size, c), jnp.float32) for c in colours for size in SIZES]


def _target(net: Layer, spec: Spec, *, needed: bool) -> _Target | None:
    """Return what the net asks for, or None where it takes no such images, which is an error if that is needed."""
    try:
        return _Target(net, spec)
    except (ValueError, TypeError):
        if needed:
            raise
        return None
