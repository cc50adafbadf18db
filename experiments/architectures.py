"""Which architecture learns the most from the same few steps, and what does it cost?

`python -m experiments.architectures` takes a small form of the families of `jaxcnn.models` that have one, for images
of 28 pixels, and trains each on Fashion-MNIST (the digits, enlarged, where it is missing) with the same steps, images,
optimizer and learning rate: a short budget in which nobody is tuned. It writes parameters, multiply-adds of one image,
the time of a training step and test accuracy, mean and standard deviation over seeds, and a scatter plot. It promises
that convolutions pay: the best net is one, and beats the multilayer perceptron, seed by seed, with further seeds, as
the best of many is best by chance, too. `--nets resnet18` takes models by name as they are. About 19 min on 2 cores.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np
import optax

from experiments.apparatus.image_sets import loaded
from experiments.apparatus.statistics import better, mean_sd, summary
from experiments.framework.device import console
from experiments.framework.runner import Common, Result, judge, run
from jaxcnn import data, layers, models, report, training
from jaxcnn.checking import expect
from jaxcnn.layers.layer import Spec
from jaxcnn.report.canvas import BLUE, MUTED, ORANGE, drawing, figure, panel, style
from jaxcnn.summary import summarize

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# A small form of each family that has one, below 200 M multiply-adds: its label, its name and options.
FORMS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "perceptron": ("perceptron", {}),
    "MLP": ("mlp", {}),
    "LeNet-5": ("lenet5", {"classic": False}),
    "NiN": ("network_in_network", {}),
    "VGG": ("cifar_vgg", {"width": 16}),
    "All-CNN": ("all_convolutional", {"width": 24}),
    "ResNet-20": ("cifar_resnet20", {}),
    "pre-act ResNet-20": ("cifar_preact_resnet20", {}),
    "WRN-16": ("wide_resnet16_4", {"width": 8}),
    "ResNeXt": ("resnext29_8x64d", {"width": 32, "group_width": 4}),
    "SE-ResNet": ("se_resnet18", {"small_images": True, "width": 8}),
    "DenseNet": ("cifar_densenet100", {"growth": 4}),
    "SqueezeNet": ("squeezenet1_1", {"small_images": True}),
    "MobileNet v1": ("mobilenet_v1", {"small_images": True, "width": 0.5}),
    "MobileNet v2": ("mobilenet_v2", {"small_images": True, "width": 0.5}),
    "ShuffleNet v2": ("shufflenet_v2_x0_5", {"small_images": True}),
    "EfficientNet": ("efficientnet_b0", {"small_images": True, "width": 0.35}),
    "ConvNeXt": ("convnext_tiny", {"small_images": True, "width": 24, "blocks": (1, 1, 3, 1)}),
}
LEAST = 28  # pixels across that all of them take
MULTILAYER = ("MLP", "mlp")
PLAIN = ("perceptron", *MULTILAYER)


@dataclass(frozen=True)
class Config(Common):
    dataset: str | None = None  # fashion_mnist where it is, else digits
    nets: tuple[str, ...] = ()  # models by name; small forms of the families unless given
    steps: int = 120  # of every training
    batch_size: int = 64  # images per step
    learning_rate: float = 2e-3  # peak of Adam's: warm-up over a tenth, then half a cosine
    test_images: int = 2000  # at most
    seeds: int = 3  # other weights, images and orders; 2 or more
    further_seeds: int = 10  # with which the best is compared with the multilayer perceptron; 2 or more


class Net(NamedTuple):
    """A net and what came of it."""

    label: str
    parameters: int
    multiply_adds: int
    step_ms: float
    accuracy: np.ndarray  # (seeds,)


def main(config: Config) -> Result:
    if config.quick:
        few = config.nets or ("perceptron", "mlp", "lenet5")
        config = dataclasses.replace(config, nets=few, steps=4, batch_size=8, test_images=100, seeds=2, further_seeds=2)
    for name in ("seeds", "further_seeds"):
        value = getattr(config, name)
        expect(value >= 2, "architectures", f"at least 2 {name}", value, "One has no standard deviation.")
    expect(config.steps >= 2, "architectures", "at least 2 steps", config.steps, "The first one is slow.")
    chosen = {name: (name, {}) for name in config.nets} or FORMS
    made = {label: models.create(name, **options) for label, (name, options) in chosen.items()}
    train, test = loaded(config.dataset, "fashion_mnist", "digits")
    test = test.take(np.arange(min(config.test_images, test.size)))
    key, found = jax.random.key(config.seed), []
    nets = {label: with_pixels(net, train.info, train.spec) for label, net in made.items()}
    for label, net in nets.items():
        found.append(measured(config, label, net, train, test, jax.random.split(key, config.seeds)))
        console.print(line(found[-1]), markup=False)
    best = ranked(found)[0]
    rivals = [label for label in nets if label in MULTILAYER and label != best.label]
    keys = jax.random.split(jax.random.fold_in(key, 1), config.further_seeds)
    pair = [best.label, rivals[0]] if rivals else []
    again = {label: measured(config, label, nets[label], train, test, keys).accuracy for label in pair}
    ahead = best.label not in PLAIN and (not again or better(*again.values()))
    told = f"{best.label} is the best with {100 * best.accuracy.mean():.1f} %"
    if again:
        means = " and ".join(f"{label} {mean_sd(100 * values)} %" for label, values in again.items())
        told += f"; with {config.further_seeds} further seeds {means}"
    verdict = f"{config.steps} steps of {config.batch_size} images of {train.info.name}: {told}."
    judgement = judge(config, verdict, {"a convolutional net ahead of the plain ones": ahead})
    figures = {
        net.label: {**net._asdict(), "accuracy": summary(net.accuracy.tolist()), "model": as_json(chosen[net.label])}
        for net in found
    }
    figures["further_seeds"] = {label: summary(values.tolist()) for label, values in again.items()}
    how = (
        f"Adam with a peak of {config.learning_rate:g}, {config.steps} steps of {config.batch_size} images, "
        f"{config.seeds} seeds, no augmentation; tested on {test.size:,} images. The options of each net are in "
        "figures.json. A step was timed on this device, with nothing else compared in turns."
    )
    picture = report.Picture(
        scatter(found),
        "Test accuracy against multiply-adds of one image; the area is the number of parameters.",
        "A dot for each net: test accuracy against multiply-adds.",
    )
    section = report.Section("Accuracy and cost", [picture, report.Table(list(map(row, ranked(found)))), how])
    headline = [
        report.Number(net.label, f"{100 * net.accuracy.mean():.1f} %", f"{net.parameters:,} parameters")
        for net in ranked(found)[:3]
    ]
    return Result(figures, [section], *judgement, headline)


def with_pixels(net: layers.Layer, info: data.DatasetInfo, spec: Spec) -> layers.Sequential:
    """Return the net behind a layer that normalises pixels, and one that enlarges images smaller than `LEAST`."""
    factor = -(-LEAST // min(spec.shape[1:3]))
    enlarge = {"enlarge": layers.Upsample(factor)} if factor > 1 else {}
    return layers.Sequential(normalize=layers.Normalize(info.mean, info.std), **enlarge, net=net)


def measured(
    config: Config, label: str, net: layers.Sequential, train: data.Dataset, test: data.Dataset, keys: jax.Array
) -> Net:
    """Return what the net costs, and what it reaches with each key."""
    told = summarize(net, train.spec)
    optimizer = optax.adam(training.warmup_cosine(config.learning_rate, config.steps))
    step = jax.jit(training.make_train_step(net, optimizer), donate_argnums=0)
    accuracy, seconds = [], []
    for key in keys:
        state_key, order_key = jax.random.split(key)
        state = training.TrainState.create(net, optimizer, state_key, train.spec)
        state, took = trained(step, state, batches(config, train, order_key))
        seconds += took
        accuracy.append(training.evaluate(net, state.params, state.model_state, test)["accuracy"])
    return Net(label, told.parameters, told.multiply_adds, 1e3 * float(np.median(seconds)), np.array(accuracy))


def batches(config: Config, train: data.Dataset, key: jax.Array) -> list[dict[str, np.ndarray]]:
    """Return the same number of batches for every net and seed; of too few images one order again and again."""
    rows = np.asarray(jax.random.permutation(key, train.size))
    rows = np.resize(rows, (config.steps, config.batch_size))
    return [{"image": train["image"][at], "label": train["label"][at]} for at in rows]


def trained(step: Callable, state: Any, given: list[dict[str, np.ndarray]]) -> tuple[Any, list[float]]:
    """Return the state after all batches, and the seconds of each step but the first."""
    seconds = []
    for batch in given:
        began = time.perf_counter()
        state, _ = step(state, batch)
        jax.block_until_ready(state.params)
        seconds.append(time.perf_counter() - began)
    return state, seconds[1:]


def ranked(found: list[Net]) -> list[Net]:
    """Return the best net first."""
    return sorted(found, key=lambda net: -float(net.accuracy.mean()))


def row(net: Net) -> dict[str, Any]:
    """Return a row of the table."""
    return {
        "net": net.label,
        "parameters": f"{net.parameters:,}",
        "multiply-adds, M": round(net.multiply_adds / 1e6, 2),
        "step, ms": round(net.step_ms, 1),
        "test accuracy, %": mean_sd(100 * net.accuracy),
    }


def line(net: Net) -> str:
    """Return what the console says of a net."""
    return (
        f"{net.label:<18} {net.parameters:>11,} parameters  {net.multiply_adds / 1e6:>8.2f} M multiply-adds  "
        f"{net.step_ms:>7.1f} ms  {100 * net.accuracy.mean():.1f} %"
    )


def as_json(form: tuple[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the name and the options of a net, as JSON has them."""
    return {"name": form[0], "options": {n: list(v) if isinstance(v, tuple) else v for n, v in form[1].items()}}


