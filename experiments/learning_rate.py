"""What does the learning rate decide? Crawl, convergence, oscillation and divergence in one program.

`python -m experiments.learning_rate` trains a small convolutional net on the digits by plain SGD, with a constant rate
from 0.001 to 10 and five seeds each: 50 lanes of one program, equal but for the rate and the seed. Each lane is
classified by the training loss of its epochs, measured in what constant guessing costs, log(classes), where all begin:

- diverges: its steps are no longer finite, or its loss at the end (the median of the last quarter of the epochs) is not
  below constant guessing;
- else oscillates: from epoch to epoch the loss rises by a tenth of constant guessing or more, all rises taken together;
- else crawls: its loss at the end is a tenth of constant guessing or more;
- else converges.

A rate is what most of its lanes are. What it promises: crawl, convergence and divergence are all seen, in the order of
the rates. About 1 min on 2 cores.
"""

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from experiments.apparatus.few_images import mistakes
from experiments.apparatus.image_sets import load
from experiments.apparatus.lines import COLOURS, spread_lines
from experiments.apparatus.statistics import summary
from experiments.framework.device import console
from experiments.framework.progress import LanesBar
from experiments.framework.runner import Common, Result, judge, run
from jaxcnn import data, initializers, layers, report, search, training
from jaxcnn import functional as F
from jaxcnn.checking import expect
from jaxcnn.report.canvas import INK, MUTED, drawing, figure, panel, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# In the order of the rates that they are seen at.
KINDS = ("crawls", "converges", "oscillates", "diverges")
LITTLE = 0.1  # of the loss of constant guessing


@dataclass(frozen=True)
class Config(Common):
    rates: tuple[float, ...] = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.7, 1.0, 3.0, 10.0)  # learning rates, rising
    seeds: int = 5  # lanes of each rate, 2 or more: other weights, other orders
    epochs: int = 24  # passes through the training images, 4 or more
    batch_size: int = 32  # images per step
    maps: int = 8  # of the first convolution; the second has twice as many


class Found(NamedTuple):
    """What is known of the lanes: (rates, seeds), with the epochs last in `loss`, which is NaN where a lane ended."""

    loss: np.ndarray
    diverged: np.ndarray
    accuracy: np.ndarray  # on the test set, of the last finite weights
    guessing: float  # the loss of constant guessing


def main(config: Config) -> Result:
    if config.quick:
        config = dataclasses.replace(config, rates=config.rates[::4], seeds=2, epochs=min(config.epochs, 6))
    where, rates = "learning_rate", config.rates
    rising = len(rates) >= 2 and rates[0] > 0 and all(a < b for a, b in itertools.pairwise(rates))
    expect(rising, where, "two rates or more, positive and rising", rates, "0.01 and 0.1, say.")
    expect(config.seeds >= 2, where, "at least 2 seeds", config.seeds, "One has no standard deviation.")
    expect(config.epochs >= 4, where, "at least 4 epochs", config.epochs, "Fewer make no curve.")
    found = measured(config)
    lanes = [
        [kind(loss, bool(out), found.guessing) for loss, out in zip(*each, strict=True)]
        for each in zip(found.loss, found.diverged, strict=True)
    ]
    kinds = [most_common(each) for each in lanes]
    figures = {
        "guessing": found.guessing,
        "rates": [
            {
                "rate": rate,
                "kind": kinds[at],
                "lanes": {name: lanes[at].count(name) for name in KINDS},
                "not_finite": int(found.diverged[at].sum()),
                "test_accuracy": summary(found.accuracy[at].tolist()),
                "loss": [[float(v) if np.isfinite(v) else None for v in lane] for lane in found.loss[at]],
            }
            for at, rate in enumerate(rates)
        ],
    }
    answer = sentence(config, found, kinds)
    judgement = judge(config, answer, promised(kinds))
    best = lowest(found)
    headline = [
        report.Number("lowest loss at", f"{rates[best]:g}", f"which {kinds[best]}"),
        report.Number("test accuracy", f"{100 * found.accuracy[best].mean():.1f} %", "at that rate"),
    ]
    return Result(figures, sections(config, found, lanes, kinds), *judgement, headline)


