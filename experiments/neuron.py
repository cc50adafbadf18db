"""What does one logistic unit compute? sigma(w x + b): a line between classes, a slope, and where it is saturated.

`python -m experiments.neuron` trains single units on two clouds of points, by cross-entropy and by squared error, from
good and from bad initial weights, 10 seeds each. The line where w x + b = 0 is drawn, and compared with the one that
is best for such clouds (Fisher 1936). Bad weights are 2.5 times those of the best line, turned round: most answers
are wrong, and sigma's slope is near 0 there. By squared error the gradient vanishes, by cross-entropy it does not,
since the slope of sigma cancels out (Rumelhart et al. 1986; Solla et al. 1988). What it promises: from good weights the
unit comes within 2 points of the best line; from bad ones cross-entropy does so too, and squared error is left behind,
with every seed. Some seconds on 2 cores.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.apparatus.lines import spread_lines
from experiments.apparatus.statistics import summary
from experiments.framework.runner import Common, Result, judge, run
from jaxcnn import functional as F
from jaxcnn import report
from jaxcnn.checking import expect
from jaxcnn.report.canvas import BLUE, INK, MUTED, ORANGE, drawing, figure, panel, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NEAR = 0.02  # of accuracy
CENTRES = np.array([[-1.0, -0.5], [1.0, 0.5]], np.float32)  # of the clouds
SPREAD = np.array([[0.6, 0.25], [0.25, 0.4]], np.float32)  # a matrix that makes them of round ones
BAD = 2.5  # how many times the weights of the best line a bad start is, turned round


@dataclass(frozen=True)
class Config(Common):
    points: int = 200  # to train on
    test_points: int = 2000  # to measure on
    seeds: int = 10  # other points and weights, 2 or more
    steps: int = 2000  # of gradient descent on all points
    learning_rate: float = 0.5


class Found(NamedTuple):
    """Of every seed: weights (seeds, 3) at the end, accuracy (seeds,), and the gradient's length (seeds, steps)."""

    weights: np.ndarray
    accuracy: np.ndarray
    gradient: np.ndarray


def main(config: Config) -> Result:
    if config.quick:
        config = dataclasses.replace(config, seeds=2)
    where = "neuron"
    expect(config.seeds >= 2, where, "at least 2 seeds", config.seeds, "One has no standard deviation.")
    fewest = min(config.points, config.test_points)
    expect(fewest >= 2, where, "at least 2 points", fewest, "One of each class.")
    expect(config.steps >= 1, where, "at least 1 step", config.steps, "2000 are the default.")
    points_key, weights_key = jax.random.split(jax.random.key(config.seed))
    keys = jax.random.split(points_key, config.seeds)
    x, y = clouds(keys, config.points)
    test_x, test_y = clouds(jax.vmap(partial(jax.random.fold_in, data=1))(keys), config.test_points)
    line = jnp.tile(fisher(), (config.seeds, 1))
    best, wrong = right(line, test_x, test_y), 1 - right(-BAD * line, test_x, test_y)
    starts = {"good": 0.1 * jax.random.normal(weights_key, (config.seeds, 3)), "bad": -BAD * line}
    found = {
        f"{loss}, {name} start": learned(loss, start, x, y, test_x, test_y, config)
        for loss in LOSSES
        for name, start in starts.items()
    }
    figures = {
        "best_line": summary(best.tolist()),
        "wrong_at_the_bad_start": summary(wrong.tolist()),
        **{
            name: {"accuracy": summary(one.accuracy.tolist()), "first_gradient": summary(one.gradient[:, 0].tolist())}
            for name, one in found.items()
        },
    }
    behind = {name: best - one.accuracy for name, one in found.items()}
    promises = {
        f"{name}: within {100 * NEAR:g} points of the best line with every seed": bool((behind[name] <= NEAR).all())
        for name in found
        if name != "squared error, bad start"
    }
    last = "squared error, bad start"
    promises[f"{last}: further away with every seed"] = bool((behind[last] > NEAR).all())
    told = "; ".join(f"{name} {100 * one.accuracy.mean():.1f} %" for name, one in found.items())
    answer = (
        f"{config.seeds} seeds, {config.steps} steps: the best line is right in {100 * best.mean():.1f} %, the unit by "
        f"{told}. Bad weights, {100 * wrong.mean():.1f} % wrong, have a first gradient of "
        f"{found[last].gradient[:, 0].mean():.0e} by squared error, of "
        f"{found['cross-entropy, bad start'].gradient[:, 0].mean():.1f} by cross-entropy."
    )
    judgement = judge(config, answer, facts=promises)
    headline = [report.Number("right", f"{100 * one.accuracy.mean():.1f} %", name) for name, one in found.items()]
    return Result(figures, sections(config, found, np.asarray(x[0]), np.asarray(y[0]), wrong), *judgement, headline)