@drawing
def scatter(found: list[Net]) -> "Figure":
    """Return accuracy against multiply-adds, areas by parameters."""
    blank = figure(4.6)
    axes = panel(blank.subplots(), "test accuracy, %")
    axes.set_xscale("log")
    most, best = max(net.parameters for net in found), ranked(found)[0]
    places = [(net.multiply_adds, 100 * float(net.accuracy.mean())) for net in found]
    for net, (x, y) in zip(found, places, strict=True):
        colour = MUTED if net.label in PLAIN else ORANGE if net is best else BLUE
        axes.scatter([x], [y], s=12 + 260 * math.sqrt(net.parameters / most), color=colour, alpha=0.55, linewidths=0)
    axes.margins(0.12)
    blank.canvas.draw()
    taken: list[tuple[float, float]] = []
    for net, place in sorted(zip(found, places, strict=True), key=lambda item: -item[1][1]):
        x, y = axes.transData.transform(place)
        while any(abs(x - a) < 80 and abs(y - b) < 11 for a, b in taken):  # names do not lie upon each other
            y -= 3
        taken.append((x, y))
        at: Any = axes.transData.inverted().transform((x, y))
        axes.annotate(net.label, at, (5, 0), textcoords="offset points", va="center", **style(MUTED))
    axes.set_xlabel("multiply-adds of one image", **style(MUTED))
    return blank


if __name__ == "__main__":
    run(main, Config)
