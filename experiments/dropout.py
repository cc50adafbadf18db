"""Is dropout an average of exponentially many nets? Weights scaled once against masks drawn up to a thousand times.

`python -m experiments.dropout` trains nets with two wide hidden layers on few images of Fashion-MNIST, with dropout of
half of the units and without, five seeds each: other images, other weights. The net that all units answer in (which
stands for all masks at once) is compared with the mean of the probabilities of 1 to 1000 nets with a mask of their own
(Srivastava et al. 2014). For one layer, the renormalised geometric mean over all 2^10 masks of 10 inputs is computed,
and equals the scaled weights. How much units rely on each other is measured by their correlation, and by what is left
when half of them are removed. Without Fashion-MNIST (`$JAXCNN_DATA`) it takes the digits. What it promises: that
equality, to 1e-5; that scaled weights come within two points of 1000 masks; that dropout lowers the test loss and
raises what is left. About 1 min on 2 cores.
"""

import dataclasses
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.apparatus.few_images import drawn, trained
from experiments.apparatus.image_sets import loaded, some
from experiments.apparatus.lines import spread_lines
from experiments.apparatus.statistics import mean_sd, summary
from experiments.framework.device import console
from experiments.framework.runner import Common, Result, judge, run
from jaxcnn import data, layers, losses, models, report, search, surgery, training
from jaxcnn.checking import expect

EXACT = 1e-5
NEAR = 0.02  # of accuracy
INPUTS = 10  # of the layer all of whose masks are averaged
HIDDEN = ("hidden1", "hidden2")
WITHOUT_DECAY = partial(training.sgd, weight_decay=0.0)  # dropout is the one regularisation


@dataclass(frozen=True)
class Config(Common):
    dataset: str | None = None  # one of jaxcnn.data.names(); None for fashion_mnist where it is, else digits
    per_class: int = 50  # training images of each class
    test_images: int = 1000  # at most
    units: int = 256  # of each hidden layer
    rate: float = 0.5  # of dropout behind each hidden layer
    masks: tuple[int, ...] = (1, 3, 10, 30, 100, 300, 1000)  # that are averaged over, rising
    seeds: int = 5  # 2 or more, from --seed on
    epochs: int = 100  # passes through the training images
    batch_size: int = 50  # images per step
    learning_rate: float = 0.05  # peak of the schedule: warm-up over a tenth, then half a cosine


class Found(NamedTuple):
    """Of nets trained with or without dropout, one value a seed; `sampled` (seeds, masks)."""

    accuracy: np.ndarray
    loss: np.ndarray
    correlation: np.ndarray  # mean |correlation| of two units of the last hidden layer
    left: np.ndarray  # accuracy where half of the units of every layer are removed
    sampled: np.ndarray  # accuracy of the mean over so many masks


