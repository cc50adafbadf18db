"""Randomized smoothing: the class that most noisy copies of an image are given, and how far that is certain to hold."""

import functools
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.attack.given import expect_function
from jaxcnn.attack.goal import logits
from jaxcnn.checking import expect_count, expect_flag, expect_key, floating, number
from jaxcnn.classifier import LogitsFn, as_tree, expect_logits, outputs_like
from jaxcnn.variants import chunk_of, total_over_variants

__all__ = ["ABSTAINS", "Certificate", "certify", "noise_training", "smoothed"]

ABSTAINS = -1
"""The class of an image of which nothing is certain."""
COUNTED = 2**24  # float32 counts so far


class Certificate(NamedTuple):
    """What is certain of each image, arrays (...) on the host."""

    prediction: np.ndarray  # int: the smoothed classifier's class, or ABSTAINS
    radius: np.ndarray  # no change of a smaller Euclidean length changes that class; 0 where it abstains
    probability: np.ndarray  # that the net gives that class to a noisy copy: the lower bound of the confidence interval


def smoothed(
    key: jax.Array,
    logits_fn: LogitsFn,
    *,
    sigma: float,
    samples: int = 100,
    soft: bool = False,
    chunk: int | None = None,
) -> LogitsFn:
    """Return the smoothed classifier: images -> the logarithms of how often noisy copies are given each class.

        g(x)_c = log((1 + sum_i [argmax f(x + sigma e_i) = c]) / (samples + classes)),   e_i normal

    By the rule of succession no logarithm is infinite. These votes have no gradient: attacks by gradient fail on them,
    which defends nothing. With `soft` the mean of the probabilities takes their place,
    log(1/n sum_i softmax(f(x + sigma e_i))), which such attacks can climb.

    Args:
        key: of the noise, which is the same in each call: the function is one of x alone.
        logits_fn: images (..., H, W, C) -> logits (..., classes), trained on noisy images: `noise_training`.
        sigma: the noise's standard deviation, in the unit of the pixels, which it may take out of their bounds.
        samples: noisy copies of each image.
        soft: whether probabilities are averaged instead of counting votes.
        chunk: copies at once: memory for `chunk` times x. As many as are fast unless given.

    Returns:
        A function of images; a pytree, as `training.predictor` is.

    Raises:
        ValueError: sigma not positive, samples or a chunk below 1.
        TypeError: no key, no function.

    Source: Cohen, Rosenfeld, Kolter 2019, equation 1; `soft`: Salman et al. 2019, equation 6.
    """
    where = "smoothed"
    expect_key(where, key)
    expect_function(where, logits_fn)
    chunk = None if chunk is None else expect_count(where, "chunk", chunk)
    fn = _Smoothed(expect_count(where, "samples", samples), expect_flag(where, "soft", soft), chunk)
    return jax.tree_util.Partial(fn, key, as_tree(logits_fn), jnp.float32(_sigma(where, sigma)))


