"""With few images, is it better to train only the last layers?

`python -m experiments.transfer` trains a small VGG on one set (Fashion-MNIST, else drawn scenes), then on 5 to 100
images per class of another (MNIST, else the digits), in four ways: from scratch; and from the weights of the first set
with the last layer training alone, with the last stage training too, and with all layers training. Of each way all
numbers of images and all seeds are lanes of one program, and all make equally many steps. A way's learning rate is the
one of four that does best on held-out training images, before the test set is looked at. `--photographs` adds ants and
bees, with weights of clothes. What it promises: with the fewest images the best of the other ways beats training from
scratch. Whether training only the last layers beats training all, it says. About 5 min on 2 cores.

Source: Yosinski et al. 2014 (how transferable features are, by layer).
"""

import dataclasses
import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.device import console
from experiments.lines import spread_lines
from experiments.progress import LanesBar, ProgressBar
from experiments.runner import Common, Result, run
from experiments.statistics import summary
from jaxcnn import data, initializers, layers, models, report, search, training, transfer
from jaxcnn.checking import expect

SCRATCH, LAST, STAGE, ALL = "from scratch", "last layer", "last stage and layer", "all layers"
STAGES = 4
PHOTOGRAPHS, CLOTHES = "hymenoptera_224.zip", "clothing_small_128.zip"


@dataclass(frozen=True)
class Config(Common):
    source: str | None = None  # set that weights come from; None for fashion_mnist where it is, else scenes
    target: str | None = None  # set with few images; None for mnist where it is, else digits
    photographs: bool = False  # ants and bees too, where they are in $JAXCNN_DATA
    image_size: int = 28  # pixels across the images of both sets
    source_images: int = 12000  # to learn the weights from, at most
    source_epochs: int = 3  # passes through them
    per_class: tuple[int, ...] = (5, 10, 20, 50, 100)  # images of each class, rising, divisors of the last
    held_out: int = 1000  # training images that rates are chosen on, a fifth of all at most
    test_images: int = 2000  # at most
    seeds: int = 5  # other images, orders and, from scratch, weights; 2 or more
    steps: int = 200  # of every training on the target
    batch_size: int = 25  # images per step
    rates: tuple[float, ...] = (0.03, 0.1, 0.3, 1.0)  # peaks of the learning rate to choose from
    width: int = 8  # maps of the net's first stage


class Task(NamedTuple):
    """A net, what it has learned from the source, and the parts of the target: to train, to choose, to test."""

    net: layers.Sequential
    start: tuple[Any, Any]
    train: data.Dataset
    held: data.Dataset
    test: data.Dataset


class Measured(NamedTuple):
    """Test accuracies by way, (seeds, sizes), and the learning rate of each."""

    accuracy: Mapping[str, np.ndarray]
    rates: Mapping[str, float]


