"""Arrays as ONNX keeps them: never outside of the file, and never of another size than it says."""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import shown
from jaxcnn.interop.onnx.wire import WHAT, Field
from jaxcnn.interop.source import LARGEST, MOST_AXES, Source

__all__ = ["TENSOR", "tensor"]

TENSOR = {
    1: Field("axes", "int", many=True),
    2: Field("kind", "int"),
    4: Field("floats", "array", many=True),
    5: Field("ints32", "int", many=True),
    6: Field("texts", "seen"),
    7: Field("ints64", "int", many=True),
    8: Field("name", "text"),
    9: Field("raw", "array"),
    10: Field("doubles", "array", many=True),
    13: Field("outside", "seen"),
    14: Field("place", "int"),
}
KINDS = {
    **{1: "float32", 2: "uint8", 3: "int8", 6: "int32", 7: "int64", 9: "bool"},
    **{10: "float16", 11: "float64", 16: "bfloat16"},
}
LISTS = {"float32": "floats", "float64": "doubles", "int64": "ints64", "int32": "ints32", "bool": "ints32"}


def tensor(source: Source, record: dict[str, Any], at: str) -> np.ndarray:
    """Return the array: floats as float32, other numbers as int64.

    Raises:
        ValueError: one that lies in another file, of a kind that no net here has, or of another size than it says.
    """
    fix = "Save the model as one file: onnx.save_model(model, path, save_as_external_data=False)."
    outside = "outside" in record or record.get("place", 0) != 0
    source.expect(not outside, "arrays inside of the file", f"{at} in another one", fix)
    kind = record.get("kind", 0)
    source.expect(
        kind in KINDS, f"arrays of {', '.join(KINDS.values())}", f"{at} of kind {kind}", "Export it as float32."
    )
    shape = record.get("axes", [])
    ok = len(shape) <= MOST_AXES and all(n >= 0 for n in shape) and math.prod(n or 1 for n in shape) < LARGEST
    source.expect(ok, WHAT, f"one with {at} of shape {shown(shape)}")
    dtype, count = jnp.dtype(KINDS[kind]), math.prod(shape)
    held = [name for name in ("raw", "floats", "doubles", "ints32", "ints64", "texts") if name in record]
    source.expect(len(held) <= 1, WHAT, f"one with {at} as {held}")
    if held in (["raw"], []):
        flat = record.pop("raw", np.zeros(0, np.uint8))
    else:
        wanted = LISTS.get(str(dtype))
        source.expect(held == [wanted], f"{at} of {dtype} as bytes", f"it as {held[0]}", "Export it again.")
        parts = record.pop(held[0])
        numbers = "ints" in held[0]
        flat = _whole_numbers(source, parts, dtype, at) if numbers else parts[0] if len(parts) == 1 else None
        source.expect(flat is not None, WHAT, f"one with {at} in {len(parts)} parts")
        assert flat is not None
    size = flat.size
    source.expect(size == count * dtype.itemsize, WHAT, f"one with {size} bytes for {at} of shape {shown(shape)}")
    kept = jnp.float32 if jnp.issubdtype(dtype, jnp.floating) else np.int64
    if dtype != kept:
        source.charge(count * np.dtype(kept).itemsize)
    return flat.view(dtype).astype(kept, copy=False).reshape(shape)


def _whole_numbers(source: Source, values: list[int], dtype: np.dtype, at: str) -> np.ndarray:
    least, most = (0, 1) if dtype == np.bool_ else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    source.expect(all(least <= v <= most for v in values), WHAT, f"one with numbers beyond {dtype} in {at}")
    return np.asarray(values, dtype).view(np.uint8)
