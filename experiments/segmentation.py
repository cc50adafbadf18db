"""Which class has every pixel? A U-Net, or another net, on scenes whose masks are exact, or on streets.

`python -m experiments.segmentation` draws scenes of ten shapes on a textured ground, trains a net that gives classes
for every pixel by cross-entropy and Dice, and measures the intersection over union of each class on other scenes
(Ronneberger et al. 2015; Long et al. 2015; Chen et al. 2017). The masks that fit worst are shown. What it promises of
the U-Net on scenes: a mean intersection over union of 0.90. About 9 min on 2 cores. `--dataset camvid` takes streets
seen from a car (Brostow et al. 2009), in the split of the SegNet tutorial, at half of its size, with weights for rare
classes, where pixels without a class do not count; nothing is promised of them. About 15 min.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import jax
import numpy as np
import optax

from experiments.apparatus.masked_sets import Masked, camvid, scenes
from experiments.framework.device import console
from experiments.framework.progress import ProgressBar
from experiments.framework.runner import Common, Result, judge, run
from jaxcnn import models, report, segmentation, training
from jaxcnn.layers import Layer, Normalize, Sequential

PROMISED: Mapping[tuple[str, str], float] = {("scenes", "unet"): 0.90}
SHOWN = 8  # images in the picture of the worst, and in that of the first
AT_ONCE = 32  # images whose logits are held together


@dataclass(frozen=True)
class Config(Common):
    dataset: Literal["scenes", "camvid"] = "scenes"
    path: str | None = None  # of CamVid, a folder or a zip archive; camvid_240x180.zip in $JAXCNN_DATA unless given
    net: Literal["unet", "fcn", "deeplab"] = "unet"
    width: int = 16  # maps at the image's own size
    depth: int = 4  # how many times a U-Net halves the image, at most 4
    size: int = 64  # pixels of a scene's side
    crop: tuple[int, int] = (96, 128)  # pixels: height and width of what a step sees of a street
    train_images: int = 10000  # scenes; of the streets all are taken
    test_images: int = 500  # at most
    epochs: int = 0  # passes through the training images; 0: 6 of scenes, 60 of streets
    batch_size: int = 0  # images per step; 0: 32 of scenes, 8 of streets
    learning_rate: float = 4e-3  # AdamW's, after a warm-up, falling to 0 along half a cosine
    dice: float = 1.0  # weight of the Dice loss beside the cross-entropy
    balance: float = 0.5  # power of the weights by median frequency of the streets' classes; 0 for none


SETTINGS = {"scenes": {"epochs": 6, "batch_size": 32}, "camvid": {"epochs": 60, "batch_size": 8}}


def resolved(config: Config) -> Config:
    """Return the config with what was left open."""
    if config.quick:
        small = {"train_images": 64, "test_images": 32, "epochs": 1, "batch_size": 16, "width": 4, "depth": 2}
        config = dataclasses.replace(config, crop=(64, 64), **small)
    own: dict[str, Any] = {name: value for name, value in SETTINGS[config.dataset].items() if not getattr(config, name)}
    return dataclasses.replace(config, **own)


def main(config: Config) -> Result:
    config = resolved(config)
    key_set, key = jax.random.split(jax.random.key(config.seed))
    images = SETS[config.dataset](config, key_set)
    net = Sequential(
        normalize=Normalize(images.train.info.mean, images.train.info.std),
        net=NETS[config.net](config, len(images.names)),
    )
    started = time.perf_counter()
    result = trained(config, net, images, key)
    seconds = time.perf_counter() - started
    found, counted = measured(net, result, images)
    overlaps = segmentation.class_overlaps(counted.sum(0))
    metric = segmentation.mean_overlap(len(images.names), void=images.void)
    each = np.array([metric.summary(one) for one in counted])  # NaN of an image without a pixel that counts
    mean, accuracy = float(np.nanmean(overlaps)), float(np.trace(counted.sum(0)) / counted.sum())
    figures = {
        "mean_overlap": mean,
        "overlap": {
            name: None if np.isnan(value) else float(value)  # of a class that no test image has
            for name, value in zip(images.names, overlaps, strict=True)
        },
        "pixel_accuracy": accuracy,
        "weights": images.weights,
        "train_images": images.train.size,
        "test_images": images.test.size,
        "training_seconds": seconds,
        "history": result.history,
    }
    promised = PROMISED.get((config.dataset, config.net))
    judged = ", of which nothing is promised" if promised is None else ""
    answer = (
        f"{config.net} on {images.test.size} test images of {config.dataset} after {seconds / 60:.1f} min of training: "
        f"mean intersection over union {mean:.3f}{judged}; least {images.names[int(np.nanargmin(overlaps))]} "
        f"{np.nanmin(overlaps):.3f}; {100 * accuracy:.1f} % of the pixels right."
    )
    promises = {} if promised is None else {f"a mean intersection over union of {promised}": mean >= promised}
    judgement = judge(config, answer, promises)
    headline = [report.Number("mean intersection over union", f"{mean:.3f}", f"of {len(images.names)} classes")]
    return Result(figures, sections(images, found, counted, each, overlaps, result.history), *judgement, headline)


def trained(config: Config, net: Sequential, images: Masked, key: jax.Array) -> training.FitResult:
    """Return the result of the training."""
    steps = config.epochs * (images.train.size // config.batch_size)
    rate = training.warmup_cosine(config.learning_rate, steps)
    with ProgressBar(console) as bar:
        return training.fit(
            net,
            images.train,
            optimizer=optax.adamw(rate, weight_decay=1e-2),
            loss=segmentation.pixel_loss(weights=images.weights, dice=config.dice, void=images.void),
            metrics={"overlap": segmentation.mean_overlap(len(images.names), void=images.void)},
            epochs=config.epochs,
            batch_size=config.batch_size,
            key=key,
            augment=images.augment,
            callbacks=[bar],
        )


def measured(net: Sequential, result: training.FitResult, images: Masked) -> tuple[np.ndarray, np.ndarray]:
    """Return the classes found for the test images' pixels, and the counts of each image, true by found class."""
    state, found, counted = result.state, [], []
    for start in range(0, images.test.size, AT_ONCE):
        part = images.test.take(range(start, min(start + AT_ONCE, images.test.size)))
        logits = training.predict(net, state.params, state.model_state, {"image": part["image"]}, batch_size=AT_ONCE)
        found.append(logits.argmax(-1).astype(np.uint8))
        counted.append(segmentation.counts(part["mask"], found[-1], len(images.names), void=images.void))
    return np.concatenate(found), np.concatenate(counted)


