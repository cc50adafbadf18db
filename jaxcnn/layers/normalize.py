"""The data's mean and standard deviation made standard, as a layer of the net."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import expect, floating
from jaxcnn.layers.layer import Layer, Params, State
from jaxcnn.layers.serialization import register

__all__ = ["Normalize"]


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
