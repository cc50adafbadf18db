"""Is back-propagation the chain rule, and what does it cost? The recursion by hand, layer by layer, and its depth.

`python -m experiments.backpropagation` writes the error signals of a net of sigmoid units and half the sum of squared
errors by hand (Rumelhart, Hinton, Williams 1986): delta_L = (a_L - t) s'(z_L), delta_l = (W_l+1 delta_l+1) s'(z_l),
dE/dW_l = a_l-1 delta_l. It compares them with `jax.grad` and with central differences, on real digits; then sends
gradients through deep nets of sigmoid units (initial weights of Glorot) and of rectified linear ones (of He), five
draws of the weights each; then times forward and backward pass. What it promises: by hand and by `jax.grad` are equal
to 1e-6 of the largest gradient of a layer; through 20 layers the gradient of sigmoid units shrinks a thousandfold,
that of rectified ones not tenfold. About 25 s on 2 cores.
"""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.apparatus.image_sets import load
from experiments.apparatus.lines import spread_lines
from experiments.apparatus.statistics import summary
from experiments.benchmarks.pairs import Program, compare
from experiments.framework.device import console
from experiments.framework.runner import Common, Result, judge, run
from jaxcnn import functional as F
from jaxcnn import initializers, report
from jaxcnn.checking import expect

EQUAL = 1e-6  # of the largest gradient of a layer
NEAR = 1e-5  # likewise, for central differences, whose own error is of the order of STEP^2
STEP = 1e-4
SHRINKS, KEEPS = 1e-3, 0.1  # the gradient of the first layer by that of the last
TRIED = 20  # weights of each layer whose gradient is compared with central differences
CLASSES = 10

Weights = Sequence[tuple[jax.Array, jax.Array]]


@dataclass(frozen=True)
class Config(Common):
    units: tuple[int, ...] = (30, 20)  # of the hidden layers of the net whose gradient is compared
    images: int = 64  # in the batch
    depth: int = 20  # hidden layers of the nets through which gradients are sent
    width: int = 100  # units of each of them
    seeds: int = 5  # draws of the weights, 2 or more
    seconds: float = 5.0  # for timing; at least 3 pairs


def main(config: Config) -> Result:
    if config.quick:
        config = dataclasses.replace(config, seeds=2, seconds=0.0)
    where = "backpropagation"
    expect(config.seeds >= 2, where, "at least 2 seeds", config.seeds, "One has no standard deviation.")
    expect(config.depth >= 2, where, "at least 2 layers", config.depth, "20 are the default.")
    expect(min(config.units, default=0) >= 1, where, "a number for each hidden layer", config.units, "Pass 30 20.")
    train_set, _ = load(where, "digits", config.seed)
    expect(1 <= config.images <= train_set.size, where, f"1 to {train_set.size} images", config.images, "64 will do.")
    x = train_set["image"][: config.images].reshape(config.images, -1) / np.float32(255)
    t = np.eye(CLASSES, dtype=np.float32)[train_set["label"][: config.images]]
    compared_key, draws_key, timed_key = jax.random.split(jax.random.key(config.seed), 3)

    weights = drawn(compared_key, (x.shape[1], *config.units, CLASSES), initializers.glorot_normal)
    off, by_layer = compared(weights, x, t)
    draws = jax.random.split(draws_key, config.seeds)
    norms = {
        name: np.stack([gradient_norms(key, x, config, activation, init) for key in draws])
        for name, (activation, init) in KINDS.items()
    }  # fmt: skip
    kept = {name: values[:, 0] / values[:, -1] for name, values in norms.items()}
    cost = timed(timed_key, x, t, config)
    figures = {
        "difference": off,
        "gradient_of_first_by_last_layer": {name: summary(values.tolist()) for name, values in kept.items()},
        "value_and_gradient_by_value": cost,
    }
    promises = {
        f"by hand equals jax.grad to {EQUAL:g}": off["jax.grad"] <= EQUAL,
        f"by hand equals central differences to {NEAR:g}": off["central differences"] <= NEAR,
        f"sigmoid: at most {SHRINKS:g} is left of the gradient": bool((kept["sigmoid"] <= SHRINKS).all()),
        f"ReLU: at least {KEEPS:g} is left of it": bool((kept["relu"] >= KEEPS).all()),
    }
    told = {name: f"{np.exp(np.log(values).mean()):.1e}" for name, values in kept.items()}
    answer = (
        f"The chain rule by hand and jax.grad differ by {off['jax.grad']:.0e} of the largest gradient of a layer. "
        f"Through {config.depth} layers {told['sigmoid']} of the gradient is left with sigmoid units, {told['relu']} "
        f"with rectified ones. Value and gradient together take {cost['ratio']:.1f} times as long as the value alone."
    )
    judgement = judge(config, answer, facts=promises)
    console.print(answer, markup=False)
    headline = [
        report.Number("difference", f"{off['jax.grad']:.0e}", "of hand-written and automatic gradient"),
        report.Number("left of the gradient", told["sigmoid"], f"sigmoid, {config.depth} layers"),
        report.Number("left of the gradient", told["relu"], f"ReLU, {config.depth} layers"),
    ]
    return Result(figures, sections(config, by_layer, norms), *judgement, headline)


