"""A trained factor for each channel."""

from dataclasses import KW_ONLY, dataclass

import jax
import jax.numpy as jnp

from jaxcnn import initializers
from jaxcnn.checking import floating
from jaxcnn.functional.spread import spread
from jaxcnn.layers.fields import expect_initializers
from jaxcnn.layers.layer import Layer, Params, Spec, State, channels_last, key_for, parameter
from jaxcnn.layers.serialization import register

__all__ = ["LayerScale"]

NEARLY_ZERO = initializers.Constant(1e-6)


@register
@dataclass(frozen=True)
class LayerScale(Layer):
    """Each channel times a trained factor, nearly 0 at first: y = x * scale.

    Near the end of a `Residual`'s branch it lets the block start as the identity. Parameters: scale (C,), float32.

    Source: Touvron et al. 2021, "Going deeper with image transformers", section 2.
    """

    _: KW_ONLY
    scale_init: initializers.Initializer = NEARLY_ZERO

    def __post_init__(self) -> None:
        """Check the initializer."""
        expect_initializers(self)

    def init(self, key: jax.Array, spec: Spec) -> tuple[Params, State]:
        """Return the factors."""
        shape = (channels_last("LayerScale", spec),)
        return {"scale": self.scale_init(key_for(key, "scale"), shape, jnp.float32)}, {}

    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        """Return the product, of x's shape and dtype."""
        x = floating("LayerScale", "x", x)
        scale = parameter("LayerScale", params, "scale", x.shape[-1])
        return x * spread(scale, x), state
