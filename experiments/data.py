"""Describe a data set and show it: what is in the images, how many of each class, where they come from.

`python -m experiments.data --dataset digits` prints the description and writes a contact sheet and counts.
"""

from dataclasses import dataclass

import jax
import numpy as np

from experiments.runner import Common, Result, console, run
from jaxcnn import data, report


@dataclass(frozen=True)
class Config(Common):
    dataset: str = "digits"  # one of jaxcnn.data.names()
    per_class: int = 8  # images of each class on the contact sheet


def main(config: Config) -> Result:
    train, test = data.load(config.dataset, split_seed=config.seed)
    info = train.info
    counts = {
        name: np.bincount(part["label"], minlength=len(info.class_names))
        for name, part in (("train", train), ("test", test))
    }
    facts = {
        "name": info.name,
        "source": info.source,
        "training images": train.size,
        "test images": test.size,
        "shape": "x".join(map(str, train["image"].shape[1:])),
        "values": f"{train['image'].dtype}, {train['image'].min()}..{train['image'].max()}",
        "classes": ", ".join(info.class_names),
        "mean": info.mean,
        "standard deviation": info.std,
        "fingerprint": info.fingerprint,
    }
    width = max(map(len, facts))
    for name, value in facts.items():
        console.print(f"{name:<{width}}  {value}", markup=False)
    order = np.asarray(jax.random.permutation(jax.random.key(config.seed), train.size))
    rows = [order[train["label"][order] == c][: config.per_class] for c in range(len(info.class_names))]
    chosen = np.concatenate(rows)
    titles = [info.class_names[label] for label in train["label"][chosen]]
    sheet = report.image_grid(train["image"][chosen], titles, columns=config.per_class)
    pictures = [
        report.Section("Facts", [report.Facts(facts)]),
        report.Section(
            "Images", [report.Picture(sheet, "Training images, drawn at random.", "A grid of images by class.")]
        ),
        report.Section(
            "Classes",
            [report.Picture(report.label_counts(counts, info.class_names), "Images of each class.", "Bars by class.")],
        ),
    ]
    figures = {"train": train.size, "test": test.size, "mean": info.mean, "std": info.std, "sha256": info.fingerprint}
    verdict = f"{info.name}: {train.size:,} training and {test.size:,} test images of {len(info.class_names)} classes."
    return Result(figures, pictures, verdict)


if __name__ == "__main__":
    run(main, Config, name=lambda config: f"data-{config.dataset}")
