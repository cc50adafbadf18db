"""When does a net begin to learn the noise? Curves that part, where early stopping ends, and what 300 more epochs cost.

`python -m experiments.overfitting` takes 100 images of each digit, gives a fifth of them a wrong label, holds a third
of them out, and trains a net that can learn the rest by heart, 5 seeds: other images, wrong labels, weights and orders.
One training stops when the validation loss has not fallen for 20 epochs and gives the best weights back; another with
the same key goes on for 300 more epochs. It records loss and error on the test set too, whose labels are right, and
which chooses nothing. What it promises: 300 epochs after the stop the test loss is higher than that of the weights
given back, beyond the 95 % interval; the trainings agree up to the stop. About 9 min on 2 cores.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.apparatus.few_images import mistakes
from experiments.apparatus.image_sets import load, relabelled
from experiments.apparatus.lines import spread_lines
from experiments.apparatus.statistics import better, in_points, summary
from experiments.framework.device import console
from experiments.framework.progress import LanesBar
from experiments.framework.runner import Common, Result, judge, run
from jaxcnn import data, layers, losses, models, report, search, training
from jaxcnn.checking import expect

NEAR = 1e-4  # trainings agree up to rounding: so much of a loss
QUICK = {"per_class": 30, "seeds": 2, "patience": 3, "most_epochs": 15, "more_epochs": 15}


@dataclass(frozen=True)
class Config(Common):
    dataset: str = "digits"  # one of jaxcnn.data.names(), that fits into memory
    per_class: int = 100  # images of each class
    wrong: float = 0.2  # fraction of them with a wrong label
    held_out: float = 1 / 3  # fraction of them to validate with
    test_images: int = 2000  # at most
    seeds: int = 5  # 2 or more
    patience: int = 20  # epochs without a lower validation loss that are borne
    most_epochs: int = 200  # before the stop
    more_epochs: int = 300  # after it
    batch_size: int = 40  # images per step
    learning_rate: float = 0.02  # the same in every step, so that a longer training begins as a shorter one


class Found(NamedTuple):
    """Values by epoch and seed, (epochs, seeds), by name; and where each seed was best and was stopped, from 1."""

    lines: Mapping[str, np.ndarray]
    best: np.ndarray
    stop: np.ndarray
    given_back: np.ndarray  # test errors of the weights that early stopping gives back
    agree: bool  # the trainings with and without patience, up to the stop
    seconds: np.ndarray  # since the start of its training, after each epoch, (epochs, seeds)


def main(config: Config) -> Result:
    if config.quick:
        config = dataclasses.replace(config, **QUICK)
    expect(config.seeds >= 2, "overfitting", "at least 2 seeds", config.seeds, "One has no standard deviation.")
    expect(config.more_epochs >= 1, "overfitting", "more_epochs >= 1", config.more_epochs, "300 are the default.")
    found = measured(config)
    later = found.stop + config.more_epochs
    at = {"best": found.best, "stop": found.stop, "later": later}
    values = {when: {n: reached(v, epochs) for n, v in found.lines.items()} for when, epochs in at.items()}
    cost = values["later"]["test error"] - found.given_back
    stopped = reached(found.seconds, found.stop)
    seconds = {"to the stop": stopped, "more": reached(found.seconds, later) - stopped}
    figures = {
        "epoch": {when: summary(epochs.tolist()) for when, epochs in at.items()},
        **{when: {n: summary(v.tolist()) for n, v in names.items()} for when, names in values.items()},
        "cost": summary(cost.tolist()),
        "agree": found.agree,
        "seconds": {what: summary(v.tolist()) for what, v in seconds.items()},
    }
    rose = better(values["later"]["test loss"], values["best"]["test loss"])
    promises = {
        f"the test loss is higher {config.more_epochs} epochs after the stop than that of the weights given back, "
        "beyond the 95 % interval": rose
    }
    facts = {"the trainings with and without patience agree up to the stop": found.agree}
    judgement = judge(config, sentence(config, values, figures), promises, facts)
    headline = [
        report.Number("stopped", f"epoch {found.stop.mean():.0f}", f"the best was {found.best.mean():.0f}"),
        report.Number("test error", f"{100 * found.given_back.mean():.1f} %", "of what early stopping gives back"),
        report.Number(
            "later", f"{100 * values['later']['test error'].mean():.1f} %", f"{config.more_epochs} epochs on"
        ),
    ]
    return Result(figures, sections(config, found, values), *judgement, headline)


class Seed(NamedTuple):
    """What a seed learns from, what it stops by, that with the test set behind it, and its key."""

    learned: data.Dataset
    held: data.Dataset
    both: data.Dataset
    key: jax.Array


def drawn(config: Config, train_set: data.Dataset, test_set: data.Dataset, key: jax.Array) -> Seed:
    """Return a seed's own images, labels and key."""
    images_key, labels_key, split_key, key = jax.random.split(key, 4)
    few = data.per_class(train_set, config.per_class, key=images_key)
    learned, held = data.split(relabelled(few, config.wrong, key=labels_key), config.held_out, key=split_key)
    any_wrong, fix = bool((learned["label"] != learned["true"]).any()), "0.2 exchanges every fifth label."
    expect(any_wrong, "overfitting", "some wrong labels to learn", f"wrong={config.wrong}", fix)
    return Seed(marked([learned], [0]), marked([held], [1]), marked([held, test_set], [1, 0]), key)


