"""What is published of several seeds: mean, standard deviation, how many, and how far the mean can be trusted."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxcnn.checking import expect

CONFIDENCE = 0.95


def summary(values: Sequence[float], comparisons: int = 1) -> dict[str, Any]:
    """Return `mean`, `sd` (of the sample), `n`, the 95 % `interval` of the mean, [low, high], and the `values`.

    Args:
        values: one a seed, two or more; of seeds that are independent and spread as a normal distribution.
        comparisons: intervals that hold together with 95 %, each wider for it (Bonferroni).
    """
    expect(len(values) >= 2, "summary", "two values or more", len(values), "One has no standard deviation.")
    mean, sd = statistics.fmean(values), statistics.stdev(values)
    return {
        "mean": mean,
        "sd": sd,
        "n": len(values),
        "interval": interval(mean, sd, len(values), comparisons),
        "values": list(values),
    }


def summary_of_many(values: np.ndarray) -> dict[str, Any]:
    """Return the `summary` of values without them: of hundreds of images, numbers or whether something is so."""
    found = summary(np.asarray(values, float).ravel().tolist())
    del found["values"]
    return found


def interval(mean: float, sd: float, n: int, comparisons: int = 1) -> list[float]:
    """Return the 95 % confidence interval of a mean, mean -+ t sd / sqrt(n), t of Student's distribution.

    Of several comparisons each has 1 - 0.05 / comparisons.

    Source: Student 1908.
    """
    from scipy.stats import t

    half = float(t.ppf(1 - (1 - CONFIDENCE) / (2 * comparisons), n - 1)) * sd / math.sqrt(n)
    return [mean - half, mean + half]


def better(values: np.ndarray, others: np.ndarray, *, comparisons: int = 1) -> bool:
    """Return whether values are larger than others, seed by seed, beyond the 95 % interval of the mean difference.

    Where one of several comparisons is enough, each is held to the interval that Bonferroni gives it.
    """
    return summary((values - others).tolist(), comparisons)["interval"][0] > 0


def mean_sd(values: np.ndarray, digits: int = 1) -> str:
    """Return mean and standard deviation (of the sample) as text."""
    return f"{np.mean(values):.{digits}f} ± {np.std(values, ddof=1):.{digits}f}"


def in_points(found: Mapping[str, Any]) -> str:
    """Return the interval of a `summary` of differences of fractions as text, in points of a hundred."""
    low, high = found["interval"]
    return f"{100 * low:+.1f} to {100 * high:+.1f}"


def sentence(found: Mapping[str, Any]) -> str:
    """Return a `summary` as text."""
    low, high = found["interval"]
    return (
        f"mean={found['mean']:.4f} sd={found['sd']:.4f} n={found['n']} {CONFIDENCE:.0%} interval={low:.4f}..{high:.4f}"
    )
