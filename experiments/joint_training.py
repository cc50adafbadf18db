"""Must all layers be trained jointly? Against layers trained one after another, and against random ones that stay.

`python -m experiments.joint_training` trains the same net of three convolutions in three ways on images of
Fashion-MNIST, with equally many steps for each set of weights, five seeds each (other images, other weights): all
layers at once by back-propagation; greedily, each layer with a classifier of its own upon it and then frozen
(Belilovsky et al. 2019); and with convolutions that stay as they were drawn, under a trained classifier (Jarrett et
al. 2009). Held-out images choose the learning rate of each way, with the first seed. Without Fashion-MNIST
(`$JAXCNN_DATA`) it takes the digits. What it promises: joint training is right more often than random layers, beyond
the 95 % interval. How far greedy layers get, it says. About 3 min on 2 cores.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.apparatus.few_images import Parts, parts
from experiments.apparatus.small_nets import head
from experiments.apparatus.statistics import in_points, summary
from experiments.framework.device import console
from experiments.framework.runner import Common, Result, judge, run
from jaxcnn import data, layers, report, training
from jaxcnn import functional as F
from jaxcnn.checking import expect

BLOCKS = ("block1", "block2", "block3")
GRID = 2  # places along each side that a classifier sees


@dataclass(frozen=True)
class Config(Common):
    dataset: str | None = None  # one of jaxcnn.data.names(); None for fashion_mnist where it is, else digits
    per_class: int = 200  # training images of each class
    held_out: int = 1000  # further training images, that choose the learning rates, a fifth of all at most
    test_images: int = 2000  # at most
    maps: int = 16  # of the first convolution; the others have twice as many
    seeds: int = 5  # 2 or more, from --seed on
    epochs: int = 12  # passes through the training images, for each set of weights
    batch_size: int = 50  # images per step
    rates: tuple[float, ...] = (0.01, 0.03, 0.1)  # peaks of the learning rate, to choose from


def main(config: Config) -> Result:
    if config.quick:
        few = {"dataset": "digits", "per_class": 20, "held_out": 100, "test_images": 200, "maps": 4, "seeds": 2}
        config = dataclasses.replace(config, epochs=3, rates=config.rates[:2], **few)
    where = "joint_training"
    expect(config.seeds >= 2, where, "at least 2 seeds", config.seeds, "One has no standard deviation.")
    config, of = parts(config)
    found, rates = measured(config, of)
    gains = {name: summary((found["jointly"] - found[name]).tolist()) for name in ("greedily", "random")}
    figures = {
        "accuracy": {name: summary(values.tolist()) for name, values in found.items()},
        "joint_training_better_than": gains,
        "learning_rate": rates,
    }
    low, high = gains["greedily"]["interval"]
    beside = "better than" if low > 0 else "worse than" if high < 0 else "as good as, as far as can be seen,"
    told = ", ".join(f"{name} {100 * values.mean():.1f} %" for name, values in found.items())
    answer = (
        f"{config.per_class} images of each class, {config.seeds} seeds: {told} right. Joint training is {beside} "
        f"greedy layers ({in_points(gains['greedily'])} points)."
    )
    judgement = judge(config, answer, {"better jointly than with random layers": gains["random"]["interval"][0] > 0})
    headline = [report.Number(name, f"{100 * values.mean():.1f} %", "right") for name, values in found.items()]
    dots = {name: (100 * values).tolist() for name, values in found.items()}
    picture = report.Picture(
        report.seed_dots(dots, quantity="right, %", decimals=1, reference="jointly"),
        f"Test accuracy of each way to train the net: a dot a seed, mean ± standard deviation. Greedily, the number "
        f"says how many convolutions are below the classifier; each was trained for {config.epochs} epochs. Jointly "
        f"and over random layers {config.epochs} epochs are all. Learning rates: "
        f"{', '.join(f'{name} {rate:g}' for name, rate in rates.items())}.",
        "Dots of accuracy, a line for each way to train.",
    )
    return Result(figures, [report.Section("Ways to train", [picture])], *judgement, headline)


def net(config: Config, info: data.DatasetInfo, blocks: Sequence[str]) -> layers.Sequential:
    """Return the net up to the last of these blocks, and a classifier."""
    body = {
        name: layers.Sequential(
            conv=layers.Conv(config.maps * (1 if at == 0 else 2)), act=F.relu, pool=layers.MaxPool(2)
        )
        for at, name in enumerate(blocks)
    }
    return layers.Sequential(
        normalize=layers.Normalize(info.mean, info.std),
        **body,
        see=layers.AdaptiveAvgPool(GRID),
        flatten=layers.Flatten(),
        head=head(info),
    )


def measured(config: Config, of: Parts) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Return the test accuracy of each way, one a seed, and the learning rate of each."""
    first_key, *_ = keys = jax.random.split(of.key, config.seeds)
    first = of.pool.take(of.lanes[0])
    chosen = {}
    for name, way in WAYS.items():
        held_out = [tried(way, name, config, rate, first, of.held_out, first_key) for rate in config.rates]
        chosen[name] = config.rates[int(np.argmax(held_out))]
    told = ", ".join(f"{name} {rate:g}" for name, rate in chosen.items())
    console.print(f"learning rates by held-out images: {told}", markup=False)
    found: dict[str, list[float]] = {}
    for lane, key in zip(of.lanes, keys, strict=True):
        for name, way in WAYS.items():
            for each, accuracy in way(config, chosen[name], of.pool.take(lane), of.test, key).items():
                found.setdefault(each, []).append(accuracy)
        console.print(", ".join(f"{name} {100 * each[-1]:.1f} %" for name, each in found.items()), markup=False)
    return {name: np.array(values) for name, values in found.items()}, chosen


