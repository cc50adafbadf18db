"""What is learned from images without labels? Two views of each, and how few labels are enough afterwards.

`python -m experiments.self_supervised` trains a small net on unlabelled images of CIFAR-10: of two random views of
each image it has to say that they belong together, among those of all other images of the batch (SimCLR, Chen et al.
2020). Then its features are frozen, and a linear classifier learns from 5 to 50 labelled images of each class what they
mean. Beside it stand the same classifier of an untrained net's features and of the pixels, and the same net trained
from scratch on the same labels, with and without views. Without CIFAR-10 (`$JAXCNN_DATA`) it takes the digits.
What it promises: with the fewest labels the features learned without labels beat those of the untrained net, the
pixels and plain training from scratch, beyond the 95 % interval of the difference. Whether they beat training from
scratch on views, which is told as much about images, it says. About 9 min on 2 cores.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np

from experiments.apparatus.few_images import accuracies, by_size, drawn, expect_sizes, rows, trained
from experiments.apparatus.image_sets import loaded, some
from experiments.apparatus.lines import spread_lines
from experiments.apparatus.small_nets import small_vgg
from experiments.apparatus.statistics import better, in_points, mean_sd, summary
from experiments.framework.device import console
from experiments.framework.progress import ProgressBar
from experiments.framework.runner import Common, Result, judge, run
from jaxcnn import augment, data, initializers, layers, matching, report, training
from jaxcnn import functional as F
from jaxcnn.checking import expect
from jaxcnn.explain import probes

VIEWS, UNTRAINED, PIXELS = "learned without labels", "untrained net", "pixels"
SCRATCH, AUGMENTED = "from scratch", "from scratch, with views"
FROZEN = (VIEWS, UNTRAINED, PIXELS)
BEATEN = (UNTRAINED, PIXELS, SCRATCH)  # what is promised to be less right with the fewest labels
AT = "flatten"  # the layer whose output the features are
SHOWN = 8  # images whose views are shown


@dataclass(frozen=True)
class Config(Common):
    dataset: str | None = None  # one of jaxcnn.data.names(); None for cifar10 where it is, else digits
    unlabelled: int = 5000  # images to learn from without labels, at most
    epochs: int = 15  # passes through them
    views_batch: int = 128  # images per step, each with two views
    views_rate: float = 0.1  # peak of that schedule: warm-up over a tenth, then half a cosine
    temperature: float = 0.2  # of the loss of views
    projection: int = 32  # numbers in which views are compared; the features are what lies before
    area: float = 0.3  # the least share of an image that a view shows
    per_class: tuple[int, ...] = (5, 10, 50)  # labelled images of each class, rising, divisors of the last
    test_images: int = 2000  # at most
    seeds: int = 4  # other images, weights, views and orders; 2 or more
    l2: float = 0.1  # penalty of the linear classifiers
    steps: int = 400  # of every training from scratch
    batch_size: int = 25  # labelled images per step of those
    learning_rate: float = 0.1  # peak of their schedule
    width: int = 12  # maps of the net's first stage


def main(config: Config) -> Result:
    if config.quick:
        few = {"unlabelled": 256, "epochs": 2, "views_batch": 64, "per_class": (5, 10), "test_images": 200}
        config = dataclasses.replace(config, dataset="digits", **few, seeds=2, steps=8, width=4)
    where = "self_supervised"
    expect_sizes(where, config.per_class)
    expect(config.seeds >= 2, where, "at least 2 seeds", config.seeds, "One has no standard deviation.")
    expect(0 < config.area <= 1, where, "area in (0, 1]", config.area, "0.3 is the default.")
    train_set, test_set = loaded(config.dataset, "cifar10", "digits")
    test_key, draw_key, views_key, key, picture_key = jax.random.split(jax.random.key(config.seed), 5)
    test_set = some(test_set, config.test_images, test_key)
    pool, lanes = drawn(train_set, config.per_class, jax.random.split(draw_key, config.seeds))
    learned, untrained, histories = without_labels(config, train_set, jax.random.split(views_key, config.seeds))
    accuracy = probed(config, learned, untrained, pool, lanes, test_set)
    accuracy |= from_scratch(config, pool, lanes, test_set, key)
    sizes = config.per_class
    figures = {
        "dataset": train_set.info.name,
        "accuracy": {way: by_size(sizes, values) for way, values in accuracy.items()},
        "gain_of_views": {way: by_size(sizes, accuracy[VIEWS] - v) for way, v in accuracy.items() if way != VIEWS},
        "loss_of_views": summary([history[-1]["train_loss"] for history in histories]),
        "loss_of_chance": float(np.log(2 * config.views_batch - 1)),
    }
    promises = {
        f"with the fewest labels better than {way}": better(accuracy[VIEWS][:, 0], accuracy[way][:, 0])
        for way in BEATEN
    }
    answer = sentence(config, train_set, accuracy)
    judgement = judge(config, answer, promises)
    headline = [
        report.Number(way, f"{100 * values[:, 0].mean():.1f} %", f"right with {config.per_class[0]} labels of a class")
        for way, values in accuracy.items()
    ]
    sections = [compared(config, train_set, accuracy), shown(config, train_set, histories[0], picture_key)]
    return Result(figures, sections, *judgement, headline)


def view(config: Config, channels: int) -> Callable[[jax.Array, Any], Any]:
    """Return the augmentation that makes a view: a part of the image, mirrored or not, in other tones."""
    fns = [
        partial(augment.random_resized_crop, area=(config.area, 1.0)),
        augment.flip,
        partial(augment.brightness, delta=0.2),
        partial(augment.contrast, factor=(0.6, 1.4)),
    ]
    if channels == 3:
        colours = partial(augment.saturation, factor=(0.5, 1.5)), partial(augment.grayscale, p=0.2)
        fns += [partial(augment.hue, delta=0.1), *colours]
    return augment.compose(*fns)


def without_labels(
    config: Config, train_set: data.Dataset, keys: jax.Array
) -> tuple[list[training.TrainState], list[tuple[Any, Any]], list[list[dict[str, Any]]]]:
    """Return, for each seed, the net trained on views of unlabelled images, an untrained one, and the history."""
    channels = train_set["image"].shape[-1]
    net = projector(config, train_set.info)
    states, untrained, histories = [], [], []
    for seed, key in enumerate(keys):
        choice_key, fit_key, init_key = jax.random.split(key, 3)
        images = some(train_set, config.unlabelled, choice_key)["image"]
        unlabelled = data.from_arrays(images, name=train_set.info.name)
        steps = config.epochs * (unlabelled.size // config.views_batch)
        console.print(f"seed {seed}: {unlabelled.size:,} images without labels", markup=False)
        with ProgressBar(console) as bar:
            result = training.fit(
                net, unlabelled, loss=matching.view_loss(config.temperature),
                augment=matching.two_views(view(config, channels)), epochs=config.epochs,
                batch_size=config.views_batch, key=fit_key, callbacks=[bar],
                optimizer=training.sgd(training.warmup_cosine(config.views_rate, steps)),
            )  # fmt: skip
        states.append(result.state)
        untrained.append(net.init(init_key, train_set.spec))
        histories.append(result.history)
    return states, untrained, histories


def projector(config: Config, info: data.DatasetInfo) -> layers.Sequential:
    """Return the net: the trunk of a small VGG, and two dense layers in whose output views are compared."""
    trunk = small_vgg(info, config.width)[:-1]
    return layers.Sequential(
        **trunk.layers,
        hidden=layers.Dense(2 * config.projection),
        act=F.relu,
        project=layers.Dense(config.projection, kernel_init=initializers.lecun_normal),
    )


def probed(
    config: Config,
    learned: Sequence[training.TrainState],
    untrained: Sequence[tuple[Any, Any]],
    pool: data.Dataset,
    lanes: np.ndarray,
    test_set: data.Dataset,
) -> dict[str, np.ndarray]:
    """Return the test accuracy of linear classifiers of frozen features, by way (seeds, sizes)."""
    net, found = projector(config, pool.info), {way: np.zeros((config.seeds, len(config.per_class))) for way in FROZEN}
    for seed in range(config.seeds):
        weights = {VIEWS: (learned[seed].params, learned[seed].model_state), UNTRAINED: untrained[seed]}
        for way in FROZEN:
            known, tested = (
                pixels(part) if way == PIXELS else probes.layer_features(net, *weights[way], part, [AT])[AT]
                for part in (pool, test_set)
            )
            for at in range(len(config.per_class)):
                own = np.unique(lanes[at * config.seeds + seed])  # lanes repeat images to be equally long
                probe = probes.linear_probe(
                    known[own], pool["label"][own], tested, test_set["label"], l2=config.l2,
                    classes=len(pool.info.class_names),
                )  # fmt: skip
                found[way][seed, at] = float(probe.accuracy)
    for way, values in found.items():
        console.print(f"{way:<26}{np.round(values.mean(axis=0), 3)}", markup=False)
    return found


def pixels(dataset: data.Dataset) -> np.ndarray:
    """Return the images as rows of numbers in [0, 1]."""
    return np.asarray(data.to_float(dataset["image"])).reshape(dataset.size, -1)


def from_scratch(
    config: Config, pool: data.Dataset, lanes: np.ndarray, test_set: data.Dataset, key: jax.Array
) -> dict[str, np.ndarray]:
    """Return the test accuracy of nets that learn from the labelled images alone, by way (seeds, sizes)."""
    net, found = small_vgg(pool.info, config.width), {}
    of_views = {"augment": augment.batched(view(config, pool["image"].shape[-1]))}
    for way, options in {SCRATCH: {}, AUGMENTED: of_views}.items():
        trainings = trained(config, net, pool, lanes, [config.learning_rate], key, **options)
        found[way] = accuracies(net, trainings, test_set).reshape(len(config.per_class), config.seeds).T
        console.print(f"{way:<26}{np.round(found[way].mean(axis=0), 3)}", markup=False)
    return found


def sentence(config: Config, dataset: data.Dataset, accuracy: Mapping[str, np.ndarray]) -> str:
    """Return the answer."""
    told = []
    for at in (0, -1):
        means = ", ".join(f"{way} {mean_sd(100 * v[:, at])}" for way, v in accuracy.items())
        told.append(f"with {config.per_class[at]} labelled images of each class {means} %")
    beside = summary((accuracy[VIEWS] - accuracy[AUGMENTED])[:, 0].tolist())
    return (
        f"{dataset.info.name}, {config.seeds} seeds, test accuracy: {'; '.join(told)}. The first was learned from "
        f"{min(config.unlabelled, dataset.size):,} images without labels; with the fewest labels it is "
        f"{in_points(beside)} points beside training on views of the labelled ones."
    )


def compared(config: Config, dataset: data.Dataset, accuracy: Mapping[str, np.ndarray]) -> report.Section:
    """Return how the ways compare."""
    percent = {way: 100 * values for way, values in accuracy.items()}
    return report.Section(
        "Accuracy against labels",
        [
            report.Picture(
                spread_lines(
                    "test accuracy, %", "labelled images of each class", config.per_class, percent, logarithmic="x",
                    ticks=True,
                ),
                f"{dataset.info.name}: mean of {config.seeds} seeds, a band of one standard deviation. The first three "
                "are linear classifiers of frozen features, the others whole nets.",
                "Lines of test accuracy against labelled images of each class, one for each way.",
            ),
            report.Table(rows(config.per_class, accuracy), "Test accuracy, %: mean ± standard deviation."),
        ],
    )  # fmt: skip


def shown(
    config: Config, dataset: data.Dataset, history: Sequence[Mapping[str, Any]], key: jax.Array
) -> report.Section:
    """Return what views look like, and how the loss fell."""
    images = data.to_float(dataset["image"][:SHOWN])
    made = matching.two_views(view(config, images.shape[-1]))(key, {"image": images})["image"]
    seen = {"image": images, "one view": made[:, 0], "another view": made[:, 1]}
    chance = np.log(2 * config.views_batch - 1)
    return report.Section(
        "Views",
        [
            report.Picture(
                report.image_rows({name: np.asarray(image) for name, image in seen.items()}),
                "Images and two views of each, as the net sees them; every epoch draws others.",
                "Three rows of images: whole ones, and two rows of parts of them.",
            ),
            report.Picture(
                report.curves(history),
                f"Loss of the first seed: how surely a view finds its partner among {2 * config.views_batch - 1}; "
                f"where all are alike it is {chance:.2f}.",
                "A curve of the loss by epoch.",
            ),
        ],
    )


if __name__ == "__main__":
    run(main, Config)
