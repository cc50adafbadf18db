"""How well does a net see through noise, blur, weather and compression, and does augmentation help?

`python -m experiments.corruptions` trains a net on the digits (`--dataset fashion_mnist --epochs 3`, or the folder of a
training run, for others) and measures it on test images with 15 kinds of corruption at 5 severities each. Beside it
stand nets of the same form that learn from some of its images without augmentation, with AugMix and with the recipe's
policy, 3 seeds each; and how all of them take shifts and rotations. What it promises: with every net the mean accuracy
falls from each severity to the next. Whether augmentation helps, it says. About 4 min on 2 cores.

Source: Hendrycks and Dietterich 2019; Hendrycks et al. 2020 (AugMix); Zhang 2019 (shifts).
"""

import dataclasses
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.apparatus.image_sets import in_memory, some
from experiments.apparatus.lines import spread_lines
from experiments.apparatus.recipes import recipe
from experiments.apparatus.statistics import in_points, summary
from experiments.apparatus.trained import OfNet, Trained, trained
from experiments.apparatus.training_options import Config as TrainConfig
from experiments.apparatus.training_options import augmentation
from experiments.framework.device import console
from experiments.framework.progress import LanesBar
from experiments.framework.runner import Result, judge, run
from jaxcnn import augment, data, report, search, training
from jaxcnn.attack import corruptions
from jaxcnn.attack.corruptions import CORRUPTIONS, SEVERITIES, CorruptionReport
from jaxcnn.attack.corruptions.table import corrupted
from jaxcnn.attack.invariance import rotation_accuracy, shift_accuracy, shift_consistency
from jaxcnn.checking import expect, expect_choice

PLAIN, GIVEN = "no augmentation", "the net itself"
QUICK = ("gaussian_noise", "defocus_blur", "fog", "contrast")  # what --quick looks at
BATCH = 250  # images at once
Logits = Callable[[jax.Array], jax.Array]


@dataclass(frozen=True)
class Config(OfNet):
    kinds: tuple[str, ...] = ()  # names of corruptions; all 15 unless given
    images: int = 500  # test images that are corrupted, at most
    learned: int = 2000  # training images of the nets that are compared, at most
    seeds: int = 3  # of each of them, 2 or more
    passes: int = 30  # through their images
    batch_size: int = 50  # images per step
    learning_rate: float = 0.05  # peak of the schedule: warm-up over a tenth, then half a cosine
    turns: int = 24  # angles of a whole turn


class Measured(NamedTuple):
    """What is measured of one net."""

    corrupted: CorruptionReport
    shifts: np.ndarray  # accuracy, by distance in pixels
    rotations: np.ndarray  # accuracy, by angle
    consistency: float  # under shifts by a pixel


def main(config: Config) -> Result:
    if config.quick:
        few = {"kinds": config.kinds or QUICK, "images": 48, "learned": 300, "seeds": 2, "passes": 4}
        config = dataclasses.replace(config, **few)
    where = "corruptions"
    expect(config.seeds >= 2, where, "at least 2 seeds", config.seeds, "One has no standard deviation.")
    for kind in config.kinds:
        expect_choice(where, f"kinds out of {tuple(CORRUPTIONS)}", kind, tuple(CORRUPTIONS))
    found = trained(where, config)
    test_key, key, fit_key = jax.random.split(jax.random.key(config.seed), 3)
    test = some(in_memory(where, found.test), config.images, test_key)
    nets = compared(config, found, fit_key)
    own = training.predictor(found.net, found.params, found.state)
    measured = {GIVEN: [measure(config, key, own, test)]}
    console.print(f"{GIVEN}: {told(measured[GIVEN][0])}", markup=False)
    for name, states in nets.items():
        measured[name] = [measure(config, key, each, test) for each in states]
        for each in measured[name]:
            console.print(f"{name}: {told(each)}", markup=False)
    accuracy = {name: [1 - each.corrupted.mean_error for each in nets] for name, nets in measured.items()}
    gains = {
        name: summary([a - b for a, b in zip(values, accuracy[PLAIN], strict=True)])
        for name, values in accuracy.items()
        if name not in (GIVEN, PLAIN)
    }
    falls = all((np.diff(each.corrupted.accuracy.mean(0)) < 0).all() for nets in measured.values() for each in nets)
    answer, kinds = sentence(measured, gains), measured[GIVEN][0].corrupted.kinds
    figures = {
        GIVEN: {
            **one(measured[GIVEN][0]),
            "accuracy": dict(zip(kinds, measured[GIVEN][0].corrupted.accuracy.tolist(), strict=True)),
        },
        "compared": {name: several(measured[name], measured[PLAIN]) for name in nets},
        "gain": gains,
        "images": test.size,
    }
    judgement = judge(config, answer, {"the mean accuracy of every net falls with each severity": falls})
    headline = [
        report.Number("clean", f"{100 * measured[GIVEN][0].corrupted.clean:.1f} %", "accuracy of the net itself"),
        report.Number("corrupted", f"{100 * accuracy[GIVEN][0]:.1f} %", f"mean of {len(kinds)} kinds and 5 severities"),
        *(report.Number(name, f"{100 * gain['mean']:+.1f}", "points of it won") for name, gain in gains.items()),
    ]
    return Result(figures, sections(config, key, test, measured), *judgement, headline)


