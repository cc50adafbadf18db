"""Convolution layers."""

from dataclasses import KW_ONLY, dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn import functional as F
from jaxcnn import initializers
from jaxcnn.checking import expect
from jaxcnn.functional.window import Padding, Size, images, normalise_padding, pair
from jaxcnn.layers.layer import Layer, Params, Spec, State, key_for, parameter
from jaxcnn.layers.serialization import register

__all__ = ["Conv"]


@register
@dataclass(frozen=True)
class Conv(Layer):
    """Convolution with a learned bank of kernels; see `functional.conv`.

    Parameters: kernel (kh, kw, C_in / groups, features) and, with `use_bias`, bias (features,), float32.
    """

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
        for name in ("kernel_size", "stride", "dilation"):
            object.__setattr__(self, name, pair("Conv", name, getattr(self, name)))
        object.__setattr__(self, "padding", normalise_padding("Conv", self.padding))
        expect_count("Conv", "features", self.features)
        expect_count("Conv", "groups", self.groups)
        expect(
            self.features % self.groups == 0,
            "Conv",
            f"groups that divide the {self.features} features",
            self.groups,
            "Choose a divisor.",
        )
        expect_initializers("Conv", self)

    def init(self, key: jax.Array, spec: Spec) -> tuple[Params, State]:
        """Return the kernel and the bias."""
        channels = channels_of("Conv", spec)
        expect(
            channels % self.groups == 0,
            "Conv",
            f"input channels that {self.groups} groups divide",
            channels,
            "Change groups or the layer before.",
        )
        kh, kw = pair("Conv", "kernel_size", self.kernel_size)
        shape = (kh, kw, channels // self.groups, self.features)
        params = {"kernel": self.kernel_init(key_for(key, "kernel"), shape, jnp.float32)}
        if self.use_bias:
            params["bias"] = self.bias_init(key_for(key, "bias"), (self.features,), jnp.float32)
        return params, {}

    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        """Return the maps (..., H', W', features)."""
        y = F.conv(
            x,
            parameter("Conv", params, "kernel", self.features),
            parameter("Conv", params, "bias") if self.use_bias else None,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )
        return y, state


def expect_count(where: str, name: str, value: object) -> None:
    """Raise `ValueError` unless `value` is a positive int."""
    ok = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    expect(ok, where, f"{name} as a positive int", repr(value), f"Pass {name}=8, say.")


def expect_initializers(where: str, layer: Any) -> None:
    """Raise `TypeError` unless the layer's `kernel_init` and `bias_init` are functions."""
    for name in ("kernel_init", "bias_init"):
        value = getattr(layer, name)
        expect(
            callable(value),
            where,
            f"{name} as a function (key, shape, dtype) -> array",
            repr(value),
            "Pass one of jaxcnn.initializers.",
            TypeError,
        )


def channels_of(where: str, spec: Spec) -> int:
    """Return the channels of images like `spec`, checking rank and dtype without any array work."""
    return jax.eval_shape(lambda x: images(where, x), spec).shape[-1]
