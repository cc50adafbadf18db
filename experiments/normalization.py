"""What does normalization do? To the maps of an image, and to the learning rates that a net bears.

`python -m experiments.normalization` shows a photograph's maps of Gabor filters before and after local contrast
normalization and after local response normalization; checks that `batch_norm` is the four equations of Ioffe and
Szegedy (2015): mean, variance, normalise, scale and shift; and trains a net of four convolutions on images of
Fashion-MNIST without normalization, with response normalization and with batch norm, at learning rates from 0.003 to
3, five seeds each, all lanes of one program a net. A net bears a rate if its test accuracy comes within 5 points of its
own best. Without Fashion-MNIST (`$JAXCNN_DATA`) it takes the digits. What it promises: the equations, to 1e-5, and that
batch norm bears more rates than no normalization, beyond the 95 % interval. About 3 min on 2 cores.
"""

import dataclasses
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.apparatus.few_images import accuracies, drawn, trained
from experiments.apparatus.image_sets import loaded, some
from experiments.apparatus.lines import spread_lines
from experiments.apparatus.small_nets import head
from experiments.apparatus.statistics import mean_sd, summary
from experiments.convolution import photograph
from experiments.framework.device import console
from experiments.framework.runner import Common, Result, judge, run
from jaxcnn import data, filters, layers, report
from jaxcnn import functional as F
from jaxcnn.checking import expect

EXACT = 1e-5
WITHIN = 0.05  # of accuracy
NORMS = ("none", "response", "batch")
STAGES = 4


@dataclass(frozen=True)
class Config(Common):
    dataset: str | None = None  # one of jaxcnn.data.names(); None for fashion_mnist where it is, else digits
    per_class: int = 100  # training images of each class
    test_images: int = 1000  # at most
    maps: int = 16  # of each convolution
    rates: tuple[float, ...] = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)  # peaks of the learning rate, rising
    seeds: int = 5  # 2 or more, from --seed on
    epochs: int = 8  # passes through the training images
    batch_size: int = 50  # images per step


def main(config: Config) -> Result:
    if config.quick:
        few = {"dataset": "digits", "per_class": 10, "test_images": 100, "maps": 4, "seeds": 2, "epochs": 2}
        config = dataclasses.replace(config, rates=config.rates[1::4], batch_size=20, **few)
    where, rates = "normalization", config.rates
    rising = len(rates) >= 2 and rates[0] > 0 and all(a < b for a, b in itertools.pairwise(rates))
    expect(rising, where, "two rates or more, positive and rising", rates, "0.01 and 0.1, say.")
    expect(config.seeds >= 2, where, "at least 2 seeds", config.seeds, "One has no standard deviation.")
    off = four_equations(jax.random.key(config.seed))
    found = measured(config)
    borne = {name: values >= values.max(axis=0) - WITHIN for name, values in found.items()}  # (rates, seeds)
    counts = {name: which.sum(axis=0) for name, which in borne.items()}
    more = {name: summary((counts["batch"] - counts[name]).tolist()) for name in NORMS if name != "batch"}
    figures = {
        "batch_norm_by_four_equations": off,
        "accuracy": {
            name: {f"{rate:g}": summary(values[at].tolist()) for at, rate in enumerate(rates)}
            for name, values in found.items()
        },
        "rates_borne": {name: summary(count.tolist()) for name, count in counts.items()},
        "batch_norm_bears_more_than": more,
    }
    facts = {f"batch_norm is the four equations, to {EXACT:g}": off <= EXACT}
    promises = {"batch norm bears more learning rates than no normalization": more["none"]["interval"][0] > 0}
    told = "; ".join(
        f"{name} {mean_sd(counts[name])}, {100 * found[name].mean(axis=1).max():.1f} % with the best of them"
        for name in NORMS
    )
    low, high = more["none"]["interval"]
    answer = (
        f"Of {len(rates)} learning rates a net comes within {100 * WITHIN:g} points of its best at so many, "
        f"{config.seeds} seeds: {told}. Batch norm bears {low:+.1f} to {high:+.1f} more than no normalization. "
        f"batch_norm differs from its four equations by {off:.0e}."
    )
    judgement = judge(config, answer, promises, facts)
    headline = [
        report.Number(name, f"{count.mean():.1f}", f"of {len(rates)} rates are borne") for name, count in counts.items()
    ]
    return Result(figures, sections(config, found), *judgement, headline)


