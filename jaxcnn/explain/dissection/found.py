"""What a dissection found."""

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Dissection"]


@dataclass(frozen=True, eq=False)
class Dissection:
    """The agreement of each unit of a layer with each concept, IoU = |unit and concept| / |unit or concept|.

    Pixels are counted over all images in which some concept of the category is.

    Args:
        at: the path of the layer.
        names: of the concepts.
        categories: of each concept.
        iou: (units, concepts), in [0, 1].
        ceiling: (units, concepts), the highest IoU that a unit which is on in so many pixels could have with a
            concept of so many: with pixels of a tenth, one that is on in 0.5 % has at most 0.05.
        thresholds: (units,), from which activation on a unit is on.
        null: (shuffles, units, concepts), the IoU with masks of other images: what comes by chance.
        threshold_iou: from which IoU on a unit is called a detector.
    """

    at: str
    names: tuple[str, ...]
    categories: tuple[str, ...]
    iou: np.ndarray
    ceiling: np.ndarray
    thresholds: np.ndarray
    null: np.ndarray
    threshold_iou: float

    @property
    def best(self) -> np.ndarray:
        """The concept of each unit: that of its highest IoU, (units,)."""
        return self.iou.argmax(axis=1)

    @property
    def best_iou(self) -> np.ndarray:
        """The highest IoU of each unit, (units,)."""
        return self.iou.max(axis=1)

    @property
    def chance(self) -> float:
        """The highest IoU that any unit has with masks of other images; NaN without shuffles."""
        return float(self.null.max(initial=0.0)) if len(self.null) else float("nan")

    @property
    def interpretable(self) -> np.ndarray:
        """Which units are detectors by the paper's rule, an IoU of `threshold_iou` or more; bool (units,)."""
        return self.best_iou >= self.threshold_iou

    @property
    def beyond_chance(self) -> np.ndarray:
        """Which units have a higher IoU than any has by chance; bool (units,), all False without shuffles."""
        return self.best_iou > self.chance

    def counts(self, units: np.ndarray | None = None) -> dict[str, int]:
        """Return how many units detect a concept of each category.

        Args:
            units: bool (units,), which are counted; the interpretable ones unless given.
        """
        return {c: len(which) for c, which in self._detected(units).items()}

    def unique(self, units: np.ndarray | None = None) -> dict[str, int]:
        """Return how many different concepts of each category are detected: the paper's unique detectors."""
        return {c: len(set(which)) for c, which in self._detected(units).items()}

    def rows(self, units: np.ndarray | None = None) -> list[dict[str, Any]]:
        """Return unit, category, concept, IoU, its ceiling and the threshold of each unit, the highest IoU first."""
        chosen = np.arange(len(self.iou)) if units is None else np.flatnonzero(units)
        order = chosen[np.argsort(-self.best_iou[chosen], kind="stable")]
        return [
            {
                "unit": int(unit),
                "category": self.categories[concept],
                "concept": self.names[concept],
                "iou": float(self.iou[unit, concept]),
                "ceiling": float(self.ceiling[unit, concept]),
                "threshold": float(self.thresholds[unit]),
            }
            for unit, concept in zip(order, self.best[order].tolist(), strict=True)
        ]

    def _detected(self, units: np.ndarray | None) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {category: [] for category in self.categories}
        for concept in self.best[self.interpretable if units is None else units].tolist():
            found[self.categories[concept]].append(concept)
        return found
