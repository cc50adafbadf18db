"""Which nonlinearity? Curves, slopes, dead units, and what nets learn with each in equally many steps.

`python -m experiments.activations` draws sigmoid, tanh, rectified linear units (ReLU), leaky ReLU, ELU and maxout with
their slopes, and trains nets with four hidden layers on images of Fashion-MNIST, equal but for the nonlinearity: five
seeds each (other images, other weights), several learning rates, all lanes of one program; the rate that is best on
held-out images counts. Units of the trained nets that give the same for all images, or sit where the slope is below a
hundredth, are counted. Without Fashion-MNIST (`$JAXCNN_DATA`) it takes the digits. What it promises: ReLU learns more
than sigmoid beyond the 95 % interval, and no leaky ReLU is dead. About 1 min on 2 cores.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.apparatus.few_images import Parts, parts, tuned
from experiments.apparatus.small_nets import head, size, widest
from experiments.apparatus.statistics import mean_sd, summary
from experiments.framework.device import console
from experiments.framework.runner import Common, Result, judge, run
from jaxcnn import data, layers, models, report, surgery, training
from jaxcnn import functional as F
from jaxcnn.checking import expect
from jaxcnn.report.canvas import BLUE, MUTED, ORANGE, drawing, figure, panel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FLAT = 0.01  # a slope below which a unit is saturated
PIECES = 2  # of maxout
MAXOUT = "maxout"
CURVES: dict[str, Callable[[jax.Array], jax.Array]] = {
    "sigmoid": F.sigmoid,
    "tanh": F.tanh,
    "ReLU": F.relu,
    "leaky ReLU": F.leaky_relu,
    "ELU": F.elu,
}


@dataclass(frozen=True)
class Config(Common):
    dataset: str | None = None  # one of jaxcnn.data.names(); None for fashion_mnist where it is, else digits
    per_class: int = 200  # training images of each class
    held_out: int = 1000  # further training images, that choose the learning rate, a fifth of all at most
    test_images: int = 2000  # at most
    units: int = 64  # of each hidden layer; of maxout so many that its net has as many parameters
    depth: int = 4  # hidden layers
    rates: tuple[float, ...] = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)  # peaks of the learning rate
    seeds: int = 5  # 2 or more, from --seed on
    epochs: int = 15  # passes through the training images
    batch_size: int = 50  # images per step


class Found(NamedTuple):
    """Of one nonlinearity its units in each layer and its best rate, and one value a seed."""

    units: int
    rate: float
    accuracy: np.ndarray
    dead: np.ndarray  # fraction of the units that give the same for all images
    flat: np.ndarray  # fraction of values where the slope is below FLAT


def main(config: Config) -> Result:
    if config.quick:
        few = {"dataset": "digits", "per_class": 20, "held_out": 100, "test_images": 200, "units": 16, "seeds": 2}
        config = dataclasses.replace(config, epochs=5, rates=config.rates[2:4], **few)
    where = "activations"
    expect(config.seeds >= 2, where, "at least 2 seeds", config.seeds, "One has no standard deviation.")
    expect(len(config.rates) >= 1 and min(config.rates) > 0, where, "positive rates", config.rates, "Pass 0.1, say.")
    expect(config.depth >= 1, where, "at least 1 hidden layer", config.depth, "4 are the default.")
    config, of = parts(config)
    found = measured(config, of)
    gain = summary((found["ReLU"].accuracy - found["sigmoid"].accuracy).tolist())
    figures = {
        "nets": {
            name: {
                "units": one.units,
                "learning_rate": one.rate,
                "accuracy": summary(one.accuracy.tolist()),
                "dead": summary(one.dead.tolist()),
                "flat": summary(one.flat.tolist()),
            }
            for name, one in found.items()
        },
        "relu_over_sigmoid": gain,
    }
    promises = {
        "ReLU learns more than sigmoid, beyond the 95 % interval": gain["interval"][0] > 0,
        "no leaky ReLU is dead": bool(found["leaky ReLU"].dead.max() == 0),
    }
    order = sorted(found, key=lambda name: -found[name].accuracy.mean())
    told = ", ".join(f"{name} {100 * found[name].accuracy.mean():.1f}" for name in order)
    answer = (
        f"{config.depth} hidden layers, {config.per_class} images of each class, {config.epochs} epochs, each with its "
        f"best learning rate, {config.seeds} seeds: % right {told}. Dead are {100 * found['ReLU'].dead.mean():.1f} % "
        f"of the ReLUs, {100 * found['leaky ReLU'].dead.mean():.1f} % of the leaky ones; "
        f"{100 * found['sigmoid'].flat.mean():.0f} % of the sigmoids' values lie where they are flat."
    )
    judgement = judge(config, answer, promises)
    headline = [report.Number(name, f"{100 * found[name].accuracy.mean():.1f} %", "right") for name in order[:3]]
    return Result(figures, sections(config, found), *judgement, headline)


def net(config: Config, info: data.DatasetInfo, name: str, units: int) -> layers.Sequential:
    """Return a net with hidden layers of this nonlinearity; maxout has pieces with weights of their own."""
    if name != MAXOUT:
        body = models.mlp(len(info.class_names), units=(units,) * config.depth, activation=CURVES[name])
        return layers.Sequential(normalize=layers.Normalize(info.mean, info.std), **body.layers)
    hidden = {f"hidden{at}": layers.Sequential(act=layers.Maxout(units, PIECES)) for at in range(1, config.depth + 1)}
    normalize = layers.Normalize(info.mean, info.std)
    return layers.Sequential(normalize=normalize, flatten=layers.Flatten(), **hidden, head=head(info))


def measured(config: Config, of: Parts) -> dict[str, Found]:
    """Return what is found with each nonlinearity; rates and seeds are lanes of one program."""
    most = size(net(config, of.info, next(iter(CURVES)), config.units), of.spec)
    found = {}
    for name in (*CURVES, MAXOUT):
        console.print(f"{name}:", markup=False)
        make = lambda units, name=name: net(config, of.info, name, units)  # noqa: E731
        units = widest(make, of.spec, most)[0] if name == MAXOUT else config.units
        best = tuned(config, make(units), of)
        dead, flat = np.array([looked_into(best.net, state, of.test, config, name) for state in best.states()]).T
        found[name] = Found(units, best.rate, best.accuracy(of.test), dead, flat)
    return found


def looked_into(
    model: layers.Sequential, state: training.TrainState, test_set: data.Dataset, config: Config, name: str
) -> tuple[float, float]:
    """Return the fraction of a net's dead units, and of values at places of slope below FLAT."""
    x = jnp.asarray(test_set["image"], jnp.float32) / 255
    after = [f"hidden{at}/act" for at in range(1, config.depth + 1)]
    _, outputs = surgery.activations(model, state.params, state.model_state, x, after)
    dead = np.mean([np.asarray(jnp.ptp(y, axis=0) == 0).mean() for y in outputs.values()])
    if name == MAXOUT:
        return float(dead), 0.0  # its slope is that of the largest piece
    before = [f"hidden{at}/dense" for at in range(1, config.depth + 1)]
    _, inputs = surgery.activations(model, state.params, state.model_state, x, before)
    slope = jax.vmap(jax.grad(CURVES[name]))
    flat = np.mean([np.asarray(jnp.abs(slope(z.ravel())) < FLAT).mean() for z in inputs.values()])
    return float(dead), float(flat)