def measured(config: Config) -> Found:
    """Return the curves of all lanes."""
    train_set, test_set = load("learning_rate", "digits", config.seed)
    with LanesBar(console) as bar:
        swept = search.sweep(
            small_net(train_set.info, config.maps), train_set, over={"learning_rate": config.rates},
            restarts=config.seeds, optimizer=plain_sgd, epochs=config.epochs, batch_size=config.batch_size, metrics={},
            key=jax.random.key(config.seed), callbacks=[bar],
        )  # fmt: skip
    shape = (len(config.rates), config.seeds)
    loss = np.stack([line["train_loss"] for line in swept.history], axis=-1).astype(np.float64)
    accuracy = 1 - mistakes(swept, test_set).mean(axis=1)
    guessing = float(np.log(len(train_set.info.class_names)))
    return Found(loss.reshape(*shape, -1), swept.diverged.reshape(shape), accuracy.reshape(shape), guessing)


def small_net(info: data.DatasetInfo, maps: int) -> layers.Sequential:
    """Return a net of two convolutions without normalization, which would hide much of what a rate does.

    Its head begins at zero: the first loss is that of constant guessing.
    """
    return layers.Sequential(
        normalize=layers.Normalize(info.mean, info.std),
        conv1=layers.Conv(maps),
        act1=F.relu,
        pool1=layers.MaxPool(),
        conv2=layers.Conv(2 * maps),
        act2=F.relu,
        pool2=layers.MaxPool(),
        flatten=layers.Flatten(),
        head=layers.Dense(len(info.class_names), kernel_init=initializers.zeros),
    )


def plain_sgd(learning_rate: Any) -> Any:
    """Return gradient descent with a constant rate and nothing else."""
    return training.sgd(learning_rate, momentum=0.0, weight_decay=0.0)


