"""Hand-made features or learned ones? Histograms of gradients with a linear classifier against a convolutional net.

`python -m experiments.shallow_vs_deep` takes 20 to 1000 images of each class of Fashion-MNIST, five seeds each, and
sets beside each other a linear support vector machine on pixels, one on histograms of oriented gradients (HOG, Dalal
and Triggs 2005; by scikit-image), and a small convolutional net that learns its features from the same images. The
machines' C, the size of a histogram's cell and the net's learning rate are chosen with the first seed on held-out
images. Without Fashion-MNIST (`$JAXCNN_DATA`) it takes the digits, and fewer images. What it promises: made features
beat pixels with the fewest images, and learned ones beat made ones with the most, both beyond the 95 % interval; from
how many images on, it says. About 16 min on 2 cores.
"""

import dataclasses
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

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
from experiments.apparatus.small_nets import small_vgg
from experiments.apparatus.statistics import better
from experiments.framework.runner import Common, Result, judge, run
from jaxcnn import data, report
from jaxcnn.checking import expect

REGULARIZED = (1e-4, 1e-3, 1e-2)  # values of C that held-out images choose from
LEARNED, MADE, PIXELS = "learned features", "histograms of gradients", "pixels"
CELLS = (4, 7)  # histograms along each side of the image, to choose from


@dataclass(frozen=True)
class Config(Common):
    dataset: str | None = None  # one of jaxcnn.data.names(); None for fashion_mnist where it is, else digits
    per_class: tuple[int, ...] = (20, 50, 200, 1000)  # images of each class, rising, divisors of the last
    held_out: int = 1000  # further training images, that choose C, cells and learning rate, a fifth of all at most
    test_images: int = 2000  # at most
    seeds: int = 5  # other images and weights; 2 or more
    width: int = 16  # maps of the net's first stage; each later stage has twice as many
    steps: int = 800  # of every training of the net
    batch_size: int = 50  # images per step
    rates: tuple[float, ...] = (0.03, 0.1, 0.3)  # peaks of the learning rate, to choose from


def main(config: Config) -> Result:
    if config.quick:
        few = {"dataset": "digits", "per_class": (5, 20), "held_out": 100, "test_images": 200, "seeds": 2, "width": 2}
        config = dataclasses.replace(config, steps=16, batch_size=25, rates=config.rates[:1], **few)
    where = "shallow_vs_deep"
    expect_sizes(where, config.per_class)
    expect(config.seeds >= 2, where, "at least 2 seeds", config.seeds, "One has no standard deviation.")
    config, of = parts(config)
    machines = {name: fitted(config, kinds, of) for name, kinds in features(of.spec.shape[1]).items()}
    found = {name: accuracy for name, (accuracy, _) in machines.items()}
    net = small_vgg(of.info, config.width)
    one_each = np.arange(len(config.per_class)) * config.seeds  # the first seed's lanes choose
    rate = chosen_rate(config, net, of.pool, of.lanes[one_each], of.held_out, of.key)
    learned = trained(config, net, of.pool, of.lanes, (rate,), of.key)
    found[LEARNED] = accuracies(net, learned, of.test).reshape(len(config.per_class), config.seeds).T
    cross = crossing(config.per_class, found[MADE], found[LEARNED])
    surely = [better(a, b) for a, b in zip(found[LEARNED].T, found[MADE].T, strict=True)]
    sure_from = next((n for at, n in enumerate(config.per_class) if all(surely[at:])), None)
    figures = {
        "dataset": of.info.name,
        "chosen": {name: chosen for name, (_, chosen) in machines.items()} | {LEARNED: {"learning rate": rate}},
        "accuracy": {name: by_size(config.per_class, values) for name, values in found.items()},
        "learned_over_made": by_size(config.per_class, found[LEARNED] - found[MADE]),
        "crossing": cross,
        "learned_surely_better_from": sure_from,
    }
    few, most = config.per_class[0], config.per_class[-1]
    promises = {
        f"{few} images of each class: made features beat pixels": better(found[MADE][:, 0], found[PIXELS][:, 0]),
        f"{most} images of each class: learned features beat made ones": better(
            found[LEARNED][:, -1], found[MADE][:, -1]
        ),
    }
    told = "; ".join(
        f"{name} {100 * v[:, 0].mean():.1f} and {100 * v[:, -1].mean():.1f} %" for name, v in found.items()
    )
    lead = leads(config.per_class, found[MADE], found[LEARNED])
    beyond = f"from {sure_from} on" if sure_from else "nowhere"
    answer = (
        f"{of.info.name}, {config.seeds} seeds, right with {few} and with {most} images of each class: {told}. "
        f"By the means learned features lead {lead}, beyond the 95 % interval {beyond}."
    )
    judgement = judge(config, answer, promises)
    headline = [
        report.Number(name, f"{100 * v[:, -1].mean():.1f} %", f"right with {most} images of each class")
        for name, v in found.items()
    ]
    return Result(figures, sections(config, found, cross, of.test), *judgement, headline)


