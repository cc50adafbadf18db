"""Layers that normalise each example by its own statistics."""

from dataclasses import KW_ONLY, dataclass

import jax

from jaxcnn import functional as F
from jaxcnn.checking import expect
from jaxcnn.layers.batch_norm import affine_parameters, channels_last, initial_affine
from jaxcnn.layers.convolution import channels_of, settle_counts
from jaxcnn.layers.layer import Layer, Params, Spec, State
from jaxcnn.layers.serialization import register

__all__ = ["GroupNorm", "InstanceNorm", "LayerNorm"]


@dataclass(frozen=True)
class _OwnNorm(Layer):
    _: KW_ONLY
    eps: float = 1e-6
    use_scale: bool = True
    use_bias: bool = True

    def __post_init__(self) -> None:
        """Check the range and make the number a float."""
        expect(self.eps >= 0, type(self).__name__, "eps >= 0", self.eps, "1e-6 is usual.")
        object.__setattr__(self, "eps", float(self.eps))


@register
@dataclass(frozen=True)
class LayerNorm(_OwnNorm):
    """Normalization over the channels, at each pixel on its own; see `functional.layer_norm`.

    Parameters: scale (C,) and bias (C,), where used, float32.
    """

    def init(self, key: jax.Array, spec: Spec) -> tuple[Params, State]:
        """Return scale 1 and bias 0."""
        return initial_affine(self, channels_last("LayerNorm", spec)), {}

    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        """Return the normalised activations, of x's shape and dtype."""
        return F.layer_norm(x, *affine_parameters(self, params), eps=self.eps), state


@register
@dataclass(frozen=True)
class GroupNorm(_OwnNorm):
    """Normalization of each image over the pixels and groups of channels; see `functional.group_norm`.

    Parameters: scale (C,) and bias (C,), where used, float32.
    """

    groups: int = 32

    def __post_init__(self) -> None:
        """Check the ranges and make eps a float."""
        super().__post_init__()
        settle_counts(self, "groups")

    def init(self, key: jax.Array, spec: Spec) -> tuple[Params, State]:
        """Return scale 1 and bias 0."""
        channels = channels_of("GroupNorm", spec)
        expect(
            channels % self.groups == 0,
            "GroupNorm",
            f"channels that {self.groups} groups divide",
            channels,
            "Change groups or the layer before.",
        )
        return initial_affine(self, channels), {}

    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        """Return the normalised images, of x's shape and dtype."""
        return F.group_norm(x, *affine_parameters(self, params), groups=self.groups, eps=self.eps), state


@register
@dataclass(frozen=True)
class InstanceNorm(_OwnNorm):
    """Normalization of each channel of each image over the pixels; see `functional.instance_norm`.

    Parameters: scale (C,) and bias (C,), where used, float32.
    """

    def init(self, key: jax.Array, spec: Spec) -> tuple[Params, State]:
        """Return scale 1 and bias 0."""
        return initial_affine(self, channels_of("InstanceNorm", spec)), {}

    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        """Return the normalised images, of x's shape and dtype."""
        return F.instance_norm(x, *affine_parameters(self, params), eps=self.eps), state
