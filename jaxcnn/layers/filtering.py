"""Layers of fixed filters."""

from dataclasses import KW_ONLY, dataclass

import jax

from jaxcnn import filters
from jaxcnn import functional as F
from jaxcnn.checking import expect
from jaxcnn.functional.window import Padding, Size, normalise_padding, pair
from jaxcnn.layers.layer import Layer, Params, State
from jaxcnn.layers.serialization import register

__all__ = ["MovingSum"]


@register
@dataclass(frozen=True)
class MovingSum(Layer):
    """Every channel filtered by every kernel of a fixed bank; see `functional.moving_sum`. Nothing is learned.

    Args:
        bank: one of `jaxcnn.filters`, or any function () -> (kh, kw, n).
    """

    bank: filters.Bank
    _: KW_ONLY
    stride: Size = 1
    padding: Padding = "SAME"

    def __post_init__(self) -> None:
        """Normalise stride and padding to tuples and check the bank."""
        ok = callable(self.bank) and not isinstance(self.bank, type)
        got = getattr(self.bank, "__name__", self.bank)
        fix = "Pass an instance such as filters.Sobel()."
        expect(ok, "MovingSum", "a bank of jaxcnn.filters", got, fix, TypeError)
        object.__setattr__(self, "stride", pair("MovingSum", "stride", self.stride))
        object.__setattr__(self, "padding", normalise_padding("MovingSum", self.padding))

    @property
    def kernel_size(self) -> tuple[int, int]:
        """The height and width of the bank's kernels, which `summarize` reads."""
        kh, kw, _ = jax.eval_shape(self.bank).shape
        return kh, kw

    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        """Return the maps (..., H', W', C * n)."""
        return F.moving_sum(x, self.bank, stride=self.stride, padding=self.padding), state
