"""Where are the objects, and what are they? A detector of centres on drawn scenes, or on blood cells.

`python -m experiments.detection` draws scenes of ten shapes, trains a CenterNet (Zhou et al. 2019) on their boxes and
measures COCO's average precision on other scenes. `--dataset bccd` does the same on photographs of blood: red and
white cells and platelets, 292 images to train on and 72 to test on (BCCD_Dataset, MIT licence, in Pascal VOC's form),
read from `bccd.zip` in $JAXCNN_DATA, or from `--path`, a zip or folder, which may hold another set in that form. The
images with the lowest precision are shown. What it promises of either: an average precision of 0.80 at an overlap of
0.5. About 14 min on 2 cores.
"""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import optax

from experiments.framework.device import console
from experiments.framework.progress import ProgressBar
from experiments.framework.runner import Common, Result, judge, run
from jaxcnn import augment, data, detection, models, report, training
from jaxcnn.checking import expect
from jaxcnn.data.tfds import data_folder
from jaxcnn.layers import Normalize, Sequential

PROMISED = 0.80
SHOWN = 8  # images in the picture of the worst, and in that of the first
SKIPS = 2
STRIDE = 2  # pixels of a cell: the backbone's 8, enlarged twice
CLEAR = 0.3  # the least score of a box in pictures


@dataclass(frozen=True)
class Config(Common):
    dataset: Literal["scenes", "bccd"] = "scenes"
    path: str = ""  # of a zip or folder in Pascal VOC's form; bccd.zip in $JAXCNN_DATA unless given
    width: int = 16  # maps of the backbone's first stage
    depth: int = 10  # layers of the backbone, a ResNet: 10, 14, 18
    size: int = 64  # pixels of a scene's side
    shape: tuple[int, int] = (120, 160)  # height and width that photographs are resized to, multiples of 8
    train_images: int = 6000  # scenes
    test_images: int = 500
    epochs: int = 0  # passes through the training images; 0: 12 of scenes, 60 of photographs
    batch_size: int = 0  # images per step; 0: 32 of scenes, 8 of photographs
    slots: int = 40  # boxes of a photograph that is trained on, the largest; all of the test set count
    learning_rate: float = 4e-3  # AdamW's, after a warm-up, falling to 0 along half a cosine
    limit: int = 0  # boxes of an image that are found; 0: 20 of scenes, 60 of photographs
    overlap: float = 0.5  # of boxes of one class, above which the better one alone is kept


SETTINGS = {
    "scenes": {"epochs": 12, "batch_size": 32, "limit": 20},
    "bccd": {"epochs": 60, "batch_size": 8, "limit": 60},
}


def resolved(config: Config) -> Config:
    """Return the config with what was left open."""
    if config.quick:
        small: dict[str, Any] = {"train_images": 64, "test_images": 32, "epochs": 1, "width": 4, "shape": (48, 64)}
        config = dataclasses.replace(config, **small, batch_size=config.batch_size or 16)
    own: dict[str, Any] = {name: value for name, value in SETTINGS[config.dataset].items() if not getattr(config, name)}
    return dataclasses.replace(config, **own)


