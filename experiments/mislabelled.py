"""Can a net learn labels that mean nothing? The same images with 0, 25, 50 and 100 % random labels.

`python -m experiments.mislabelled` takes 100 images of each digit, gives a part of them a label drawn at random from
all classes, and trains a small convolutional net on them, without any regularisation: 5 seeds of each part, with
images, labels and weights of their own, as lanes of one program. The test labels are right. A net that can learn
random labels by heart has room for any mistake: that it is small is not what keeps it from them where labels are right.
What it promises: with every seed and part at least 99 % of the training labels are learned; what is learned from random
labels alone says nothing of new images (the 95 % interval of the test accuracy reaches down to chance); and the test
accuracy falls with each part. About 1 min on 2 cores.

Source: Zhang, Bengio, Hardt, Recht, Vinyals 2017, "Understanding deep learning requires rethinking generalization",
section 2.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from experiments.apparatus.image_sets import load
from experiments.apparatus.lines import spread_lines
from experiments.apparatus.statistics import summary
from experiments.framework.device import console
from experiments.framework.progress import LanesBar
from experiments.framework.runner import Common, Result, judge, run
from jaxcnn import data, layers, report, search
from jaxcnn import functional as F
from jaxcnn.checking import expect

LEARNED = 0.99  # of the training labels, which counts as all
QUICK = {"per_class": 20, "seeds": 2, "epochs": 20}
MOST = 5  # parts: lines of a picture


@dataclass(frozen=True)
class Config(Common):
    dataset: str = "digits"  # one of jaxcnn.data.names(), that fits into memory
    per_class: int = 100  # images of each class
    fractions: tuple[float, ...] = (0.0, 0.25, 0.5, 1.0)  # of the images that get a random label, rising
    test_images: int = 2000  # at most
    seeds: int = 5  # of each part, 2 or more
    epochs: int = 80  # passes through the images
    batch_size: int = 50  # images per step
    learning_rate: float = 0.002  # Adam's, falling to 0 along half a cosine


class Found(NamedTuple):
    """Accuracies (fractions, seeds, epochs), of the training labels as they were given, and of the test set."""

    training: np.ndarray
    test: np.ndarray
    classes: int


def main(config: Config) -> Result:
    if config.quick:
        config = dataclasses.replace(config, **QUICK)
    where, parts = "mislabelled", config.fractions
    ok = 2 <= len(parts) <= MOST and all(a < b for a, b in itertools.pairwise(parts))
    expect(ok and parts[0] >= 0 and parts[-1] <= 1, where, f"2 to {MOST} rising fractions", parts, "0 and 1, say.")
    expect(config.seeds >= 2, where, "at least 2 seeds", config.seeds, "One has no standard deviation.")
    found = measured(config)
    best = found.test.mean(axis=1).argmax(axis=1)  # epoch of each part
    figures = {
        percent(part): {
            "training_accuracy": summary(found.training[at, :, -1].tolist()),
            "test_accuracy": summary(found.test[at, :, -1].tolist()),
            "best_epoch": int(best[at]) + 1,
            "test_accuracy_of_best_epoch": summary(found.test[at, :, best[at]].tolist()),
            "epochs_to_learn": [None if np.isnan(n) else int(n) for n in epochs_to_learn(found.training[at])],
        }
        for at, part in enumerate(parts)
    }
    promises = promised(config, found, figures)
    answer = sentence(config, found, figures)
    judgement = judge(config, answer, promises)
    headline = [
        report.Number(
            f"{name} random",
            f"{100 * one['training_accuracy']['mean']:.1f} %",
            f"of the training labels learned; {100 * one['test_accuracy']['mean']:.1f} % of the test images right",
        )
        for name, one in figures.items()
    ]
    return Result(figures, sections(config, found, figures), *judgement, headline)


def measured(config: Config) -> Found:
    """Return the accuracies of all parts and seeds, whose trainings are one program."""
    data_key, test_key, key = jax.random.split(jax.random.key(config.seed), 3)
    train_set, test_set = load("mislabelled", config.dataset, config.seed)
    order = np.asarray(jax.random.permutation(test_key, test_set.size))[: config.test_images]
    sets = []
    for own in jax.random.split(data_key, config.seeds):
        images_key, labels_key = jax.random.split(own)
        few = data.per_class(train_set, config.per_class, key=images_key)
        # A seed has the same images in all parts, and what is relabelled in one is so in the next.
        sets.append([few["image"], *(with_random_labels(few, part, key=labels_key) for part in config.fractions)])
    images, *labels = map(np.stack, zip(*sets, strict=True))
    pool = data.from_arrays(
        np.concatenate([np.concatenate(images)] * len(labels)), np.concatenate(list(map(np.concatenate, labels))),
        class_names=train_set.info.class_names, name=train_set.info.name,
    )  # fmt: skip
    lanes = np.arange(pool.size).reshape(len(labels) * config.seeds, -1)
    steps = config.epochs * (lanes.shape[1] // config.batch_size)
    with LanesBar(console) as bar:
        found = search.random_restarts(
            roomy_net(pool.info), pool, restarts=len(lanes), examples=lanes, key=key,
            validation=test_set.take(order),  # it chooses nothing
            optimizer=optax.adam(optax.cosine_decay_schedule(config.learning_rate, max(steps, 1))),
            epochs=config.epochs, batch_size=config.batch_size, callbacks=[bar],
        )  # fmt: skip
    learned, right = (
        np.stack([line[f"{of}_accuracy"] for line in found.history], axis=1).reshape(len(labels), config.seeds, -1)
        for of in ("train", "validation")
    )
    return Found(learned.astype(np.float64), right.astype(np.float64), len(pool.info.class_names))


def with_random_labels(dataset: data.Dataset, fraction: float, *, key: jax.Array) -> np.ndarray:
    """Return the labels (N,), so large a part of them drawn from all classes, the right one among them."""
    which, by = jax.random.split(key)
    chosen = np.asarray(jax.random.permutation(which, dataset.size)) < round(fraction * dataset.size)
    drawn = np.asarray(jax.random.randint(by, (dataset.size,), 0, len(dataset.info.class_names)))
    return np.where(chosen, drawn, dataset["label"]).astype(np.int32)


def roomy_net(info: data.DatasetInfo) -> layers.Sequential:
    """Return a net with more weights than there are images, and nothing that holds them back."""
    return layers.Sequential(
        normalize=layers.Normalize(info.mean, info.std),
        conv1=layers.Conv(16), act1=F.relu, pool1=layers.MaxPool(2),
        conv2=layers.Conv(32), act2=F.relu, pool2=layers.MaxPool(2),
        flatten=layers.Flatten(), dense=layers.Dense(256), act3=F.relu, head=layers.Dense(len(info.class_names)),
    )  # fmt: skip


def epochs_to_learn(training: np.ndarray) -> np.ndarray:
    """Return after how many epochs each seed (seeds,) had learned its labels, of (seeds, epochs); NaN for never."""
    there = training >= LEARNED
    return np.where(there.any(axis=1), there.argmax(axis=1) + 1, np.nan)


def promised(config: Config, found: Found, figures: Mapping[str, Any]) -> dict[str, bool]:
    """Return what is promised, and whether it is so."""
    promises = {f"at least {LEARNED:.0%} of the labels are learned, with every seed and part": bool(
        (found.training[:, :, -1] >= LEARNED).all()
    )}  # fmt: skip
    means = found.test[:, :, -1].mean(axis=1)
    promises["the test accuracy falls with each part"] = bool((np.diff(means) < 0).all())
    if config.fractions[-1] == 1:
        low = figures[percent(1.0)]["test_accuracy"]["interval"][0]
        promises["random labels alone teach nothing: test accuracy is chance"] = low <= 1 / found.classes
    return promises


def percent(fraction: float) -> str:
    """Return a fraction as text."""
    return f"{100 * fraction:g} %"


def listed(values: Sequence[str]) -> str:
    """Return words with commas, and "and" before the last."""
    return f"{', '.join(values[:-1])} and {values[-1]}"


def sentence(config: Config, found: Found, figures: Mapping[str, Any]) -> str:
    """Return the answer."""
    mean = lambda name: listed([f"{100 * one[name]['mean']:.1f} %" for one in figures.values()])  # noqa: E731
    parts, learned = listed([percent(part) for part in config.fractions]), mean("training_accuracy")
    epochs = [np.array([np.nan if n is None else n for n in one["epochs_to_learn"]], float) for one in figures.values()]
    told = listed([f"{each.mean():.0f}" if np.isfinite(each).all() else "never with every seed" for each in epochs])
    low, high = list(figures.values())[-1]["test_accuracy"]["interval"]
    return (
        f"{config.dataset}, {config.per_class} images of each class, {config.seeds} seeds: with "
        f"{parts} of the labels random the net learns {learned} of them by heart ({LEARNED:.0%} after {told} epochs) "
        f"and is right on {mean('test_accuracy')} of the test "
        f"images; with the most of them on {100 * low:.1f} to {100 * high:.1f} %, where chance is "
        f"{100 / found.classes:.1f} %. The epoch that is best on average, as the test images themselves say, is "
        f"{listed([str(one['best_epoch']) for one in figures.values()])}: "
        f"{mean('test_accuracy_of_best_epoch')} right."
    )


def sections(config: Config, found: Found, figures: Mapping[str, Any]) -> list[report.Section]:
    """Return what the page shows."""
    epochs = range(1, found.training.shape[2] + 1)
    names = [f"{percent(part)} random" for part in config.fractions]

    def drawn(quantity: str, values: np.ndarray) -> Any:
        groups = {name: 100 * values[at] for at, name in enumerate(names)}
        return spread_lines(quantity, "epoch", epochs, groups, logarithmic="x")

    learned = report.Picture(
        drawn("training labels learned, %", found.training),
        "Training images for which the net gives the label that they were given, right or random. Mean of "
        f"{config.seeds} seeds and a band of one standard deviation.",
        "Lines of training accuracy against the epoch, all of which end at the top.",
    )
    tested = report.Picture(
        drawn("test images right, %", found.test),
        f"New images, whose labels are right. Chance is {100 / found.classes:.1f} %.",
        "Lines of test accuracy against the epoch, which end the lower the more labels are random.",
    )
    spread = lambda one: f"{100 * one['mean']:.1f} ± {100 * one['sd']:.1f}"  # noqa: E731
    rows = [
        {
            "random labels": name,
            "learned, %": spread(one["training_accuracy"]),
            "test, %": spread(one["test_accuracy"]),
            "best epoch": one["best_epoch"],
            "test, % after it": spread(one["test_accuracy_of_best_epoch"]),
            f"epochs to {LEARNED:.0%}": ", ".join("never" if n is None else str(n) for n in one["epochs_to_learn"]),
        }
        for name, one in figures.items()
    ]
    table = report.Table(
        rows,
        "Mean ± standard deviation of the seeds at the end; the epochs to learn seed by seed. The best epoch is the "
        "one with the highest mean on the test images themselves: nobody who trains knows it.",
    )
    return [
        report.Section("Any labels are learned", [learned, tested, table]),
    ]


if __name__ == "__main__":
    run(main, Config)