def marked(sets: Sequence[data.Dataset], held: Sequence[int]) -> data.Dataset:
    """Return the sets as one, in which `["held"]` says what is held out."""
    image, label, true = (np.concatenate([each[name] for each in sets]) for name in ("image", "label", "true"))
    mark = np.repeat(np.array(held, np.float32), [each.size for each in sets])
    return data.from_arrays(image, label, true=true, held=mark, class_names=sets[0].info.class_names)


def trained(
    config: Config, seed: Seed, net: layers.Sequential, validation: data.Dataset, epochs: int,
    patience: int | None = None,
) -> tuple[search.Trainings, list[float]]:  # fmt: skip
    """Return the training of a seed, as one lane, and the seconds after each epoch."""
    seconds: list[float] = []
    note = lambda event: seconds.append(event.seconds) if event.kind == "epoch" else None  # noqa: E731
    with LanesBar(console) as bar:
        found = search.random_restarts(
            net, seed.learned, restarts=1, key=seed.key, validation=validation, patience=patience, epochs=epochs,
            optimizer=training.sgd(config.learning_rate, weight_decay=0.0), batch_size=config.batch_size,
            metrics=METRICS, callbacks=[bar, note],
        )  # fmt: skip
    return found, seconds


def measured(config: Config) -> Found:
    """Return the curves of the trainings."""
    order_key, true_key, *keys = jax.random.split(jax.random.key(config.seed), 2 + config.seeds)
    train_set, test_set = load("overfitting", config.dataset, config.seed)
    order = np.asarray(jax.random.permutation(order_key, test_set.size))[: config.test_images]
    test_set = relabelled(test_set.take(order), 0.0, key=true_key)
    net, seeds = by_heart(train_set.info), [drawn(config, train_set, test_set, key) for key in keys]
    shorts = [trained(config, seed, net, seed.held, config.most_epochs, config.patience)[0] for seed in seeds]
    epochs = max(int(short.epochs[0]) for short in shorts) + config.more_epochs
    found = [of_seed(config, seed, net, short, test_set, epochs) for seed, short in zip(seeds, shorts, strict=True)]
    lines = {name: np.concatenate([one.lines[name] for one in found], axis=1) for name in found[0].lines}
    best, stop, given_back = (
        np.concatenate([getattr(one, n) for one in found]) for n in ("best", "stop", "given_back")
    )
    seconds = np.concatenate([one.seconds for one in found], axis=1)
    return Found(lines, best, stop, given_back, all(one.agree for one in found), seconds)


