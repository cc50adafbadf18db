"""Deep or shallow, with equally many parameters? Nets of one to eight hidden layers, dense and convolutional.

`python -m experiments.depth` trains nets whose widths are chosen so that all have nearly the same number of parameters,
on images of Fashion-MNIST, five seeds each: other images, other weights. Dense nets have equal hidden layers;
convolutional ones 3x3 convolutions before, between and after two poolings. All have batch norm, without which depth is
hard to train. The learning rate that is best on held-out images counts. Without Fashion-MNIST (`$JAXCNN_DATA`) it
takes the digits. What it promises: among convolutional nets several layers beat one, beyond the 95 % interval. What
depth brings to dense ones, it says. About 4 min on 2 cores.
"""

import dataclasses
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.device import console
from experiments.few_images import accuracies, drawn, head, loaded, some
from experiments.lines import spread_lines
from experiments.progress import LanesBar
from experiments.runner import Common, Result, judge, run
from experiments.statistics import summary
from jaxcnn import data, layers, models, report, search, training
from jaxcnn import functional as F
from jaxcnn.checking import expect


@dataclass(frozen=True)
class Config(Common):
    dataset: str | None = None  # one of jaxcnn.data.names(); None for fashion_mnist where it is, else digits
    per_class: int = 200  # training images of each class
    held_out: int = 1000  # further training images, that choose the learning rate
    test_images: int = 2000  # at most
    parameters: int = 30_000  # of every net, nearly
    depths: tuple[int, ...] = (1, 2, 4, 8)  # hidden layers, rising
    rates: tuple[float, ...] = (0.03, 0.1)  # peaks of the learning rate
    seeds: int = 5  # 2 or more, from --seed on
    epochs: int = 12  # passes through the training images
    batch_size: int = 50  # images per step


class Found(NamedTuple):
    """Of one kind of net by depth: widths, parameters, and accuracy (depths, seeds)."""

    widths: tuple[int, ...]
    parameters: tuple[int, ...]
    accuracy: np.ndarray


def main(config: Config) -> Result:
    if config.quick:
        few = {"dataset": "digits", "per_class": 20, "held_out": 100, "test_images": 200, "parameters": 3000}
        config = dataclasses.replace(config, depths=config.depths[:2], rates=config.rates[:1], seeds=2, epochs=3, **few)
    where, depths = "depth", config.depths
    rising = len(depths) >= 2 and depths[0] >= 1 and all(a < b for a, b in itertools.pairwise(depths))
    expect(rising, where, "two depths or more, rising from 1", depths, "Pass 1 2 4, say.")
    expect(config.seeds >= 2, where, "at least 2 seeds", config.seeds, "One has no standard deviation.")
    found = measured(config)
    best = {name: int(one.accuracy.mean(axis=1).argmax()) for name, one in found.items()}
    gain = {name: summary((one.accuracy[best[name]] - one.accuracy[0]).tolist()) for name, one in found.items()}
    figures = {
        name: {
            "best_depth": depths[best[name]],
            "best_over_first": gain[name],
            "nets": [
                {"depth": d, "width": w, "parameters": p, "accuracy": summary(a.tolist())}
                for d, w, p, a in zip(depths, one.widths, one.parameters, one.accuracy, strict=True)
            ],
        }
        for name, one in found.items()
    }
    told = "; ".join(
        f"{name} nets of {', '.join(map(str, depths))} hidden layers are right in "
        f"{', '.join(f'{100 * a.mean():.1f}' for a in one.accuracy)} %, {depths[best[name]]} over {depths[0]} brings "
        f"{100 * gain[name]['interval'][0]:+.1f} to {100 * gain[name]['interval'][1]:+.1f} points"
        for name, one in found.items()
    )
    answer = f"About {config.parameters:,} parameters each, {config.seeds} seeds: {told}."
    deeper = best["convolutional"] > 0 and gain["convolutional"]["interval"][0] > 0
    judgement = judge(config, answer, {"more convolutions beat one": deeper})
    headline = [
        report.Number(name, f"{depths[best[name]]}", "hidden layers are best") for name in found
    ]  # fmt: skip
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


def widest(make: Callable[[int], layers.Sequential], spec: jax.ShapeDtypeStruct, most: int) -> tuple[int, int]:
    """Return the largest width whose net has at most so many parameters, 1 at least, and how many it has."""

    def size(width: int) -> int:
        params, _ = jax.eval_shape(make(width).init, jax.random.key(0), spec)
        return sum(leaf.size for leaf in jax.tree.leaves(params))

    low, high = 1, 2
    while size(high) <= most:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if size(middle) <= most else (low, middle)
    return low, size(low)


def measured(config: Config) -> dict[str, Found]:
    """Return what is found of each kind of net; rates and seeds are lanes of one program."""
    train_set, test_set = loaded(config.dataset, "fashion_mnist", "digits")
    images_key, test_key, split_key, key = jax.random.split(jax.random.key(config.seed), 4)
    order = np.asarray(jax.random.permutation(split_key, train_set.size))
    held_out, rest = (train_set.take(np.sort(part)) for part in np.split(order, [config.held_out]))
    test_set = some(test_set, config.test_images, test_key)
    few, examples = drawn(rest, (config.per_class,), jax.random.split(images_key, config.seeds))
    steps = max(config.epochs * (examples.shape[1] // config.batch_size), 1)
    make = lambda rate: training.sgd(training.warmup_cosine(rate, steps))  # noqa: E731
    found = {}
    for name, kind in KINDS.items():
        sizes, rows = [], []
        for depth in config.depths:
            width, parameters = widest(
                lambda w, d=depth, k=kind: k(train_set.info, d, w), train_set.spec, config.parameters
            )
            net = kind(train_set.info, depth, width)
            console.print(f"{name}, {depth} hidden layers of {width}: {parameters:,} parameters", markup=False)
            with LanesBar(console) as bar:
                lanes = search.sweep(
                    net, few, over={"rate": config.rates}, restarts=config.seeds, examples=examples, optimizer=make,
                    epochs=config.epochs, batch_size=config.batch_size, key=key, callbacks=[bar],
                )  # fmt: skip
            shape = (len(config.rates), config.seeds)
            best = int(accuracies(net, lanes, held_out).reshape(shape).mean(axis=1).argmax())
            rows.append(accuracies(net, lanes, test_set).reshape(shape)[best])
            sizes.append((width, parameters))
        widths, parameters = zip(*sizes, strict=True)
        found[name] = Found(widths, parameters, np.stack(rows))
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
            "right": f"{100 * a.mean():.1f} ± {100 * a.std(ddof=1):.1f} %",
        }
        for name, one in found.items()
        for depth, width, parameters, a in zip(config.depths, one.widths, one.parameters, one.accuracy, strict=True)
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
