"""The format of safetensors: the length of a header, the header as JSON, arrays one behind another.

Source: the section "Format" in the README of huggingface/safetensors.
"""

import json
import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import shown
from jaxcnn.interop.source import LARGEST, MOST_AXES, Source

__all__ = ["DTYPES", "in_order", "read_arrays"]

DTYPES = {
    "BOOL": "bool",
    **{f"{sign}{bits}": f"{name}{bits}" for sign, name in (("I", "int"), ("U", "uint")) for bits in (8, 16, 32, 64)},
    **{"BF16": "bfloat16", "F16": "float16", "F32": "float32", "F64": "float64"},
}
COST = 40  # bytes in memory that one of a header makes at most: three make a list in a list
WHAT = "a whole safetensors file"


def in_order(file: bytes) -> bytes:
    """Return the file with its metadata by name: the library writes them in an order of chance."""
    end = 8 + int.from_bytes(file[:8], "little")
    header = json.loads(file[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # arrays begin at a multiple of 8 bytes
    return b"".join([len(text).to_bytes(8, "little"), text, memoryview(file)[end:]])


def read_arrays(source: Source) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the arrays by name, and the metadata.

    Raises:
        ValueError: a damaged file; one with arrays over each other, beyond its end, or with bytes between them.
    """
    source.go(0, source.size)
    length = source.number("Q")
    got = f"one that promises a header of {length} bytes where {source.left} are left"
    source.expect(length <= source.left, WHAT, got)
    source.charge(COST * length)
    header = _parsed(source, source.take(length))
    metadata = header.pop("__metadata__", {})
    texts = type(metadata) is dict and all(type(text) is str for text in metadata.values())
    source.expect(texts, WHAT, "one with metadata that are no texts")
    for name, entry in header.items():
        source.expect(_is_entry(entry), WHAT, f"one with another entry for {shown(name)}")
        known = f"dtypes among {', '.join(DTYPES)}"
        source.expect(entry["dtype"] in DTYPES, known, f"{shown(entry['dtype'])} for {shown(name)}")
    arrays, at, total = {}, 0, source.left
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        dtype, (start, end) = jnp.dtype(DTYPES[entry["dtype"]]), entry["data_offsets"]
        got = f"one with {shown(name)} in bytes {shown(start)} to {shown(end)} of {total}, of which {at} are others'"
        source.expect(start == at and start <= end <= total, WHAT, got)
        size = math.prod(entry["shape"]) * dtype.itemsize
        got = f"one with {end - start} bytes for {shown(name)} of shape {shown(entry['shape'])} and dtype {dtype}"
        source.expect(end - start == size, WHAT, got)
        arrays[name], at = source.array(size).view(dtype).reshape(entry["shape"]), end
    source.expect(at == total, WHAT, f"one with {total - at} bytes behind its arrays")
    return {name: arrays[name] for name in header}, metadata


def _parsed(source: Source, data: bytes) -> dict[str, Any]:
    """Return the header, a dict in which no name stands twice."""
    try:
        header = json.loads(data.decode(), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        reason = f"one whose header is no JSON ({' '.join(str(error).split())[:100]})"
        source.expect(False, WHAT, reason)
        raise
    source.expect(type(header) is dict, WHAT, "one whose header is no dict")
    return header


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name twice")
    return found


def _is_entry(entry: Any) -> bool:
    if type(entry) is not dict or entry.keys() != {"dtype", "shape", "data_offsets"}:
        return False
    shape, offsets = entry["shape"], entry["data_offsets"]
    lists = type(entry["dtype"]) is str and all(
        type(part) is list and all(type(n) is int and n >= 0 for n in part) for part in (shape, offsets)
    )
    return lists and len(offsets) == 2 and len(shape) <= MOST_AXES and math.prod(n or 1 for n in shape) < LARGEST
