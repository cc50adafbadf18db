"""Pooling."""

from typing import Any

from jaxcnn.interop.onnx.flow import FIRST, LAST, VECTOR, Call, Flow, Part, read_by
from jaxcnn.interop.onnx.readers.convolution import numbers, padding_of
from jaxcnn.layers.adaptive_pooling import AdaptiveAvgPool, AdaptiveMaxPool, GlobalAvgPool, GlobalMaxPool
from jaxcnn.layers.pooling import AvgPool, LpPool, MaxPool

__all__: list[str] = []

GLOBAL = {"Mean": (GlobalAvgPool, AdaptiveAvgPool), "Max": (GlobalMaxPool, AdaptiveMaxPool)}


def _options(call: Call, flow: Flow) -> dict[str, Any]:
    window = call.option("kernel_shape")
    call.need(isinstance(window, tuple) and len(window) == 2 and min(window) > 0, "kernel_shape as two ints", window)
    dilation = numbers(call, "dilations", (1, 1), 1)
    call.need(dilation == (1, 1), "windows without gaps", dilation)
    options = {"stride": numbers(call, "strides", (1, 1), 1), "padding": padding_of(call, flow)}
    return options | {"window": window, "ceil_mode": bool(call.option("ceil_mode", 0))}


@read_by("MaxPool")
def _max_pool(call: Call, flow: Flow) -> tuple[list[Part], Flow]:
    return [Part(MaxPool(**_options(call, flow)))], flow


@read_by("AveragePool")
def _avg_pool(call: Call, flow: Flow) -> tuple[list[Part], Flow]:
    counted = bool(call.option("count_include_pad", 0))
    return [Part(AvgPool(count_include_pad=counted, **_options(call, flow)))], flow


@read_by("LpPool")
def _lp_pool(call: Call, flow: Flow) -> tuple[list[Part], Flow]:
    p = call.option("p", 2)
    call.need(p >= 1, "p >= 1", p)
    return [Part(LpPool(p=p, **_options(call, flow)))], flow


@read_by("GlobalAveragePool")
def _global_avg_pool(call: Call, flow: Flow) -> tuple[list[Part], Flow]:
    return [Part(AdaptiveAvgPool(1))], flow


@read_by("GlobalMaxPool")
def _global_max_pool(call: Call, flow: Flow) -> tuple[list[Part], Flow]:
    return [Part(AdaptiveMaxPool(1))], flow


@read_by("ReduceMean", "ReduceMax", axes=(FIRST, LAST))
def _reduced(call: Call, flow: Flow) -> tuple[list[Part], Flow]:
    axes = sorted(axis % 4 for axis in call.whole(1, "axes"))
    pixels = [2, 3] if flow.axes == FIRST else [1, 2]
    call.need(axes == pixels, f"axes {pixels}, the image's", axes)
    vector, image = GLOBAL[call.node.op.removeprefix("Reduce")]
    kept = call.option("keepdims", 1)
    return [Part(image(1) if kept else vector())], flow if kept else flow.now(axes=VECTOR)
