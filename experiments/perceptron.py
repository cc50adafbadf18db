"""Does a threshold unit learn whatever a line can part? The perceptron on two digits, and on XOR, which no line parts.

`python -m experiments.perceptron` shows the images of two digits, one by one, to a unit that answers the sign of w x,
and follows Rosenblatt's rule: where the answer is wrong, w becomes w + y x, y being 1 or -1. Of digits that a line
parts by a margin, Novikoff (1962) proved that there are no more than (R / margin)^2 mistakes, however the images are
ordered: R is the length of the longest image, the margin that of scikit-learn's support vector machine. Ten orders are
tried. The four points of XOR are shown as well. What it promises: with every order the mistakes end, and are no more
than the bound; on XOR there is a mistake in every pass (Minsky and Papert 1969). Some seconds on 2 cores.
"""

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.apparatus.image_sets import load
from experiments.apparatus.lines import spread_lines
from experiments.apparatus.statistics import summary
from experiments.framework.runner import Common, Result, judge, run
from jaxcnn import report
from jaxcnn.checking import expect
from jaxcnn.report.canvas import BLUE, INK, MUTED, ORANGE, drawing, figure, panel, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

XOR = (np.array([[0, 0], [1, 1], [0, 1], [1, 0]], np.float32), np.array([-1, -1, 1, 1], np.float32))


@dataclass(frozen=True)
class Config(Common):
    classes: tuple[int, int] = (0, 1)  # of the digits: the first is answered -1, the second 1
    orders: int = 10  # of the images, 2 or more, from --seed on
    epochs: int = 100  # passes through the images, and through the four points


class Learned(NamedTuple):
    """Of every order the weights at the end, (orders, inputs + 1), and the mistakes of each pass, (orders, epochs)."""

    weights: np.ndarray
    mistakes: np.ndarray


def main(config: Config) -> Result:
    where, classes = "perceptron", config.classes
    if config.quick:
        config = dataclasses.replace(config, orders=2)
    ok = classes[0] != classes[1] and all(0 <= label <= 9 for label in classes)
    expect(ok, where, "two different digits", classes, "Pass --classes 0 1, say.")
    expect(config.orders >= 2, where, "at least 2 orders", config.orders, "One has no standard deviation.")
    expect(config.epochs >= 1, where, "at least 1 epoch", config.epochs, "100 are the default.")
    train_set, test_set = load(where, "digits", config.seed)
    x, y = two_classes(train_set, classes)
    test_x, test_y = two_classes(test_set, classes)
    keys = jax.random.split(jax.random.key(config.seed), 2)
    digits = learned(keys[0], x, y, config)
    xor = learned(keys[1], with_bias(XOR[0]), XOR[1], config)

    longest, margin = float(np.linalg.norm(x, axis=1).max()), widest_margin(x, y)
    bound = (longest / margin) ** 2 if margin > 0 else float("inf")
    total = digits.mistakes.sum(axis=1)
    lasted = np.array([np.flatnonzero(row)[-1] + 1 if row.any() else 0 for row in digits.mistakes])
    right = ((test_x @ digits.weights.T) * test_y[:, None] > 0).mean(axis=0)
    own_margins = (y[:, None] * (x @ digits.weights.T)).min(axis=0) / np.linalg.norm(digits.weights, axis=1)
    figures = {
        "images": len(x),
        "mistakes": summary(total.tolist()),
        "passes_with_mistakes": summary(lasted.tolist()),
        "bound": bound,
        "longest": longest,
        "margin": margin,
        "margin_of_the_perceptron": summary(own_margins.tolist()),
        "test_accuracy": summary(right.tolist()),
        "xor": {
            "mistakes_in_the_last_pass": summary(xor.mistakes[:, -1].tolist()),
            "fewest_in_a_pass": int(xor.mistakes.min()),
        },
    }
    ends = bool((digits.mistakes[:, -1] == 0).all())
    promises = {
        f"{classes[0]} against {classes[1]}: with every order the last pass is without mistakes": ends,
        "with every order no more mistakes than (R / margin)^2": bool((total <= bound).all()),
        "XOR: with every order there are mistakes in every pass": bool((xor.mistakes > 0).all()),
    }
    answer = (
        f"{classes[0]} against {classes[1]}, {len(x)} images in {config.orders} orders: the last mistake is in pass "
        f"{lasted.min()} to {lasted.max()}, after {total.min()} to {total.max()} mistakes, where Novikoff's bound is "
        f"{bound:.0f}; {100 * right.mean():.1f} % of {len(test_x)} test images are right. XOR: in every one of "
        f"{config.epochs} passes there are {xor.mistakes.min()} to {xor.mistakes.max()} mistakes."
    )
    judgement = judge(config, answer, facts=promises)
    headline = [
        report.Number("mistakes", f"{total.mean():.1f}", f"until the last; the bound is {bound:.0f}"),
        report.Number("test accuracy", f"{100 * right.mean():.1f} %", f"of {len(test_x)} images"),
    ]
    return Result(figures, sections(config, train_set["image"], x, digits, xor), *judgement, headline)


