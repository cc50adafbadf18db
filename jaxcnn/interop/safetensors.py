"""A trained net in one file that every language reads: safetensors, which holds arrays by name and no code.

save("net.safetensors", net, params, state, spec=train.spec, class_names=train.info.class_names)
model = load("net.safetensors")   # model(images), model.classify(images)
"""

import importlib.metadata
import json
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import expect, installed, shown
from jaxcnn.fingerprint import fingerprint
from jaxcnn.interop.model import Model
from jaxcnn.interop.safetensors_format import DTYPES, in_order, read_arrays
from jaxcnn.interop.source import AGAIN, opened
from jaxcnn.layers.layer import Layer, Spec, expect_net, expect_spec, leaf_name
from jaxcnn.layers.serialization import from_json, to_json
from jaxcnn.whole_file import write_whole

__all__ = ["load", "save"]

MODEL = "model.safetensors"  # in the folder of a training run
OURS = ("net", "input", "class_names", "sha256")
MOST = 2**26  # numbers of one image that a file may ask for


def save(path: Path | str, net: Layer, params: Any, state: Any, *, spec: Spec, class_names: Sequence[str] = ()) -> None:
    """Write a net with its weights and running statistics to `path`, whole or not at all; the same net, the same bytes.

    An array's name is its path, as in Flax: "stage1/conv1/kernel", "stage1/norm1/mean". The metadata hold the net as
    JSON ("net"), with it what normalises its pixels, where that is a layer of it; shape and dtype of its input
    ("input"), the names of the classes ("class_names"), the version of jaxcnn ("jaxcnn") and `jaxcnn.fingerprint` of
    the arrays by name ("sha256").

    Args:
        path: of the file; its folder exists.
        net: the net.
        params, state: as `net.init` or a training returned them; arrays of any size, bool, integer or floating,
            bfloat16 included.
        spec: of the images, the batch axis included.
        class_names: one for each output.

    Raises:
        ImportError: safetensors is not installed.
        OSError: the file cannot be written, or the disk is full; what stood there is kept.
        TypeError: leaves that are no such arrays.
        ValueError: a net that cannot be saved as JSON, two arrays of one name, more or fewer class names than outputs.
    """
    with installed("save", "safetensors", 'pip install "jaxcnn[interop]"'):
        import safetensors.numpy as library
    expect_net("save", net)
    expect_spec("save", spec, one=True)
    names = list(class_names)
    ok = not isinstance(class_names, str) and all(isinstance(name, str) for name in names)
    fix = "Pass train.info.class_names."
    expect(ok, "save", "class_names as a list of texts", shown(class_names), fix, TypeError)
    arrays = {name: _array(name, leaf) for name, leaf in _named("save", params, state).items()}
    template = _template(net, spec)
    if names:
        _expect_one_each("save", net, template, spec, names, fix)
    fix = "Pass what init or a training returned for this net; of int8 kernels what surgery.dequantize makes of them."
    _expect_weights("save", template, arrays, fix)
    metadata = {
        "jaxcnn": _version(),
        "net": to_json(net),
        "input": json.dumps({"shape": list(spec.shape), "dtype": jnp.dtype(spec.dtype).name}),
        "class_names": json.dumps(names),
        "sha256": fingerprint(arrays),
    }
    write_whole("save", path, in_order(library.save(arrays, metadata)))


def load(path: Path | str) -> Model:
    """Return the net that `save` wrote, with its weights, having checked that they are whole.

    Nothing in the file is executed, wherever it comes from.

    Args:
        path: of the file, or of a folder, such as that of a run, with `model.safetensors` in it.

    Raises:
        OSError: the file cannot be read, or the folder has none.
        TypeError: path is none.
        ValueError: a damaged file, one that `save` did not write, or one whose weights are not of its net.
    """
    where = "load"
    if isinstance(path, str | os.PathLike) and os.path.isdir(path):
        folder, path = path, Path(path) / MODEL
        fix = f"Train to the end with experiments.train, or save {MODEL} there with jaxcnn.save."
        expect(path.is_file(), where, f"a file, or a folder with {MODEL} in it", folder, fix, OSError)
    with opened(where, path) as source:
        arrays, metadata = read_arrays(source)
    fix = f"{AGAIN} For weights of PyTorch see interop.torch.load."
    what = "a net that save wrote"
    expect(set(OURS) <= metadata.keys(), where, what, f"{path}, which something else did", fix)
    whole = fingerprint(arrays) == metadata["sha256"]
    expect(whole, where, "the arrays that were written", f"changed ones in {path}", AGAIN)
    net, spec, class_names = from_json(metadata["net"]), _spec(path, metadata["input"]), _names(path, metadata)
    expect(isinstance(net, Layer), where, what, f"{path}, with {shown(net)} in the place of a net", AGAIN)
    try:
        template = _template(net, spec)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where}: expected {what}, got {path}, whose net takes no such input. {AGAIN}") from error
    wanted = _expect_weights(where, template, arrays, f"They are those in {path}. {AGAIN}")
    if class_names:
        _expect_one_each(where, net, template, spec, class_names, AGAIN)
    leaves = [jnp.asarray(arrays[name]) for name in wanted]
    kept = [leaf.dtype == arrays[name].dtype for name, leaf in zip(wanted, leaves, strict=True)]
    expect(all(kept), where, "dtypes that JAX keeps", f"64 bits in {path}", "Switch jax_enable_x64 on to load them.")
    params, state = jax.tree.unflatten(jax.tree.structure(template), leaves)
    return Model(net, params, state, spec, class_names)