def tried(way: Callable, name: str, *options: Any) -> float:
    """Return how often a way is right, 0 where it diverges."""
    try:
        return way(*options)[name]
    except FloatingPointError:
        return 0.0


class Ended(NamedTuple):
    """Weights at the end of a training, and how often they are right."""

    params: Mapping[str, Any]
    accuracy: float


def trained(
    config: Config, model: layers.Sequential, start: tuple[Any, Any], frozen: Sequence[str], rate: float,
    train_set: data.Dataset, test_set: data.Dataset, key: jax.Array,
) -> Ended:  # fmt: skip
    """Return what a training of the layers that are not frozen ends with."""
    steps = max(config.epochs * (train_set.size // config.batch_size), 1)
    state = training.fit(
        model, train_set, start=start, freeze=frozen, epochs=config.epochs, batch_size=config.batch_size,
        key=jax.random.fold_in(key, 1), optimizer=training.sgd(training.warmup_cosine(rate, steps)),
    ).state  # fmt: skip
    return Ended(state.params, training.evaluate(model, state.params, state.model_state, test_set)["accuracy"])


def at_once(
    name: str, frozen: Sequence[str], config: Config, rate: float, train_set: data.Dataset, test_set: data.Dataset,
    key: jax.Array,
) -> dict[str, float]:  # fmt: skip
    """Return the accuracy of the whole net, of which these blocks stay as they were drawn."""
    whole = net(config, train_set.info, BLOCKS)
    start = whole.init(jax.random.fold_in(key, 0), train_set.spec)
    return {name: trained(config, whole, start, frozen, rate, train_set, test_set, key).accuracy}


def greedily(
    config: Config, rate: float, train_set: data.Dataset, test_set: data.Dataset, key: jax.Array
) -> dict[str, float]:
    """Return the accuracy behind each number of blocks, the whole net's as "greedily"."""
    found: dict[str, float] = {}
    learned: Mapping[str, Any] = {}
    for count in range(1, len(BLOCKS) + 1):
        below = BLOCKS[:count]
        part = net(config, train_set.info, below)
        # A layer's key is made of its name: the weights begin as in the whole net.
        params, state = part.init(jax.random.fold_in(key, 0), train_set.spec)
        start = {**params, **learned}, state
        ended = trained(config, part, start, below[:-1], rate, train_set, test_set, key)
        learned = {name: ended.params[name] for name in below}
        found[f"greedily, {count}" if count < len(BLOCKS) else "greedily"] = ended.accuracy
    return found


WAYS: dict[str, Callable[..., dict[str, float]]] = {
    "jointly": partial(at_once, "jointly", ()),
    "random": partial(at_once, "random", BLOCKS),
    "greedily": greedily,
}


if __name__ == "__main__":
    run(main, Config)
