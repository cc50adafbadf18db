"""Layers as functions: arrays in, arrays out, nothing hidden.

Images are `(..., H, W, C)` with any number of leading axes; arrays are positional and options keyword-only; the dtype
of `x` is the compute dtype. Usable in any JAX code:

    from jaxcnn import functional as F
    y = F.max_pool(F.relu(F.conv(x, kernel, bias)), 2)
    y, stats = F.batch_norm(y, scale, bias, stats, train=True)
    y = F.dropout(key, y, 0.5)
"""

from jaxcnn.functional.activation import elu, gelu, leaky_relu, relu, sigmoid, silu, tanh
from jaxcnn.functional.convolution import conv
from jaxcnn.functional.linear import dense, flatten
from jaxcnn.functional.noise import dropout
from jaxcnn.functional.normalization import BatchStats, batch_norm
from jaxcnn.functional.pooling import avg_pool, global_avg_pool, max_pool

__all__ = [
    "BatchStats",
    "avg_pool",
    "batch_norm",
    "conv",
    "dense",
    "dropout",
    "elu",
    "flatten",
    "gelu",
    "global_avg_pool",
    "leaky_relu",
    "max_pool",
    "relu",
    "sigmoid",
    "silu",
    "tanh",
]