def of_seed(
    config: Config, seed: Seed, net: layers.Sequential, short: search.Trainings, test_set: data.Dataset, epochs: int
) -> Found:
    """Return the curves of one seed, whose stopped training is `short`."""
    long, seconds = trained(config, seed, net, seed.both, epochs)
    validation_loss, test_loss = parted(long, "loss")
    validation_right, test_right = parted(long, "accuracy")
    best, stop = stopping(validation_loss, config.patience, config.most_epochs)
    agree = np.array_equal(best, short.best_epochs) and np.array_equal(stop, short.epochs)
    for name, other in (("train_loss", column(long, "train_loss")), ("validation_loss", validation_loss)):
        one = column(short, name)
        agree &= bool(np.allclose(one, other[: len(one)], NEAR, NEAR))
    given_back = mistakes(short, test_set).mean(axis=1)
    agree &= bool(np.allclose(given_back, reached(1 - test_right, best), 0, NEAR))
    accuracy, wrong, given = (column(long, f"train_{name}") for name in ("accuracy", "wrong", "given"))
    lines = {
        "training loss": column(long, "train_loss"),
        "validation loss": validation_loss,
        "test loss": test_loss,
        "training error": 1 - accuracy,
        "validation error": 1 - validation_right,
        "test error": 1 - test_right,
        "wrong labels learned": given / wrong,
        "right labels learned": (accuracy - given) / (1 - wrong),
    }
    return Found(lines, best, stop, given_back, agree, np.asarray(seconds)[:, None])


def by_heart(info: data.DatasetInfo) -> layers.Sequential:
    """Return a net that can learn some hundred images by heart."""
    model = models.create("lenet5", num_classes=len(info.class_names), features=(8, 16, 64), dropout=0.0)
    return layers.Sequential(normalize=layers.Normalize(info.mean, info.std), **model.layers)


def wrong_label(outputs: jax.Array, batch: Mapping[str, jax.Array]) -> jax.Array:
    """Return 1.0 where the label is wrong, else 0.0."""
    return (batch["label"] != batch["true"]).astype(jnp.float32)


def wrong_label_given(outputs: jax.Array, batch: Mapping[str, jax.Array]) -> jax.Array:
    """Return 1.0 where the label is wrong and the net gives it, else 0.0."""
    return wrong_label(outputs, batch) * losses.accuracy(outputs, batch["label"])


def held_loss(outputs: jax.Array, batch: Mapping[str, jax.Array]) -> jax.Array:
    """Return the loss where the image is held out, else 0.0."""
    return batch["held"] * losses.cross_entropy(outputs, batch["label"])


def held_accuracy(outputs: jax.Array, batch: Mapping[str, jax.Array]) -> jax.Array:
    """Return 1.0 where the image is held out and the label right, else 0.0."""
    return batch["held"] * losses.accuracy(outputs, batch["label"])


METRICS = {
    "accuracy": losses.batch_accuracy,
    "wrong": wrong_label,
    "given": wrong_label_given,
    "held": lambda outputs, batch: batch["held"],
    "held_loss": held_loss,
    "held_accuracy": held_accuracy,
}


