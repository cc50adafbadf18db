"""With few images, is it better to train only the last layers?

`python -m experiments.transfer` trains a small VGG on one set, then on 5 to 100 images per class of another, in four
ways: from scratch; and from the weights of the first set with the last layer training alone, with the last stage too,
and with all layers. It does so for two pairs: Fashion-MNIST and MNIST, which are far from each other, and MNIST and the
digits, which are near (scenes and digits without these). Of each way all numbers of images and all seeds are lanes of
one program, and all make equally many steps. A way's learning rate is the one of five that does best on held-out
training images, before the test set is looked at. `--photographs` adds ants and bees, with weights of clothes. What it
promises: in one of the pairs at least, weights of the other set beat training from scratch with the fewest images.
Whether training only the last layers beats training all, it says. About 6 min on 2 cores.

Source: Yosinski et al. 2014 (how transferable features are, by layer).
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.apparatus import small_nets
from experiments.apparatus.few_images import (
    accuracies,
    by_size,
    chosen_rate,
    crossing,
    drawn,
    expect_sizes,
    leads,
    rows,
    trained,
)
from experiments.apparatus.image_sets import load, some
from experiments.apparatus.lines import spread_lines
from experiments.apparatus.small_nets import head, small_vgg
from experiments.apparatus.statistics import better, in_points, summary
from experiments.framework.device import console
from experiments.framework.progress import ProgressBar
from experiments.framework.runner import Common, Result, judge, run
from jaxcnn import data, layers, report, training, transfer
from jaxcnn.checking import expect
from jaxcnn.data.tfds import data_folder

SCRATCH, LAST, STAGE, ALL = "from scratch", "last layer", "last stage and layer", "all layers"
PAIRS = (("fashion_mnist", "mnist"), ("mnist", "digits"))
INSTEAD = ("scenes", "digits")
PHOTOGRAPHS, CLOTHES = "hymenoptera_224.zip", "clothing_small_128.zip"


@dataclass(frozen=True)
class Config(Common):
    source: str | None = None  # set that weights come from; both pairs unless source or target is given
    target: str | None = None  # set with few images
    photographs: bool = False  # ants and bees too, where they are in $JAXCNN_DATA
    image_size: int = 28  # pixels across the images of both sets
    source_images: int = 8000  # to learn the weights from, at most
    source_epochs: int = 3  # passes through them
    per_class: tuple[int, ...] = (5, 10, 20, 50, 100)  # images of each class, rising, divisors of the last
    held_out: int = 1000  # training images that rates are chosen on, a fifth of all at most
    test_images: int = 2000  # at most
    seeds: int = 10  # other images, orders and, from scratch, weights; 2 or more
    steps: int = 160  # of every training on the target
    batch_size: int = 25  # images per step
    rates: tuple[float, ...] = (0.003, 0.01, 0.03, 0.1, 0.3)  # peaks of the learning rate to choose from
    width: int = 8  # maps of the net's first stage


class Task(NamedTuple):
    """A net, what it has learned from the source, and the parts of the target: to train, to choose, to test."""

    names: str
    net: layers.Sequential
    start: tuple[Any, Any]
    train: data.Dataset
    held: data.Dataset
    test: data.Dataset


class Measured(NamedTuple):
    """Test accuracies by way, (seeds, sizes), and the learning rate of each."""

    names: str
    sizes: Sequence[int]
    accuracy: Mapping[str, np.ndarray]
    rates: Mapping[str, float]

    def helps(self, pairs: int) -> bool:
        """Return whether some way beats training from scratch with the fewest images, of so many pairs."""
        ways, (scratch, *_) = (LAST, STAGE, ALL), self.accuracy[SCRATCH].T
        return any(better(self.accuracy[way][:, 0], scratch, comparisons=len(ways) * pairs) for way in ways)


def main(config: Config) -> Result:
    if config.quick:
        few = {"source_images": 1000, "source_epochs": 1, "per_class": (5, 20), "held_out": 200, "test_images": 300}
        config = dataclasses.replace(config, **few, seeds=2, steps=16, rates=(0.1,), width=4)
    expect_sizes("transfer", config.per_class)
    expect(config.seeds >= 2, "transfer", "at least 2 seeds", config.seeds, "One has no standard deviation.")
    expect(len(config.rates) > 0, "transfer", "at least one rate", config.rates, "Pass 0.03 and 0.1, say.")
    sections, found = [], []
    for source, target in pairs(config):
        task = prepared(config, source, target)
        found.append(measured(config, task, config.per_class))
        sections.append(compared(config, task, found[-1]))
    figures = {one.names: recorded(one) for one in found}
    if config.photographs:
        section, more = of_photographs(config)
        sections.append(section)
        figures |= more
    answer, helps = " ".join(map(sentence, found)), any(one.helps(len(found)) for one in found)
    judgement = judge(config, answer, {"some weights beat training from scratch with the fewest images": helps})
    headline = []
    for one in found:
        value = leads(one.sizes, one.accuracy[LAST], one.accuracy[ALL])
        headline.append(report.Number(one.names, value, "of each class, all layers lead the last alone"))
    return Result(figures, sections, *judgement, headline)


def pairs(config: Config) -> Iterator[tuple[data.Dataset, tuple[data.Dataset, data.Dataset]]]:
    """Yield the source and the target of each pair whose sets are there, and say which are not."""
    given = config.source is not None or config.target is not None
    chosen = (
        ((config.source or PAIRS[0][0], config.target or PAIRS[0][1]),) if given else PAIRS[-1 if config.quick else 0 :]
    )
    some_there, few = False, few_scenes_of(config)
    for source, target in chosen:
        try:
            yield load("transfer", source, scenes=few)[0], load("transfer", target, scenes=few)
            some_there = True
        except (FileNotFoundError, ImportError) as missing:
            if given:
                raise
            console.print(f"Without {source} to {target}. {missing}", markup=False)
    if not some_there:
        yield load("transfer", INSTEAD[0], scenes=few)[0], load("transfer", INSTEAD[1])


def few_scenes_of(config: Config) -> tuple[int, int] | None:
    """Return how many scenes a small run draws; None for all."""
    return (config.source_images, config.test_images + config.held_out) if config.quick else None


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


def prepared(config: Config, source: data.Dataset, target: tuple[data.Dataset, data.Dataset]) -> Task:
    """Return the task, its net trained on the source and given a new head."""
    order_key, fit_key, head_key, held_key, test_key = jax.random.split(keys(config)[0], 5)
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
    names = f"{source.info.name} to {train.info.name}"
    return Task(names, net, (params, state), train, held, test)


def keys(config: Config) -> jax.Array:
    """Return the key of the source and that of the target."""
    return jax.random.split(jax.random.key(config.seed))


def measured(config: Config, task: Task, sizes: Sequence[int]) -> Measured:
    """Return what each way reaches on the test set, with the rate that held-out images have chosen."""
    draw_key, choice_key, key = jax.random.split(keys(config)[1], 3)
    pool, lanes = drawn(task.train, sizes, jax.random.split(draw_key, config.seeds))
    some_sizes = sorted({sizes[0], sizes[len(sizes) // 2], sizes[-1]})
    other, tried = drawn(task.train, some_sizes, jax.random.split(choice_key, 1))
    accuracy, rates = {}, {}
    for way, options in ways(task).items():
        sets, net = (pool, other, task.held, task.test), task.net
        if way == LAST:  # what is frozen is computed once
            given = [transfer.features(task.net, *task.start, part, at="flatten") for part in sets]
            sets, net = [found for found, _ in given], given[0][1]
        rates[way] = chosen_rate(config, net, sets[1], tried, sets[2], key, **options)
        found = trained(config, net, sets[0], lanes, [rates[way]], key, **options)
        accuracy[way] = accuracies(net, found, sets[3]).reshape(len(sizes), config.seeds).T
        reached = np.round(accuracy[way].mean(axis=0), 3)
        console.print(f"{task.names}  {way:<22}rate {rates[way]:g}  test: {reached}", markup=False)
    return Measured(task.names, sizes, accuracy, rates)


def ways(task: Task) -> dict[str, dict[str, Any]]:
    """Return, by way of training, what a search begins with and leaves alone."""
    params, _ = task.start
    stages = [f"stage{number}" for number in range(1, small_nets.STAGES)]
    return {
        SCRATCH: {},
        LAST: {"start": ({"head": params["head"]}, {})},
        STAGE: {"start": task.start, "freeze": stages},
        ALL: {"start": task.start},
    }


def compared(config: Config, task: Task, found: Measured) -> report.Section:
    """Return what is shown of a pair."""
    at = crossing(found.sizes, found.accuracy[LAST], found.accuracy[ALL])
    percent = {way: 100 * values for way, values in found.accuracy.items()}
    lines = spread_lines(
        "test accuracy, %", "images of each class", found.sizes, percent, logarithmic="x", ticks=True,
        marks={} if at is None else {f"{at:.0f}: all pass the last": at},
    )  # fmt: skip
    picture = report.Picture(
        lines,
        f"{found.names}: mean of {config.seeds} seeds, a band of one standard deviation. All layers lead the last "
        f"alone {leads(found.sizes, found.accuracy[LAST], found.accuracy[ALL])}.",
        "Lines of test accuracy against images of each class, one for each way of training.",
    )
    rates = ", ".join(f"{way} {rate:g}" for way, rate in found.rates.items())
    how = (
        f"{config.steps} steps of {config.batch_size} images for each training, SGD with momentum 0.9, warm-up over a "
        f"tenth and half a cosine; peaks chosen on {task.held.size:,} held-out training images: {rates}. The weights "
        f"are from one training on at most {config.source_images:,} images, {config.source_epochs} epochs; tested on "
        f"{task.test.size:,} images."
    )
    return report.Section(found.names, [picture, report.Table(rows(found.sizes, found.accuracy)), how])


def recorded(found: Measured) -> dict[str, Any]:
    """Return the figures: accuracies, what is won over training all layers, where lines cross, and the rates."""
    sizes, everything = found.sizes, found.accuracy[ALL]
    return {
        "accuracy": {way: by_size(sizes, values) for way, values in found.accuracy.items()},
        "over_all_layers": {w: by_size(sizes, v - everything) for w, v in found.accuracy.items() if w != ALL},
        "all_layers_pass": {way: crossing(sizes, found.accuracy[way], everything) for way in (LAST, STAGE)},
        "rate": dict(found.rates),
    }


def sentence(found: Measured) -> str:
    """Return the answer for a pair: better is only what is so, seed by seed, beyond the 95 % interval."""
    sizes, accuracy, fewest = found.sizes, found.accuracy, found.sizes[0]
    means = []
    for at in dict.fromkeys((0, len(sizes) - 1)):
        values = ", ".join(f"{way} {100 * values[:, at].mean():.1f}" for way, values in accuracy.items())
        means.append(f"with {sizes[at]} images of each class {values} %")
    shown, beside = False, []
    for way in (LAST, STAGE):
        gain = summary((accuracy[way] - accuracy[ALL])[:, 0].tolist(), comparisons=2)
        shown |= gain["interval"][0] > 0
        beside.append(f"{way} {in_points(gain)}")
    claim = "is shown" if shown else "is NOT shown"
    passing = f" {passed(found)}." if len(sizes) > 1 else ""
    return (
        f"{found.names}: {'; '.join(means)}. That with {fewest} the last layers are better trained than all {claim} "
        f"(points beside all layers: {', '.join(beside)}).{passing}"
    )


def passed(found: Measured) -> str:
    """Return where training all layers is better than training fewer."""
    accuracy = found.accuracy
    parts = [f"the {way} {leads(found.sizes, accuracy[way], accuracy[ALL])}" for way in (LAST, STAGE)]
    return f"All layers lead {', '.join(parts)}"


def of_photographs(config: Config) -> tuple[report.Section, dict[str, Any]]:
    """Return the section on ants and bees and its figures; a line instead where there are none."""
    folder, size, title = data_folder(None), 64, "Ants and bees"
    if not (folder / PHOTOGRAPHS).is_file():
        missing = f"Left out: there is no {PHOTOGRAPHS} in $JAXCNN_DATA."
        console.print(missing, markup=False)
        return report.Section(title, [missing]), {}
    photographs = lambda name: load("transfer", "folder", path=folder / name, image_size=size)  # noqa: E731
    few = few_scenes_of(config)
    source, _ = photographs(CLOTHES) if (folder / CLOTHES).is_file() else load("transfer", "scenes", scenes=few)
    config = dataclasses.replace(config, image_size=size, source_epochs=1 if config.quick else 8)
    task = prepared(config, source, photographs(PHOTOGRAPHS))
    found = measured(config, task, (20,) if config.quick else (50,))
    dots = {way: (100 * values[:, 0]).tolist() for way, values in found.accuracy.items()}
    picture = report.Picture(
        report.seed_dots(dots, quantity="test accuracy, %", reference=SCRATCH, decimals=1),
        f"{found.names} at {size} x {size} pixels, {found.sizes[0]} images of each class: a dot a seed, of "
        f"{task.test.size} test images; mean ± standard deviation.",
        "Dots of test accuracy on photographs, a line for each way of training.",
    )
    return report.Section(title, [picture, sentence(found)]), {found.names: recorded(found)}


if __name__ == "__main__":
    run(main, Config)
