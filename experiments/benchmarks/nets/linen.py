"""The nets in Flax's older interface, linen."""

# ruff: noqa: D102

from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from experiments.benchmarks.nets import CLASSES, DEPTHWISE, LENET, NETS, RESNET20, RESNET50, STEM, VGG, Training, train


def build(name: str, dtype: Any, shape: tuple[int, ...] | None = None) -> Training:
    return training(_NETS[name](dtype=dtype), (1, *(shape or NETS[name])), dtype)


def training(net: nn.Module, shape: tuple[int, ...], dtype: Any) -> Training:
    """Return the training of a net on images of a shape, batch axis included."""

    def init(key):
        variables = net.init(key, jnp.zeros(shape, dtype), train=False)
        return variables["params"], variables.get("batch_stats", {})

    def apply(params, stats, image, *, train):
        variables = {"params": params, "batch_stats": stats}
        if not train:
            return net.apply(variables, image, train=False), stats
        logits, updated = net.apply(variables, image, train=True, mutable=["batch_stats"])
        return logits, updated.get("batch_stats", {})

    return train(init, apply)


class LeNet(nn.Module):
    dtype: Any

    @nn.compact
    def __call__(self, x, train):
        for maps in LENET[:2]:
            x = nn.relu(nn.Conv(maps, (5, 5), dtype=self.dtype)(x))
            x = nn.max_pool(x, (2, 2), (2, 2))
        x = x.reshape(x.shape[0], -1)
        x = nn.relu(nn.Dense(LENET[2], dtype=self.dtype)(x))
        return nn.Dense(CLASSES, dtype=self.dtype)(x)


class Unit(nn.Module):
    maps: int
    dtype: Any
    size: int = 3
    stride: int = 1
    groups: int = 1
    act: bool = True

    @nn.compact
    def __call__(self, x, train):
        x = nn.Conv(
            self.maps,
            (self.size, self.size),
            self.stride,
            padding=self.size // 2,
            feature_group_count=self.groups,
            use_bias=False,
            dtype=self.dtype,
        )(x)
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9, epsilon=1e-5, dtype=self.dtype)(x)
        return nn.relu(x) if self.act else x


class VGGNet(nn.Module):
    dtype: Any

    @nn.compact
    def __call__(self, x, train):
        for maps in VGG:
            x = nn.max_pool(x, (2, 2), (2, 2)) if maps == "pool" else Unit(maps, self.dtype)(x, train)
        return nn.Dense(CLASSES, dtype=self.dtype)(x.mean((1, 2)))


class ResNet20(nn.Module):
    dtype: Any

    @nn.compact
    def __call__(self, x, train):
        x = Unit(RESNET20[0][0], self.dtype)(x, train)
        for maps, stride in RESNET20:
            y = Unit(maps, self.dtype, stride=stride)(x, train)
            y = Unit(maps, self.dtype, act=False)(y, train)
            if stride != 1:
                new = maps - x.shape[-1]
                x = jnp.pad(x[:, ::stride, ::stride], ((0, 0), (0, 0), (0, 0), (new // 2, new - new // 2)))
            x = nn.relu(y + x)
        return nn.Dense(CLASSES, dtype=self.dtype)(x.mean((1, 2)))


class DepthwiseNet(nn.Module):
    dtype: Any

    @nn.compact
    def __call__(self, x, train):
        x = Unit(STEM, self.dtype)(x, train)
        for maps, stride in DEPTHWISE:
            channels = x.shape[-1]
            x = Unit(channels, self.dtype, stride=stride, groups=channels)(x, train)
            x = Unit(maps, self.dtype, size=1)(x, train)
        return nn.Dense(CLASSES, dtype=self.dtype)(x.mean((1, 2)))


class ResNet50(nn.Module):
    dtype: Any
    classes: int = 1000

    @nn.compact
    def __call__(self, x, train):
        unit = partial(Unit, dtype=self.dtype)
        x = unit(64, size=7, stride=2)(x, train)
        x = nn.max_pool(x, (3, 3), (2, 2), padding=((1, 1), (1, 1)))
        for maps, blocks, stage_stride in RESNET50:
            for block in range(blocks):
                stride = stage_stride if block == 0 else 1
                y = unit(maps, size=1)(x, train)
                y = unit(maps, stride=stride)(y, train)
                y = unit(4 * maps, size=1, act=False)(y, train)
                if block == 0:
                    x = unit(4 * maps, size=1, stride=stride, act=False)(x, train)
                x = nn.relu(y + x)
        return nn.Dense(self.classes, dtype=self.dtype)(x.mean((1, 2)))


_NETS = {"lenet": LeNet, "vgg": VGGNet, "resnet20": ResNet20, "depthwise": DepthwiseNet, "resnet50": ResNet50}
