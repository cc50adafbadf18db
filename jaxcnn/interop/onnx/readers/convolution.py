"""Convolutions: kernels (C_out, C_in / groups, kh, kw) become (kh, kw, C_in / groups, C_out)."""

from typing import Any

from jaxcnn.functional.window import Pads
from jaxcnn.interop.onnx.flow import Call, Flow, Part, read_by
from jaxcnn.layers.convolution import Conv
from jaxcnn.layers.transposed import ConvTranspose

__all__ = ["padding_of"]


def padding_of(call: Call, flow: Flow) -> str | Pads:
    """Return the padding of an operator with a window, and of the zeros put around the image before it."""
    auto = call.option("auto_pad", "NOTSET")
    call.need(auto in ("NOTSET", "VALID", "SAME_UPPER"), "auto_pad NOTSET, VALID or SAME_UPPER", auto)
    if auto == "SAME_UPPER" and flow.pads is None:
        return "SAME"
    top, left, bottom, right = numbers(call, "pads", (0, 0, 0, 0))
    call.need(min(top, left, bottom, right) >= 0 and auto != "SAME_UPPER", "pads >= 0", (top, left, bottom, right))
    around = flow.pads or ((0, 0), (0, 0))
    return ((top + around[0][0], bottom + around[0][1]), (left + around[1][0], right + around[1][1]))


def numbers(call: Call, name: str, default: tuple[int, ...], least: int = 0) -> tuple[int, ...]:
    """Return an attribute of as many ints, not below `least`, as `default` has."""
    value = call.option(name, default)
    ok = isinstance(value, tuple) and len(value) == len(default) and all(isinstance(v, int) for v in value)
    call.need(ok and min(value) >= least, f"{name} as {len(default)} ints >= {least}", value)
    return value


def _weights(call: Call, kernel: Any, features: int) -> dict[str, Any]:
    found = {"kernel": kernel}
    return found | ({"bias": call.array(2, (features,))} if call.given(2) else {})


def _options(call: Call, flow: Flow, groups: int) -> dict[str, Any]:
    options = {"stride": numbers(call, "strides", (1, 1), 1), "dilation": numbers(call, "dilations", (1, 1), 1)}
    return options | {"padding": padding_of(call, flow), "groups": groups, "use_bias": call.given(2)}


def _groups(call: Call, flow: Flow, features: int) -> int:
    groups = call.option("group", 1)
    ok = groups > 0 and flow.channels % groups == 0 and features % groups == 0
    call.need(ok, f"groups that divide {flow.channels} and {features} channels", groups)
    return groups


@read_by("Conv", pads=True)
def _conv(call: Call, flow: Flow) -> tuple[list[Part], Flow]:
    features = len(call.array(1, (None, None, None, None)))
    groups = _groups(call, flow, features)
    weight = call.array(1, (None, flow.channels // groups, None, None))
    call.need(weight.size > 0, "a kernel that is not empty", weight.shape)
    layer = Conv(features, weight.shape[2:], **_options(call, flow, groups))
    return [Part(layer, _weights(call, weight.transpose(2, 3, 1, 0), features))], flow.now(pads=None)


@read_by("ConvTranspose")
def _conv_transpose(call: Call, flow: Flow) -> tuple[list[Part], Flow]:
    weight = call.array(1, (flow.channels, None, None, None))
    call.need(weight.size > 0, "a kernel that is not empty", weight.shape)
    per_group, *window = weight.shape[1:]
    groups = _groups(call, flow, flow.channels)
    auto, shape = call.option("auto_pad", "NOTSET"), call.option("output_shape")
    call.need(auto in ("NOTSET", "VALID") and shape is None, "pads that are written out", (auto, shape))
    features = per_group * groups
    # From (C_in, C_out / groups) to (C_in / groups, C_out), and turned round.
    split = weight.reshape(groups, flow.channels // groups, per_group, *window)
    kernel = split.transpose(3, 4, 1, 0, 2).reshape(*window, flow.channels // groups, features)[::-1, ::-1]
    extra = numbers(call, "output_padding", (0, 0))
    layer = ConvTranspose(features, tuple(window), output_padding=extra, **_options(call, flow, groups))
    return [Part(layer, _weights(call, kernel, features))], flow
