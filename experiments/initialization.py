"""Through how many layers does a signal survive its weights? Variance forward and back through a deep untrained net.

`python -m experiments.initialization` sends noise through 50 convolutions 3x3 of 64 maps, and gradients back, for each
way to draw the weights and each nonlinearity. The maps are 8x8 and wrap around, so that no edge drains the signal.
What it promises: weights of variance 2 / fan_in keep the signal of ReLU layers (He et al. 2015), 1 / fan_in halves it
in each; delta-orthogonal weights hand a linear signal on as it is (Xiao et al. 2018); LSUV gives every layer variance
1 (Mishkin and Matas 2016). Some 10 s on 2 cores.
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import jax
import numpy as np

from experiments.apparatus import statistics
from experiments.apparatus.deep_net import ACTIVATIONS, SMALL, Variances, measured
from experiments.framework.device import console
from experiments.framework.runner import Common, Result, judge, run
from jaxcnn import report
from jaxcnn.checking import expect
from jaxcnn.report.canvas import BLUE, INK, MUTED, ORANGE, drawing, figure, panel, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Colour, dashes and width: many lines coincide, and the thin ones are drawn upon the thick ones.
LINES = {
    "he_normal": (BLUE, "-", 2.6),
    "glorot_normal": (ORANGE, "-", 3.8),
    "lecun_normal": (INK, (0, (1, 5)), 1.3),
    "orthogonal": ("#e69f00", (0, (6, 6)), 2.6),
    "orthogonal, gain": ("#009e73", (0, (4, 4)), 1.8),
    "delta_orthogonal": ("#cc79a7", (3, (3, 9)), 2.6),
    "LSUV": ("#8c6bb1", "-", 3.4),
    "he_normal, batch norm": (MUTED, (0, (2, 3)), 1.6),
}


@dataclass(frozen=True)
class Config(Common):
    activation: Literal["all", "relu", "tanh", "linear"] = "all"  # nonlinearity after each convolution
    depth: int = 50  # layers, 2..100
    width: int = 64  # maps of each layer
    size: int = 8  # pixels across a map
    images: int = 8  # in the batch
    seeds: int = 5  # draws of all weights, 2 or more


def main(config: Config) -> Result:
    if config.quick:
        depth, images, seeds = min(config.depth, 20), min(config.images, 4), min(config.seeds, 3)
        config = dataclasses.replace(config, depth=depth, images=images, seeds=seeds)
    expect(2 <= config.depth <= 100, "initialization", "a depth of 2..100", config.depth, "Deeper nets leave float32.")
    expect(config.width >= 16, "initialization", "at least 16 maps", config.width, "Narrower nets are left to chance.")
    expect(config.seeds >= 2, "initialization", "at least 2 seeds", config.seeds, "One has no standard deviation.")
    names = list(ACTIVATIONS) if config.activation == "all" else [config.activation]
    found = measure(config, names)
    promises = promised(found, tolerance(config))
    figures = {name: {scheme: summary(v) for scheme, v in lines.items()} for name, lines in found.items()}
    rows = [row(name, scheme, v) for name, lines in found.items() for scheme, v in lines.items()]
    shown = {name: lines for name, lines in found.items() if name in ACTIVATIONS}
    forward = {name: {scheme: v.forward for scheme, v in lines.items()} for name, lines in shown.items()}
    back = {name: {s: v.backward / v.backward[:, -1:] for s, v in lines.items()} for name, lines in shown.items()}
    sections = [
        report.Section(
            "Variance",
            [
                report.Picture(
                    pictured(forward),
                    f"Forward: variance of what enters each nonlinearity, geometric mean of {config.seeds} seeds.",
                    "Lines of variance against layer, one for each initializer, a panel for each nonlinearity.",
                ),
                report.Picture(
                    pictured(back),
                    "Back: variance of the gradient of each layer's output, relative to the last layer's.",
                    "Lines of gradient variance against layer, one for each initializer.",
                ),
            ],
        ),
        report.Section(
            "What is left",
            [
                f"Variance at layer {config.depth} over that at layer 1, and of the gradient at layer 1 over that at "
                f"layer {config.depth}: geometric mean of {config.seeds} seeds, ×/÷ the factor one standard deviation "
                "away. Inputs and outputs are equally many here, so Glorot's draw is LeCun's.",
                report.Table(rows),
            ],
        ),
    ]
    verdict = sentence(config, found)
    judgement = judge(config, verdict, facts=promises)
    return Result(figures, sections, *judgement)


def measure(config: Config, names: list[str]) -> dict[str, dict[str, Variances]]:
    """Return the variances by activation and way to draw the weights, each told as soon as it is known."""
    shape = (config.images, config.size, config.size, config.width)
    found: dict[str, dict[str, Variances]] = {}
    console.print(f"{config.depth} layers, {config.seeds} seeds; compiling ...", markup=False)
    for name, scheme, variances in measured(jax.random.key(config.seed), shape, config.depth, config.seeds, names):
        found.setdefault(name, {})[scheme] = variances
        forward, backward = variances.factors()
        line = f"{name:<20}{scheme:<24}a layer: forward x {forward:.3f}, back x {backward:.3f}"
        console.print(line, markup=False)
    return found


def tolerance(config: Config) -> float:
    """Return the factor by which a layer's mean factor may be off because the net has a finite width.

    The logarithm of the variance of a ReLU net walks by -5 / (2 width) a layer with variance 5 / width (Hanin and
    Rolnick 2018): over 50 layers of 64 maps it ends at a seventh, give or take a factor of seven (50 seeds here: at a
    fifth, give or take a factor of six). Four standard deviations of the mean of the seeds are allowed for.
    """
    drift = 5 / (2 * config.width)
    return math.exp(drift + 4 * math.sqrt(5 / (config.width * (config.depth - 1) * config.seeds)))


def promised(found: dict[str, dict[str, Variances]], factor: float) -> dict[str, bool]:
    """Return each promise about what was measured, and whether it was kept up to `factor`."""
    promises: dict[str, bool] = {}

    def near(name: str, schemes: tuple[str, ...], target: float) -> None:
        for scheme in schemes if name in found else ():
            promise = f"{name}, {scheme}: a layer multiplies signal and gradient by {target:g}, up to {factor:.2f}"
            factors = found[name][scheme].factors()
            promises[promise] = all(target / factor <= each <= target * factor for each in factors)

    near("relu", ("he_normal", "orthogonal, gain"), 1.0)
    near("relu", ("lecun_normal", "glorot_normal", "orthogonal", "delta_orthogonal"), 0.5)
    near("linear", ("lecun_normal", "glorot_normal", "orthogonal"), 1.0)
    near("linear", ("he_normal",), 2.0)
    if "linear" in found:
        off = np.abs(np.stack(found["linear"]["delta_orthogonal"].kept())).max()
        promises["linear, delta_orthogonal: signal and gradient are handed on as they are"] = bool(off < 1e-3)
    if "tanh" in found:
        left = 10 ** np.stack(found["tanh, small signal"]["delta_orthogonal"].kept())
        promise = f"tanh, delta_orthogonal: of a signal of standard deviation {SMALL:g} at least 95 % is left"
        promises[promise] = bool(left.min() >= 0.95 and left.max() <= 1.01)
    if "relu" in found:
        # pi / (pi - 1) = 1.47 (Yang et al. 2019): without shortcuts, batch norm pays for its forward pass going back.
        growth = found["relu"]["he_normal, batch norm"].factors()[1]
        promises["relu, batch norm: a layer multiplies the gradient by 1.3 to 1.6"] = 1.3 <= growth <= 1.6
    for name in [name for name in ACTIVATIONS if name in found]:
        off = np.abs(found[name]["LSUV"].forward - 1).max()
        promises[f"{name}, LSUV: variance within 0.011 of 1 in every layer of every seed"] = bool(off <= 0.011)
    return promises


def summary(variances: Variances) -> dict[str, Any]:
    """Return the logarithms of what is left as mean, standard deviation and number of seeds, and a layer's factor."""
    forward, backward = variances.kept()
    figures: dict[str, Any] = {}
    for name, values, factor in zip(("forward", "backward"), (forward, backward), variances.factors(), strict=True):
        left = statistics.summary(values.tolist())
        figures[name] = {"log10_left": left, "left": 10 ** left["mean"], "a_layer": factor}
    return figures


