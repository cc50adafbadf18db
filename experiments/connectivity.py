"""What do local connectivity and shared weights save, and what do they bring? Dense, local and convolutional layers.

`python -m experiments.connectivity` counts the weights of three layers from 7 inputs to 3 hidden units, in real arrays:
21 if every unit sees all inputs, 9 if it sees three neighbours, 3 if all units share what they look for (LeCun 1989).
Then nets with one such layer, of equally many hidden units, learn from few images of Fashion-MNIST, five seeds each:
other images, other weights. They are tested on images as they are, and shifted. The maps of a convolution move with the
image, but a classifier upon them that knows each place does not: so a fourth net takes the means of a few places, which
only maps that are alike everywhere allow. Without Fashion-MNIST (`$JAXCNN_DATA`) it takes the digits. Held-out images
choose the learning rate of each net. What it promises: the counts, and that with every seed the pooled convolution is
right more often than the dense layer on the images shifted most. How little shared weights alone change, it says.
About 2 min on 2 cores.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.apparatus.few_images import Parts, parts, tuned
from experiments.apparatus.lines import spread_lines
from experiments.apparatus.small_nets import head, size
from experiments.apparatus.statistics import mean_sd, summary
from experiments.framework.device import console
from experiments.framework.runner import Common, Result, judge, run
from jaxcnn import data, layers, report
from jaxcnn import functional as F
from jaxcnn.checking import expect

DENSE, LOCAL, CONV, POOLED = "dense", "local", "convolution", "pooled convolution"
COUNTS = {"dense": 21, "local": 9, "convolution": 3}
PLACES = 3  # along each side, of which the pooled convolution's classifier sees the means
INPUTS, UNITS, SEEN, STEP = 7, 3, 3, 2  # of the small layers: inputs, units, neighbours that each sees, and apart


@dataclass(frozen=True)
class Config(Common):
    dataset: str | None = None  # one of jaxcnn.data.names(); None for fashion_mnist where it is, else digits
    per_class: int = 50  # training images of each class
    held_out: int = 1000  # further training images, that choose the learning rate, a fifth of all at most
    test_images: int = 2000  # at most
    maps: int = 8  # hidden units at each place
    window: int = 5  # pixels that a hidden unit sees, along each side
    stride: int = 2  # pixels from one hidden unit to the next
    shifts: tuple[int, ...] = (0, 1, 2, 3)  # pixels to the right and down, by which test images are shifted
    seeds: int = 5  # 2 or more, from --seed on
    epochs: int = 60  # passes through the training images
    batch_size: int = 50  # images per step
    rates: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3)  # peaks of the learning rate, to choose from


class Found(NamedTuple):
    """Of one net its parameters and learning rate, and the accuracy of every seed at every shift, (seeds, shifts)."""

    parameters: int
    rate: float
    accuracy: np.ndarray


def main(config: Config) -> Result:
    if config.quick:
        few = {"dataset": "digits", "per_class": 20, "held_out": 100, "test_images": 200, "seeds": 2, "epochs": 5}
        config = dataclasses.replace(config, window=3, rates=config.rates[1:3], **few)
    where = "connectivity"
    expect(config.seeds >= 2, where, "at least 2 seeds", config.seeds, "One has no standard deviation.")
    expect(min(config.shifts, default=-1) >= 0, where, "shifts of 0 pixels or more", config.shifts, "Pass 0 1 2 3.")
    counts = {name: weights(layer) for name, layer in small_layers().items()}
    config, of = parts(config)
    found = measured(config, of)
    gains = {name: found[name].accuracy - found[DENSE].accuracy for name in (CONV, POOLED)}  # (seeds, shifts)
    figures = {
        "weights_of_7_to_3": counts,
        "parameters": {name: one.parameters for name, one in found.items()},
        "learning_rate": {name: one.rate for name, one in found.items()},
        "accuracy": {
            name: {f"shifted by {by}": summary(one.accuracy[:, at].tolist()) for at, by in enumerate(config.shifts)}
            for name, one in found.items()
        },
        "better_than_dense": {
            name: {f"shifted by {by}": summary(gain[:, at].tolist()) for at, by in enumerate(config.shifts)}
            for name, gain in gains.items()
        },
    }
    facts = {f"from 7 inputs to 3 units {counts}, as counted by hand": counts == COUNTS}
    promises = {
        "on the images shifted most the pooled convolution beats the dense layer with every seed": bool(
            (gains[POOLED][:, -1] > 0).all()
        ),
    }
    answer = sentence(config, found, counts)
    judgement = judge(config, answer, promises, facts)
    headline = [report.Number(f"{name}, 7 to 3", f"{count}", "weights") for name, count in counts.items()]
    return Result(figures, sections(config, found, counts), *judgement, headline)


def small_layers() -> dict[str, layers.Layer]:
    """Return the three layers from a row of 7 pixels to 3 units."""
    seen: dict[str, Any] = {"stride": (1, STEP), "padding": "VALID", "use_bias": False}
    return {
        "dense": layers.Sequential(flatten=layers.Flatten(), dense=layers.Dense(UNITS, use_bias=False)),
        "local": layers.LocalConv(1, (1, SEEN), **seen),
        "convolution": layers.Conv(1, (1, SEEN), **seen),
    }


def weights(layer: layers.Layer) -> int:
    """Return how many numbers the parameters of a layer of 7 inputs are."""
    params, _ = layer.init(jax.random.key(0), jax.ShapeDtypeStruct((1, 1, INPUTS, 1), jnp.float32))
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def nets(config: Config, train_set: data.Dataset) -> dict[str, layers.Sequential]:
    """Return a net for each kind of layer, with equally many hidden units."""
    info, seen = train_set.info, {"stride": config.stride, "padding": "VALID"}
    height, width = ((size - config.window) // config.stride + 1 for size in train_set["image"].shape[1:3])
    conv = layers.Conv(config.maps, config.window, **seen)
    flatten: dict[str, layers.Layer] = {"flatten": layers.Flatten()}
    hidden: dict[str, tuple[layers.Layer, dict[str, layers.Layer]]] = {
        DENSE: (layers.Sequential(**flatten, dense=layers.Dense(height * width * config.maps)), {}),
        LOCAL: (layers.LocalConv(config.maps, config.window, **seen), flatten),
        CONV: (conv, flatten),
        POOLED: (conv, {"pool": layers.AdaptiveAvgPool(PLACES), **flatten}),
    }
    return {
        name: layers.Sequential(
            normalize=layers.Normalize(info.mean, info.std), hidden=layer, act=F.relu, **after, head=head(info)
        )
        for name, (layer, after) in hidden.items()
    }


def measured(config: Config, of: Parts) -> dict[str, Found]:
    """Return what is found of every net; rates and seeds are lanes of one program."""
    found = {}
    for name, net in nets(config, of.pool).items():
        console.print(f"{name}:", markup=False)
        best = tuned(config, net, of)
        accuracy = [best.accuracy(shifted(of.test, by)) for by in config.shifts]
        found[name] = Found(size(net, of.spec), best.rate, np.stack(accuracy, axis=1))
    return found


def shifted(dataset: data.Dataset, by: int) -> data.Dataset:
    """Return the set with its images moved to the right and down; what comes in is 0."""
    image = dataset["image"]
    height, width = image.shape[1:3]
    moved = np.pad(image, ((0, 0), (by, 0), (by, 0), (0, 0)))[:, :height, :width]
    return data.from_arrays(moved, dataset["label"], class_names=dataset.info.class_names)


def sentence(config: Config, found: Mapping[str, Found], counts: Mapping[str, int]) -> str:
    """Return the answer."""
    told = [
        f"{name} {100 * one.accuracy[:, 0].mean():.1f} % right, {100 * one.accuracy[:, -1].mean():.1f} % shifted by "
        f"{config.shifts[-1]} pixels, with {one.parameters:,} parameters"
        for name, one in found.items()
    ]
    small = ", ".join(f"{count} {name}" for name, count in counts.items())
    return (
        f"Weights from 7 inputs to 3 units: {small}. {config.per_class} images of each class, {config.seeds} seeds: "
        f"{'; '.join(told)}."
    )


def sections(config: Config, found: Mapping[str, Found], counts: Mapping[str, int]) -> list[report.Section]:
    """Return the pictures and the tables."""
    names = {"dense": "all inputs, own weights", "local": "neighbours, own weights"}
    small = [
        {"layer": name, "a unit sees": names.get(name, "neighbours, shared weights"), "weights": str(count)}
        for name, count in counts.items()
    ]
    rows = [
        {"hidden layer": name, "parameters of the net": f"{one.parameters:,}"}
        | {f"shifted by {by}": f"{mean_sd(100 * a)} %" for by, a in zip(config.shifts, one.accuracy.T, strict=True)}
        for name, one in found.items()
    ]
    lines = {name: 100 * one.accuracy for name, one in found.items()}
    return [
        report.Section(
            "Seven inputs, three units",
            [report.Table(small, "Weights without biases, counted in the arrays that the layers make.")],
        ),
        report.Section(
            "The same on images",
            [
                report.Picture(
                    spread_lines("right, %", "shift, pixels", config.shifts, lines, ticks=True),
                    f"Test accuracy of nets with one hidden layer of equally many units, {config.per_class} training "
                    f"images of each class; mean and standard deviation of {config.seeds} seeds.",
                    "Lines of accuracy against shift, one for each kind of layer.",
                ),
                report.Table(rows, f"Mean ± standard deviation of {config.seeds} seeds."),
            ],
        ),
    ]


if __name__ == "__main__":
    run(main, Config)
