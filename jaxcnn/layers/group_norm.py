"""Layers that normalise each example by its own statistics."""

from dataclasses import KW_ONLY, dataclass

import jax

from jaxcnn import functional as F
from jaxcnn import initializers
from jaxcnn.functional.group_norm import expect_groups
from jaxcnn.layers.batch_norm import affine_parameters, initial_affine
from jaxcnn.layers.fields import expect_initializers, settle_counts, settle_flags, settle_number
from jaxcnn.layers.layer import Layer, Params, Spec, State, channels_last, channels_of
from jaxcnn.layers.serialization import register

__all__ = ["GroupNorm", "InstanceNorm", "LayerNorm"]


@dataclass(frozen=True)
class _OwnNorm(Layer):
    _: KW_ONLY
    eps: float = 1e-6
    use_scale: bool = True
    use_bias: bool = True
    scale_init: initializers.Initializer = initializers.ones
    bias_init: initializers.Initializer = initializers.zeros

    def __post_init__(self) -> None:
        """Check the range and make the number a float."""
        settle_number(self, "eps", "eps >= 0", lambda e: e >= 0, "1e-6 is usual.")
        settle_flags(self)
        expect_initializers(self)


@register
@dataclass(frozen=True)
class LayerNorm(_OwnNorm):
    """Normalization over the channels, at each pixel on its own; see `functional.layer_norm`.

    Parameters: scale (C,) and bias (C,), where used, float32, 1 and 0 at first unless given initializers.
    """

    def init(self, key: jax.Array, spec: Spec) -> tuple[Params, State]:
        """Return scale and bias by their initializers."""
        return initial_affine(self, key, channels_last("LayerNorm", spec)), {}

    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        """Return the normalised activations, of x's shape and dtype."""
        return F.layer_norm(x, *affine_parameters(self, params), eps=self.eps), state


@register
@dataclass(frozen=True)
class GroupNorm(_OwnNorm):
    """Normalization of each image over the pixels and groups of channels; see `functional.group_norm`.

    Parameters: scale (C,) and bias (C,), where used, float32, 1 and 0 at first unless given initializers.
    """

    groups: int = 32

    def __post_init__(self) -> None:
        """Check the ranges and make eps a float."""
        super().__post_init__()
        settle_counts(self, "groups")

    def init(self, key: jax.Array, spec: Spec) -> tuple[Params, State]:
        """Return scale and bias by their initializers."""
        channels = channels_of("GroupNorm", spec)
        expect_groups("GroupNorm", self.groups, channels)
        return initial_affine(self, key, channels), {}

    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        """Return the normalised images, of x's shape and dtype."""
        return F.group_norm(x, *affine_parameters(self, params), groups=self.groups, eps=self.eps), state


@register
@dataclass(frozen=True)
class InstanceNorm(_OwnNorm):
    """Normalization of each channel of each image over the pixels; see `functional.instance_norm`.

    Parameters: scale (C,) and bias (C,), where used, float32, 1 and 0 at first unless given initializers.
    """

    def init(self, key: jax.Array, spec: Spec) -> tuple[Params, State]:
        """Return scale and bias by their initializers."""
        return initial_affine(self, key, channels_of("InstanceNorm", spec)), {}

    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        """Return the normalised images, of x's shape and dtype."""
        return F.instance_norm(x, *affine_parameters(self, params), eps=self.eps), state
