"""What writes each kind of layer, entered by `register`."""

from jaxcnn.interop.onnx.emitters import (
    activation,
    channels,
    composition,
    convolution,
    linear,
    local,
    normalization,
    pooling,
    upsampling,
)

__all__ = [
    "activation",
    "channels",
    "composition",
    "convolution",
    "linear",
    "local",
    "normalization",
    "pooling",
    "upsampling",
]
