"""Maps that stay large: strides taken out of a net, whose later convolutions are dilated instead."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jaxcnn.checking import expect, shown
from jaxcnn.layers.auxiliary import Auxiliary
from jaxcnn.layers.composition import Sequential
from jaxcnn.layers.filtering import MovingSum
from jaxcnn.layers.gate import Gate
from jaxcnn.layers.layer import Layer, rebuild, show
from jaxcnn.layers.local_conv import LocalConv
from jaxcnn.layers.local_norm import LocalContrastNorm
from jaxcnn.layers.pooling import AvgPool, LpPool, MaxPool
from jaxcnn.layers.transposed import ConvTranspose
from jaxcnn.layers.upsampling import Upsample
from jaxcnn.surgery.reach import Pair, as_layer, reach_of
from jaxcnn.surgery.tree import COMPOSED, Around, children_of, paths_in, wrap_at

__all__ = ["dilate"]

ONCE = (1, 1)
FIXED = ConvTranspose | LocalContrastNorm | LocalConv | LpPool | MovingSum | Upsample  # what cannot look further apart


def dilate(net: Layer, at: Sequence[str]) -> Any:
    """Return the net without the strides that the layers at the given paths have inside.

    Their maps stay as large as they come in, and whatever comes after a stride that is gone looks as many times further
    apart: the same parameters see the same pixels, at more places. Of a net with paddings in numbers, the new maps are
    the old ones at every s-th pixel, s the product of the strides. "SAME", of which it depends on the size where it
    begins, stays. Pooling has no gaps between its pixels: its windows grow.

    Args:
        net: a layer.
        at: paths of layers, such as ["stage3", "stage4"].

    Returns:
        A net that takes the same params and state.

    Raises:
        ValueError: an unknown path; a layer that cannot look further apart, such as a transposed convolution, or
            that does not say how far it looks, such as one of Flax.

    Source: Holschneider et al. 1989 (the algorithme a trous); Chen et al. 2017, section 3.1. Of a ResNet it agrees with
    torchvision's replace_stride_with_dilation.
    """
    return _walk(wrap_at("dilate", net, dict.fromkeys(paths_in("dilate", at), _Strideless)), ONCE, False)[0]


@dataclass(frozen=True)
class _Strideless(Around):
    """Marks the layers whose strides go."""


def _walk(module: Any, rate: Pair, free: bool) -> tuple[Any, Pair]:
    """Return a layer that is given maps `rate` times too large, without strides if `free`, and the rate after it."""
    if isinstance(module, _Strideless):
        return _walk(module.inner, rate, True)
    if isinstance(module, Around):
        inner, after = _walk(module.inner, rate, free)
        return dataclasses.replace(module, inner=inner), after
    children = children_of(module)
    if not children:
        return _further_apart(as_layer(module), rate, free)
    fix = "Only of Sequential, Residual, Concat, Gate and Auxiliary is it known what their parts are given."
    expect(isinstance(module, COMPOSED), "dilate", "a net of known composites", type(module).__name__, fix)
    chained, taps = isinstance(module, Sequential | Auxiliary), dict(getattr(module, "taps", ()))
    inside, made, rates = rate, {}, {}
    for name, child in children.items():
        made[name], rates[name] = _walk(child, rates[taps[name]] if name in taps else inside, free)
        if chained and name not in taps:
            inside = rates[name]
    after = inside if chained or isinstance(module, Gate) else next(iter(rates.values()))
    return rebuild(module, made), after


def _further_apart(layer: Any, rate: Pair, free: bool) -> tuple[Any, Pair]:
    if rate == ONCE and not free:
        return layer, rate
    found = reach_of(layer)
    if found is None:
        fix = "Where one works pixel by pixel, say kernel_size = 1 in its class."
        expect(False, "dilate", "layers that say how far they look", shown(layer), fix)
        raise AssertionError
    size, stride = found.window, found.stride if hasattr(layer, "stride") else ONCE
    goes = free and stride != ONCE
    if rate == ONCE and not goes:
        return layer, rate
    fix = "Leave its part of the net as it is, or surgery.replace it."
    expect(not isinstance(layer, FIXED), "dilate", "layers that can look further apart", show(layer), fix)
    changes: dict[str, Any] = {"stride": 1 if goes else layer.stride or size} if hasattr(layer, "stride") else {}
    reach = [(k - 1) * d * r for k, d, r in zip(size, found.dilation, rate, strict=True)]
    if isinstance(layer, MaxPool | AvgPool):
        changes["window"] = tuple(n + 1 for n in reach)
    elif hasattr(layer, "dilation"):
        gaps = zip(size, found.dilation, rate, strict=True)
        changes["dilation"] = tuple(d * r if k > 1 else d for k, d, r in gaps)
    padding = getattr(layer, "padding", "SAME")
    if padding == "VALID" and goes:  # as many maps as come in, the first where it was
        padding = ((0, 0), (0, 0))
        changes |= {"count_include_pad": False} if isinstance(layer, AvgPool) else {}
    if not isinstance(padding, str):
        ends = [(before * r, max(n - before * r, 0)) for (before, _), r, n in zip(padding, rate, reach, strict=True)]
        changes["padding"] = ends if goes else [(a * r, b * r) for (a, b), r in zip(padding, rate, strict=True)]
    after = (rate[0] * stride[0], rate[1] * stride[1]) if goes else rate
    return (dataclasses.replace(layer, **changes) if changes else layer), after
