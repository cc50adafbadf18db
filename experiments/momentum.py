"""What does momentum bring? Paths along a ravine, and how far a net gets in equally many steps.

`python -m experiments.momentum` descends a quadratic ravine, f(w) = (w1^2 + steepness w2^2) / 2, by plain gradient
descent, with momentum (Polyak 1964) and with Nesterov's (1983), each with the learning rate and momentum that are best
for it in theory, and counts steps. Then it trains a net on the digits with equally many steps of gradient descent on
all images, of stochastic gradient descent, and of that with both kinds of momentum, five seeds and many learning rates
each, as lanes of one program; the rate with the lowest loss on all training images at the end counts. What it
promises: on the ravine momentum needs at most half of the steps of plain descent. What it brings to the net, it says.
About 1 min on 2 cores.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.apparatus.few_images import mistakes
from experiments.apparatus.image_sets import load
from experiments.apparatus.lines import COLOURS, spread_lines
from experiments.apparatus.small_nets import one_hidden_layer
from experiments.apparatus.statistics import mean_sd, summary
from experiments.framework.device import console
from experiments.framework.progress import LanesBar
from experiments.framework.runner import Common, Result, judge, run
from jaxcnn import data, losses, report, search, training
from jaxcnn.checking import expect
from jaxcnn.report.canvas import GRID, INK, drawing, figure, panel, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

START = (-10.0, 1.0)  # on the ravine
CLOSE = 1e-6  # of the height of the start
LONGEST = 5000  # steps on the ravine
SHARE = 1 / 2  # of the steps of plain descent
SHOWN = 40  # steps of each path in the picture


@dataclass(frozen=True)
class Config(Common):
    steepness: float = 50.0  # of the ravine's walls, by that of its floor
    momentum: float = 0.9  # for the net
    rates: tuple[float, ...] = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)  # learning rates for the net, rising
    units: int = 32  # of the net's hidden layer
    steps: int = 220  # of each training
    batch_size: int = 32  # images per step, but for descent on all
    seeds: int = 5  # lanes of each rate, 2 or more


class Found(NamedTuple):
    """Of one way to train: loss on all training images and test accuracy at the end, (rates, seeds), and a curve."""

    loss: np.ndarray
    accuracy: np.ndarray
    best: int  # of the rates
    curve: np.ndarray  # (seeds, points) of the best rate: mean loss of the steps of each pass
    places: np.ndarray  # (points,) steps


def main(config: Config) -> Result:
    if config.quick:
        config = dataclasses.replace(config, rates=config.rates[2::2], steps=44, seeds=2)
    where, rates = "momentum", config.rates
    rising = len(rates) >= 2 and rates[0] > 0 and all(a < b for a, b in itertools.pairwise(rates))
    expect(rising, where, "two rates or more, positive and rising", rates, "0.01 and 0.1, say.")
    expect(config.seeds >= 2, where, "at least 2 seeds", config.seeds, "One has no standard deviation.")
    expect(config.steepness > 1, where, "a steepness above 1", config.steepness, "50 are the default.")
    expect(0 < config.momentum < 1, where, "a momentum between 0 and 1", config.momentum, "0.9 is usual.")
    paths = {name: descended(make, config) for name, make in ravine(config.steepness).items()}
    counts = {name: needed(path, config.steepness) for name, path in paths.items()}
    found = trained(config)
    best = {name: (one.loss[one.best], one.accuracy[one.best]) for name, one in found.items()}
    figures = {
        "ravine_steps": counts,
        "net": {
            name: {
                "learning_rate": rates[one.best],
                "training_loss": summary(one.loss[one.best].tolist()),
                "test_accuracy": summary(one.accuracy[one.best].tolist()),
            }
            for name, one in found.items()
        },
    }
    told = ", ".join(
        f"{name} {loss.mean():.3f} ({100 * right.mean():.1f} % right)" for name, (loss, right) in best.items()
    )
    gain = summary(
        (found["stochastic"].loss[found["stochastic"].best] - found["momentum"].loss[found["momentum"].best]).tolist()
    )
    low, high = gain["interval"]
    helps = "lower" if low > 0 else "higher" if high < 0 else "not different beyond chance"
    down = ", ".join(f"{name} {steps(count)}" for name, count in counts.items())
    answer = (
        f"On a ravine {config.steepness:g} times as steep as long, steps to the bottom: {down}. A net on the digits, "
        f"{config.steps} steps, each way with its best rate: training loss {told}; that of momentum is {helps} than "
        "without."
    )
    judgement = judge(config, answer, facts={f"{SHARE:g} of the steps on the ravine with momentum": fewer(counts)})
    headline = [report.Number(name, steps(count), "steps on the ravine") for name, count in counts.items()]
    return Result(figures, sections(config, paths, counts, found), *judgement, headline)


def ravine(steepness: float) -> dict[str, optax.GradientTransformation]:
    """Return each way down, with the numbers that are best for slopes from 1 to `steepness`.

    Source: Polyak 1964 (the first two); Nesterov 2004, section 2.2.
    """
    root = math.sqrt(steepness)
    return {
        "plain": optax.sgd(2 / (1 + steepness)),
        "momentum": optax.sgd(4 / (1 + root) ** 2, momentum=((root - 1) / (root + 1)) ** 2),
        "Nesterov": optax.sgd(1 / steepness, momentum=(root - 1) / (root + 1), nesterov=True),
    }


def height(w: jax.Array, steepness: float) -> jax.Array:
    """Return how high a place on the ravine lies, (...,) of (..., 2)."""
    return 0.5 * (w[..., 0] ** 2 + steepness * w[..., 1] ** 2)


def descended(optimizer: optax.GradientTransformation, config: Config) -> np.ndarray:
    """Return the places that are come by, (steps + 1, 2)."""

    def step(carry, _):
        w, state = carry
        updates, state = optimizer.update(jax.grad(height)(w, config.steepness), state, w)
        return (optax.apply_updates(w, updates), state), w

    start = jnp.asarray(START)
    _, path = jax.lax.scan(step, (start, optimizer.init(start)), length=LONGEST + 1)
    return np.asarray(path)


def needed(path: np.ndarray, steepness: float) -> int | None:
    """Return after how many steps a path is down, for good; None where it is not down at its end."""
    high = np.asarray(height(jnp.asarray(path), steepness))
    count = int(np.flatnonzero(high > CLOSE * high[0])[-1]) + 1
    return count if count < len(path) else None


def steps(count: int | None) -> str:
    """Return what `needed` says as text."""
    return f"more than {LONGEST}" if count is None else f"{count}"


def fewer(counts: Mapping[str, int | None]) -> bool:
    """Return whether both kinds of momentum are down after a share of the steps of plain descent, or sooner."""
    most = SHARE * (counts["plain"] or LONGEST)
    return all((counts[name] or math.inf) <= most for name in ("momentum", "Nesterov"))


def ways(config: Config, size: int) -> dict[str, tuple[int, Callable[..., optax.GradientTransformation]]]:
    """Return the batch size and the optimizer of each way to train the net."""
    plain = partial(training.sgd, momentum=0.0, nesterov=False, weight_decay=0.0)
    heavy = partial(training.sgd, momentum=config.momentum, weight_decay=0.0)
    return {
        "all images": (size, plain),
        "stochastic": (config.batch_size, plain),
        "momentum": (config.batch_size, partial(heavy, nesterov=False)),
        "Nesterov": (config.batch_size, partial(heavy, nesterov=True)),
    }


def trained(config: Config) -> dict[str, Found]:
    """Return what each way comes to; rates and seeds are lanes of one program."""
    train_set, test_set = load("momentum", "digits", config.seed)
    fits, what = 1 <= config.batch_size <= train_set.size, f"a batch_size in 1..{train_set.size}"
    expect(fits, "momentum", what, config.batch_size, "Lower it.")
    found, most = {}, train_set.size // config.batch_size
    what = f"a multiple of the {most} steps of a pass"
    expect(config.steps > 0 and config.steps % most == 0, "momentum", what, config.steps, "All ways make equally many.")
    for name, (batch_size, optimizer) in ways(config, train_set.size).items():
        per_epoch = train_set.size // batch_size
        console.print(f"{name}:", markup=False)
        with LanesBar(console) as bar:
            swept = search.sweep(
                one_hidden_layer(train_set.info, config.units), train_set, over={"learning_rate": config.rates},
                restarts=config.seeds, optimizer=lambda learning_rate, optimizer=optimizer: optimizer(learning_rate),
                epochs=config.steps // per_epoch, batch_size=batch_size, metrics={}, key=jax.random.key(config.seed),
                callbacks=[bar],
            )  # fmt: skip
        found[name] = judged(config, swept, train_set, test_set, per_epoch)
    return found


def judged(
    config: Config, swept: search.Trainings, train_set: data.Dataset, test_set: data.Dataset, per_epoch: int
) -> Found:
    """Return losses and accuracies by rate and seed, and the curve of the rate with the lowest loss."""
    shape = (len(config.rates), config.seeds)
    loss = np.where(swept.diverged, np.inf, mean_loss(swept, train_set)).reshape(shape)
    accuracy = 1 - mistakes(swept, test_set).mean(axis=1).reshape(shape)
    best = int(np.where(np.isfinite(loss), loss, np.inf).mean(axis=1).argmin())
    curves = np.stack([line["train_loss"] for line in swept.history], axis=-1).reshape(*shape, -1)
    return Found(loss, accuracy, best, curves[best], per_epoch * (1 + np.arange(curves.shape[-1])))


def mean_loss(swept: search.Trainings, dataset: data.Dataset) -> np.ndarray:
    """Return the mean cross-entropy of each lane on a whole set, (lanes,)."""
    image, label = jnp.asarray(dataset["image"]), jnp.asarray(dataset["label"])

    def of_lane(numbers: Any, state: training.TrainState) -> jax.Array:
        logits = training.predictor(swept.make_net(numbers), state.params, state.model_state)(image)
        return losses.cross_entropy(logits, label).mean()

    return np.asarray(jax.jit(jax.vmap(of_lane))(swept.numbers, swept.states), np.float64)


def sections(
    config: Config, paths: Mapping[str, np.ndarray], counts: Mapping[str, int | None], found: Mapping[str, Found]
) -> list[report.Section]:
    """Return the pictures and the table."""
    rows = [
        {
            "way": name,
            "images a step": str(config.batch_size) if name != "all images" else "all",
            "best rate": f"{config.rates[one.best]:g}",
            "training loss": mean_sd(one.loss[one.best], 4),
            "test accuracy, %": mean_sd(100 * one.accuracy[one.best]),
        }
        for name, one in found.items()
    ]
    shared = max((one.places for one in found.values()), key=len)
    lines = {
        name: np.stack([np.interp(shared, one.places, curve, left=np.nan) for curve in one.curve])
        for name, one in found.items()
    }
    return [
        report.Section(
            "A ravine",
            [
                report.Picture(
                    paths_picture(paths, counts, config.steepness),
                    f"The first {SHOWN} steps of each way down, and after how many it is at a millionth of the height. "
                    "Plain descent goes from wall to wall; momentum adds up what steps have in common.",
                    "Three paths over the rings of a long narrow valley.",
                )
            ],
        ),
        report.Section(
            "A net",
            [
                report.Picture(
                    spread_lines("training loss", "step", shared, lines, logarithmic="y"),
                    f"Mean training loss of the steps of each pass, at the best of {len(config.rates)} rates; mean and "
                    f"standard deviation of {config.seeds} seeds.",
                    "Lines of training loss against the step, one for each way to train.",
                ),
                report.Table(
                    rows,
                    f"After {config.steps} steps, the loss on all training images. Mean ± standard deviation of "
                    f"{config.seeds} seeds.",
                ),
            ],
        ),
    ]


@drawing
def paths_picture(paths: Mapping[str, np.ndarray], counts: Mapping[str, int | None], steepness: float) -> "Figure":
    """Return a panel for each path, over the lines of equal height."""
    blank = figure(1.3 * len(paths))
    panels = np.ravel(blank.subplots(len(paths), 1, sharex=True))
    x, y = np.meshgrid(np.linspace(-11, 6, 200), np.linspace(-1.6, 1.6, 100))
    high = 0.5 * (x**2 + steepness * y**2)
    for axes, (name, path), colour in zip(panels, paths.items(), COLOURS, strict=False):
        panel(axes, f"{name}: {steps(counts[name])} steps", grid="")
        axes.contour(x, y, high, levels=np.geomspace(0.5, high.max(), 9), colors=[GRID], linewidths=1.0)
        axes.plot(*path[: SHOWN + 1].T, "-o", color=colour, linewidth=1.2, markersize=2.5)
        axes.plot([0], [0], "+", color=INK, markersize=9)
        axes.set(xlim=(-11, 6), ylim=(-1.6, 1.6), yticks=[])
    panels[-1].set_xlabel("along the ravine", **style(INK))
    return blank


if __name__ == "__main__":
    run(main, Config)
