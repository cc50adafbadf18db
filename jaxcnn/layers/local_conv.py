"""The layer of local connectivity without shared weights."""

from dataclasses import KW_ONLY, dataclass

import jax
import jax.numpy as jnp

from jaxcnn import functional as F
from jaxcnn import initializers
from jaxcnn.checking import expect_key, expect_size
from jaxcnn.functional.window import Padding, Size, pair, positions, resolve_padding
from jaxcnn.layers.convolution import settle
from jaxcnn.layers.layer import Layer, Params, Spec, State, channels_of, key_for, parameter
from jaxcnn.layers.serialization import register

__all__ = ["LocalConv"]


@register
@dataclass(frozen=True)
class LocalConv(Layer):
    """Convolution with a learned bank of kernels for each output pixel; see `functional.local_conv`.

    Parameters: kernel (H', W', kh, kw, C_in, features) and, with `use_bias`, bias (H', W', features), float32, for
    images of one size. `kernel_init` draws one kernel (kh, kw, C_in, features) at a time.
    """

    features: int
    kernel_size: Size = 3
    _: KW_ONLY
    stride: Size = 1
    padding: Padding = "VALID"
    dilation: Size = 1
    use_bias: bool = True
    kernel_init: initializers.Initializer = initializers.he_normal
    bias_init: initializers.Initializer = initializers.zeros

    __post_init__ = settle

    def init(self, key: jax.Array, spec: Spec) -> tuple[Params, State]:
        """Return a kernel and a bias for every output pixel of images like `spec`."""
        expect_key("LocalConv", key)
        channels = channels_of("LocalConv", spec)
        window, stride, dilation = (
            pair("LocalConv", name, getattr(self, name)) for name in ("kernel_size", "stride", "dilation")
        )
        pads = resolve_padding("LocalConv", self.padding, spec.shape[-3:-1], window, stride, dilation)
        height, width = positions(spec.shape[-3:-1], window, stride, pads, dilation)
        weights = (height, width, *window, channels, self.features)
        expect_size("LocalConv", "a kernel", weights, "Choose fewer features, or another layer.")

        def kernel(key: jax.Array) -> jax.Array:
            return self.kernel_init(key, (*window, channels, self.features), jnp.float32)

        kernels = jax.vmap(kernel)(jax.random.split(key_for(key, "kernel"), height * width))
        params = {"kernel": kernels.reshape(height, width, *kernels.shape[1:])}
        if self.use_bias:
            params["bias"] = self.bias_init(key_for(key, "bias"), (height, width, self.features), jnp.float32)
        return params, {}

    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        """Return the maps (..., H', W', features)."""
        y = F.local_conv(
            x,
            parameter("LocalConv", params, "kernel", self.features),
            parameter("LocalConv", params, "bias") if self.use_bias else None,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
        )
        return y, state
