"""A convolution's geometry, and what computes one.

A form takes one batch: images (N, *size, channels), a kernel (*window, channels / groups, features), cotangents of the
maps (N, *positions, features). Sizes are tuples of any length: images have two axes.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from jaxcnn.functional.window import positions

__all__ = ["Form", "Forms", "Geometry"]


class Geometry(NamedTuple):
    """What slides over what; the tuples have one entry per spatial axis."""

    size: tuple[int, ...]  # pixels of the image
    window: tuple[int, ...]  # taps of the kernel
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]  # pixels before and after
    dilation: tuple[int, ...]
    channels: int
    features: int
    groups: int
    precision: Any = None

    @property
    def positions(self) -> tuple[int, ...]:
        """The positions of the window: the size of the maps."""
        return positions(self.size, self.window, self.stride, self.padding, self.dilation)

    @property
    def kernel(self) -> tuple[int, ...]:
        """The shape of the kernel."""
        return (*self.window, self.channels // self.groups, self.features)


Form = Callable[[jax.Array, jax.Array, Geometry], jax.Array]


class Forms(NamedTuple):
    """One way to compute `convolve(x, kernel)`, `input_gradient(g, kernel)` and `kernel_gradient(x, g)`."""

    convolve: Form
    input_gradient: Form
    kernel_gradient: Form
    sequential: bool = False  # several nets one after another, because all at once would be slower
