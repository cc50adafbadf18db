"""Less memory for more computing."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax

from jaxcnn.layers.layer import Layer, Params, State, apply
from jaxcnn.surgery.tree import Around, paths_in, wrap_at

__all__ = ["Rematerialized", "rematerialize"]


def rematerialize(net: Layer, at: Sequence[str]) -> Any:
    """Return the net whose layers at the given paths are computed a second time in the backward pass.

    Their inner activations need not be kept until then: the memory of a deep net falls to the outputs of its blocks
    and what is inside of one of them, for about a third more computing. Values, gradients and names are as before.

    Args:
        net: a layer.
        at: paths of composites, such as ["stage1", "stage2"].

    Returns:
        A net that takes the same params and state.

    Raises:
        ValueError: an unknown path; the message names the near ones.

    Source: Chen et al. 2016 (sublinear memory cost); `jax.checkpoint`.
    """
    return wrap_at("rematerialize", net, dict.fromkeys(paths_in("rematerialize", at), Rematerialized))


@dataclass(frozen=True)
class Rematerialized(Around):
    """A layer that is computed a second time in the backward pass."""

    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        """Return what the layer inside does."""
        run = partial(apply, self.inner, train=train)
        return jax.checkpoint(lambda p, s, x, k: run(p, s, x, key=k))(params, state, x, key)
