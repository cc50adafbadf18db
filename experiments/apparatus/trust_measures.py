"""Explanations in numbers: what each method's maps are worth by the measures of `explain.trust`, and where they lie."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.apparatus.attributions import Attribution
from experiments.apparatus.statistics import mean_sd, summary_of_many
from jaxcnn import training
from jaxcnn.explain import trust
from jaxcnn.layers.layer import Layer, Params, State

__all__ = ["Answered", "answered", "localization", "measures", "pixels_of", "rows", "summaries"]

Found = dict[str, dict[str, np.ndarray]]
"""For each method each measure of every image, (n,)."""


class Answered(NamedTuple):
    """A trained net, and images with the classes whose scores are explained."""

    net: Layer
    params: Params
    state: State
    x: jax.Array
    target: jax.Array

    @property
    def logits_fn(self) -> Callable[[jax.Array], jax.Array]:
        """The net as a function of images."""
        return training.predictor(self.net, self.params, self.state)


def answered(net: Layer, params: Params, state: State, x: jax.Array) -> Answered:
    """Return images with the classes that the net gives them."""
    logits = training.predict(net, params, state, {"image": np.asarray(x)})
    return Answered(net, params, state, jnp.asarray(x), jnp.asarray(logits.argmax(axis=-1)))


def per_pixel(method: Attribution, maps: jax.Array, x: jax.Array) -> jax.Array:
    """Return how important each pixel is said to be, (..., H, W).

    Of a method whose values add up to the score that is their sum over channels; of one that tells slopes, whose sign
    says nothing of importance, the sum of absolute values.
    """
    if maps.ndim < x.ndim:
        return maps
    return (maps if method.adds_up else jnp.abs(maps)).sum(axis=-1)


def measures(key: jax.Array, of: Answered, methods: Mapping[str, Attribution]) -> Found:
    """Return the measures of each method, and of random numbers.

    "deletion", "insertion": areas. "ROAD": half the mean gap. "infidelity": of squares that are removed, with the best
    factor, as a fraction of that of a blank map: the share of what happens to the score that the map does not
    foretell. "max sensitivity": within 0.02. "sensitivity-n": with a tenth of the pixels gone.
    """
    f, x, target = of.logits_fn, of.x, of.target
    height, width = x.shape[-3:-1]
    square = trust.SquareRemoval(max(min(height, width) // 4, 1))
    again = lambda: jax.random.clone(key)  # noqa: E731  # the same chance for every method
    faithful = partial(trust.infidelity, logits_fn=f, x=x, target=target, perturb=square, normalize=True)
    whole = faithful(again(), attribution=jnp.zeros_like(x))
    total = jnp.where(whole > 0, whole, 1)
    noise = jax.random.uniform(again(), x.shape[:-1])
    found = {}
    for name, method in {**methods, "random numbers": Attribution(lambda *_: noise, adds_up=True)}.items():
        explain = lambda x, fn=method.fn: fn(of.net, of.params, of.state, x, target)  # noqa: E731
        maps = explain(x)
        pixels = per_pixel(method, maps, x)
        values = {
            "deletion": trust.deletion(f, x, pixels, target).area,
            "insertion": trust.insertion(f, x, pixels, target).area,
            "ROAD": trust.road(again(), f, x, pixels, target).gap,
            "infidelity": faithful(again(), attribution=maps, times_input=method.adds_up) / total,
            "max sensitivity": trust.max_sensitivity(again(), explain, x, samples=5),
            "sensitivity-n": trust.sensitivity_n(again(), f, x, maps, target, max(height * width // 10, 1)),
        }
        found[name] = {measure: np.asarray(value) for measure, value in values.items()}
    return found


def pixels_of(of: Answered, methods: Mapping[str, Attribution]) -> dict[str, jax.Array]:
    """Return how important each method says each pixel is, (n, H, W)."""
    return {name: per_pixel(method, method.fn(*of), of.x) for name, method in methods.items()}


def localization(pixels: Mapping[str, jax.Array], masks: np.ndarray) -> Found:
    """Return how well maps (n, H, W) lie on the object."""
    ways = {"pointing game": trust.pointing_game, "IoU": trust.mask_iou, "energy inside": trust.energy_inside}
    return {
        name: {measure: np.asarray(way(maps, masks), np.float64) for measure, way in ways.items()}
        for name, maps in pixels.items()
    }


def summaries(found: Found) -> dict[str, Any]:
    """Return mean, standard deviation, number and interval of each measure over images."""
    return {name: {measure: summary_of_many(v) for measure, v in measured.items()} for name, measured in found.items()}


def rows(found: Found) -> list[dict[str, Any]]:
    """Return the rows of the table, a method each."""
    return [
        {"method": name, **{measure: mean_sd(v, 2) for measure, v in measured.items()}}
        for name, measured in found.items()
    ]