def four_equations(key: jax.Array) -> float:
    """Return how far `batch_norm` in training is from its equations, written in numpy's float64, at most."""
    keys = jax.random.split(key, 3)
    x = 3 + 2 * jax.random.normal(keys[0], (8, 5, 5, 4))
    scale, bias = jax.random.normal(keys[1], (4,)), jax.random.normal(keys[2], (4,))
    y, _ = F.batch_norm(x, scale, bias, F.BatchStats(jnp.zeros(4), jnp.ones(4)), train=True, eps=1e-5)
    wide, axes = np.asarray(x, np.float64), (0, 1, 2)
    mean = wide.mean(axis=axes)
    variance = ((wide - mean) ** 2).mean(axis=axes)
    normal = (wide - mean) / np.sqrt(variance + 1e-5)
    return float(np.abs(np.asarray(y) - (np.asarray(scale) * normal + np.asarray(bias))).max())


def net(config: Config, info: data.DatasetInfo, norm: str) -> layers.Sequential:
    """Return a net of four convolutions, normalised behind each in this way."""
    parts: dict[str, Any] = {}
    for at in range(1, STAGES + 1):
        parts[f"conv{at}"] = layers.Conv(config.maps)
        if norm == "batch":
            parts[f"norm{at}"] = layers.BatchNorm()
        parts[f"act{at}"] = F.relu
        if norm == "response":
            parts[f"norm{at}"] = layers.LocalResponseNorm()
        if at <= 2:
            parts[f"pool{at}"] = layers.MaxPool(2)
    return layers.Sequential(
        normalize=layers.Normalize(info.mean, info.std),
        **parts,
        see=layers.AdaptiveAvgPool(2),
        flatten=layers.Flatten(),
        head=head(info),
    )


def measured(config: Config) -> dict[str, np.ndarray]:
    """Return the test accuracy of each net, (rates, seeds); a lane that diverges counts as chance."""
    train_set, test_set = loaded(config.dataset, "fashion_mnist", "digits")
    images_key, test_key, key = jax.random.split(jax.random.key(config.seed), 3)
    test_set = some(test_set, config.test_images, test_key)
    few, examples = drawn(train_set, (config.per_class,), jax.random.split(images_key, config.seeds))
    found = {}
    for name in NORMS:
        console.print(f"normalization: {name}", markup=False)
        model = net(config, train_set.info, name)
        lanes = trained(config, model, few, examples, config.rates, key)
        right = accuracies(model, lanes, test_set)
        right = np.where(lanes.diverged | ~np.isfinite(right), 1 / len(train_set.info.class_names), right)
        found[name] = right.reshape(len(config.rates), config.seeds)
    return found


def sections(config: Config, found: Mapping[str, np.ndarray]) -> list[report.Section]:
    """Return the pictures."""
    photo = jnp.asarray(photograph(96 if not config.quick else 48).mean(axis=-1, keepdims=True))
    maps = F.relu(F.moving_sum(photo, filters.Gabor(9)()))[..., ::2]  # the edges of every direction
    shown = {
        "the photograph and four maps": maps,
        "after local contrast normalization of the photograph": F.relu(
            F.moving_sum(F.local_contrast_norm(photo), filters.Gabor(9)())
        )[..., ::2],
        "after local response normalization of the maps": F.local_response_norm(maps, size=4, k=0.1, alpha=1.0),
    }
    pictures = [photo[..., 0], 0.5 + 0.5 * F.local_contrast_norm(photo)[..., 0] / 4, photo[..., 0]]
    rows = {}
    for (name, values), first in zip(shown.items(), pictures, strict=True):
        tiles = np.moveaxis(np.asarray(values), -1, 0)
        rows[name] = np.concatenate([np.clip(np.asarray(first), 0, 1)[None], tiles / max(tiles.max(), 1e-9)])
    lines = {f"{name} normalization" if name != "none" else "none": 100 * values.T for name, values in found.items()}
    return [
        report.Section(
            "Maps",
            [
                report.Picture(
                    report.image_rows(rows),
                    "Contrast normalization divides by the deviation around each pixel: faint structure comes out. "
                    "Response normalization divides each map by the energy of all maps there: the strongest direction "
                    "stays, the others are quenched.",
                    "A photograph with maps of its edges, before and after two kinds of normalization.",
                )
            ],
        ),
        report.Section(
            "Learning rates",
            [
                report.Picture(
                    spread_lines("right, %", "learning rate", config.rates, lines, logarithmic="x", ticks=True),
                    f"Test accuracy against the learning rate, {config.epochs} epochs; mean and standard deviation of "
                    f"{config.seeds} seeds. Trainings that diverge count as chance.",
                    "Lines of accuracy against learning rate, one for each normalization.",
                )
            ],
        ),
    ]


if __name__ == "__main__":
    run(main, Config)
