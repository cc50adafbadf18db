"""Three small nets with random weights; `torch_twins` has them in PyTorch."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn import functional as F
from jaxcnn import training
from jaxcnn.layers import BatchNorm, Conv, Dense, Flatten, GlobalAvgPool, MaxPool, Residual, Sequential

CLASSES = 5
SPEC = jax.ShapeDtypeStruct((1, 12, 12, 3), jnp.float32)


class Case(NamedTuple):
    name: str
    net: Sequential
    params: Any
    state: Any

    @property
    def logits_fn(self):
        return training.predictor(self.net, self.params, self.state)


def _block(features: int) -> Residual:
    branch = Sequential(
        conv1=Conv(features, padding=1, use_bias=False),
        bn1=BatchNorm(),
        act=F.relu,
        conv2=Conv(features, padding=1, use_bias=False),
        bn2=BatchNorm(),
    )
    return Residual(branch)


NETS = {
    "plain": Sequential(
        conv1=Conv(8, padding=1), act1=F.relu, pool1=MaxPool(2),
        conv2=Conv(12, padding=1), act2=F.relu, pool2=MaxPool(2),
        flatten=Flatten(), fc1=Dense(16), act3=F.relu, fc2=Dense(CLASSES),
    ),
    "batchnorm": Sequential(
        conv1=Conv(8, padding=1), bn1=BatchNorm(), act1=F.relu, pool1=MaxPool(2),
        conv2=Conv(12, padding=1), bn2=BatchNorm(), act2=F.relu, pool=GlobalAvgPool(), head=Dense(CLASSES),
    ),
    "residual": Sequential(
        conv1=Conv(8, padding=1), act1=F.relu, block1=_block(8), act2=F.relu, block2=_block(8), act3=F.relu,
        pool=GlobalAvgPool(), head=Dense(CLASSES),
    ),
}  # fmt: skip


def _made(name: str) -> Case:
    net = NETS[name]
    params, state = net.init(jax.random.key(7), SPEC)
    draw = np.random.default_rng(3)
    # Biases, scales and running statistics that matter.
    params = jax.tree.map(lambda p: p + draw.normal(0, 0.1, p.shape).astype(np.float32), params)
    state = jax.tree.map(lambda s: s + draw.uniform(0, 0.3, s.shape).astype(np.float32), state)
    return Case(name, net, params, state)


CASES = {name: _made(name) for name in NETS}
