"""What does each augmentation do to an image, and what does it bring to a net that has few images to learn from?

`python -m experiments.augmentation` draws every operation of `jaxcnn.augment` at rising strengths, checks that masks,
boxes and keypoints move with the image, and trains a small VGG on 100 images of each class of Fashion-MNIST, without
augmentation and with each family of them, five seeds each. Without Fashion-MNIST (`$JAXCNN_DATA`) it takes the digits.
"""

import dataclasses
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np

from experiments import augmentation_gallery as gallery
from experiments.device import console
from experiments.runner import Common, Result, judge, run
from experiments.statistics import summary
from jaxcnn import augment, data, layers, models, report, training
from jaxcnn.checking import expect

NONE = "none"
QUICK = (NONE, "crop", "cutout", "mixup")  # the families that --quick trains with


@dataclass(frozen=True)
class Config(Common):
    dataset: str | None = None  # one of jaxcnn.data.names(); None for fashion_mnist where it is, else digits
    per_class: int = 100  # training images of each class
    test_images: int = 2000  # at most
    seeds: int = 5  # 2 or more, from --seed on: other images, weights and draws
    epochs: int = 20  # passes through them
    batch_size: int = 50  # images per step
    learning_rate: float = 0.1  # peak of the schedule: warm-up over a tenth, then half a cosine
    width: int = 16  # maps of the net's first stage


def main(config: Config) -> Result:
    if config.quick:
        few = {"per_class": 20, "test_images": 500, "seeds": 2, "epochs": 2, "width": 8}
        fewer: dict[str, Any] = {n: min(getattr(config, n), value) for n, value in few.items()}
        config = dataclasses.replace(config, **fewer)
    expect(config.seeds >= 2, "augmentation", "at least 2 seeds", config.seeds, "One has no standard deviation.")
    expect(
        config.test_images >= 1, "augmentation", "at least 1 test image", config.test_images, "2000 are the default."
    )
    train_set, test_set = load(config)
    accuracies = measure(config, train_set, test_set)
    gains = {name: gain(values, accuracies[NONE]) for name, values in accuracies.items() if name != NONE}
    answer = sentence(config, train_set, accuracies[NONE], gains)

    key, example = jax.random.key(config.seed), gallery.scene(config.seed)
    moved = gallery.moved(key, example)
    lost = gallery.left_behind(moved)
    figures = {
        "dataset": train_set.info.name,
        "accuracy": {name: summary(values) for name, values in accuracies.items()},
        "gain": {name: summary(values) for name, values in gains.items()},
        "strays": {name: gallery.strays(one) for name, one in moved.items()},
    }
    columns = 3 if config.quick else gallery.COLUMNS
    held = f"NOT so after {', '.join(lost)}" if lost else "so"
    promise = (
        f"Promised: boxes and keypoints stray at most {gallery.NEAR:g} pixels from the moved masks, {gallery.BENT:g} "
        f"after elastic, which bends the sides of boxes. It is {held}."
    )
    sections = [
        report.Section("What it brings", [accuracy_picture(config, train_set, test_set, accuracies), answer]),
        report.Section("What moves along", [gallery.pictured(moved), promise]),
        *gallery.sections(key, example, columns),
    ]
    judgement = judge(config, answer, facts={f"boxes and keypoints on their objects after {held}": not lost})
    best = max(gains, key=lambda name: statistics.fmean(gains[name]))
    headline = [
        report.Number("without augmentation", f"{100 * statistics.fmean(accuracies[NONE]):.1f} %", "test accuracy"),
        report.Number(f"with {best}", f"{100 * statistics.fmean(accuracies[best]):.1f} %", "the best family"),
    ]
    return Result(figures, sections, *judgement, headline)


