"""Activations with parameters. The others are plain functions, which are layers as they are."""

import math
from dataclasses import KW_ONLY, dataclass

import jax
import jax.numpy as jnp

from jaxcnn import functional as F
from jaxcnn.layers.fields import settle_flags, settle_number
from jaxcnn.layers.layer import Layer, Params, Spec, State, channels_last, parameter
from jaxcnn.layers.serialization import register

__all__ = ["PReLU"]


@register
@dataclass(frozen=True)
class PReLU(Layer):
    """A rectifier whose slope left of zero is learned, for each channel or, `shared`, for all; see `functional.prelu`.

    Parameters: negative_slope (C,), or () when `shared`, float32, `negative_slope_init` at first. Flax's is shared and
    starts at 0.01, PyTorch's is shared; do not decay its weights (He et al. 2015, section 2.1).
    """

    _: KW_ONLY
    negative_slope_init: float = 0.25
    shared: bool = False

    def __post_init__(self) -> None:
        """Make the number a float."""
        settle_number(self, "negative_slope_init", "a finite negative_slope_init", math.isfinite, "0.25 is usual.")
        settle_flags(self)

    def init(self, key: jax.Array, spec: Spec) -> tuple[Params, State]:
        """Return the slope or slopes."""
        shape = () if self.shared else (channels_last("PReLU", spec),)
        return {"negative_slope": jnp.full(shape, self.negative_slope_init, jnp.float32)}, {}

    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        """Return the rectified activations, of x's shape and dtype."""
        return F.prelu(x, parameter("PReLU", params, "negative_slope")), state