def main(config: Config) -> Result:
    if config.quick:
        few = {"source_images": 1000, "source_epochs": 1, "per_class": (5, 20), "held_out": 200, "test_images": 300}
        config = dataclasses.replace(config, **few, seeds=2, steps=16, rates=(0.1,), width=4)
    expect_sizes("transfer", config.per_class)
    expect(config.seeds >= 2, "transfer", "at least 2 seeds", config.seeds, "One has no standard deviation.")
    expect(len(config.rates) > 0, "transfer", "at least one rate", config.rates, "Pass 0.03 and 0.1, say.")
    source, _ = loaded(config.source, "fashion_mnist", "scenes")
    target = loaded(config.target, "mnist", "digits")
    task = prepared(config, source, target)
    found = measured(config, task, config.per_class)
    names = f"{source.info.name} to {target[0].info.name}"
    answer, holds = sentence(config, names, config.per_class, found.accuracy)
    photographs, beside = pictured_photographs(config) if config.photographs else ([], {})
    at = crossing(config.per_class, found.accuracy[LAST], found.accuracy[ALL])
    figures = {"sets": names, **recorded(config.per_class, found), "crossing": at, **beside}
    percent = {way: 100 * values for way, values in found.accuracy.items()}
    picture = report.Picture(
        spread_lines(
            "test accuracy, %", "images of each class", config.per_class, percent, logarithmic="x", ticks=True,
            marks={} if at is None else {f"all layers better: {at:.0f}": at},
        ),
        f"{names}: mean of {config.seeds} seeds, a band of one standard deviation. "
        + ("All layers and the last alone do not cross in this range." if at is None else "Dotted: from there on ")
        + ("" if at is None else "training all layers is better than training the last alone."),
        "Lines of test accuracy against images of each class, one for each way of training.",
    )  # fmt: skip
    rates = ", ".join(f"{way} {rate:g}" for way, rate in found.rates.items())
    how = (
        f"{config.steps} steps of {config.batch_size} images for each training, SGD with momentum 0.9, warm-up over a "
        f"tenth and half a cosine; peaks chosen on {task.held.size} held-out training images: {rates}. Weights from "
        f"one training on {min(source.size, config.source_images):,} images of {source.info.name}. Tested on "
        f"{task.test.size:,} images."
    )
    sections = [report.Section("Few images", [picture, report.Table(rows(config.per_class, found)), how]), *photographs]
    if config.quick:
        answer, holds = f"not judged: {answer}", True
    elif not holds:
        answer = f"NOT as promised: no way beats training from scratch with the fewest images. {answer}"
    headline = [
        report.Number(way, f"{100 * values[:, 0].mean():.1f} %", f"with {config.per_class[0]} images of each class")
        for way, values in found.accuracy.items()
    ]
    return Result(figures, sections, answer, holds, headline)


def expect_sizes(where: str, sizes: Sequence[int]) -> None:
    """Raise `ValueError` unless the sizes rise and divide the last, so that lanes can be equally long."""
    rising = all(a < b for a, b in itertools.pairwise(sizes))
    ok = len(sizes) >= 2 and sizes[0] >= 1 and rising and all(sizes[-1] % n == 0 for n in sizes)
    what = "two or more rising numbers of images that divide the last"
    expect(ok, where, what, sizes, "Pass 5, 10, 20, 50 and 100, say.")


def loaded(name: str | None, usual: str, otherwise: str) -> tuple[data.Dataset, data.Dataset]:
    """Return the set called `name`, else the usual one; another one, and a line that says so, where that is missing."""
    try:
        train, test = data.load(name or usual)
    except (FileNotFoundError, ImportError) as missing:
        if name is not None:
            raise
        console.print(f"{otherwise}, since there is no {usual}. {missing}", markup=False)
        train, test = data.load(otherwise)
    return in_memory(train), in_memory(test)


def in_memory(dataset: data.Dataset | data.Stream) -> data.Dataset:
    fix = "Choose a smaller set, or images of one size."
    expect(isinstance(dataset, data.Dataset), "experiment", "a set that fits into memory", dataset, fix)
    return dataset  # pyrefly: ignore


def fitted(dataset: data.Dataset, size: int, channels: int) -> data.Dataset:
    """Return the set with images of size x size pixels, grey (the mean of the colours) or in colours."""
    image = dataset["image"]
    if image.shape[1:] == (size, size, channels):
        return dataset
    if image.shape[-1] != channels:
        image = image.mean(-1, keepdims=True) if channels == 1 else np.repeat(image, channels, axis=-1)
    shape = (len(image), size, size, channels)
    image = np.asarray(jax.image.resize(image.astype(np.float32), shape, "linear"))
    if dataset["image"].dtype == np.uint8:
        image = np.rint(image).clip(0, 255).astype(np.uint8)
    info = dataset.info
    return data.from_arrays(image, dataset["label"], class_names=info.class_names, name=info.name, source=info.source)


