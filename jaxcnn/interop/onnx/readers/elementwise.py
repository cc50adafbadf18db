"""Operators of every number by itself, and those of a number for each channel."""

import math
from typing import Any

import numpy as np

from jaxcnn import functional as F
from jaxcnn.interop.onnx.flow import ANY, Call, Flow, Part, read_by
from jaxcnn.layers.activation import PReLU
from jaxcnn.layers.layer_scale import LayerScale
from jaxcnn.layers.noise import Dropout
from jaxcnn.layers.normalize import Normalize
from jaxcnn.models.convnext import exact_gelu

__all__: list[str] = []

PLAIN = {
    "Relu": F.relu,
    "Sigmoid": F.sigmoid,
    "Tanh": F.tanh,
    "Softplus": F.softplus,
    "HardSwish": F.hard_silu,
}
SELU = {"alpha": 1.6732632423543772, "gamma": 1.0507009873554805}
WITH_OPTIONS: dict[str, tuple[dict[str, Any], Any]] = {
    "Elu": ({"alpha": 1.0}, F.elu),
    "HardSigmoid": ({"alpha": 1 / 6, "beta": 0.5}, F.hard_sigmoid),
    "Selu": (SELU, F.selu),
}
DEFAULTS = {"Elu": {"alpha": 1.0}, "HardSigmoid": {"alpha": 0.2, "beta": 0.5}, "Selu": SELU}
CLIPS = {(0.0, 6.0): F.relu6, (-1.0, 1.0): F.hard_tanh, (0.0, math.inf): F.relu}
LARGEST = float(np.finfo(np.float32).max)
MOST = 2**16  # numbers that a layer holds as options, or that are made of one


@read_by(*PLAIN, axes=ANY)
def _plain(call: Call, flow: Flow) -> tuple[list[Part], Flow]:
    return [Part(PLAIN[call.node.op])], flow


@read_by(*WITH_OPTIONS, axes=ANY)
def _with_options(call: Call, flow: Flow) -> tuple[list[Part], Flow]:
    wanted, function = WITH_OPTIONS[call.node.op]
    found = {name: call.option(name, value) for name, value in DEFAULTS[call.node.op].items()}
    same = all(math.isclose(found[name], value, rel_tol=1e-6) for name, value in wanted.items())
    call.need(same, str(wanted), found)
    return [Part(function)], flow


@read_by("Gelu", axes=ANY)
def _gelu(call: Call, flow: Flow) -> tuple[list[Part], Flow]:
    approximate = call.option("approximate", "none")
    call.need(approximate in ("none", "tanh"), "approximate none or tanh", approximate)
    return [Part(F.gelu if approximate == "tanh" else exact_gelu)], flow


@read_by("Clip", axes=ANY)
def _clip(call: Call, flow: Flow) -> tuple[list[Part], Flow]:
    ends = []
    for index, name, none in ((1, "min", -math.inf), (2, "max", math.inf)):
        value = float(call.array(index).reshape(())) if call.given(index) else call.option(name, none)
        ends.append(value if abs(value) < LARGEST else math.copysign(math.inf, value))
    least, most = ends
    call.need((least, most) in CLIPS, f"ends of {list(CLIPS)}", ends)
    return [Part(CLIPS[least, most])], flow


@read_by("LeakyRelu", axes=ANY)
def _leaky_relu(call: Call, flow: Flow) -> tuple[list[Part], Flow]:
    alpha = call.option("alpha", 0.01)
    call.need(math.isfinite(alpha), "a finite alpha", alpha)
    if math.isclose(alpha, 0.1, rel_tol=1e-6):
        return [Part(F.leaky_relu)], flow
    return [Part(PReLU(negative_slope_init=alpha, shared=True), {"negative_slope": np.float32(alpha)})], flow


@read_by("PRelu", axes=ANY)
def _prelu(call: Call, flow: Flow) -> tuple[list[Part], Flow]:
    slope = call.per_channel(1, flow)
    return [Part(PReLU(shared=slope.ndim == 0), {"negative_slope": slope})], flow


@read_by("Dropout", axes=ANY)
def _dropout(call: Call, flow: Flow) -> tuple[list[Part], Flow]:
    training = call.given(2) and bool(call.array(2).any())
    call.need(not training, "training_mode false", training, "Export the net for inference.")
    rate = float(call.array(1, ())) if call.given(1) else call.option("ratio", 0.5)
    call.need(0 <= rate <= 1, "a ratio in [0, 1]", rate)
    return [Part(Dropout(rate))], flow


@read_by("Cast", axes=ANY)
def _cast(call: Call, flow: Flow) -> tuple[list[Part], Flow]:
    call.need(call.option("to", 1) == 1, "float32", call.option("to", 1))
    return [], flow


@read_by("Mul", axes=ANY)
def _mul(call: Call, flow: Flow) -> tuple[list[Part], Flow]:
    factor = call.per_channel(_place(call), flow)
    call.need(factor.ndim == 1 or flow.channels <= MOST, f"at most {MOST} channels", flow.channels)
    return [Part(LayerScale(), {"scale": np.broadcast_to(factor, (flow.channels,))})], flow


@read_by("Sub", axes=ANY)
def _sub(call: Call, flow: Flow) -> tuple[list[Part], Flow]:
    return [_normalize(call, call.per_channel(1, flow), np.ones(()))], flow


@read_by("Add", axes=ANY)
def _add(call: Call, flow: Flow) -> tuple[list[Part], Flow]:
    return [_normalize(call, -call.per_channel(_place(call), flow), np.ones(()))], flow


@read_by("Div", axes=ANY)
def _div(call: Call, flow: Flow) -> tuple[list[Part], Flow]:
    return [_normalize(call, np.zeros(()), call.per_channel(1, flow))], flow


def _place(call: Call) -> int:
    return int(call.node.inputs[0] not in call.arrays)


def _normalize(call: Call, mean: np.ndarray, std: np.ndarray) -> Part:
    call.need(mean.size * std.size <= MOST, f"at most {MOST} channels", (mean.size, std.size))
    finite = bool(np.isfinite(mean).all() and np.isfinite(std).all())
    call.need(finite and float(std.min()) > 0, "finite numbers, and divisors > 0", std.min())
    return Part(Normalize(mean, std))
