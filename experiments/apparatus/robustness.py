"""How small a change fools a trained net, as sections of a page: the standard evaluation, curves, and pictures."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.apparatus.image_sets import taken
from experiments.apparatus.robustness_pictures import (
    curve_section,
    example_section,
    fooling_section,
    other_section,
    percent,
    standard_section,
)
from experiments.framework.device import console
from jaxcnn import data, report
from jaxcnn.attack import fooling, judge
from jaxcnn.attack.apgd import apgd
from jaxcnn.attack.colour import colour_shift
from jaxcnn.attack.deepfool import deepfool
from jaxcnn.attack.fgsm import fgsm
from jaxcnn.attack.minimum_norm import fmn
from jaxcnn.attack.pgd import pgd
from jaxcnn.attack.robust_accuracy import RobustReport, robust_accuracy
from jaxcnn.attack.spatial import spatial
from jaxcnn.attack.square import square
from jaxcnn.attack.universal import apply_universal, universal
from jaxcnn.interop.model import Model
from jaxcnn.training import predictor

__all__ = ["BRIEF", "Broken", "Effort", "broken", "usual_epsilon"]

FACTORS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)  # of epsilon, along the curves
SHOWN_CLASSES = 10  # fooling images


@dataclass(frozen=True)
class Effort:
    """How much is done."""

    images: int = 256  # test images for the standard evaluation
    queries: int = 5000  # of Square, of each image
    curve_images: int = 64  # of these, for the curves and the other attacks
    curve_queries: int = 500  # of Square there
    steps: int = 100  # of attacks by gradient
    angles: int = 31  # of rotations that are tried
    universal_images: int = 512  # training images that one perturbation is made on
    universal_steps: int = 200  # of that


BRIEF = Effort(64, 1000, 32, 100, angles=11, universal_images=128, universal_steps=50)
"""For a section of a page about something else."""


class Broken(NamedTuple):
    """What became of a net."""

    sections: list[report.Section]
    figures: dict[str, Any]
    answer: str
    promises: dict[str, bool]
    headline: list[report.Number]


def broken(
    model: Model,
    train: data.Dataset | data.Stream,
    test: data.Dataset | data.Stream,
    *,
    epsilon: float | None = None,
    effort: Effort | None = None,
    seed: int = 0,
) -> Broken:
    """Return how a net stands up to attacks, on random test images.

    Args:
        model: the net, its weights, and the names of its classes.
        train: on which a universal perturbation is made.
        test: whose images are attacked.
        epsilon: the largest change of a pixel, of full scale; the usual one of such images unless given.
        effort: how much is done.
        seed: of all randomness.
    """
    effort = effort or Effort()
    keys = iter(jax.random.split(jax.random.key(seed), 8))
    epsilon = usual_epsilon(train) if epsilon is None else epsilon
    logits_fn = predictor(model.net, model.params, model.state)
    x, y = drawn(next(keys), test, effort.images)
    few = slice(min(effort.curve_images, len(x)))

    console.print(f"standard evaluation of {len(x)} images at epsilon {epsilon:.3g}", markup=False)
    standard = robust_accuracy(next(keys), logits_fn, x, y, epsilon=epsilon, steps=effort.steps, queries=effort.queries)
    console.print("other attacks", markup=False)
    sizes = epsilon * np.array(FACTORS)
    sizes = sizes[sizes <= 1]
    lines = curves(next(keys), logits_fn, x[few], y[few], sizes, effort)
    right = np.flatnonzero(standard.fell_to != "clean")[few]
    smallest = least_changes(next(keys), logits_fn, x[right], y[right], effort.steps)
    one = universal(
        next(keys), logits_fn, *drawn(next(keys), train, effort.universal_images), epsilon=epsilon,
        steps=effort.universal_steps,
    )  # fmt: skip
    others = other_attacks(logits_fn, x[few], y[few], one, epsilon, effort)
    nothing = fooling.ascent(
        next(keys), logits_fn, train.spec, classes=np.arange(len(model.class_names))[:SHOWN_CLASSES]
    )

    here = int(np.argmin(np.abs(sizes - epsilon)))
    at_epsilon = {name: float(values[here]) for name, values in lines.items()}
    left = float(1 - standard.fooled[few].mean())
    promises = promised(standard, left, at_epsilon, len(x[few]))
    median = {name: median_of(values) for name, (values, _) in smallest.items()}
    figures = {
        "epsilon": epsilon,
        "clean_accuracy": standard.clean_accuracy,
        "robust_accuracy": float(standard),
        "images": len(x),
        "attacks": [row._asdict() for row in standard.attacks],
        "warnings": list(standard.warnings),
        "curves": {"epsilon": sizes.tolist(), **{name: values.tolist() for name, values in lines.items()}},
        "curve_images": len(x[few]),
        "median_least_change": median,
        "others": others,
        "fooling_confidence": np.asarray(nothing.confidence).tolist(),
    }
    sections = [
        standard_section(standard),
        curve_section(sizes, lines, standard, len(x[few])),
        example_section(model, logits_fn, x[right], y[right], smallest),
        other_section(others, one, epsilon, len(x[few])),
        fooling_section(model, nothing),
    ]
    return Broken(sections, figures, sentence(standard, at_epsilon, median), promises, headline(standard, median))


def usual_epsilon(part: data.Dataset | data.Stream) -> float:
    """Return the largest change of a pixel that is usually allowed: 8/255 of coloured images, 0.1 of others."""
    return 8 / 255 if part.spec.shape[-1] == 3 else 0.1


def drawn(key: jax.Array, part: data.Dataset | data.Stream, count: int) -> tuple[jax.Array, jax.Array]:
    """Return so many random images, in [0, 1], and their labels, or all there are."""
    chosen = taken(part, np.asarray(jax.random.permutation(key, part.size))[:count])
    return data.to_float(jnp.asarray(chosen["image"])), jnp.asarray(chosen["label"])


def curves(
    key: jax.Array, logits_fn: Any, x: jax.Array, y: jax.Array, sizes: np.ndarray, effort: Effort
) -> dict[str, np.ndarray]:
    """Return by attack the accuracy that it leaves at each epsilon; of an attack all of them are one program."""
    noise_key, pgd_key, apgd_key, square_key = jax.random.split(key, 4)
    epsilon = jnp.asarray(sizes, x.dtype)
    flips = epsilon.reshape(-1, *(1,) * x.ndim) * jax.random.rademacher(noise_key, x.shape, x.dtype)
    queries = effort.curve_queries
    attacked = {
        "random noise": jnp.clip(x + flips, 0, 1),
        "FGSM, 1 step": fgsm(logits_fn, x, y, epsilon=epsilon),
        "PGD, 40 steps": pgd(pgd_key, logits_fn, x, y, epsilon=epsilon, steps=40),
        f"APGD, {effort.steps} steps": apgd(apgd_key, logits_fn, x, y, epsilon=epsilon, steps=effort.steps),
        f"Square, {queries:,} queries": square(square_key, logits_fn, x, y, epsilon=epsilon, queries=queries),
    }
    return {name: 1 - judge(logits_fn, x, images, y).success.mean(-1) for name, images in attacked.items()}


def least_changes(
    key: jax.Array, logits_fn: Any, x: jax.Array, y: jax.Array, steps: int
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return by attack the largest changes of a pixel, NaN where it did not fool the net, and the images."""
    if not len(x):
        return {}
    attacked = {
        "FMN": fmn(key, logits_fn, x, y, norm="linf", steps=steps),
        "DeepFool": deepfool(logits_fn, x, y, norm="linf"),
    }
    seen = {name: judge(logits_fn, x, images, y) for name, images in attacked.items()}
    return {
        name: (np.where(seen[name].success, seen[name].linf, np.nan), np.asarray(images))
        for name, images in attacked.items()
    }


