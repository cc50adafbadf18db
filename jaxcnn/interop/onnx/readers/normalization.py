"""Normalization."""

from typing import Any

from jaxcnn.functional.batch_norm import BatchStats
from jaxcnn.interop.onnx.flow import FIRST, LAST, VECTOR, Call, Flow, Part, read_by
from jaxcnn.layers.batch_norm import BatchNorm
from jaxcnn.layers.group_norm import GroupNorm, InstanceNorm, LayerNorm
from jaxcnn.layers.local_norm import LocalResponseNorm

__all__: list[str] = []


def _affine(call: Call, flow: Flow) -> dict[str, Any]:
    names = {"scale": 1} | ({"bias": 2} if call.given(2) else {})
    return {name: call.in_order(call.array(i, (flow.channels,)), flow) for name, i in names.items()}


@read_by("BatchNormalization", axes=(FIRST, VECTOR))
def _batch_norm(call: Call, flow: Flow) -> tuple[list[Part], Flow]:
    training, spatial = call.option("training_mode", 0), call.option("spatial", 1)
    given, fix = (training, spatial), "Export the net for inference."
    call.need(given == (0, 1), "training_mode=0 and spatial=1", given, fix)
    moments: list[Any] = [call.in_order(call.array(i, (flow.channels,)), flow) for i in (3, 4)]
    return [Part(BatchNorm(eps=call.option("epsilon", 1e-5)), _affine(call, flow), BatchStats(*moments))], flow


@read_by("LayerNormalization", axes=(LAST, VECTOR))
def _layer_norm(call: Call, flow: Flow) -> tuple[list[Part], Flow]:
    axis, last = call.option("axis", -1), 3 if flow.axes == LAST else 1
    call.need(axis in (-1, last), "the last axis alone", axis)
    params = _affine(call, flow)
    return [Part(LayerNorm(eps=call.option("epsilon", 1e-5), use_bias="bias" in params), params)], flow


@read_by("GroupNormalization")
def _group_norm(call: Call, flow: Flow) -> tuple[list[Part], Flow]:
    groups = call.option("num_groups", 1)
    call.need(groups > 0 and flow.channels % groups == 0, f"groups that divide {flow.channels}", groups)
    return [Part(GroupNorm(groups, eps=call.option("epsilon", 1e-5)), _affine(call, flow))], flow


@read_by("InstanceNormalization")
def _instance_norm(call: Call, flow: Flow) -> tuple[list[Part], Flow]:
    return [Part(InstanceNorm(eps=call.option("epsilon", 1e-5)), _affine(call, flow))], flow


@read_by("LRN")
def _local_response_norm(call: Call, flow: Flow) -> tuple[list[Part], Flow]:
    size = call.option("size", 1)
    call.need(size > 0 and size % 2 == 1, "an odd size", size)
    alpha, beta, k = (call.option(name, value) for name, value in (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0)))
    return [Part(LocalResponseNorm(size=size, k=k, alpha=alpha / size, beta=beta))], flow
