"""What is a net sure of that shows nothing? Fooling images of every class, and whether they mean anything to others.

`python -m experiments.fooling` trains a net on the digits, or takes one: the folder of a training run, or a file of
`jaxcnn.save` with `--dataset`. It looks for images that the net is more than 99 % sure of, one for each class, by
gradient ascent from noise, by evolution of pixels, and by evolution of regular patterns. Whether they show anything is
measured by what knows nothing of the net: the nearest training images, the class's mean image, and a second net,
trained like the first with another seed. Then the net learns these images as one more class, "fooling", and the same
searches are made again. The net that is trained here learns without label smoothing, with which nets are sure of
nothing by 99 %. What it promises: in each way, images of every class that the net is more than 99 % sure of after
rounding to 8 bits, and that are less like the mean image of their class than real ones are, with every class. About
1 min on 2 cores for digits, with the trainings.

Source: Nguyen, Yosinski, Clune 2015, "Deep neural networks are easily fooled".
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.apparatus.fooled_images import (
    ASCENT,
    DIRECT,
    PATTERNS,
    REAL,
    Measured,
    another,
    eight_bit,
    examples,
    first_above,
    measured,
    outputs,
    sure_of,
    warned,
    ways,
)  # fmt: skip
from experiments.apparatus.image_sets import some
from experiments.apparatus.liked_images import NEIGHBOURS
from experiments.apparatus.lines import spread_lines
from experiments.apparatus.statistics import summary_of_many
from experiments.apparatus.trained import OfNet, Trained, trained
from experiments.framework.device import console
from experiments.framework.runner import Result, judge, run
from jaxcnn import data, report, training
from jaxcnn.attack import fooling
from jaxcnn.checking import expect

SURE = 0.99  # that the net has to be, of every class
SHOWN = 10  # classes at most in a row
PLACES = 60  # of a curve that are drawn, at most


@dataclass(frozen=True)
class Config(OfNet):
    label_smoothing: float = 0.0  # of the training, where there is one
    steps: int = 200  # of gradient ascent, at most
    generations: int = 1000  # of each evolution
    population: int = 64  # images a generation
    real: int = 1000  # test images that are measured beside them, at most
    more: int = 3  # times that each search is made for images to warn the net with; 0 leaves that out
    warning: int = 600  # steps in which it learns them


class Again(NamedTuple):
    """What a way finds for the net that was warned, and how sure that is of it after rounding to 8 bits."""

    found: fooling.Fooled
    sure: np.ndarray


class Search(NamedTuple):
    """A way, what it found, and what is known of that."""

    found: fooling.Fooled
    known: Measured
    again: Again | None


def main(config: Config) -> Result:
    if config.quick:
        few = {"generations": 60, "population": 32, "steps": 50, "real": 100, "more": 1, "warning": 40}
        config = dataclasses.replace(config, **few)
    where = "fooling"
    for name, least in (("steps", 1), ("generations", 1), ("population", 1), ("real", 2), ("more", 0), ("warning", 1)):
        value = getattr(config, name)
        expect(value >= least, where, f"{name} of at least {least}", value, "Pass more.")
    mine = trained(where, config, label_smoothing=config.label_smoothing)
    second = another(config, mine)
    keys = jax.random.split(jax.random.key(config.seed), 5)
    classes = np.arange(len(mine.class_names))
    searches = ways(mine.train.spec, config.steps, config.generations, config.population)
    found = searched(mine, searches, classes, keys[0])
    real = some(mine.test, config.real, keys[1])
    known = {REAL: measured(mine, second, np.asarray(data.to_float(jnp.asarray(real["image"]))), real["label"])}
    known |= {name: measured(mine, second, np.asarray(one.images), classes) for name, one in found.items()}
    again: dict[str, Again] = {}
    accuracy: dict[str, Any] = {}
    if config.more:
        many = [searched(mine, searches, classes, key) for key in jax.random.split(keys[2], config.more)]
        wary = warned(
            mine, np.concatenate([one.images for each in many for one in each.values()]), config.warning, keys[3]
        )
        again = {
            name: Again(one, sure_of(wary, np.asarray(one.images), classes))
            for name, one in searched(wary, searches, classes, keys[4]).items()
        }
        accuracy = {name: right(net) for name, net in (("before", mine), ("after", wary))}
        accuracy["fooling images found out"] = {
            name: float((outputs(wary, eight_bit(np.asarray(one.images))).argmax(1) == len(classes)).mean())
            for name, one in found.items()
        }
    every = {name: Search(one, known[name], again.get(name)) for name, one in found.items()}
    figures = {
        "classes": len(classes),
        "ways": {name: recorded(one) for name, one in every.items()},
        "measures": {name: summaries(each, real["label"] if name == REAL else classes) for name, each in known.items()},
        "warned": accuracy,
    }
    promises = promised(mine, every, known[REAL], real["label"])
    answer = sentence(mine, figures, config)
    judgement = judge(config, answer, promises)
    headline = [
        report.Number(name, f"{figures['ways'][name]['sure']} of {len(classes)}", f"classes above {SURE:.0%}")
        for name in every
    ]
    sections = [
        gallery(mine, every, config),
        curves(every),
        meaning(figures["measures"]),
        *([warning(figures, config)] if accuracy else []),
    ]
    return Result(figures, sections, *judgement, headline)


def searched(
    net: Trained, searches: Mapping[str, Any], classes: np.ndarray, key: jax.Array
) -> dict[str, fooling.Fooled]:
    """Return what each way finds for a net, on the host."""
    logits_fn, found = training.predictor(net.net, net.params, net.state), {}
    for (name, way), own in zip(searches.items(), jax.random.split(key, len(searches)), strict=True):
        found[name] = jax.device_get(way(own, logits_fn, classes))
        console.print(f"{name}: {int(found[name].above(SURE).sum())} of {len(classes)} classes", markup=False)
    return found


def right(net: Trained) -> float:
    """Return the accuracy on the test set."""
    return training.evaluate(net.net, net.params, net.state, net.test)["accuracy"]


def recorded(one: Search) -> dict[str, Any]:
    """Return what is known of a way, class by class."""
    steps = first_above(one.found.history, SURE)
    figures: dict[str, Any] = {
        "sure": int((one.known.sure > SURE).sum()),
        "confidence": one.found.confidence.tolist(),
        "confidence_8_bit": one.known.sure.tolist(),
        "steps": [None if np.isnan(step) else int(step) for step in steps],
    }
    if one.again is not None:
        steps = first_above(one.again.found.history, SURE)
        figures["sure_of_the_warned"] = int((one.again.sure > SURE).sum())
        figures["steps_of_the_warned"] = [None if np.isnan(step) else int(step) for step in steps]
    return figures


def summaries(known: Measured, classes: np.ndarray) -> dict[str, Any]:
    """Return the measures over images: mean, standard deviation, how many, how sure."""
    rows = {
        "confidence": known.sure,
        "nearest": known.nearest,
        "correlation": known.correlation,
        "neighbours_agree": known.judged == classes,
        "second_net_agrees": known.other_class == classes,
        "second_net_confidence": known.other_sure,
        "second_net_sure": known.other_sure > SURE,
    }
    return {name: summary_of_many(values) for name, values in rows.items()}


def promised(mine: Trained, every: Mapping[str, Search], real: Measured, label: np.ndarray) -> dict[str, bool]:
    """Return what is promised, and whether it is so."""
    promises = {}
    like = np.array([real.correlation[label == k].mean() for k in range(len(mine.class_names)) if (label == k).any()])
    asked = [k for k in range(len(mine.class_names)) if (label == k).any()]
    for name, one in every.items():
        promises[f"by {name} more than {SURE:.0%} sure of every class"] = bool((one.known.sure > SURE).all())
        unlike = bool((one.known.correlation[asked] < like).all())
        promises[f"by {name} all are less like the mean image of the class than real ones"] = unlike
    return promises


def sentence(mine: Trained, figures: Mapping[str, Any], config: Config) -> str:
    """Return the answer."""
    count, measures = figures["classes"], figures["measures"]
    mean = lambda name, what: measures[name][what]["mean"]  # noqa: E731
    sure = ", ".join(str(one["sure"]) for one in figures["ways"].values())
    of = ", ".join(f"{mean(name, 'correlation'):.2f}" for name in figures["ways"])
    agree = ", ".join(f"{count * mean(name, 'neighbours_agree'):.0f}" for name in figures["ways"])
    second = ", ".join(f"{count * mean(name, 'second_net_agrees'):.0f}" for name in figures["ways"])
    words = (
        f"{mine.train.info.name}, images by {', '.join(figures['ways'])}, in that order: the net is more than "
        f"{SURE:.0%} sure of {sure} of {count} classes; correlation with the mean image of the class is {of}, that of "
        f"real images {mean(REAL, 'correlation'):.2f}; the {NEIGHBOURS} nearest training images name the class of "
        f"{agree}; a second net takes {second} for the same."
    )
    if not figures["warned"]:
        return words
    after = ", ".join(str(one["sure_of_the_warned"]) for one in figures["ways"].values())
    before, now = (100 * figures["warned"][name] for name in ("before", "after"))
    return (
        f"{words} Warned of such images (test accuracy {before:.1f} % before, {now:.1f} % after), the net is still "
        f"fooled in {after} classes by new ones."
    )


def gallery(mine: Trained, every: Mapping[str, Search], config: Config) -> report.Section:
    """Return the images of each way, a column a class, below real ones."""
    classes = np.arange(len(mine.class_names))[:SHOWN]
    real = examples(mine, classes)
    sure = np.asarray(jax.nn.softmax(outputs(mine, eight_bit(real))))[classes, classes]
    rows = {f"a {REAL.removesuffix('s')} of the class": real}
    captions = {name: [f"{mine.class_names[k]}: {percent(sure[k])}" for k in classes] for name in rows}
    for name, one in every.items():
        rows[name] = np.asarray(one.found.images)[:SHOWN]
        captions[name] = [percent(one.known.sure[k]) for k in classes]
    caption = (
        "A column a class, and how sure the net is of that class, in %, after rounding to 8 bits. Ascent takes "
        f"{config.steps} steps at most and ends when it is sure; evolution takes {config.generations} generations of "
        f"{config.population} images, and sees the outputs of the net alone."
    )
    alt = "Four rows of images: real ones, two rows of what looks like noise, and one of regular patterns."
    return report.Section("Fooling images", [report.Picture(report.image_rows(rows, captions), caption, alt)])


def percent(probability: float) -> str:
    """Return a probability in %, rounded down, so that 100 is not said of what is less."""
    return f"{np.floor(1000 * probability) / 10:.1f}"


def curves(every: Mapping[str, Search]) -> report.Section:
    """Return how sure the net becomes."""
    pictures = []
    for names, unit in (((ASCENT,), "steps"), ((DIRECT, PATTERNS), "generations")):
        above = [(np.asarray(every[name].found.history) > SURE).sum(1) for name in names]
        at = np.unique(np.geomspace(1, len(above[0]), PLACES).astype(int)) - 1
        lines = {name.removeprefix("evolution of "): n[None, at] for name, n in zip(names, above, strict=True)}
        picture = spread_lines(f"classes above {SURE:.0%}", f"1 + {unit}", (at + 1).tolist(), lines, logarithmic="x")
        caption = f"Of how many classes there is an image that the net is more than {SURE:.0%} sure of."
        pictures.append(report.Picture(picture, caption, f"Rising lines: classes against {unit}."))
    steps = [
        {"": name, **{quantile: told(first_above(one.found.history, SURE), q) for quantile, q in QUANTILES.items()}}
        for name, one in every.items()
    ]
    table = report.Table(steps, f"Steps or generations until the net is more than {SURE:.0%} sure, over classes.")
    return report.Section("How fast", [*pictures, table])


def told(steps: np.ndarray, quantile: float) -> str:
    """Return a quantile of steps, some of which were never reached."""
    value = float(np.quantile(np.where(np.isnan(steps), np.inf, steps), quantile, method="higher"))
    return f"{value:.0f}" if np.isfinite(value) else "never"


def meaning(measures: Mapping[str, Any]) -> report.Section:
    """Return what others see in the images."""
    rows = [
        {
            "": name,
            "distance": f"{one['nearest']['mean']:.3f} ± {one['nearest']['sd']:.3f}",
            "correlation": f"{one['correlation']['mean']:.2f} ± {one['correlation']['sd']:.2f}",
            "neighbours agree": f"{one['neighbours_agree']['mean']:.0%}",
            "second net agrees": f"{one['second_net_agrees']['mean']:.0%}",
            f"by {SURE:.0%}": f"{one['second_net_sure']['mean']:.0%}",
            "images": one["nearest"]["n"],
        }
        for name, one in measures.items()
    ]
    caption = "Mean ± standard deviation over images."
    return report.Section("Do they mean anything?", [MEANING, report.Table(rows, caption)])


def warning(figures: Mapping[str, Any], config: Config) -> report.Section:
    """Return what becomes of a net that knows such images."""
    found, warned = figures["ways"], figures["warned"]
    steps = lambda values: told(np.array([np.nan if v is None else v for v in values], float), 0.5)  # noqa: E731
    rows = [
        {
            "": name,
            "old ones found out": f"{warned['fooling images found out'][name]:.0%}",
            f"classes above {SURE:.0%}, before": one["sure"],
            "after": one["sure_of_the_warned"],
            "median steps, before": steps(one["steps"]),
            "after it": steps(one["steps_of_the_warned"]),
        }
        for name, one in found.items()
    ]
    before, after = (f"{100 * warned[when]:.2f} %" for when in ("before", "after"))
    words = (
        f"Other images of the same kinds, {config.more} of each class and way, were learned as a class of their own in "
        f"{config.warning} steps more; then all was looked for anew. Found out: images of the gallery that the net now "
        f"puts into that class. Test accuracy {before} before, {after} after."
    )
    return report.Section("A net that was warned", [words, report.Table(rows)])


QUANTILES = {"fastest class": 0.0, "median": 0.5, "slowest": 1.0}
MEANING = (
    "Who knows nothing of the net can say whether there is something to see. Distance: how far an image is from the "
    "nearest training image, root of the mean square difference of pixels in [0, 1]. Correlation: over pixels, with "
    "the mean training image of the class. Neighbours agree: most of the nearest training images, "
    f"{NEIGHBOURS} of them, have that class. The second net was trained in the same way with another seed: whether it "
    f"agrees on the class, and whether it is more than {SURE:.0%} sure of it."
)


if __name__ == "__main__":
    run(main, Config)
