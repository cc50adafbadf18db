"""Several nets as one: averaged probabilities, how much they disagree, and whether their confidence can be believed."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxcnn.checking import expect, expect_count, floating, integral
from jaxcnn.classifier import logits_of
from jaxcnn.data.dataset import to_float
from jaxcnn.layers.layer import Layer, expect_arrays, expect_net

__all__ = ["calibration_error", "disagreement", "ensemble", "fit_temperature"]


def ensemble(net: Layer, params: Any, state: Any) -> Callable[[jax.Array], jax.Array]:
    """Return several trained nets as one function of images, with `train=False`.

    log p(c | x) = log mean_k softmax(net_k(x))[c]: logits whose softmax is the mean of the nets' probabilities.

    Args:
        net: the net.
        params, state: of all nets: every array has a leading axis of nets, as in `Trainings.states`.

    Returns:
        `images -> (..., classes)`, a pytree as `predictor`'s.

    Raises:
        TypeError: no net, no arrays.
        ValueError: arrays without one leading axis of nets.

    Source: Lakshminarayanan et al. 2017, section 2.4.
    """
    expect_net("ensemble", net)
    expect_arrays("ensemble", "params", params)
    expect_arrays("ensemble", "state", state)
    counts = {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves((params, state))}
    ok, fix = len(counts) == 1 and counts != {()}, "Pass the states of Trainings."
    expect(ok, "ensemble", "arrays with one leading axis of nets", f"leading axes {sorted(counts)}", fix)
    return jax.tree_util.Partial(functools.partial(_mean, net), params, state)


def _mean(net: Layer, params: Any, state: Any, images: jax.Array) -> jax.Array:
    images = to_float(images)
    logits = jax.vmap(lambda p, s: logits_of(net.apply(p, s, images, train=False)[0]))(params, state)
    return jax.nn.logsumexp(jax.nn.log_softmax(logits), axis=0) - jnp.log(len(logits))


def disagreement(logits: jax.Array) -> jax.Array:
    """Return how much nets disagree on each example: the mutual information of class and net, in nats.

    H(mean_k p_k) - mean_k H(p_k), 0 where all give the same probabilities, at most log(nets).

    Args:
        logits: (nets, ..., classes), floating.

    Returns:
        (...,) float32, >= 0 to rounding.

    Raises:
        ValueError: fewer than two axes.
        TypeError: logits that are not floating.

    Source: Houlsby et al. 2011, equation 2.
    """
    logits = floating("disagreement", "logits", logits).astype(jnp.float32)
    fix = "Stack the outputs of the nets along a first axis."
    expect(logits.ndim >= 2, "disagreement", "logits of shape (nets, ..., classes)", logits.shape, fix)
    each = jax.nn.log_softmax(logits)
    mean = jax.nn.logsumexp(each, axis=0) - jnp.log(len(logits))
    return _entropy(mean) - jnp.mean(_entropy(each), axis=0)


def _entropy(log_p: jax.Array) -> jax.Array:
    return -jnp.sum(jnp.where(log_p > -jnp.inf, jnp.exp(log_p) * log_p, 0), axis=-1)


def calibration_error(logits: jax.Array, labels: jax.Array, *, bins: int = 15) -> jax.Array:
    """Return the expected calibration error: how far confidence is from accuracy, on average.

    sum_b |B_b| / N * |accuracy(B_b) - confidence(B_b)|, B_b the examples whose largest probability lies in the b-th of
    equal parts of (0, 1].

    Args:
        logits: (N, classes), floating.
        labels: (N,) class indices.
        bins: how many parts.

    Returns:
        A float32 scalar in [0, 1].

    Raises:
        ValueError: shapes that do not match, bins below 1.
        TypeError: logits that are not floating, labels that are not integers.

    Source: Guo et al. 2017, equation 3; Naeini et al. 2015.
    """
    where = "calibration_error"
    logits, labels = _checked(where, logits, labels)
    bins = expect_count(where, "bins", bins)
    p = jax.nn.softmax(logits)
    confidence = p.max(-1)
    gap = confidence - (p.argmax(-1) == labels)
    place = jnp.clip(jnp.ceil(confidence * bins).astype(jnp.int32) - 1, 0, bins - 1)
    return jnp.sum(jnp.abs(jnp.bincount(place, gap, length=bins))) / len(labels)


def fit_temperature(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Return the temperature T that minimises the cross-entropy of logits / T: divide logits by it.

    Fit it on held-out examples: the choice of classes stays as it was, the confidence changes.

    Args:
        logits: (N, classes), floating.
        labels: (N,) class indices.

    Returns:
        A float32 scalar in [0.01, 100].

    Raises:
        ValueError: shapes that do not match.
        TypeError: logits that are not floating, labels that are not integers.

    Source: Guo et al. 2017, section 4.2.
    """
    logits, labels = _checked("fit_temperature", logits, labels)

    def loss(log_t: jax.Array) -> jax.Array:
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits * jnp.exp(-log_t), labels))

    # The loss is convex in 1 / T: where its slope changes sign is the minimum.
    low, high = jnp.log(jnp.float32(0.01)), jnp.log(jnp.float32(100.0))

    def halve(_: int, ends: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = ends
        middle = (low + high) / 2
        rises = jax.grad(loss)(middle) > 0
        return jnp.where(rises, low, middle), jnp.where(rises, middle, high)

    low, high = jax.lax.fori_loop(0, 40, halve, (low, high))
    return jnp.exp((low + high) / 2)


def _checked(where: str, logits: Any, labels: Any) -> tuple[jax.Array, jax.Array]:
    logits = floating(where, "logits", logits).astype(jnp.float32)
    labels = integral(where, "labels", labels, "Pass class indices.")
    ok = logits.ndim == 2 and labels.shape == logits.shape[:1] and logits.size > 0
    got = f"{logits.shape} and {labels.shape}"
    expect(
        ok, where, "logits (N, classes) and labels (N,)", got, "One label for each row, one row and one class at least."
    )
    return logits, labels
