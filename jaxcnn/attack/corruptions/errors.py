"""How often a net errs on corrupted images: by kind, by severity, and in one number."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.attack.corruptions.severity import SEVERITIES
from jaxcnn.attack.corruptions.table import CORRUPTIONS, corrupted, expect_images
from jaxcnn.attack.given import prepared
from jaxcnn.checking import expect, expect_choice, expect_count, expect_key, shown
from jaxcnn.classifier import LogitsFn, classes, logits_of, outputs

__all__ = ["CorruptionReport", "corruption_errors"]


@dataclass(frozen=True, eq=False)
class CorruptionReport:
    """Accuracy of a net on corrupted images."""

    kinds: tuple[str, ...]
    severities: tuple[int, ...]
    accuracy: np.ndarray  # (kinds, severities)
    clean: float  # accuracy on the images as they are
    images: int  # how many

    @property
    def mean_error(self) -> float:
        """The mean error over kinds and severities: what is published for CIFAR-10-C."""
        return float(1 - self.accuracy.mean())

    def corruption_errors(self, baseline: "CorruptionReport") -> np.ndarray:
        """Return the error of each kind, (kinds,), as a fraction of a baseline's: sum_s E_s / sum_s B_s.

        NaN where the baseline does not err.

        Raises:
            ValueError: a baseline of other kinds or severities.

        Source: Hendrycks and Dietterich 2019, section 4.3, where the baseline is AlexNet.
        """
        _expect_like("corruption_errors", self, baseline)
        return _ratio((1 - self.accuracy).sum(1), (1 - baseline.accuracy).sum(1))

    def mce(self, baseline: "CorruptionReport") -> float:
        """Return the mean corruption error, the mean of `corruption_errors`: 1 for a net as good as the baseline."""
        return float(self.corruption_errors(baseline).mean())

    def relative_mce(self, baseline: "CorruptionReport") -> float:
        """Return the relative mean corruption error: of what corruption adds to the error on clean images.

        The mean over kinds of sum_s (E_s - E_clean) / sum_s (B_s - B_clean); NaN where it costs the baseline nothing.
        """
        _expect_like("relative_mce", self, baseline)
        own, other = ((found.clean - found.accuracy).sum(1) for found in (self, baseline))
        return float(_ratio(own, other).mean())

    def table(self) -> list[dict[str, Any]]:
        """Return a row for each kind: accuracy in percent at each severity, and their mean."""
        return [
            {"corruption": kind.replace("_", " ")}
            | {str(s): round(100 * float(a), 1) for s, a in zip(self.severities, row, strict=True)}
            | {"mean": round(100 * float(row.mean()), 1)}
            for kind, row in zip(self.kinds, self.accuracy, strict=True)
        ]


def corruption_errors(
    key: jax.Array,
    logits_fn: LogitsFn,
    x: Any,
    y: Any,
    *,
    severities: Sequence[int] = SEVERITIES,
    kinds: Sequence[str] | None = None,
    batch_size: int = 256,
) -> CorruptionReport:
    """Return how accurate a net is on images with each kind of corruption at each severity.

    Every kind is one compiled program that serves all batches, and the net is another. The draws of a kind and a
    severity are `corrupt(fold_in(fold_in(key, place in CORRUPTIONS), severity), x, kind, severity)`, whatever else is
    asked for.

    Args:
        key: a PRNG key.
        logits_fn: images -> logits; of outputs only which is the largest counts.
        x: images, floating (N, H, W, 3), or grey (N, H, W, 1), in [0, 1].
        y: true classes, (N,), or one for all.
        severities: some of 1 to 5.
        kinds: names out of `CORRUPTIONS`; all unless given.
        batch_size: images at once, each of them at all severities.

    Returns:
        The report, on the host.

    Raises:
        ValueError: images outside [0, 1] or not (N, H, W, C), classes that are none, unknown kinds or severities.
        TypeError: images that are not floating, no key.

    Source: Hendrycks and Dietterich 2019, section 4.
    """
    where = "corruption_errors"
    expect_key(where, key, known=True)
    x = expect_images(where, x)
    expect(x.ndim == 4, where, "images (N, H, W, C)", f"shape {x.shape}", "Reshape them.")
    names = tuple(CORRUPTIONS if kinds is None else [kinds] if isinstance(kinds, str) else kinds)
    expect(len(names) > 0, where, "at least one kind", shown(kinds), "Leave kinds out for all.")
    for name in names:
        expect_choice(where, f"kinds out of {tuple(CORRUPTIONS)}", name, tuple(CORRUPTIONS))
    levels = tuple(expect_count(where, "severity", s, most=len(SEVERITIES)) for s in severities)
    expect(len(levels) > 0, where, "at least one severity", shown(severities), "Pass severities=(1, 3, 5), say.")
    count, size = len(x), min(expect_count(where, "batch_size", batch_size), len(x))
    logits_fn, *_ = prepared(where, logits_fn, x[:size], 0, decision=True)
    shape = logits_of(outputs.eval_shape(logits_fn, x[:size])).shape
    label = np.broadcast_to(np.asarray(classes(where, "y", y, (count, *shape[1:]))), (count,))
    # The last batch is filled up with its last image.
    batches = np.minimum(np.arange(-(-count // size) * size), count - 1).reshape(-1, size)

    def right(images: jax.Array) -> np.ndarray:
        found = logits_of(outputs(logits_fn, images))
        return np.asarray(jnp.where(jnp.isnan(found).any(-1), -1, found.argmax(-1)))

    def accuracy(parts: list[np.ndarray]) -> np.ndarray:
        return (np.concatenate(parts, -1)[..., :count] == label).mean(-1)

    table = []
    for name in names:
        of_kind = jax.random.fold_in(key, list(CORRUPTIONS).index(name))
        keys = jnp.stack([jax.random.split(jax.random.fold_in(of_kind, s), count) for s in levels])
        parts = (corrupted(keys[:, at], x[at], name=name, severities=levels) for at in batches)
        table.append(accuracy([np.stack([right(images) for images in part]) for part in parts]))
    return CorruptionReport(names, levels, np.stack(table), float(accuracy([right(x[at]) for at in batches])), count)


def _expect_like(where: str, own: CorruptionReport, other: CorruptionReport) -> None:
    same = (own.kinds, own.severities) == (other.kinds, other.severities)
    fix = "Ask for the same of both nets."
    expect(same, where, "a baseline of the same kinds and severities", f"{other.kinds}, {other.severities}", fix)


def _ratio(own: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.where(other > 0, own / np.where(other > 0, other, 1), np.nan)