def main(config: Config) -> Result:
    if config.quick:
        few = {"dataset": "digits", "per_class": 10, "test_images": 100, "units": 32, "masks": (1, 10), "seeds": 2}
        config = dataclasses.replace(config, epochs=10, batch_size=20, **few)
    where, masks = "dropout", config.masks
    rising = bool(masks) and masks[0] >= 1 and all(a < b for a, b in itertools.pairwise(masks))
    expect(rising, where, "numbers of masks that rise from 1", masks, "Pass 1 10 100, say.")
    expect(config.seeds >= 2, where, "at least 2 seeds", config.seeds, "One has no standard deviation.")
    expect(0 < config.rate < 1, where, "a rate between 0 and 1", config.rate, "0.5 is usual.")
    off = all_masks(jax.random.key(config.seed))
    found = measured(config)
    without, with_ = found["without"], found["with dropout"]
    beside = with_.sampled[:, -1] - with_.accuracy
    gains = {
        "test_loss_lower_by": summary((without.loss - with_.loss).tolist()),
        "accuracy_higher_by": summary((with_.accuracy - without.accuracy).tolist()),
        "correlation_lower_by": summary((without.correlation - with_.correlation).tolist()),
        "left_with_half_of_the_units_higher_by": summary((with_.left - without.left).tolist()),
    }
    figures = {
        "all_masks_by_scaled_weights": off,
        **{
            name: {
                "accuracy": summary(one.accuracy.tolist()),
                "loss": summary(one.loss.tolist()),
                "correlation": summary(one.correlation.tolist()),
                "left_with_half_of_the_units": summary(one.left.tolist()),
            }
            for name, one in found.items()
        },
        "masks": {str(k): summary(with_.sampled[:, at].tolist()) for at, k in enumerate(masks)},
        "most_masks_by_scaled_weights": summary(beside.tolist()),
        "gains": gains,
    }
    facts = {f"one layer: all {2**INPUTS} masks equal the scaled weights to {EXACT:g}": off <= EXACT}
    promises = {
        f"scaled weights come within {100 * NEAR:g} points of {masks[-1]} masks": abs(beside.mean()) <= NEAR,
        "dropout lowers the test loss, beyond the 95 % interval": gains["test_loss_lower_by"]["interval"][0] > 0,
        "and raises what is left of nets without half of their units": (
            gains["left_with_half_of_the_units_higher_by"]["interval"][0] > 0
        ),
    }
    answer = (
        f"{config.per_class} images of each class, {config.seeds} seeds: scaled weights are right in "
        f"{100 * with_.accuracy.mean():.1f} %, the mean over {masks[0]} mask in {100 * with_.sampled[:, 0].mean():.1f} "
        f"%, over {masks[-1]} in {100 * with_.sampled[:, -1].mean():.1f} %. Without dropout "
        f"{100 * without.accuracy.mean():.1f} %, test loss {without.loss.mean():.2f} in the place of "
        f"{with_.loss.mean():.2f}. Without half of their units "
        f"{100 * with_.left.mean():.1f} % are left, {100 * without.left.mean():.1f} % of nets trained without."
    )
    judgement = judge(config, answer, promises, facts)
    headline = [
        report.Number("scaled weights", f"{100 * with_.accuracy.mean():.1f} %", "right"),
        report.Number(f"{masks[-1]} masks", f"{100 * with_.sampled[:, -1].mean():.1f} %", "right"),
        report.Number("without dropout", f"{100 * without.accuracy.mean():.1f} %", "right"),
    ]
    return Result(figures, sections(config, found), *judgement, headline)


def all_masks(key: jax.Array) -> float:
    """Return how far the renormalised geometric mean of a softmax layer over all masks is from scaled weights.

    With masks of inputs at a rate of 1/2, log p is linear in the mask up to what normalises it: the mean of the logits
    is that of halved inputs. `dropout` scales in training, so its test-time weights are the ones that are learned.
    """
    keys = jax.random.split(key, 3)
    kernel, bias = jax.random.normal(keys[0], (INPUTS, 3)), jax.random.normal(keys[1], (3,))
    x = jax.random.normal(keys[2], (INPUTS,))
    masks = jnp.asarray(list(itertools.product((0.0, 1.0), repeat=INPUTS)))
    logs = jax.nn.log_softmax((2 * masks * x) @ kernel + bias)  # what is kept counts twice, as F.dropout has it
    mean = jax.nn.softmax(logs.mean(axis=0))
    return float(jnp.abs(mean - jax.nn.softmax(x @ kernel + bias)).max())


def measured(config: Config) -> dict[str, Found]:
    """Return what is found with and without dropout; the seeds are lanes of one program."""
    train_set, test_set = loaded(config.dataset, "fashion_mnist", "digits")
    images_key, test_key, key, masks_key = jax.random.split(jax.random.key(config.seed), 4)
    test_set = some(test_set, config.test_images, test_key)
    few, examples = drawn(train_set, (config.per_class,), jax.random.split(images_key, config.seeds))
    found = {}
    for name, rate in (("without", 0.0), ("with dropout", config.rate)):
        console.print(f"{name}:", markup=False)
        model = net(config, train_set.info, rate)
        lanes = trained(config, model, few, examples, [config.learning_rate], key, optimizer=WITHOUT_DECAY)
        found[name] = judged(masks_key, config, net(config, train_set.info, config.rate), lanes, test_set)
    return found


