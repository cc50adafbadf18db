"""A described net in Flax's older interface, linen."""

# ruff: noqa: D102

from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from experiments.benchmarks.nets import Training, linen
from experiments.benchmarks.nets.description import Part


class Described(nn.Module):
    part: Part
    dtype: Any

    @nn.compact
    def __call__(self, x, train):
        kind, options, dtype = self.part.kind, dict(self.part.options), self.dtype
        if kind == "chain":
            for part in self.part.parts:
                x = Described(part, dtype)(x, train)
            return x
        if kind == "sum":
            branch, shortcut = (Described(part, dtype)(x, train) for part in self.part.parts)
            return branch + shortcut
        if kind == "batch_norm":
            return nn.BatchNorm(use_running_average=not train, dtype=dtype, **options)(x)
        if kind in LAYERS:
            return LAYERS[kind](dtype=dtype, **options)(x)
        if kind == "scale":
            return x * self.param("scale", nn.initializers.constant(1e-6), (x.shape[-1],)).astype(dtype)
        return partial(FUNCTIONS[kind], **options)(x)


LAYERS = {"conv": nn.Conv, "dense": nn.Dense, "layer_norm": nn.LayerNorm}
FUNCTIONS = {
    "max_pool": nn.max_pool,
    "mean": lambda x: jnp.mean(x, (1, 2)),
    "flatten": lambda x: x.reshape(x.shape[0], -1),
    "relu": nn.relu,
    "gelu": partial(nn.gelu, approximate=False),
}


def training(part: Part, shape: tuple[int, ...], dtype: Any) -> Training:
    return linen.training(Described(part, dtype), shape, dtype)
