"""Are first-layer filters like the simple cells of the visual cortex? Gabor fits, and complex cells by pooling.

`python -m experiments.simple_cells` trains a small net with 9x9 kernels on CIFAR-10 (scenes where that is not there),
3 seeds as lanes of one program, and fits Gabor functions to its first layer, as Jones and Palmer (1987) did to simple
cells (Hubel and Wiesel 1962) and Krizhevsky et al. (2012) noted of their filters: explained variance beside that of
untrained kernels, of shuffled ones, and of ones with the same power spectrum and random phases; orientations,
frequencies, and the widths in cycles of Ringach (2002). Then gratings drift over each unit, over the net's own
max-pooling of it, and over the energy of a quadrature pair, the textbook's complex cell: F1/F0 says how much the answer
hangs on the phase. What it promises: learned kernels are nearer to Gabor functions than all the others, in the median
and in the share of good fits, beyond the 95 % interval over seeds. About 5 min on 2 cores.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.apparatus.few_images import accuracies
from experiments.apparatus.gabor_cells import PHASES, Cells, answers, cells_of, joined, modulation, scrambled, shuffled
from experiments.apparatus.image_sets import loaded, some
from experiments.apparatus.lines import spread_lines
from experiments.apparatus.simple_cell_pictures import tuning, widths
from experiments.apparatus.statistics import better, mean_sd, summary
from experiments.framework.device import console
from experiments.framework.progress import LanesBar
from experiments.framework.runner import Common, Result, judge, run
from jaxcnn import augment, data, layers, losses, report, search, training
from jaxcnn import functional as F
from jaxcnn.checking import expect
from jaxcnn.explain import probes

LEARNED, UNTRAINED, SHUFFLED, SCRAMBLED = "learned", "untrained", "shuffled", "phase-scrambled"
KINDS = (LEARNED, UNTRAINED, SHUFFLED, SCRAMBLED)
GOOD = 0.8  # explained variance from which on a kernel counts as a Gabor function
COMPLEX = 1.0  # F1/F0 below which a cell is called complex (Skottun et al. 1991)


@dataclass(frozen=True)
class Config(Common):
    dataset: str | None = None  # one of jaxcnn.data.names(); None for cifar10 where it is, else scenes
    images: int = 25_000  # to train on, at most
    features: int = 48  # kernels of the first layer
    kernel_size: int = 9  # of the first layer, pixels
    stride: int = 2  # of the first layer
    seeds: int = 3  # other weights, orders and flips; 2 or more
    epochs: int = 8  # passes through the images
    batch_size: int = 128  # images per step
    learning_rate: float = 0.1  # peak of the schedule: warm-up over a tenth, then half a cosine
    weight_decay: float = 1e-3  # of kernels: it is what makes them smooth


class Seed(NamedTuple):
    """Of one seed: the learned kernels, what is fitted to them and to others, and answers of units to gratings."""

    kernel: np.ndarray
    cells: Mapping[str, Cells]
    responses: Mapping[str, np.ndarray]


def main(config: Config) -> Result:
    if config.quick:
        config = dataclasses.replace(config, images=1000, features=8, epochs=1, seeds=2)
    where = "simple_cells"
    expect(config.kernel_size >= 5, where, "kernels of 5 pixels or more", config.kernel_size, "Pass 9, say.")
    expect(config.seeds >= 2, where, "at least 2 seeds", config.seeds, "One has no standard deviation.")
    train_set, test_set = loaded(config.dataset, "cifar10", "scenes", scenes=(1000, 300) if config.quick else None)
    images_key, untrained_key, key = jax.random.split(jax.random.key(config.seed), 3)
    train_set = some(train_set, config.images, images_key)
    net = small_net(config, train_set.info)
    states = learned(config, net, train_set, key)
    accuracy = accuracies(net, states, test_set)
    seeds = [
        of_seed(config, net, state, own, train_set.spec, np.random.default_rng([config.seed, number]))
        for number, (state, own) in enumerate(zip(states, jax.random.split(untrained_key, config.seeds), strict=True))
    ]
    explained = {name: np.stack([seed.cells[name].fit.explained for seed in seeds]) for name in KINDS}
    for name, values in explained.items():
        console.print(f"{name}: {told(values)}", markup=False)
    fit = joined([seed.cells[LEARNED].fit for seed in seeds])
    simple = fit.explained >= GOOD
    responses = {name: np.concatenate([s.responses[name] for s in seeds]) for name in seeds[0].responses}
    ratios = {name: modulation(values) for name, values in responses.items()}
    figures = {
        "dataset": train_set.info.name,
        "test_accuracy": summary(accuracy.tolist()),
        "explained": {name: summary_of(values) for name, values in explained.items()},
        "one_colour": float(np.median([seed.cells[LEARNED].share for seed in seeds])),
        "nx": spread(fit.nx[simple]),
        "ny": spread(fit.ny[simple]),
        "fit": {name: values.tolist() for name, values in fit._asdict().items()},
        "modulation": {name: spread(values[simple]) for name, values in ratios.items()},
    }
    sections = [
        kernels_section(config, seeds[0], explained),
        tuning_section(fit, simple),
        phase_section(responses, ratios, simple),
    ]
    promises = {
        f"learned kernels are nearer to Gabor functions than {name} ones, beyond the 95 % interval": all(
            better(of_each(explained[LEARNED]), of_each(explained[name])) for of_each in (medians, good)
        )
        for name in KINDS
        if name != LEARNED
    }
    answer = sentence(train_set.info.name, accuracy, explained, fit, ratios)
    judgement = judge(config, answer, promises)
    headline = [
        report.Number("Gabor functions", f"{100 * good(values).mean():.0f} %", f"of {n} kernels: explained >= {GOOD}")
        for n, values in explained.items()
    ]
    return Result(figures, sections, *judgement, headline)


def small_net(config: Config, info: data.DatasetInfo) -> layers.Sequential:
    """Return the net: large kernels, max-pooling over 3x3 of their answers, two more convolutions."""
    options: dict[str, Any] = {"use_bias": False}
    return layers.Sequential(
        normalize=layers.Normalize(info.mean, info.std),
        conv1=layers.Conv(config.features, config.kernel_size, stride=config.stride, **options),
        norm1=layers.BatchNorm(), act1=F.relu, pool1=layers.MaxPool(3, stride=2, padding="SAME"),
        conv2=layers.Conv(96, **options), norm2=layers.BatchNorm(), act2=F.relu, pool2=layers.MaxPool(2),
        conv3=layers.Conv(128, **options), norm3=layers.BatchNorm(), act3=F.relu,
        pool3=layers.GlobalAvgPool(), head=layers.Dense(len(info.class_names)),
    )  # fmt: skip


def learned(
    config: Config, net: layers.Sequential, train_set: data.Dataset, key: jax.Array
) -> list[training.TrainState]:
    """Return the trained state of each seed."""
    steps = config.epochs * (train_set.size // config.batch_size)
    schedule = training.warmup_cosine(config.learning_rate, max(steps, 1))
    with LanesBar(console) as bar:
        lanes = search.random_restarts(
            net, train_set, restarts=config.seeds, key=key,
            optimizer=training.sgd(schedule, weight_decay=config.weight_decay),
            loss=losses.classification(0.1), epochs=config.epochs, batch_size=config.batch_size,
            augment=augment.batched(augment.flip), callbacks=[bar],
        )  # fmt: skip
    return [lanes.state(lane) for lane in range(config.seeds)]


def of_seed(
    config: Config,
    net: layers.Sequential,
    state: training.TrainState,
    key: jax.Array,
    spec: jax.ShapeDtypeStruct,
    rng: np.random.Generator,
) -> Seed:
    """Return what is fitted to the kernels of a trained net, to those of an untrained one and to the controls."""
    kernel = np.asarray(state.params["conv1"]["kernel"])
    untrained, _ = net.init(key, spec)
    others = (np.asarray(untrained["conv1"]["kernel"]), shuffled(kernel, rng), scrambled(kernel, rng))
    cells = {name: cells_of(one) for name, one in zip(KINDS, (kernel, *others), strict=True)}
    return Seed(kernel, cells, answers(net, state.params, state.model_state, cells[LEARNED], spec.shape[1:]))


def kernels_section(config: Config, seed: Seed, explained: Mapping[str, np.ndarray]) -> report.Section:
    one, kernel = seed.cells[LEARNED], seed.kernel
    order = np.argsort(-one.fit.explained)
    fits = probes.gabors(one.fit, one.patterns.shape[:2])
    rows = [
        {
            "kernels": name,
            "median": mean_sd(medians(values), 3),
            "from 0.7 on, %": mean_sd(100 * (values >= 0.7).mean(axis=1)),
            f"from {GOOD} on, %": mean_sd(100 * good(values)),
        }
        for name, values in explained.items()
    ]
    dots = {name: values.ravel().tolist() for name, values in explained.items()}
    size = f"{config.kernel_size}x{config.kernel_size}"
    return report.Section(
        "Kernels and Gabor functions",
        [
            report.Picture(
                report.filters(kernel[..., order]),
                f"The learned {size} kernels of one seed in colour, the ones nearest to a Gabor function first.",
                "Colour tiles of the learned kernels.",
            ),
            report.Picture(
                report.filters(one.patterns[:, :, None, order]),
                "Their spatial patterns along the colour in which each is strongest (median share of the squares: "
                f"{100 * np.median(one.share):.0f} %).",
                "Grey, blue and red tiles of the patterns.",
            ),
            report.Picture(
                report.filters(fits[:, :, None, order]),
                "The Gabor functions fitted to the patterns, in the same order.",
                "Tiles of the fitted Gabor functions.",
            ),
            report.Picture(
                report.seed_dots(dots, quantity="explained variance, a dot a kernel"),
                "How much of a kernel's variance its Gabor function explains, all seeds. Shuffled kernels have the "
                "same values at other places: what a function of eight parameters explains of noise. Phase-scrambled "
                "ones have waves of the same strength, each moved by itself.",
                "Dots of explained variance, a line for learned, untrained, shuffled and phase-scrambled kernels.",
            ),
            report.Table(rows, f"Explained variance: mean ± standard deviation of {config.seeds} seeds."),
        ],
    )


def tuning_section(fit: probes.GaborFit, simple: np.ndarray) -> report.Section:
    return report.Section(
        "Orientations, frequencies, widths",
        [
            report.Picture(
                tuning(np.degrees(fit.orientation[simple]), fit.frequency[simple]),
                f"Of the kernels from {GOOD} on: the direction in which waves vary, clockwise from the horizontal, "
                "and the waves' frequency.",
                "Histograms of orientation and of spatial frequency.",
            ),
            report.Picture(
                widths(fit.nx, fit.ny, simple),
                "Ringach's plane: the width of the envelope along the wave (nx) and along the stripes (ny), in cycles. "
                "Near the origin are blobs; far to the right, many stripes; above the line, long bars. In "
                "macaque cortex the cells lie along a curve that begins at the origin.",
                "Scatter of nx and ny, kernels that are like Gabor functions filled, others hollow.",
            ),
        ],
    )


def phase_section(
    responses: Mapping[str, np.ndarray], ratios: Mapping[str, np.ndarray], simple: np.ndarray
) -> report.Section:
    curves, dots = {}, {}
    for name, values in responses.items():
        alive = simple & np.isfinite(ratios[name])
        if alive.any():
            best = np.argmax(values, axis=1)
            turned = np.stack([np.roll(v, PHASES // 2 - b) for v, b in zip(values, best, strict=True)])[alive]
            curves[name] = turned / turned.max(axis=1, keepdims=True)
            dots[name] = ratios[name][alive].tolist()
    if not curves:
        return report.Section("Phase", ["No kernel is enough like a Gabor function."])
    degrees = (360 / PHASES * (np.arange(PHASES) - PHASES // 2)).tolist()
    return report.Section(
        "Phase: simple and complex cells",
        [
            report.Picture(
                spread_lines("answer, share of the largest", "phase from the best one, degrees", degrees, curves),
                "Mean answers to a drifting grating, a band of one standard deviation over units. Rectification leaves "
                "half of a cycle; squares of two phases a quarter of a cycle apart add up to a constant.",
                "Lines of the answer against the phase of the grating.",
            ),
            report.Picture(
                report.seed_dots(dots, quantity="F1/F0, a dot a unit"),
                "How much the answer hangs on the phase: pi/2 of a half-wave, 0 of none. Cells above 1 are called "
                "simple, others complex.",
                "Dots of F1/F0 for the fitted simple cells, the net's units, its pooling, and quadrature pairs.",
            ),
        ],
    )


def spread(values: np.ndarray) -> dict[str, Any]:
    """Return median and quartiles of what is finite, and how many values that are."""
    values = values[np.isfinite(values)]
    if not values.size:
        return {"n": 0}
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75)).tolist()
    return {"median": median, "quartiles": [low, high], "n": int(values.size)}


def medians(explained: np.ndarray) -> np.ndarray:
    """Return the median explained variance of each seed, (seeds, n) -> (seeds,)."""
    return np.median(explained, axis=1)


def good(explained: np.ndarray) -> np.ndarray:
    """Return the share of kernels that count as Gabor functions of each seed, (seeds, n) -> (seeds,)."""
    return np.mean(explained >= GOOD, axis=1)


def summary_of(explained: np.ndarray) -> dict[str, Any]:
    """Return median and quartiles of all, and medians and shares of kernels from 0.8 on by seed."""
    return {
        **spread(explained),
        "medians": summary(medians(explained).tolist()),
        f"share_from_{GOOD}": summary(good(explained).tolist()),
        "values": explained.tolist(),
    }


def told(explained: np.ndarray) -> str:
    share = mean_sd(100 * good(explained), 0)
    return f"median explained variance {mean_sd(medians(explained), 2)}, {share} % from {GOOD} on"


def sentence(
    name: str,
    accuracy: np.ndarray,
    explained: Mapping[str, np.ndarray],
    fit: probes.GaborFit,
    ratios: Mapping[str, np.ndarray],
) -> str:
    """Return the answer."""
    fits = "; ".join(f"{which} kernels: {told(values)}" for which, values in explained.items())
    said = f"{name} ({100 * accuracy.mean():.1f} % right), {len(accuracy)} seeds: {fits}."
    simple = fit.explained >= GOOD
    if not simple.any():
        return f"{said} None is enough like a Gabor function to go on."
    middle = {which: spread(values[simple]).get("median", float("nan")) for which, values in ratios.items()}
    net, pooled, pair = (middle[n] for n in ("unit of the net", "after its max-pooling", "energy of a quadrature pair"))
    kind = lambda ratio: "complex" if ratio < COMPLEX else "simple" if ratio >= COMPLEX else "no"  # noqa: E731
    return (
        f"{said} Of the learned ones from {GOOD} on the median envelope is {np.median(fit.nx[simple]):.2f} cycles wide "
        f"and {np.median(fit.ny[simple]):.2f} long. To a drifting grating these units answer as {kind(net)} cells do "
        f"(median F1/F0 {net:.2f}), after the net's max-pooling as {kind(pooled)} ones ({pooled:.2f}), the energy of a "
        f"quadrature pair as {kind(pair)} ones ({pair:.2f})."
    )


if __name__ == "__main__":
    run(main, Config)