def parted(found: search.Trainings, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return a mean over held-out and test images as that over the first and that over the others, (epochs, 1)."""
    whole, held, share = (column(found, f"validation_{each}") for each in (name, f"held_{name}", "held"))
    return held / share, (whole - held) / (1 - share)


def column(found: search.Trainings, name: str) -> np.ndarray:
    """Return a figure of all epochs, (epochs, 1)."""
    return np.stack([line[name] for line in found.history]).astype(np.float64)


def stopping(values: np.ndarray, patience: int, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the best epoch and the last one, from 1, of trainings that early stopping watches by these values.

    Args:
        values: (epochs, trainings).
        patience: values without improvement that are borne.
        most: epochs, where nothing stops it.
    """
    watch = training.early_stopping(patience)
    states = jax.vmap(lambda _: watch.init())(jnp.arange(values.shape[1]))

    def update(states: Any, now: jax.Array) -> Any:
        states = jax.vmap(watch.update)(states, now)
        return states, (states.improved, states.stop)

    _, (improved, stop) = jax.lax.scan(update, states, jnp.asarray(values[:most], jnp.float32))
    improved, stop = np.asarray(improved), np.asarray(stop)
    last = np.where(stop.any(axis=0), stop.argmax(axis=0) + 1, len(stop))
    number = np.arange(1, len(stop) + 1)[:, None]
    return np.where(improved & (number <= last), number, 0).max(axis=0), last


def reached(values: np.ndarray, epochs: np.ndarray) -> np.ndarray:
    """Return the value of each seed after its number of epochs; values are (epochs, seeds)."""
    return np.take_along_axis(values, epochs[None] - 1, axis=0)[0]


def sections(config: Config, found: Found, values: Mapping[str, Mapping[str, np.ndarray]]) -> list[report.Section]:
    """Return what the page shows."""
    epochs = range(1, len(found.seconds) + 1)
    marks = {"best": float(found.best.mean()), "stopped": float(found.stop.mean())}

    def curves(quantity: str, *names: str, factor: float = 1.0) -> Any:
        groups = {n.removesuffix(f" {quantity.split(',')[0]}"): factor * found.lines[n].T for n in names}
        return spread_lines(quantity, "epoch", epochs, groups, marks=marks, logarithmic="x")

    moments = {"best": "best epoch", "stop": "stop", "later": f"{config.more_epochs} epochs later"}
    rows = [
        {"": name, **{words: round(float(values[when][name].mean()), 3) for when, words in moments.items()}}
        for name in found.lines
    ]
    learned = report.Picture(
        curves("labels learned, %", "right labels learned", "wrong labels learned", factor=100),
        f"Training images whose label the net gives, of those with a right label and of those with a wrong one. Mean "
        f"of {config.seeds} seeds and a band of one standard deviation; the upright lines are means of the seeds.",
        "Lines of the right and the wrong labels that are learned, against the epoch.",
    )
    loss = report.Picture(
        curves("loss", "training loss", "validation loss", "test loss"),
        "The loss on the images learned from, on those held out, by which it is stopped, and on the test set.",
        "Lines of training, validation and test loss against the epoch.",
    )
    error = report.Picture(
        curves("error, %", "training error", "validation error", "test error", factor=100),
        f"Labels of training and validation are wrong in {config.wrong:.0%} of the images, those of the test set are "
        "right.",
        "Lines of training, validation and test error against the epoch.",
    )
    table = report.Table(rows, "Means of the seeds. The weights of the best epoch are given back.")
    return [
        report.Section("When the noise is learned", [learned, table]),
        report.Section("Curves that part", [loss, error]),
    ]


def sentence(config: Config, values: Mapping[str, Mapping[str, np.ndarray]], figures: Mapping[str, Any]) -> str:
    """Return the answer: a cost is only what is so beyond the 95 % interval."""
    low, high = figures["cost"]["interval"]
    harm = "which is harm" if low > 0 else "which is a gain" if high < 0 else "which may be chance"
    stop, more = figures["epoch"]["stop"]["mean"], figures["seconds"]
    learned = [100 * values[when]["wrong labels learned"].mean() for when in ("best", "later")]
    return (
        f"{config.dataset}, {config.per_class} images of each class, {config.wrong:.0%} of labels wrong, "
        f"{config.seeds} seeds: stopped after {stop:.0f} epochs, the best weights have learned {learned[0]:.0f} % of "
        f"the wrong labels, {config.more_epochs} epochs later the net has {learned[1]:.0f} %; the test error goes from "
        f"{100 * values['best']['test error'].mean():.1f} % to {100 * values['later']['test error'].mean():.1f} %, "
        f"{100 * figures['cost']['mean']:+.1f} points ({in_points(figures['cost'])}), {harm}, the "
        f"test loss from {values['best']['test loss'].mean():.2f} to {values['later']['test loss'].mean():.2f}; they "
        f"take {more['more']['mean']:.1f} s more after {more['to the stop']['mean']:.1f} s."
    )


if __name__ == "__main__":
    run(main, Config)
