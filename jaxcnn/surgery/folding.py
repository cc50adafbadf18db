"""Batch norm as a part of the convolution before it."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn import functional as F
from jaxcnn.checking import expect
from jaxcnn.layers.batch_norm import BatchNorm
from jaxcnn.layers.composition import Sequential, keep
from jaxcnn.layers.convolution import Conv
from jaxcnn.layers.layer import Layer, Module, Params, State, expect_arrays, expect_net
from jaxcnn.layers.linear import Dense
from jaxcnn.layers.separable import DepthwiseConv
from jaxcnn.layers.transposed import ConvTranspose
from jaxcnn.surgery.tree import children_of, rebuilt, unwrapped

__all__ = ["fold_batch_norm"]


def fold_batch_norm(net: Layer, params: Params, state: State) -> tuple[Any, Params, State]:
    """Return an equal net for inference in which convolutions do the work of the batch norms right after them.

    kernel' = kernel g, bias' = (bias - mean) g + beta, with g = gamma / sqrt(var + eps): so for `Conv`,
    `DepthwiseConv`, `ConvTranspose` and `Dense` in a `Sequential`, at any depth. Other batch norms stay: those before a
    convolution, and those after a pooling.

    Args:
        net: a layer.
        params, state: its weights and running statistics.

    Returns:
        net, params, state: the layers have a bias, the batch norms are gone, all other paths are as they were. For
        `train=False` alone: trained on, it is another net.

    Raises:
        ValueError: no batch norm comes right after such a layer.

    Source: Jacob et al. 2018, section 3.2.
    """
    expect_net("fold_batch_norm", net)
    expect_arrays("fold_batch_norm", "params", params)
    expect_arrays("fold_batch_norm", "state", state)
    folded = _folded(net, params, state)
    what = "a net with a BatchNorm right after a convolution or a dense layer"
    expect(folded[0] != net, "fold_batch_norm", what, "none", "There is nothing to fold.")
    return folded


def _folded(module: Any, params: Any, state: Any) -> tuple[Any, Any, Any]:
    children, chained = children_of(module), isinstance(unwrapped(module), Sequential)
    if not children:
        return module, params, state
    params, state = (dict(tree) if isinstance(tree, Mapping) else {} for tree in (params, state))
    new: dict[str, Module] = {}
    last = None  # the layer just before, where it can take up a batch norm
    for name, child in children.items():
        if chained and last is not None and isinstance(child, BatchNorm):
            layer, affine, stats = params.get(last), params.pop(name, {}), state.pop(name, None)
            known = isinstance(layer, Mapping) and "kernel" in layer and isinstance(affine, Mapping)
            fix = "Pass the params and the state that init returned for this net."
            what = f"the weights of {last!r} and {name!r}"
            expect(known and isinstance(stats, F.BatchStats), "fold_batch_norm", what, "others", fix)
            params[last] = _scaled(params[last], child, affine, stats)
            new[last] = dataclasses.replace(new[last], use_bias=True)  # pyrefly: ignore
            last = None
            continue
        new[name], p, s = _folded(child, params.get(name, {}), state.get(name, {}))
        for tree, part in ((params, p), (state, s)):
            tree.pop(name, None)
            keep(tree, name, part)
        last = name if isinstance(child, Conv | DepthwiseConv | Dense | ConvTranspose) else None
    return rebuilt(module, new), params, state


def _scaled(layer: Mapping[str, jax.Array], norm: BatchNorm, affine: Any, stats: Any) -> dict[str, jax.Array]:
    gain = affine.get("scale", 1.0) * jax.lax.rsqrt(stats.var + norm.eps)
    bias = (layer.get("bias", 0.0) - stats.mean) * gain + affine.get("bias", 0.0)
    return {"kernel": layer["kernel"] * gain, "bias": jnp.asarray(bias)}