KINDS: dict[str, tuple[Callable[[jax.Array], jax.Array], Any]] = {
    "sigmoid": (F.sigmoid, initializers.glorot_normal),
    "relu": (F.relu, initializers.he_normal),
}


def drawn(key: jax.Array, sizes: Sequence[int], init: Any) -> Weights:
    """Return a matrix (inputs, units) and biases, zero, for every layer of a net with such numbers of units."""
    keys = jax.random.split(key, len(sizes) - 1)
    shapes = itertools.pairwise(sizes)
    return [(init(k, shape, jnp.float32), jnp.zeros(shape[1])) for k, shape in zip(keys, shapes, strict=True)]


def error(weights: Weights, x: jax.Array, t: jax.Array, activation: Callable[[jax.Array], jax.Array]) -> jax.Array:
    """Return half the sum of squared errors of the last layer's activations."""
    for matrix, bias in weights:
        x = activation(x @ matrix + bias)
    return 0.5 * jnp.sum((x - t) ** 2)


@jax.jit
def by_hand(weights: Weights, x: jax.Array, t: jax.Array) -> Weights:
    """Return the gradient of `error` with sigmoid units, as the recursion gives it."""
    activations = [x]
    for matrix, bias in weights:
        activations.append(1 / (1 + jnp.exp(-(activations[-1] @ matrix + bias))))
    delta = (activations[-1] - t) * activations[-1] * (1 - activations[-1])  # s' = s (1 - s)
    gradients: list[tuple[jax.Array, jax.Array]] = []
    for (matrix, _), below in reversed(list(zip(weights, activations[:-1], strict=True))):
        gradients.append((below.T @ delta, delta.sum(axis=0)))
        delta = delta @ matrix.T * below * (1 - below)
    return gradients[::-1]


def compared(weights: Weights, x: np.ndarray, t: np.ndarray) -> tuple[dict[str, float], list[dict[str, str]]]:
    """Return how far the gradient by hand is off at most, and a line for every layer."""
    own = by_hand(weights, x, t)
    automatic = jax.jit(jax.grad(partial(error, activation=F.sigmoid)))(weights, x, t)
    differences = central_differences(weights, x, t)
    off, rows = {"jax.grad": 0.0, "central differences": 0.0}, []
    for at, (mine, theirs, (places, slopes)) in enumerate(zip(own, automatic, differences, strict=True), start=1):
        largest = float(jnp.abs(mine[0]).max())
        here = {
            "jax.grad": max(float(jnp.abs(a - b).max()) for a, b in zip(mine, theirs, strict=True)) / largest,
            "central differences": float(np.abs(np.asarray(mine[0]).ravel()[places] - slopes).max()) / largest,
        }
        off = {name: max(off[name], value) for name, value in here.items()}
        shape = " x ".join(map(str, mine[0].shape))
        rows.append({"layer": str(at), "weights": shape, "largest gradient": f"{largest:.2e}"} | {
            f"off {name}": f"{value:.0e}" for name, value in here.items()
        })  # fmt: skip
    return off, rows


