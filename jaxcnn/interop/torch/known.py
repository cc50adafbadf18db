"""What the pickle of a checkpoint may name: dtypes of storages and tensors, and functions that make data."""

from typing import Any

import numpy as np

from jaxcnn.checking import expect
from jaxcnn.interop.torch.machine import WEIGHTS_ALONE, Call, is_key
from jaxcnn.interop.torch.storages import DTYPES, KINDS, parameter, tensor, tensor_of_bytes

__all__ = ["NAMES", "settable"]

SCALARS = {"b1", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8"}


def settable(value: Any, state: Any) -> bool:
    """Return whether a state may be set on a value: versions of layers on a state dict, byte order on a dtype."""
    if isinstance(value, np.dtype):
        return type(state) is tuple and len(state) > 1 and type(state[1]) is str and state[1] in ("<", "|")
    return type(value) is dict and type(state) is dict and state.keys() <= {"_metadata"}


def _dict(items: Any = None) -> dict[Any, Any]:
    """Return the dict that an `OrderedDict` or a `Counter` is, made of nothing, a dict, or a list of pairs."""
    if type(items) is dict:
        return items
    pairs = [] if items is None else items
    ok = type(pairs) is list and all(type(pair) in (list, tuple) and len(pair) == 2 for pair in pairs)
    _expect(ok and all(is_key(key) for key, _ in pairs), "dicts of pairs", "others")
    return dict(pairs)


def _size(sizes: Any) -> tuple[int, ...]:
    _expect(type(sizes) is tuple and all(type(n) is int for n in sizes), "sizes as ints", "others")
    return sizes


def _device(kind: Any, index: Any = None) -> str:
    _expect(type(kind) is str and (index is None or is_key(index)), "devices by name", "others")
    return kind if index is None else f"{kind}:{index}"


def _encoded(text: Any, encoding: Any) -> bytes:
    ok = type(text) is type(encoding) is str and encoding == "latin1" and (not text or max(text) <= "\xff")
    _expect(ok, "bytes as characters of latin1", "others")
    return text.encode("latin1")


def _dtype(name: Any, *flags: Any) -> np.dtype:
    _expect(type(name) is str and name in SCALARS, "NumPy's dtypes of numbers", "another")
    return np.dtype(name)


def _scalar(dtype: Any, data: Any = None) -> Any:
    """Return a NumPy scalar as a Python number."""
    ok = isinstance(dtype, np.dtype) and type(data) is bytes and len(data) == dtype.itemsize
    _expect(ok, "NumPy's scalars as a dtype and its bytes", "others")
    return np.frombuffer(data, dtype)[0].item()


def _expect(ok: bool, what: str, got: str) -> None:
    expect(ok, "read", what, got, WEIGHTS_ALONE)


CALLS = {
    "collections.OrderedDict": (_dict, 0, 1),
    "collections.Counter": (_dict, 0, 1),
    "torch.Size": (_size, 1, 1),
    "torch.device": (_device, 1, 2),
    "torch._utils._rebuild_tensor": (tensor, 4, 4),
    "torch._utils._rebuild_tensor_v2": (tensor, 6, 7),
    "torch._utils._rebuild_tensor_v3": (tensor_of_bytes, 7, 8),
    "torch._utils._rebuild_parameter": (parameter, 3, 3),
    "torch._utils._rebuild_parameter_with_state": (parameter, 4, 4),
    "_codecs.encode": (_encoded, 2, 2),  # how protocol 2 writes bytes
    "numpy.dtype": (_dtype, 1, 3),
    "numpy.core.multiarray.scalar": (_scalar, 2, 2),
    "numpy._core.multiarray.scalar": (_scalar, 2, 2),
}
NAMES: dict[str, Any] = {
    **{f"torch.{kind}Storage": DTYPES[name] for kind, name in KINDS.items()},
    "torch.storage.UntypedStorage": DTYPES["uint8"],
    **{f"torch.{name}": dtype for name, dtype in DTYPES.items()},
    **{name: Call(name, *rest) for name, rest in CALLS.items()},
}
