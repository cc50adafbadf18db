"""Does a net look at what we mean? Texture against shape, and the background in place of the object.

`python -m experiments.shortcuts` draws scenes of one object, of which the class is the shape. In some sets each class
has a texture of its own, or a ground of its own, always or nine times in ten. Small nets learn from them, and are then
tested where texture or ground are those of another class: which of the two does a net follow, and how far does its
accuracy fall? A net that saw random textures and grounds stands beside them. Nets of all kinds and 3 seeds are lanes of
one program. What it promises: with every seed the net with random textures follows the shape where the net of agreeing
textures does so less, and swapped grounds cost the nets of telling grounds more. About 6 min on 2 cores.

Source: Geirhos et al. 2019 (texture bias); Xiao et al. 2021, "Noise or signal: the role of image backgrounds".
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.apparatus.small_nets import three_stages
from experiments.apparatus.statistics import mean_sd, summary
from experiments.framework.device import console
from experiments.framework.progress import LanesBar
from experiments.framework.runner import Common, Result, judge, run
from jaxcnn import data, report, search, training
from jaxcnn.checking import expect
from jaxcnn.data.scenes import Scenes

RANDOM = "random"
CUES = ("texture", "ground")
SHOWN = 6  # scenes of a row


@dataclass(frozen=True)
class Config(Common):
    classes: tuple[str, ...] = ("disc", "square", "triangle", "star", "cross")  # shapes; as many textures and grounds
    size: int = 48  # height and width of the scenes, in pixels
    scenes: int = 1500  # to learn from, for each net
    test_scenes: int = 500  # of each test set
    strengths: tuple[float, ...] = (0.9, 1.0)  # probabilities that texture or ground is that of the class
    seeds: int = 3  # 2 or more
    epochs: int = 12  # passes through the scenes
    batch_size: int = 50  # scenes per step
    learning_rate: float = 0.1  # peak of the schedule: warm-up over a tenth, then half a cosine
    width: int = 16  # maps of the first stage


class Seen(NamedTuple):
    """What one net says of a test set: fractions of the scenes."""

    shape: float  # taken for what the shape is
    cue: float  # taken for the class whose texture or ground is there

    @property
    def shape_bias(self) -> float:
        """Of the answers that are one of the two, how many are the shape; NaN where there is none."""
        return self.shape / (self.shape + self.cue) if self.shape + self.cue else float("nan")


Found = Mapping[str, list[dict[str, Seen]]]
"""For each kind of net, for each seed, what it says by test set."""


def main(config: Config) -> Result:
    if config.quick:
        config = dataclasses.replace(config, size=32, scenes=200, test_scenes=100, seeds=2, epochs=2, width=8)
    where = "shortcuts"
    expect(config.seeds >= 2, where, "at least 2 seeds", config.seeds, "One has no standard deviation.")
    expect(len(config.classes) >= 2, where, "at least 2 classes", config.classes, "Of one nothing can be swapped.")
    ok = bool(config.strengths) and all(0 < s <= 1 for s in config.strengths)
    expect(ok, where, "strengths above 0, up to 1", config.strengths, "Random textures are there anyway.")
    train_key, test_key, fit_key = jax.random.split(jax.random.key(config.seed), 3)
    kinds = {RANDOM: (CUES[0], 0.0)} | {named(cue, s): (cue, s) for cue in CUES for s in config.strengths}
    tests = sets_to_test(config, test_key)
    found = learned(config, kinds, tests, train_key, fit_key)
    figures = {
        name: {
            test: {
                what: known([getattr(seed[test], what) for seed in seeds])
                for what in (["shape", "cue", "shape_bias"] if "conflict" in test else ["shape"])
            }
            for test in tests
        }
        for name, seeds in found.items()
    }
    answer = sentence(config, found)
    judgement = judge(config, answer, promised(config, found))
    strongest = {cue: found[named(cue, max(config.strengths))] for cue in CUES}
    headline = [
        report.Number("shape bias", percent(biases(found[RANDOM], "texture")), "of nets that saw random textures"),
        report.Number("shape bias", percent(biases(strongest["texture"], "texture")), "where texture told the class"),
        report.Number("swapped grounds", f"-{100 * np.mean(falls(strongest['ground'])):.0f}", "points of accuracy"),
    ]
    return Result(figures, sections(config, tests, found), *judgement, headline)


def named(cue: str, strength: float) -> str:
    """Return the name of the nets to whom a cue told the class."""
    return f"{cue} tells {strength:.0%}"


def drawn(config: Config, key: jax.Array, count: int, cue: str, strength: float, by: int = 0) -> data.Dataset:
    """Return scenes of one object; `label` is its shape's class, `cue` the class whose cue it has where that is sure.

    Args:
        config: the options.
        key: of the scenes.
        count: how many.
        cue: "texture" or "ground".
        strength: the probability that the cue is there.
        by: how many classes further on, cyclically, the class is from the one whose cue is shown: 0 where they agree.
    """
    turned = (*config.classes[by:], *config.classes[:by])
    scenes = Scenes(size=config.size, objects=(1, 1), classes=turned, bias=strength, biased=cue, noise=0.02)  # pyrefly: ignore
    found = scenes.dataset(key, count)
    label = (found["label"] + by) % len(turned)
    return data.from_arrays(
        found["image"], label, class_names=config.classes, name="scenes", source=found.info.source, cue=found["label"]
    )


def sets_to_test(config: Config, key: jax.Array) -> dict[str, data.Dataset]:
    """Return the test sets by name: random scenes, and for each cue those where it agrees and where it conflicts."""
    random_key, *keys = jax.random.split(key, 1 + 2 * len(CUES))
    sets = {RANDOM: drawn(config, random_key, config.test_scenes, CUES[0], 0.0)}
    others = len(config.classes) - 1
    for place, cue in enumerate(CUES):
        sets[f"{cue} agrees"] = drawn(config, keys[2 * place], config.test_scenes, cue, 1.0)
        parts = [
            drawn(config, each, -(-config.test_scenes // others), cue, 1.0, by)
            for by, each in enumerate(jax.random.split(keys[2 * place + 1], others), 1)
        ]
        sets[f"{cue} conflicts"] = joined(parts)
    return sets


def joined(parts: list[data.Dataset]) -> data.Dataset:
    """Return several sets as one."""
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    image, label, cue = (arrays[name] for name in ("image", "label", "cue"))
    return data.from_arrays(image, label, class_names=parts[0].info.class_names, name="scenes", cue=cue)


def learned(
    config: Config, kinds: Mapping[str, tuple[str, float]], tests: Mapping[str, data.Dataset], key: jax.Array,
    fit_key: jax.Array,
) -> Found:  # fmt: skip
    """Return what the nets of all kinds and seeds say of the test sets, having learned in one program."""
    console.print(f"drawing {len(kinds)} x {config.seeds} sets of {config.scenes:,} scenes", markup=False)
    keys = jax.random.split(key, len(kinds))
    pool = joined(
        [
            drawn(config, each, config.seeds * config.scenes, cue, strength)
            for each, (cue, strength) in zip(keys, kinds.values(), strict=True)
        ]
    )
    net = three_stages(pool.info, config.width)
    lanes = np.arange(pool.size).reshape(-1, config.scenes)  # a lane's own scenes
    steps = config.epochs * max(1, config.scenes // config.batch_size)
    with LanesBar(console) as bar:
        found = search.random_restarts(
            net, pool, restarts=len(lanes), examples=lanes, key=fit_key, epochs=config.epochs, callbacks=[bar],
            batch_size=config.batch_size,
            optimizer=training.sgd(training.warmup_cosine(config.learning_rate, steps)),
        )  # fmt: skip
    says = []
    for lane in range(len(found)):
        state = found.state(lane)
        says.append({})
        for name, test in tests.items():
            answer = training.predict(net, state.params, state.model_state, test).argmax(-1)
            says[-1][name] = Seen(float((answer == test["label"]).mean()), float((answer == test["cue"]).mean()))
    return {name: says[at * config.seeds : (at + 1) * config.seeds] for at, name in enumerate(kinds)}


def biases(seeds: list[dict[str, Seen]], cue: str) -> list[float]:
    """Return each seed's shape bias where a cue conflicts with the shape."""
    return [seed[f"{cue} conflicts"].shape_bias for seed in seeds]


