"""What the page of a net under attack shows."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn import report
from jaxcnn.attack import fooling, judge
from jaxcnn.attack.robust_accuracy import RobustReport
from jaxcnn.interop.model import Model

EXAMPLES = 8  # images that are shown, of classes of their own where there are as many


def standard_section(standard: RobustReport) -> report.Section:
    rows: list[dict[str, Any]] = [{"attack": "none", "accuracy": percent(standard.clean_accuracy)}]
    rows += [
        {"attack": row.attack, "attacked": row.attacked, "fell": row.fell, "accuracy": percent(row.accuracy)}
        for row in standard.attacks
    ]
    caption = (
        f"AutoAttack's ensemble, no pixel changed by more than {standard.epsilon:.3g} of full scale: each attack goes "
        f"on with what the ones before have left of {standard.fooled.size} test images."
    )
    words = "No sign of gradient masking." if not standard.warnings else "Signs that the net is less robust than that:"
    return report.Section("The standard evaluation", [report.Table(rows, caption), words, *standard.warnings])


def curve_section(
    sizes: np.ndarray, lines: Mapping[str, np.ndarray], standard: RobustReport, count: int
) -> report.Section:
    quantity = "epsilon: largest change of a pixel, of full scale"
    points = {f"standard evaluation of {standard.fooled.size} images": (standard.epsilon, float(standard))}
    picture = report.Picture(
        report.robustness_curves(sizes, lines, points=points, quantity=quantity),
        f"Accuracy on {count} test images against what an attack may change. Random noise of the same size tells how "
        "much of that is due to the attack.",
        "Accuracy falls with epsilon, a line for each attack.",
    )
    return report.Section("Accuracy against epsilon", [picture])


def example_section(
    model: Model,
    logits_fn: Any,
    x: jax.Array,
    y: jax.Array,
    smallest: Mapping[str, tuple[np.ndarray, np.ndarray]],
) -> report.Section:
    if not smallest:
        return report.Section("The smallest changes", ["The net is wrong on all images without any change."])
    sizes, images = smallest["FMN"]
    chosen = examples(sizes, np.asarray(y))
    histograms = report.Picture(
        report.perturbation_sizes(
            {name: values for name, (values, _) in smallest.items()},
            quantity="largest change of a pixel, of full scale",
        ),
        f"How small a change each attack found for {len(sizes)} images that the net is right on.",
        "Histograms of the smallest changes.",
    )
    blocks: list[Any] = [histograms]
    if len(chosen):
        before, after = (judge(logits_fn, x[chosen], each[chosen], y[chosen]) for each in (x, jnp.asarray(images)))
        lines = [
            [f"{model.class_names[k]}, {100 * p:.0f} %" for k, p in zip(seen.prediction, seen.confidence, strict=True)]
            for seen in (before, after)
        ]
        pictures = report.adversarial_rows(np.asarray(x[chosen]), images[chosen], *lines, fooled=after.success)
        caption = (
            "A test image, the smallest change that FMN found, enlarged to full scale (grey: none), and the sum of "
            "both; with what the net says and the largest change of a pixel."
        )
        alt = "Images before and after a small change, and the change."
        blocks.insert(0, report.Picture(pictures, caption, alt))
    return report.Section("The smallest changes", blocks)


def examples(sizes: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Return which images to show: of those that were fooled the first of each class, then others."""
    fooled = np.flatnonzero(np.isfinite(sizes))
    _, first = np.unique(label[fooled], return_index=True)
    rest = np.setdiff1d(np.arange(len(fooled)), first)
    return fooled[np.concatenate([np.sort(first), rest])[:EXAMPLES]]


def other_section(others: Mapping[str, float], one: jax.Array, epsilon: float, count: int) -> report.Section:
    rows = [{"attack": name, "accuracy": percent(accuracy)} for name, accuracy in others.items()]
    shown = np.clip(0.5 + 0.5 * np.asarray(one) / max(epsilon, 1e-12), 0, 1)[None]
    picture = report.Picture(
        report.image_grid(shown, ["added to all"], columns=4),
        "The perturbation for all images, made on training images, enlarged to full scale (grey: none).",
        "One perturbation that is added to all images.",
    )
    table = report.Table(rows, f"{count} test images; of rotations, shifts and lights the worst for each image.")
    return report.Section("Other attacks", [table, picture])


def fooling_section(model: Model, nothing: fooling.Fooled) -> report.Section:
    titles = [
        f"{model.class_names[k]}\n{100 * p:.1f} %"
        for k, p in zip(np.asarray(nothing.classes), np.asarray(nothing.confidence), strict=True)
    ]
    picture = report.Picture(
        report.image_grid(np.asarray(nothing.images), titles, columns=5),
        "Images that gradient ascent made from noise, with what the net takes them for.",
        "Noise that the net is sure to know.",
    )
    return report.Section("Fooling images", [picture])


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"
