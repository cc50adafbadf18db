"""Layers that are random while training and the identity otherwise."""

from dataclasses import KW_ONLY, dataclass

import jax

from jaxcnn import functional as F
from jaxcnn.checking import expect, expect_train, floating, scalar
from jaxcnn.functional.window import Size, pair
from jaxcnn.layers.fields import settle_flags
from jaxcnn.layers.layer import Layer, Params, State
from jaxcnn.layers.serialization import register

__all__ = ["DropBlock", "DropPath", "Dropout", "SpatialDropout"]


@dataclass(frozen=True)
class _Drop(Layer):
    rate: float

    def __post_init__(self) -> None:
        """Check the range and make the rate a float; in a function that is traced it may be traced too."""
        fix = "It is the fraction set to zero."
        rate = scalar(type(self).__name__, "a rate in [0, 1]", self.rate, lambda r: 0 <= r <= 1, fix)
        object.__setattr__(self, "rate", rate)
        settle_flags(self)

    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        """Return x with zeros when `train`, else x."""
        where = type(self).__name__
        expect_train(where, train)
        x = floating(where, "x", x)
        if not train or (isinstance(self.rate, float) and self.rate == 0):
            return x, state
        expect(key is not None, where, "a key when train=True", "None", "Pass key=jax.random.key(0) to apply.")
        assert key is not None
        return self._drop(key, x), state

    def _drop(self, key: jax.Array, x: jax.Array) -> jax.Array:
        raise NotImplementedError


@register
@dataclass(frozen=True)
class Dropout(_Drop):
    """A random fraction `rate` of the activations set to zero while training; see `functional.dropout`."""

    def _drop(self, key: jax.Array, x: jax.Array) -> jax.Array:
        return F.dropout(key, x, self.rate)


@register
@dataclass(frozen=True)
class SpatialDropout(_Drop):
    """A random fraction `rate` of the maps set to zero while training; see `functional.spatial_dropout`."""

    def _drop(self, key: jax.Array, x: jax.Array) -> jax.Array:
        return F.spatial_dropout(key, x, self.rate)


@register
@dataclass(frozen=True)
class DropPath(_Drop):
    """A random fraction `rate` of the images set to zero while training; see `functional.drop_path`.

    The last layer of a `Residual`'s branch, it leaves the branch out for these images.
    """

    def _drop(self, key: jax.Array, x: jax.Array) -> jax.Array:
        return F.drop_path(key, x, self.rate)


@register
@dataclass(frozen=True)
class DropBlock(_Drop):
    """Random blocks of the maps set to zero while training; see `functional.drop_block`."""

    _: KW_ONLY
    block_size: Size = 7
    shared: bool = False

    def __post_init__(self) -> None:
        """Check the range and make the block's size a tuple."""
        super().__post_init__()
        object.__setattr__(self, "block_size", pair("DropBlock", "block_size", self.block_size))

    def _drop(self, key: jax.Array, x: jax.Array) -> jax.Array:
        return F.drop_block(key, x, self.rate, block_size=self.block_size, shared=self.shared)
