"""When does a net begin to learn the noise? Curves that part, where early stopping ends, and what 300 more epochs cost.

`python -m experiments.overfitting` takes 30 images of each digit, gives a fifth of them a wrong label, holds a third of
them out, and trains a net that can learn the rest by heart: 5 lanes of one program, with the same images and weights
and orders of their own. One training stops when the validation loss has not fallen for 20 epochs and gives the best
weights back; another with the same keys goes on for 300 more epochs; a third records the error on the test set,
whose labels are right, and which chooses nothing. What it promises: with each lane the validation loss has risen 300
epochs later, and the trainings agree up to the stop. About 1 min on 2 cores.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.device import console
from experiments.hidden_units import load, mistakes, relabelled
from experiments.lines import spread_lines
from experiments.progress import LanesBar
from experiments.runner import Common, Result, judge, run
from experiments.statistics import summary
from jaxcnn import data, layers, losses, models, report, search, training
from jaxcnn.checking import expect

NEAR = 1e-4  # trainings agree up to rounding: so much of a loss
QUICK = {"seeds": 2, "patience": 3, "most_epochs": 15, "more_epochs": 15}


@dataclass(frozen=True)
class Config(Common):
    dataset: str = "digits"  # one of jaxcnn.data.names(), that fits into memory
    per_class: int = 30  # images of each class
    wrong: float = 0.2  # fraction of them with a wrong label
    held_out: float = 1 / 3  # fraction of them to validate with
    test_images: int = 2000  # at most
    seeds: int = 5  # lanes, 2 or more
    patience: int = 20  # epochs without a lower validation loss that are borne
    most_epochs: int = 200  # before the stop
    more_epochs: int = 300  # after it
    batch_size: int = 40  # images per step
    learning_rate: float = 0.02  # the same in every step, so that a longer training begins as a shorter one


class Found(NamedTuple):
    """Values by epoch and lane, (epochs, lanes), by name; and where each lane was best and was stopped, from 1."""

    lines: Mapping[str, np.ndarray]
    best: np.ndarray
    stop: np.ndarray
    given_back: np.ndarray  # test errors of the weights that early stopping gives back
    agree: bool  # the trainings with and without patience, up to the stop
    seconds: np.ndarray  # since the start, after each epoch of all lanes together


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
    clock = found.seconds[:, None]
    seconds = {"to the stop": reached(clock, found.stop), "more": reached(clock, later) - reached(clock, found.stop)}
    figures = {
        "epoch": {when: summary(epochs.tolist()) for when, epochs in at.items()},
        **{when: {n: summary(v.tolist()) for n, v in names.items()} for when, names in values.items()},
        "cost": summary(cost.tolist()),
        "agree": found.agree,
        "seconds": {what: summary(v.tolist()) for what, v in seconds.items()},
    }
    rose = values["later"]["validation loss"] > values["best"]["validation loss"]
    promises = {
        f"the validation loss is higher {config.more_epochs} epochs after the stop, with every lane": bool(rose.all()),
        "the trainings with and without patience agree up to the stop": found.agree,
    }
    answer = sentence(config, values, figures)
    judgement = judge(config, answer, promises)
    headline = [
        report.Number("stopped", f"epoch {found.stop.mean():.0f}", f"the best was {found.best.mean():.0f}"),
        report.Number("test error", f"{100 * found.given_back.mean():.1f} %", "of what early stopping gives back"),
        report.Number(
            "later", f"{100 * values['later']['test error'].mean():.1f} %", f"{config.more_epochs} epochs on"
        ),
    ]
    return Result(figures, sections(config, found, values), *judgement, headline)


def measured(config: Config) -> Found:
    """Return the curves of the trainings."""
    images_key, labels_key, split_key, test_key, key = jax.random.split(jax.random.key(config.seed), 5)
    train_set, test_set = load("overfitting", config.dataset, config.seed)
    few = data.per_class(train_set, config.per_class, key=images_key)
    few = relabelled(few, config.wrong, key=labels_key)
    learned, held = data.split(few, config.held_out, key=split_key)
    order = np.asarray(jax.random.permutation(test_key, test_set.size))[: config.test_images]
    test_set = relabelled(test_set.take(order), 0.0, key=labels_key)
    net = by_heart(few.info)
    any_wrong, fix = bool((learned["label"] != learned["true"]).any()), "0.2 exchanges every fifth label."
    expect(any_wrong, "overfitting", "some wrong labels to learn", f"wrong={config.wrong}", fix)
    seconds: list[float] = []

    def trained(validation: data.Dataset, epochs: int, patience: int | None = None) -> search.Trainings:
        with LanesBar(console) as bar:
            seconds.clear()
            note = lambda event: seconds.append(event.seconds) if event.kind == "epoch" else None  # noqa: E731
            return search.random_restarts(
                net, learned, restarts=config.seeds, key=key, validation=validation, patience=patience, epochs=epochs,
                optimizer=training.sgd(config.learning_rate, weight_decay=0.0), batch_size=config.batch_size,
                metrics=METRICS, callbacks=[bar, note],
            )  # fmt: skip

    short = trained(held, config.most_epochs, config.patience)
    epochs = int(short.epochs.max()) + config.more_epochs
    tested, long = trained(test_set, epochs), trained(held, epochs)
    best, stop = stopping(column(long, "validation_loss"), config.patience, config.most_epochs)
    agree = np.array_equal(best, short.best_epochs) and np.array_equal(stop, short.epochs)
    for name in ("train_loss", "validation_loss"):
        one, other = column(short, name), column(long, name)[: len(short.history)]
        agree &= bool(np.allclose(one, np.where(np.isnan(one), np.nan, other), NEAR, NEAR, equal_nan=True))
    agree &= bool(np.allclose(column(tested, "train_loss"), column(long, "train_loss"), NEAR, NEAR))
    given_back = mistakes(short, test_set).mean(axis=1)
    test_error = 1 - column(tested, "validation_accuracy")
    agree &= bool(np.allclose(given_back, reached(test_error, best), 0, NEAR))
    accuracy, wrong, given = (column(long, f"train_{name}") for name in METRICS)
    lines = {
        "training loss": column(long, "train_loss"),
        "validation loss": column(long, "validation_loss"),
        "training error": 1 - accuracy,
        "validation error": 1 - column(long, "validation_accuracy"),
        "test error": test_error,
        "wrong labels learned": given / wrong,
        "right labels learned": (accuracy - given) / (1 - wrong),
    }
    return Found(lines, best, stop, given_back, agree, np.asarray(seconds))


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


METRICS = {"accuracy": losses.batch_accuracy, "wrong": wrong_label, "given": wrong_label_given}


def column(found: search.Trainings, name: str) -> np.ndarray:
    """Return a figure of all epochs and lanes, (epochs, lanes)."""
    return np.stack([line[name] for line in found.history]).astype(np.float64)


def stopping(values: np.ndarray, patience: int, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the best epoch and the last one, from 1, of lanes that early stopping watches by these values.

    Args:
        values: (epochs, lanes).
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
    """Return the value of each lane after its number of epochs; values are (epochs, lanes), or (epochs, 1) of all."""
    return np.take_along_axis(np.broadcast_to(values, (len(values), len(epochs))), epochs[None] - 1, axis=0)[0]


def sections(config: Config, found: Found, values: Mapping[str, Mapping[str, np.ndarray]]) -> list[report.Section]:
    """Return what the page shows."""
    epochs = range(1, len(found.seconds) + 1)
    marks = {"best": float(found.best.mean()), "stopped": float(found.stop.mean())}

    def drawn(quantity: str, *names: str, factor: float = 1.0) -> Any:
        groups = {n.removesuffix(f" {quantity.split(',')[0]}"): factor * found.lines[n].T for n in names}
        return spread_lines(quantity, "epoch", epochs, groups, marks=marks, logarithmic="x")

    moments = {"best": "best epoch", "stop": "stop", "later": f"{config.more_epochs} epochs later"}
    rows = [
        {"": name, **{words: round(float(values[when][name].mean()), 3) for when, words in moments.items()}}
        for name in found.lines
    ]
    learned = report.Picture(
        drawn("labels learned, %", "right labels learned", "wrong labels learned", factor=100),
        f"Training images whose label the net gives, of those with a right label and of those with a wrong one. Mean "
        f"of {config.seeds} lanes and a band of one standard deviation; the upright lines are means of the lanes.",
        "Lines of the right and the wrong labels that are learned, against the epoch.",
    )
    loss = report.Picture(
        drawn("loss", "training loss", "validation loss"),
        "The training loss goes on falling, the validation loss turns.",
        "Lines of training and validation loss against the epoch.",
    )
    error = report.Picture(
        drawn("error, %", "training error", "validation error", "test error", factor=100),
        f"Labels of training and validation are wrong in {config.wrong:.0%} of the images, those of the test set are "
        "right.",
        "Lines of training, validation and test error against the epoch.",
    )
    table = report.Table(rows, "Means of the lanes. The weights of the best epoch are given back.")
    return [
        report.Section("When the noise is learned", [learned, table]),
        report.Section("Curves that part", [loss, error]),
    ]


def sentence(config: Config, values: Mapping[str, Mapping[str, np.ndarray]], figures: Mapping[str, Any]) -> str:
    """Return the answer: a cost is only what is so beyond the 95 % interval."""
    cost, (low, high) = figures["cost"]["mean"], figures["cost"]["interval"]
    harm = "which is harm" if low > 0 else "which is a gain" if high < 0 else "which may be chance"
    stop, more = figures["epoch"]["stop"]["mean"], figures["seconds"]
    learned = [100 * values[when]["wrong labels learned"].mean() for when in ("best", "later")]
    return (
        f"{config.dataset}, {config.per_class} images of each class, {config.wrong:.0%} of labels wrong, "
        f"{config.seeds} lanes: stopped after {stop:.0f} epochs, the best weights have learned {learned[0]:.0f} % of "
        f"the wrong labels, {config.more_epochs} epochs later the net has {learned[1]:.0f} %; the test error goes from "
        f"{100 * values['best']['test error'].mean():.1f} % to {100 * values['later']['test error'].mean():.1f} %, "
        f"{100 * cost:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f}), {harm}; they take "
        f"{more['more']['mean']:.1f} s more after {more['to the stop']['mean']:.1f} s."
    )


if __name__ == "__main__":
    run(main, Config)