def _template(net: Layer, spec: Spec) -> tuple[Any, Any]:
    """Return the shapes of the net's params and state."""
    return jax.eval_shape(lambda: net.init(jax.random.key(0), spec))


def _expect_weights(where: str, template: Any, arrays: Mapping[str, Any], fix: str) -> list[str]:
    """Return the names of the net's arrays, in order; raise `ValueError` unless these are such arrays."""
    wanted = {name: list(leaf.shape) for name, leaf in _named(where, *template).items()}
    found = {name: list(array.shape) for name, array in arrays.items()}
    first = _first_difference(found, wanted)
    expect(found == wanted, where, "weights of the net that is with them", f"others ({first})", fix)
    return list(wanted)


def _expect_one_each(where: str, net: Layer, template: Any, spec: Any, names: Sequence[str], fix: str) -> None:
    """Raise `ValueError` unless there is one name for each output of a net that gives logits."""
    outputs = jax.eval_shape(lambda p, s, x: net.apply(p, s, x, train=False)[0], *template, spec)
    logits = outputs.get("logits") if isinstance(outputs, Mapping) else outputs
    if logits is not None:
        count = logits.shape[-1]
        expect(len(names) == count, where, f"{count} class names, one for each output", f"{len(names)}", fix)


def _spec(path: Path | str, text: str) -> jax.ShapeDtypeStruct:
    try:
        given = json.loads(text)
        shape, dtype = given["shape"], given["dtype"]
        ok = all(type(n) is int and n > 0 for n in shape) and 0 < len(shape) < 8 and dtype in DTYPES.values()
        ok = ok and math.prod(shape[1:]) <= MOST and shape[0] <= MOST
    except (ValueError, TypeError, KeyError, RecursionError):
        ok, shape, dtype = False, (), "float32"
    expect(ok, "load", "a net that save wrote", f"{path}, with {shown(text)} as its input", AGAIN)
    return jax.ShapeDtypeStruct(tuple(shape), jnp.dtype(dtype))


def _names(path: Path | str, metadata: Mapping[str, str]) -> tuple[str, ...]:
    try:
        names = json.loads(metadata["class_names"])
    except (ValueError, RecursionError):
        names = None
    ok = isinstance(names, list) and all(isinstance(name, str) for name in names)
    expect(ok, "load", "a net that save wrote", f"{path}, with {shown(names)} as class names", AGAIN)
    return tuple(names or ())


def _version() -> str:
    try:
        return importlib.metadata.version("jaxcnn")
    except importlib.metadata.PackageNotFoundError:  # a folder of sources, used as it is
        return "unknown"


def _named(where: str, params: Any, state: Any) -> dict[str, Any]:
    """Return the leaves of both by their paths, in the order of `jax.tree.leaves((params, state))`."""
    leaves = jax.tree_util.tree_flatten_with_path((params, state))[0]
    # The first part of a path says which of the two it is.
    named = [(leaf_name(path[1:]), leaf) for path, leaf in leaves]
    twice = [name for name, count in Counter(name for name, _ in named).items() if count > 1]
    expect(not twice, where, "one array a name", f"two of {twice}", "Rename a layer.")
    return dict(named)


def _array(name: str, leaf: Any) -> np.ndarray:
    """Return a leaf as an array of the machine's byte order whose elements lie one after another in memory."""
    dtype = getattr(getattr(leaf, "dtype", None), "name", "")
    fix = "Pass what init or a training returned."
    expect(dtype in DTYPES.values(), "save", f"an array of numbers as {name}", leaf, fix, TypeError)
    return np.asarray(leaf, jnp.dtype(dtype), order="C")


def _first_difference(there: Mapping[str, list[int]], here: Mapping[str, list[int]]) -> str:
    for name in sorted(there.keys() | here.keys()):
        if name not in there:
            return f"{name} is missing"
        if name not in here:
            return f"{name} is unexpected"
        if there[name] != here[name]:
            return f"{name} has shape {there[name]} there, {here[name]} here"
    return ""
