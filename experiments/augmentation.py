"""What does each augmentation do to an image, and what does it bring to a net that has few images to learn from?

`python -m experiments.augmentation` draws every operation of `jaxcnn.augment` at rising strengths, checks that masks,
boxes and keypoints move with the image, and trains a small VGG on 50 images of each class of Fashion-MNIST, without
augmentation and with each family of them, 5 seeds, lanes of one program, and 100 epochs each.
Without Fashion-MNIST (`$JAXCNN_DATA`) it takes the digits. A family is chosen for each seed by the accuracy of the
other seeds on held-out images. What it promises: the family chosen is right more often on the test images than no
augmentation, beyond the 95 % interval. About 12 min on 2 cores.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.apparatus import augmentation_gallery as gallery
from experiments.apparatus.few_images import Parts, accuracies, parts, trained
from experiments.apparatus.small_nets import three_stages
from experiments.apparatus.statistics import in_points, summary
from experiments.framework.device import console
from experiments.framework.runner import Common, Result, judge, run
from jaxcnn import augment, report
from jaxcnn.checking import expect

NONE = "none"
QUICK = (NONE, "crop", "cutout", "mixup")  # the families that --quick trains with


@dataclass(frozen=True)
class Config(Common):
    dataset: str | None = None  # one of jaxcnn.data.names(); None for fashion_mnist where it is, else digits
    per_class: int = 50  # training images of each class
    held_out: int = 1000  # images that a family is chosen by, a fifth of all at most
    test_images: int = 2000  # at most
    seeds: int = 5  # 2 or more: other images, weights and draws
    epochs: int = 100  # passes through them
    batch_size: int = 50  # images per step
    learning_rate: float = 0.1  # peak of the schedule: warm-up over a tenth, then half a cosine
    width: int = 8  # maps of the net's first stage


class Found(NamedTuple):
    """Accuracies on held-out and on test images, (seeds,)."""

    held_out: np.ndarray
    test: np.ndarray


def main(config: Config) -> Result:
    if config.quick:
        few = {"per_class": 10, "held_out": 200, "test_images": 300, "seeds": 2, "epochs": 2, "width": 4}
        fewer: dict[str, Any] = {n: min(getattr(config, n), value) for n, value in few.items()}
        config = dataclasses.replace(config, **fewer)
    expect(config.seeds >= 2, "augmentation", "at least 2 seeds", config.seeds, "One has no standard deviation.")
    expect(
        config.test_images >= 1, "augmentation", "at least 1 test image", config.test_images, "2000 are the default."
    )
    config, of = parts(config)
    gallery_key, key = jax.random.split(of.key)
    found = measure(config, of._replace(key=key))
    gains = {name: one.test - found[NONE].test for name, one in found.items() if name != NONE}
    families = chosen({name: found[name].held_out for name in gains})
    won = summary([float(gains[name][seed]) for seed, name in enumerate(families)])
    answer = sentence(config, of, found[NONE].test, gains, families, won)

    moved_key, drawn_key = jax.random.split(gallery_key)
    example = gallery.scene(config.seed)
    moved = gallery.moved(moved_key, example)
    lost = gallery.left_behind(moved)
    figures = {
        "dataset": of.info.name,
        "accuracy": {name: summary(one.test.tolist()) for name, one in found.items()},
        "held_out": {name: summary(one.held_out.tolist()) for name, one in found.items()},
        "gain": {name: summary(values.tolist()) for name, values in gains.items()},
        "chosen": {"family": families, "gain": won},
        "strays": {name: gallery.strays(one) for name, one in moved.items()},
    }
    columns = 1 if config.quick else gallery.COLUMNS
    moves = (
        f"Promised: boxes and keypoints stray at most {gallery.NEAR:g} pixels from the moved masks, {gallery.BENT:g} "
        f"after elastic, which bends the sides of boxes."
    )
    sections = [
        report.Section("What it brings", [accuracy_picture(config, of, found)]),
        report.Section("What moves along", [gallery.pictured(moved), moves]),
        *gallery.sections(drawn_key, example, columns),
    ]
    ahead = won["interval"][0] > 0
    promises = {
        "the family chosen on held-out images is better than none on test images, beyond the 95 % interval": ahead
    }
    facts = {f"boxes and keypoints on their objects after {each}": each not in lost for each in moved}
    judgement = judge(config, answer, promises, facts)
    headline = [
        report.Number("without augmentation", f"{100 * found[NONE].test.mean():.1f} %", "test accuracy"),
        report.Number("chosen", f"{100 * won['mean']:+.1f}", f"points with {spoken(families)}"),
    ]
    return Result(figures, sections, *judgement, headline)


def transforms(classes: int, side: int) -> dict[str, Callable[[jax.Array, Any], Any] | None]:
    """Return the augmentation of a batch by family, in strengths that are usual for images of 28 or 32 pixels."""
    one = {
        "flip": augment.flip,
        # A shift by so many pixels is the same operation.
        "crop": partial(augment.crop, padding=max(side // 14, 1)),
        "rotation, zoom": partial(augment.affine, degrees=10.0, factor=(0.9, 1.1)),
        "brightness, contrast": augment.compose(
            partial(augment.brightness, delta=0.2), partial(augment.contrast, factor=(0.7, 1.3))
        ),
        "cutout": partial(augment.cutout, size=side // 4),
        "rand_augment": augment.rand_augment,
        "trivial_augment": augment.trivial_augment,
    }
    mixing = {
        "mixup": partial(augment.mixup, alpha=0.4, classes=classes),
        "cutmix": partial(augment.cutmix, alpha=1.0, classes=classes),
    }
    return {NONE: None, **{name: augment.batched(fn) for name, fn in one.items()}, **mixing}


def measure(config: Config, of: Parts) -> dict[str, Found]:
    """Return the accuracies by family; of one seed all have the same images and initial weights."""
    classes = len(of.info.class_names)
    net = three_stages(of.info, config.width)
    found = {}
    for name, way in transforms(classes, min(of.spec.shape[1:3])).items():
        if config.quick and name not in QUICK:
            continue
        # The last states: nothing is chosen by what the test set says.
        lanes = trained(config, net, of.pool, of.lanes, [config.learning_rate], of.key, augment=way)
        found[name] = Found(*(accuracies(net, lanes, part) for part in (of.held_out, of.test)))
        console.print(f"{name:<20}  test accuracy {np.round(found[name].test, 4)}", markup=False)
    return found


def chosen(held_out: Mapping[str, np.ndarray]) -> list[str]:
    """Return for each seed the family that is best on held-out images with the other seeds, on average.

    A seed whose nets are lucky with a family has no say in whether it is that family's gain which is measured on it.
    """
    names, values = list(held_out), np.stack(list(held_out.values()))  # (families, seeds)
    others = values.sum(axis=1, keepdims=True) - values
    return [names[at] for at in others.argmax(axis=0)]


def spoken(families: Sequence[str]) -> str:
    """Return the families that seeds choose, and how often where they differ."""
    counts = Counter(families).most_common()
    return counts[0][0] if len(counts) == 1 else ", ".join(f"{name} ({count}x)" for name, count in counts)


def sentence(
    config: Config,
    of: Parts,
    without: np.ndarray,
    gains: Mapping[str, np.ndarray],
    families: Sequence[str],
    won: Mapping[str, Any],
) -> str:
    """Return the answer: better or worse is only what is so with every seed."""
    groups: dict[str, list[str]] = {"better with every seed": [], "worse with every seed": [], "neither": []}
    for name, values in sorted(gains.items(), key=lambda item: -item[1].mean()):
        words = (
            "better with every seed" if min(values) > 0 else "worse with every seed" if max(values) < 0 else "neither"
        )
        groups[words].append(f"{name} {100 * values.mean():+.1f}")
    told = "; ".join(f"{words}: {', '.join(names)}" for words, names in groups.items() if names)
    return (
        f"{of.info.name}, {config.per_class} images of each class, {config.epochs} epochs, {config.seeds} seeds: "
        f"{100 * without.mean():.1f} % without augmentation; chosen on held-out images: {spoken(families)}, "
        f"{100 * won['mean']:+.1f} points of test accuracy ({in_points(won)}). All families, "
        f"{told}."
    )


def accuracy_picture(config: Config, of: Parts, found: Mapping[str, Found]) -> report.Picture:
    percent = {name: (100 * one.test).tolist() for name, one in found.items()}
    return report.Picture(
        report.seed_dots(percent, quantity="test accuracy, %", reference=NONE, decimals=1),
        f"Test accuracy after training on {config.per_class} images of each class of {of.info.name}, of "
        f"{of.test.size:,} test images: a dot a seed, mean ± standard deviation.",
        "Dots of test accuracy, a line for each family of augmentations.",
    )


if __name__ == "__main__":
    run(main, Config)
