"""Nets as values: frozen dataclasses of hyperparameters, composed, that hold no arrays.

net = Sequential(conv=Conv(8), norm=BatchNorm(), act=F.relu, pool=GlobalAvgPool(), head=Dense(10))
params, state = net.init(key, jax.ShapeDtypeStruct((1, 28, 28, 1), jnp.float32))
y, state = net.apply(params, state, x, train=True, key=key)
"""

from jaxcnn.layers.composition import Concat, Residual, Sequential
from jaxcnn.layers.convolution import Conv
from jaxcnn.layers.layer import Layer
from jaxcnn.layers.linear import Dense, Flatten
from jaxcnn.layers.noise import Dropout
from jaxcnn.layers.normalization import BatchNorm, Normalize
from jaxcnn.layers.pooling import AvgPool, GlobalAvgPool, MaxPool
from jaxcnn.layers.serialization import from_json, register, to_json

__all__ = [
    "AvgPool",
    "BatchNorm",
    "Concat",
    "Conv",
    "Dense",
    "Dropout",
    "Flatten",
    "GlobalAvgPool",
    "Layer",
    "MaxPool",
    "Normalize",
    "Residual",
    "Sequential",
    "from_json",
    "register",
    "to_json",
]