def certify(
    key: jax.Array,
    logits_fn: LogitsFn,
    x: jax.Array,
    *,
    sigma: float,
    n0: int = 100,
    n: int = 10_000,
    alpha: float = 0.001,
    chunk: int | None = None,
) -> Certificate:
    """Return the smoothed classifier's class of each image, and the radius within which no change alters it.

    Of n0 noisy copies the class that most are given is chosen; of n fresh ones it is counted how many are given it.
    With p the lower bound of Clopper and Pearson's interval for that count, one-sided, of confidence 1 - alpha:

        radius = sigma Phi^-1(p)  where p > 1/2;  else it abstains.

    Each certificate is wrong with a probability of at most alpha, over the noise, whatever the net. Only changes in the
    Euclidean norm are meant, and only of the smoothed classifier, not of the net itself.

    Args:
        key: a PRNG key.
        logits_fn: images (..., H, W, C) -> logits (..., classes); probabilities will do.
        x: images (..., H, W, C), floating.
        sigma: the noise's standard deviation, in the unit of the pixels: the larger, the larger radii can be, and the
            harder the images are. No radius is larger than sigma Phi^-1(alpha^(1/n)).
        n0: noisy copies that choose the class.
        n: noisy copies that are counted.
        alpha: the probability of error, in (0, 1).
        chunk: copies at once: memory for `chunk` times x. As many as are fast unless given.

    Returns:
        A `Certificate`; certified accuracy at r is the mean of (prediction == y) & (radius > r).

    Raises:
        ValueError: sigma not positive, alpha out of range, counts below 1 or of 2^24 and more.
        TypeError: x is not floating, no key, no function.

    Source: Cohen, Rosenfeld, Kolter 2019, theorem 1 and the procedure CERTIFY of section 3.2.2; agrees with its
    reference implementation.
    """
    from scipy.stats import beta, norm

    where = "certify"
    expect_key(where, key, known=True)
    expect_function(where, logits_fn)
    sigma = _sigma(where, sigma)
    n0, n = expect_count(where, "n0", n0, 1, COUNTED - 1), expect_count(where, "n", n, 1, COUNTED - 1)
    alpha = number(where, "alpha in (0, 1)", alpha, lambda a: 0 < a < 1, "0.001 is the paper's.")
    x, logits_fn = floating(where, "x", x), as_tree(logits_fn)
    expect_logits(where, outputs_like(where, logits_fn, x), x, "Certificates are of classifiers.")
    chunk = chunk_of(where, chunk, x)
    choosing, counting = jax.random.split(key)
    votes = [
        np.asarray(_votes(k, logits_fn, x, jnp.float32(sigma), samples=samples, soft=False, chunk=chunk))
        for k, samples in ((choosing, n0), (counting, n))
    ]
    chosen = votes[0].argmax(-1)
    count = np.take_along_axis(votes[1], chosen[..., None], -1)[..., 0].astype(np.float64)
    # The interval's lower end for a count of 0 is 0, where the distribution has no parameters.
    p = np.where(count > 0, beta.ppf(alpha, np.maximum(count, 1), n - count + 1), 0.0)
    certain = p > 0.5
    radius = np.where(certain, sigma * norm.ppf(np.maximum(p, 0.5)), 0.0)
    return Certificate(np.where(certain, chosen, ABSTAINS), radius, p)


def noise_training(*, sigma: float) -> dict[str, Any]:
    """Return the options of `fit` for training on noisy images, which a smoothed classifier needs.

        result = training.fit(net, train, **defence.noise_training(sigma=0.25), ...)

    x <- x + sigma e, e normal, new in each step; not clipped to the pixels' bounds, as the certificate's noise is not.

    Args:
        sigma: as for `certify`.

    Returns:
        {"attack": ...}: it comes after the augmentation.

    Raises:
        ValueError: sigma not positive.

    Source: Cohen, Rosenfeld, Kolter 2019, section 3.3.
    """
    sigma = _sigma("noise_training", sigma)

    def noisy(key: jax.Array, logits_fn: LogitsFn, batch: Any) -> Any:
        x = batch["image"]
        return dict(batch, image=x + sigma * jax.random.normal(key, x.shape, x.dtype))

    return {"attack": noisy}


@dataclass(frozen=True)
class _Smoothed:
    samples: int
    soft: bool
    chunk: int | None

    def __call__(self, key: jax.Array, logits_fn: LogitsFn, sigma: jax.Array, x: jax.Array) -> jax.Array:
        x = floating("smoothed", "x", x)
        chunk = chunk_of("smoothed", self.chunk, x)
        total = _votes(key, logits_fn, x, sigma, samples=self.samples, soft=self.soft, chunk=chunk)
        if self.soft:
            return jnp.log(jnp.maximum(total / self.samples, jnp.finfo(total.dtype).tiny))
        return jnp.log((total + 1) / (self.samples + total.shape[-1]))


@functools.partial(jax.jit, static_argnames=("samples", "soft", "chunk"))
def _votes(
    key: jax.Array, logits_fn: LogitsFn, x: jax.Array, sigma: jax.Array, *, samples: int, soft: bool, chunk: int
) -> jax.Array:
    """Return how many noisy copies are given each class (..., classes), or the sums of their probabilities."""

    def vote(key: jax.Array) -> jax.Array:
        found = logits(logits_fn, x + sigma.astype(x.dtype) * jax.random.normal(key, x.shape, x.dtype))
        if soft:
            return jax.nn.softmax(found)
        given = jax.nn.one_hot(found.argmax(-1), found.shape[-1], dtype=found.dtype)
        return jnp.where(jnp.isnan(found).any(-1, keepdims=True), 0, given)  # NaN is no class

    return total_over_variants(vote, jax.random.split(key, samples), chunk)


def _sigma(where: str, sigma: Any) -> float:
    return number(where, "sigma > 0", sigma, lambda s: 0 < s < math.inf, "0.25 is a quarter of the way to white.")
