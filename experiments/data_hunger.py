"""How much data does a net of what capacity need? Test accuracy against training images, for three widths.

`python -m experiments.data_hunger` trains a small VGG of three widths on 5 to 100 images per class of Fashion-MNIST
(the digits without it): of each width all numbers of images and all seeds are lanes of one program, and all make
equally many steps, ten passes through the most images. Held-out images choose the learning rate of each width. What it
promises: with the most images every width does better than with the fewest. Which width is best with how many, it says.
About 4 min on 2 cores.
"""

import dataclasses
import itertools
from dataclasses import dataclass

import numpy as np

from experiments.apparatus.few_images import (
    Parts,
    accuracies,
    by_size,
    chosen_rate,
    crossing,
    expect_sizes,
    leads,
    parts,
    rows,
    trained,
)
from experiments.apparatus.lines import spread_lines
from experiments.apparatus.small_nets import size, small_vgg
from experiments.apparatus.statistics import better
from experiments.framework.device import console
from experiments.framework.runner import Common, Result, judge, run
from jaxcnn import data, report
from jaxcnn.checking import expect


@dataclass(frozen=True)
class Config(Common):
    dataset: str | None = None  # one of jaxcnn.data.names(); None for fashion_mnist where it is, else digits
    widths: tuple[int, ...] = (2, 4, 8)  # maps of the first stage, rising; each later stage has twice as many
    per_class: tuple[int, ...] = (5, 20, 50, 100)  # images of each class, rising, divisors of the last
    held_out: int = 1000  # further training images, that choose the learning rate, a fifth of all at most
    test_images: int = 2000  # at most
    seeds: int = 5  # other images, weights and orders; 2 or more
    steps: int = 400  # of every training
    batch_size: int = 25  # images per step
    rates: tuple[float, ...] = (0.03, 0.1, 0.3)  # peaks of the learning rate, to choose from


def main(config: Config) -> Result:
    if config.quick:
        few = {"widths": config.widths[:2], "per_class": (5, 20), "test_images": 300, "seeds": 2, "steps": 16}
        config = dataclasses.replace(config, held_out=100, rates=config.rates[1:2], **few)
    where, rising = "data_hunger", all(a < b for a, b in itertools.pairwise(config.widths))
    ok = 2 <= len(config.widths) <= 5 and rising
    expect(ok, where, "two to five rising widths", config.widths, "4 and 8, say.")
    expect_sizes(where, config.per_class)
    expect(config.seeds >= 2, where, "at least 2 seeds", config.seeds, "One has no standard deviation.")
    config, of = parts(config)
    found, counts, rates = measured(config, of)
    named = {width: f"width {width} ({short(count)})" for width, count in counts.items()}
    cross = crossing(config.per_class, found[config.widths[0]], found[config.widths[-1]])
    figures = {
        "dataset": of.info.name,
        "learning_rate": {str(width): rate for width, rate in rates.items()},
        "parameters": {str(width): count for width, count in counts.items()},
        "accuracy": {str(width): by_size(config.per_class, values) for width, values in found.items()},
        "widest_over_narrowest": by_size(config.per_class, found[config.widths[-1]] - found[config.widths[0]]),
        "crossing": cross,
    }
    percent = {named[width]: 100 * values for width, values in found.items()}
    sections = [
        report.Section(
            "Accuracy against images",
            [
                report.Picture(
                    spread_lines(
                        "test accuracy, %", "images of each class", config.per_class, percent, logarithmic="x",
                        ticks=True, marks={} if cross is None else {f"widest better: {cross:.0f}": cross},
                    ),
                    f"{of.info.name}: mean of {config.seeds} seeds, a band of one standard deviation; in "
                    f"brackets the number of parameters. {config.steps} steps of {config.batch_size} images for all.",
                    "Lines of test accuracy against images of each class, one for each width.",
                ),
                report.Table(rows(config.per_class, {f"width {width}": values for width, values in found.items()})),
            ],
        )
    ]  # fmt: skip
    promises = {
        f"more images help width {width}": better(values[:, -1], values[:, 0]) for width, values in found.items()
    }
    answer = sentence(config, of.info, found, counts)
    judgement = judge(config, answer, promises)
    headline = [
        report.Number(
            f"width {width}",
            f"{100 * values[:, 0].mean():.1f} to {100 * values[:, -1].mean():.1f} %",
            f"with {config.per_class[0]} and with {config.per_class[-1]} images of each class",
        )
        for width, values in found.items()
    ]
    return Result(figures, sections, *judgement, headline)


def measured(config: Config, of: Parts) -> tuple[dict[int, np.ndarray], dict[int, int], dict[int, float]]:
    """Return the test accuracies, (seeds, sizes), the number of parameters, and the learning rate, by width."""
    found, counts, rates = {}, {}, {}
    one_each = np.arange(len(config.per_class)) * config.seeds  # the first seed's lanes choose
    for width in config.widths:
        net = small_vgg(of.info, width)
        rates[width] = chosen_rate(config, net, of.pool, of.lanes[one_each], of.held_out, of.key)
        trainings = trained(config, net, of.pool, of.lanes, [rates[width]], of.key)
        counts[width] = size(net, of.spec)
        found[width] = accuracies(net, trainings, of.test).reshape(len(config.per_class), config.seeds).T
        told = np.round(found[width].mean(axis=0), 3)
        console.print(f"width {width}, {counts[width]:,} parameters: test accuracy {told}", markup=False)
    return found, counts, rates


def sentence(config: Config, info: data.DatasetInfo, found: dict[int, np.ndarray], counts: dict[int, int]) -> str:
    """Return the answer: a width is best where it beats every other beyond the 95 % interval."""
    told = []
    for at in (0, -1):
        leading = max(found, key=lambda width: found[width][:, at].mean())
        level = [w for w in found if w != leading and not better(found[leading][:, at], found[w][:, at])]
        beside = f" (no better, as far as can be seen, than {' and '.join(map(str, level))})" if level else ""
        means = ", ".join(f"{100 * values[:, at].mean():.1f}" for values in found.values())
        told.append(f"with {config.per_class[at]} images of each class width {leading} is best{beside}: {means} %")
    lead = leads(config.per_class, found[config.widths[0]], found[config.widths[-1]])
    return (
        f"{info.name}, widths {', '.join(map(str, found))} ({', '.join(map(short, counts.values()))} "
        f"parameters), {config.seeds} seeds, test accuracy: {'; '.join(told)}. The widest leads the narrowest {lead}."
    )


def short(count: int) -> str:
    """Return a count in thousands where it has them."""
    return f"{count / 1000:.1f}k" if count >= 1000 else str(count)


if __name__ == "__main__":
    run(main, Config)
