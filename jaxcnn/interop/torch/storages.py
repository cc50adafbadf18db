"""Tensors as views of storages: arrays of numbers in a row, which several tensors may share."""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import expect, shown
from jaxcnn.interop.source import AGAIN, LARGEST, MOST_AXES, Source

__all__ = ["DTYPES", "KINDS", "Storages", "parameter", "tensor", "tensor_of_bytes"]

KINDS = {
    **{"Double": "float64", "Float": "float32", "Half": "float16", "BFloat16": "bfloat16", "Bool": "bool"},
    **{"Long": "int64", "Int": "int32", "Short": "int16", "Char": "int8", "Byte": "uint8", "Untyped": "uint8"},
}
DTYPES = {name: jnp.dtype(name) for name in (*KINDS.values(), "uint16", "uint32", "uint64")}
DENSE = "Save dense tensors, of bool, integer or floating dtype."


class Storages:
    """The storages that a pickle names, made empty, to be filled when it has been read; no larger than the file."""

    def __init__(self, source: Source) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self._source, self._left = source, source.size

    def __call__(self, key: Any) -> np.ndarray:
        """Return the array of a persistent id: ("storage", dtype, name, device, count), before 1.6 with None behind."""
        form = (str, np.dtype, str, str, int, type(None))
        ok = type(key) is tuple and len(key) in (5, 6) and all(map(isinstance, key, form))
        ok = ok and key[0] == "storage" and _counts(key[4:5])
        self._source.expect(ok, "persistent ids of storages", "another", DENSE)
        _, dtype, name, _, count = key[:5]
        if name not in self.arrays:
            size = count * dtype.itemsize
            self._left -= size
            if self._left < 0:
                self._source.expect(False, "storages within the file", f"one of {shown(count)} {dtype} beyond its end")
            self._source.charge(size)
            self.arrays[name] = np.empty(size, np.uint8).view(dtype)
        known = self.arrays[name]
        same = known.dtype == dtype and known.size == count
        self._source.expect(same, "one dtype and size of a storage", "two")
        return known


def tensor(storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> np.ndarray:
    """Return the view of a storage that PyTorch's `_rebuild_tensor` and `_rebuild_tensor_v2` make.

    Args:
        storage: an array in a row.
        offset, size, stride: in elements.
        rest: whether it is trained and its hooks, which are dropped; metadata, of which there are none.

    Raises:
        ValueError: a view beyond its storage, or with more elements than that, as one that was expanded.
    """
    ok = isinstance(storage, np.ndarray) and storage.ndim == 1 and storage.flags.c_contiguous
    ok = ok and _counts((offset,)) and _counts(size) and _counts(stride) and len(size) == len(stride) <= MOST_AXES
    _expect(ok, "tensors as a storage, an offset, sizes and strides", "others")
    _expect(all(part is None or part == {} for part in map(_dict, rest[2:])), "tensors without metadata", "one with")
    count, item = math.prod(size), storage.itemsize
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) if count else offset - 1
    if last >= storage.size or count > storage.size:
        got = f"one of shape {shown(size)}, strides {shown(stride)}, offset {shown(offset)} in {storage.size} numbers"
        _expect(last < storage.size, "tensors within their storages", got, AGAIN)
        _expect(False, "tensors no larger than their storages", got, "Save a clone() of what was expanded.")
    _expect(math.prod(n or 1 for n in size) * item < LARGEST, "shapes of arrays", "an endless one of no numbers")
    if not count:
        return np.empty(size, storage.dtype)
    steps = tuple(step * item if n > 1 else item for n, step in zip(size, stride, strict=True))
    # The memory as bytes: bfloat16 is no dtype that a buffer could have.
    return np.ndarray(size, storage.dtype, storage.view(np.uint8), offset * item, steps)


def tensor_of_bytes(
    storage: Any, offset: Any, size: Any, stride: Any, trained: Any, hooks: Any, dtype: Any, *metadata: Any
) -> np.ndarray:
    """Return the view that `_rebuild_tensor_v3` makes, of a storage of bytes that is told its dtype."""
    ok = isinstance(storage, np.ndarray) and storage.dtype == np.uint8 and storage.ndim == 1
    ok = ok and storage.flags.c_contiguous and isinstance(dtype, np.dtype) and storage.size % dtype.itemsize == 0
    _expect(ok, "tensors as a storage of bytes, an offset, sizes, strides and a dtype", "others")
    return tensor(storage.view(dtype), offset, size, stride, trained, hooks, *metadata)


def parameter(data: Any, *rest: Any) -> np.ndarray:
    """Return the tensor that `_rebuild_parameter` makes a parameter, without what was set on it."""
    _expect(isinstance(data, np.ndarray), "parameters that are tensors", f"a {type(data).__name__}")
    return data


def _dict(value: Any) -> Any:
    return value if type(value) is dict or value is None else "another"


def _counts(values: Any) -> bool:
    return type(values) is tuple and all(type(n) is int and n >= 0 for n in values)


def _expect(ok: bool, what: str, got: str, fix: str = DENSE) -> None:
    expect(ok, "read", what, got, fix)
