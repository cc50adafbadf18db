"""Convolution layers."""

from dataclasses import KW_ONLY, dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn import functional as F
from jaxcnn import initializers
from jaxcnn.checking import expect, shown
from jaxcnn.functional.window import IMAGES_ONLY, Padding, Size, normalise_padding, pair
from jaxcnn.layers.fields import expect_initializers, settle_counts, settle_flags, settle_number
from jaxcnn.layers.layer import Layer, Params, Spec, State, channels_of, key_for, parameter
from jaxcnn.layers.serialization import register

__all__ = ["Conv", "StandardizedConv"]


@dataclass(frozen=True)
class _Conv(Layer):
    features: int
    kernel_size: Size = 3
    _: KW_ONLY
    stride: Size = 1
    padding: Padding = "SAME"
    dilation: Size = 1
    groups: int = 1
    use_bias: bool = True
    kernel_init: initializers.Initializer = initializers.he_normal
    bias_init: initializers.Initializer = initializers.zeros

    def __post_init__(self) -> None:
        """Normalise sizes and padding to tuples and check the ranges."""
        settle(self)

    def init(self, key: jax.Array, spec: Spec) -> tuple[Params, State]:
        """Return the kernel and the bias."""
        return kernel_and_bias(self, key, kernel_shape(self, spec)), {}

    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        """Return the maps (..., H', W', features)."""
        where = type(self).__name__
        y = F.conv(
            x,
            self._weights(parameter(where, params, "kernel", self.features)),
            parameter(where, params, "bias") if self.use_bias else None,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )
        return y, state

    def _weights(self, kernel: jax.Array) -> jax.Array:
        """Return what the images are convolved with."""
        return kernel


@register
@dataclass(frozen=True)
class Conv(_Conv):
    """Convolution with a learned bank of kernels; see `functional.conv`.

    Parameters: kernel (kh, kw, C_in / groups, features) and, with `use_bias`, bias (features,), float32.
    """


@register
@dataclass(frozen=True)
class StandardizedConv(_Conv):
    """Convolution with kernels of mean 0 and variance 1; see `functional.weight_standardization`, `functional.conv`.

    Parameters: those of `Conv`; the kernel is standardised anew, in its own dtype, whenever it is used.
    """

    _: KW_ONLY
    eps: float = 1e-5

    def __post_init__(self) -> None:
        """Normalise sizes and padding to tuples and check the ranges."""
        super().__post_init__()
        settle_number(self, "eps", "eps >= 0", lambda e: e >= 0, "1e-5 is usual.")

    def _weights(self, kernel: jax.Array) -> jax.Array:
        return F.weight_standardization(kernel, eps=self.eps)


def settle(layer: Any) -> None:
    """Normalise sizes and padding to tuples and check the fields: the `__post_init__` of all convolution layers."""
    where, size = type(layer).__name__, layer.kernel_size
    signals = isinstance(size, tuple | list) and len(size) == 1
    expect(not signals, where, "kernel_size as a positive int or two of them", shown(size), IMAGES_ONLY)
    for name in ("kernel_size", "stride", "dilation"):
        object.__setattr__(layer, name, pair(where, name, getattr(layer, name)))
    object.__setattr__(layer, "padding", normalise_padding(where, layer.padding))
    for name in ("features", "multiplier", "groups"):
        if hasattr(layer, name):
            settle_counts(layer, name)
    if hasattr(layer, "groups"):
        expect(
            layer.features % layer.groups == 0,
            where,
            f"groups that divide the {layer.features} features",
            layer.groups,
            "Choose a divisor.",
        )
    expect_initializers(layer)
    settle_flags(layer)


def kernel_shape(layer: Any, spec: Spec) -> tuple[int, ...]:
    """Return (kh, kw, C_in / groups, features) for images like `spec`."""
    channels = channels_of(type(layer).__name__, spec)
    expect(
        channels % layer.groups == 0,
        type(layer).__name__,
        f"input channels that {layer.groups} groups divide",
        channels,
        "Change groups or the layer before.",
    )
    return (*layer.kernel_size, channels // layer.groups, layer.features)


def kernel_and_bias(layer: Any, key: jax.Array, shape: tuple[int, ...]) -> Params:
    """Return a kernel of that shape and, with `use_bias`, a bias of its last axis, each by a key of its own."""
    params = {"kernel": layer.kernel_init(key_for(key, "kernel"), shape, jnp.float32)}
    if layer.use_bias:
        params["bias"] = layer.bias_init(key_for(key, "bias"), shape[-1:], jnp.float32)
    return params
