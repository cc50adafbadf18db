"""How many hidden units? Too few cannot learn the task; do too many learn the noise? Cross-validation chooses.

`python -m experiments.hidden_units` takes 20 images of each digit, gives a fifth of them a wrong label, and
cross-validates nets with one hidden layer of 1 to 64 units: all widths, folds and restarts are lanes of one program.
Nets of every width, trained on all of these images, then show on the test set, whose labels are right, what the choice
is worth. All of it is done for 5 seeds: other images, wrong labels, folds and weights. It exits with 1 unless the
fewest units do harm; whether the most do, it says. About 2 min on 2 cores.
"""

import dataclasses
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from experiments.apparatus.few_images import mistakes, of_the_best
from experiments.apparatus.image_sets import load, relabelled
from experiments.apparatus.lines import spread_lines
from experiments.apparatus.small_nets import masked, one_hidden_layer
from experiments.apparatus.statistics import in_points, summary
from experiments.framework.device import console
from experiments.framework.progress import LanesBar
from experiments.framework.runner import Common, Result, judge, run
from jaxcnn import data, report, search, training
from jaxcnn.checking import expect
from jaxcnn.report.canvas import BLUE, MUTED, ORANGE, drawing, figure, panel, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Config(Common):
    dataset: str = "digits"  # one of jaxcnn.data.names(), that fits into memory
    per_class: int = 20  # images of each class
    wrong: float = 0.2  # fraction of them with a wrong label
    widths: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)  # hidden units, rising
    folds: int = 5  # of the cross-validation
    restarts: int = 3  # of each width and fold; the one with the lowest training loss counts
    seeds: int = 5  # 2 or more, from --seed on
    epochs: int = 200  # passes through the images
    batch_size: int = 32  # images per step
    learning_rate: float = 0.1  # peak of the schedule: warm-up over a tenth, then half a cosine


class Found(NamedTuple):
    """Fractions of wrong answers: `validation` (seeds, widths, folds), the others (seeds, widths); `rule` (seeds,)."""

    validation: np.ndarray
    training: np.ndarray
    test: np.ndarray
    rule: np.ndarray  # the width that the rule of one standard error chooses


