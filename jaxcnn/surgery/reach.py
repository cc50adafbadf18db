"""How far a layer looks around a pixel, where that is known."""

from typing import Any, NamedTuple

from jaxcnn import functional as F
from jaxcnn.functional.window import pair
from jaxcnn.layers.layer import Layer, Module
from jaxcnn.layers.local_norm import LocalContrastNorm
from jaxcnn.layers.pooling import AvgPool, LpPool, MaxPool
from jaxcnn.layers.transposed import ConvTranspose
from jaxcnn.layers.upsampling import Upsample

__all__ = ["Pair", "Reach", "as_layer", "reach_of"]

Pair = tuple[int, int]

LAYERS: dict[Any, Layer] = {
    F.max_pool: MaxPool(),
    F.avg_pool: AvgPool(),
    F.lp_pool: LpPool(),
    F.local_contrast_norm: LocalContrastNorm(),
    F.upsample: Upsample(),
}
"""Functions that look around a pixel, as layers."""


class Reach(NamedTuple):
    """The pixels of a layer's window, between its outputs, and between the taps: (vertical, horizontal) each."""

    window: Pair = (1, 1)
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    enlarges: bool = False  # whether the stride is one of outputs, as in a transposed convolution


def as_layer(module: Module) -> Module:
    """Return a function that looks around a pixel as the layer that does the same, anything else as it is."""
    return next((layer for function, layer in LAYERS.items() if function is module), module)


def reach_of(module: Module) -> Reach | None:
    """Return how far a layer that is not made of others looks, None where that is not known.

    A layer says it by `kernel_size` or `window`, `stride` and `dilation`. One of `jaxcnn.layers` that has none of them
    works pixel by pixel, and so, it is taken, does a function; of another layer without them it is not known. That
    global and adaptive pooling, and group, layer and instance normalization, look at all pixels is not in it.
    """
    layer: Any = as_layer(module)
    if isinstance(layer, Upsample):
        stride = pair("", "", layer.factor)
        return Reach((2 * stride[0] - stride[0] % 2, 2 * stride[1] - stride[1] % 2), stride, enlarges=True)
    if isinstance(layer, LocalContrastNorm):  # deviations around pixels, from means around theirs
        size = 2 * layer.size - 1 if layer.divisive else layer.size
        return Reach((size, size))
    says = any(hasattr(layer, name) for name in ("kernel_size", "window", "stride"))
    if isinstance(layer, Layer) and not says and not type(layer).__module__.startswith("jaxcnn.layers."):
        return None
    window = pair("", "", getattr(layer, "kernel_size", getattr(layer, "window", 1)))
    stride = pair("", "", getattr(layer, "stride", 1) or window)
    dilation = pair("", "", getattr(layer, "dilation", 1))
    return Reach(window, stride, dilation, isinstance(layer, ConvTranspose))
