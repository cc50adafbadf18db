"""A described net in Flax's newer interface, nnx."""

# ruff: noqa: D102

from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import nnx

from experiments.benchmarks.nets import Training
from experiments.benchmarks.nets import nnx as small_nets
from experiments.benchmarks.nets.described_linen import FUNCTIONS
from experiments.benchmarks.nets.description import Part


def made(part: Part, dtype: Any, rngs: nnx.Rngs) -> nnx.Module:
    """Return the module of a description."""
    kind, inputs, options = part.kind, part.inputs, dict(part.options)
    if kind in ("chain", "sum"):
        return {"chain": Chain, "sum": Sum}[kind]([made(one, dtype, rngs) for one in part.parts])
    if kind == "conv":
        return Plain(nnx.Conv(inputs, options.pop("features"), dtype=dtype, rngs=rngs, **options))
    if kind == "dense":
        return Plain(nnx.Linear(inputs, options.pop("features"), dtype=dtype, rngs=rngs, **options))
    if kind == "layer_norm":
        return Plain(nnx.LayerNorm(inputs, dtype=dtype, rngs=rngs, **options))
    if kind == "batch_norm":
        return Norm(nnx.BatchNorm(inputs, dtype=dtype, rngs=rngs, **options))
    return Scale(inputs, dtype) if kind == "scale" else Plain(partial(FUNCTIONS[kind], **options))


class Chain(nnx.Module):
    def __init__(self, parts):
        self.parts = nnx.List(parts)

    def __call__(self, x, train):
        for part in self.parts:
            x = part(x, train)
        return x


class Sum(nnx.Module):
    def __init__(self, parts):
        self.branch, self.shortcut = parts

    def __call__(self, x, train):
        return self.branch(x, train) + self.shortcut(x, train)


class Plain(nnx.Module):
    def __init__(self, inner):
        self.inner = inner

    def __call__(self, x, train):
        return self.inner(x)


class Norm(Plain):
    def __call__(self, x, train):
        return self.inner(x, use_running_average=not train)


class Scale(nnx.Module):
    def __init__(self, inputs, dtype):
        self.scale, self.dtype = nnx.Param(jnp.full((inputs,), 1e-6)), dtype

    def __call__(self, x, train):
        return x * self.scale[...].astype(self.dtype)


def training(part: Part, dtype: Any) -> Training:
    return small_nets.training(lambda key: made(part, dtype, nnx.Rngs(key)))