def unet(config: Config, classes: int) -> Layer:
    return models.unet(classes, width=config.width, depth=config.depth, batch_norm=True, dropout=0.0)


def backbone(config: Config) -> Sequential:
    return models.resnet(18, width=config.width, small_images=True)


def fcn(config: Config, classes: int) -> Layer:
    return models.fcn(classes, backbone=backbone(config), skips=2, hidden=0)


def deeplab(config: Config, classes: int) -> Layer:
    options = {"dilated": 1, "rates": (2, 4, 6), "width": 4 * config.width, "dropout": 0.0}
    return models.deeplab(classes, backbone=backbone(config), **options)


NETS: Mapping[str, Callable[[Config, int], Layer]] = {"unet": unet, "fcn": fcn, "deeplab": deeplab}
SETS: Mapping[str, Callable[[Config, jax.Array], Masked]] = {
    "scenes": lambda c, key: scenes(key, c.size, c.train_images, c.test_images),
    "camvid": lambda c, key: camvid(c.path, c.crop, c.balance, c.train_images if c.quick else None, c.test_images),
}


def sections(images: Masked, found, counted, each, overlaps, history) -> list[report.Section]:
    """Return the page: masks, the worst ones first, then classes and training."""
    total = counted.sum(0)
    pixels = total.sum(1)
    shares = np.divide(total, pixels[:, None], out=np.zeros_like(total), where=pixels[:, None] > 0)
    rows = [
        {"class": name, "intersection over union": f"{v:.3f}", "of all pixels": f"{100 * n / pixels.sum():.1f} %"}
        for name, v, n in zip(images.names, overlaps, pixels, strict=True)
    ]
    worst, first = np.argsort(each)[:SHOWN], np.arange(min(SHOWN, images.test.size))
    confused = report.Picture(
        report.confusion(shares, images.names),
        "Pixels of each true class (a row), as shares of the row, by the class that they were taken for (a column).",
        "A table of true classes by found ones, shaded by shares.",
    )
    curves = report.Picture(
        report.curves(history), "Loss and overlap of each epoch.", "Curves of training loss and overlap."
    )
    return [
        report.Section(
            "Masks",
            [
                shown(images, found, each, worst, "The test images whose masks fit worst"),
                shown(images, found, each, first, "The first test images"),
            ],
        ),
        report.Section("Classes", [report.Table(rows), confused]),
        report.Section("Training", [curves]),
    ]


def shown(images: Masked, found, each, chosen, what: str) -> report.Picture:
    """Return a picture of some test images with their masks."""
    captions = [f"overlap {each[at]:.2f}" for at in chosen]
    truth, mine = (masks[chosen].astype(np.int32) for masks in (images.test["mask"], found))
    drawn = report.masks(images.test["image"][chosen], truth, mine, images.names, captions)
    text = f"{what}: image, true mask and the one found, with the mean intersection over union of its classes."
    text += " Magenta pixels have no class." if images.void else ""
    return report.Picture(drawn, text, "Images beside two masks in colours of classes.")


if __name__ == "__main__":
    run(main, Config, resolve=resolved)
