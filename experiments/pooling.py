"""Does max-pooling buy invariance to translation? What nets see of moved images: pooled, averaged or thinned out.

`python -m experiments.pooling` trains nets of two convolutions on few images of Fashion-MNIST, which differ only in how
their maps become smaller: every second value is taken, or the average or the maximum of four; five seeds each: other
images, other weights. Test images are then moved by some pixels. Measured are how far what the layers give moves, by
how far apart it is for different images, and the accuracy. Held-out images choose each net's learning rate. Without
Fashion-MNIST (`$JAXCNN_DATA`) it takes the digits. What it promises: what is pooled by the maximum changes less than
every second value, for the smallest shift and with every seed. Whether average pooling does as well, and what accuracy
gains, it says. About 3 min on 2 cores.
"""

import dataclasses
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.apparatus.few_images import Parts, Tuned, parts, tuned
from experiments.apparatus.lines import spread_lines
from experiments.apparatus.small_nets import head
from experiments.apparatus.statistics import summary
from experiments.connectivity import shifted
from experiments.framework.device import console
from experiments.framework.runner import Common, Result, judge, run
from jaxcnn import data, layers, report, surgery, training
from jaxcnn import functional as F
from jaxcnn.checking import expect

THINNED, AVERAGE, MAXIMUM = "every second value", "average", "maximum"
POOLS: dict[str, layers.Layer] = {
    THINNED: layers.AvgPool(1, stride=2),
    AVERAGE: layers.AvgPool(2),
    MAXIMUM: layers.MaxPool(2),
}
SEEN = "pool2"  # the layer whose output is compared


@dataclass(frozen=True)
class Config(Common):
    dataset: str | None = None  # one of jaxcnn.data.names(); None for fashion_mnist where it is, else digits
    per_class: int = 100  # training images of each class
    held_out: int = 1000  # further training images, that choose the learning rate, a fifth of all at most
    test_images: int = 2000  # at most
    maps: int = 16  # of the first convolution; the second has twice as many
    shifts: tuple[int, ...] = (0, 1, 2, 3, 4)  # pixels to the right and down, rising from 0
    seeds: int = 5  # 2 or more, from --seed on
    epochs: int = 20  # passes through the training images
    batch_size: int = 50  # images per step
    rates: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3)  # peaks of the learning rate, to choose from


class Found(NamedTuple):
    """Of one kind of pooling: change of the maps and accuracy, (seeds, shifts)."""

    change: np.ndarray
    accuracy: np.ndarray


def main(config: Config) -> Result:
    if config.quick:
        few = {"dataset": "digits", "per_class": 20, "held_out": 100, "test_images": 200, "seeds": 2, "epochs": 5}
        config = dataclasses.replace(config, shifts=config.shifts[:3], rates=config.rates[1:3], maps=4, **few)
    where, shifts = "pooling", config.shifts
    expect(config.seeds >= 2, where, "at least 2 seeds", config.seeds, "One has no standard deviation.")
    rising = len(shifts) >= 2 and shifts[0] == 0 and all(a < b for a, b in itertools.pairwise(shifts))
    expect(rising, where, "shifts that rise from 0", shifts, "Pass 0 1 2, say.")
    config, of = parts(config)
    found = measured(config, of)
    change = {name: one.change[:, 1] for name, one in found.items()}
    less = {
        "maximum_than_every_second_value": summary((change[THINNED] - change[MAXIMUM]).tolist()),
        "maximum_than_average": summary((change[AVERAGE] - change[MAXIMUM]).tolist()),
    }
    lost = {name: one.accuracy[:, 0] - one.accuracy[:, -1] for name, one in found.items()}
    figures = {
        "change": {name: at_shifts(config, one.change) for name, one in found.items()},
        "accuracy": {name: at_shifts(config, one.accuracy) for name, one in found.items()},
        "less_change_of": less,
        "accuracy_lost": {name: summary(values.tolist()) for name, values in lost.items()},
    }
    steadier = bool((change[MAXIMUM] < change[THINNED]).all())
    low, high = less["maximum_than_average"]["interval"]
    beside = (
        "less than average pooling"
        if low > 0
        else "more than average pooling"
        if high < 0
        else "as much as the average, as far as can be seen"
    )
    told = ", ".join(f"{name} {values.mean():.2f}" for name, values in change.items())
    fell = ", ".join(f"{name} {100 * values.mean():.1f}" for name, values in lost.items())
    answer = (
        f"Images moved by {shifts[1]} pixel: the maps move by {told} of how far apart those of different images are; "
        f"max-pooling changes {beside}. "
        f"Points of accuracy lost at {shifts[-1]} pixels: {fell}. {config.seeds} seeds."
    )
    judgement = judge(config, answer, {"max-pooling changes less than every second value with every seed": steadier})
    headline = [
        report.Number(name, f"{values.mean():.2f}", f"change, {shifts[1]} pixel") for name, values in change.items()
    ]
    return Result(figures, sections(config, found), *judgement, headline)