def falls(seeds: list[dict[str, Seen]]) -> list[float]:
    """Return by how much each seed's accuracy falls where the ground is that of another class."""
    return [seed["ground agrees"].shape - seed["ground conflicts"].shape for seed in seeds]


def promised(config: Config, found: Found) -> dict[str, bool]:
    """Return what is promised, and whether it is so."""
    promises = {}
    for strength in config.strengths:
        texture, ground = found[named("texture", strength)], found[named("ground", strength)]
        promises[f"random textures lead to the shape more than {strength:.0%} agreement, with each seed"] = all(
            a > b for a, b in zip(biases(found[RANDOM], "texture"), biases(texture, "texture"), strict=True)
        )
        promises[f"swapped grounds cost the nets of {strength:.0%} agreement more, with each seed"] = all(
            a < b for a, b in zip(falls(found[RANDOM]), falls(ground), strict=True)
        )
    return promises


def known(values: list[float]) -> dict[str, Any] | None:
    """Return the summary of several seeds; None where one has no value."""
    return summary(values) if np.isfinite(values).all() else None


def percent(values: Any) -> str:
    """Return the mean of fractions and their standard deviation as text."""
    return f"{mean_sd(100 * np.asarray(values))} %"


def sentence(config: Config, found: Found) -> str:
    """Return the answer."""
    strongest = max(config.strengths)
    texture, ground = found[named("texture", strongest)], found[named("ground", strongest)]
    tests = ("ground agrees", "ground conflicts")
    agrees, swapped = ([seed[test].shape for seed in ground] for test in tests)
    own = [seed["ground conflicts"].shape for seed in found[RANDOM]]
    return (
        f"Where texture and shape name different classes, nets that learned while both agreed follow the shape in "
        f"{percent(biases(texture, 'texture'))} of the answers that are one of the two, nets that saw random textures "
        f"in {percent(biases(found[RANDOM], 'texture'))}. Where the ground told the class, accuracy is "
        f"{percent(agrees)}, and with the ground of another class {percent(swapped)}, that of nets that saw random "
        f"grounds {percent(own)}; {config.seeds} seeds."
    )


