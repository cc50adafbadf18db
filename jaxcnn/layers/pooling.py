"""Pooling layers."""

from dataclasses import KW_ONLY, dataclass

import jax

from jaxcnn import functional as F
from jaxcnn.functional.pooling import norm_order
from jaxcnn.functional.window import Padding, Size, normalise_padding, pair
from jaxcnn.layers.fields import settle_flags
from jaxcnn.layers.layer import Layer, Params, State
from jaxcnn.layers.serialization import register

__all__ = ["AvgPool", "LpPool", "MaxPool"]


@dataclass(frozen=True)
class _Pool(Layer):
    window: Size = 2
    _: KW_ONLY
    stride: Size | None = None
    padding: Padding = "VALID"
    ceil_mode: bool = False

    def __post_init__(self) -> None:
        """Normalise sizes and padding to tuples."""
        where = type(self).__name__
        object.__setattr__(self, "window", pair(where, "window", self.window))
        stride = self.window if self.stride is None else pair(where, "stride", self.stride)
        object.__setattr__(self, "stride", None if stride == self.window else stride)
        object.__setattr__(self, "padding", normalise_padding(where, self.padding))
        settle_flags(self)


@register
@dataclass(frozen=True)
class MaxPool(_Pool):
    """The maximum of each window; see `functional.max_pool`. `stride` defaults to `window`."""

    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        """Return (..., H', W', C)."""
        y = F.max_pool(x, self.window, stride=self.stride, padding=self.padding, ceil_mode=self.ceil_mode)
        return y, state


@register
@dataclass(frozen=True)
class AvgPool(_Pool):
    """The mean of each window; see `functional.avg_pool`. `stride` defaults to `window`."""

    _: KW_ONLY
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
            ceil_mode=self.ceil_mode,
            count_include_pad=self.count_include_pad,
        )
        return y, state


@register
@dataclass(frozen=True)
class LpPool(_Pool):
    """The p-norm of each window; see `functional.lp_pool`. `stride` defaults to `window`."""

    _: KW_ONLY
    p: float = 2.0

    def __post_init__(self) -> None:
        """Normalise sizes and padding to tuples and make p a float."""
        super().__post_init__()
        object.__setattr__(self, "p", norm_order("LpPool", self.p))

    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        """Return (..., H', W', C)."""
        y = F.lp_pool(x, self.window, p=self.p, stride=self.stride, padding=self.padding, ceil_mode=self.ceil_mode)
        return y, state
