"""Nets as values: frozen dataclasses of hyperparameters, composed, that hold no arrays.

Layers of images take (..., H, W, C), or one image (H, W, C): signals (N, L, C) are images of height 1, `x[:, None]`.

net = Sequential(conv=Conv(8), norm=BatchNorm(), act=F.relu, pool=GlobalAvgPool(), head=Dense(10))
params, state = net.init(key, jax.ShapeDtypeStruct((1, 28, 28, 1), jnp.float32))
y, state = net.apply(params, state, x, train=True, key=key)
"""

from jaxcnn.layers.activation import PReLU
from jaxcnn.layers.adaptive_pooling import (
    AdaptiveAvgPool,
    AdaptiveMaxPool,
    GlobalAvgPool,
    GlobalMaxPool,
    SpatialPyramidPool,
)
from jaxcnn.layers.auxiliary import Auxiliary
from jaxcnn.layers.batch_norm import BatchNorm
from jaxcnn.layers.channels import ChannelChunk, ChannelShuffle
from jaxcnn.layers.composition import Concat, Residual, Sequential
from jaxcnn.layers.convolution import Conv, StandardizedConv
from jaxcnn.layers.filtering import MovingSum
from jaxcnn.layers.gate import Gate
from jaxcnn.layers.group_norm import GroupNorm, InstanceNorm, LayerNorm
from jaxcnn.layers.layer import Layer
from jaxcnn.layers.layer_scale import LayerScale
from jaxcnn.layers.linear import Dense, Flatten, Maxout
from jaxcnn.layers.local_conv import LocalConv
from jaxcnn.layers.local_norm import LocalContrastNorm, LocalResponseNorm
from jaxcnn.layers.noise import DropBlock, Dropout, DropPath, SpatialDropout
from jaxcnn.layers.normalize import Normalize
from jaxcnn.layers.pooling import AvgPool, LpPool, MaxPool
from jaxcnn.layers.separable import DepthwiseConv, SeparableConv
from jaxcnn.layers.serialization import from_json, register, to_json
from jaxcnn.layers.transposed import ConvTranspose
from jaxcnn.layers.upsampling import Upsample

__all__ = [
    "AdaptiveAvgPool",
    "AdaptiveMaxPool",
    "Auxiliary",
    "AvgPool",
    "BatchNorm",
    "ChannelChunk",
    "ChannelShuffle",
    "Concat",
    "Conv",
    "ConvTranspose",
    "Dense",
    "DepthwiseConv",
    "DropBlock",
    "DropPath",
    "Dropout",
    "Flatten",
    "Gate",
    "GlobalAvgPool",
    "GlobalMaxPool",
    "GroupNorm",
    "InstanceNorm",
    "Layer",
    "LayerNorm",
    "LayerScale",
    "LocalContrastNorm",
    "LocalConv",
    "LocalResponseNorm",
    "LpPool",
    "MaxPool",
    "Maxout",
    "MovingSum",
    "Normalize",
    "PReLU",
    "Residual",
    "SeparableConv",
    "Sequential",
    "SpatialDropout",
    "SpatialPyramidPool",
    "StandardizedConv",
    "Upsample",
    "from_json",
    "register",
    "to_json",
]
