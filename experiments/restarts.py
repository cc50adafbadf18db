"""How much does the random start decide, and what is gained by taking the best of several?

`python -m experiments.restarts` trains a net of 8 sigmoid units on the digits by the squared error, 64 times at once,
as lanes of one program, for 5 seeds: other splits of the images, other weights. The best of K restarts is told for
each K as its exact expectation, and the one with the lowest training error, or held-out error, is set beside the
average one on the test set, which chooses nothing. A restart has its own weights and its own order of the images; 64
more with the same orders but one start show what the orders do alone. What it promises: the best of all is right more
often on the test set than the average restart, chosen by training error and chosen by held-out error, beyond the 95 %
interval over seeds. About 2 min on 2 cores.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.apparatus.few_images import mistakes
from experiments.apparatus.image_sets import load
from experiments.apparatus.lines import spread_lines
from experiments.apparatus.statistics import in_points, summary
from experiments.framework.device import console
from experiments.framework.progress import LanesBar
from experiments.framework.runner import Common, Result, judge, run
from jaxcnn import data, initializers, layers, losses, report, search, training
from jaxcnn import functional as F
from jaxcnn.checking import expect

QUICK = {"seeds": 2, "restarts": 8, "epochs": 5}
QUANTILES = {"best": 0.0, "1/4": 0.25, "median": 0.5, "3/4": 0.75, "worst": 1.0}


@dataclass(frozen=True)
class Config(Common):
    seeds: int = 5  # 2 or more, from --seed on
    restarts: int = 64  # lanes of a seed, 2 or more
    units: int = 8  # in the hidden layer
    held_out: float = 0.2  # fraction of the training images that is not trained on
    epochs: int = 30  # passes through the others
    batch_size: int = 32  # images per step
    learning_rate: float = 0.3  # the same in every step


class Found(NamedTuple):
    """Fractions of wrong answers at the end, (seeds, restarts), and what says that the restarts are trainings apart."""

    training: np.ndarray
    held_out: np.ndarray
    test: np.ndarray
    one_start: np.ndarray  # the training error again, where all lanes begin with the same weights
    keys: np.ndarray  # (seeds,) different ones among the restarts
    diverged: np.ndarray  # (seeds,) restarts


def main(config: Config) -> Result:
    if config.quick:
        config = dataclasses.replace(config, **QUICK)
    where = "restarts"
    expect(config.seeds >= 2, where, "at least 2 seeds", config.seeds, "One has no standard deviation.")
    expect(config.restarts >= 2, where, "at least 2 restarts", config.restarts, "Of one there is no best.")
    found = measured(config)
    counts = powers_of_two(config.restarts)
    by = {"training": found.training, "held-out": found.held_out}
    best_of = {
        "training error": expected_best(found.training, found.training, counts),
        **{f"test, by {name}": expected_best(found.test, error, counts) for name, error in by.items()},
    }
    seeds = np.arange(config.seeds)
    gain = {  # in test accuracy over the average restart
        f"by {name}": found.test.mean(axis=1) - found.test[seeds, error.argmin(axis=1)] for name, error in by.items()
    }
    spread = {"restarts": found.training.std(axis=1, ddof=1), "one start": found.one_start.std(axis=1, ddof=1)}
    errors = {name: np.quantile(found.training, q, axis=1) for name, q in QUANTILES.items()}
    errors["mean"] = found.training.mean(axis=1)
    figures = {
        "training_error": {name: summary(values.tolist()) for name, values in errors.items()},
        "sd_of_training_error": {name: summary(values.tolist()) for name, values in spread.items()},
        "expected_best": {
            name: {str(k): summary(values[:, at].tolist()) for at, k in enumerate(counts)}
            for name, values in best_of.items()
        },
        "gain": {name: summary(values.tolist()) for name, values in gain.items()},
        "held_out_over_training": summary((gain["by held-out"] - gain["by training"]).tolist()),
        "diverged": found.diverged.tolist(),
        "final": {name: getattr(found, name).tolist() for name in ("training", "held_out", "test", "one_start")},
    }
    promises = {
        f"the best of {config.restarts} {name} error beats the average restart on the test set, beyond the 95 % "
        "interval": won["interval"][0] > 0
        for name, won in figures["gain"].items()
    }
    facts = {
        "the best of all is no worse than the median, with every seed": bool(
            (best_of["training error"][:, -1] <= errors["median"]).all()
        ),
        "the expected best of K does not rise with K, with every seed": bool(
            (np.diff(best_of["training error"], axis=1) <= 1e-9).all()
        ),
        f"{config.restarts} restarts with keys of their own, with every seed": bool(
            (found.keys == config.restarts).all() and found.training.shape == (config.seeds, config.restarts)
        ),
    }
    answer = sentence(config, figures)
    judgement = judge(config, answer, promises, facts)
    headline = [
        report.Number("training error", f"{100 * errors['median'].mean():.1f} %", "of the median restart"),
        report.Number("best to worst", f"{percent(errors['best'])} to {percent(errors['worst'])}", "of all restarts"),
        report.Number(
            "gain", f"{100 * gain['by training'].mean():+.1f}", "points of test accuracy, the best by training"
        ),
    ]
    return Result(figures, sections(config, found, errors, spread, gain, best_of), *judgement, headline)


def measured(config: Config) -> Found:
    """Return the errors of all seeds, each told as soon as it is known."""
    found: list[tuple[Any, ...]] = []
    for seed in range(config.seed, config.seed + config.seeds):
        split_key, start_key, key = jax.random.split(jax.random.key(seed), 3)
        train_set, test_set = load("restarts", "digits", seed)
        learned, held = data.split(train_set, config.held_out, key=split_key)
        net = narrow_net(learned.info, config.units)

        def trained(start: Any = None, net: Any = net, learned: Any = learned, key: Any = key) -> search.Trainings:
            with LanesBar(console) as bar:
                return search.random_restarts(
                    net, learned, restarts=config.restarts, start=start, key=key, loss=squared_error, metrics={},
                    optimizer=training.sgd(config.learning_rate, momentum=0.0, weight_decay=0.0),
                    epochs=config.epochs, batch_size=config.batch_size, callbacks=[bar],
                )  # fmt: skip

        lanes, alike = trained(), trained(net.init(start_key, learned.spec))
        errors = [mistakes(lanes, part).mean(axis=1) for part in (learned, held, test_set)]
        keys = len(np.unique(np.asarray(jax.random.key_data(lanes.keys)), axis=0))
        found.append((*errors, mistakes(alike, learned).mean(axis=1), keys, int(lanes.diverged.sum())))
        console.print(
            f"seed {seed}  training error {percent(errors[0].min())} to {percent(errors[0].max())}, "
            f"median {percent(np.median(errors[0]))}",
            markup=False,
        )
    return Found(*map(np.stack, zip(*found, strict=True)))


def narrow_net(info: data.DatasetInfo, units: int) -> layers.Sequential:
    """Return a net of one hidden layer of sigmoid units, as they were before ReLU: they saturate, and die early."""
    return layers.Sequential(
        normalize=layers.Normalize(info.mean, info.std),
        flatten=layers.Flatten(),
        hidden=layers.Dense(units, kernel_init=initializers.lecun_normal),
        act=F.sigmoid,
        head=layers.Dense(len(info.class_names), kernel_init=initializers.lecun_normal),
    )


def squared_error(outputs: jax.Array, batch: Mapping[str, jax.Array]) -> jax.Array:
    """Return `losses.squared_error` as a loss of the trainer."""
    return losses.squared_error(outputs, jnp.asarray(batch["label"]))


def powers_of_two(most: int) -> list[int]:
    """Return 1, 2, 4, ... up to `most`, which is the last whether it is one or not."""
    return [*(2**i for i in range((most - 1).bit_length())), most]


def expected_best(values: np.ndarray, by: np.ndarray, counts: list[int]) -> np.ndarray:
    """Return what the best of K restarts has on average, (seeds, counts), the best being the lowest in `by`.

    The i-th lowest of n, from 0, is the best of K that are drawn from them without return with probability
    C(n - 1 - i, K - 1) / C(n, K).

    Args:
        values: (seeds, restarts), of which the expectation is taken.
        by: (seeds, restarts), what the best is chosen by; ties go to the first.
        counts: the K, in 1..restarts.
    """
    ordered = np.take_along_axis(values, np.argsort(by, axis=1, kind="stable"), axis=1)
    n = values.shape[1]
    weights = [[math.comb(n - 1 - i, k - 1) / math.comb(n, k) for k in counts] for i in range(n)]
    return ordered @ np.asarray(weights)


def percent(error: Any) -> str:
    """Return a fraction, or the mean of some, as text."""
    return f"{100 * float(np.mean(error)):.1f} %"


def sections(
    config: Config,
    found: Found,
    errors: Mapping[str, np.ndarray],
    spread: Mapping[str, np.ndarray],
    gain: Mapping[str, np.ndarray],
    best_of: Mapping[str, np.ndarray],
) -> list[report.Section]:
    """Return what the page shows."""
    dots, rows = {}, []
    for at in range(config.seeds):
        name = f"seed {config.seed + at}"
        dots |= {name: 100 * found.training[at], f"{name}, one start": 100 * found.one_start[at]}
        sd, won = (
            {f"{word}{name}": round(100 * float(values[at]), 1) for name, values in each.items()}
            for word, each in (("sd, ", spread), ("gain ", gain))
        )
        rows.append({"": name, **{n: round(100 * float(v[at]), 1) for n, v in errors.items()}, **sd, **won})
    lines = {name: 100 * values for name, values in best_of.items()}
    counts = powers_of_two(config.restarts)
    return [
        report.Section(
            "What the start decides",
            [
                report.Picture(
                    report.seed_dots(dots, quantity="training error at the end, %", decimals=1),
                    f"A dot a restart, {config.restarts} a line, mean ± standard deviation. Each has weights and an "
                    "order of the images of its own; with one start the weights they begin with are the same, and what "
                    "is left is what the order alone decides.",
                    "Dots of the final training error of all restarts, two lines for each seed.",
                ),
            ],
        ),
        report.Section(
            "What the best of K is worth",
            [
                report.Picture(
                    spread_lines("error of the best, %", "K, restarts", counts, lines, logarithmic="x", ticks=True),
                    f"The best of K restarts on average: training error of the lowest one; test error of the one with "
                    f"the lowest training error, and the lowest held-out error. Mean of {config.seeds} seeds, bands of "
                    "one standard deviation.",
                    "Lines of the expected error of the best of K restarts against K.",
                ),
            ],
        ),
        report.Section(
            "Seed by seed",
            [report.Table(rows, "Training errors, %, and points of test accuracy that the best of all wins.")],
        ),
    ]


def sentence(config: Config, figures: Mapping[str, Any]) -> str:
    """Return the answer: won is only what is so beyond the 95 % interval."""
    errors = {name: percent(found["mean"]) for name, found in figures["training_error"].items()}
    sd = {name: f"{100 * found['mean']:.1f}" for name, found in figures["sd_of_training_error"].items()}

    def told(found: Mapping[str, Any]) -> str:
        low, high = found["interval"]
        words = "" if low > 0 or high < 0 else ", which may be chance"
        return f"{100 * found['mean']:+.1f} points ({in_points(found)}){words}"

    gains = "; ".join(f"chosen {name} error {told(found)}" for name, found in figures["gain"].items())
    lost = sum(figures["diverged"])
    return (
        f"digits, {config.units} sigmoid units, {config.restarts} restarts, {config.seeds} seeds: training error "
        f"{errors['best']} of the best, {errors['median']} of the median, {errors['worst']} of the worst (sd "
        f"{sd['restarts']} points, {sd['one start']} from one start, where the order of images alone differs). In test "
        f"accuracy the best of all brings, over the average restart, {gains}; by held-out rather than training error "
        f"{told(figures['held_out_over_training'])}. {lost or 'None'} diverged."
    )


if __name__ == "__main__":
    run(main, Config)
