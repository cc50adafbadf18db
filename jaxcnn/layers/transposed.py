"""The layer of transposed convolution."""

from dataclasses import KW_ONLY, dataclass

import jax

from jaxcnn import functional as F
from jaxcnn import initializers
from jaxcnn.functional.transposed import margin
from jaxcnn.functional.window import Padding, Size
from jaxcnn.layers.convolution import kernel_and_bias, kernel_shape, settle
from jaxcnn.layers.layer import Layer, Params, Spec, State, parameter
from jaxcnn.layers.serialization import register

__all__ = ["ConvTranspose"]


@register
@dataclass(frozen=True)
class ConvTranspose(Layer):
    """Transposed convolution with a learned bank of kernels, which enlarges; see `functional.conv_transpose`.

    Parameters: kernel (kh, kw, C_in / groups, features) and, with `use_bias`, bias (features,), float32.
    """

    features: int
    kernel_size: Size = 3
    _: KW_ONLY
    stride: Size = 1
    padding: Padding = "SAME"
    output_padding: Size = 0
    dilation: Size = 1
    groups: int = 1
    use_bias: bool = True
    kernel_init: initializers.Initializer = initializers.he_normal
    bias_init: initializers.Initializer = initializers.zeros

    def __post_init__(self) -> None:
        """Normalise sizes and padding to tuples and check the ranges."""
        settle(self)
        object.__setattr__(self, "output_padding", margin("ConvTranspose", self.output_padding))

    def init(self, key: jax.Array, spec: Spec) -> tuple[Params, State]:
        """Return the kernel and the bias."""
        return kernel_and_bias(self, key, kernel_shape(self, spec)), {}

    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        """Return the maps (..., H', W', features)."""
        y = F.conv_transpose(
            x,
            parameter("ConvTranspose", params, "kernel", self.features),
            parameter("ConvTranspose", params, "bias") if self.use_bias else None,
            stride=self.stride,
            padding=self.padding,
            output_padding=self.output_padding,
            dilation=self.dilation,
            groups=self.groups,
        )
        return y, state
