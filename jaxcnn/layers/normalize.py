"""The data's mean and standard deviation made standard, as a layer of the net."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import expect, floating, shown
from jaxcnn.functional.spread import along_channels
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
            object.__setattr__(self, name, _floats(name, getattr(self, name)))
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
        mean, std = (along_channels(jnp.asarray(values, wide.dtype), wide) for values in (self.mean, self.std))
        y = (wide - mean) / std
        return y.astype(x.dtype), state


def _floats(name: str, value: Any) -> tuple[float, ...]:
    try:
        values = np.ravel(np.asarray(value, np.float64)).tolist()
    except (TypeError, ValueError, OverflowError):  # of traced ones, among others
        values = [math.nan]
    what = f"{name} as a finite number, or one per channel"
    expect(all(map(math.isfinite, values)), "Normalize", what, shown(value), "Pass those of data.load's info, say.")
    return tuple(values)