def clouds(keys: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
    """Return points of two clouds for each key, (seeds, count, 2), and their classes, 0 and 1."""
    label = jnp.arange(count) % 2
    noise = jax.vmap(lambda key: jax.random.normal(key, (count, 2)))(keys)
    return jnp.asarray(CENTRES)[label] + noise @ jnp.asarray(SPREAD), jnp.tile(label, (len(keys), 1))


def fisher() -> jax.Array:
    """Return the weights (3,) whose line is best for the clouds that points are drawn from."""
    direction = np.linalg.solve(SPREAD.T @ SPREAD, CENTRES[1] - CENTRES[0])
    return jnp.asarray([*direction, -CENTRES.mean(axis=0) @ direction], jnp.float32)


def right(weights: jax.Array, x: jax.Array, y: jax.Array) -> np.ndarray:
    """Return the fraction of points that each seed's weights put on the side of their class, (seeds,)."""
    sides = jax.vmap(output)(weights, x) > 0
    return np.asarray((sides == y).mean(axis=1), np.float64)


def output(weights: jax.Array, x: jax.Array) -> jax.Array:
    """Return w x + b, (..., n); the last weight is b."""
    return x @ weights[:2] + weights[2]


def cross_entropy(weights: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    z = output(weights, x)
    return jnp.mean(F.softplus(z) - y * z)


def squared_error(weights: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    return jnp.mean((F.sigmoid(output(weights, x)) - y) ** 2)


LOSSES = {"cross-entropy": cross_entropy, "squared error": squared_error}


def learned(
    loss: str, start: jax.Array, x: jax.Array, y: jax.Array, test_x: jax.Array, test_y: jax.Array, config: Config
) -> Found:
    """Return what gradient descent makes of every seed's weights."""

    @jax.jit
    @jax.vmap
    def descend(weights, x, y):
        def step(weights, _):
            gradient = jax.grad(LOSSES[loss])(weights, x, y)
            return weights - config.learning_rate * gradient, jnp.linalg.norm(gradient)

        return jax.lax.scan(step, weights, length=config.steps)

    weights, gradient = descend(start, x, y)
    return Found(np.asarray(weights), right(weights, test_x, test_y), np.asarray(gradient))


def sections(
    config: Config, found: Mapping[str, Found], x: np.ndarray, y: np.ndarray, wrong: np.ndarray
) -> list[report.Section]:
    """Return the pictures."""
    steps = 1 + np.arange(config.steps)
    lines = {name: np.maximum(one.gradient, 1e-12) for name, one in found.items()}
    return [
        report.Section(
            "The unit",
            [
                report.Picture(
                    sigma_picture(),
                    "The logistic function (blue) and its slope (orange), which is sigma (1 - sigma): 1/4 at most, and "
                    "nearly 0 where the unit is saturated.",
                    "A curve that rises from 0 to 1, and its slope, a small hill.",
                ),
                report.Picture(
                    decision_picture({name: one.weights[0] for name, one in found.items()}, x, y),
                    "The first seed's points, and the line of each unit, where w x + b = 0. The fill says what a unit "
                    "trained from a good start by cross-entropy answers.",
                    "Two clouds of points with lines between them.",
                ),
            ],
        ),
        report.Section(
            "Saturation",
            [
                report.Picture(
                    spread_lines("length of the gradient", "step", steps, lines, logarithmic="xy"),
                    f"The gradient in each step; mean and standard deviation of {config.seeds} seeds. Bad weights give "
                    f"wrong answers to {100 * wrong.mean():.0f} % of the points.",
                    "Lines of gradient against step, one for each loss and start.",
                )
            ],
        ),
    ]


@drawing
def sigma_picture() -> "Figure":
    """Return the logistic function and its slope."""
    blank = figure(2.2)
    axes = panel(blank.subplots(), "sigma(z) = 1 / (1 + exp(-z))")
    z = jnp.linspace(-8, 8, 401)
    axes.plot(z, F.sigmoid(z), color=BLUE, linewidth=1.8)
    axes.plot(z, jax.vmap(jax.grad(F.sigmoid))(z), color=ORANGE, linewidth=1.6)
    axes.set_xlabel("z = w x + b", **style(MUTED))
    return blank


@drawing
def decision_picture(weights: Mapping[str, np.ndarray], x: np.ndarray, y: np.ndarray) -> "Figure":
    """Return the points with the line of each unit."""
    blank = figure(3.4)
    axes = panel(blank.subplots(), "", grid="")
    ends = np.linspace(-3.5, 3.5, 100)
    grid = np.stack(np.meshgrid(ends, ends), axis=-1)
    a, b, c = next(iter(weights.values()))
    axes.contourf(ends, ends, 1 / (1 + np.exp(-(grid @ np.array([a, b]) + c))), levels=20, cmap="coolwarm", alpha=0.3)
    for label, colour in ((0, BLUE), (1, ORANGE)):
        axes.plot(*x[y == label].T, "o", color=colour, markersize=3)
    dashes: Any = ("-", (0, (5, 2)), (0, (2, 2)), (0, (1, 3)))
    for (name, (a, b, c)), dash in zip(weights.items(), dashes, strict=False):
        axes.plot(ends, -(a * ends + c) / (b or 1e-9), color=INK, linewidth=1.3, linestyle=dash, label=name)
    axes.set(xlim=(-3.5, 3.5), ylim=(-3.5, 3.5), aspect="equal", xticks=[], yticks=[])
    axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0), frameon=False, fontsize=8)
    return blank


if __name__ == "__main__":
    run(main, Config)
