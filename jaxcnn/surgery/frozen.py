"""Layers that training leaves alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax

from jaxcnn.layers.layer import Layer, Params, State, apply
from jaxcnn.surgery.tree import Around, paths_in, wrap_at

__all__ = ["Frozen", "freeze"]


def freeze(net: Layer, at: Sequence[str]) -> Any:
    """Return the net whose layers at the given paths are what they were trained to be, in training as in evaluation.

    Their parameters have the gradient 0, for which nothing is computed; batch norm uses its running statistics, which
    stay as they are; dropout does nothing.

    Args:
        net: a layer.
        at: paths of layers, such as ["stage1", "stage2/conv1"].

    Returns:
        A net that takes the same params and state.

    Raises:
        ValueError: an unknown path; the message names the near ones.

    Source: Yosinski et al. 2014 ("frozen" layers).
    """
    return wrap_at("freeze", net, dict.fromkeys(paths_in("freeze", at), Frozen))


@dataclass(frozen=True)
class Frozen(Around):
    """A layer that is in training what it is in evaluation."""

    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        """Return the output and the state as it was."""
        # In evaluation the state stays as it is; taken from there, it carries the activations that are being read.
        return apply(self.inner, jax.lax.stop_gradient(params), state, x, train=False)