def net(config: Config, info: data.DatasetInfo, rate: float) -> layers.Sequential:
    """Return a multilayer perceptron with dropout behind each hidden layer."""
    body = models.mlp(len(info.class_names), units=(config.units,) * len(HIDDEN), dropout=rate)
    return layers.Sequential(normalize=layers.Normalize(info.mean, info.std), **body.layers)


def judged(
    key: jax.Array, config: Config, dropping: layers.Sequential, lanes: search.Trainings, test_set: data.Dataset
) -> Found:
    """Return what is to be known of some trainings; `dropping` is the net that masks are drawn for."""
    x = jnp.asarray(test_set["image"], jnp.float32) / 255
    label = jnp.asarray(test_set["label"])
    masks_key, removed_key = jax.random.split(key)

    @jax.jit
    def of_lane(state: training.TrainState) -> tuple[Any, ...]:
        params, own = state.params, state.model_state
        logits, kept = surgery.activations(dropping, params, own, x, [f"{HIDDEN[-1]}/act"])
        units = kept[f"{HIDDEN[-1]}/act"]
        units = units - units.mean(axis=0)
        deviation = jnp.linalg.norm(units, axis=0)
        alive = deviation > 0
        unit = units / jnp.where(alive, deviation, 1)
        together = jnp.abs(unit.T @ unit) * (alive[:, None] & alive) * (1 - jnp.eye(len(alive)))
        pairs = jnp.maximum((alive[:, None] & alive).sum() - alive.sum(), 1)

        def masked(total, key):  # the mean of probabilities, a mask for each image and step
            y, _ = dropping.apply(params, own, x, train=True, key=key)
            total = total + jax.nn.softmax(y)
            return total, losses.accuracy(total, label).mean()

        keys = jax.random.split(masks_key, config.masks[-1])
        _, sampled = jax.lax.scan(masked, jnp.zeros_like(logits), keys)
        gone = {  # the same half of the units for all images
            f"{name}/act": jax.random.permutation(k, jnp.arange(config.units) % 2).astype(x.dtype)
            for name, k in zip(HIDDEN, jax.random.split(removed_key, len(HIDDEN)), strict=True)
        }
        halved = surgery.edit(dropping, {path: lambda y, keep=keep: 2 * y * keep for path, keep in gone.items()})
        of_half, _ = halved.apply(params, own, x, train=False)
        return (
            losses.accuracy(logits, label).mean(),
            losses.cross_entropy(logits, label).mean(),
            together.sum() / pairs,
            losses.accuracy(of_half, label).mean(),
            sampled[jnp.asarray(config.masks) - 1],
        )

    each = [of_lane(lanes.state(lane)) for lane in range(len(lanes))]
    return Found(*(np.asarray(values, np.float64) for values in zip(*each, strict=True)))


def sections(config: Config, found: Mapping[str, Found]) -> list[report.Section]:
    """Return the picture and the tables."""
    with_ = found["with dropout"]
    flat = np.repeat(with_.accuracy[:, None], len(config.masks), axis=1)
    lines = {"mean over masks": 100 * with_.sampled, "scaled weights": 100 * flat}
    quantities = {
        "right": ("accuracy", 100, "%"),
        "test loss": ("loss", 1, ""),
        "mean correlation of two units": ("correlation", 1, ""),
        "right without half of the units": ("left", 100, "%"),
    }
    rows = []
    for told, (name, scale, unit) in quantities.items():
        row = {"": told}
        for way, one in found.items():
            values, digits = scale * getattr(one, name), 1 if scale == 100 else 3
            row[way] = f"{mean_sd(values, digits)} {unit}".strip()
        rows.append(row)
    return [
        report.Section(
            "Many nets in one",
            [
                report.Picture(
                    spread_lines("right, %", "masks", config.masks, lines, logarithmic="x", ticks=True),
                    f"Accuracy of the mean of the probabilities of nets with a mask each, and of the one net whose "
                    f"weights stand for all; mean and standard deviation of {config.seeds} seeds.",
                    "A line that rises with the number of masks towards a level one.",
                ),
                report.Table(rows, f"On the test set, mean ± standard deviation of {config.seeds} seeds."),
            ],
        ),
    ]


if __name__ == "__main__":
    run(main, Config)
