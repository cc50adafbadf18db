"""The layer that enlarges images."""

from dataclasses import dataclass

import jax

from jaxcnn import functional as F
from jaxcnn.functional.window import Size, pair
from jaxcnn.layers.layer import Layer, Params, State
from jaxcnn.layers.serialization import register

__all__ = ["Upsample"]


@register
@dataclass(frozen=True)
class Upsample(Layer):
    """Images enlarged by bilinear interpolation; see `functional.upsample`."""

    factor: Size = 2

    def __post_init__(self) -> None:
        """Make the factor a tuple."""
        object.__setattr__(self, "factor", pair("Upsample", "factor", self.factor))

    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        """Return (..., factor H, factor W, C)."""
        return F.upsample(x, factor=self.factor), state
