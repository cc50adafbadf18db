"""The nets in jaxcnn, trained by its own step, which also measures the accuracy."""

from typing import Any

import jax

from experiments.benchmarks.nets import CLASSES, DEPTHWISE, LENET, NETS, RESNET50, STEM, VGG, Training, optimizer
from jaxcnn import functional as F
from jaxcnn.layers import BatchNorm, Conv, Dense, Flatten, GlobalAvgPool, Layer, MaxPool, Residual, Sequential
from jaxcnn.models import cifar_resnet
from jaxcnn.training import TrainState, make_train_step


def build(name: str, dtype: Any, shape: tuple[int, ...] | None = None) -> Training:
    return training(_NETS[name](), (1, *(shape or NETS[name])), dtype)


def training(net: Any, shape: tuple[int, ...], dtype: Any) -> Training:
    """Return the training of a net on images of a shape, batch axis included."""
    spec = jax.ShapeDtypeStruct(shape, dtype)
    return Training(
        lambda key: TrainState.create(net, optimizer(), key, spec),
        make_train_step(net, optimizer(), dtype=dtype),
        lambda state, image: net.apply(state.params, state.model_state, image, train=False)[0],
        lambda state: state.params,
    )


def lenet() -> Layer:
    first, second, units = LENET
    return Sequential(
        conv1=Conv(first, 5),
        act1=F.relu,
        pool1=MaxPool(2),
        conv2=Conv(second, 5),
        act2=F.relu,
        pool2=MaxPool(2),
        flatten=Flatten(),
        dense1=Dense(units),
        act3=F.relu,
        head=Dense(CLASSES),
    )


def vgg() -> Layer:
    stages = [MaxPool(2) if maps == "pool" else _unit(maps) for maps in VGG]
    return Sequential(*stages, GlobalAvgPool(), Dense(CLASSES))


def depthwise() -> Layer:
    blocks, channels = [], STEM
    for maps, stride in DEPTHWISE:
        blocks += [_unit(channels, 3, stride=stride, groups=channels), _unit(maps, 1)]
        channels = maps
    return Sequential(_unit(STEM), *blocks, GlobalAvgPool(), Dense(CLASSES))


def resnet50(classes: int = 1000) -> Layer:
    """Return the net with strides in the 3x3 convolutions: 25,557,032 parameters."""
    blocks = [_bottleneck(maps, stride if i == 0 else 1, i == 0) for maps, n, stride in RESNET50 for i in range(n)]
    return Sequential(_unit(64, 7, stride=2), MaxPool(3, stride=2, padding=1), *blocks, GlobalAvgPool(), Dense(classes))


def _bottleneck(maps: int, stride: int, project: bool) -> Layer:
    branch = Sequential(_unit(maps, 1), _unit(maps, 3, stride=stride), _unit(4 * maps, 1, act=False))
    return Sequential(Residual(branch, _unit(4 * maps, 1, stride=stride, act=False) if project else None), F.relu)


def _unit(maps: int, size: int = 3, *, act: bool = True, **options: Any) -> Sequential:
    conv = Conv(maps, size, padding=size // 2, use_bias=False, **options)
    return Sequential(conv, BatchNorm(), F.relu) if act else Sequential(conv, BatchNorm())


_NETS = {
    "lenet": lenet,
    "vgg": vgg,
    "resnet20": lambda: cifar_resnet(20, CLASSES),
    "depthwise": depthwise,
    "resnet50": resnet50,
}
