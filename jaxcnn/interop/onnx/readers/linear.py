"""Products with a matrix, of vectors or along the channels of images."""

import numpy as np

from jaxcnn.interop.onnx.emitters.pooling import window_means
from jaxcnn.interop.onnx.flow import FIRST, LAST, VECTOR, Call, Flow, Part, read_by
from jaxcnn.layers.adaptive_pooling import AdaptiveAvgPool
from jaxcnn.layers.linear import Dense

__all__: list[str] = []

MOST = 1024  # pixels along an axis


@read_by("Gemm", axes=(VECTOR,))
def _gemm(call: Call, flow: Flow) -> tuple[list[Part], Flow]:
    options = [call.option(name, default) for name, default in (("transA", 0), ("alpha", 1.0), ("beta", 1.0))]
    call.need(options == [0, 1.0, 1.0], "transA=0, alpha=1 and beta=1", options)
    turned = call.option("transB", 0)
    kernel = call.array(1, (None, flow.channels) if turned else (flow.channels, None))
    kernel = call.in_order(kernel.T if turned else kernel, flow)
    features = kernel.shape[1]
    params = {"kernel": kernel}
    if call.given(2):
        bias = call.array(2)
        call.need(bias.size in (1, features), f"a bias of {features} numbers", bias.shape)
        params["bias"] = np.broadcast_to(bias.reshape(-1), (features,))
    return [Part(Dense(features, use_bias=call.given(2)), params)], flow.now(order=None)


@read_by("MatMul", axes=(VECTOR, LAST, FIRST))
def _matmul(call: Call, flow: Flow) -> tuple[list[Part], Flow]:
    if flow.axes == FIRST:
        return _window_means(call, flow)
    kernel = call.in_order(call.array(1, (flow.channels, None)), flow)
    return [Part(Dense(kernel.shape[1], use_bias=False), {"kernel": kernel})], flow.now(order=None)


def _window_means(call: Call, flow: Flow) -> tuple[list[Part], Flow]:
    """Return the pool that the matrix is, which stands before the images for their rows, and after for columns."""
    rows = call.node.inputs[0] in call.arrays
    n = flow.shape[0 if rows else 1]
    matrix = call.array(0, (None, n)) if rows else call.array(1, (n, None)).T
    count = len(matrix)
    same = 0 < count <= MOST and n <= MOST and np.allclose(matrix, window_means(n, count), atol=1e-6)
    call.need(same, "means of windows along rows or columns, where the channels come first", matrix.shape)
    return [Part(AdaptiveAvgPool((count, flow.shape[1]) if rows else (flow.shape[0], count)))], flow
