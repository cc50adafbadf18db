"""First kernels from a bank of filters."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn.checking import expect, expect_dtype, shown
from jaxcnn.filters import Bank
from jaxcnn.initializers.kernel import Initializer, call, kernel_shape
from jaxcnn.initializers.variance import lecun_normal

__all__ = ["FilterBank"]


@dataclass(frozen=True, repr=False)
class FilterBank:
    """The filters of a bank in the first outputs, each the same in every input channel; the others from `rest`.

    `Conv(64, 7, kernel_init=FilterBank(Gabor(7, 8)))` starts with bars and edges of eight orientations. Every filter is
    scaled to norm 1 over all its inputs, so that white noise keeps its variance, as under `lecun_normal`.

    Args:
        bank: one of `jaxcnn.filters`.
        rest: an initializer for the outputs left over.

    Raises:
        ValueError: a kernel of another size than the bank's, or with fewer outputs than it has filters.
    """

    bank: Bank
    rest: Initializer = lecun_normal

    def __post_init__(self) -> None:
        """Check the parts."""
        ok = callable(self.bank) and not isinstance(self.bank, type)
        got = getattr(self.bank, "__name__", type(self.bank).__name__)
        fix = "Pass an instance such as filters.Gabor(7)."
        expect(ok, "FilterBank", "a bank of jaxcnn.filters", got, fix, TypeError)
        fix = "Pass one of jaxcnn.initializers."
        expect(callable(self.rest), "FilterBank", "rest as an initializer", shown(self.rest), fix, TypeError)

    def __repr__(self) -> str:
        return call(self)

    def __call__(self, key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
        """Return the kernel; shape is (kh, kw, C_in, C_out)."""
        filters = self.bank()
        *taps, ins, outs = kernel_shape("FilterBank", shape)
        dtype = expect_dtype("FilterBank", dtype, jnp.inexact)
        kh, kw, count = filters.shape
        fix = "Give the layer the bank's size and at least as many features."
        fits = tuple(taps) == (kh, kw) and outs >= count
        expect(fits, "FilterBank", f"a kernel of shape ({kh}, {kw}, C_in, at least {count})", shape, fix)
        norms = jnp.sqrt(ins * jnp.sum(filters**2, axis=(0, 1)))
        fixed = jnp.broadcast_to((filters / norms)[:, :, None], (kh, kw, ins, count)).astype(dtype)
        return self.rest(key, shape, dtype).at[..., :count].set(fixed)
