"""What do the layers of a net hold? Probes: how separable classes are, which layers are alike, what moves them.

`python -m experiments.probes` trains a net on the digits (`--dataset fashion_mnist --epochs 3`, or the folder of a
training run, for others) and one of the next seed, and compares both with untrained ones, layer by layer: the accuracy
of a linear classifier (Alain and Bengio 2016), centered kernel alignment (Kornblith et al. 2019), the change under
shift, rotation, scale and flip (Goodfellow et al. 2009), effective receptive fields (Luo et al. 2016). What it
promises: the classes are more separable in the last hidden layer than in the pixels, and than in that layer untrained.
About 2 min on 2 cores.
"""

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.apparatus.image_sets import some
from experiments.apparatus.layer_views import activation_functions
from experiments.apparatus.lines import spread_lines
from experiments.apparatus.trained import OfNet, Trained, trained
from experiments.apparatus.training_options import Config as TrainConfig
from experiments.apparatus.training_options import augmentation, optimizer, resolve, steps_per_epoch
from experiments.framework.device import console
from experiments.framework.progress import ProgressBar
from experiments.framework.run_folder import stored_options
from experiments.framework.runner import Result, judge, run
from jaxcnn import data, losses, report, training
from jaxcnn.checking import expect
from jaxcnn.explain import probes
from jaxcnn.layers.layer import Layer
from jaxcnn.surgery import paths

TRAINED, UNTRAINED = "trained", "untrained"


class Move(NamedTuple):
    """A transform: its curve's amounts, what is written below it, and the amount of the tables."""

    fn: Callable[[jax.Array, float], jax.Array]
    amounts: tuple[float, ...]
    axis: str
    named: str
    amount: float


MOVES = {
    "shift": Move(
        probes.shift_by, (0, 1 / 16, 1 / 8, 3 / 16, 1 / 4, 3 / 8), "shift, share of the width", "by 1/8", 1 / 8
    ),
    "rotation": Move(probes.rotate_by, (0, 15, 30, 45, 60, 90, 135, 180), "rotation, degrees", "by 30°", 30),
    "scale": Move(probes.scale_by, (0.5, 0.65, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 2), "zoom", "by 0.8", 0.8),
    "flip": Move(probes.flip_by, (0, 1), "mirrored", "", 1),
}


@dataclass(frozen=True)
class Config(OfNet):
    layers: int = 8  # at most: the first, the last, and activation functions spread evenly between them
    images: int = 5000  # training images that probes learn, at most
    test_images: int = 2000  # that they are measured on, at most
    limit: int = 1024  # features a layer is averaged down to
    l2: float = 1e-2  # penalty of the probes
    compared: int = 512  # test images of similarities, curves and fields, at most


class Weights(NamedTuple):
    """Parameters and running statistics."""

    params: Any
    state: Any


