"""Must all layers be trained jointly? Against layers trained one after another, and against random ones that stay.

`python -m experiments.joint_training` trains the same net of three convolutions in three ways on images of
Fashion-MNIST, with equally many steps for each set of weights, five seeds each (other images, other weights): all
layers at once by back-propagation; greedily, each layer with a classifier of its own upon it and then frozen
(Belilovsky et al. 2019); and with convolutions that stay as they were drawn, under a trained classifier (Jarrett et
al. 2009). Without Fashion-MNIST (`$JAXCNN_DATA`) it takes the digits. What it promises: joint training is right more
often than random layers, beyond the 95 % interval. How far greedy layers get, it says. About 2 min on 2 cores.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from experiments.device import console
from experiments.few_images import drawn, head, loaded, some
from experiments.runner import Common, Result, judge, run
from experiments.statistics import summary
from jaxcnn import data, layers, report, training
from jaxcnn import functional as F
from jaxcnn.checking import expect

BLOCKS = ("block1", "block2", "block3")
GRID = 2  # places along each side that a classifier sees


@dataclass(frozen=True)
class Config(Common):
    dataset: str | None = None  # one of jaxcnn.data.names(); None for fashion_mnist where it is, else digits
    per_class: int = 200  # training images of each class
    test_images: int = 2000  # at most
    maps: int = 16  # of the first convolution; the others have twice as many
    seeds: int = 5  # 2 or more, from --seed on
    epochs: int = 12  # passes through the training images, for each set of weights
    batch_size: int = 50  # images per step
    learning_rate: float = 0.05  # peak of the schedule: warm-up over a tenth, then half a cosine


def main(config: Config) -> Result:
    if config.quick:
        few = {"dataset": "digits", "per_class": 20, "test_images": 200, "maps": 4, "seeds": 2, "epochs": 3}
        config = dataclasses.replace(config, **few)
    where = "joint_training"
    expect(config.seeds >= 2, where, "at least 2 seeds", config.seeds, "One has no standard deviation.")
    found = measured(config)
    gains = {name: summary((found["jointly"] - found[name]).tolist()) for name in ("greedily", "random")}
    figures = {
        "accuracy": {name: summary(values.tolist()) for name, values in found.items()},
        "joint_training_better_than": gains,
    }
    low, high = gains["greedily"]["interval"]
    beside = "better than" if low > 0 else "worse than" if high < 0 else "as good as, as far as can be seen,"
    told = ", ".join(f"{name} {100 * values.mean():.1f} %" for name, values in found.items())
    answer = (
        f"{config.per_class} images of each class, {config.seeds} seeds: {told} right. Joint training is {beside} "
        f"greedy layers ({100 * low:+.1f} to {100 * high:+.1f} points)."
    )
    judgement = judge(config, answer, {"better jointly than with random layers": gains["random"]["interval"][0] > 0})
    headline = [report.Number(name, f"{100 * values.mean():.1f} %", "right") for name, values in found.items()]
    dots = {name: (100 * values).tolist() for name, values in found.items()}
    picture = report.Picture(
        report.seed_dots(dots, quantity="right, %", decimals=1, reference="jointly"),
        f"Test accuracy of each way to train the net: a dot a seed, mean ± standard deviation. Greedily, the number "
        f"says how many convolutions are below the classifier; each was trained for {config.epochs} epochs. Jointly "
        f"and over random layers {config.epochs} epochs are all.",
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


def measured(config: Config) -> dict[str, np.ndarray]:
    """Return the test accuracy of each way, one a seed."""
    train_set, test_set = loaded(config.dataset, "fashion_mnist", "digits")
    images_key, test_key, key = jax.random.split(jax.random.key(config.seed), 3)
    test_set = some(test_set, config.test_images, test_key)
    few, examples = drawn(train_set, (config.per_class,), jax.random.split(images_key, config.seeds))
    found: dict[str, list[float]] = {}
    for own, seed_key in zip(examples, jax.random.split(key, config.seeds), strict=True):
        for name, accuracy in one_seed(config, few.take(own), test_set, seed_key).items():
            found.setdefault(name, []).append(accuracy)
        console.print(", ".join(f"{name} {100 * each[-1]:.1f} %" for name, each in found.items()), markup=False)
    return {name: np.array(values) for name, values in found.items()}


def one_seed(config: Config, train_set: data.Dataset, test_set: data.Dataset, key: jax.Array) -> dict[str, float]:
    """Return the accuracy of each way, all from the same initial weights."""
    init_key, fit_key = jax.random.split(key)
    whole = net(config, train_set.info, BLOCKS)
    first = whole.init(init_key, train_set.spec)

    def trained(model: layers.Sequential, start: tuple[Any, Any], frozen: Sequence[str]) -> tuple[Any, float]:
        steps = max(config.epochs * (train_set.size // config.batch_size), 1)
        result = training.fit(
            model, train_set, start=start, freeze=frozen, epochs=config.epochs, batch_size=config.batch_size,
            key=fit_key, optimizer=training.sgd(training.warmup_cosine(config.learning_rate, steps)),
        )  # fmt: skip
        state = result.state
        return state, training.evaluate(model, state.params, state.model_state, test_set)["accuracy"]

    found = {"jointly": trained(whole, first, ())[1], "random": trained(whole, first, BLOCKS)[1]}
    learned: Mapping[str, Any] = {}
    for count in range(1, len(BLOCKS) + 1):
        below = BLOCKS[:count]
        part = net(config, train_set.info, below)
        params, state = part.init(init_key, train_set.spec)  # a layer's key is made of its name: as in the whole net
        ended, accuracy = trained(part, ({**params, **learned}, state), below[:-1])
        learned = {name: ended.params[name] for name in below}
        found[f"greedily, {count}" if count < len(BLOCKS) else "greedily"] = accuracy
    return found


if __name__ == "__main__":
    run(main, Config)