def compared(config: Config, found: Trained, key: jax.Array) -> dict[str, list[Logits]]:
    """Return nets of the same form by what they were augmented with, one a seed; all begin with the same weights."""
    some_key, key = jax.random.split(key)
    few = some(in_memory("corruptions", found.train), config.learned, some_key)
    few = data.from_arrays(few["image"], few["label"], class_names=found.class_names, name=few.info.name)
    own = TrainConfig(dataset=few.info.name, seed=config.seed)
    own = dataclasses.replace(own, **recipe(few.info.name, jax.default_backend(), min(few.spec.shape[1:3])))
    ways = {PLAIN: None, "AugMix": augment.batched(augment.augmix), "the recipe's": augmentation(own)}
    steps = config.passes * max(1, few.size // config.batch_size)
    nets = {}
    for name, way in ways.items():
        with LanesBar(console) as bar:
            lanes = search.random_restarts(
                found.net, few, restarts=config.seeds, key=key, augment=way, epochs=config.passes,
                batch_size=min(config.batch_size, few.size), callbacks=[bar],
                optimizer=training.sgd(training.warmup_cosine(config.learning_rate, steps)),
            )  # fmt: skip
        states = [lanes.state(lane) for lane in range(len(lanes))]
        nets[name] = [training.predictor(found.net, s.params, s.model_state) for s in states]
    return nets


def measure(config: Config, key: jax.Array, logits_fn: Logits, test: data.Dataset) -> Measured:
    """Return what is measured of one net; the same images, and the same corruptions, for all."""
    x, y = data.to_float(test["image"]), jnp.asarray(test["label"])
    return Measured(
        corruptions.corruption_errors(key, logits_fn, x, y, kinds=config.kinds or None, batch_size=BATCH),
        shift_accuracy(logits_fn, x, y, distances=distances(test)),
        rotation_accuracy(logits_fn, x, y, degrees=angles(config)),
        shift_consistency(logits_fn, x),
    )


def distances(test: data.Dataset) -> range:
    """Return shifts of up to a third of the image."""
    return range(1 + min(test["image"].shape[1:3]) // 3)


def angles(config: Config) -> list[float]:
    """Return the angles of a whole turn, in degrees."""
    return np.linspace(-180, 180, config.turns + 1).tolist()


def told(found: Measured) -> str:
    """Return a line on one net."""
    return f"accuracy {found.corrupted.clean:.4f}, corrupted {1 - found.corrupted.mean_error:.4f}"


def one(found: Measured) -> dict[str, Any]:
    """Return the figures of one net."""
    return {
        "clean": found.corrupted.clean,
        "corrupted": 1 - found.corrupted.mean_error,
        "by_severity": found.corrupted.accuracy.mean(0).tolist(),
        "shifts": found.shifts.tolist(),
        "rotations": found.rotations.tolist(),
        "consistency": found.consistency,
    }


def several(nets: Sequence[Measured], plain: Sequence[Measured]) -> dict[str, Any]:
    """Return the figures of the nets of several seeds."""
    ratio = [each.corrupted.mce(other.corrupted) for each, other in zip(nets, plain, strict=True)]
    return {
        "clean": summary([each.corrupted.clean for each in nets]),
        "corrupted": summary([1 - each.corrupted.mean_error for each in nets]),
        "mce": summary(ratio) if np.isfinite(ratio).all() else None,
        "consistency": summary([each.consistency for each in nets]),
        "accuracy": {
            kind: summary([float(each.corrupted.accuracy[at].mean()) for each in nets])
            for at, kind in enumerate(plain[0].corrupted.kinds)
        },
    }


def sections(
    config: Config, key: jax.Array, test: data.Dataset, measured: Mapping[str, Sequence[Measured]]
) -> list[report.Section]:
    """Return what the page shows."""
    own = measured[GIVEN][0].corrupted
    names = [kind.replace("_", " ") for kind in own.kinds]
    by_kind = {
        label: {n: [100 * float(e.corrupted.accuracy[at].mean()) for e in nets] for at, n in enumerate(names)}
        for label, nets in measured.items()
    }
    percent = {
        what: {name: 100 * np.stack([getattr(each, what) for each in nets]) for name, nets in measured.items()}
        for what in ("shifts", "rotations")
    }
    rows = [
        {
            "net": name,
            "clean, %": spread([100 * each.corrupted.clean for each in nets]),
            "corrupted, %": spread([100 * (1 - each.corrupted.mean_error) for each in nets]),
            "same class one pixel on, %": spread([100 * each.consistency for each in nets]),
        }
        for name, nets in measured.items()
    ]
    cells = np.concatenate([own.accuracy, own.accuracy.mean(0, keepdims=True)])
    costs = report.heat_map(cells, [*names, "mean"], [str(s) for s in SEVERITIES], of_columns="severity")
    return [
        report.Section(
            "What corruption costs",
            [
                report.Picture(
                    costs,
                    f"Accuracy of the net itself on {test.size} test images, by kind and severity; {own.clean:.2f} on "
                    "the images as they are.",
                    "A heat map of accuracy with a row for each corruption and a column for each severity.",
                ),
            ],
        ),
        report.Section(
            "Does augmentation help?",
            [
                report.Picture(
                    report.by_layer(by_kind, quantity="accuracy, %, mean of the severities", decimals=1),
                    "Accuracy by kind of corruption: of the net itself (the numbers), and of nets of its form that "
                    f"learned from at most {config.learned:,} images, mean of {config.seeds} seeds, bars of one "
                    "standard deviation.",
                    "Dots of accuracy on lines, a row for each corruption and a line for each kind of training.",
                ),
                report.Table(rows, "Mean ± standard deviation over seeds."),
            ],
        ),
        report.Section(
            "Shifts and rotations",
            [
                report.Picture(
                    spread_lines("accuracy, %", "shift, pixels", distances(test), percent["shifts"], ticks=True),
                    "Accuracy by the distance of a shift, mean of four directions; black comes in.",
                    "Lines of accuracy against the distance of a shift.",
                ),
                report.Picture(
                    spread_lines("accuracy, %", "angle, degrees", angles(config), percent["rotations"]),
                    "Accuracy by the angle of a rotation about the centre, counter-clockwise; black comes in.",
                    "Lines of accuracy against the angle of a rotation.",
                ),
            ],
        ),
        *gallery(key, data.to_float(test["image"][:BATCH]), own.kinds),
    ]


def gallery(key: jax.Array, images: jax.Array, known: Sequence[str]) -> list[report.Section]:
    """Return the first of some images (N, H, W, C) with every kind at every severity, a section for each family."""
    found = []
    for family, kinds in corruptions.FAMILIES.items():
        rows = {}
        for kind in (kind for kind in kinds if kind in known):
            # As many images as were measured, by the program that is there.
            keys = jnp.stack([jax.random.split(jax.random.fold_in(key, s), len(images)) for s in SEVERITIES])
            drawn = corrupted(keys, images, name=kind, severities=SEVERITIES)[:, 0]
            rows[kind.replace("_", " ")] = np.concatenate([images[:1], drawn])
        if not rows:
            continue
        picture = report.Picture(
            report.image_rows(rows),
            "A test image as it is, and at severities 1 to 5.",
            f"Rows of one image with {', '.join(rows)}, ever stronger.",
        )
        found.append(report.Section(f"Gallery: {family}", [picture]))
    return found


def spread(values: Sequence[float]) -> str:
    """Return mean and standard deviation of several seeds as text, or the one value."""
    mean = f"{statistics.fmean(values):.1f}"
    return mean if len(values) < 2 else f"{mean} ± {statistics.stdev(values):.1f}"


def sentence(measured: Mapping[str, Sequence[Measured]], gains: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the answer: won is only what is so beyond the 95 % interval."""
    own, plain = measured[GIVEN][0], measured[PLAIN]
    parts = []
    for name, gain in gains.items():
        low, high = gain["interval"]
        words = "helps" if low > 0 else "harms" if high < 0 else "may help or harm"
        parts.append(f"{name} {words} ({100 * gain['mean']:+.1f} points, {in_points(gain)})")
    least = own.corrupted.accuracy.mean(1)
    worst = own.corrupted.kinds[int(least.argmin())].replace("_", " ")
    return (
        f"The net itself: {100 * own.corrupted.clean:.1f} % on clean images, "
        f"{100 * (1 - own.corrupted.mean_error):.1f} % on corrupted ones, worst on {worst} "
        f"({100 * least.min():.1f} %). Of nets of its form, {spread([100 * e.corrupted.clean for e in plain])} % and "
        f"{spread([100 * (1 - e.corrupted.mean_error) for e in plain])} % without augmentation; in corrupted accuracy "
        f"{'; '.join(parts)}, {len(plain)} seeds."
    )


if __name__ == "__main__":
    run(main, Config)