def main(config: Config) -> Result:
    expect(config.layers >= 3, "probes", "at least 3 layers", config.layers, "Pass --layers 8, say.")
    if config.quick:
        few = {"layers": 4, "images": 500, "test_images": 300, "limit": 128, "compared": 64}
        config = dataclasses.replace(config, **few)
    found = trained("probes", config)
    keys = jax.random.split(jax.random.key(config.seed), 6)
    nets = {
        TRAINED: [Weights(found.params, found.state), second(config, found)],
        UNTRAINED: [Weights(*found.net.init(key, found.train.spec)) for key in keys[:2]],
    }
    at = looked_at(found.net, config.layers)
    learned, tested = some(found.train, config.images, keys[2]), some(found.test, config.test_images, keys[3])
    images = data.to_float(some(found.test, config.compared, keys[4])["image"])

    accuracy = separable(config, found.net, nets, at, learned, tested)
    alike = similarities(found.net, nets, at, images)
    curves, table, along = moved(found.net, nets[TRAINED][0], at, images)
    fields = seen(keys[5], found.net, nets, at, images)
    figures = {
        "dataset": found.train.info.name,
        "layers": at,
        "accuracy": accuracy,
        "similarity": {name: one.values.tolist() for name, one in alike.items()},
        "invariance": {
            move: {"amounts": one.amounts.tolist(), "distance": {p: v.tolist() for p, v in one.distance.items()}}
            for move, one in curves.items()
        },
        "moved": table,
        "beside_moved_map": along,
        "receptive_field": {
            name: {p: {"sigma": f.sigma.tolist(), "size": f.size, "share": f.share} for p, f in by.items()}
            for name, by in fields.items()
        },
    }
    sections = [
        separable_section(found, accuracy, learned.size, tested.size),
        alike_section(alike, len(images)),
        moved_section(curves, table, along),
        seen_section(fields),
    ]
    mean = {name: {path: float(np.mean(values)) for path, values in by.items()} for name, by in accuracy.items()}
    pixels, hidden = at[0], at[-2]
    rises = mean[TRAINED][hidden] - mean[TRAINED][pixels], mean[TRAINED][hidden] - mean[UNTRAINED][hidden]
    answer = sentence(found, at, mean, alike, table)
    judgement = judge(config, answer, {f"classes are most separable in {hidden} of the trained net": min(rises) > 0})
    percent = lambda value: f"{100 * value:.1f} %"  # noqa: E731
    headline = [
        report.Number(f"probe of {pixels}", percent(mean[TRAINED][pixels]), "test accuracy"),
        report.Number(f"probe of {hidden}", percent(mean[TRAINED][hidden]), "trained"),
        report.Number(f"probe of {hidden}", percent(mean[UNTRAINED][hidden]), "untrained"),
        report.Number("same layer, other seed", f"{own_layer(alike['seeds']):.2f}", "mean CKA"),
    ]
    return Result(figures, sections, *judgement, headline)


def second(config: Config, found: Trained) -> Weights:
    """Return the weights of the net trained as the first was, on the same images, with the next seed."""
    source = Path(config.source)
    if config.source and source.is_dir():
        options = stored_options("probes", "train", TrainConfig, source)
        options = dataclasses.replace(options, quick=options.quick or config.quick)
    else:
        options = TrainConfig(dataset=config.dataset, epochs=config.epochs, seed=config.seed, quick=config.quick)
        options = resolve(options)
    steps = options.epochs * steps_per_epoch(options, found.train)
    console.print(f"training the same net with seed {options.seed + 1}", markup=False)
    with ProgressBar(console) as bar:
        result = training.fit(
            found.net, found.train, validation=options.validation or None, optimizer=optimizer(options, steps),
            loss=losses.classification(options.label_smoothing), epochs=options.epochs, batch_size=options.batch_size,
            key=jax.random.key(options.seed + 1), augment=augmentation(options), patience=options.patience,
            dtype=options.dtype, accumulate=options.accumulate, callbacks=[bar],
        )  # fmt: skip
    return Weights(result.state.params, result.state.model_state)


def looked_at(net: Layer, most: int) -> list[str]:
    """Return the paths of the first layer, of activation functions, evenly chosen, and of the last layer."""
    own = [path for path in paths(net) if "/" not in path]
    inner = [path for path in activation_functions(net) if path not in (own[0], own[-1])] or own[1:-1]
    chosen = np.unique(np.linspace(0, len(inner) - 1, min(most - 2, len(inner))).round().astype(int))
    return [own[0], *(inner[index] for index in chosen.tolist()), own[-1]]


def separable(
    config: Config, net: Layer, nets: Mapping[str, Sequence[Weights]], at: Sequence[str], learned: Any, tested: Any
) -> dict[str, dict[str, list[float]]]:
    """Return the test accuracy of a linear probe of each layer, a seed each."""
    found: dict[str, dict[str, list[float]]] = {name: {path: [] for path in at} for name in nets}
    for name, seeds in nets.items():
        for weights in seeds:
            fitted = probes.linear_probes(net, *weights, learned, tested, at, limit=config.limit, l2=config.l2)
            for path, probe in fitted.items():
                found[name][path].append(float(probe.accuracy))
        told = {path: round(float(np.mean(values)), 3) for path, values in found[name].items()}
        console.print(f"probes of the {name} nets: {told}", markup=False)
    return found


