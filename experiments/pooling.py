"""Does max-pooling buy invariance to translation? What nets see of moved images, with maximum, average or no pooling.

`python -m experiments.pooling` trains nets of two convolutions on few images of Fashion-MNIST, which differ only in how
their maps become smaller: every second value is taken, or the average or the maximum of four; five seeds each: other
images, other weights. Test images are then moved by some pixels. Measured are the change of what the layers give, by
its length, and the accuracy. Without Fashion-MNIST (`$JAXCNN_DATA`) it takes the digits. What it promises: what is
pooled by the maximum changes less than what is not pooled, for the smallest shift and with every seed. Whether
average pooling does as well, and what accuracy gains, it says. About 1 min on 2 cores.
"""

import dataclasses
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.connectivity import shifted
from experiments.device import console
from experiments.few_images import drawn, head, loaded, some
from experiments.hidden_units import mistakes
from experiments.lines import spread_lines
from experiments.progress import LanesBar
from experiments.runner import Common, Result, judge, run
from experiments.statistics import summary
from jaxcnn import data, layers, report, search, surgery, training
from jaxcnn import functional as F
from jaxcnn.checking import expect

POOLS: dict[str, layers.Layer] = {
    "none": layers.AvgPool(1, stride=2),  # every second value
    "average": layers.AvgPool(2),
    "max": layers.MaxPool(2),
}
SEEN = "pool2"  # the layer whose output is compared


@dataclass(frozen=True)
class Config(Common):
    dataset: str | None = None  # one of jaxcnn.data.names(); None for fashion_mnist where it is, else digits
    per_class: int = 100  # training images of each class
    test_images: int = 2000  # at most
    maps: int = 16  # of the first convolution; the second has twice as many
    shifts: tuple[int, ...] = (0, 1, 2, 3, 4)  # pixels to the right and down, rising from 0
    seeds: int = 5  # 2 or more, from --seed on
    epochs: int = 20  # passes through the training images
    batch_size: int = 50  # images per step
    learning_rate: float = 0.05  # peak of the schedule: warm-up over a tenth, then half a cosine


class Found(NamedTuple):
    """Of one kind of pooling: change of the maps and accuracy, (seeds, shifts)."""

    change: np.ndarray
    accuracy: np.ndarray


def main(config: Config) -> Result:
    if config.quick:
        few = {"dataset": "digits", "per_class": 20, "test_images": 200, "seeds": 2, "epochs": 5, "maps": 4}
        config = dataclasses.replace(config, shifts=config.shifts[:3], **few)
    where, shifts = "pooling", config.shifts
    expect(config.seeds >= 2, where, "at least 2 seeds", config.seeds, "One has no standard deviation.")
    rising = len(shifts) >= 2 and shifts[0] == 0 and all(a < b for a, b in itertools.pairwise(shifts))
    expect(rising, where, "shifts that rise from 0", shifts, "Pass 0 1 2, say.")
    found = measured(config)
    change = {name: one.change[:, 1] for name, one in found.items()}
    less = {
        "max_than_none": summary((change["none"] - change["max"]).tolist()),
        "max_than_average": summary((change["average"] - change["max"]).tolist()),
    }
    lost = {name: one.accuracy[:, 0] - one.accuracy[:, -1] for name, one in found.items()}
    figures = {
        "change": {name: at_shifts(config, one.change) for name, one in found.items()},
        "accuracy": {name: at_shifts(config, one.accuracy) for name, one in found.items()},
        "less_change_of": less,
        "accuracy_lost": {name: summary(values.tolist()) for name, values in lost.items()},
    }
    steadier = bool((change["max"] < change["none"]).all())
    low, high = less["max_than_average"]["interval"]
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
        f"Images moved by {shifts[1]} pixel: the maps change by {told} of their length; max-pooling changes {beside}. "
        f"Points of accuracy lost at {shifts[-1]} pixels: {fell}. {config.seeds} seeds."
    )
    judgement = judge(config, answer, {"max-pooling changes less than no pooling with every seed": steadier})
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


def measured(config: Config) -> dict[str, Found]:
    """Return what is found with each pooling; the seeds are lanes of one program."""
    train_set, test_set = loaded(config.dataset, "fashion_mnist", "digits")
    images_key, test_key, key = jax.random.split(jax.random.key(config.seed), 3)
    test_set = some(test_set, config.test_images, test_key)
    few, examples = drawn(train_set, (config.per_class,), jax.random.split(images_key, config.seeds))
    steps = max(config.epochs * (examples.shape[1] // config.batch_size), 1)
    found = {}
    for name, pool in POOLS.items():
        console.print(f"pooling: {name}", markup=False)
        with LanesBar(console) as bar:
            lanes = search.random_restarts(
                net(config, train_set.info, pool), few, restarts=config.seeds, examples=examples, key=key,
                epochs=config.epochs, batch_size=config.batch_size, callbacks=[bar],
                optimizer=training.sgd(training.warmup_cosine(config.learning_rate, steps)),
            )  # fmt: skip
        accuracy = [1 - mistakes(lanes, shifted(test_set, by)).mean(axis=1) for by in config.shifts]
        found[name] = Found(change(lanes, test_set, config), np.stack(accuracy, axis=1))
    return found


def change(lanes: search.Trainings, test_set: data.Dataset, config: Config) -> np.ndarray:
    """Return |f(moved) - f(x)| / |f(x)|, f what a layer gives, the mean over images, (seeds, shifts)."""
    sets = jnp.stack([jnp.asarray(shifted(test_set, by)["image"]) for by in config.shifts])

    @jax.jit
    def of_lane(state: training.TrainState) -> jax.Array:
        def seen(image: jax.Array) -> jax.Array:
            x = image.astype(jnp.float32) / 255
            _, kept = surgery.activations(lanes.net(0), state.params, state.model_state, x, [SEEN])
            return kept[SEEN].reshape(len(x), -1)

        maps = jax.lax.map(seen, sets)
        off = jnp.linalg.norm(maps - maps[0], axis=-1) / jnp.maximum(jnp.linalg.norm(maps[0], axis=-1), 1e-9)
        return off.mean(axis=-1)

    return np.stack([np.asarray(of_lane(lanes.state(lane)), np.float64) for lane in range(len(lanes))])


def sections(config: Config, found: Mapping[str, Found]) -> list[report.Section]:
    """Return the pictures."""
    names = {"none": "every second value", "average": "average", "max": "maximum"}
    change = {names[name]: one.change for name, one in found.items()}
    accuracy = {names[name]: 100 * one.accuracy for name, one in found.items()}
    return [
        report.Section(
            "Moved images",
            [
                report.Picture(
                    spread_lines("change of the maps", "shift, pixels", config.shifts, change, ticks=True),
                    f"How much the maps behind the second pooling change, by their length; mean and standard deviation "
                    f"of {config.seeds} seeds.",
                    "Rising lines, one for each kind of pooling.",
                ),
                report.Picture(
                    spread_lines("right, %", "shift, pixels", config.shifts, accuracy, ticks=True),
                    "Test accuracy of the same nets, which saw no moved images in training.",
                    "Falling lines of accuracy, one for each kind of pooling.",
                ),
            ],
        )
    ]


if __name__ == "__main__":
    run(main, Config)