def row(activation: str, scheme: str, variances: Variances) -> dict[str, Any]:
    """Return the row of the table."""
    (forward, backward), layer = variances.kept(), variances.factors()
    return {
        "activation": activation,
        "weights": scheme,
        "forward": words(forward),
        "a layer": round(layer[0], 3),
        "back": words(backward),
        "a layer, back": round(layer[1], 3),
    }


def words(logarithms: np.ndarray) -> str:
    """Return a geometric mean and the factor one standard deviation away."""
    return f"{10 ** logarithms.mean():.2g} ×/÷ {10 ** logarithms.std(ddof=1):.3g}"


def sentence(config: Config, found: dict[str, dict[str, Variances]]) -> str:
    """Return the answer."""
    schemes = {"he_normal": "He", "lecun_normal": "LeCun", "delta_orthogonal": "delta-orthogonal", "LSUV": "LSUV"}
    parts = []
    for name in [name for name in ACTIVATIONS if name in found]:
        left = {word: 10 ** found[name][scheme].kept()[0].mean() for scheme, word in schemes.items()}
        parts.append(f"{name}: " + ", ".join(f"{word} {value:.2g}" for word, value in left.items()))
    return f"variance left after {config.depth} layers ({config.seeds} seeds): {'; '.join(parts)}."


@drawing
def pictured(lines: dict[str, dict[str, np.ndarray]]) -> "Figure":
    """Return a panel for each activation, its variances (seeds, depth) on a logarithmic scale."""
    blank = figure(0.9 + 2.15 * len(lines))
    stack = blank.subplots(len(lines), 1, squeeze=False, sharex=True)[:, 0]
    for axes, (name, schemes) in zip(stack, lines.items(), strict=True):
        panel(axes, name)
        axes.set_yscale("log")
        for scheme, values in schemes.items():
            colour, dashes, width = LINES[scheme]
            mean = 10 ** np.log10(values).mean(axis=0)
            look = {"color": colour, "linestyle": dashes, "linewidth": width, "zorder": 3 - width / 10}
            axes.plot(np.arange(1, len(mean) + 1), mean, label=scheme, **look)
        low, high = axes.get_ylim()
        # At least two decades either way, so that a signal that stays looks as if it stays.
        axes.set_ylim(min(low, 1e-2), max(high, 1e2))
    stack[-1].set_xlabel("layer", **style(MUTED))
    stack[-1].xaxis.get_major_locator().set_params(integer=True)
    handles, labels = stack[0].get_legend_handles_labels()
    legend = blank.legend(handles, labels, loc="outside lower left", ncols=2, frameon=False, handlelength=3.2)
    for entry in legend.get_texts():
        entry.set(color=INK, fontsize=8.5)
    return blank


if __name__ == "__main__":
    run(main, Config)
