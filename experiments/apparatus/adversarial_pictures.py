"""What the page of adversarial training shows."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.apparatus.lines import spread_lines
from jaxcnn import report
from jaxcnn.report.robustness_curves import robustness_curves

SHOWN = 8  # images


def table_section(nets: Mapping[str, Mapping[str, Any]], epsilon: float, images: int) -> report.Section:
    """Return what each training buys, and for how much."""
    rows = [
        {
            "training": name,
            "right, %": round(100 * found["accuracy"], 1),
            "right when attacked, %": round(100 * found["robust_accuracy"], 1),
            "95 % interval": f"{100 * found['interval'][0]:.0f} to {100 * found['interval'][1]:.0f}",
            **{f"after {attack}": round(100 * left, 1) for attack, left in found["after"].items()},
            "seconds": round(found["seconds"], 1),
        }
        for name, found in nets.items()
    ]
    caption = (
        f"Accuracy on the test set, and on {images} images of it under attacks one after the other, at epsilon "
        f"{epsilon:g}: what stands after each is attacked by the next. Seconds of training, without compilation; all "
        "trainings make as many steps."
    )
    warned = [f"{name}: {sentence}" for name, found in nets.items() for sentence in found["warnings"]]
    words = [f"Signs that a net only hides its gradients. {' '.join(warned)}"] if warned else []
    return report.Section("What learning from attacks buys", [INTRODUCTION, report.Table(rows, caption), *words])


def gradient_section(x: np.ndarray, slopes: Mapping[str, np.ndarray]) -> report.Section:
    """Return the input gradients of the nets side by side."""
    rows = {"image": x[:SHOWN]} | {name: grey(found[:SHOWN]) for name, found in slopes.items()}
    picture = report.Picture(
        report.image_rows(rows),
        "Test images, and the gradient of each net's loss: which change of which pixel makes the net err. Grey: none; "
        "white: brighter; black: darker; each map on its own scale.",
        "Rows of maps: noise for the plain net, and outlines of the clothes for those that learned from attacks.",
    )
    return report.Section("What changes the nets' minds", [GRADIENTS, picture])


def overfitting_section(curves: Mapping[str, Any], epsilon: float, other: float) -> report.Section:
    """Return the curves of the training that overfits to its attack."""
    groups = {f"{n}: by {attack}": 100 * np.array([values]) for n, c in curves.items() for attack, values in c.items()}
    epochs = range(1, 1 + len(next(iter(groups.values()))[0]))
    picture = report.Picture(
        spread_lines("accuracy, %", "epoch", epochs, groups),
        f"Accuracy on test images that FGSM, or PGD with 20 steps, attacks at epsilon {epsilon:g}, after each epoch of "
        "training by one step from the image itself (FGSM) and from a random start in the ball.",
        "Four lines against the epoch: that of FGSM training under PGD falls while the one under FGSM rises.",
    )
    words = OVERFITTING + f" The radius is {epsilon:g} here, above it is {other:g}."
    return report.Section("Catastrophic overfitting", [words, picture])


def certified_section(
    certificates: Mapping[str, tuple[np.ndarray, np.ndarray]], sigma: float, samples: int
) -> report.Section:
    """Return the certified accuracy against the radius."""
    radii = next(iter(certificates.values()))[0]
    lines = {f"trained: {name}": accuracy for name, (_, accuracy) in certificates.items()}
    picture = report.Picture(
        robustness_curves(radii, lines, quantity="L2 radius"),
        f"Fraction of test images of which the smoothed net (noise {sigma:g}, {samples} copies) is right, and certain "
        "with a confidence of 99.9 % that no change of a smaller L2 norm alters that.",
        "Lines of certified accuracy against the radius, highest for the net that was trained on noise.",
    )
    return report.Section("What is certain", [CERTAIN, picture])


def grey(slopes: np.ndarray) -> np.ndarray:
    """Return maps around 0 as images around grey, each on its own scale; several channels become one."""
    slopes = slopes.mean(-1, keepdims=True)
    largest = np.abs(slopes).reshape(len(slopes), -1).max(1).reshape(-1, 1, 1, 1)
    return 0.5 + 0.5 * slopes / np.where(largest > 0, largest, 1)


INTRODUCTION = (
    "Plain training asks a net to be right on images; adversarial training asks it to be right on whatever an attacker "
    "makes of them within a ball. Every step attacks the net as it is at that moment: one step from a random start "
    "costs one gradient more than plain training, PGD one more for each of its steps; TRADES attacks what the net says "
    "instead of the label, and weighs accuracy against constancy; free training makes one gradient serve both sides. "
    "Robustness costs accuracy on images that nobody attacks."
)
GRADIENTS = (
    "A net that small changes fool has gradients that look like noise, as what fools it does. What fools a robust net "
    "has to look like another class."
)
OVERFITTING = (
    "Training with one step trusts that the loss is nearly linear in the ball. A net can break that trust: it becomes "
    "right exactly where the one step ends, and wrong in between. Its accuracy under its own attack then looks better "
    "than ever, and PGD, which makes smaller steps, finds it defenceless."
)
CERTAIN = (
    "Attacks can only show that a net is not robust. The smoothed net, which says of an image what the net says of "
    "most noisy copies, comes with a proof: if enough of them agree, no change within the radius alters the majority."
)
