"""Files of ONNX written byte by byte, right and wrong ones."""

import struct

import numpy as np


def varint(value: int) -> bytes:
    value %= 2**64
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def put(number: int, value) -> bytes:
    """Return a field: an int as a varint, a float in four bytes, bytes and texts with their length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def tensor(name: str, array=None, *, axes=None, kind=1, raw=None, more=b"") -> bytes:
    if array is not None:
        array = np.asarray(array)
        array = array.astype(np.int64 if array.dtype.kind == "i" else np.float32)
        kind, axes, raw = (7 if array.dtype == np.int64 else 1), array.shape, array.tobytes()
    found = b"".join(put(1, n) for n in axes) + put(2, kind) + put(8, name)
    return found + (b"" if raw is None else put(9, raw)) + more


def attribute(name: str, value) -> bytes:
    head = put(1, name)
    if isinstance(value, float):
        return head + put(2, value) + put(20, 1)
    if isinstance(value, int):
        return head + put(3, value) + put(20, 2)
    if isinstance(value, str):
        return head + put(4, value) + put(20, 3)
    if isinstance(value, bytes):
        return head + put(5, value) + put(20, 4)
    return head + b"".join(put(8, n) for n in value) + put(20, 7)


def node(op: str, inputs: str, outputs: str, more: bytes = b"", **attributes) -> bytes:
    """Return a node; inputs and outputs are names with spaces between, "-" for one that is left out."""
    ins, outs = ([("" if n == "-" else n) for n in names.split()] for names in (inputs, outputs))
    found = (
        b"".join(put(1, n) for n in ins)
        + b"".join(put(2, n) for n in outs)
        + put(3, f"{op}_{outs[0] if outs else ins}")
        + put(4, op)
    )
    return found + b"".join(put(5, attribute(n, v)) for n, v in attributes.items()) + more


def value(name: str, axes, kind: int = 1) -> bytes:
    dims = b"".join(put(1, put(2, n) if isinstance(n, str) else put(1, n)) for n in axes)
    return put(1, name) + put(2, put(1, put(1, kind) + put(2, dims)))


def graph(nodes, arrays=(), *, inputs=None, outputs=("y",), more: bytes = b"") -> bytes:
    inputs = [value("x", ("batch", 2, 4, 4))] if inputs is None else inputs
    parts = [(1, n) for n in nodes] + [(5, a) for a in arrays] + [(11, v) for v in inputs]
    return b"".join(put(n, p) for n, p in parts) + b"".join(put(12, value(o, ("batch",))) for o in outputs) + more


def model(graph: bytes, *, opset: int = 21, more: bytes = b"") -> bytes:
    return put(1, 10) + put(7, graph) + put(8, put(1, "") + put(2, opset)) + more


def plain(nodes, arrays=(), **options) -> bytes:
    return model(graph(nodes, arrays, **options))


KERNEL = np.arange(3 * 2 * 3 * 3).reshape(3, 2, 3, 3) / 20.0
GOOD = plain(
    [
        node("Conv", "x k b", "c", pads=[1, 1, 1, 1]),
        node("Relu", "c", "r"),
        node("MaxPool", "r", "p", kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", "p", "f"),
        node("Gemm", "f w", "y", transB=1),
    ],
    [tensor("k", KERNEL), tensor("b", np.array([0.1, 0.2, 0.3])), tensor("w", np.arange(5 * 12).reshape(5, 12) / 50.0)],
)