def main(config: Config) -> Result:
    if config.quick:
        few = {"widths": config.widths[::3], "folds": 3, "restarts": 1, "seeds": 2, "epochs": 20}
        config = dataclasses.replace(config, **few)
    where, rising = "hidden_units", all(a < b for a, b in itertools.pairwise(config.widths))
    expect(len(config.widths) >= 2 and rising, where, "two rising widths or more", config.widths, "4 and 8, say.")
    expect(config.seeds >= 2, where, "at least 2 seeds", config.seeds, "One has no standard deviation.")
    found = measured(config)
    widths = np.asarray(config.widths)
    means = found.validation.mean(axis=2)
    errors = found.validation.std(axis=2, ddof=1) / config.folds**0.5
    known = np.where(np.isnan(means), np.inf, means)  # a width that diverged in a fold is none to choose
    minimum = widths[known.argmin(axis=1)]
    best = int(known.mean(axis=0).argmin())  # of all seeds, by validation: the test set chooses nothing
    cost = {n: summary((found.test[:, at] - found.test[:, best]).tolist()) for n, at in (("fewest", 0), ("most", -1))}
    chosen = {n: summary(of(found.test, widths, ws).tolist()) for n, ws in (("rule", found.rule), ("minimum", minimum))}
    rows = [
        {
            "units": width,
            "validation, %": round(100 * float(means[:, at].mean()), 1),
            "standard error": round(100 * float(errors[:, at].mean()), 1),
            "training, %": round(100 * float(found.training[:, at].mean()), 1),
            "test, %": round(100 * float(found.test[:, at].mean()), 1),
            "its sd": round(100 * float(found.test[:, at].std(ddof=1)), 1),
            "rule": int((found.rule == width).sum()),
            "minimum": int((minimum == width).sum()),
        }
        for at, width in enumerate(config.widths)
    ]
    parts = {"validation": means, "training": found.training, "test": found.test}
    figures = {
        **{n: {str(w): summary(v[:, at].tolist()) for at, w in enumerate(config.widths)} for n, v in parts.items()},
        "standard_error": {str(w): summary(errors[:, at].tolist()) for at, w in enumerate(config.widths)},
        "chosen": {"rule": found.rule.tolist(), "minimum": minimum.tolist()},
        "test_of_the_chosen": chosen,
        "cost": {"beside": config.widths[best], **cost},
    }
    percent = {name: 100 * values for name, values in parts.items()}
    lines = spread_lines("error, %", "hidden units", config.widths, percent, logarithmic="x", ticks=True)
    sections = [
        report.Section(
            "Error against width",
            [
                report.Picture(
                    lines,
                    f"Means of {config.seeds} seeds, bands of one standard deviation. Validation and training labels "
                    f"are wrong in {config.wrong:.0%} of the images; those of the test set are right.",
                    "Lines of validation, training and test error against the number of hidden units.",
                ),
                report.Picture(
                    chosen_picture(config.widths, found.validation[0], int(found.rule[0])),
                    "How a width is chosen, the first seed: validation error, mean of the folds with its standard "
                    "error. The rule takes the narrowest net below the dotted line, which lies one standard error "
                    "above the minimum.",
                    "Validation error with error bars against the number of hidden units, and the width chosen.",
                ),
                report.Table(rows, "Means of the seeds; how many choose a width, by the rule and by the minimum."),
            ],
        )
    ]
    harm = cost["fewest"]["interval"][0] > 0
    judged = sentence(config, found, best, cost, chosen)
    judgement = judge(config, judged, {"the fewest units do harm": harm})
    headline = [
        report.Number("chosen", spoken(found.rule), "units, by one standard error, seed by seed"),
        report.Number("test error", f"{100 * chosen['rule']['mean']:.1f} %", "of the width chosen"),
    ]
    return Result(figures, sections, *judgement, headline)


def measured(config: Config) -> Found:
    """Return the errors of all seeds."""
    train_set, test_set = load("hidden_units", config.dataset, config.seed)
    net = lambda width: one_hidden_layer(train_set.info, width)  # noqa: E731
    data_key, folds_key, whole_key = jax.random.split(jax.random.key(config.seed), 3)
    sets = [few(config, train_set, key) for key in jax.random.split(data_key, config.seeds)]
    size = sets[0].size
    with LanesBar(console) as bar:
        options: search.Options = {
            "epochs": config.epochs,
            "batch_size": config.batch_size,
            "callbacks": [bar],
        }
        restarts, folds, crossed = config.restarts, config.folds, []
        for own, key in zip(sets, jax.random.split(folds_key, config.seeds), strict=True):
            found = search.cross_validate(
                net, own, widths=config.widths, folds=folds, restarts=restarts, refit=False, key=key,
                monitor="accuracy", optimizer=optimizer(config, size - math.ceil(size / folds)), **options,
            )  # fmt: skip
            crossed.append(found)
            console.print(f"seed {len(crossed)} of {config.seeds}: {found.width} units chosen", markup=False)
        image, label = (np.concatenate([own[name] for own in sets]) for name in ("image", "label"))
        whole = data.from_arrays(image, label, class_names=train_set.info.class_names)
        examples = np.arange(whole.size).reshape(config.seeds, -1)  # each seed's, shared by its restarts
        found = search.sweep(
            masked(net, max(config.widths)), whole, over={"width": config.widths}, restarts=config.seeds * restarts,
            examples=np.repeat(examples, restarts, axis=0), key=whole_key, optimizer=optimizer(config, size), **options,
        )  # fmt: skip
    test = mistakes(found, test_set).mean(axis=1)
    shape = (len(config.widths), config.seeds, restarts)
    return Found(
        np.stack([one.errors for one in crossed]),
        np.stack([learned(one, (len(config.widths), folds, restarts)) for one in crossed]),
        of_the_best(test, found.values, shape).T,
        np.array([one.width for one in crossed]),
    )


