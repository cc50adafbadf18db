"""Fully connected layers."""

from dataclasses import KW_ONLY, dataclass

import jax
import jax.numpy as jnp

from jaxcnn import functional as F
from jaxcnn import initializers
from jaxcnn.checking import expect
from jaxcnn.layers.convolution import expect_count, expect_initializers
from jaxcnn.layers.layer import Layer, Params, Spec, State, key_for, parameter
from jaxcnn.layers.serialization import register

__all__ = ["Dense", "Flatten"]


@register
@dataclass(frozen=True)
class Dense(Layer):
    """An affine map of the last axis; see `functional.dense`.

    Parameters: kernel (C_in, features) and, with `use_bias`, bias (features,), float32.
    """

    features: int
    _: KW_ONLY
    use_bias: bool = True
    kernel_init: initializers.Initializer = initializers.he_normal
    bias_init: initializers.Initializer = initializers.zeros

    def __post_init__(self) -> None:
        """Check the arguments."""
        expect_count("Dense", "features", self.features)
        expect_initializers("Dense", self)

    def init(self, key: jax.Array, spec: Spec) -> tuple[Params, State]:
        """Return the kernel and the bias."""
        expect(
            len(spec.shape) >= 1,
            "Dense",
            "an input of shape (..., C_in)",
            spec.shape,
            "Give the input a channel axis, last.",
        )
        shape = (spec.shape[-1], self.features)
        params = {"kernel": self.kernel_init(key_for(key, "kernel"), shape, jnp.float32)}
        if self.use_bias:
            params["bias"] = self.bias_init(key_for(key, "bias"), (self.features,), jnp.float32)
        return params, {}

    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        """Return (..., features)."""
        bias = parameter("Dense", params, "bias") if self.use_bias else None
        return F.dense(x, parameter("Dense", params, "kernel", self.features), bias), state


@register
@dataclass(frozen=True)
class Flatten(Layer):
    """Each image as one vector; see `functional.flatten`."""

    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        """Return (..., H * W * C)."""
        return F.flatten(x), state
