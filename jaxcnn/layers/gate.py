"""A layer that weighs its input by what a branch makes of it."""

from collections.abc import Mapping
from dataclasses import dataclass

import jax

from jaxcnn.checking import expect
from jaxcnn.layers.composition import apply_parallel, check_children, init_parallel, lines
from jaxcnn.layers.layer import Layer, Module, Params, Spec, State
from jaxcnn.layers.serialization import register

__all__ = ["Gate"]


@register
@dataclass(frozen=True)
class Gate(Layer):
    """The input times a branch of it: y = x * branch(x), a branch that gives (..., C) counting at every pixel.

    `Gate(Sequential(pool=GlobalAvgPool(), reduce=Dense(4), act=F.relu, expand=Dense(64), gate=F.sigmoid))` weighs 64
    channels by what the whole image holds of them.

    Source: Hu, Shen, Sun 2018, "Squeeze-and-excitation networks", section 3.
    """

    branch: Module

    def __post_init__(self) -> None:
        """Check the branch."""
        check_children("Gate", self.children())

    def children(self) -> Mapping[str, Module]:
        """Return the branch."""
        return {"branch": self.branch}

    def init(self, key: jax.Array, spec: Spec) -> tuple[Params, State]:
        """Return parameters and state under `branch`."""
        return init_parallel("Gate", self.children(), key, spec)

    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        """Return the product, of x's shape, and the branch's state."""
        outputs, new_state = apply_parallel(self.children(), params, state, x, train=train, key=key)
        gate = outputs["branch"]
        if x.ndim >= 3 and gate.shape == (*x.shape[:-3], x.shape[-1]):
            gate = gate[..., None, None, :]
        ok = gate.ndim == x.ndim and all(g in (1, n) for g, n in zip(gate.shape, x.shape, strict=True))
        what = f"a branch whose output {x.shape} can be multiplied by"
        expect(ok, "Gate", what, f"one of shape {gate.shape}", "Let its last layer give the input's channels.")
        return x * gate, new_state

    def __repr__(self) -> str:
        """Return the layer, its branch on a line."""
        return lines("Gate", self.children())
