"""Layers of depthwise and separable convolution."""

from dataclasses import KW_ONLY, dataclass

import jax

from jaxcnn import functional as F
from jaxcnn import initializers
from jaxcnn.functional.window import Padding, Size, pair
from jaxcnn.layers.convolution import Conv, kernel_and_bias, settle
from jaxcnn.layers.layer import Layer, Params, Spec, State, channels_of, key_for, parameter, part
from jaxcnn.layers.serialization import register

__all__ = ["DepthwiseConv", "SeparableConv"]


@register
@dataclass(frozen=True)
class DepthwiseConv(Layer):
    """Convolution of each channel with `multiplier` learned kernels of its own; see `functional.depthwise_conv`.

    Parameters: kernel (kh, kw, 1, C * multiplier) and, with `use_bias`, bias (C * multiplier,), float32.
    """

    kernel_size: Size = 3
    _: KW_ONLY
    multiplier: int = 1
    stride: Size = 1
    padding: Padding = "SAME"
    dilation: Size = 1
    use_bias: bool = True
    kernel_init: initializers.Initializer = initializers.he_normal
    bias_init: initializers.Initializer = initializers.zeros

    __post_init__ = settle

    def init(self, key: jax.Array, spec: Spec) -> tuple[Params, State]:
        """Return the kernel and the bias."""
        kh, kw = pair("DepthwiseConv", "kernel_size", self.kernel_size)
        return kernel_and_bias(self, key, (kh, kw, 1, channels_of("DepthwiseConv", spec) * self.multiplier)), {}

    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        """Return the maps (..., H', W', C * multiplier)."""
        y = F.depthwise_conv(
            x,
            parameter("DepthwiseConv", params, "kernel"),
            parameter("DepthwiseConv", params, "bias") if self.use_bias else None,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
        )
        return y, state


@register
@dataclass(frozen=True)
class SeparableConv(Layer):
    """A depthwise convolution followed by one of 1x1, nothing in between; see `functional.separable_conv`.

    Parameters: depthwise {kernel (kh, kw, 1, C_in * multiplier)} and pointwise {kernel (1, 1, C_in * multiplier,
    features) and, with `use_bias`, bias (features,)}, float32: those of a `DepthwiseConv` without bias and of a `Conv`.
    `depthwise_init` draws the first kernel, which no ReLU follows, `kernel_init` the second.
    """

    features: int
    kernel_size: Size = 3
    _: KW_ONLY
    multiplier: int = 1
    stride: Size = 1
    padding: Padding = "SAME"
    dilation: Size = 1
    use_bias: bool = True
    depthwise_init: initializers.Initializer = initializers.lecun_normal
    kernel_init: initializers.Initializer = initializers.he_normal
    bias_init: initializers.Initializer = initializers.zeros

    __post_init__ = settle

    def init(self, key: jax.Array, spec: Spec) -> tuple[Params, State]:
        """Return both kernels and the bias."""
        channels = channels_of("SeparableConv", spec) * self.multiplier
        between = jax.ShapeDtypeStruct((*spec.shape[:-1], channels), spec.dtype)
        deep = DepthwiseConv(
            self.kernel_size, multiplier=self.multiplier, use_bias=False, kernel_init=self.depthwise_init
        )
        point = Conv(self.features, 1, use_bias=self.use_bias, kernel_init=self.kernel_init, bias_init=self.bias_init)
        return {
            "depthwise": deep.init(key_for(key, "depthwise"), spec)[0],
            "pointwise": point.init(key_for(key, "pointwise"), between)[0],
        }, {}

    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        """Return the maps (..., H', W', features)."""
        deep, point = (part("SeparableConv", params, name) for name in ("depthwise", "pointwise"))
        y = F.separable_conv(
            x,
            parameter("SeparableConv", deep, "kernel"),
            parameter("SeparableConv", point, "kernel", self.features),
            parameter("SeparableConv", point, "bias") if self.use_bias else None,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
        )
        return y, state
