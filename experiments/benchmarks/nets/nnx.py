"""The nets in Flax's newer interface, nnx, split into graph and state outside of `jax.jit`: its fast form."""

# ruff: noqa: D102

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import nnx

from experiments.benchmarks.nets import CLASSES, DEPTHWISE, LENET, RESNET20, STEM, VGG, Training, train


def build(name: str, dtype: Any) -> Training:
    return training(lambda key: _NETS[name](dtype, nnx.Rngs(key)))


def training(make: Callable[[Any], nnx.Module]) -> Training:
    """Return the training of a net that is made from a key and called with images and whether it trains."""
    graph = nnx.graphdef(make(0))

    def init(key):
        return nnx.split(make(key), nnx.Param, ...)[1:]

    def apply(params, stats, image, *, train):
        net = nnx.merge(graph, params, stats, copy=True)
        logits = net(image, train)
        return logits, nnx.split(net, nnx.Param, ...)[2]

    return train(init, apply)


class LeNet(nnx.Module):
    def __init__(self, dtype, rngs):
        first, second, units = LENET
        self.conv1 = nnx.Conv(1, first, (5, 5), dtype=dtype, rngs=rngs)
        self.conv2 = nnx.Conv(first, second, (5, 5), dtype=dtype, rngs=rngs)
        self.dense1 = nnx.Linear(7 * 7 * second, units, dtype=dtype, rngs=rngs)
        self.head = nnx.Linear(units, CLASSES, dtype=dtype, rngs=rngs)

    def __call__(self, x, train):
        x = nnx.max_pool(nnx.relu(self.conv1(x)), (2, 2), (2, 2))
        x = nnx.max_pool(nnx.relu(self.conv2(x)), (2, 2), (2, 2))
        x = nnx.relu(self.dense1(x.reshape(x.shape[0], -1)))
        return self.head(x)


class Unit(nnx.Module):
    def __init__(self, channels, maps, dtype, rngs, *, size=3, stride=1, groups=1, act=True):
        self.conv = nnx.Conv(
            channels,
            maps,
            (size, size),
            stride,
            padding=size // 2,
            feature_group_count=groups,
            use_bias=False,
            dtype=dtype,
            rngs=rngs,
        )
        self.norm = nnx.BatchNorm(maps, momentum=0.9, epsilon=1e-5, dtype=dtype, rngs=rngs)
        self.act = act

    def __call__(self, x, train):
        x = self.norm(self.conv(x), use_running_average=not train)
        return nnx.relu(x) if self.act else x


class Net(nnx.Module):
    """Blocks one after another, the mean over the image, a linear map."""

    def __init__(self, blocks, channels, dtype, rngs):
        self.blocks = nnx.List(blocks)
        self.head = nnx.Linear(channels, CLASSES, dtype=dtype, rngs=rngs)

    def __call__(self, x, train):
        for block in self.blocks:
            x = block(x, train)
        return self.head(x.mean((1, 2)))


class Pool(nnx.Module):
    def __call__(self, x, train):
        return nnx.max_pool(x, (2, 2), (2, 2))


class Block(nnx.Module):
    def __init__(self, channels, maps, stride, dtype, rngs):
        self.unit1 = Unit(channels, maps, dtype, rngs, stride=stride)
        self.unit2 = Unit(maps, maps, dtype, rngs, act=False)
        self.stride, self.new = stride, maps - channels

    def __call__(self, x, train):
        y = self.unit2(self.unit1(x, train), train)
        if self.stride != 1:
            pads = ((0, 0), (0, 0), (0, 0), (self.new // 2, self.new - self.new // 2))
            x = jnp.pad(x[:, :: self.stride, :: self.stride], pads)
        return nnx.relu(y + x)


def vgg(dtype, rngs):
    blocks, channels = [], 3
    for maps in VGG:
        blocks.append(Pool() if maps == "pool" else Unit(channels, maps, dtype, rngs))
        channels = channels if maps == "pool" else maps
    return Net(blocks, channels, dtype, rngs)


def resnet20(dtype, rngs):
    channels = RESNET20[0][0]
    blocks: list[nnx.Module] = [Unit(3, channels, dtype, rngs)]
    for maps, stride in RESNET20:
        blocks.append(Block(channels, maps, stride, dtype, rngs))
        channels = maps
    return Net(blocks, channels, dtype, rngs)


def depthwise(dtype, rngs):
    blocks, channels = [Unit(3, STEM, dtype, rngs)], STEM
    for maps, stride in DEPTHWISE:
        blocks += [
            Unit(channels, channels, dtype, rngs, stride=stride, groups=channels),
            Unit(channels, maps, dtype, rngs, size=1),
        ]
        channels = maps
    return Net(blocks, channels, dtype, rngs)


_NETS = {"lenet": LeNet, "vgg": vgg, "resnet20": resnet20, "depthwise": depthwise}
