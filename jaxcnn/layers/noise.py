"""Layers that are random while training and the identity otherwise."""

from dataclasses import dataclass

import jax

from jaxcnn import functional as F
from jaxcnn.checking import expect, floating
from jaxcnn.layers.layer import Layer, Params, State
from jaxcnn.layers.serialization import register

__all__ = ["Dropout"]


@register
@dataclass(frozen=True)
class Dropout(Layer):
    """A random fraction `rate` of the activations set to zero while training; see `functional.dropout`."""

    rate: float

    def __post_init__(self) -> None:
        """Check the range and make the rate a float."""
        expect(0 <= self.rate <= 1, "Dropout", "a rate in [0, 1]", self.rate, "It is the fraction set to zero.")
        object.__setattr__(self, "rate", float(self.rate))

    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        """Return x with zeros when `train`, else x."""
        x = floating("Dropout", "x", x)
        if not train or self.rate == 0:
            return x, state
        expect(
            key is not None,
            "Dropout",
            "a key when train=True",
            "None",
            "Pass key=jax.random.key(0) to apply.",
        )
        assert key is not None
        return F.dropout(key, x, self.rate), state