def central_differences(weights: Weights, x: np.ndarray, t: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return, for some weights of each layer, which they are and the slope of the error, in float64 by numpy."""
    wide = [(np.asarray(m, np.float64), np.asarray(b, np.float64)) for m, b in weights]

    def value() -> float:
        a = x.astype(np.float64)
        for matrix, bias in wide:
            a = 1 / (1 + np.exp(-(a @ matrix + bias)))
        return 0.5 * float(((a - t) ** 2).sum())

    found = []
    for matrix, _ in wide:
        flat, slopes = matrix.reshape(-1), []
        places = np.linspace(0, flat.size - 1, min(TRIED, flat.size)).astype(int)
        for place in places:
            before = flat[place]
            ends = []
            for step in (STEP, -STEP):
                flat[place] = before + step
                ends.append(value())
            flat[place] = before
            slopes.append((ends[0] - ends[1]) / (2 * STEP))
        found.append((places, np.array(slopes)))
    return found


def gradient_norms(
    key: jax.Array, x: np.ndarray, config: Config, activation: Callable[[jax.Array], jax.Array], init: Any
) -> np.ndarray:
    """Return the length of the gradient of what each hidden layer gives, (depth,), through equal layers."""
    first, *keys = jax.random.split(key, config.depth + 1)
    enter = init(first, (x.shape[1], config.width), jnp.float32)
    matrices = jnp.stack([init(k, (config.width, config.width), jnp.float32) for k in keys[:-1]])
    return np.asarray(_norms(x @ enter, matrices, keys[-1], activation))


@partial(jax.jit, static_argnames="activation")
def _norms(z, matrices, key, activation):
    def layer(a, matrix):
        return activation(a @ matrix), a

    end, inputs = jax.lax.scan(layer, activation(z), matrices)

    def back(delta, step):
        a, matrix = step
        _, pullback = jax.vjp(lambda a: activation(a @ matrix), a)
        return pullback(delta)[0], jnp.linalg.norm(delta)

    delta, norms = jax.lax.scan(back, jax.random.normal(key, end.shape), (inputs, matrices), reverse=True)
    return jnp.concatenate([jnp.linalg.norm(delta)[None], norms])


def timed(key: jax.Array, x: np.ndarray, t: np.ndarray, config: Config) -> dict[str, Any]:
    """Return how many times as long as the value alone the value with its gradient takes."""
    sizes = [x.shape[1], *[1000] * 3, CLASSES]  # large enough for arithmetic to count
    large = drawn(key, sizes, initializers.glorot_normal)
    value = partial(error, activation=F.sigmoid)
    programs = []
    for fn in (jax.jit(value), jax.jit(jax.value_and_grad(value))):
        latest: list[Any] = [None]

        def call(fn=fn, latest=latest):
            latest[0] = fn(large, x, t)

        programs.append(Program(call, lambda latest=latest: jax.block_until_ready(latest)))
    ours, theirs = programs
    figures = compare(ours, theirs, config.seconds, 0.1).figures()
    return {"ratio": figures["ratio"], "low": figures["low"], "high": figures["high"], "pairs": figures["pairs"]}


def sections(config: Config, rows: list[dict[str, str]], norms: dict[str, np.ndarray]):
    """Return the picture and the tables."""
    names = {"sigmoid": "sigmoid, Glorot's weights", "relu": "ReLU, He's weights"}
    lines = {names[name]: values / values[:, -1:] for name, values in norms.items()}
    return [
        report.Section(
            "By hand and by jax.grad",
            [
                report.Table(
                    rows,
                    f"Largest difference from the gradient by hand, by the layer's largest gradient; central "
                    f"differences of {TRIED} weights a layer.",
                )
            ],
        ),
        report.Section(
            "Through many layers",
            [
                report.Picture(
                    spread_lines(
                        "length of the gradient", "layer", 1 + np.arange(config.depth), lines, logarithmic="y"
                    ),
                    f"The gradient of what each layer gives, by that of the last layer; {config.seeds} draws of the "
                    "weights. It is sent back from the right: a sigmoid's slope is at most 1/4.",
                    "Lines of the gradient's length against the layer, for sigmoid and for rectified units.",
                )
            ],
        ),
    ]


if __name__ == "__main__":
    run(main, Config)
