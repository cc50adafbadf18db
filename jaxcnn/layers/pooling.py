"""Pooling layers."""

from dataclasses import KW_ONLY, dataclass

import jax

from jaxcnn import functional as F
from jaxcnn.functional.window import Padding, Size, normalise_padding, pair
from jaxcnn.layers.layer import Layer, Params, State
from jaxcnn.layers.serialization import register

__all__ = ["AvgPool", "GlobalAvgPool", "MaxPool"]


@dataclass(frozen=True)
class _Pool(Layer):
    window: Size = 2
    _: KW_ONLY
    stride: Size | None = None
    padding: Padding = "VALID"

    def __post_init__(self) -> None:
        """Normalise sizes and padding to tuples."""
        where = type(self).__name__
        object.__setattr__(self, "window", pair(where, "window", self.window))
        stride = self.window if self.stride is None else pair(where, "stride", self.stride)
        object.__setattr__(self, "stride", None if stride == self.window else stride)
        object.__setattr__(self, "padding", normalise_padding(where, self.padding))


@register
@dataclass(frozen=True)
class MaxPool(_Pool):
    """The maximum of each window; see `functional.max_pool`. `stride` defaults to `window`."""

    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        """Return (..., H', W', C)."""
        return F.max_pool(x, self.window, stride=self.stride, padding=self.padding), state


@register
@dataclass(frozen=True)
class AvgPool(_Pool):
    """The mean of each window; see `functional.avg_pool`. `stride` defaults to `window`."""

    count_include_pad: bool = True

    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        """Return (..., H', W', C)."""
        y = F.avg_pool(
            x,
            self.window,
            stride=self.stride,
            padding=self.padding,
            count_include_pad=self.count_include_pad,
        )
        return y, state


@register
@dataclass(frozen=True)
class GlobalAvgPool(Layer):
    """The mean of each channel over the image; see `functional.global_avg_pool`."""

    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        """Return (..., C)."""
        return F.global_avg_pool(x), state
