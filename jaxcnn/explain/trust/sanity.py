"""The sanity checks: do a method's maps depend on what the net has learned?"""

import inspect
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxcnn.checking import array, expect, expect_count, expect_flag, expect_key, floating, number, shown
from jaxcnn.explain.inner import expect_trained
from jaxcnn.explain.trust.randomization import Weights, cascading_randomization, independent_randomization, initial
from jaxcnn.explain.trust.sanity_report import SanityReport, Similarities, verdict_on
from jaxcnn.explain.trust.similarity import MEASURES, similarities
from jaxcnn.explain.values import expect_finite
from jaxcnn.layers.layer import Layer, Params, State

__all__ = ["sanity_checks"]

Method = Callable[[Layer, Params, State, jax.Array, Any], jax.Array]
"""(net, params, state, x, target) -> maps (..., h, w) or (..., h, w, c)."""


def _expect_method(where: str, name: str, method: Any) -> None:
    """Raise `TypeError` unless the method can be called as `sanity_checks` does."""
    try:
        signature = inspect.signature(method)
    except ValueError:  # of what is written in C
        return
    try:
        signature.bind(*range(5))
    except TypeError:
        what = f"{name!r} as a function (net, params, state, x, target)"
        fix = "Pass lambda n, p, s, x, y: explain.gradient(training.predictor(n, p, s), x, y), say."
        expect(False, where, what, f"one of {signature}", fix, TypeError)


def sanity_checks(
    key: jax.Array,
    net: Layer,
    params: Params,
    state: State,
    x: jax.Array,
    target: Any,
    methods: Mapping[str, Method],
    *,
    random_label_weights: Weights | None = None,
    at: Sequence[str] | None = None,
    draws: int = 3,
    threshold: float = 0.5,
    keep_maps: bool = False,
) -> SanityReport:
    """Return which methods' maps depend on the net's weights: those of a method that passes change with them.

    A map that stays when all that the net learned is thrown away shows the image, not the net. So each method
    explains the same class of the same images for the trained net and for nets whose layers are drawn anew: from the
    output down, one at a time, and all of them; and, if there are such weights, for one trained on random labels.

    Args:
        key: a PRNG key, of the random weights.
        net, params, state: the trained net.
        x: images (..., H, W, C), floating: some dozens make the spread small.
        target: what `methods` take: the same for all nets.
        methods: for each name a function (net, params, state, x, target) -> maps (..., h, w) or (..., h, w, c).
        random_label_weights: (params, state) of the same net trained on permuted labels.
        at: the layers, as for `cascading_randomization`; `()` for none: then all layers are drawn anew at once alone.
        draws: nets with all weights random, 2 or more.
        threshold: a method fails from this similarity on, in (0, 1).
        keep_maps: whether the report has the maps of the trained net, along the cascade and of random labels, too.

    Returns:
        A `SanityReport`; `report.table()` is the table of verdicts, and `report.criterion` says how they were reached.

    Raises:
        ValueError: options out of range, an unknown layer, maps that are not finite or of another shape.
        TypeError: no key, no net, x that is not floating, no methods by name.

    Source: Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim 2018, whose measures these are (but for HOG).
    """
    where = "sanity_checks"
    expect_key(where, key)
    expect_trained(where, net, params, state)
    x = floating(where, "x", x)
    ok = isinstance(methods, Mapping) and len(methods) > 0 and all(map(callable, methods.values()))
    fix = 'Pass {"gradient": lambda net, params, state, x, target: ...}, say.'
    expect(ok, where, "methods by name", shown(methods), fix, TypeError)
    for name, method in methods.items():
        _expect_method(where, name, method)
    draws = expect_count(where, "draws", draws, least=2)
    threshold = number(where, "a threshold between 0 and 1", threshold, lambda t: 0 < t < 1, "Pass 0.5, say.")
    keep_maps = expect_flag(where, "keep_maps", keep_maps)

    cascade_key, alone_key, key = jax.random.split(key, 3)
    steps = cascading_randomization(cascade_key, net, params, state, x, at=at)
    alone = independent_randomization(alone_key, net, params, state, x, at=at)
    random = [initial(net, one, x.shape[-3:], x.dtype) for one in jax.random.split(key, draws)]
    labels = [] if random_label_weights is None else [random_label_weights]

    found: dict[str, dict[str, Similarities]] = {}
    blank: dict[str, float] = {}
    maps: dict[str, np.ndarray] = {}
    lead = x.ndim - 3
    for name, method in methods.items():
        explained = _explained(where, name, method, net, x, target)
        own = explained((params, state))
        down, others, taught = ([explained(one) for one in some] for some in (steps.values(), random, labels))
        blank[name] = float(np.isnan(_compared(own, own, lead)["rank"]).mean())
        found[name] = {
            "cascading": _each(own, down, lead),
            "independent": _each(own, map(explained, alone.values()), lead),
            "random": _each(own, others, lead),
            "null": _stacked(_compared(a, b, lead) for a, b in itertools.combinations(others, 2)),
            "labels": _each(own, taught, lead),
        }
        if keep_maps:
            maps[name] = np.stack([own, *down, *taught])
    by_kind = {kind: {name: found[name][kind] for name in found} for kind in next(iter(found.values()))}
    if not labels:
        by_kind["labels"] = {}
    criterion = (
        "A method passes if the rank correlation (Spearman) of the absolute maps of the trained net and of nets with "
        f"random weights stays below {threshold:g}, in the mean over images and {draws} draws of the weights"
        + ("; and likewise against the net that learned random labels." if labels else ".")
    )
    verdicts = {name: verdict_on(parts, blank[name], threshold) for name, parts in found.items()}
    return SanityReport(criterion, tuple(steps), **by_kind, verdicts=verdicts, maps=maps)


def _explained(
    where: str, name: str, method: Method, net: Layer, x: jax.Array, target: Any
) -> Callable[[Weights], jax.Array]:
    """Return weights -> maps."""
    lead = x.shape[:-3]

    def explained(weights: Weights) -> jax.Array:
        maps = array(where, name, method(net, *weights, x, target))
        ok = maps.shape[: len(lead)] == lead and maps.ndim - len(lead) in (2, 3)
        expect(ok, where, f"maps {lead} + (h, w) or (h, w, c) of {name!r}", maps.shape, "Return one for each image.")
        expect_finite(where, f"the maps of {name!r}", maps)
        return maps

    return explained


def _compared(first: jax.Array, second: jax.Array, lead: int) -> dict[str, np.ndarray]:
    return {name: np.asarray(value).ravel() for name, value in similarities(first, second, lead=lead).items()}


def _each(own: jax.Array, others: Any, lead: int) -> Similarities:
    return _stacked(_compared(own, other, lead) for other in others)


def _stacked(found: Any) -> Similarities:
    found = list(found)
    return {name: np.array([one[name] for one in found]) for name in MEASURES}
