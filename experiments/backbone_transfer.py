"""With few labelled scenes, what is a classifier's backbone worth to masks and boxes?

`python -m experiments.backbone_transfer` trains a small ResNet to name the largest object of 4,000 scenes, a label an
image. Its stages then stand in an FCN and in a CenterNet (`transfer.load_backbone`), which see 20, 50 or 200 scenes
with masks or boxes, in three ways: from scratch, with all layers training, and with the backbone frozen. All make
equally many steps, and each way has the learning rate of three that does best on other scenes, before the test scenes
are looked at. There is one classifier; the seeds are other labelled scenes and orders, and from scratch other weights.
What it promises: with the fewest scenes, the classifier's backbone beats training from scratch in both tasks. About 6
min on 2 cores.

Source: Long et al. 2015, section 4.1, and Girshick et al. 2014, section 2.3: nets for dense tasks begin with the
weights of a classifier.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from experiments.apparatus.few_images import by_size, expect_sizes, trained
from experiments.apparatus.lines import spread_lines
from experiments.apparatus.scene_tasks import CLASSES, Task, classifier, decoded, drawn, said, tasks
from experiments.apparatus.statistics import better, mean_sd
from experiments.framework.device import console
from experiments.framework.progress import ProgressBar
from experiments.framework.runner import Common, Result, judge, run
from jaxcnn import augment, data, report, training, transfer
from jaxcnn.checking import expect

SCRATCH, TUNED, FROZEN = "from scratch", "backbone, tuned", "backbone, frozen"
SHOWN = 4  # test scenes in the pictures
CLEAR = 0.3  # the least score of a box in pictures
FLIPPED = augment.batched(augment.flip)
ADAMW = partial(optax.adamw, weight_decay=1e-2)


@dataclass(frozen=True)
class Config(Common):
    sizes: tuple[int, ...] = (20, 50, 200)  # scenes with masks or boxes, rising, divisors of the last
    seeds: int = 4  # other scenes, orders and, from scratch, weights; 2 or more
    source_scenes: int = 4000  # with a label each, to learn the backbone from
    source_epochs: int = 6  # passes through them
    held_out: int = 100  # scenes that rates are chosen on
    test_scenes: int = 200
    steps: int = 200  # of every training with few scenes
    batch_size: int = 20  # scenes per step
    rates: tuple[float, ...] = (1e-3, 3e-3, 1e-2)  # AdamW's, after a warm-up, falling to 0 along half a cosine
    width: int = 8  # maps of the first stage; each later one has twice as many


class Sets(NamedTuple):
    """What the trainings see: each lane's scenes are numbers into `pool`."""

    pool: data.Dataset
    lanes: np.ndarray  # (sizes * seeds, most), of each size one a seed
    held: data.Dataset
    test: data.Dataset


class Measured(NamedTuple):
    """What a way reaches on the test scenes, (seeds, sizes), with which rate, and its first lane's outputs."""

    values: np.ndarray
    rate: float
    outputs: np.ndarray  # of the first test scenes, by the net that saw the fewest


def main(config: Config) -> Result:
    if config.quick:
        few = {"sizes": (10, 20), "seeds": 2, "source_scenes": 256, "source_epochs": 1, "test_scenes": 16}
        config = dataclasses.replace(config, **few, steps=4, rates=(3e-3,), width=4)
    where = "backbone_transfer"
    expect_sizes(where, config.sizes)
    expect(config.seeds >= 2, where, "at least 2 seeds", config.seeds, "One has no standard deviation.")
    expect(len(config.rates) > 0, where, "at least one rate", config.rates, "Pass 0.003, say.")
    ok = config.batch_size <= config.sizes[-1]
    expect(ok, where, f"batches of at most the {config.sizes[-1]} scenes", config.batch_size, "Lower batch_size.")
    source_key, pool_key, held_key, test_key, fit_key, key = jax.random.split(jax.random.key(config.seed), 6)
    source = drawn(source_key, config.source_scenes)
    sets = Sets(
        drawn(pool_key, (config.seeds + 1) * config.sizes[-1]), lanes_of(config), drawn(held_key, config.held_out),
        drawn(test_key, config.test_scenes),
    )  # fmt: skip
    net = classifier(source.info, config.width)
    with ProgressBar(console) as bar:
        known = training.fit(
            net, source, epochs=config.source_epochs, key=fit_key, augment=FLIPPED, callbacks=[bar]
        ).state
    accuracy = training.evaluate(net, known.params, known.model_state, sets.test)["accuracy"]
    weights = known.params, known.model_state
    found = {task: measured(config, task, weights, sets, key) for task in tasks(source.info, config.width)}
    return told(config, sets, accuracy, found)


