"""Weights in one file that every language reads: safetensors, which holds arrays by name and no code.

save_weights("net.safetensors", net, params, state)
params, state = load_weights("net.safetensors", net, spec)
"""

import contextlib
import importlib.metadata
import itertools
import json
import math
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import expect
from jaxcnn.fingerprint import fingerprint
from jaxcnn.layers.layer import Layer, Spec, leaf_name
from jaxcnn.layers.serialization import from_json, to_json

__all__ = ["load_weights", "save_weights"]

DTYPES = {
    "BOOL": "bool",
    **{f"{sign}{bits}": f"{name}{bits}" for sign, name in (("I", "int"), ("U", "uint")) for bits in (8, 16, 32, 64)},
    **{"BF16": "bfloat16", "F16": "float16", "F32": "float32", "F64": "float64"},
}
LARGEST_HEADER = 100_000_000  # bytes: what the library takes
AGAIN = "Use another copy, or save the weights again."


def save_weights(path: Path | str, net: Layer, params: Any, state: Any) -> None:
    """Write the weights and the running statistics of a net to `path`, whole or not at all.

    An array's name is its path, as in Flax: "stage1/conv1/kernel", "stage1/norm1/mean". The metadata hold the net as
    JSON ("net"), the version of jaxcnn ("jaxcnn") and `jaxcnn.fingerprint` of the arrays by name ("sha256").

    Args:
        path: of the file; its folder exists.
        net: whose weights they are.
        params, state: as `net.init` or a training returned them; arrays of any size, bool, integer or floating,
            bfloat16 included.

    Raises:
        ImportError: safetensors is not installed.
        OSError: the file cannot be written, or the disk is full; what stood there is kept.
        TypeError: leaves that are no such arrays.
        ValueError: a net that cannot be saved as JSON, two arrays of one name.
    """
    library = _library("save_weights")
    path = Path(path)
    arrays = {name: _array(name, leaf) for name, leaf in _named("save_weights", params, state).items()}
    metadata = {"jaxcnn": _version(), "net": to_json(net), "sha256": fingerprint(arrays)}
    data = library.numpy.save(arrays, metadata)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with unfinished.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except OSError as error:
        raise OSError(
            f"save_weights: expected a file that can be written, got {path} ({error.strerror}). Make room there, or "
            "choose another."
        ) from error
    finally:
        with contextlib.suppress(OSError):  # where it is in its place, or never was
            unfinished.unlink()


def load_weights(path: Path | str, net: Layer, spec: Spec) -> tuple[Any, Any]:
    """Return `(params, state)` as `save_weights` wrote them, having checked that they are whole and of this net.

    Nothing in the file is executed, wherever it comes from. For another net of the same shapes load them into the net
    that they were saved with: parameters are plain dicts, which fit both.

    Args:
        path: of the file.
        net: the net that they were saved with.
        spec: shape (batch axis included) and dtype of its input.

    Returns:
        params, state: nested as `net.init(key, spec)` nests them; shapes are the net's, dtypes the file's.

    Raises:
        ImportError: safetensors is not installed.
        OSError: the file cannot be read.
        ValueError: a damaged file, one that `save_weights` did not write, or one of another net or input.
    """
    where = "load_weights"
    template = jax.eval_shape(lambda: net.init(jax.random.key(0), spec))
    wanted = {name: list(leaf.shape) for name, leaf in _named(where, *template).items()}
    arrays, metadata = _read(path, LARGEST_HEADER + 8 * sum(math.prod(shape) for shape in wanted.values()))
    whole = fingerprint(arrays) == metadata["sha256"]
    expect(whole, where, "the arrays that were written", f"changed ones in {path}", AGAIN)
    found = {name: list(array.shape) for name, array in arrays.items()}
    fix = "Build the net, and give the spec, with which the weights were saved."
    first = _first_difference(found, wanted)
    expect(found == wanted, where, "weights of this net", f"those of another in {path} ({first})", fix)
    there, here = to_json(from_json(metadata["net"])), to_json(net)
    lines = itertools.zip_longest(there.splitlines(), here.splitlines(), fillvalue="nothing")
    first = next((f"{a.strip()} there, {b.strip()} here" for a, b in lines if a != b), "")
    expect(there == here, where, "weights of this net", f"those of another in {path} ({first})", fix)
    leaves = [jnp.asarray(arrays[name]) for name in wanted]
    kept = [leaf.dtype == arrays[name].dtype for name, leaf in zip(wanted, leaves, strict=True)]
    expect(all(kept), where, "dtypes that JAX keeps", f"64 bits in {path}", "Switch jax_enable_x64 on to load them.")
    return jax.tree.unflatten(jax.tree.structure(template), leaves)


def _library(where: str) -> Any:
    try:
        import safetensors.numpy
    except ImportError as missing:
        message = 'expected safetensors to be installed, got none. Install it with pip install "jaxcnn[interop]".'
        raise ImportError(f"{where}: {message}") from missing
    return safetensors


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
    expect(dtype in DTYPES.values(), "save_weights", f"an array of numbers as {name}", leaf, fix, TypeError)
    return np.asarray(leaf, jnp.dtype(dtype), order="C")


def _read(path: Path | str, most: int) -> tuple[dict[str, np.ndarray], Mapping[str, str]]:
    """Return the arrays of a file of at most so many bytes, by name, and the metadata."""
    where, library = "load_weights", _library("load_weights")
    try:
        size = Path(path).stat().st_size
        expect(size <= most, where, "weights of this net", f"{size} bytes in {path}", AGAIN)
        data = Path(path).read_bytes()
    except OSError as error:
        raise OSError(f"{where}: expected a file, got {path} ({error.strerror}). Pass one that is there.") from error
    try:
        tensors = library.deserialize(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        metadata = {name: header["__metadata__"][name] for name in ("net", "sha256")}
        arrays = {name: np.ndarray(t["shape"], jnp.dtype(DTYPES[t["dtype"]]), t["data"]) for name, t in tensors}
    except (library.SafetensorError, ValueError, KeyError) as error:
        what = "whole weights that save_weights wrote"
        raise ValueError(f"{where}: expected {what}, got {path} ({error}). {AGAIN}") from error
    return arrays, metadata


def _first_difference(there: Mapping[str, list[int]], here: Mapping[str, list[int]]) -> str:
    for name in sorted(there.keys() | here.keys()):
        if name not in there:
            return f"{name} is missing"
        if name not in here:
            return f"{name} is unexpected"
        if there[name] != here[name]:
            return f"{name} has shape {there[name]} there, {here[name]} here"
    return ""