def kind(loss: np.ndarray, diverged: bool, guessing: float) -> str:
    """Return what a training does, by the rules above.

    Args:
        loss: (epochs,), of the training.
        diverged: whether its steps are no longer finite.
        guessing: the loss of constant guessing.
    """
    end = np.median(loss[-max(len(loss) // 4, 1) :])
    if diverged or not end < guessing:
        return "diverges"
    if np.maximum(np.diff(loss), 0).sum() >= LITTLE * guessing:
        return "oscillates"
    return "crawls" if end >= LITTLE * guessing else "converges"


def most_common(names: Sequence[str]) -> str:
    """Return what most are; of two that are as many, what higher rates do."""
    return max(KINDS, key=lambda name: (names.count(name), KINDS.index(name)))


def promised(kinds: Sequence[str]) -> dict[str, bool]:
    """Return what is promised of the kinds in the order of the rates, and whether it is so."""
    places = {name: [at for at, each in enumerate(kinds) if each == name] for name in KINDS if name != "oscillates"}
    seen = {f"some rate {name}": bool(at) for name, at in places.items()}
    ordered = {
        f"no rate {b} below one that {a}": not low or not high or max(low) < min(high)
        for (a, low), (b, high) in itertools.pairwise(places.items())
    }
    return seen | ordered


def lowest(found: Found) -> int:
    """Return the place of the rate with the lowest mean training loss at the end: the test set chooses nothing."""
    end = np.where(found.diverged, np.inf, found.loss[..., -1]).mean(axis=1)
    return int(np.argmin(end))


def sections(
    config: Config, found: Found, lanes: Sequence[Sequence[str]], kinds: Sequence[str]
) -> list[report.Section]:
    """Return what the page shows."""
    curves = {}
    for name in KINDS:  # all four, so that each has its colour
        mine = [at for at, each in enumerate(kinds) if each == name]
        middle = mine[len(mine) // 2] if mine else None
        label = name if middle is None else f"{config.rates[middle]:g} {name}"
        curves[label] = np.full((1, config.epochs), np.nan) if middle is None else found.loss[middle]
    curves["constant guessing"] = np.full((1, config.epochs), found.guessing)
    rows = [
        {
            "learning rate": rate,
            "it": kinds[at],
            **{name: lanes[at].count(name) for name in KINDS},
            "not finite": int(found.diverged[at].sum()),
            "loss of the last epoch": round(float(found.loss[at, :, -1].mean()), 4),
            "test accuracy, %": round(100 * float(found.accuracy[at].mean()), 1),
            "sd": round(100 * float(found.accuracy[at].std(ddof=1)), 1),
        }
        for at, rate in enumerate(config.rates)
    ]
    return [
        report.Section(
            "Loss",
            [
                report.Picture(
                    spread_lines("training loss", "epoch", range(1, config.epochs + 1), curves, logarithmic="y"),
                    f"One rate of each kind, the middle one: mean of {config.seeds} seeds and a band of one standard "
                    "deviation. A line ends where a lane is no longer finite.",
                    "Lines of training loss against the epoch, one for each kind of learning rate.",
                ),
                report.Picture(
                    accuracy_picture(config.rates, 100 * found.accuracy, kinds),
                    f"After {config.epochs} epochs: a dot a seed, and a line through the means.",
                    "Test accuracy against the learning rate, on a logarithmic axis, in colours of the kinds.",
                ),
                "A training diverges where its steps are no longer finite or its loss at the end, the median of the "
                "last quarter of the epochs, is not below constant guessing; else it oscillates where all rises of the "
                "loss from epoch to epoch together are a tenth of constant guessing or more; else it crawls where its "
                "loss at the end is a tenth of constant guessing or more; else it converges. A rate is what most of "
                "its lanes are. Accuracies are of the last weights that are finite.",
                report.Table(rows, "Rates, what they are called, and how many of their lanes do what."),
            ],
        ),
    ]


def sentence(config: Config, found: Found, kinds: Sequence[str]) -> str:
    """Return the answer."""
    told = []
    for name in KINDS:
        rates = [f"{rate:g}" for rate, each in zip(config.rates, kinds, strict=True) if each == name]
        told.append(f"{name} at {', '.join(rates) if rates else 'none'}")
    best = lowest(found)
    return (
        f"digits, plain SGD, {config.epochs} epochs, {config.seeds} seeds: it {'; '.join(told)}. The training loss is "
        f"lowest at {config.rates[best]:g}, with a test accuracy of {100 * found.accuracy[best].mean():.1f} % "
        f"(sd {100 * found.accuracy[best].std(ddof=1):.1f})."
    )


@drawing
def accuracy_picture(rates: Sequence[float], percent: np.ndarray, kinds: Sequence[str]) -> "Figure":
    """Return the accuracies (rates, seeds) as dots with a line through the means, each kind named above its rates."""
    from matplotlib.ticker import NullLocator

    blank = figure(3.0)
    axes = panel(blank.subplots(), "test accuracy, %")
    at = np.asarray(rates)
    axes.plot(at, percent.mean(axis=1), "-", color=INK, linewidth=1.0, alpha=0.5)
    for name, colour in zip(KINDS, COLOURS, strict=False):
        mine = np.asarray([each == name for each in kinds])
        if mine.any():
            axes.plot(at[mine], percent[mine], "o", color=colour, markersize=5, alpha=0.6, markeredgewidth=0)
            axes.text(np.exp(np.log(at[mine]).mean()), 108, name, ha="center", va="bottom", **style(colour))
    axes.set_ylim(top=116)
    axes.set_yticks(range(0, 101, 20))
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(at, [f"{rate:g}" for rate in rates])
    axes.set_xlabel("learning rate", **style(MUTED))
    return blank


if __name__ == "__main__":
    run(main, Config)
