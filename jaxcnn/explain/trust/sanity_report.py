"""What the sanity checks found: how alike maps are, by method, and the verdicts that follow."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = ["SanityReport", "Similarities", "Verdict", "verdict_on"]

Similarities = Mapping[str, np.ndarray]
"""By measure ("rank", "signed_rank", "ssim") values (nets, images): 0 where one map is blank, NaN where both are."""


@dataclass(frozen=True)
class Verdict:
    """What the sanity checks say of one method."""

    passes: bool | None  # None: all its maps are blank, so that nothing can be said
    similarity: float  # rank correlation of |maps|, trained against random weights: mean over images and draws
    spread: float  # its standard deviation over images
    null: float  # the same mean of two nets with random weights
    labels: float | None  # against a net that learned random labels, if there is one
    blank: float  # the share of the images of which the trained net's own map is blank


@dataclass(frozen=True, eq=False)
class SanityReport:
    """How alike the maps of a trained net and of others are, by method, and what follows."""

    criterion: str
    layers: tuple[str, ...]  # in the order in which they were drawn anew
    cascading: Mapping[str, Similarities]  # (layers, images): all layers up to this one are random
    independent: Mapping[str, Similarities]  # (layers, images): this one is
    random: Mapping[str, Similarities]  # (draws, images): all are
    null: Mapping[str, Similarities]  # (pairs of draws, images): of two nets, all random
    labels: Mapping[str, Similarities]  # (1, images): trained on random labels; empty without such a net
    verdicts: Mapping[str, Verdict]
    # (nets, images, ...): of the trained net, along the cascade, of random labels; empty unless they were to be kept.
    maps: Mapping[str, np.ndarray] = field(default_factory=dict)

    def table(self) -> list[dict[str, Any]]:
        """Return the verdicts as rows, a method each."""
        some_blank = any(v.blank > 0 for v in self.verdicts.values())
        return [
            {
                "method": name,
                "verdict": {True: "passes", False: "fails", None: "cannot be judged"}[v.passes],
                "random weights": f"{v.similarity:.2f} ± {v.spread:.2f}",
                "two random nets": f"{v.null:.2f}",
                **({"random labels": f"{v.labels:.2f}"} if v.labels is not None else {}),
                **({"blank maps": f"{v.blank:.0%}"} if some_blank else {}),
            }
            for name, v in self.verdicts.items()
        ]


def verdict_on(parts: Mapping[str, Similarities], blank: float, threshold: float) -> Verdict:
    """Return what follows from a method's similarities, by kind."""
    random, null, labels = (parts[kind]["rank"] for kind in ("random", "null", "labels"))
    similarity, against = _mean(random), _mean(labels) if labels.size else None
    judged = [value for value in (similarity, against) if value is not None]
    passes = None if any(map(math.isnan, judged)) else all(value < threshold for value in judged)
    return Verdict(passes, similarity, _spread(random), _mean(null), against, blank)


def _mean(values: np.ndarray) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else math.nan


def _spread(values: np.ndarray) -> float:
    """Return the standard deviation over images of the mean over nets."""
    known = np.isfinite(values).any(axis=0)
    means = np.nanmean(values[:, known], axis=0)
    return float(means.std(ddof=1)) if len(means) > 1 else 0.0
