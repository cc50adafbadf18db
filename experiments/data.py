"""Describe a data set and show it: what is in the images, how many of each class, where they come from.

`python -m experiments.data --dataset digits` prints the description and writes a contact sheet, the counts and the
values of the pixels; `--dataset folder --path photos --image-size 64` does so for one's own images.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.apparatus.image_sets import Choice, taken
from experiments.framework.device import console
from experiments.framework.runner import Result, run
from jaxcnn import data, report
from jaxcnn.checking import expect

MOST_CLASSES = 20  # on the contact sheet
SAMPLE = 2000  # images whose values are counted
SAMPLE_OF_STREAM = 256  # likewise of a stream, where each has to be read and decoded
KNOWN = 6  # images whose masks are shown


@dataclass(frozen=True)
class Config(Choice):
    per_class: int = 8  # images of each class on the contact sheet


def main(config: Config) -> Result:
    expect(config.per_class >= 1, "data", "at least 1 image of each class", config.per_class, "8 are the default.")
    train, test = config.loaded()
    info = train.info
    order = np.asarray(jax.random.permutation(jax.random.key(config.seed), train.size))
    sample = taken(train, order[: SAMPLE_OF_STREAM if isinstance(train, data.Stream) else SAMPLE])
    counts = {
        name: np.bincount(part["label"], minlength=len(info.class_names))
        for name, part in (("train", train), ("test", test))
    }
    facts = describe(train, test, sample)
    width = max(map(len, facts))
    for name, value in facts.items():
        console.print(f"{name:<{width}}  {value}", markup=False)
    told = "all" if sample.size == train.size else f"{sample.size:,} of the"
    values = report.value_histograms(sample["image"])
    pictures = [
        report.Section("Facts", [report.Facts(facts)]),
        report.Section("Images", [contact_sheet(train, order, config.per_class)]),
        report.Section(
            "Classes",
            [
                report.Picture(
                    report.label_counts(counts, info.class_names), "Images of each class.", "Bars by class."
                ),
            ],
        ),
        report.Section(
            "Values",
            [report.Picture(values, f"Values of the pixels of {told} training images.", "Histograms by channel.")],
        ),
        *known(sample),
    ]
    figures = {"train": train.size, "test": test.size, "mean": info.mean, "std": info.std, "sha256": info.fingerprint}
    verdict = f"{info.name}: {train.size:,} training and {test.size:,} test images of {len(info.class_names)} classes."
    return Result(figures, pictures, verdict)


def describe(train: Any, test: Any, sample: data.Dataset) -> dict[str, Any]:
    info, image = train.info, sample["image"]
    streamed = isinstance(train, data.Stream)
    shape = "x".join(map(str, image.shape[1:]))
    return {
        "name": info.name,
        "source": info.source,
        "training images": train.size,
        "test images": test.size,
        "shape": f"{shape} in a batch, streamed from disk" if streamed else shape,
        "values": f"{image.dtype}, {image.min()}..{image.max()}",
        "classes": ", ".join(info.class_names),
        "mean": info.mean,
        "standard deviation": info.std,
        "fingerprint": info.fingerprint,
    }


def contact_sheet(train: data.Dataset | data.Stream, order: np.ndarray, per_class: int) -> report.Picture:
    """Return the picture of some images of each class; of many classes the first are shown."""
    names, label = train.info.class_names, train["label"][order]
    shown = range(min(len(names), MOST_CLASSES))
    chosen = np.concatenate([order[label == c][:per_class] for c in shown])
    sheet = taken(train, chosen)
    rows = {names[c]: sheet["image"][sheet["label"] == c] for c in shown}
    more = f" {len(names) - MOST_CLASSES} more classes are not shown." if len(names) > MOST_CLASSES else ""
    return report.Picture(
        report.image_rows({name: images for name, images in rows.items() if len(images)}),
        f"Training images, drawn at random.{more}",
        "Rows of images, one for each class.",
    )


def known(sample: data.Dataset) -> list[report.Section]:
    """Return the section of the masks and boxes of a set that has them."""
    masks = [name for name in sample if name.endswith("mask")]
    if not masks:
        return []
    some = sample.take(range(min(KNOWN, sample.size)))
    rows: Mapping[str, np.ndarray] = {"image": some["image"], **{name: coloured(some[name]) for name in masks}}
    blocks = [
        report.Picture(
            report.image_rows(rows),
            "Every mask, a colour a label; grey is 0.",
            f"Rows of images: {', '.join(rows)}.",
        )
    ]
    if "boxes" in some:
        examples = [{"image": some["image"][i], "boxes": some["boxes"][i]} for i in range(some.size)]
        blocks.append(report.Picture(report.annotated(examples, columns=3), "Boxes.", "Images with outlined objects."))
    return [report.Section("Truth", blocks)]


def coloured(mask: np.ndarray) -> np.ndarray:
    """Return labels (n, h, w) as colours, uint8 (n, h, w, 3): the same label in the same colour everywhere."""
    from matplotlib import colormaps

    palette = np.array([(225, 228, 232), *(np.asarray(colormaps["tab20"](range(20)))[:, :3] * 255)]).astype(np.uint8)
    return palette[np.where(mask == 0, 0, 1 + (np.asarray(mask, np.int64) - 1) % 20)]


if __name__ == "__main__":
    run(main, Config, name=lambda config: f"data-{Path(config.path).stem if config.path else config.dataset}")
