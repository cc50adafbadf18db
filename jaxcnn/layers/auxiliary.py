"""A net with further heads, which give its middle a gradient of their own while it trains."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax

from jaxcnn.checking import expect, shown
from jaxcnn.layers.composition import Sequential, apply_parallel, check_children, init_parallel, lines
from jaxcnn.layers.layer import Layer, Module, Params, Spec, State
from jaxcnn.layers.serialization import register

__all__ = ["Auxiliary"]

MAIN = "logits"


@register
@dataclass(frozen=True, init=False)
class Auxiliary(Layer):
    """Layers one after another, and heads beside them that take what some of these layers give.

    `Auxiliary({"aux1": "stage1"}, **net.layers, aux1=Sequential(GlobalAvgPool(), Dense(10)))` gives net one head, on
    what its stage1 gives. The output is a dict, the same whatever `train` is: {"logits": what the last layer gives,
    "aux1": what the head gives}. Under `jit` a head whose output nobody uses costs nothing. `losses.with_auxiliary`
    makes a loss for it of one for the logits.

    Parameters and state lie side by side under the names of layers and heads. To take the heads off again, take the
    `main` net: it needs no other params and state.

    Source: Szegedy et al. 2015, section 5; Lee et al. 2015 (Deeply-supervised nets).
    """

    taps: tuple[tuple[str, str], ...]
    pairs: tuple[tuple[str, Module], ...] = field(init=False)

    def __init__(self, /, taps: Mapping[str, str] | tuple[tuple[str, str], ...], **layers: Module) -> None:
        """Make the net.

        Args:
            taps: the name of each head -> the name of the layer whose output it takes.
            layers: the layers of the main net, in order, and the heads, by name; none may be called "taps".

        Raises:
            ValueError: taps that name no layer, or make heads of all layers.
            TypeError: taps that are no names.
        """
        where, fix = "Auxiliary", 'Pass {"aux1": "stage1"}, say, and layers of these names.'
        found = tuple(taps.items()) if isinstance(taps, Mapping) else taps
        ok = isinstance(found, tuple) and all(isinstance(p, tuple) and len(p) == 2 for p in found) and bool(found)
        ok = ok and all(isinstance(name, str) for pair in found for name in pair)
        expect(ok, where, "taps as a dict from names of heads to names of layers", shown(taps), fix, TypeError)
        found = tuple(dict(found).items())
        heads = [head for head, _ in found]
        main = [name for name in layers if name not in heads]
        lost = [head for head in heads if head not in layers] + [at for _, at in found if at not in main]
        expect(not lost, where, f"taps that name heads, and layers of {main}", shown(dict(found)), fix)
        fix = "It is what the output of the main net is called."
        expect(MAIN not in heads, where, f"heads not called {MAIN!r}", shown(heads), fix)
        check_children(where, layers)
        object.__setattr__(self, "taps", found)
        object.__setattr__(self, "pairs", tuple((name, layers[name]) for name in (*main, *heads)))

    @property
    def main(self) -> Sequential:
        """The net without the heads, which takes the same params and state and returns the state of its own layers."""
        heads = dict(self.taps)
        return Sequential(**{name: layer for name, layer in self.pairs if name not in heads})

    def up_to(self, head: str) -> Sequential:
        """Return the net that gives a head's output: the layers up to the one it takes, and the head."""
        taps = dict(self.taps)
        expect(head in taps, "up_to", f"one of the heads {list(taps)}", shown(head), "Choose one of them.")
        main = self.main
        layers = main[: list(main.layers).index(taps[head]) + 1].layers
        return Sequential(**layers, **{head: self.children()[head]})

    def children(self) -> Mapping[str, Module]:
        """Return the layers of the main net, then the heads."""
        return dict(self.pairs)

    def init(self, key: jax.Array, spec: Spec) -> tuple[Params, State]:
        """Return parameters and state by the names of layers and heads."""
        params, state = self.main.init(key, spec)
        for head, _ in self.taps:
            given = self.up_to(head)[:-1]
            x = jax.eval_shape(lambda p, s, x, net=given: net.apply(p, s, x, train=False)[0], params, state, spec)
            own, moved = init_parallel("Auxiliary", {head: self.children()[head]}, key, x)
            params, state = params | own, state | moved
        return params, state

    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[Any, State]:
        """Return the outputs by name, those of the main net as "logits", and the state by name."""
        children, outputs, new_state = self.children(), {}, {}
        for name, layer in self.main.layers.items():
            found, own = apply_parallel({name: layer}, params, state, x, train=train, key=key)
            x = found[name]
            heads = {head: children[head] for head, at in self.taps if at == name}
            beside, others = apply_parallel(heads, params, state, x, train=train, key=key)
            outputs, new_state = outputs | beside, new_state | own | others
        return {MAIN: x} | outputs, new_state

    def __repr__(self) -> str:
        """Return the net, a layer a line."""
        parts: dict[str, Any] = {"taps": dict(self.taps), **self.children()}
        return lines("Auxiliary", parts)