def main(config: Config) -> Result:
    config = resolved(config)
    keys = jax.random.split(jax.random.key(config.seed), 3)
    train, test = SETS[config.dataset](config, keys[0], keys[1])
    names = train.info.class_names
    backbone = models.resnet(config.depth, width=config.width, small_images=True)
    detector = models.centernet(len(names), backbone=backbone, skips=SKIPS, width=2 * config.width)
    net = Sequential(normalize=Normalize(train.info.mean, train.info.std), net=detector)
    steps = config.epochs * (train.size // config.batch_size)
    rate = training.warmup_cosine(config.learning_rate, steps)
    started = time.perf_counter()
    with ProgressBar(console) as bar:
        result = training.fit(
            net,
            train,
            optimizer=optax.adamw(rate, weight_decay=1e-2),
            loss=detection.centre_loss(STRIDE),
            epochs=config.epochs,
            batch_size=config.batch_size,
            key=keys[2],
            augment=augment.batched(AUGMENT[config.dataset]),
            callbacks=[bar],
        )
    seconds = time.perf_counter() - started
    state = result.state
    outputs = training.predict(net, state.params, state.model_state, {"image": test["image"]}, batch_size=64)
    decoded = detection.decode(outputs, stride=STRIDE, limit=config.limit, overlap=config.overlap)
    found, clear = decoded.rows(), decoded.rows(CLEAR)
    truth = [{name: test[name][at] for name in ("boxes", "box_class")} for at in range(test.size)]
    precision = detection.average_precision(found, truth, len(names))
    half = precision.at(0.5)
    figures = {
        "average_precision": float(precision),
        "average_precision_50": half,
        "average_precision_75": precision.at(0.75),
        "average_precision_50_of_class": {
            name: None if np.isnan(value) else float(value)  # of a class that no test image has
            for name, value in zip(names, precision.table[:, 0], strict=True)
        },
        "training_images": train.size,
        "test_images": test.size,
        "test_boxes": int((test["box_class"] >= 0).sum()),
        "source": [train.info.source, test.info.source],  # says how many boxes had no slot
        "training_seconds": seconds,
        "history": result.history,
    }
    alone = (detection.average_precision([f], [t], len(names)) for f, t in zip(found, truth, strict=True))
    each = np.array([float(one) for one in alone])
    counts = np.bincount(test["box_class"][test["box_class"] >= 0], minlength=len(names))
    rows = [
        {"class": name, "boxes": int(n), "average precision at 0.5": f"{a:.3f}", "at 0.75": f"{b:.3f}"}
        for name, n, (a, b) in zip(names, counts, precision.table[:, [0, 5]], strict=True)
    ]
    first, worst = np.arange(min(SHOWN, test.size)), worst_first(each, clear)[:SHOWN]
    pictures = [
        report.Section(
            "Boxes",
            [
                shown(test, truth, clear, each, worst, names, "The test images with the lowest precision"),
                shown(test, truth, clear, each, first, names, "The first test images"),
                f"Trained on {train.info.source}; tested on {test.info.source}.",
            ],
        ),
        report.Section("Classes", [report.Table(rows), report.Picture(report.curves(result.history), *CURVES)]),
    ]
    answer = (
        f"{test.size} test images ({config.dataset}) after {seconds / 60:.1f} min of training on {train.size}: average "
        f"precision {half:.3f} at an overlap of 0.5, {precision.at(0.75):.3f} at 0.75, {float(precision):.3f} over 0.5 "
        "to 0.95."
    )
    judgement = judge(config, answer, {f"an average precision of {PROMISED}": half >= PROMISED})
    headline = [
        report.Number("average precision", f"{half:.3f}", "at an overlap of 0.5"),
        report.Number("average precision", f"{float(precision):.3f}", "overlaps 0.5 to 0.95"),
    ]
    return Result(figures, pictures, *judgement, headline)


CURVES = ("Loss of each epoch.", "A curve of the training loss.")


def scenes(config: Config, train_key: jax.Array, test_key: jax.Array) -> tuple[data.Dataset, data.Dataset]:
    drawn = data.Scenes(size=config.size)
    return drawn.dataset(train_key, config.train_images), drawn.dataset(test_key, config.test_images)


def photographs(config: Config, *_: jax.Array) -> tuple[data.Dataset, data.Dataset]:
    path = Path(config.path).expanduser() if config.path else data_folder(None) / "bccd.zip"
    what = "a zip or folder in Pascal VOC's form"
    fix = 'Put "bccd.zip", a zip of the public BCCD_Dataset, into $JAXCNN_DATA, or pass --path.'
    expect(path.exists(), "detection", what, f"nothing at {path}", fix, FileNotFoundError)
    train, test = data.load_voc(path, shape=config.shape, slots=config.slots)
    if config.quick:
        train, test = few(train, config.train_images), few(test, config.test_images)
    return train, test


def few(dataset: data.Dataset, most: int) -> data.Dataset:
    return dataset.take(np.arange(min(most, dataset.size)))


SETS = {"scenes": scenes, "bccd": photographs}
# Of few photographs, in which up is like down, there are more after turning and zooming.
AUGMENT = {
    "scenes": augment.flip,
    "bccd": augment.compose(
        augment.flip,
        augment.vertical_flip,
        partial(augment.random_resized_crop, area=(0.5, 1.0), aspect=(1.1, 1.6)),
    ),
}


def worst_first(each: np.ndarray, clear: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
    """Return the order of images by precision; one without objects is worst if a clear box is found, else last."""
    wrong = np.isnan(each) & np.array([(row["box_class"] >= 0).any() for row in clear])
    return np.argsort(np.where(wrong, 0, each), kind="stable")


def shown(test, truth, clear, each, chosen, names, what: str) -> report.Picture:
    """Return a picture of some test images with their boxes."""
    captions = ["no object" if np.isnan(each[at]) else f"precision {each[at]:.2f}" for at in chosen]
    wanted, found = ([rows[at] for at in chosen] for rows in (truth, clear))
    drawn = report.boxes(test["image"][chosen], wanted, found, names, captions)
    text = (
        f"{what}: true boxes dashed, found ones of a score of {CLEAR} or more; below, the average precision of that "
        "image alone."
    )
    return report.Picture(drawn, text, "Images with outlines of true and found boxes.")


if __name__ == "__main__":
    run(main, Config, resolve=resolved)