def other_attacks(
    logits_fn: Any, x: jax.Array, y: jax.Array, one: jax.Array, epsilon: float, effort: Effort
) -> dict[str, float]:
    """Return the accuracy that attacks leave which are in no ball."""
    shift = max(x.shape[-3:-1]) / 10
    attacked = {
        "none": x,
        f"one perturbation for all images, epsilon {epsilon:.3g}": apply_universal(x, one),
        f"rotation up to 30°, shift up to {shift:.2g} pixels": spatial(
            logits_fn, x, y, max_shift=shift, max_angle=30.0, angles=effort.angles
        ),
        "other light: gain up to 20 %, offset up to 0.1": colour_shift(logits_fn, x, y, max_gain=0.2, max_offset=0.1),
    }
    return {name: judge(logits_fn, x, images, y).robust_accuracy for name, images in attacked.items()}


def median_of(sizes: np.ndarray) -> float | None:
    """Return the median, where those not fooled count as larger than any other; None where it is one of them."""
    found = float(np.median(np.where(np.isfinite(sizes), sizes, np.inf)))
    return found if np.isfinite(found) else None


def promised(standard: RobustReport, left: float, at_epsilon: Mapping[str, float], count: int) -> dict[str, bool]:
    """Return what is promised of the accuracy that is left of `count` images, and whether it is so."""
    least = min(at_epsilon.values())
    return {
        "no other attack of this size leaves less than the standard evaluation": left <= least + 1.5 / count,
        "no sign of gradient masking": not standard.warnings,
    }


def sentence(standard: RobustReport, at_epsilon: Mapping[str, float], median: Mapping[str, float | None]) -> str:
    """Return what came out."""
    told = (
        f"of {percent(standard.clean_accuracy)} accuracy {percent(float(standard))} are left where pixels may change "
        f"by {standard.epsilon:.3g} ({standard.fooled.size} images, standard evaluation); random noise of that size "
        f"leaves {percent(at_epsilon['random noise'])}"
    )
    if median.get("FMN") is not None:
        told += f"; half of the images need less than {median['FMN']:.3g}"
    if standard.warnings:
        told += f". {len(standard.warnings)} signs of gradient masking: the net may be less robust than it seems"
    return f"{told}."


def headline(standard: RobustReport, median: Mapping[str, float | None]) -> list[report.Number]:
    size = f"of {standard.fooled.size} images, epsilon {standard.epsilon:.3g}"
    numbers = [
        report.Number("accuracy", percent(standard.clean_accuracy), "without an attack"),
        report.Number("robust accuracy", percent(float(standard)), size),
    ]
    if median.get("FMN") is not None:
        numbers.append(report.Number("smallest change", f"{median['FMN']:.3g}", "of a pixel that fools, median"))
    return [*numbers, report.Number("signs of masking", len(standard.warnings))]
