"""Layers that pool to a given number of values, whatever the image's size."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass

import jax

from jaxcnn import functional as F
from jaxcnn.functional.adaptive_pooling import pyramid_levels
from jaxcnn.functional.window import Size, pair
from jaxcnn.layers.fields import settle_flags
from jaxcnn.layers.layer import Layer, Params, State
from jaxcnn.layers.serialization import register

__all__ = ["AdaptiveAvgPool", "AdaptiveMaxPool", "GlobalAvgPool", "GlobalMaxPool", "SpatialPyramidPool"]


@register
@dataclass(frozen=True)
class GlobalAvgPool(Layer):
    """The mean of each channel over the image; see `functional.global_avg_pool`."""

    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        """Return (..., C)."""
        return F.global_avg_pool(x), state


@register
@dataclass(frozen=True)
class GlobalMaxPool(Layer):
    """The maximum of each channel over the image; see `functional.global_max_pool`."""

    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        """Return (..., C)."""
        return F.global_max_pool(x), state


@dataclass(frozen=True)
class _AdaptivePool(Layer):
    size: Size

    def __post_init__(self) -> None:
        """Make the size a tuple."""
        object.__setattr__(self, "size", pair(type(self).__name__, "size", self.size))


@register
@dataclass(frozen=True)
class AdaptiveAvgPool(_AdaptivePool):
    """The means of `size` windows spread evenly over the image; see `functional.adaptive_avg_pool`."""

    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        """Return (..., H', W', C), (H', W') the size."""
        return F.adaptive_avg_pool(x, self.size), state


@register
@dataclass(frozen=True)
class AdaptiveMaxPool(_AdaptivePool):
    """The maxima of `size` windows spread evenly over the image; see `functional.adaptive_max_pool`."""

    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        """Return (..., H', W', C), (H', W') the size."""
        return F.adaptive_max_pool(x, self.size), state


@register
@dataclass(frozen=True)
class SpatialPyramidPool(Layer):
    """Each image as one vector, pooled to l x l for each level l; see `functional.spatial_pyramid_pool`."""

    levels: Sequence[int] = (1, 2, 4)
    _: KW_ONLY
    average: bool = False

    def __post_init__(self) -> None:
        """Make the levels a tuple."""
        object.__setattr__(self, "levels", pyramid_levels("SpatialPyramidPool", self.levels))
        settle_flags(self)

    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        """Return (..., C * sum of l^2)."""
        return F.spatial_pyramid_pool(x, self.levels, average=self.average), state
