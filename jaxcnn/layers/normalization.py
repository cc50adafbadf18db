"""Normalization layers."""

from dataclasses import KW_ONLY, dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn import functional as F
from jaxcnn.checking import expect, floating
from jaxcnn.layers.layer import Layer, Params, Spec, State, parameter
from jaxcnn.layers.serialization import register

__all__ = ["BatchNorm", "Normalize"]


@register
@dataclass(frozen=True)
class BatchNorm(Layer):
    """Batch normalization with running statistics; see `functional.batch_norm`.

    Parameters: scale (C,) and bias (C,), where used, float32. State: `functional.BatchStats(mean, var)`, (C,) each,
    float32: passed to `apply` and returned by it, moved only when `train`.
    """

    _: KW_ONLY
    decay: float = 0.9
    eps: float = 1e-5
    axis_name: str | tuple[str, ...] | None = None
    use_scale: bool = True
    use_bias: bool = True

    def __post_init__(self) -> None:
        """Check the ranges and make both numbers floats."""
        expect(
            0 <= self.decay <= 1,
            "BatchNorm",
            "decay in [0, 1]",
            self.decay,
            "PyTorch's momentum is 1 - decay.",
        )
        expect(self.eps > 0, "BatchNorm", "eps > 0", self.eps, "1e-5 is usual.")
        for name in ("decay", "eps"):
            object.__setattr__(self, name, float(getattr(self, name)))

    def init(self, key: jax.Array, spec: Spec) -> tuple[Params, State]:
        """Return scale 1, bias 0, and statistics of mean 0 and variance 1."""
        expect(
            len(spec.shape) >= 1,
            "BatchNorm",
            "an input of shape (..., C)",
            spec.shape,
            "Add a channel axis, last.",
        )
        shape = (spec.shape[-1],)
        params: dict[str, Any] = {"scale": jnp.ones(shape)} if self.use_scale else {}
        if self.use_bias:
            params["bias"] = jnp.zeros(shape)
        return params, F.BatchStats(jnp.zeros(shape), jnp.ones(shape))

    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        """Return the normalised activations and the statistics."""
        return F.batch_norm(
            x,
            parameter("BatchNorm", params, "scale") if self.use_scale else None,
            parameter("BatchNorm", params, "bias") if self.use_bias else None,
            state,
            train=train,
            decay=self.decay,
            eps=self.eps,
            axis_name=self.axis_name,
        )


@register
@dataclass(frozen=True)
class Normalize(Layer):
    """Images with the data's mean and standard deviation made 0 and 1: y = (x - mean) / std, per channel.

    Args:
        mean: one float, or one per channel, in the units of the images.
        std: likewise, > 0.
    """

    mean: Any
    std: Any

    def __post_init__(self) -> None:
        """Turn both into tuples of floats."""
        for name in ("mean", "std"):
            object.__setattr__(self, name, tuple(float(v) for v in np.ravel(getattr(self, name))))
        counts = {len(self.mean), len(self.std)} - {1}
        expect(
            len(counts) <= 1 and 0 not in counts,
            "Normalize",
            "one mean and std, or one per channel",
            f"{len(self.mean)} and {len(self.std)}",
            "Give one value per channel, or one for all.",
        )
        expect(min(self.std) > 0, "Normalize", "std > 0", self.std, "A constant channel has no scale.")

    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        """Return the standardised images, of x's shape and dtype."""
        x = floating("Normalize", "x", x)
        for name, values in (("mean", self.mean), ("std", self.std)):
            expect(
                len(values) in (1, x.shape[-1] if x.ndim else 1),
                "Normalize",
                f"images of {len(values)} channels for {name}={values}",
                x.shape,
                "Give one value per channel, or one for all.",
            )
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        y = (wide - jnp.asarray(self.mean, wide.dtype)) / jnp.asarray(self.std, wide.dtype)
        return y.astype(x.dtype), state