def load(config: Config) -> tuple[data.Dataset, data.Dataset]:
    """Return the training set and some test images; the digits, and a line that says so, without Fashion-MNIST."""
    try:
        train_set, test_set = data.load(config.dataset or "fashion_mnist", split_seed=config.seed)
    except (FileNotFoundError, ImportError) as missing:
        if config.dataset is not None:
            raise
        console.print(f"The digits, since there is no Fashion-MNIST. {missing}", markup=False)
        train_set, test_set = data.load("digits", split_seed=config.seed)
    if not (isinstance(train_set, data.Dataset) and isinstance(test_set, data.Dataset)):
        raise ValueError(
            f"augmentation: expected a set that fits into memory, got {config.dataset}. Choose a smaller one."
        )
    order = np.asarray(jax.random.permutation(jax.random.key(config.seed), test_set.size))
    return train_set, test_set.take(order[: config.test_images])


def transforms(classes: int, side: int) -> dict[str, Callable[[jax.Array, Any], Any] | None]:
    """Return the augmentation of a batch by family, in strengths that are usual for images of 28 or 32 pixels."""
    one = {
        "flip": augment.flip,
        "shift": partial(augment.shift, max_shift=max(side // 14, 1)),
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


def measure(config: Config, train_set: data.Dataset, test_set: data.Dataset) -> dict[str, list[float]]:
    """Return the test accuracies, one a seed, by family; of one seed all have the same images and initial weights."""
    info = train_set.info
    model = models.create("cifar_vgg", num_classes=len(info.class_names), width=config.width, convolutions=(1, 1, 1))
    net = layers.Sequential(normalize=layers.Normalize(info.mean, info.std), **model.layers)
    ways = transforms(len(info.class_names), min(train_set["image"].shape[1:3]))
    ways = {name: way for name, way in ways.items() if not config.quick or name in QUICK}
    found: dict[str, list[float]] = {name: [] for name in ways}
    for seed in range(config.seed, config.seed + config.seeds):
        images_key, fit_key = jax.random.split(jax.random.key(seed))
        few = data.per_class(train_set, config.per_class, key=images_key)
        steps = config.epochs * (few.size // config.batch_size)
        for name, way in ways.items():
            result = training.fit(
                net,
                few,
                optimizer=training.sgd(training.warmup_cosine(config.learning_rate, max(steps, 1))),
                epochs=config.epochs,
                batch_size=config.batch_size,
                key=fit_key,
                augment=way,
            )
            # The last state: nothing is chosen by what the test set says.
            test = training.evaluate(net, result.state.params, result.state.model_state, test_set)
            found[name].append(test["accuracy"])
            console.print(f"seed {seed}  {name:<20}  test accuracy {test['accuracy']:.4f}", markup=False)
    return found


def gain(values: Sequence[float], without: Sequence[float]) -> list[float]:
    """Return, seed by seed, what is won."""
    return [with_it - none for with_it, none in zip(values, without, strict=True)]


def sentence(config: Config, train_set: data.Dataset, without: list[float], gains: Mapping[str, list[float]]) -> str:
    """Return the answer: better or worse is only what is so with every seed."""
    groups: dict[str, list[str]] = {"better with every seed": [], "worse with every seed": [], "neither": []}
    for name, won in sorted(gains.items(), key=lambda item: -statistics.fmean(item[1])):
        words = "better with every seed" if min(won) > 0 else "worse with every seed" if max(won) < 0 else "neither"
        groups[words].append(f"{name} {100 * statistics.fmean(won):+.1f}")
    told = "; ".join(f"{words}: {', '.join(names)}" for words, names in groups.items() if names)
    return (
        f"{train_set.info.name}, {config.per_class} images of each class, {config.epochs} epochs, {config.seeds} "
        f"seeds: {100 * statistics.fmean(without):.1f} % without augmentation; in points of test accuracy, {told}."
    )


def accuracy_picture(
    config: Config, train_set: data.Dataset, test_set: data.Dataset, accuracies: Mapping[str, list[float]]
) -> report.Picture:
    percent = {name: [100 * value for value in values] for name, values in accuracies.items()}
    return report.Picture(
        report.seed_dots(percent, quantity="test accuracy, %", reference=NONE, decimals=1),
        f"Test accuracy after training on {config.per_class} images of each class of {train_set.info.name}, of "
        f"{test_set.size:,} test images: a dot a seed, mean ± standard deviation.",
        "Dots of test accuracy, a line for each family of augmentations.",
    )


if __name__ == "__main__":
    run(main, Config)