def pixels(image: np.ndarray) -> np.ndarray:
    """Return images as vectors in [0, 1]."""
    return image.reshape(len(image), -1) / 255.0


def gradients(cells: int, image: np.ndarray) -> np.ndarray:
    """Return the histograms of oriented gradients of images, nine directions a cell, normalised by blocks of 2x2."""
    from skimage.feature import hog

    cell = tuple(size // cells for size in image.shape[1:3])
    options = {"orientations": 9, "pixels_per_cell": cell, "cells_per_block": (2, 2), "channel_axis": -1}
    return np.stack([hog(one, **options) for one in image])


def features(side: int) -> dict[str, dict[str, Callable[[np.ndarray], np.ndarray]]]:
    """Return the ways to make features of images of so many pixels a side, by what is compared."""
    cells = [n for n in CELLS if 2 * n <= side]
    return {PIXELS: {"": pixels}, MADE: {f"{n} x {n} cells, ": partial(gradients, n) for n in cells}}


def fitted(config: Config, kinds: Mapping[str, Callable], of: Parts) -> tuple[np.ndarray, dict[str, str]]:
    """Return the test accuracy of linear machines on such features, (seeds, sizes), and what was chosen by size."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import LinearSVC

    made = {name: [fn(part["image"]) for part in (of.pool, of.held_out, of.test)] for name, fn in kinds.items()}

    def machine(name: str, c: float, lane: np.ndarray) -> Any:
        at = np.unique(lane)  # lanes with few images repeat them
        fresh = make_pipeline(StandardScaler(), LinearSVC(C=c, dual=False, tol=1e-3, max_iter=10_000))
        return fresh.fit(made[name][0][at], of.pool["label"][at])

    accuracy, chosen = [], {}
    for size, lanes in zip(config.per_class, of.lanes.reshape(len(config.per_class), config.seeds, -1), strict=True):
        first = {each: machine(*each, lanes[0]) for each in itertools.product(kinds, REGULARIZED)}
        right = {each: fit.score(made[each[0]][1], of.held_out["label"]) for each, fit in first.items()}
        name, c = best = max(right, key=lambda each: right[each])
        fits = [first[best], *(machine(name, c, lane) for lane in lanes[1:])]
        accuracy.append([fit.score(made[name][2], of.test["label"]) for fit in fits])
        chosen[str(size)] = f"{name}C = {c:g}"
    return np.array(accuracy).T, chosen


def sections(
    config: Config, found: Mapping[str, np.ndarray], cross: float | None, test_set: data.Dataset
) -> list[report.Section]:
    """Return the pictures and the table."""
    lines = {name: 100 * values for name, values in found.items()}
    first = test_set["image"][:4]
    shown = {"images": first, "their histograms of gradients": drawn_histograms(first)}
    return [
        report.Section(
            "Accuracy against images",
            [
                report.Picture(
                    spread_lines(
                        "right, %", "images of each class", config.per_class, lines, logarithmic="x", ticks=True,
                        marks={} if cross is None else {f"learned better: {cross:.0f}": cross},
                    ),
                    f"Test accuracy; mean and standard deviation of {config.seeds} seeds. The net makes {config.steps} "
                    "steps whatever the number of images.",
                    "Lines of accuracy against images of each class, for pixels, made features and learned ones.",
                ),
                report.Picture(
                    report.image_rows(shown),
                    "What the made features keep of an image: how much of each direction there is in each cell.",
                    "Images beside stars of strokes.",
                ),
                report.Table(rows(config.per_class, found), f"% right, mean ± sd of {config.seeds} seeds."),
            ],
        )
    ]  # fmt: skip


def drawn_histograms(image: np.ndarray) -> np.ndarray:
    """Return the histograms as pictures, enlarged, (n, h, w) in [0, 1]."""
    from skimage.feature import hog

    large = np.kron(image, np.ones((1, 4, 4, 1), image.dtype))
    cell = tuple(size // CELLS[0] for size in large.shape[1:3])
    options = {"orientations": 9, "pixels_per_cell": cell, "cells_per_block": (2, 2), "channel_axis": -1}
    drawn = np.stack([hog(one, visualize=True, **options)[1] for one in large])
    return np.clip(drawn / max(float(drawn.max()), 1e-9), 0, 1)


if __name__ == "__main__":
    run(main, Config)
