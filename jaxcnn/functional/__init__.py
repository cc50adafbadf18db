"""Layers as functions: arrays in, arrays out, nothing hidden.

Images are `(..., H, W, C)` with any number of leading axes; arrays are positional and options keyword-only; the dtype
of `x` is the compute dtype. Three axes are one image, whatever they hold: signals `(N, L, C)`, which `conv` alone takes
as they are (with a kernel of three axes), are images of height 1 elsewhere, `x[:, None]`. Usable in any JAX code:

    from jaxcnn import functional as F
    y = F.max_pool(F.relu(F.conv(x, kernel, bias)), 2)
    y, stats = F.batch_norm(y, scale, bias, stats, train=True)
    y = F.dropout(key, y, 0.5)
"""

from jaxcnn.functional.activation import (
    elu,
    gelu,
    hard_sigmoid,
    hard_silu,
    hard_tanh,
    selu,
    sigmoid,
    silu,
    softplus,
    tanh,
)
from jaxcnn.functional.adaptive_pooling import (
    adaptive_avg_pool,
    adaptive_max_pool,
    global_avg_pool,
    global_max_pool,
    spatial_pyramid_pool,
)
from jaxcnn.functional.batch_norm import BatchStats, batch_norm
from jaxcnn.functional.channels import channel_shuffle
from jaxcnn.functional.convolution import conv
from jaxcnn.functional.filtering import moving_sum
from jaxcnn.functional.group_norm import group_norm, instance_norm, layer_norm
from jaxcnn.functional.linear import dense, flatten, maxout
from jaxcnn.functional.local_conv import local_conv
from jaxcnn.functional.local_norm import local_contrast_norm, local_response_norm
from jaxcnn.functional.noise import drop_block, drop_path, dropout, spatial_dropout
from jaxcnn.functional.pooling import avg_pool, lp_pool, max_pool
from jaxcnn.functional.rectifier import deconv_relu, guided_relu, leaky_relu, prelu, relu, relu6, squared_relu
from jaxcnn.functional.separable import depthwise_conv, separable_conv
from jaxcnn.functional.transposed import conv_transpose
from jaxcnn.functional.unpooling import max_pool_with_switches, max_unpool
from jaxcnn.functional.upsampling import upsample
from jaxcnn.functional.weight_standardization import weight_standardization

__all__ = [
    "BatchStats",
    "adaptive_avg_pool",
    "adaptive_max_pool",
    "avg_pool",
    "batch_norm",
    "channel_shuffle",
    "conv",
    "conv_transpose",
    "deconv_relu",
    "dense",
    "depthwise_conv",
    "drop_block",
    "drop_path",
    "dropout",
    "elu",
    "flatten",
    "gelu",
    "global_avg_pool",
    "global_max_pool",
    "group_norm",
    "guided_relu",
    "hard_sigmoid",
    "hard_silu",
    "hard_tanh",
    "instance_norm",
    "layer_norm",
    "leaky_relu",
    "local_contrast_norm",
    "local_conv",
    "local_response_norm",
    "lp_pool",
    "max_pool",
    "max_pool_with_switches",
    "max_unpool",
    "maxout",
    "moving_sum",
    "prelu",
    "relu",
    "relu6",
    "selu",
    "separable_conv",
    "sigmoid",
    "silu",
    "softplus",
    "spatial_dropout",
    "spatial_pyramid_pool",
    "squared_relu",
    "tanh",
    "upsample",
    "weight_standardization",
]
