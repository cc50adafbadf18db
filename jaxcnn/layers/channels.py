"""Layers that take some of the channels, or all of them in another order."""

from dataclasses import dataclass

import jax

from jaxcnn import functional as F
from jaxcnn.checking import expect, expect_count, floating, shown
from jaxcnn.layers.fields import settle_counts
from jaxcnn.layers.layer import Layer, Params, State
from jaxcnn.layers.serialization import register

__all__ = ["ChannelChunk", "ChannelShuffle"]


@register
@dataclass(frozen=True)
class ChannelShuffle(Layer):
    """The channels of several groups by turns; see `functional.channel_shuffle`."""

    groups: int = 2

    def __post_init__(self) -> None:
        """Check the count."""
        settle_counts(self, "groups")

    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        """Return the shuffled channels, of x's shape and dtype."""
        return F.channel_shuffle(x, groups=self.groups), state


@register
@dataclass(frozen=True)
class ChannelChunk(Layer):
    """One of several equal parts of the channels, the first being 0, as the branches of a `Concat` take theirs.

    `Concat(left=ChannelChunk(0), right=Sequential(part=ChannelChunk(1), conv=Conv(32)))` hands on the first half of
    the channels as it is (the channel split of Ma et al. 2018, section 4). Agrees with `torch.chunk`.
    """

    index: int
    chunks: int = 2

    def __post_init__(self) -> None:
        """Check the counts."""
        settle_counts(self, "chunks")
        index = expect_count("ChannelChunk", "index", self.index, 0)
        fix = "The first is 0."
        expect(index < self.chunks, "ChannelChunk", f"index below the {self.chunks} chunks", shown(index), fix)
        object.__setattr__(self, "index", index)

    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        """Return (..., C / chunks)."""
        x = floating("ChannelChunk", "x", x)
        expect(x.ndim >= 1, "ChannelChunk", "an input of shape (..., C)", x.shape, "Add a channel axis, last.")
        size, rest = divmod(x.shape[-1], self.chunks)
        fix = "Change chunks or the layer before."
        expect(rest == 0, "ChannelChunk", f"channels that {self.chunks} chunks divide", x.shape[-1], fix)
        return x[..., self.index * size : (self.index + 1) * size], state