def optimizer(config: Config, size: int) -> Any:
    """Return SGD whose rate ends with the epochs of so many examples."""
    steps = max(config.epochs * (size // config.batch_size), 1)
    return training.sgd(training.warmup_cosine(config.learning_rate, steps), weight_decay=0.0)


def few(config: Config, train_set: data.Dataset, key: jax.Array) -> data.Dataset:
    """Return a seed's images, some of them with a wrong label."""
    images_key, labels_key = jax.random.split(key)
    return relabelled(data.per_class(train_set, config.per_class, key=images_key), config.wrong, key=labels_key)


def learned(found: search.CrossValidation, shape: Sequence[int]) -> np.ndarray:
    """Return the training error of each width in the last epoch, the mean over the folds of the restarts that count."""
    last = found.lanes.history[-1]
    return of_the_best(1 - last["train_accuracy"], last["train_loss"], shape).mean(axis=1)


def of(values: np.ndarray, widths: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Return, seed by seed, the value of the width that was chosen."""
    return values[np.arange(len(chosen)), np.searchsorted(widths, chosen)]


def sentence(config: Config, found: Found, best: int, cost: dict[str, Any], chosen: dict[str, Any]) -> str:
    """Return the answer: harm is only what is so beyond the 95 % interval."""
    low, high = cost["most"]["interval"]
    harm = "too many do harm" if low > 0 else "more only help" if high < 0 else "too many do no harm that is seen"
    beside = f"({config.widths[-1]} beside {config.widths[best]}: {in_points(cost['most'])} points)"
    most = f"{harm} {beside}" if best < len(config.widths) - 1 else "none of these are too many"
    error = 100 * found.test.mean(axis=0)
    places = dict.fromkeys((0, best, len(config.widths) - 1))
    told = ", ".join(f"{error[at]:.1f} % with {config.widths[at]}" for at in places)
    return (
        f"{config.dataset}, {config.per_class} images of each class, {config.wrong:.0%} of labels wrong, "
        f"{config.seeds} seeds: test error {told} units; {most}. One standard error chooses {spoken(found.rule)}, "
        f"{100 * chosen['rule']['mean']:.1f} % wrong; the minimum {100 * chosen['minimum']['mean']:.1f} %."
    )


def spoken(widths: np.ndarray) -> str:
    """Return the widths that seeds choose, and how often where it is more than once."""
    values, counts = np.unique(widths, return_counts=True)
    return ", ".join(f"{v}" if c == 1 else f"{v} ({c}x)" for v, c in zip(values, counts, strict=True))


@drawing
def chosen_picture(widths: Sequence[int], errors: np.ndarray, chosen: int) -> "Figure":
    """Return the validation errors (widths, folds) as means with standard errors, the bound of the rule, the choice."""
    from matplotlib.ticker import NullLocator

    blank = figure(3.0)
    axes = panel(blank.subplots(), "validation error, %")
    mean, error = 100 * errors.mean(axis=1), 100 * errors.std(axis=1, ddof=1) / errors.shape[1] ** 0.5
    axes.errorbar(widths, mean, error, fmt="-o", color=BLUE, linewidth=1.6, markersize=4, capsize=3)
    best, at = int(mean.argmin()), list(widths).index(chosen)
    axes.axhline(mean[best] + error[best], color=MUTED, linewidth=1.2, linestyle=(0, (2, 3)))
    axes.plot([chosen], [mean[at]], "o", color=ORANGE, markersize=9)
    spot = {"textcoords": "offset points", "va": "bottom", "ha": "left"}
    axes.annotate(f"chosen: {chosen}", (chosen, mean[at] + error[at]), (6, 8), **spot, **style(ORANGE))
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(widths, [str(width) for width in widths])
    axes.set_xlabel("hidden units", **style(MUTED))
    return blank


if __name__ == "__main__":
    run(main, Config)