def sections(config: Config, tests: Mapping[str, data.Dataset], found: Found) -> list[report.Section]:
    """Return what the page shows."""
    words = {
        "texture": (
            "Texture against shape",
            "The class is the shape. Where the texture told it too, what did the net learn?",
            "shape bias, %",
            "Of the answers to scenes whose texture is another class's that name the shape's class or the texture's, "
            "how many name the shape's: a dot a seed, mean ± standard deviation.",
        ),
        "ground": (
            "The background in place of the object",
            "The ground has colour and texture of the object's class, and then those of another one.",
            "accuracy, %",
            "Accuracy where the ground is that of the class, of any, and of another class: a dot a seed, mean ± "
            "standard deviation.",
        ),
    }
    made = []
    for cue in CUES:
        title, question, quantity, caption = words[cue]
        of = {name: seeds for name, seeds in found.items() if name == RANDOM or name.startswith(cue)}
        order = (f"{cue} agrees", RANDOM, f"{cue} conflicts")
        if cue == "texture":
            dots = {name: [100 * bias for bias in biases(seeds, cue)] for name, seeds in of.items()}
            dots = {name: values for name, values in dots.items() if np.isfinite(values).all()}
        else:
            dots = {
                f"{name.removeprefix('ground tells ')}: {test.removeprefix('ground ')}": [
                    100 * seed[test].shape for seed in seeds
                ]
                for name, seeds in of.items()
                for test in order
            }
        rows = [
            {"net": name}
            | {f"accuracy, {test}": percent([seed[test].shape for seed in seeds]) for test in order}
            | {f"follows the {cue}": percent([seed[order[-1]].cue for seed in seeds])}
            for name, seeds in of.items()
        ]
        examples = {test: tests[test]["image"][:: max(1, tests[test].size // SHOWN)][:SHOWN] for test in order}
        alt = f"Dots of {quantity.removesuffix(', %')}, one a seed, on a line for each kind of net."
        dotted = [report.Picture(report.seed_dots(dots, quantity=quantity, decimals=1), caption, alt)] if dots else []
        made.append(
            report.Section(
                title,
                [
                    question,
                    report.Picture(
                        report.image_rows(examples),
                        f"Scenes: {cue} and shape of one class; drawn at random; of different classes.",
                        f"Rows of scenes in which {cue} and shape agree, have nothing to do with each other, conflict.",
                    ),
                    *dotted,
                    report.Table(
                        rows,
                        f"How often the class of the shape is named, and where the {cue} conflicts, how often that of "
                        f"the {cue}. Mean ± standard deviation of {config.seeds} seeds; chance is "
                        f"{100 / len(config.classes):.0f} %.",
                    ),
                ],
            )
        )
    return made


if __name__ == "__main__":
    run(main, Config)
