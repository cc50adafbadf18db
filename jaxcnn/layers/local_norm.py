"""Layers that normalise by the neighbourhood; none has parameters."""

import math
from dataclasses import KW_ONLY, dataclass

import jax

from jaxcnn import functional as F
from jaxcnn.checking import expect, number
from jaxcnn.layers.fields import settle_counts, settle_flags, settle_number
from jaxcnn.layers.layer import Layer, Params, State
from jaxcnn.layers.serialization import register

__all__ = ["LocalContrastNorm", "LocalResponseNorm"]


@register
@dataclass(frozen=True)
class LocalResponseNorm(Layer):
    """Division by a power of the energy of the channels beside; see `functional.local_response_norm`."""

    _: KW_ONLY
    size: int = 5
    k: float = 2.0
    alpha: float = 1e-4
    beta: float = 0.75

    def __post_init__(self) -> None:
        """Check the ranges and make the numbers floats."""
        settle_counts(self, "size")
        fix = "The paper has k=2, alpha=1e-4 and beta=0.75."
        settle_number(self, "k", "a finite k > 0", lambda k: 0 < k < math.inf, fix)
        for name in ("alpha", "beta"):
            settle_number(self, name, f"a finite {name} >= 0", lambda v: 0 <= v < math.inf, fix)

    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        """Return the normalised activations, of x's shape and dtype."""
        y = F.local_response_norm(x, size=self.size, k=self.k, alpha=self.alpha, beta=self.beta)
        return y, state


@register
@dataclass(frozen=True)
class LocalContrastNorm(Layer):
    """Subtraction of the local mean and division by the local deviation; see `functional.local_contrast_norm`."""

    _: KW_ONLY
    size: int = 9
    sigma: float | None = None
    divisive: bool = True
    eps: float = 1e-4

    def __post_init__(self) -> None:
        """Check the ranges, make the numbers floats, and leave out a sigma that is the default one."""
        where = "LocalContrastNorm"
        settle_counts(self, "size")
        expect(self.size % 2 == 1, where, "an odd size", self.size, "The window needs a centre: size=9, say.")
        sigma = self.size / 4 if self.sigma is None else self.sigma
        sigma = number(where, "sigma > 0", sigma, lambda s: s > 0, "It is the window's standard deviation in pixels.")
        object.__setattr__(self, "sigma", None if sigma == self.size / 4 else sigma)
        settle_number(self, "eps", "eps >= 1e-18", lambda e: e >= 1e-18, "It is the least deviation: 1e-4 is usual.")
        settle_flags(self)

    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        """Return the normalised images, of x's shape and dtype."""
        y = F.local_contrast_norm(x, size=self.size, sigma=self.sigma, divisive=self.divisive, eps=self.eps)
        return y, state
