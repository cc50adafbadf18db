"""More neurons, more capacity? The decision regions of nets with 3, 6 and 20 hidden neurons on two noisy spirals.

`python -m experiments.capacity` draws 200 points of two interleaved spirals, in two classes, as images of one pixel
with two channels, and trains nets with one hidden layer on them, for 5 seeds: other points and weights. All widths,
seeds and restarts are lanes of one program. Of each width and seed the restart with the lowest training loss counts;
2,000 more points test it. What it promises: with every seed the most neurons make fewer errors on the training points
than the fewest. What the test error does, it says. Some seconds on 2 cores.
"""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.apparatus.few_images import mistakes, of_the_best
from experiments.apparatus.small_nets import masked, one_hidden_layer
from experiments.apparatus.statistics import summary
from experiments.framework.device import console
from experiments.framework.progress import LanesBar
from experiments.framework.runner import Common, Result, judge, run
from jaxcnn import data, report, search, training
from jaxcnn.checking import expect
from jaxcnn.report.canvas import BLUE, GRID, INK, ORANGE, PAPER, drawing, figure, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIDE = 120  # places along each side of the grid that regions are drawn from


@dataclass(frozen=True)
class Config(Common):
    widths: tuple[int, ...] = (3, 6, 20)  # hidden neurons, rising
    points: int = 200  # to train on
    test_points: int = 2000  # to measure on
    turns: float = 1.25  # of each spiral
    noise: float = 0.1  # standard deviation of a point's place, in radii of the spirals
    restarts: int = 5  # of each width
    seeds: int = 5  # 2 or more, from --seed on
    epochs: int = 400  # passes through the points
    batch_size: int = 40  # points per step
    learning_rate: float = 0.02  # Adam's, falling to 0 along half a cosine


class Found(NamedTuple):
    """Errors (seeds, widths) of the best restarts, and of the first seed the points and the regions by width."""

    training: np.ndarray
    test: np.ndarray
    points: data.Dataset
    regions: Mapping[int, np.ndarray]


def main(config: Config) -> Result:
    if config.quick:
        config = dataclasses.replace(config, restarts=2, seeds=2, epochs=20)
    where, rising = "capacity", all(a < b for a, b in itertools.pairwise(config.widths))
    expect(len(config.widths) >= 2 and rising, where, "two rising widths or more", config.widths, "3 and 6, say.")
    expect(config.seeds >= 2, where, "at least 2 seeds", config.seeds, "One has no standard deviation.")
    expect(config.points >= 2, where, "at least 2 points", config.points, "One class needs one at least.")
    found = measured(config)
    steps = list(itertools.pairwise(config.widths))
    won = {
        name: {f"{a} to {b}": summary((values[:, at] - values[:, at + 1]).tolist()) for at, (a, b) in enumerate(steps)}
        for name, values in (("training", found.training), ("test", found.test))
    }
    parts = {"training": found.training, "test": found.test}
    figures = {
        "error": {
            n: {str(w): summary(v[:, at].tolist()) for at, w in enumerate(config.widths)} for n, v in parts.items()
        },
        "won": won,
    }
    dots = {f"{w}, {n}": (100 * v[:, at]).tolist() for at, w in enumerate(config.widths) for n, v in parts.items()}
    first = {w: (100 * found.training[0, at], 100 * found.test[0, at]) for at, w in enumerate(config.widths)}
    captions = [f"{w} neurons\n{a:.1f} % wrong,\n{b:.1f} % of new points" for w, (a, b) in first.items()]
    sections = [
        report.Section(
            "What more neurons can do",
            [
                report.Picture(
                    regions_picture(found.regions, found.points, captions),
                    f"The first seed: its {config.points} training points, and the regions in which the net of each "
                    f"width, the best of {config.restarts} restarts by training loss, answers one class or the other; "
                    "above, its errors.",
                    "The plane in two colours with the training points, a panel for each width.",
                ),
                report.Picture(
                    report.seed_dots(dots, quantity="error, %", decimals=1),
                    f"Error by number of neurons, on the training points and on {config.test_points:,} others: a dot "
                    "a seed, mean ± standard deviation.",
                    "Dots of training and test error, a line for each width and set.",
                ),
            ],
        )
    ]
    more = bool((found.training[:, -1] < found.training[:, 0]).all())
    answer = sentence(config, found, won["test"])
    judgement = judge(config, answer, {"the most neurons learn more than the fewest with every seed": more})
    headline = [
        report.Number(f"{w} neurons", f"{100 * found.test[:, at].mean():.1f} %", "test error")
        for at, w in enumerate(config.widths)
    ]
    return Result(figures, sections, *judgement, headline)


