"""The nets in Haiku."""

from typing import Any

import haiku as hk  # pyrefly: ignore
import jax
import jax.numpy as jnp

from experiments.benchmarks.nets import CLASSES, DEPTHWISE, LENET, NETS, RESNET20, STEM, VGG, Training, train


def build(name: str, dtype: Any) -> Training:
    if dtype != jnp.float32:
        raise NotImplementedError("Haiku's layers have one dtype for parameters and activations")
    net = hk.transform_with_state(_NETS[name])

    def init(key):
        return net.init(key, jnp.zeros((1, *NETS[name])), True)

    def apply(params, stats, image, *, train):
        return net.apply(params, stats, None, image, train)

    return train(init, apply)


def lenet(x, train):
    for maps in LENET[:2]:
        x = _pool(jax.nn.relu(hk.Conv2D(maps, 5)(x)))
    x = jax.nn.relu(hk.Linear(LENET[2])(hk.Flatten()(x)))
    return hk.Linear(CLASSES)(x)


def vgg(x, train):
    for maps in VGG:
        x = _pool(x) if maps == "pool" else _unit(x, maps, train)
    return hk.Linear(CLASSES)(x.mean((1, 2)))


def resnet20(x, train):
    x = _unit(x, RESNET20[0][0], train)
    for maps, stride in RESNET20:
        y = _unit(_unit(x, maps, train, stride=stride), maps, train, act=False)
        if stride != 1:
            new = maps - x.shape[-1]
            x = jnp.pad(x[:, ::stride, ::stride], ((0, 0), (0, 0), (0, 0), (new // 2, new - new // 2)))
        x = jax.nn.relu(y + x)
    return hk.Linear(CLASSES)(x.mean((1, 2)))


def depthwise(x, train):
    x = _unit(x, STEM, train)
    for maps, stride in DEPTHWISE:
        x = hk.DepthwiseConv2D(1, 3, stride, padding=((1, 1), (1, 1)), with_bias=False)(x)
        x = _unit(_normal(x, train), maps, train, size=1)
    return hk.Linear(CLASSES)(x.mean((1, 2)))


def _pool(x):
    return hk.max_pool(x, (2, 2, 1), (2, 2, 1), "VALID")


def _unit(x, maps, train, *, size=3, stride=1, act=True):
    pads = (size // 2, size // 2)
    x = hk.Conv2D(maps, size, stride, padding=(pads, pads), with_bias=False)(x)
    return _normal(x, train, act=act)


def _normal(x, train, *, act=True):
    x = hk.BatchNorm(create_scale=True, create_offset=True, decay_rate=0.9, eps=1e-5)(x, is_training=train)
    return jax.nn.relu(x) if act else x


_NETS = {"lenet": lenet, "vgg": vgg, "resnet20": resnet20, "depthwise": depthwise}
