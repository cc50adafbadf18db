"""The nets in Equinox: one example at a time, channels first, batched by `jax.vmap`."""

# ruff: noqa: D102

from typing import Any

import equinox as eqx  # pyrefly: ignore
import jax
import jax.numpy as jnp

from experiments.benchmarks.nets import CLASSES, DEPTHWISE, LENET, RESNET20, STEM, VGG, Training, train


def build(name: str, dtype: Any) -> Training:
    if dtype != jnp.float32:
        raise NotImplementedError("Equinox's layers have one dtype for parameters and activations")

    def make(key):
        return eqx.nn.make_with_state(lambda: eqx.nn.Sequential(_NETS[name](_keys(key))))()

    static = eqx.partition(make(jax.random.key(0))[0], eqx.is_inexact_array)[1]

    def init(key):
        net, stats = make(key)
        return eqx.partition(net, eqx.is_inexact_array)[0], stats

    def apply(params, stats, image, *, train):
        net = eqx.nn.inference_mode(eqx.combine(params, static), not train)
        return jax.vmap(net, in_axes=(0, None), out_axes=(0, None), axis_name="batch")(image, stats)

    return train(init, apply, channels_first=True)


def lenet(keys):
    first, second, units = LENET
    return [
        eqx.nn.Conv2d(1, first, 5, padding=2, key=next(keys)),
        eqx.nn.Lambda(jax.nn.relu),
        eqx.nn.MaxPool2d(2, 2),
        eqx.nn.Conv2d(first, second, 5, padding=2, key=next(keys)),
        eqx.nn.Lambda(jax.nn.relu),
        eqx.nn.MaxPool2d(2, 2),
        eqx.nn.Lambda(jnp.ravel),
        eqx.nn.Linear(7 * 7 * second, units, key=next(keys)),
        eqx.nn.Lambda(jax.nn.relu),
        eqx.nn.Linear(units, CLASSES, key=next(keys)),
    ]


def vgg(keys):
    layers, channels = [], 3
    for maps in VGG:
        if maps == "pool":
            layers.append(eqx.nn.MaxPool2d(2, 2))
        else:
            layers += _unit(channels, maps, keys)
            channels = maps
    return [*layers, *_head(channels, keys)]


def resnet20(keys):
    channels = RESNET20[0][0]
    layers = _unit(3, channels, keys)
    for maps, stride in RESNET20:
        layers.append(Block(channels, maps, stride, keys))
        channels = maps
    return [*layers, *_head(channels, keys)]


def depthwise(keys):
    layers, channels = _unit(3, STEM, keys), STEM
    for maps, stride in DEPTHWISE:
        layers += _unit(channels, channels, keys, stride=stride, groups=channels)
        layers += _unit(channels, maps, keys, size=1)
        channels = maps
    return [*layers, *_head(channels, keys)]


class Block(eqx.nn.StatefulLayer):
    branch: eqx.nn.Sequential
    stride: int = eqx.field(static=True)
    new: int = eqx.field(static=True)

    def __init__(self, channels, maps, stride, keys):
        self.branch = eqx.nn.Sequential(
            [*_unit(channels, maps, keys, stride=stride), *_unit(maps, maps, keys, act=False)]
        )
        self.stride, self.new = stride, maps - channels

    def __call__(self, x, state, *, key=None):
        y, state = self.branch(x, state)
        x = x[:, :: self.stride, :: self.stride]
        x = jnp.pad(x, ((self.new // 2, self.new - self.new // 2), (0, 0), (0, 0)))
        return jax.nn.relu(y + x), state


def _unit(channels, maps, keys, *, size=3, stride=1, groups=1, act=True) -> list[Any]:
    conv = eqx.nn.Conv2d(channels, maps, size, stride, padding=size // 2, groups=groups, use_bias=False, key=next(keys))
    norm = eqx.nn.BatchNorm(maps, "batch", momentum=0.9, eps=1e-5, mode="batch")
    return [conv, norm, eqx.nn.Lambda(jax.nn.relu)] if act else [conv, norm]


def _head(channels, keys) -> list[Any]:
    mean = eqx.nn.Lambda(lambda x: x.mean((1, 2)))
    return [mean, eqx.nn.Linear(channels, CLASSES, key=next(keys))]


def _keys(key):
    while True:
        key, one = jax.random.split(key)
        yield one


_NETS = {"lenet": lenet, "vgg": vgg, "resnet20": resnet20, "depthwise": depthwise}
