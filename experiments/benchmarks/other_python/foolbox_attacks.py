"""foolbox's side of `experiments.benchmarks.attacks`: its JAX backend on a Flax net, as its users write it.

See `answers` for what is asked and told.
"""

import functools
from typing import Any

import numpy as np

from experiments.benchmarks.other_python.answers import Ways, answer


def methods(arrays: dict[str, Any], about: dict[str, Any]) -> dict[str, Ways]:
    """Return PGD of a net that is compiled, and of one that is not; each call gives the images (N, C, H, W)."""
    import foolbox  # pyrefly: ignore
    import jax
    import jax.numpy as jnp

    x, y = jnp.asarray(arrays.pop("image")), jnp.asarray(arrays.pop("target"), jnp.int32)
    net = functools.partial(forward, about["layers"], flax_weights(arrays))
    pgd = foolbox.attacks.LinfPGD(abs_stepsize=about["step_size"], steps=about["steps"], random_start=True)

    def attack(net: Any) -> np.ndarray:
        model = foolbox.models.JAXModel(net, bounds=(0, 1))
        _, images, _ = pgd(model, x, y, epsilons=about["epsilon"])
        return np.moveaxis(np.asarray(images), -1, 1)

    ways = {"foolbox, the net compiled": jax.jit(net), "foolbox, nothing compiled": net}
    return {"pgd": {way: functools.partial(attack, net) for way, net in ways.items()}}


def forward(layers: Any, weights: dict[str, Any], x: Any) -> Any:
    """Return the logits, by the layers of Flax."""
    from flax import linen as nn

    for name, kind, options in layers:
        variables = {"params": weights.get(name, {})}
        if kind == "Conv":
            padding = [(n, n) for n in options["padding"]]
            x = nn.Conv(options["out_channels"], options["kernel_size"], padding=padding).apply(variables, x)
        elif kind == "Dense":
            x = nn.Dense(options["out_features"]).apply(variables, x)
        elif kind == "MaxPool":
            x = nn.max_pool(x, (2, 2), (2, 2))
        elif kind == "Flatten":  # in PyTorch's order, which the weights have
            x = x.transpose(0, 3, 1, 2).reshape(len(x), -1)
        else:
            x = getattr(nn, kind)(x)
    return x


def flax_weights(arrays: dict[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    """Return PyTorch's weights as Flax has them."""
    import jax.numpy as jnp

    found: dict[str, dict[str, Any]] = {}
    for name, array in arrays.items():
        layer, leaf = name.split(".")
        if leaf == "weight":
            array = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T
        found.setdefault(layer, {})["kernel" if leaf == "weight" else leaf] = jnp.asarray(array)
    return found


if __name__ == "__main__":
    answer(("foolbox", "jax", "flax"), methods)