def separable_section(found: Trained, accuracy: Any, learned: int, tested: int) -> report.Section:
    percent = {name: {p: [100 * v for v in values] for p, values in by.items()} for name, by in accuracy.items()}
    picture = report.Picture(
        report.by_layer(percent, quantity="test accuracy of a linear probe, %", decimals=1),
        f"{found.train.info.name}: logistic regression on what each layer gives, learned from {learned:,} training "
        f"images and measured on {tested:,} test images; means of two seeds, the bar is one standard deviation. The "
        f"first layer, {next(iter(percent[TRAINED]))}, is linear: its probe is one of the pixels.",
        "Accuracy of linear probes from the first layer to the last, of the trained and of the untrained net.",
    )
    return report.Section("How separable the classes are", [picture])


def similarities(
    net: Layer, nets: Mapping[str, Sequence[Weights]], at: Sequence[str], images: jax.Array
) -> dict[str, probes.Similarity]:
    """Return the CKA of the trained net's layers with each other, with the other seed's, and with the untrained."""
    one = probes.layer_outputs(net, *nets[TRAINED][0], at)
    others = {
        "layers": one,
        "seeds": probes.layer_outputs(net, *nets[TRAINED][1], at),
        UNTRAINED: probes.layer_outputs(net, *nets[UNTRAINED][0], at),
    }
    return {name: probes.cka_matrix(one, other, images, batch_size=256) for name, other in others.items()}


def own_layer(similarity: probes.Similarity) -> float:
    """Return the mean CKA of a layer with the same layer of the other net, but for the first: it is the pixels."""
    return float(np.mean(np.diagonal(similarity.values)[1:]))


def alike_section(alike: Mapping[str, probes.Similarity], count: int) -> report.Section:
    names = {"layers": "its own layers", "seeds": "the other seed's layers", UNTRAINED: "an untrained net's layers"}
    shown = [
        report.Picture(
            report.heat_map(one.values, one.rows, one.columns, of_rows="trained net", of_columns=names[name]),
            f"Linear CKA of the trained net's layers with {names[name]}, on {count} test images: 1 is alike but for a "
            f"rotation and a scale, 0 unrelated.",
            f"A matrix of similarities of layers with {names[name]}.",
        )
        for name, one in alike.items()
    ]
    return report.Section("Which layers are alike", shown)


