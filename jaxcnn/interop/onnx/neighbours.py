"""Layers that are one layer together: what several nodes of a graph do, and one layer here."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxcnn import functional as F
from jaxcnn.interop.onnx.flow import Part
from jaxcnn.layers.adaptive_pooling import AdaptiveAvgPool, AdaptiveMaxPool, GlobalAvgPool, GlobalMaxPool
from jaxcnn.layers.convolution import Conv
from jaxcnn.layers.gate import Gate
from jaxcnn.layers.linear import Dense, Flatten
from jaxcnn.layers.normalize import Normalize
from jaxcnn.layers.pooling import MaxPool
from jaxcnn.models.cifar_resnet import PadShortcut

__all__ = ["joined"]

FLAT = {AdaptiveAvgPool(1): GlobalAvgPool(), AdaptiveMaxPool(1): GlobalMaxPool()}
GATES: dict[Any, Any] = {Gate(F.sigmoid): F.silu, Gate(F.hard_sigmoid): F.hard_silu}


def joined(parts: Sequence[Part]) -> list[Part]:
    """Return the layers, those that are one with the next as one."""
    found: list[Part] = []
    for part in parts:
        both = _both(found[-1], part) if found else None
        if both is not None:
            found[-1:] = [both]
        else:
            found.append(Part(GATES.get(part.layer, part.layer), part.params, part.state))
    return found


def _both(first: Part, second: Part) -> Part | None:
    a: Any = first.layer
    b: Any = second.layer
    if a in FLAT and b == Flatten():
        return Part(FLAT[a])
    if isinstance(b, Normalize) and b.std == (1.0,) and isinstance(a, Dense | Conv) and not a.use_bias:
        bias = np.broadcast_to(-np.asarray(b.mean, np.float32), (a.features,))
        return Part(dataclasses.replace(a, use_bias=True), {**first.params, "bias": bias})
    if isinstance(a, Normalize) and isinstance(b, Normalize) and a.std == (1.0,) and b.mean == (0.0,):
        return Part(Normalize(a.mean, b.std))
    if isinstance(a, MaxPool) and isinstance(b, PadShortcut) and a.window == (1, 1) and b.stride == 1:
        stride: Any = a.stride or (1, 1)
        return (
            Part(PadShortcut(b.features, stride[0]))
            if stride[0] == stride[1] and a == MaxPool(1, stride=stride)
            else None
        )
    return None