def sections(config: Config, found: Mapping[str, Found]) -> list[report.Section]:
    """Return the pictures and the table."""
    rows = [
        {
            "nonlinearity": name,
            "units a layer": str(one.units),
            "best learning rate": f"{one.rate:g}",
            "right": f"{mean_sd(100 * one.accuracy)} %",
            "dead units": f"{100 * one.dead.mean():.1f} %",
            "values where it is flat": f"{100 * one.flat.mean():.1f} %",
        }
        for name, one in found.items()
    ]
    dots = {name: (100 * one.accuracy).tolist() for name, one in found.items()}
    return [
        report.Section(
            "Curves",
            [
                report.Picture(
                    curves_picture(),
                    "Each nonlinearity (blue) and its slope (orange, dashed). Maxout is the largest of several linear "
                    "functions that are learned; drawn is one that has learned the absolute value.",
                    "Six panels of curves with their slopes.",
                )
            ],
        ),
        report.Section(
            "Nets",
            [
                report.Picture(
                    report.seed_dots(dots, quantity="right, %", decimals=1, reference="ReLU"),
                    f"Test accuracy after {config.epochs} epochs, each with its best learning rate: a dot a seed, mean "
                    f"± standard deviation. Maxout has {PIECES} sets of weights for a unit, and fewer units.",
                    "Dots of accuracy, a line for each nonlinearity.",
                ),
                report.Table(
                    rows,
                    f"Mean ± standard deviation of {config.seeds} seeds. Dead: the same for all test images. Flat: a "
                    f"slope below {FLAT:g}.",
                ),
            ],
        ),
    ]


@drawing
def curves_picture() -> "Figure":
    """Return a panel for each nonlinearity, with its slope."""
    blank = figure(4.0)
    z = jnp.linspace(-4, 4, 401)
    shown = {**CURVES, MAXOUT: jnp.abs}
    for axes, (name, fn) in zip(np.ravel(blank.subplots(2, 3, sharex=True)), shown.items(), strict=True):
        panel(axes, name)
        axes.plot(z, fn(z), color=BLUE, linewidth=1.8)
        axes.plot(z, jax.vmap(jax.grad(fn))(z), color=ORANGE, linewidth=1.4, linestyle=(0, (4, 2)))
        axes.axvline(0, color=MUTED, linewidth=0.6)
        axes.set_ylim(-1.4, 2.2)
    return blank


if __name__ == "__main__":
    run(main, Config)