def moved(
    net: Layer, weights: Weights, at: Sequence[str], images: jax.Array
) -> tuple[dict[str, probes.Invariance], list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the curves of some layers for each move, and for one amount of each the rows of two tables.

    The rows are the distance of every layer, and that of maps from their own transforms.
    """
    few = [at[index] for index in np.unique(np.linspace(0, len(at) - 1, 4).round().astype(int)).tolist()]
    curves = {
        name: probes.invariance(net, *weights, images, few, move.fn, move.amounts)
        for name, move in MOVES.items()
        if name != "flip"
    }
    found = {
        f"{name} {move.named}".strip(): probes.invariance(
            net, *weights, images, at, move.fn, [move.amount], equivariance=True
        )
        for name, move in MOVES.items()
    }
    tables = []
    for part in ("distance", "equivariance"):
        by_move = {name: getattr(one, part) for name, one in found.items()}
        known = [path for path in at if all(path in one for one in by_move.values())]
        row = lambda path, by=by_move: {name: round(float(one[path][0]), 3) for name, one in by.items()}  # noqa: E731
        tables.append([{"layer": path} | row(path) for path in known])
    distances, gaps = tables
    return curves, distances, gaps


def moved_section(
    curves: Mapping[str, probes.Invariance], rows: Sequence[Mapping[str, Any]], along: Sequence[Mapping[str, Any]]
) -> report.Section:
    shown: list[Any] = [
        report.Picture(
            spread_lines(
                "distance", MOVES[name].axis, one.amounts.tolist(), {p: v[None] for p, v in one.distance.items()},
            ),
            f"How far the activations of a layer move under {name}, as a share of how far those of two different "
            "images are apart: 0 is invariant, at 1 the net sees another image.",
            f"Distance against {name}, a line for each of some layers.",
        )
        for name, one in curves.items()
    ]  # fmt: skip
    tables: list[Any] = [report.Table(rows, "Distance, by layer.")]
    if along:
        tables += [
            "The map of a moved image, beside the moved map of the image: 0 where the map moves along (equivariance). "
            "What comes in at the border is 0 in both, which is another thing in each layer.",
            report.Table(along, "Distance from the moved map, by layer."),
        ]
    return report.Section("What moves them", [*shown, *tables])


def seen(
    key: jax.Array, net: Layer, nets: Mapping[str, Sequence[Weights]], at: Sequence[str], images: jax.Array
) -> dict[str, dict[str, probes.EffectiveField]]:
    """Return the effective receptive fields of the layers that have maps, but for the first: it sees a pixel."""
    shapes = jax.eval_shape(probes.layer_outputs(net, *nets[TRAINED][0], at), images)
    maps = [path for path in at[1:] if shapes[path].ndim == 4]
    field = lambda *of: probes.effective_receptive_field(jax.random.clone(key), *of)  # noqa: E731
    return {name: {path: field(net, *seeds[0], path, images) for path in maps} for name, seeds in nets.items()}


def seen_section(fields: Mapping[str, Mapping[str, probes.EffectiveField]]) -> report.Section:
    blocks: list[Any] = []
    if any(fields.values()):
        rows = {name: np.stack([f.map / (f.map.max() or 1) for f in by.values()]) for name, by in fields.items()}
        captions = {
            name: [f"{path.rsplit('/', 1)[-1] if len(by) > 5 else path} {f.sigma.mean():.1f}" for path, f in by.items()]
            for name, by in fields.items()
        }
        table = [
            {
                "net": name, "layer": path, "sigma, px": round(float(f.sigma.mean()), 2),
                "side of the field, px": round(f.size, 1), "can see": "x".join(map(str, f.theoretical)),
                "share": round(f.share, 3),
            }
            for name, by in fields.items() for path, f in by.items()
        ]  # fmt: skip
        blocks = [
            report.Picture(
                report.image_rows(rows, captions),
                "How much each pixel matters to the unit in the middle of a layer's map (mean squared gradient over "
                "images and random weights of the channels), each on a scale of its own; below, the standard deviation "
                "of the Gaussian that is most like it.",
                "Effective receptive fields, bright where pixels matter, by layer, trained and untrained.",
            ),
            "The side of the field is that of a square as large as the area above 4.55 % of the largest value.",
            report.Table(table, "Effective receptive fields, by layer."),
        ]
    return report.Section("What a unit sees", blocks or ["No layer has a map."])


def sentence(
    found: Trained, at: Sequence[str], mean: Any, alike: Mapping[str, probes.Similarity], table: Sequence[Any]
) -> str:
    """Return the answer."""
    steps = ", ".join(f"{mean[TRAINED][path]:.3f}" for path in at)
    rising = all(mean[TRAINED][a] <= mean[TRAINED][b] for a, b in itertools.pairwise(at[:-1]))
    how = "rises from layer to layer" if rising else "does not rise with every layer"
    first, last = table[1], table[-1]
    shift, turn = (next(name for name in first if name.startswith(move)) for move in ("shift", "rotation"))
    return (
        f"{found.train.info.name}: linear separability (test accuracy of a probe) {how} of {at[0]}, ..., {at[-1]}: "
        f"{steps}; untrained {mean[UNTRAINED][at[-2]]:.3f} in {at[-2]}. A layer is like that of another seed by a mean "
        f"CKA of {own_layer(alike['seeds']):.2f}, like an untrained one by {own_layer(alike[UNTRAINED]):.2f}. A shift "
        f"{MOVES['shift'].named} of the width moves {first['layer']} by {first[shift]:.2f} and {last['layer']} by "
        f"{last[shift]:.2f} of the distance of two images, a rotation {MOVES['rotation'].named} by "
        f"{first[turn]:.2f} and {last[turn]:.2f}."
    )


if __name__ == "__main__":
    run(main, Config)