def measured(config: Config) -> Found:
    """Return the errors of all seeds, whose trainings are one program."""
    train_key, test_key, key = jax.random.split(jax.random.key(config.seed), 3)
    train_set = spirals(train_key, config.seeds * config.points, config.turns, config.noise)
    test_set = spirals(test_key, config.test_points, config.turns, config.noise)
    own = np.arange(train_set.size).reshape(config.seeds, config.points)  # each seed has points of its own,
    examples = np.repeat(own, config.restarts, axis=0)  # and its restarts share them
    steps = config.epochs * (config.points // config.batch_size)
    with LanesBar(console) as bar:
        found = search.sweep(
            masked(lambda width: one_hidden_layer(train_set.info, width), max(config.widths)), train_set,
            over={"width": config.widths}, restarts=config.seeds * config.restarts,
            examples=examples, key=key,
            optimizer=optax.adam(optax.cosine_decay_schedule(config.learning_rate, max(steps, 1))),
            epochs=config.epochs, batch_size=config.batch_size, callbacks=[bar],
        )  # fmt: skip
    shape = (len(config.widths), config.seeds, config.restarts)
    learned = np.take_along_axis(mistakes(found, train_set), np.tile(examples, (shape[0], 1)), axis=1)
    best = of_the_best(np.arange(len(found)), found.values, shape)[:, 0].tolist()
    return Found(
        of_the_best(learned.mean(axis=1), found.values, shape).T,
        of_the_best(mistakes(found, test_set).mean(axis=1), found.values, shape).T,
        train_set.take(own[0]),
        {width: regions(found, lane) for width, lane in zip(config.widths, best, strict=True)},
    )


def spirals(key: jax.Array, count: int, turns: float, noise: float) -> data.Dataset:
    """Return points of two interleaved spirals as images of one pixel, (count, 1, 1, 2) in [0, 1], and their classes.

    (x, y) = 0.5 + 0.4 (r (cos a, sin a) + noise), a = 2 pi turns r + pi class, r uniform in [0.1, 1].
    """
    expect(count >= 2, "spirals", "at least 2 points", count, "One class needs one at least.")
    radius_key, noise_key = jax.random.split(key)
    label = np.arange(count) % 2
    radius = jax.random.uniform(radius_key, (count,), minval=0.1)
    angle = 2 * math.pi * turns * radius + math.pi * label
    place = radius[:, None] * jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=1)
    place += noise * jax.random.normal(noise_key, place.shape)
    image = np.asarray(jnp.clip(0.5 + 0.4 * place, 0, 1)).reshape(count, 1, 1, 2)
    return data.from_arrays(image, label, name="spirals", source="two spirals, drawn from a key")


def regions(found: search.Trainings, lane: int) -> np.ndarray:
    """Return the probability of class 1 that a lane's net gives on a grid over [0, 1] x [0, 1], (y, x)."""
    state, ends = found.state(lane), np.linspace(0, 1, SIDE, dtype=np.float32)
    grid = np.stack(np.meshgrid(ends, ends), axis=-1).reshape(-1, 1, 1, 2)
    logits = training.predict(found.net(lane), state.params, state.model_state, {"image": grid}, batch_size=SIDE**2)
    return np.asarray(jax.nn.softmax(logits))[:, 1].reshape(SIDE, SIDE)


def sentence(config: Config, found: Found, won: Mapping[str, Any]) -> str:
    """Return the answer: better or worse on new points is only what is so beyond the 95 % interval."""
    means = [f"{100 * error:.1f} %" for error in found.training.mean(axis=0)]
    told = []
    for step, gain in won.items():
        low, high = gain["interval"]
        what = "falls" if low > 0 else "rises" if high < 0 else "stays, as far as can be seen,"
        told.append(f"{what} from {step} ({-100 * high:+.1f} to {-100 * low:+.1f} points)")
    tests = ", ".join(f"{100 * error:.1f} %" for error in found.test.mean(axis=0))
    return (
        f"{', '.join(map(str, config.widths))} hidden neurons, {config.seeds} seeds: training error "
        f"{', '.join(means)}, test error {tests}; the test error {'; it '.join(told)}."
    )


@drawing
def regions_picture(found: Mapping[int, np.ndarray], points: data.Dataset, captions: Sequence[str]) -> "Figure":
    """Return a panel for each width: the plane in the colours of the classes, and the points upon it."""
    blank = figure(0.8 + 5.0 / len(found))
    place, label = points["image"].reshape(-1, 2), points["label"]
    for axes, field, caption in zip(np.ravel(blank.subplots(1, len(found))), found.values(), captions, strict=True):
        ends = np.linspace(0, 1, len(field))
        axes.contourf(ends, ends, field, levels=[-0.01, 0.5, 1.01], colors=[BLUE, ORANGE], alpha=0.25)
        axes.contour(ends, ends, field, levels=[0.5], colors=[INK], linewidths=1.0)
        for number, colour in enumerate((BLUE, ORANGE)):
            dots = {"markersize": 3.2, "markeredgewidth": 0.4, "markeredgecolor": PAPER, "color": colour}
            axes.plot(*place[label == number].T, "o", **dots)
        axes.set(aspect="equal", xticks=[], yticks=[], xlim=(0, 1), ylim=(0, 1))
        for spine in axes.spines.values():
            spine.set(color=GRID)
        axes.set_title(caption, loc="left", pad=6, **style(INK))
    return blank


if __name__ == "__main__":
    run(main, Config)