def two_classes(dataset, classes: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the images of two classes as vectors in [0, 1], a 1 behind them for the bias, and -1 or 1 for each."""
    chosen = np.isin(dataset["label"], classes)
    images = dataset["image"][chosen].reshape(chosen.sum(), -1) / np.float32(255)
    return with_bias(images), np.where(dataset["label"][chosen] == classes[1], 1, -1).astype(np.float32)


def with_bias(x: np.ndarray) -> np.ndarray:
    """Return vectors with a 1 behind them: the bias is a weight like the others."""
    return np.concatenate([x, np.ones((len(x), 1), np.float32)], axis=1)


def learned(key: jax.Array, x: np.ndarray, y: np.ndarray, config: Config) -> Learned:
    """Return what the rule makes of these vectors, in several orders at once."""
    keys = jax.random.split(key, config.orders)
    return Learned(*map(np.asarray, jax.vmap(partial(rosenblatt, epochs=config.epochs), (0, None, None))(keys, x, y)))


@partial(jax.jit, static_argnames="epochs")
def rosenblatt(key: jax.Array, x: jax.Array, y: jax.Array, *, epochs: int) -> tuple[jax.Array, jax.Array]:
    """Return the weights after so many passes, each in an order of its own, and the mistakes of each pass."""

    def example(weights, at):
        wrong = y[at] * (x[at] @ weights) <= 0  # 0, the answer of the first weights, is none
        return weights + jnp.where(wrong, y[at], 0) * x[at], wrong

    def one_pass(weights, key):
        weights, wrong = jax.lax.scan(example, weights, jax.random.permutation(key, len(x)))
        return weights, wrong.sum()

    return jax.lax.scan(one_pass, jnp.zeros(x.shape[1]), jax.random.split(key, epochs))


def widest_margin(x: np.ndarray, y: np.ndarray) -> float:
    """Return the least distance, on the right side, of a vector from the plane that keeps it as large as it can be."""
    from sklearn.svm import LinearSVC

    machine = LinearSVC(C=1e4, loss="hinge", fit_intercept=False, max_iter=1_000_000, tol=1e-6, random_state=0)
    weights = machine.fit(x, y).coef_[0]
    return float((y * (x @ weights)).min() / np.linalg.norm(weights))


def sections(config: Config, images: np.ndarray, x: np.ndarray, digits: Learned, xor: Learned) -> list[report.Section]:
    """Return the pictures."""
    first, second = config.classes
    wrong = {
        f"{first} against {second}": 100 * digits.mistakes / len(x),
        "XOR": 100 * xor.mistakes / len(XOR[0]),
    }
    weights = digits.weights[:8, :-1].reshape(-1, *images.shape[1:3])
    largest = np.abs(weights).max()
    passes = 1 + np.arange(config.epochs)
    return [
        report.Section(
            "Mistakes",
            [
                report.Picture(
                    spread_lines("mistakes, % of a pass", "pass", passes, wrong, logarithmic="x"),
                    f"Mistakes in each pass, mean and standard deviation of {config.orders} orders. What a line parts "
                    "is learned for good; XOR never is.",
                    "A line that falls to 0, and one that stays high.",
                ),
                report.Picture(
                    xor_picture(xor.weights),
                    "XOR, after the last pass: the line of each order, with the side that is answered 1. No line has "
                    "both circles on one side and both squares on the other.",
                    "The four corners of a square and lines through it.",
                ),
            ],
        ),
        report.Section(
            "Weights",
            [
                report.Picture(
                    report.image_grid((0.5 + 0.5 * weights / largest)[..., None]),
                    f"The weights of the first orders as images: bright pixels speak for {second}, dark ones for "
                    f"{first}. Each is a sum of the images that were mistaken, those of {first} subtracted.",
                    "Grey images that resemble one digit minus the other.",
                )
            ],
        ),
    ]


@drawing
def xor_picture(weights: np.ndarray) -> "Figure":
    """Return the points of XOR and the line of each order, with an arrow to the side that is answered 1."""
    blank = figure(3.0)
    axes = panel(blank.subplots(), "XOR", grid="")
    ends = np.array([-1.0, 2.0])
    for a, b, c in weights.tolist():
        length = np.hypot(a, b)
        if length == 0:
            continue  # one answer for all points
        foot = 0.5 - (a * 0.5 + b * 0.5 + c) / length**2 * np.array([a, b])
        along = np.array([-b, a]) / length
        line = foot + np.outer(3 * ends, along)
        axes.plot(line[:, 0], line[:, 1], color=MUTED, linewidth=1.0)
        tip = foot + 0.15 * np.array([a, b]) / length
        axes.annotate("", tip, foot, arrowprops={"arrowstyle": "->", "color": MUTED})
    points, signs = XOR
    for sign, mark, colour in ((-1, "o", BLUE), (1, "s", ORANGE)):
        axes.plot(*points[signs == sign].T, mark, color=colour, markersize=9, linestyle="none")
    axes.set(xlim=(-0.6, 1.6), ylim=(-0.6, 1.6), aspect="equal", xticks=[0, 1], yticks=[0, 1])
    axes.set_xlabel("first input", **style(INK))
    axes.set_ylabel("second input", **style(INK))
    return blank


if __name__ == "__main__":
    run(main, Config)
