"""Deep or shallow, with equally many parameters? Nets of one to eight hidden layers, dense and convolutional.

`python -m experiments.depth` trains nets whose widths are chosen so that all have nearly the same number of parameters,
on images of Fashion-MNIST, five seeds each: other images, other weights. Dense nets have equal hidden layers;
convolutional ones 3x3 convolutions before, between and after two poolings. All have batch norm, without which depth is
hard to train. Held-out images choose the learning rate of each net, and the depth that is compared with one layer.
Without Fashion-MNIST (`$JAXCNN_DATA`) it takes the digits. What it promises: among convolutional nets several layers
beat one, beyond the 95 % interval. What depth brings to dense ones, it says. About 23 min on 2 cores.
"""

import dataclasses
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from experiments.apparatus.few_images import Parts, parts, tuned
from experiments.apparatus.lines import spread_lines
from experiments.apparatus.small_nets import head, widest
from experiments.apparatus.statistics import in_points, mean_sd, summary
from experiments.framework.device import console
from experiments.framework.runner import Common, Result, judge, run
from jaxcnn import data, layers, models, report
from jaxcnn import functional as F
from jaxcnn.checking import expect


@dataclass(frozen=True)
class Config(Common):
    dataset: str | None = None  # one of jaxcnn.data.names(); None for fashion_mnist where it is, else digits
    per_class: int = 100  # training images of each class
    held_out: int = 1000  # further training images, that choose learning rates and depths, a fifth of all at most
    test_images: int = 2000  # at most
    parameters: int = 10_000  # of every net, nearly
    depths: tuple[int, ...] = (1, 2, 4, 8)  # hidden layers, rising
    rates: tuple[float, ...] = (0.03, 0.1, 0.3)  # peaks of the learning rate
    seeds: int = 5  # 2 or more, from --seed on
    epochs: int = 15  # passes through the training images
    batch_size: int = 50  # images per step


class Found(NamedTuple):
    """Of one kind of net by depth: width, parameters and learning rate, and accuracies (depths, seeds)."""

    widths: tuple[int, ...]
    parameters: tuple[int, ...]
    rates: tuple[float, ...]
    held_out: np.ndarray
    accuracy: np.ndarray


def main(config: Config) -> Result:
    if config.quick:
        few = {"dataset": "digits", "per_class": 20, "held_out": 100, "test_images": 200, "parameters": 3000}
        config = dataclasses.replace(config, depths=config.depths[:2], rates=config.rates[:1], seeds=2, epochs=3, **few)
    where, depths = "depth", config.depths
    rising = len(depths) >= 2 and depths[0] >= 1 and all(a < b for a, b in itertools.pairwise(depths))
    expect(rising, where, "two depths or more, rising from 1", depths, "Pass 1 2 4, say.")
    expect(config.seeds >= 2, where, "at least 2 seeds", config.seeds, "One has no standard deviation.")
    config, of = parts(config)
    found = measured(config, of)
    best = {name: int(one.held_out.mean(axis=1).argmax()) for name, one in found.items()}
    gain = {name: summary((one.accuracy[best[name]] - one.accuracy[0]).tolist()) for name, one in found.items()}
    figures = {
        name: {
            "best_depth": depths[best[name]],
            "best_over_first": gain[name],
            "nets": [
                {"depth": d, "width": w, "parameters": p, "rate": r, "accuracy": summary(a.tolist())}
                for d, w, p, r, a in zip(depths, *one[:3], one.accuracy, strict=True)
            ],
        }
        for name, one in found.items()
    }
    told = "; ".join(
        f"{name} nets of {', '.join(map(str, depths))} hidden layers are right in "
        f"{', '.join(f'{100 * a.mean():.1f}' for a in one.accuracy)} %, {depths[best[name]]} over {depths[0]} brings "
        f"{in_points(gain[name])} points"
        for name, one in found.items()
    )
    answer = f"About {config.parameters:,} parameters each, {config.seeds} seeds: {told}."
    deeper = best["convolutional"] > 0 and gain["convolutional"]["interval"][0] > 0
    judgement = judge(config, answer, {"more convolutions beat one": deeper})
    headline = [report.Number(name, f"{depths[best[name]]}", "hidden layers are best") for name in found]
    return Result(figures, sections(config, found), *judgement, headline)


def dense(info: data.DatasetInfo, depth: int, width: int) -> layers.Sequential:
    """Return a net of equal dense layers."""
    body = models.mlp(len(info.class_names), units=(width,) * depth, batch_norm=True)
    return layers.Sequential(normalize=layers.Normalize(info.mean, info.std), **body.layers)


def convolutional(info: data.DatasetInfo, depth: int, width: int) -> layers.Sequential:
    """Return a net of equal 3x3 convolutions, with poolings after a third and two thirds of them."""
    parts: dict[str, Any] = {}
    after = {max(1, -(-depth // 3)): ["pool1"], max(1, -(-2 * depth // 3)): ["pool2"]}
    if depth == 1:
        after = {1: ["pool1", "pool2"]}
    for at in range(1, depth + 1):
        parts[f"conv{at}"] = layers.Conv(width, use_bias=False)
        parts[f"norm{at}"] = layers.BatchNorm()
        parts[f"act{at}"] = F.relu
        parts |= {name: layers.MaxPool(2) for name in after.get(at, [])}
    return layers.Sequential(
        normalize=layers.Normalize(info.mean, info.std),
        **parts,
        see=layers.AdaptiveAvgPool(2),
        flatten=layers.Flatten(),
        head=head(info),
    )


KINDS: dict[str, Callable[[data.DatasetInfo, int, int], layers.Sequential]] = {
    "dense": dense,
    "convolutional": convolutional,
}


def measured(config: Config, of: Parts) -> dict[str, Found]:
    """Return what is found of each kind of net; rates and seeds are lanes of one program."""
    found = {}
    for name, kind in KINDS.items():
        nets = []
        for depth in config.depths:
            make = lambda width, depth=depth, kind=kind: kind(of.info, depth, width)  # noqa: E731
            width, parameters = widest(make, of.spec, config.parameters)
            console.print(f"{name}, {depth} hidden layers of {width}: {parameters:,} parameters", markup=False)
            best = tuned(config, make(width), of)
            nets.append((width, parameters, best.rate, best.held_out, best.accuracy(of.test)))
        widths, parameters, rates, held_out, accuracy = zip(*nets, strict=True)
        found[name] = Found(widths, parameters, rates, np.stack(held_out), np.stack(accuracy))
    return found


def sections(config: Config, found: Mapping[str, Found]) -> list[report.Section]:
    """Return the picture and the table."""
    lines = {name: 100 * one.accuracy.T for name, one in found.items()}
    rows = [
        {
            "net": name,
            "hidden layers": str(depth),
            "width": str(width),
            "parameters": f"{parameters:,}",
            "learning rate": f"{rate:g}",
            "right": f"{mean_sd(100 * a)} %",
        }
        for name, one in found.items()
        for depth, width, parameters, rate, a in zip(config.depths, *one[:3], one.accuracy, strict=True)
    ]
    return [
        report.Section(
            "Depth",
            [
                report.Picture(
                    spread_lines("right, %", "hidden layers", config.depths, lines, logarithmic="x", ticks=True),
                    f"Test accuracy of nets with about {config.parameters:,} parameters each; mean and standard "
                    f"deviation of {config.seeds} seeds.",
                    "Lines of accuracy against the number of hidden layers, dense and convolutional.",
                ),
                report.Table(rows, f"Mean ± standard deviation of {config.seeds} seeds."),
            ],
        )
    ]


if __name__ == "__main__":
    run(main, Config)
