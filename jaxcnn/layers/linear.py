"""Fully connected layers."""

from dataclasses import KW_ONLY, dataclass

import jax
import jax.numpy as jnp

from jaxcnn import functional as F
from jaxcnn import initializers
from jaxcnn.checking import expect_key, expect_size
from jaxcnn.layers.convolution import kernel_and_bias
from jaxcnn.layers.fields import expect_initializers, settle_counts, settle_flags
from jaxcnn.layers.layer import Layer, Params, Spec, State, channels_last, key_for, parameter
from jaxcnn.layers.serialization import register

__all__ = ["Dense", "Flatten", "Maxout"]


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
        settle_counts(self, "features")
        expect_initializers(self)
        settle_flags(self)

    def init(self, key: jax.Array, spec: Spec) -> tuple[Params, State]:
        """Return the kernel and the bias."""
        return kernel_and_bias(self, key, (channels_last("Dense", spec), self.features)), {}

    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        """Return (..., features)."""
        bias = parameter("Dense", params, "bias") if self.use_bias else None
        return F.dense(x, parameter("Dense", params, "kernel", self.features), bias), state


@register
@dataclass(frozen=True)
class Maxout(Layer):
    """The largest of several affine maps of the last axis; see `functional.maxout`.

    Parameters: kernel (pieces, C_in, features) and, with `use_bias`, bias (pieces, features), float32. `kernel_init`
    draws each piece by itself, from a kernel's shape (C_in, features).
    """

    features: int
    pieces: int = 2
    _: KW_ONLY
    use_bias: bool = True
    kernel_init: initializers.Initializer = initializers.he_normal
    bias_init: initializers.Initializer = initializers.zeros

    def __post_init__(self) -> None:
        """Check the arguments."""
        settle_counts(self, "features", "pieces")
        expect_initializers(self)
        settle_flags(self)

    def init(self, key: jax.Array, spec: Spec) -> tuple[Params, State]:
        """Return the kernel and the bias."""
        expect_key("Maxout", key)
        shape = (channels_last("Maxout", spec), self.features)
        expect_size("Maxout", "a kernel", (self.pieces, *shape), "Choose fewer pieces or features.")
        keys = jax.random.split(key_for(key, "kernel"), self.pieces)
        params = {"kernel": jnp.stack([self.kernel_init(k, shape, jnp.float32) for k in keys])}
        if self.use_bias:
            params["bias"] = self.bias_init(key_for(key, "bias"), (self.pieces, self.features), jnp.float32)
        return params, {}

    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        """Return (..., features)."""
        bias = parameter("Maxout", params, "bias") if self.use_bias else None
        return F.maxout(x, parameter("Maxout", params, "kernel", self.features), bias), state


@register
@dataclass(frozen=True)
class Flatten(Layer):
    """Each image as one vector; see `functional.flatten`."""

    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        """Return (..., H * W * C)."""
        return F.flatten(x), state