def some(dataset: data.Dataset, count: int, key: jax.Array) -> data.Dataset:
    """Return so many random examples, or all there are."""
    return dataset.take(np.asarray(jax.random.permutation(key, dataset.size))[:count])


def small_vgg(info: data.DatasetInfo, width: int) -> layers.Sequential:
    """Return the net: four stages of one convolution, then a dense layer that sees 3 x 3 places of the last maps."""
    stages = models.create("cifar_vgg", width=width, convolutions=(1,) * STAGES)[:STAGES]
    return layers.Sequential(
        normalize=layers.Normalize(info.mean, info.std),
        **stages.layers,
        pool=layers.AdaptiveAvgPool(3),
        flatten=layers.Flatten(),
        head=head(info),
    )


def head(info: data.DatasetInfo) -> layers.Dense:
    """Return the last layer for the classes of a set."""
    return layers.Dense(len(info.class_names), kernel_init=initializers.lecun_normal)


def prepared(config: Config, source: data.Dataset, target: tuple[data.Dataset, data.Dataset]) -> Task:
    """Return the task, its net trained on the source and given a new head."""
    order_key, fit_key, head_key, held_key, test_key = jax.random.split(jax.random.key(config.seed), 5)
    train, test = target
    channels, count = train["image"].shape[-1], min(config.held_out, train.size // 5)
    order = np.asarray(jax.random.permutation(held_key, train.size))
    parts = train.take(order[count:]), train.take(order[:count]), some(test, config.test_images, test_key)
    train, held, test = (fitted(part, config.image_size, channels) for part in parts)
    few = fitted(some(source, config.source_images, order_key), config.image_size, channels)
    net = small_vgg(few.info, config.width)
    with ProgressBar(console) as bar:
        known = training.fit(net, few, epochs=config.source_epochs, key=fit_key, callbacks=[bar]).state
    net, params, state = transfer.swap_head(
        net, known.params, known.model_state, head(train.info), key=head_key, spec=train.spec
    )
    return Task(net, (params, state), train, held, test)


def drawn(dataset: data.Dataset, sizes: Sequence[int], keys: jax.Array) -> tuple[data.Dataset, np.ndarray]:
    """Return all images that are drawn, as one set, and which of them each lane has: for each size one lane a key.

    A lane with fewer images has each of them more often, so that all lanes are equally long.
    """
    blank, numbers = np.zeros((dataset.size, 1, 1, 1), np.uint8), np.arange(dataset.size)
    labels = data.from_arrays(blank, dataset["label"], class_names=dataset.info.class_names, number=numbers)
    lanes = [data.per_class(labels, n, key=key)["number"] for n in sizes for key in keys]
    lanes = np.stack([np.resize(lane, max(map(len, lanes))) for lane in lanes])
    pool, index = np.unique(lanes, return_inverse=True)
    return dataset.take(pool), index.reshape(lanes.shape)


def trained(
    config: Any, net: layers.Sequential, pool: data.Dataset, lanes: np.ndarray, rates: Sequence[float], key: jax.Array,
    **options: Any,
) -> search.Trainings:  # fmt: skip
    """Return the trainings of all lanes with each rate, all of them so many steps long."""
    per_epoch = max(1, lanes.shape[1] // config.batch_size)
    epochs = max(1, config.steps // per_epoch)
    steps = epochs * per_epoch
    make = lambda rate: training.sgd(training.warmup_cosine(rate, steps))  # noqa: E731
    with LanesBar(console) as bar:
        return search.sweep(
            net, pool, over={"rate": rates}, restarts=len(lanes), examples=lanes, optimizer=make, epochs=epochs,
            batch_size=config.batch_size, key=key, callbacks=[bar], **options,
        )  # fmt: skip


def accuracies(net: layers.Sequential, found: search.Trainings, dataset: data.Dataset) -> np.ndarray:
    """Return the accuracy of each lane, (lanes,)."""
    states = [found.state(lane) for lane in range(len(found))]
    return np.array([training.evaluate(net, s.params, s.model_state, dataset)["accuracy"] for s in states])


def measured(config: Config, task: Task, sizes: Sequence[int]) -> Measured:
    """Return what each way reaches on the test set, with the rate that held-out images have chosen."""
    draw_key, choice_key, key = jax.random.split(jax.random.fold_in(jax.random.key(config.seed), 1), 3)
    pool, lanes = drawn(task.train, sizes, jax.random.split(draw_key, config.seeds))
    some_sizes = sorted({sizes[0], sizes[len(sizes) // 2], sizes[-1]})
    other, tried = drawn(task.train, some_sizes, jax.random.split(choice_key, 1))
    accuracy, rates = {}, {}
    for way, options in ways(task).items():
        sets, net = (pool, other, task.held, task.test), task.net
        if way == LAST:  # what is frozen is computed once
            given = [transfer.features(task.net, *task.start, part, at="flatten") for part in sets]
            sets, net = [found for found, _ in given], given[0][1]
        rates[way], told = config.rates[0], ""
        if len(config.rates) > 1:
            choice = trained(config, net, sets[1], tried, config.rates, key, **options)
            held = accuracies(net, choice, sets[2]).reshape(len(config.rates), -1).mean(axis=1)
            rates[way], told = config.rates[int(held.argmax())], f"  held out, by rate: {np.round(held, 3)}"
        found = trained(config, net, sets[0], lanes, [rates[way]], key, **options)
        accuracy[way] = accuracies(net, found, sets[3]).reshape(len(sizes), config.seeds).T
        reached = np.round(accuracy[way].mean(axis=0), 3)
        console.print(f"{way:<22}rate {rates[way]:g}{told}  test: {reached}", markup=False)
    return Measured(accuracy, rates)


def ways(task: Task) -> dict[str, dict[str, Any]]:
    """Return, by way of training, what a search begins with and leaves alone."""
    params, _ = task.start
    stages = [f"stage{number}" for number in range(1, STAGES)]
    return {
        SCRATCH: {},
        LAST: {"start": ({"head": params["head"]}, {})},
        STAGE: {"start": task.start, "freeze": stages},
        ALL: {"start": task.start},
    }


def crossing(sizes: Sequence[int], one: np.ndarray, other: np.ndarray) -> float | None:
    """Return from how many images on `other` is better than `one`, by the means of seeds; None if that lies outside.

    Between two sizes the difference is taken as linear in the logarithm of the number.
    """
    gain = (other - one).mean(axis=0)
    for at in range(len(sizes) - 1):
        if gain[at] <= 0 < gain[at + 1]:
            share = gain[at] / (gain[at] - gain[at + 1])
            return float(sizes[at] * (sizes[at + 1] / sizes[at]) ** share)
    return None


def recorded(sizes: Sequence[int], found: Measured) -> dict[str, Any]:
    """Return the figures: accuracies, what is won over training all layers, and the rates."""
    by_size = lambda values: {str(n): summary(values[:, at].tolist()) for at, n in enumerate(sizes)}  # noqa: E731
    return {
        "accuracy": {way: by_size(values) for way, values in found.accuracy.items()},
        "over_all_layers": {w: by_size(v - found.accuracy[ALL]) for w, v in found.accuracy.items() if w != ALL},
        "rate": dict(found.rates),
    }


def rows(sizes: Sequence[int], found: Measured) -> list[dict[str, Any]]:
    """Return the rows of the table: mean and standard deviation of the accuracy, %."""
    told = lambda v: f"{100 * v.mean():.1f} ± {100 * v.std(ddof=1):.1f}"  # noqa: E731
    return [
        {"images of each class": n, **{way: told(values[:, at]) for way, values in found.accuracy.items()}}
        for at, n in enumerate(sizes)
    ]


def sentence(config: Config, names: str, sizes: Sequence[int], accuracy: Mapping[str, np.ndarray]) -> tuple[str, bool]:
    """Return the answer, and whether scratch is beaten: better is only what is so beyond the 95 % interval."""
    told = []
    for at in dict.fromkeys((0, len(sizes) - 1)):
        means = ", ".join(f"{way} {100 * values[:, at].mean():.1f}" for way, values in accuracy.items())
        told.append(f"{sizes[at]} images of each class: {means} %")
    shown = [way for way in (LAST, STAGE) if better(accuracy[way][:, 0], accuracy[ALL][:, 0])]
    claim = f"shown for {' and for '.join(shown)}" if shown else "NOT shown"
    where = "" if len(sizes) == 1 else f" {crossed(sizes, accuracy)}."
    holds = any(better(values[:, 0], accuracy[SCRATCH][:, 0]) for way, values in accuracy.items() if way != SCRATCH)
    return (
        f"{names}, {config.seeds} seeds, test accuracy with {'; with '.join(told)}. That few images are better spent "
        f"on the last layers than on all is {claim} with {sizes[0]}.{where}"
    ), holds


def better(values: np.ndarray, others: np.ndarray) -> bool:
    """Return whether values are larger than others, seed by seed, beyond the 95 % interval of the mean difference."""
    return summary((values - others).tolist())["interval"][0] > 0


def crossed(sizes: Sequence[int], accuracy: Mapping[str, np.ndarray]) -> str:
    """Return where training all layers becomes better than training fewer."""
    parts = []
    for way in (LAST, STAGE):
        at = crossing(sizes, accuracy[way], accuracy[ALL])
        ahead = float((accuracy[ALL] - accuracy[way]).mean(axis=0)[0]) > 0
        outside = f"below {sizes[0]} images, if at all" if ahead else f"beyond {sizes[-1]} images, if at all"
        parts.append(f"{way}: {outside if at is None else f'at {at:.0f} images of each class'}")
    return f"All layers become better than fewer ({'; '.join(parts)})"


def pictured_photographs(config: Config) -> tuple[list[report.Section], dict[str, Any]]:
    """Return the section on ants and bees and its figures; a line instead where there are none."""
    folder, size, title = Path(os.environ.get("JAXCNN_DATA", ".")), 64, "Ants and bees"
    if not (folder / PHOTOGRAPHS).is_file():
        missing = f"Left out: there is no {PHOTOGRAPHS} in $JAXCNN_DATA."
        console.print(missing, markup=False)
        return [report.Section(title, [missing])], {}
    photographs = lambda name: data.load("folder", path=folder / name, image_size=size)  # noqa: E731
    source, _ = photographs(CLOTHES) if (folder / CLOTHES).is_file() else data.load("scenes")
    one, other = photographs(PHOTOGRAPHS)
    sizes = (20,) if config.quick else (50,)
    config = dataclasses.replace(config, image_size=size, source_epochs=1 if config.quick else 8, per_class=sizes)
    task = prepared(config, in_memory(source), (in_memory(one), in_memory(other)))
    found = measured(config, task, sizes)
    names = f"{source.info.name} to {one.info.name}"
    answer, _ = sentence(config, names, sizes, found.accuracy)
    dots = {way: (100 * values[:, 0]).tolist() for way, values in found.accuracy.items()}
    picture = report.Picture(
        report.seed_dots(dots, quantity="test accuracy, %", reference=SCRATCH, decimals=1),
        f"{names} at {size} x {size} pixels, {sizes[0]} images of each class: a dot a seed, of {task.test.size} test "
        "images; mean ± standard deviation.",
        "Dots of test accuracy on photographs, a line for each way of training.",
    )
    return [report.Section(title, [picture, answer])], {"photographs": {"sets": names, **recorded(sizes, found)}}


if __name__ == "__main__":
    run(main, Config)
