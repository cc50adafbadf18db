"""Batch normalization as a layer."""

from dataclasses import KW_ONLY, dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn import functional as F
from jaxcnn import initializers
from jaxcnn.functional.batch_norm import axis_names
from jaxcnn.layers.fields import expect_initializers, settle_counts, settle_flags, settle_number
from jaxcnn.layers.layer import Layer, Params, Spec, State, channels_last, key_for, parameter
from jaxcnn.layers.serialization import register

__all__ = ["BatchNorm"]


@register
@dataclass(frozen=True)
class BatchNorm(Layer):
    """Batch normalization with running statistics; see `functional.batch_norm`.

    Parameters: scale (C,) and bias (C,), where used, float32, 1 and 0 at first unless given initializers. State:
    `functional.BatchStats(mean, var)`, (C,) each, float32: passed to `apply` and returned by it, moved only when
    `train`.
    """

    _: KW_ONLY
    decay: float = 0.9
    eps: float = 1e-5
    axis_name: str | tuple[str, ...] | None = None
    groups: int = 1
    fast_variance: bool = False
    use_scale: bool = True
    use_bias: bool = True
    scale_init: initializers.Initializer = initializers.ones
    bias_init: initializers.Initializer = initializers.zeros

    def __post_init__(self) -> None:
        """Check the ranges and make both numbers floats."""
        fix = "PyTorch's momentum is 1 - decay."
        settle_number(self, "decay", "decay in [0, 1]", lambda d: 0 <= d <= 1, fix)
        settle_number(self, "eps", "eps >= 0", lambda e: e >= 0, "1e-5 is usual.")
        settle_counts(self, "groups")
        object.__setattr__(self, "axis_name", axis_names("BatchNorm", self.axis_name))
        expect_initializers(self)
        settle_flags(self)

    def init(self, key: jax.Array, spec: Spec) -> tuple[Params, State]:
        """Return scale and bias by their initializers, and statistics of mean 0 and variance 1."""
        channels = channels_last("BatchNorm", spec)
        mean, var = jnp.zeros((channels,), jnp.float32), jnp.ones((channels,), jnp.float32)
        return initial_affine(self, key, channels), F.BatchStats(mean, var)

    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        """Return the normalised activations and the statistics."""
        return F.batch_norm(
            x,
            *affine_parameters(self, params),
            state,
            train=train,
            decay=self.decay,
            eps=self.eps,
            axis_name=self.axis_name,
            groups=self.groups,
            fast_variance=self.fast_variance,
        )


def initial_affine(layer: Any, key: jax.Array, channels: int) -> Params:
    """Return scale and bias, each by a key of its own, of what the layer's `use_scale` and `use_bias` ask for."""
    used = {"scale": layer.use_scale, "bias": layer.use_bias}
    return {
        name: getattr(layer, f"{name}_init")(key_for(key, name), (channels,), jnp.float32)
        for name, use in used.items()
        if use
    }


def affine_parameters(layer: Any, params: Params) -> tuple[jax.Array | None, jax.Array | None]:
    """Return scale and bias, None where the layer does not use them."""
    where = type(layer).__name__
    scale = parameter(where, params, "scale") if layer.use_scale else None
    return scale, parameter(where, params, "bias") if layer.use_bias else None