def lanes_of(config: Config) -> np.ndarray:
    """Return which scenes of the pool each lane has: of each seed the first ones of its own, again and again."""
    most = config.sizes[-1]
    return np.stack([np.resize(np.arange(n) + seed * most, most) for n in config.sizes for seed in range(config.seeds)])


def measured(config: Config, task: Task, weights: Any, sets: Sets, key: jax.Array) -> dict[str, Measured]:
    """Return what each way of training reaches, with the rate that does best on held-out scenes."""
    init_key, choice_key, key = jax.random.split(key, 3)
    start, loaded = transfer.load_backbone(task.net.init(init_key, sets.pool.spec), weights)
    ways: dict[str, dict[str, Any]] = {
        SCRATCH: {},
        TUNED: {"start": start},
        FROZEN: {"start": start, "freeze": loaded.layers},
    }
    learn = partial(trained, config, task.net, sets.pool, loss=task.loss, augment=FLIPPED, optimizer=ADAMW)
    most, middle = config.sizes[-1], config.sizes[len(config.sizes) // 2]
    tried = np.resize(np.arange(middle) + config.seeds * most, most)[None]  # no lane's scenes
    found = {}
    for way, options in ways.items():
        rate = config.rates[0]
        if len(config.rates) > 1:
            choice = learn(tried, config.rates, choice_key, **options)
            held = [
                task.measure(said(task, choice.state(lane), sets.held["image"]), sets.held)
                for lane in range(len(choice))
            ]
            rate = config.rates[int(np.nanargmax(held))]
        lanes = learn(sets.lanes, [rate], key, **options)
        each = [said(task, lanes.state(lane), sets.test["image"]) for lane in range(len(lanes))]
        values = np.array([task.measure(one, sets.test) for one in each]).reshape(len(config.sizes), config.seeds).T
        found[way] = Measured(values, rate, each[0][:SHOWN])
        reached = np.round(values.mean(axis=0), 3)
        console.print(f"{task.name:<14}{way:<20}rate {rate:g}  {task.quantity}: {reached}", markup=False)
    return found


def told(config: Config, sets: Sets, accuracy: float, found: Mapping[Task, Mapping[str, Measured]]) -> Result:
    """Return the page and what it says."""
    sizes, few = config.sizes, config.sizes[0]
    figures: dict[str, Any] = {"classifier_accuracy": accuracy, "test_scenes": config.test_scenes}
    helped, parts, headline = {}, [], []
    for task, ways in found.items():
        scratch = ways[SCRATCH].values
        others = {way: one.values for way, one in ways.items() if way != SCRATCH}
        enough = partial(better, others=scratch[:, 0], comparisons=len(others))  # one of them is enough
        helped[task] = [way for way, values in others.items() if enough(values[:, 0])]
        figures[task.name] = {
            "quantity": task.quantity,
            "reached": {way: by_size(sizes, one.values) for way, one in ways.items()},
            "over_scratch": {way: by_size(sizes, values - scratch) for way, values in others.items()},
            "rate": {way: one.rate for way, one in ways.items()},
        }
        ends = [f"{way} {v[:, 0].mean():.3f} and {v[:, -1].mean():.3f}" for way, (v, *_) in ways.items()]
        parts.append(
            f"{task.name} ({task.quantity}) with {few} and {sizes[-1]} scenes: {', '.join(ends)}; with {few} better "
            f"than from scratch beyond the 95 % interval: {' and '.join(helped[task]) or 'none'}"
        )
        best = max(values[:, 0].mean() for values in others.values())
        text = f"{task.quantity} with {few} scenes, from scratch and with a backbone"
        headline.append(report.Number(task.name, f"{scratch[:, 0].mean():.2f} and {best:.2f}", text))
    sections = [section(config, sets, task, ways) for task, ways in found.items()]
    known = f"From a classifier that names {accuracy:.0%} of the test scenes rightly, {config.seeds} seeds"
    answer = f"{known}. {'. '.join(parts)}."
    judgement = judge(config, answer, {f"with {few} scenes the backbone helps in both tasks": all(helped.values())})
    return Result(figures, sections, *judgement, headline)


def section(config: Config, sets: Sets, task: Task, ways: Mapping[str, Measured]) -> report.Section:
    """Return what is shown of a task."""
    lines = spread_lines(
        task.quantity, "scenes with masks or boxes", config.sizes, {way: one.values for way, one in ways.items()},
        logarithmic="x", ticks=True,
    )  # fmt: skip
    rows = [
        {"scenes": n, **{way: mean_sd(one.values[:, at], 3) for way, one in ways.items()}}
        for at, n in enumerate(config.sizes)
    ]
    curves = report.Picture(
        lines,
        f"{config.test_scenes} test scenes: mean of {config.seeds} seeds, a band of one standard deviation; "
        f"{config.steps} steps of {config.batch_size} scenes for all.",
        f"Lines of {task.quantity} against labelled scenes, one for each way of training.",
    )
    drawn_by = {"segmentation": masks, "detection": boxes}[task.name]
    return report.Section(task.name.capitalize(), [curves, report.Table(rows), drawn_by(config, sets.test, ways)])


def masks(config: Config, test: data.Dataset, ways: Mapping[str, Measured]) -> report.Picture:
    """Return the masks of the nets that saw the fewest scenes."""
    shown = [(n, way) for n in range(min(SHOWN, test.size)) for way in (SCRATCH, TUNED)]
    at = [n for n, _ in shown]
    found = np.stack([ways[way].outputs[n].argmax(-1) for n, way in shown]).astype(np.int32)
    truth, captions = test["object_mask"][at].astype(np.int32), [way for _, way in shown]
    drawing = report.masks(test["image"][at], truth, found, ("ground", *CLASSES), captions)
    text = f"The first test scenes by nets that saw {config.sizes[0]} masks: left from scratch, right with a backbone."
    return report.Picture(drawing, text, "Scenes beside their true masks and those of two nets, in colours of classes.")


def boxes(config: Config, test: data.Dataset, ways: Mapping[str, Measured]) -> report.Picture:
    """Return the boxes of the nets that saw the fewest scenes."""
    shown = [(n, way) for way in (SCRATCH, TUNED) for n in range(min(SHOWN, test.size))]
    rows = {way: decoded(one.outputs).rows(CLEAR) for way, one in ways.items()}
    found = [rows[way][n] for n, way in shown]
    truth = [{name: test[name][n] for name in ("boxes", "box_class")} for n, _ in shown]
    images, captions = test["image"][[n for n, _ in shown]], [way for _, way in shown]
    drawing = report.boxes(images, truth, found, CLASSES, captions)
    text = (
        f"The first test scenes by nets that saw the boxes of {config.sizes[0]} scenes, from scratch above and with a "
        f"backbone below: true boxes in blue dashes, those of a score of {CLEAR} or more in orange."
    )
    return report.Picture(drawing, text, "Scenes with outlines of true and found boxes.")


if __name__ == "__main__":
    run(main, Config)
