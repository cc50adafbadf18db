"""A trained net as a graph of ONNX, layer by layer."""

import contextlib
import dataclasses
import importlib
import math
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import expect, expect_choice, expect_flag, installed, shown
from jaxcnn.interop.onnx.site import Graph, Site, Value, channels_first
from jaxcnn.layers.layer import Layer, Spec, expect_arrays, expect_net, expect_spec, rebuild
from jaxcnn.surgery import activations, fold_batch_norm, paths
from jaxcnn.surgery.frozen import Frozen
from jaxcnn.surgery.rematerialized import Rematerialized
from jaxcnn.surgery.tree import Around, children_of
from jaxcnn.training.evaluation import predictor
from jaxcnn.whole_file import write_whole

__all__ = ["export"]

OPSET, IR = 21, 10  # of ONNX 1.16, the first with group normalization that has a scale for each channel
LARGEST = 2**31 - 1  # bytes of a protobuf
INPUT, OUTPUT = "images", "logits"
TOLERANCE = 1e-3  # of the largest output


def export(
    net: Layer,
    params: Any,
    state: Any,
    spec: Spec,
    path: Path | str,
    *,
    layout: Literal["NHWC", "NCHW"] = "NHWC",
    check: bool = False,
) -> None:
    """Write the net, in the form for inference, as one file of ONNX (opset 21), which holds the weights.

    Batch norms are folded into the convolutions before them. The input is called "images", its first axis "batch": any
    number of images of the spec's size. The output is "logits"; an `Auxiliary` net has those of its heads too.

    Args:
        net, params, state: a trained net.
        spec: shape (batch axis included) and dtype, float32, of its input: images (N, H, W, C) or vectors (N, C).
        path: of the file; what stood there is replaced as a whole.
        layout: of the images that the graph takes, and of those that it gives; inside they have their channels first.
        check: whether to run the graph by onnxruntime beside the net, on two random images, before it is written.

    Raises:
        ValueError: a layer or function that is not known in ONNX, by its path (see `register`); a spec of what the net
            does not take; a net of more than 2 GB; with `check`, other outputs than the net's.
        ImportError: onnx-ir, or for `check` onnxruntime, is not installed.
        OSError: the file cannot be written.
        TypeError: what is no net, no weights, no spec of float32.
    """
    where = "export"
    expect_net(where, net)
    expect_arrays(where, "params", params)
    expect_arrays(where, "state", state)
    expect_spec(where, spec, one=True)
    fix = "Pass jax.ShapeDtypeStruct((1, 32, 32, 3), jax.numpy.float32), say."
    expect(spec.dtype == jnp.float32, where, "a spec of float32", spec.dtype, fix, TypeError)
    expect(len(spec.shape) in (2, 4), where, "images (N, H, W, C) or vectors (N, C)", shown(spec.shape), fix)
    expect_choice(where, 'layout as "NHWC" or "NCHW"', layout, ["NHWC", "NCHW"])
    check = expect_flag(where, "check", check)
    data = _serialized(net, params, state, spec, layout == "NHWC")
    if check:
        _check(net, params, state, spec, layout == "NHWC", data)
    write_whole(where, path, data)


def _serialized(net: Any, params: Any, state: Any, spec: Spec, channels_last: bool) -> bytes:
    with installed("export", "onnx_ir", 'pip install "jaxcnn[interop]"'):
        ir: Any = importlib.import_module("onnx_ir")
    net = _bare(net)
    images = jax.ShapeDtypeStruct((1, *spec.shape[1:]), jnp.float32)
    at = paths(net)
    made, inner = jax.eval_shape(lambda p, s, x: activations(net, p, s, x, at), params, state, images)
    with contextlib.suppress(ValueError):  # where there is nothing to fold
        net, params, state = fold_batch_norm(net, params, state)
    graph = Graph({"": made, **inner})
    turned = channels_last and len(spec.shape) == 4
    first = images.shape[1:] if turned else channels_first(images.shape[1:])
    given = x = ir.val(INPUT, ir.DataType.FLOAT, ir.Shape(["batch", *first]))
    root = Site(graph, "", net, params, state)
    if turned:
        x = root.op("Transpose", x, perm=[0, 3, 1, 2])
        x.shape, x.dtype = ir.Shape(["batch", *channels_first(images.shape[1:])]), ir.DataType.FLOAT
    y = graph.emit(net, params, state, "", x)
    named = y if isinstance(y, dict) else {OUTPUT: y}
    outputs = [_output(root, name, value, turned) for name, value in named.items()]
    size = sum(math.prod(array.shape) * 4 for array in graph.arrays)
    fix = "Keep it with interop.safetensors, or export it with interop.stablehlo."
    expect(size < LARGEST - 2**20, "export", "a net of less than 2 GB", f"{size} bytes", fix)
    whole = ir.Graph(
        [given], outputs, nodes=graph.nodes, initializers=graph.arrays, opset_imports={"": OPSET}, name="jaxcnn"
    )
    return ir.to_proto(ir.Model(whole, ir_version=IR, producer_name="jaxcnn")).SerializeToString()


def _bare(module: Any) -> Any:
    """Return the net without what matters in training alone."""
    if isinstance(module, Frozen | Rematerialized):
        return _bare(module.inner)
    if isinstance(module, Around):
        return dataclasses.replace(module, inner=_bare(module.inner))
    children = {name: _bare(child) for name, child in children_of(module).items()}
    return rebuild(module, children) if children else module


def _output(root: Site, name: str, value: Value, turned: bool) -> Value:
    """Return a value of its own under a name."""
    import onnx_ir as ir

    shape = list(value.shape)
    if turned and len(shape) == 4:
        shape = [shape[0], *shape[2:], shape[1]]
        value = root.op("Transpose", value, perm=[0, 2, 3, 1])
    else:
        value = root.op("Identity", value)
    value.name, value.shape, value.dtype = name, ir.Shape(shape), ir.DataType.FLOAT
    return value


def _check(net: Layer, params: Any, state: Any, spec: Spec, channels_last: bool, data: bytes) -> None:
    """Raise `ValueError` unless onnxruntime gives what the net gives."""
    with installed("export", "onnxruntime", "pip install onnxruntime"):
        runtime: Any = importlib.import_module("onnxruntime")
    images = np.random.default_rng(0).random((2, *spec.shape[1:]), np.float32)
    wanted = predictor(net, params, state)(jnp.asarray(images))
    wanted = wanted if isinstance(wanted, dict) else {OUTPUT: wanted}
    session = runtime.InferenceSession(data, providers=["CPUExecutionProvider"])
    given = images if channels_last or images.ndim == 2 else np.moveaxis(images, -1, 1)
    found = dict(zip(wanted, session.run(list(wanted), {INPUT: given}), strict=True))
    for name, y in wanted.items():
        there = found[name] if channels_last or y.ndim == 2 else np.moveaxis(found[name], 1, -1)
        error, most = float(np.abs(there - y).max()), float(np.abs(y).max())
        fix = "It may overflow: look at its inner activations."
        expect(error <= TOLERANCE * most, "export", f"{name} up to {most:g} as the net's", f"errors of {error:g}", fix)
