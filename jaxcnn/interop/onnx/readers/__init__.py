"""What reads each operator, entered by `read_by`."""

from jaxcnn.interop.onnx.readers import (
    arrangement,
    convolution,
    elementwise,
    linear,
    normalization,
    pooling,
    upsampling,
)

__all__ = ["arrangement", "convolution", "elementwise", "linear", "normalization", "pooling", "upsampling"]