def at_shifts(config: Config, values: np.ndarray) -> dict[str, object]:
    """Return a summary for each shift of (seeds, shifts)."""
    return {f"moved by {by}": summary(values[:, at].tolist()) for at, by in enumerate(config.shifts)}


def net(config: Config, info: data.DatasetInfo, pool: layers.Layer) -> layers.Sequential:
    """Return a net of two convolutions with such a pooling behind each."""
    return layers.Sequential(
        normalize=layers.Normalize(info.mean, info.std),
        conv1=layers.Conv(config.maps),
        act1=F.relu,
        pool1=pool,
        conv2=layers.Conv(2 * config.maps),
        act2=F.relu,
        pool2=pool,
        flatten=layers.Flatten(),
        head=head(info),
    )


def measured(config: Config, of: Parts) -> dict[str, Found]:
    """Return what is found with each pooling; rates and seeds are lanes of one program."""
    found = {}
    for name, pool in POOLS.items():
        console.print(f"{name}:", markup=False)
        best = tuned(config, net(config, of.info, pool), of)
        accuracy = [best.accuracy(shifted(of.test, by)) for by in config.shifts]
        found[name] = Found(change(best, of.test, config), np.stack(accuracy, axis=1))
    return found


def change(best: Tuned, test_set: data.Dataset, config: Config) -> np.ndarray:
    """Return the mean of |f(moved x) - f(x)| by that of |f(y) - f(x)|, f what a layer gives, x and y of the test set.

    (seeds, shifts). Its length alone would do as well for maps that are large everywhere, whatever the image.
    """
    sets = jnp.stack([jnp.asarray(shifted(test_set, by)["image"]) for by in config.shifts])

    @jax.jit
    def of_lane(state: training.TrainState) -> jax.Array:
        def seen(image: jax.Array) -> jax.Array:
            x = image.astype(jnp.float32) / 255
            _, kept = surgery.activations(best.net, state.params, state.model_state, x, [SEEN])
            return kept[SEEN].reshape(len(x), -1)

        maps = jax.lax.map(seen, sets)
        apart = jnp.linalg.norm(maps[0] - jnp.roll(maps[0], 1, axis=0), axis=-1).mean()
        return jnp.linalg.norm(maps - maps[0], axis=-1).mean(axis=-1) / jnp.maximum(apart, 1e-9)

    return np.stack([np.asarray(of_lane(state), np.float64) for state in best.states()])


def sections(config: Config, found: Mapping[str, Found]) -> list[report.Section]:
    """Return the pictures."""
    moved = {name: one.change for name, one in found.items()}
    accuracy = {name: 100 * one.accuracy for name, one in found.items()}
    return [
        report.Section(
            "Moved images",
            [
                report.Picture(
                    spread_lines("change of the maps", "shift, pixels", config.shifts, moved, ticks=True),
                    "How far the maps behind the second pooling move, by how far apart different images are; mean "
                    f"and standard deviation of {config.seeds} seeds.",
                    "A line of change against the shift for each kind of pooling.",
                ),
                report.Picture(
                    spread_lines("right, %", "shift, pixels", config.shifts, accuracy, ticks=True),
                    "Test accuracy of the same nets, which saw no moved images in training.",
                    "A line of accuracy against the shift for each kind of pooling.",
                ),
            ],
        )
    ]


if __name__ == "__main__":
    run(main, Config)
