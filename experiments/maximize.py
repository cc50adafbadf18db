"""What does a trained net take for each class? The image that it likes best, and what its layers know of others.

`python -m experiments.maximize` trains a net on digits, or takes one: the folder of a training run, or a file of
`jaxcnn.save` with `--dataset`. Of every class it looks for an image with the highest score, all classes in one program:
gradient ascent from noise on frequencies, while the image is moved about at each step, and dark and smooth ones are
preferred; in a few last steps it is held still. Beside it, the same with less: the score alone, pixels instead of
frequencies, images held still. The net that is trained here learns without label smoothing, with which nets are sure of
nothing by 99 %. What it promises: of the image of every class, rounded to 8 bits, the net is more than 99 % sure.
Whether they resemble the class, the nearest training images say, which know nothing of the net. Then channels of each
layer, test images remade from what each layer gives for them, and what layers dream of one. About a minute on 2
cores for digits, with the training.

Source: Simonyan, Vedaldi, Zisserman 2014; Olah, Mordvintsev, Schubert 2017; Mahendran, Vedaldi 2015.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.apparatus.layer_views import behind_activations
from experiments.apparatus.liked_images import CHOSEN, NEIGHBOURS, WAYS, Liked, channels_liked, liked, mean_images
from experiments.apparatus.remade_images import dream_section, inversion_section, inverted
from experiments.apparatus.trained import OfNet, Trained, trained
from experiments.framework.runner import Result, judge, run
from jaxcnn import report
from jaxcnn.checking import expect
from jaxcnn.data import to_float
from jaxcnn.explain.inner import layer_shapes
from jaxcnn.layers import Sequential
from jaxcnn.surgery.tree import children_of, modules, unwrapped

SURE = 0.99  # that the net has to be, of every class
SHOWN = 10  # classes and channels at most in a row


@dataclass(frozen=True)
class Config(OfNet):
    label_smoothing: float = 0.0  # of the training, where there is one
    steps: int = 512  # of each ascent
    channels: int = 10  # of each layer, the first ones
    layers: int = 4  # whose channels are shown and whose activations are inverted
    inverted: int = 6  # test images


def main(config: Config) -> Result:
    if config.quick:
        config = dataclasses.replace(config, steps=min(config.steps, 64), channels=3, layers=2, inverted=2)
    for name in ("steps", "channels", "layers", "inverted"):
        value = getattr(config, name)
        expect(value >= 1, "maximize", f"{name} of at least 1", value, "Pass more.")
    mine = trained("maximize", config, label_smoothing=config.label_smoothing)
    keys = jax.random.split(jax.random.key(config.seed), 4)
    classes = np.arange(len(mine.class_names))
    names = [CHOSEN] if config.quick else list(WAYS)
    found = {name: liked(mine, WAYS[name], classes, config.steps, keys[0]) for name in names}
    at = behind_activations(mine, config.layers)
    x = to_float(jnp.asarray(mine.test["image"][: config.inverted]))
    remade = inverted(mine, x, at, config.steps, keys[2])
    maps = [path for path, shape in layer_shapes(*mine[:3], mine.train.spec, at).items() if len(shape) == 4]
    best = found[CHOSEN]
    lowest, agree = float(best.eight_bit.min()), int((best.judged == classes).sum())
    figures = {
        "ways": {name: recorded(mine, one) for name, one in found.items()},
        "lowest_confidence": lowest,
        "judged_alike": agree,
        "inversion": {
            path: {"image_error": float(one.image_error.mean()), "code_error": float(one.code_error.mean())}
            for path, one in remade.items()
        },
    }
    sections = [
        gallery_section(mine, best, config.steps),
        ways_section(mine, found),
        channels_section(mine, at, config, keys[1]),
        inversion_section(np.asarray(x), remade, config.steps),
        *([dream_section(mine, mine.test["image"][0], maps, config.steps, keys[3])] if maps else []),
    ]
    answer = sentence(mine, found)
    judgement = judge(config, answer, {f"more than {100 * SURE:.0f} % sure of every one": lowest > SURE})
    headline = [
        report.Number("lowest confidence", f"{floored(lowest)} %", f"of {len(classes)} classes, 8-bit images"),
        report.Number("judged alike", f"{agree} of {len(classes)}", f"by the {NEIGHBOURS} nearest training images"),
    ]
    return Result(figures, sections, *judgement, headline)


def recorded(mine: Trained, one: Liked) -> dict[str, Any]:
    """Return what is known of the images of a way, by class."""
    return {
        name: {
            "confidence": float(one.confidence[k]),
            "confidence_8_bit": float(one.eight_bit[k]),
            "nearest_training_images": mine.class_names[one.judged[k]],
        }
        for k, name in enumerate(mine.class_names)
    }


def sentence(mine: Trained, found: Mapping[str, Liked]) -> str:
    """Return the answer."""
    best, count = found[CHOSEN], len(mine.class_names)
    lowest = int(best.eight_bit.argmin())
    own = np.arange(count)
    alike = [name for k, name in enumerate(mine.class_names) if best.judged[k] != k]
    words = f"all but {', '.join(alike)}" if 0 < len(alike) < count else ("all" if not alike else "none")
    others = {name: int((one.judged == own).sum()) for name, one in found.items() if name != CHOSEN}
    beside = f"; of {', '.join(f'{name}: {n}' for name, n in others.items())}" if others else ""
    return (
        f"the image that the net likes best of each class is that class to it with {floored(best.eight_bit.min())} % "
        f"or more (least: {mine.class_names[lowest]}), and the nearest training images agree on {words} "
        f"({int((best.judged == own).sum())} of {count}{beside})."
    )


def floored(probability: float) -> str:
    """Return a probability in %, rounded down, so that 100 is not said of what is less."""
    return f"{math.floor(1e4 * probability) / 100:.2f}"


def gallery_section(mine: Trained, best: Liked, steps: int) -> report.Section:
    """Return the images, large, each above its class."""
    titles = [f"{name}\n{floored(p)} %" for name, p in zip(mine.class_names, best.eight_bit, strict=True)]
    caption = (
        f"Found from noise in {steps} steps: the image of the highest score for each class ({CHOSEN}), and how sure "
        "the net is of it after rounding to 8 bits."
    )
    shown = slice(0, 4 * SHOWN)
    picture = report.image_grid(best.images[shown], titles[shown], columns=5)
    return report.Section("What the net likes best", [report.Picture(picture, caption, "An image for each class.")])


def ways_section(mine: Trained, found: Mapping[str, Liked]) -> report.Section:
    """Return the images of every way, below the mean training images."""
    classes = np.arange(len(mine.class_names))[:SHOWN]
    rows = {"mean training image": mean_images(mine, classes)}
    captions = {"mean training image": [mine.class_names[k] for k in classes]}
    for name, one in found.items():
        rows[name] = one.images[:SHOWN]
        captions[name] = [f"{100 * one.eight_bit[k]:.1f} {'✓' if one.judged[k] == k else '✗'}" for k in classes]
    return report.Section(
        "Ways to look for it",
        [
            report.Picture(
                report.image_rows(rows, captions),
                f"The same scores, maximised in other ways: how sure the net is, in %, and whether most of the "
                f"{NEIGHBOURS} nearest training images are of that class.",
                "Rows of images, one for each class; the first are means, some others look like noise.",
            )
        ],
    )


def channels_section(mine: Trained, at: list[str], config: Config, key: jax.Array) -> report.Section:
    """Return the images that the first channels of some layers like best."""
    rows = {}
    for path, shape in layer_shapes(*mine[:3], mine.train.spec, [before(mine, path) for path in at]).items():
        rows[path] = channels_liked(mine, path, min(config.channels, shape[-1]), config.steps, key)
    caption = (
        "Images that the first channels of some layers answer most, on average over all positions (frequencies, moved "
        "about). The layers are those before activation functions: a ReLU that is off has no slope to climb."
    )
    return report.Section(
        "What channels like best",
        [report.Picture(report.image_rows(rows), caption, "Rows of textures, a row a layer.")],
    )


def before(mine: Trained, at: str) -> str:
    """Return the path of what is given to a layer in a row of layers; the first is before itself."""
    *above, name = at.split("/")
    row = modules(mine.net).get("/".join(above), mine.net)
    names = list(children_of(row))
    first = names.index(name) == 0 or not isinstance(unwrapped(row), Sequential)
    return at if first else "/".join([*above, names[names.index(name) - 1]])


if __name__ == "__main__":
    run(main, Config)
